import concurrent.futures
import logging.handlers

from etl import extract, load, transform

STEPS = ("extract", "transform", "load")


def run(name, url):
    with concurrent.futures.ProcessPoolExecutor() as pool:
        rows = pool.submit(transform.clean, extract.from_bucket(name)).result()
    return load.session(url), rows


def log():
    return logging.handlers.MemoryHandler(1)
