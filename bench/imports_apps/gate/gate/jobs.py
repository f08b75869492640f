import redis
from celery import Celery


def send(name):
    return Celery("gate", broker="memory://").send_task(name)


def cache():
    return redis.Redis()
