"""What passes through the pooler, whole, and how clients end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from conftest import wait_until
from pooler_keeper import Keeper, look
from servers import HAS_POSTGRES

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not HAS_POSTGRES, reason="no PostgreSQL server")


@pytest.fixture
def keeper(pooled: Keeper) -> Keeper:
    return pooled


def test_large_results_and_large_statements(keeper: Keeper) -> None:
    connection = keeper.connect()
    text = "x" * 5_000_000
    assert connection.execute("SELECT repeat('y', 5000000) || %s", (text,)).fetchone() == ("y" * 5_000_000 + text,)
    assert len(connection.execute("SELECT repeat('z', 1000) FROM generate_series(1, 5000)").fetchall()) == 5000
    assert connection.execute(f"SELECT length('{text}')").fetchone() == (5_000_000,)
    connection.close()


def test_one_who_does_not_read_keeps_nobody_waiting(keeper: Keeper) -> None:
    slow = keeper.connect()
    cursor = slow.cursor()
    sent = slow.pgconn.send_query(b"SELECT repeat('z', 1000) FROM generate_series(1, 20000)")
    assert sent is None
    for _ in range(20):
        keeper.run("SELECT 1")
    slow.pgconn.set_single_row_mode()
    rows = 0
    while (result := slow.pgconn.get_result()) is not None:
        rows += result.ntuples
    assert rows == 20000
    cursor.close()
    slow.close()


def test_copy_pipelines_cursors_and_notifications(keeper: Keeper) -> None:
    for _ in range(2):
        connection = keeper.connect()
        connection.execute("TRUNCATE t RESTART IDENTITY")
        with connection.cursor() as cursor:
            with cursor.copy("COPY t(a, b) FROM STDIN") as copy:
                for number in range(20000):
                    copy.write_row((number, "b" * 50))
            with cursor.copy("COPY t(a) TO STDOUT") as copy:
                assert sum(1 for _ in copy.rows()) == 20000
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", (n,)) for n in range(500)]
        assert [c.fetchone() for c in cursors] == [(n,) for n in range(500)]
        with connection.transaction(), connection.cursor("named") as named:
            named.execute("SELECT a FROM t ORDER BY id")
            assert len(named.fetchmany(10)) == 10
            assert sum(1 for _ in named) == 19990
        connection.execute("LISTEN news")
        keeper.run("NOTIFY news, 'now'")
        assert [n.payload for n in connection.notifies(timeout=20, stop_after=1)] == ["now"]
        connection.close()


def test_a_cancelled_statement_is_its_own(keeper: Keeper) -> None:
    first, second = keeper.connect(), keeper.connect()
    ended = threading.Event()

    def cancel() -> None:
        while not ended.wait(0.05):
            first.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        first.execute("SELECT pg_sleep(60)")
    ended.set()
    canceller.join()
    assert second.execute("SELECT 1").fetchone() == (1,)
    pid = first.info.backend_pid
    first.close()
    second.close()
    assert keeper.run("SELECT 1") != pid


DIES = """
import os, sys
import psycopg
connection = psycopg.connect(sys.argv[1], autocommit=True)
print(connection.info.backend_pid, flush=True)
how = sys.argv[2]
if how == "transaction":
    connection.execute("BEGIN")
    connection.execute("INSERT INTO t(a) VALUES (5)")
elif how == "copy":
    connection.pgconn.exec_(b"COPY t(a) FROM STDIN")
    connection.pgconn.put_copy_data(b"5\\n")
    connection.pgconn.flush()
elif how == "statement":
    connection.pgconn.send_query(b"SELECT pg_sleep(0.3); INSERT INTO kind VALUES ('done')")
    connection.pgconn.flush()
elif how == "half":
    os.write(connection.fileno(), b"Q\\0\\0\\0\\x40INSERT INTO t(a) VALUES (")
elif how == "unsynced":
    connection.pgconn.enter_pipeline_mode()
    connection.pgconn.send_query_params(b"INSERT INTO t(a) VALUES (5)", [])
    connection.pgconn.flush()
elif how == "garbage":
    os.write(connection.fileno(), b"\\xff" * 100)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["nothing", "transaction", "copy", "statement", "half", "unsynced", "garbage"])
def test_a_client_that_dies_leaves_what_it_would_leave_without_a_pooler(keeper: Keeper, how: str) -> None:
    command = [sys.executable, "-c", DIES, keeper.url, how]
    died = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ | {"PYTHONPATH": ""})
    assert died.returncode == -signal.SIGKILL
    pid, state = look(keeper.url)
    assert state["rows"] == []
    assert (pid == int(died.stdout)) is (how in ("nothing", "transaction"))
    if how == "statement":  # it was sent, and is done
        check = keeper.connect()
        wait_until(lambda: check.execute("SELECT * FROM kind").fetchall() == [("done",)], 20, "the statement's end")
        check.close()


def test_ended_by_the_server_is_ended_for_the_client(keeper: Keeper) -> None:
    connection, other = keeper.connect(), keeper.connect()
    other.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid})")
    with pytest.raises(psycopg.OperationalError, match="terminating connection due to administrator command"):
        connection.execute("SELECT pg_sleep(60)")
    connection.close()
    other.close()
    keeper.run("SELECT 1")


def test_threads(keeper: Keeper) -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        for i in range(30):
            with keeper.connect() as connection:
                connection.execute(f"SET work_mem = '{number + 1}MB'")
                connection.execute(f"SELECT pg_advisory_lock({number * 100 + i})")
                found = connection.execute("SELECT current_setting('work_mem'), %s::int", (i,)).fetchone()
                if found != (f"{number + 1}MB", i):
                    wrong.append(found)
            connection.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    end = time.monotonic() + 30
    while look(keeper.url)[1] != look(keeper.straight)[1]:  # the last ones are still being cleaned
        assert time.monotonic() < end


def test_other_drivers(keeper: Keeper) -> None:
    psycopg2 = pytest.importorskip("psycopg2")
    pids = []
    for _ in range(3):
        connection = psycopg2.connect(keeper.url)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM t")
        pids.append(connection.get_backend_pid())
        connection.close()
    assert len(set(pids)) == 1


def test_asyncpg(keeper: Keeper) -> None:
    asyncpg = pytest.importorskip("asyncpg")
    import asyncio

    async def one() -> int:
        connection = await asyncpg.connect(keeper.url)
        try:
            await connection.execute("SET work_mem = '3MB'")
            assert await connection.fetchval("SELECT $1::int + 1", 4) == 5
            return int(connection.get_server_pid())
        finally:
            await connection.close()

    assert len({asyncio.run(one()) for _ in range(3)}) == 1
