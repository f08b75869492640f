import uuid

import sqlalchemy as sa

from gate import jobs


def insert(name):
    return sa.insert(sa.table("items", sa.column("name"))).values(name=name), uuid.uuid4()


def again(name):
    return jobs.send(name)
