import sqlalchemy
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql


def engine(url):
    return sqlalchemy.create_engine(url)


def session(url):
    return orm.Session(engine(url))


def insert(table):
    return postgresql.insert(table)
