import sqlite3
from contextlib import contextmanager

from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from shop import models


@contextmanager
def session(url="sqlite://"):
    engine = create_engine(url)
    models.Base.metadata.create_all(engine)
    with Session(engine) as opened:
        yield opened


def customers(opened):
    return opened.scalars(select(models.Customer)).all()


def version():
    return sqlite3.sqlite_version
