"""The files of a suite whose modules keep the URLs of all kinds of databases when they are imported."""

from __future__ import annotations

MAKE = """
    import sqlite3


    def make(path):
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE t(who)")
        connection.commit()
        connection.close()
"""
SCHEMA = "CREATE TABLE t(who text);\nINSERT INTO t VALUES ('template');\n"
# Beside the test's own work: who has imported, who runs, and in which database.
COMMON = """
    import os
    import pathlib
    import time

    IMPORTED = int(os.readlink("/proc/self"))  # os.getpid() at import means the early start


    def meet(own, n):
        here = pathlib.Path("here")
        here.mkdir(exist_ok=True)
        (here / own).touch()
        end = time.monotonic() + 60
        while len(os.listdir(here)) < n:
            assert time.monotonic() < end, "the other workers do not come"
            time.sleep(0.01)


    def note(kind, name):
        with open("noted", "a") as f:
            f.write(f"{IMPORTED} {os.getpid()} {kind} {name}\\n")
"""
POSTGRES = """
    import asyncio
    import os

    import psycopg
    import sqlalchemy
    from psycopg import AsyncConnection, connect

    URL = os.environ["DATABASE_URL"]
    ENGINE = sqlalchemy.create_engine(URL.replace("postgresql:", "postgresql+psycopg:"))
    PARTS = psycopg.conninfo.conninfo_to_dict(URL)
    NAME = "SELECT current_database()"


    def by_name():
        with connect(URL) as connection:
            return connection.execute(NAME).fetchone()[0]


    def by_parts():
        with psycopg.Connection.connect(**PARTS) as connection:
            return connection.execute(NAME).fetchone()[0]


    def by_words():
        with psycopg.connect(" ".join(f"{key}={value}" for key, value in PARTS.items())) as connection:
            return connection.execute(NAME).fetchone()[0]


    def by_engine():
        with ENGINE.connect() as connection:
            return connection.execute(sqlalchemy.text(NAME)).scalar_one()


    def by_async():
        async def ask():
            async with await AsyncConnection.connect(URL) as connection:
                return (await (await connection.execute(NAME)).fetchone())[0]

        return asyncio.run(ask())


    WAYS = [by_name, by_parts, by_words, by_engine, by_async]
    try:
        from psycopg2 import connect as connect2
    except ImportError:
        pass
    else:

        def by_psycopg2(*args, **kwargs):
            connection = connect2(*args, **kwargs)
            cursor = connection.cursor()
            cursor.execute(NAME)
            name = cursor.fetchone()[0]
            connection.close()
            return name

        WAYS += [lambda: by_psycopg2(URL), lambda: by_psycopg2(**PARTS)]
        OTHER = sqlalchemy.create_engine(URL.replace("postgresql:", "postgresql+psycopg2:"))
        WAYS += [lambda: OTHER.connect().execute(sqlalchemy.text(NAME)).scalar_one()]
    try:
        from asyncpg import connect as connect_async, create_pool
    except ImportError:
        pass
    else:

        async def by_asyncpg():
            connection = await connect_async(URL)
            name = await connection.fetchval(NAME)
            await connection.close()
            async with create_pool(URL, min_size=1, max_size=2) as pool:
                assert await pool.fetchval(NAME) == name
            return name

        WAYS += [lambda: asyncio.run(by_asyncpg())]
"""
FILE = """
    import os
    import sqlite3
    import sqlite3 as bound
    from sqlite3 import Connection, connect

    import sqlalchemy

    PATH = os.environ["FILE_URL"]
    FILE_ENGINE = sqlalchemy.create_engine(f"sqlite:///{PATH}")


    def one(connection, sql):
        found = connection.execute(sql).fetchall()
        connection.commit()
        connection.close()
        return found


    def by_engine(sql):
        with FILE_ENGINE.connect() as connection:
            return connection.execute(sqlalchemy.text(sql)).fetchall()


    WAYS = [
        lambda sql: one(connect(PATH), sql),
        lambda sql: one(bound.dbapi2.connect(database=PATH), sql),
        lambda sql: one(Connection(PATH), sql),
        lambda sql: one(connect(f"file:{PATH}?mode=rw", uri=True), sql),
        by_engine,
    ]
"""
CACHE = """
    import asyncio
    import os

    import redis
    import redis.asyncio

    URL = os.environ["REDIS_URL"]
    CLIENT = redis.Redis.from_url(URL)
    POOL = redis.ConnectionPool.from_url(URL)


    def by_async(key):
        async def ask():
            client = redis.asyncio.Redis.from_url(URL)
            value = await client.get(key)
            await client.aclose()
            return value

        return asyncio.run(ask())


    WAYS = [CLIENT.get, lambda key: redis.Redis(connection_pool=POOL).get(key), by_async]
"""
ONE = """
    import os

    import cache
    import common
    import file
    import postgres


    def test_{own}_postgres():
        (name,) = {{way() for way in postgres.WAYS}}
        common.note("postgres", name)
        assert os.environ["DATABASE_URL"].count(name) == 1 or common.IMPORTED == os.getpid()
        with postgres.ENGINE.begin() as connection:
            connection.exec_driver_sql("INSERT INTO t VALUES ('{own}')")
        common.meet("{own}", {n})
        with postgres.connect(postgres.URL) as connection:
            rows = [row[0] for row in connection.execute("SELECT who FROM t ORDER BY 1")]
        assert sorted(rows) == sorted(["template", "{own}"]) or {n} == 1
        connection.close()


    def test_{own}_file():
        file.WAYS[0]("INSERT INTO t VALUES ('{own}')")
        common.note("sqlite", os.path.realpath(file.PATH))
        for way in file.WAYS:
            assert ("{own}",) in way("SELECT who FROM t")
            assert len(way("SELECT who FROM t")) == 1 or {n} == 1


    def test_{own}_cache():
        cache.CLIENT.set("who", "{own}")
        common.note("redis", cache.CLIENT.info()["process_id"])
        for way in cache.WAYS:
            assert way("who") == b"{own}"
        assert cache.CLIENT.incr("runs") == 1 or {n} == 1
"""
OWN = {"common.py": COMMON, "postgres.py": POSTGRES, "file.py": FILE, "cache.py": CACHE, "files.py": MAKE}
