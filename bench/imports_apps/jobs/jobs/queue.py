import multiprocessing.pool

import celery
from celery import schedules


def app():
    return celery.Celery("jobs", broker="memory://")


def hourly():
    return schedules.crontab(minute=0)


def pool():
    return multiprocessing.pool.ThreadPool(1)
