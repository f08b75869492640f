"""Between two tests a worker's database is as its template again: by what is cheapest, and whatever was written."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from database_rounds import N_TABLES, ROWS, SCHEMA, SCHEMAS, SESSIONS, content, differences
from servers import HAS_POSTGRES, asker

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not HAS_POSTGRES, reason="no PostgreSQL server")

ROUNDS = int(os.environ.get("HASTEN_DB_ROUNDS", "30"))


@pytest.fixture
def keep(keepers: Any, cache: dict[str, str]) -> Callable[..., Callable[..., str]]:
    """keep(*arguments) -> ask(verb, worker="gw0", pid=1) of a keeper: what follows "ok "."""
    return lambda *args: asker(keepers("--workers", "2", *args, env=os.environ | cache)[1]["control"])


def run_sql(url: str, *statements: str) -> Any:
    connection = psycopg.connect(url, autocommit=True)
    try:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def dump(url: str) -> list[str]:
    text = subprocess.run(["pg_dump", "--no-owner", "-d", url], capture_output=True, text=True, check=True).stdout
    return [line for line in text.splitlines() if not line.startswith("\\")]  # \\restrict RANDOM


def schema_file(folder: Path) -> str:
    path = folder / "schema.sql"
    path.write_text(SCHEMA)
    return f"--postgres-sql={path}"


@pytest.mark.skipif(not shutil.which("pg_dump"), reason="no pg_dump")
@pytest.mark.parametrize("how", ["exact", "clone"])
def test_random_writes_are_gone_before_the_next_test_and_never_in_another_database(
    tmp_path: Path, keep: Any, how: str
) -> None:
    ask = keep(schema_file(tmp_path), "--postgres", f"--postgres-reset={how}")
    url, other = ask("lease"), ask("lease", "gw1")
    name = url.partition("?")[0].rpartition("/")[2]
    before, dumped = content(url), dump(url)
    chosen = random.Random(20261121)
    rounds = ROUNDS if how == "exact" else max(3, ROUNDS // 10)
    kept = psycopg.connect(url, autocommit=True)
    for number in range(rounds):
        pick = [*chosen.choices(ROWS, k=8)]
        if number % 3 == 2:
            pick += chosen.choices(SCHEMAS, k=2)
        if number % 4 == 3:
            pick += chosen.choices(SESSIONS, k=1)
        for statement in pick:
            if kept.closed:
                kept = psycopg.connect(url, autocommit=True)
            text = statement.format(n=chosen.randrange(1, N_TABLES), many=chosen.choice((2, 40, 900)), database=name)
            with contextlib.suppress(psycopg.Error):
                for part in text.split(";; "):
                    kept.execute(part)
            if kept.info.transaction_status and "BEGIN;; UPDATE" not in statement:
                kept.execute("ROLLBACK")
        if number % 5 == 4:
            assert not differences(before, content(other)), pick
        what = ask("clean")
        assert not differences(before, content(url)), (number, what, pick)
        with contextlib.suppress(psycopg.Error):
            kept.execute("SELECT 1")
        if kept.closed or kept.broken:
            kept = psycopg.connect(url, autocommit=True)
    kept.close()
    assert dump(url) == dumped
    assert dump(other) == dumped


def test_connections_stay_where_only_rows_have_changed(tmp_path: Path, keep: Any) -> None:
    ask = keep(schema_file(tmp_path), "--postgres", "--postgres-reset=exact")
    url = ask("lease")
    kept = psycopg.connect(url, autocommit=True)
    kept.execute("SET work_mem = '7MB'")
    assert ask("clean") == ""
    kept.execute("INSERT INTO t5(a) SELECT generate_series(1, 1000)")
    kept.execute("INSERT INTO thing(kind) VALUES (1)")
    changed = set(ask("clean").split(", "))
    assert changed == {"public.t5", "public.t5_id_seq", "public.thing", "public.thing_id_seq"}
    assert kept.execute("SELECT count(*), pg_relation_size('t5') FROM t5").fetchall() == [(0, 0)]
    assert kept.execute("INSERT INTO t5(a) VALUES (1) RETURNING id").fetchall() == [(1,)]
    assert kept.execute("SHOW work_mem").fetchall() == [("7MB",)]
    ask("clean")
    assert ask("clean") == ""
    kept.execute("BEGIN")
    kept.execute("UPDATE kind SET name = 'x'")
    assert ask("clean") == ""  # it is ended in its transaction
    with pytest.raises(psycopg.OperationalError):
        kept.execute("SELECT 1")
    kept.close()


def test_what_was_rolled_back_was_not_changed(tmp_path: Path, keep: Any) -> None:
    ask = keep(schema_file(tmp_path), "--postgres", "--postgres-reset=exact")
    url = ask("lease")
    run_sql(
        url, "BEGIN", "INSERT INTO kind VALUES (9, 'x')", "CREATE TABLE x(y int)", "TRUNCATE t0 CASCADE", "ROLLBACK"
    )
    assert ask("clean") == ""
    run_sql(url, "BEGIN", "SELECT * FROM kind FOR UPDATE", "COMMIT")
    assert ask("clean") == ""
    run_sql(url, "UPDATE kind SET name = 'x'")
    assert ask("clean") == "public.kind"
    assert run_sql(url, "SELECT name FROM kind ORDER BY id") == [("one",), ("two",)]


def test_a_given_servers_databases_are_cleaned_by_new_clones(tmp_path: Path, keep: Any) -> None:
    server = keep("--postgres")
    url = server("lease")
    ask = keep(f"--db-url={url}", schema_file(tmp_path), "--postgres", "--postgres-reset=exact")
    own = ask("lease")
    before = content(own)
    for _ in range(4):
        run_sql(own, "INSERT INTO t3(a) VALUES (1)", "CREATE TABLE x(y int)")
        assert ask("clean")
        assert not differences(before, content(own))


# ---- suites

ORDERS = """
    import psycopg
    import pytest


    def rows(url, *statements):
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            found = cursor.fetchall() if cursor.description else []
        connection.close()
        return found


    @pytest.mark.parametrize("n", range(6))
    def test_first(hasten_pg, n):
        assert rows(hasten_pg.url, "INSERT INTO t VALUES (DEFAULT) RETURNING id") == [(1,)]
        if n == 3:
            rows(hasten_pg.url, "DROP TABLE t")


    def test_reads(hasten_pg):
        assert rows(hasten_pg.url, "SELECT * FROM t") == []
