import asyncio
import sqlite3

from celery.beat import ScheduleEntry

from jobs import queue


def plan():
    return ScheduleEntry("x", schedule=queue.hourly())


def store():
    return sqlite3.connect(":memory:")


def run(work):
    return asyncio.run(work)
