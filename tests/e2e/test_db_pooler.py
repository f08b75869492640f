"""The pooler between tests and a run's own PostgreSQL server: warm sessions, and nobody can tell."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_until
from pooler_keeper import SCHEMA, Keeper, keeping, look
from servers import HAS_POSTGRES

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not HAS_POSTGRES, reason="no PostgreSQL server")


@pytest.fixture
def keeper(pooled: Keeper) -> Keeper:
    return pooled


UNDONE = [
    ["SET work_mem = '7MB'", "SET TimeZone = 'Asia/Tokyo'", "SET client_encoding = 'LATIN1'"],
    ["PREPARE p AS SELECT 1", "EXECUTE p"],
    ["LISTEN c", "NOTIFY c"],
    ["SELECT pg_advisory_lock(7)", "SELECT pg_advisory_lock_shared(8)"],
    ["BEGIN", "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 100)", "COMMIT", "FETCH 3 FROM c"],
    ["CREATE ROLE other", "SET ROLE other"],
    ["CREATE ROLE other", "SET SESSION AUTHORIZATION other"],
    ["BEGIN", "INSERT INTO t(a) VALUES (1)", "SELECT nextval('t_id_seq')"],
    ["BEGIN", "SELECT 1 FROM t FOR UPDATE", "LOCK TABLE kind"],
    ["SET session_replication_role = replica", "SET default_transaction_read_only = on", "SET search_path = nowhere"],
    ["SELECT nextval('t_id_seq')", "SELECT set_config('work_mem', '9MB', false)"],
    ["SET statement_timeout = '20s'", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
]  # fmt: skip


@pytest.mark.parametrize("statements", UNDONE, ids=lambda statements: statements[-1])
def test_a_session_that_is_given_on_is_as_a_new_one(keeper: Keeper, statements: list[str]) -> None:
    pid = keeper.run(*statements)
    again, state = look(keeper.url)
    assert again == pid
    new, expected = look(keeper.straight)
    assert new != pid
    assert state == expected


LASTING = [
    ["SET app.tenant = '5'"], ["RESET app.tenant"], ["SET app.tenant TO DEFAULT"],
    ["BEGIN", "SET LOCAL app.tenant = '5'", "COMMIT"], ["LOAD 'auto_explain'"],
    ["SELECT set_config('app.tenant', '5', true)"], ["SELECT setseed(0.5)"], ["SELECT pg_backend_pid()"],
    ["CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT set_config('app.x', '5', false) $$", "SELECT f()"],
    ["DO $$ BEGIN PERFORM set_config('app.tenant', '5', false); END $$"],
    ["CREATE TEMPORARY TABLE y(x int)", "INSERT INTO y VALUES (1)"], ["CREATE TABLE pg_temp.y(x int)"],
    ["ALTER ROLE postgres SET work_mem = '6MB'"],
]  # fmt: skip


@pytest.mark.parametrize("statements", LASTING, ids=lambda statements: statements[-1])
def test_a_session_that_keeps_something_is_thrown_away(keeper: Keeper, statements: list[str]) -> None:
    pid = keeper.run(*statements)
    again, state = look(keeper.url)
    assert again != pid
    assert state == look(keeper.straight)[1]
    keeper.run("ALTER ROLE postgres RESET ALL")


def test_functions_that_are_there_already_are_looked_at(keeper: Keeper) -> None:
    body = "$$ BEGIN PERFORM set_config('app.tenant', '5', false); RETURN NEW; END $$"
    with psycopg.connect(keeper.straight, autocommit=True) as connection:
        connection.execute(f"CREATE FUNCTION g() RETURNS trigger LANGUAGE plpgsql AS {body}")
        connection.execute("CREATE TRIGGER g BEFORE INSERT ON kind FOR EACH ROW EXECUTE FUNCTION g()")
    connection.close()
    keeper.run("COMMENT ON TABLE kind IS 'that a language, or a function, is named makes the pooler look again'")
    pid = keeper.run("INSERT INTO kind VALUES ('x')")
    again, state = look(keeper.url)
    assert again != pid
    assert "unrecognized" in state["placeholder"]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER DATABASE {name} SET work_mem = '5MB'", "ALTER ROLE app SET work_mem = '5MB'",
        "ALTER ROLE app IN DATABASE {name} SET work_mem = '5MB'", "ALTER ROLE ALL SET work_mem = '5MB'",
    ],
)  # fmt: skip
@pytest.mark.parametrize("hidden", [False, True])
def test_settings_that_count_at_the_next_connection(keeper: Keeper, change: str, hidden: bool) -> None:
    sql = change.format(name=keeper.name)
    if hidden:  # not through the pooler, so that it has no word of it
        run = psycopg.connect(keeper.straight, autocommit=True)
    else:
        run = keeper.connect()
    run.execute("CREATE ROLE app LOGIN")
    keeper.run("SELECT 1", user="app")
    run.execute(sql)
    try:
        assert look(keeper.url, user="app")[1]["settings"] == look(keeper.straight, user="app")[1]["settings"]
        assert keeper.connect(user="app").execute("SHOW work_mem").fetchone() == ("5MB",)
    finally:
        run.execute("ALTER ROLE ALL RESET ALL")
        run.execute(f"ALTER ROLE app IN DATABASE {keeper.name} RESET ALL")
        run.close()


def test_a_role_that_is_gone_or_may_not_log_in_cannot(keeper: Keeper) -> None:
    keeper.run("CREATE ROLE app LOGIN")
    keeper.run("SELECT 1", user="app")
    keeper.run("ALTER ROLE app NOLOGIN")
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        keeper.connect(user="app")
    keeper.run("ALTER ROLE app LOGIN")
    keeper.run("SELECT 1", user="app")
    keeper.run("DROP ROLE app")
    with pytest.raises(psycopg.OperationalError, match='role "app" does not exist'):
        keeper.connect(user="app")
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        psycopg.connect(keeper.url_of("nowhere"))


def test_idle_sessions_do_not_count_where_connections_are_limited(keeper: Keeper) -> None:
    keeper.run("CREATE ROLE app LOGIN CONNECTION LIMIT 1")
    for number in range(4):
        keeper.run("SELECT 1", user="app", application_name=f"a{number}")
    kept = keeper.connect(user="app")
    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        keeper.connect(user="app")
    kept.close()


def test_two_at_once_have_sessions_of_their_own(keeper: Keeper) -> None:
    connections = [keeper.connect() for _ in range(5)]
    assert len({c.info.backend_pid for c in connections}) == 5
    for c in connections:
        c.close()
    again = [keeper.connect() for _ in range(5)]
    assert len({c.info.backend_pid for c in again}) == 5
    for c in again:
        assert c.execute("SELECT pg_backend_pid()").fetchone() == (c.info.backend_pid,)
        c.close()


def test_who_counts_connections_sees_those_that_are_open(keeper: Keeper) -> None:
    others = [keeper.connect() for _ in range(4)]
    for c in others[1:]:
        c.close()
    count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'hasten'"
    observer = keeper.connect()
    assert observer.execute(count).fetchone() == (2,)
    others[0].close()
    keeper.run("SELECT 1")
    left = lambda: observer.execute(count).fetchone() == (1,)  # noqa: E731 (a session ends a moment after its client)
    wait_until(left, 10, "the others' end")
    observer.close()
    assert keeper.run("SELECT 1") == keeper.run("SELECT 1")


def test_databases_are_dropped_copied_and_renamed_behind_a_closed_connection(keeper: Keeper) -> None:
    admin = psycopg.connect(keeper.url_of("postgres"), autocommit=True)
    for number in range(12):
        admin.execute("CREATE DATABASE mine")
        for _ in range(2):
            psycopg.connect(keeper.url_of("mine")).close()
        if number % 3 == 0:
            admin.execute("CREATE DATABASE copy TEMPLATE mine")
            admin.execute("DROP DATABASE copy")
        elif number % 3 == 1:
            admin.execute("ALTER DATABASE mine RENAME TO other")
            admin.execute("ALTER DATABASE other RENAME TO mine")
        admin.execute("DROP DATABASE mine")
    admin.close()


def test_a_new_database_of_the_same_name_is_new(keeper: Keeper) -> None:
    admin = psycopg.connect(keeper.url_of("postgres"), autocommit=True)
    for number in range(3):
        admin.execute("CREATE DATABASE mine")
        with psycopg.connect(keeper.url_of("mine"), autocommit=True) as connection:
            connection.execute(f"CREATE TABLE only{number}()")
            found = connection.execute("SELECT relname FROM pg_class WHERE relname LIKE 'only%'").fetchall()
        connection.close()
        assert found == [(f"only{number}",)]
        admin.execute("DROP DATABASE mine")
    admin.close()


# ---- between two tests


def test_a_reset_finds_idle_sessions_clean(keeper: Keeper) -> None:
    keeper.ask("clean")
    pids = set()
    for _ in range(5):
        pids.add(keeper.run("SELECT * FROM t"))
        assert keeper.ask("clean") == ""
        pids.add(keeper.run("INSERT INTO t(a) VALUES (1)", "SELECT pg_advisory_lock(1)"))
        assert set(keeper.ask("clean").split(", ")) == {"public.t", "public.t_id_seq"}
        assert look(keeper.url)[1]["rows"] == []
    assert len(pids) == 1
    keeper.run("CREATE TABLE more()")
    assert "schema" in keeper.ask("clean")
    assert look(keeper.url)[1]["rows"] == []


def test_temporary_tables_are_gone_before_the_next_test(keeper: Keeper) -> None:
    for _ in range(3):
        keeper.run("CREATE TEMPORARY TABLE y(x int)", "INSERT INTO y VALUES (1)")
        keeper.ask("clean")
        keeper.run("SELECT 1")
        assert keeper.ask("clean") == ""


def test_connections_go_straight_when_the_pooler_is_killed(tmp_path: Path, cache: dict[str, str]) -> None:
    with keeping(tmp_path, cache, "--pooler=true") as keeper:
        wait_until(lambda: bool(keeper.events("db_pooler")), 20, "the pooler's beginning")
        pid = int(keeper.events("db_pooler")[0].partition('"pid":')[2].partition(",")[0])
        assert keeper.run("SELECT 1") == keeper.run("SELECT 1")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: bool(keeper.events("db_restart")), 60, "the keeper's notice")
        assert keeper.ask("starts") == "1"  # tests that failed meanwhile run again
        assert keeper.run("SELECT 1") != keeper.run("SELECT 1")


def test_sessions_are_warm_when_connections_are_short_and_not_when_one_is_long(
    tmp_path: Path, cache: dict[str, str]
) -> None:
    with keeping(tmp_path, cache | {"HASTEN_TEST_POOLER_LOSS": "20000"}) as keeper:
        assert keeper.run("SELECT 1") != keeper.run("SELECT 1")
        assert not keeper.events("db_pooler")
        wait_until(lambda: keeper.run("SELECT 1") == keeper.run("SELECT 1"), 60, "warm sessions")
        assert not keeper.events("db_pooler_straight")
        long = keeper.connect()
        while not keeper.events("db_pooler_straight"):
            for _ in range(1000):
                long.execute("SELECT 1")
        assert keeper.run("SELECT 1") != keeper.run("SELECT 1")
        long.close()


def test_settings_of_the_whole_server_end_it(tmp_path: Path, cache: dict[str, str]) -> None:
    with keeping(tmp_path, cache, "--pooler=true") as keeper:
        pid = keeper.run("SELECT 1")
        keeper.run("ALTER SYSTEM SET work_mem = '6MB'", "SELECT pg_reload_conf()")
        assert keeper.run("SELECT 1") != pid
        assert keeper.run("SELECT 1") != keeper.run("SELECT 1")


def test_every_workers_server_has_one_of_its_own(tmp_path: Path, cache: dict[str, str]) -> None:
    with keeping(tmp_path, cache, "--pooler=true", "--postgres-each", "--postgres-reset=exact") as keeper:
        other = keeper.ask("lease", "gw1")
        assert other.partition("host=")[2] != keeper.url.partition("host=")[2]
        for _ in range(2):
            pid = keeper.run("SELECT 1")
            assert keeper.run("SELECT 1") == pid
            assert [look(url)[1]["rows"] for url in (other, other)] == [[], []]
            keeper.run("CREATE ROLE other")  # its server begins again
            assert keeper.ask("clean") == "the server"
            assert keeper.run("SELECT 1 FROM pg_roles WHERE rolname <> 'other'") != pid


@pytest.mark.parametrize(("value", "goes"), [("0", "s"), ("1", "p")])
def test_the_variable_decides(tmp_path: Path, cache: dict[str, str], value: str, goes: str) -> None:
    other = {"0": "true", "1": "false"}[value]
    with keeping(tmp_path, cache | {"HASTEN_DB_POOLER": value}, f"--pooler={other}") as keeper:
        assert f"/{goes}&port" in keeper.url
        assert (keeper.run("SELECT 1") == keeper.run("SELECT 1")) is (value == "1")


# ---- suites

SUITE = """
    import psycopg
    import pytest


    @pytest.fixture
    def db(hasten_pg):
        connection = psycopg.connect(hasten_pg.url)
        yield connection
        connection.close()


    @pytest.mark.parametrize("n", range(20))
    def test_writes(db, n):
        assert db.execute("INSERT INTO t(a) VALUES (%s) RETURNING id", (n,)).fetchone() == (1,)
        db.execute("SET work_mem = '3MB'")
        if n % 2:
            db.commit()
        if n == 7:
            db.execute("CREATE TABLE more()")
            db.commit()


    @pytest.mark.parametrize("n", range(20))
    def test_reads(db, n):
        assert db.execute("SELECT count(*), current_setting('work_mem') FROM t").fetchone() == (0, "4MB")


    def test_fails(db):
        db.execute("SELECT nothing")