"""


def settings(folder: Path, text: str) -> None:
    (folder / "pytest.ini").unlink(missing_ok=True)
    (folder / "pyproject.toml").write_text(f"[tool.hasten.db]\n{text}\n")


@pytest.mark.parametrize("how", ["exact", "clone"])
def test_every_test_finds_the_template(suite: Any, run_hasten: Any, cache: dict[str, str], how: str) -> None:
    folder = suite({"schema.sql": "CREATE TABLE t(id serial);\n", "test_x.py": ORDERS, "test_y.py": ORDERS})
    settings(folder, f'postgres = {{ setup = "schema.sql", reset = "{how}" }}')
    run = run_hasten(folder, "-n", "2", env=cache, timeout=120)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()


def test_a_suite_that_rolls_back_hears_which_test_does_not(suite: Any, run_hasten: Any, cache: dict[str, str]) -> None:
    folder = suite({"schema.sql": "CREATE TABLE t(id serial);\n", "test_x.py": ORDERS})
    settings(folder, 'postgres = { setup = "schema.sql", reset = "rollback" }')
    run = run_hasten(folder, "-n", "2", "-k", "first and 0 or reads", env=cache, timeout=120)
    assert run.status == 0, run.describe()
    said = [line for line in run.out.splitlines() if "left changes in its postgres database: public.t" in line]
    assert len(said) == 1, run.describe()


SQLITE = """
    import sqlite3

    import pytest


    @pytest.fixture(scope="session")
    def kept(hasten_sqlite):
        connection = sqlite3.connect(hasten_sqlite.path, isolation_level=None)
        yield connection
        connection.close()


    @pytest.mark.parametrize("n", range(4))
    @pytest.mark.parametrize("mode", ["delete", "wal"])
    def test_writes(hasten_sqlite, kept, n, mode):
        own = sqlite3.connect(hasten_sqlite.path, isolation_level=None)
        assert own.execute("SELECT * FROM t").fetchall() == [("template",)]
        own.execute(f"PRAGMA journal_mode = {mode}")
        own.execute("INSERT INTO t VALUES ('x')")
        own.execute("CREATE TABLE new(x)")
        own.close()


    def test_reads(kept):
        assert kept.execute("SELECT * FROM t").fetchall() == [("template",)]


    def test_reads_again(hasten_sqlite):
        own = sqlite3.connect(hasten_sqlite.path)
        assert own.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
        own.close()
"""


def test_sqlite_files_are_put_back_under_open_connections(suite: Any, run_hasten: Any, cache: dict[str, str]) -> None:
    make = "CREATE TABLE t(who);\nINSERT INTO t VALUES ('template');\n"
    folder = suite({"schema.sql": make, "test_x.py": SQLITE})
    settings(folder, 'sqlite = { setup = "schema.sql", reset = "exact" }')
    for workers in ("0", "2"):
        run = run_hasten(folder, "-n", workers, env=cache, timeout=120)
        assert set(run.outcomes().values()) == {"passed"}, run.describe()


BROKEN = """
    import hasten.db

    real, n_times = hasten.db.Databases.clean, {n_times}
    n_asked = 0


    def clean(self, kind):
        global n_asked
        n_asked += 1
        if n_asked <= n_times:
            raise hasten.db.DatabaseError("the disk is full")
        return real(self, kind)


    hasten.db.Databases.clean = clean
"""
LEAVES = """
    import sqlite3

    import pytest


    def rows(path, *statements):
        connection = sqlite3.connect(path, isolation_level=None)
        found = [connection.execute(statement).fetchall() for statement in statements]
        connection.close()
        return found[-1]


    @pytest.fixture
    def ends_badly():
        yield
        {how}


    def test_first(hasten_sqlite, ends_badly):
        assert rows(hasten_sqlite.path, "INSERT INTO t VALUES (1)", "SELECT count(*) FROM t") == [(1,)]


    def test_second(hasten_sqlite):
        assert rows(hasten_sqlite.path, "SELECT count(*) FROM t") == [(0,)]
"""


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize(
    ("how", "n_times"),
    [
        ("pass", 1),  # it cannot be cleaned after the test; before the next one it can
        ("pass", 2),  # it cannot; a new copy takes its place
        ("raise ValueError", 0),
        ("pytest.fail('no')", 0),
    ],
)
def test_no_test_begins_with_what_another_has_left(
    suite: Any, run_hasten: Any, cache: dict[str, str], workers: str, how: str, n_times: int
) -> None:
    folder = suite(
        {
            "schema.sql": "CREATE TABLE t(x);\n",
            "conftest.py": BROKEN.format(n_times=n_times),
            "test_x.py": LEAVES.format(how=how),
        }
    )
    settings(folder, 'sqlite = { setup = "schema.sql", reset = "exact" }')
    run = run_hasten(folder, "-n", workers, env=cache, timeout=120)
    assert run.outcomes() == {"test_first": "error", "test_second": "passed"}, run.describe()
    assert ("the disk is full" in run.out) is (n_times > 0), run.describe()


def test_a_test_whose_database_cannot_be_put_back_is_not_run(
    suite: Any, run_hasten: Any, cache: dict[str, str]
) -> None:
    no_reset = """

    def lease(self, name, verb="lease", leases=hasten.db.Databases.lease):
        if verb == "reset":
            raise hasten.db.DatabaseError("no room for a copy")
        return leases(self, name, verb)


    hasten.db.Databases.lease = lease
"""
    conftest, test = BROKEN.format(n_times=99) + no_reset, LEAVES.format(how="pass")
    folder = suite({"schema.sql": "CREATE TABLE t(x);\n", "conftest.py": conftest, "test_x.py": test})
    settings(folder, 'sqlite = { setup = "schema.sql", reset = "exact" }')
    run = run_hasten(folder, "-n", "1", env=cache, timeout=120)
    assert "failed" not in run.outcomes()["test_second"], run.describe()
    assert "could not be put back after an earlier test: no room for a copy" in run.text_of("test_second")


def test_redis_is_empty_for_every_test(suite: Any, run_hasten: Any, cache: dict[str, str]) -> None:
    pytest.importorskip("redis")
    if not shutil.which("redis-server"):
        pytest.skip("no Redis server")
    test = """
        import pytest
        import redis


        @pytest.mark.parametrize("n", range(6))
        def test_first(hasten_redis, n):
            server = redis.Redis(**hasten_redis.params)
            assert server.incr("n") == 1
            server.close()
    """
    folder = suite({"test_x.py": test})
    settings(folder, 'redis = { reset = "exact" }')
    run = run_hasten(folder, "-n", "2", env=cache, timeout=120)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