"""


def test_a_suite_has_the_same_outcomes_with_and_without(suite: Any, run_hasten: Any, cache: dict[str, str]) -> None:
    folder = suite({"schema.sql": SCHEMA, "test_x.py": SUITE, "test_y.py": SUITE})
    (folder / "pytest.ini").unlink(missing_ok=True)
    text = '[tool.hasten.db]\npooler = {how}\npostgres = {{ setup = "schema.sql", reset = "exact" }}\n'
    outcomes = {}
    for how in ("true", "false"):
        (folder / "pyproject.toml").write_text(text.format(how=how))
        run = run_hasten(folder, "-n", "2", env=cache, timeout=120)
        assert run.status == 1, run.describe()
        outcomes[how] = run.outcomes()
        assert (len(run.events("db_pooler_reuse")) > 30) is (how == "true"), run.describe()
    assert outcomes["true"] == outcomes["false"]
    assert sorted(set(outcomes["true"].values())) == ["failed", "passed"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('pooler = "yes"', "pooler: true or false"),
        ('pooler = true\nurl = "postgresql:///x"', "pooler: only for servers of the run's own"),
    ],
)
def test_settings_that_cannot_be_are_one_line(suite: Any, run_hasten: Any, cache: Any, text: str, said: str) -> None:
    folder = suite({"test_x.py": "def test_x(): pass\ndef test_y(): pass"})
    (folder / "pytest.ini").unlink(missing_ok=True)
    (folder / "pyproject.toml").write_text(f"[tool.hasten.db]\n{text}\npostgres = {{}}\n")
    run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
    assert run.status == 4, run.describe()
    assert said in run.out + run.err
