"""A PostgreSQL server for each worker: nothing that a test can write is seen by another worker or by the next test."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from database_rounds import N_TABLES, ROWS, SCHEMA, SCHEMAS, SESSIONS, content, differences
from servers import HAS_POSTGRES, asker

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not HAS_POSTGRES, reason="no PostgreSQL server")

ROUNDS = int(os.environ.get("HASTEN_DB_ROUNDS", "6"))
SEED = int(os.environ.get("HASTEN_DB_SEED", "20261121"))
TWO = f"""{SCHEMA}
CREATE ROLE reader;
CREATE DATABASE second;
\\connect second
{SCHEMA}
"""
# Of a server. Names are the same in all workers; {worker} is what must not be seen in another. ";; " parts statements.
SERVERS = (
    "CREATE ROLE r{n} LOGIN PASSWORD '{worker}'", "CREATE ROLE only_{worker}", "GRANT reader TO pg_monitor",
    "ALTER ROLE postgres SET work_mem = '9MB'", "ALTER ROLE ALL SET statement_timeout = '1h'", "DROP ROLE reader",
    "ALTER ROLE reader SET application_name = '{worker}'", "COMMENT ON ROLE reader IS '{worker}'",
    "CREATE DATABASE made", "CREATE DATABASE made_{n} TEMPLATE template0",
    "ALTER DATABASE postgres SET work_mem = '8MB'",
    "COMMENT ON DATABASE postgres IS '{worker}'", "DROP DATABASE second WITH (FORCE)",
    "ALTER DATABASE second CONNECTION LIMIT 3", "ALTER SYSTEM SET work_mem = '6MB';; SELECT pg_reload_conf()",
    "ALTER SYSTEM SET application_name = '{worker}'", "CREATE ROLE owner{n};; ALTER TABLE t{n} OWNER TO owner{n}",
    "GRANT SELECT ON t{n} TO reader", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader",
    "CREATE TABLESPACE space{n} LOCATION '{folder}'", "SELECT pg_replication_origin_create('{worker}')",
    "SET allow_in_place_tablespaces = on;; CREATE TABLESPACE i LOCATION '';; ALTER TABLE t{n} SET TABLESPACE i",
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false)",
    "GRANT SET ON PARAMETER work_mem TO reader", "ALTER ROLE postgres NOLOGIN",
    "GRANT CONNECT ON DATABASE second TO reader",
)  # fmt: skip
# Of a server, too, but nothing is left of them.
PASSING = (
    "CREATE ROLE gone;; GRANT gone TO reader;; DROP ROLE gone", "BEGIN;; CREATE ROLE undone;; ROLLBACK",
    "CREATE DATABASE gone;; DROP DATABASE gone", "BEGIN;; ALTER ROLE reader SUPERUSER;; ROLLBACK",
)  # fmt: skip
SHARED = """
    SELECT (SELECT string_agg(concat(rolname, rolsuper, rolcanlogin, rolpassword), ',' ORDER BY oid) FROM pg_authid),
        (SELECT count(*) FROM pg_auth_members), (SELECT string_agg(spcname, ',' ORDER BY oid) FROM pg_tablespace),
        (SELECT string_agg(concat(datname, datacl, datconnlimit, shobj_description(oid, 'pg_database')), ','
            ORDER BY datname) FROM pg_database WHERE datname !~ '^hasten_.*_(pool|old)[0-9]+$'),
        (SELECT string_agg(concat(setdatabase, setrole, setconfig), ',' ORDER BY setdatabase, setrole)
            FROM pg_db_role_setting),
        (SELECT string_agg(description, ',' ORDER BY description) FROM pg_shdescription
            WHERE description !~ '^template of'),
        (SELECT count(*) FROM pg_subscription), (SELECT count(*) FROM pg_replication_origin),
        (SELECT string_agg(concat(name, setting), ',') FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid <> ALL (SELECT pid FROM pg_stat_activity
            WHERE application_name = 'hasten'))
"""


def other(url: str, database: str) -> str:
    head, _, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{database}?{query}"


@pytest.fixture
def keeper(tmp_path_factory: pytest.TempPathFactory, keepers: Any) -> Callable[..., Callable[..., str]]:
    """keeper(*arguments) -> ask(verb, worker="gw0", pid=1) of one with a server for each worker: what follows "ok "."""
    cache = {"XDG_CACHE_HOME": str(tmp_path_factory.getbasetemp() / "cache")}
    each = ("--workers", "2", "--postgres", "--postgres-each")

    def start(*args: str) -> Callable[..., str]:
        process, facts = keepers(*each, *args, env=os.environ | cache)
        say = asker(facts["control"])
        say.process = process  # type: ignore[attr-defined]
        return say

    return start


def everything(url: str) -> list[list[Any]]:
    """Of a worker: its two databases, those that every server has, and what belongs to no database."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(SHARED).fetchone()
        memory = connection.execute("SHOW work_mem").fetchone()
    connection.close()
    assert row
    assert memory
    names = ("second", "postgres", "template1")
    return [[[*row, *memory]], content(url), *(content(other(url, name)) for name in names)]


def same(before: list[list[Any]], now: list[list[Any]]) -> list[Any]:
    return [found for pair in zip(before, now, strict=True) if (found := differences(*pair))]


def write_anything(url: str, worker: str, chosen: random.Random, number: int) -> list[str]:
    """A test that stops at nothing. Returns its statements."""
    n = chosen.randrange(1, N_TABLES)
    own = [*chosen.choices(ROWS, k=4), *chosen.choices(SCHEMAS, k=chosen.choice((0, 0, 1)))]
    own += [*chosen.choices(PASSING, k=1), *chosen.choices(SERVERS, k=chosen.choice((0, 0, 1, 2)))]
    own += [f"CREATE TABLE {worker}(x int);; DROP TABLE {worker}", f"INSERT INTO log VALUES ('{worker}')"]
    chosen.shuffle(own)
    elsewhere = chosen.choice((None, "second", "second", "postgres", "template1"))
    there = [*chosen.choices(ROWS, k=2), "CREATE TABLE IF NOT EXISTS left_there(x int)"] if elsewhere else []
    there = there[: chosen.choice((0, 2, 3))]
    sessions = chosen.choices(SESSIONS, k=chosen.choice((0, 0, 1)))
    folder = Path(parse_qs(urlsplit(url).query)["host"][0]).parent / f"space{number}"
    folder.mkdir()  # beside the server's data: its user can get there
    os.chown(folder, folder.parent.stat().st_uid, folder.parent.stat().st_gid)
    values = {"n": n, "many": chosen.choice((2, 40, 900)), "worker": worker, "folder": folder,
              "database": url.partition("?")[0].rpartition("/")[2]}  # fmt: skip
    for place, statements in ((url, [*own, *sessions]), (other(url, elsewhere or "second"), there)):
        with contextlib.suppress(psycopg.Error):
            connection = psycopg.connect(place, autocommit=True)
            for statement in statements:
                for part in statement.format(**values).split(";; "):
                    with contextlib.suppress(psycopg.Error):
                        connection.execute(part)
                if connection.info.transaction_status and "BEGIN;; UPDATE" not in statement:
                    connection.execute("ROLLBACK")
            write_anything.open.append(connection)  # type: ignore[attr-defined]
    return [*own, *sessions, elsewhere or "", *there]


write_anything.open = []  # type: ignore[attr-defined]


def test_whatever_a_test_writes_is_gone_before_the_next_and_never_in_another_worker(
    tmp_path: Path, keeper: Any
) -> None:
    script = tmp_path / "schema.sql"
    script.write_text(TWO)
    say = keeper(f"--postgres-sql={script}", "--postgres-key=0123abcdef", "--postgres-reset=exact")
    chosen = random.Random(SEED)
    workers = ("gw0", "gw1")
    urls = {worker: say("lease", worker) for worker in workers}
    before = {worker: everything(urls[worker]) for worker in workers}
    for number in range(ROUNDS):
        done = {}
        for worker in workers:  # both tests have begun before either ends
            done[worker] = write_anything(urls[worker], worker, chosen, number)
        for worker in chosen.sample(workers, 2):
            with contextlib.suppress(psycopg.Error):  # where its login or its database is gone
                foreign = "gw1" if worker == "gw0" else "gw0"
                assert foreign not in repr(everything(urls[worker])), (number, done[foreign])
            what = say("clean", worker)
            found = same(before[worker], everything(urls[worker]))
            assert not found, (number, worker, what, done[worker], found)
        for connection in write_anything.open:  # type: ignore[attr-defined]
            connection.close()
        write_anything.open.clear()  # type: ignore[attr-defined]


def rows(url: str, *statements: str) -> list[Any]:
    connection = psycopg.connect(url, autocommit=True)
    try:
        for statement in statements:
            cursor = connection.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        connection.close()


def test_what_the_set_up_makes_on_the_server_is_in_every_workers(tmp_path: Path, keeper: Any) -> None:
    script = tmp_path / "schema.sql"
    space = Path(tempfile.gettempdir(), f"hasten-space-{os.getpid()}")
    script.write_text(
        f"""CREATE ROLE someone PASSWORD 'x';
        COPY (SELECT 1) TO PROGRAM 'mkdir -m 700 {space}';
        CREATE TABLESPACE apart LOCATION '{space}';
        CREATE TABLE t(who text) TABLESPACE apart;
        INSERT INTO t VALUES ('template');
        CREATE DATABASE second;
        \\connect second
        CREATE TABLE u(who text) TABLESPACE apart;
        """
    )
    try:
        say = keeper(f"--postgres-sql={script}", "--postgres-reset=exact")
        one, two = say("lease", "gw0"), say("lease", "gw1")
        for url in (one, two):
            assert rows(url, "ALTER ROLE someone LOGIN", "UPDATE t SET who = 'own'", "SELECT who FROM t") == [("own",)]
            assert rows(other(url, "second"), "INSERT INTO u VALUES ('own')", "SELECT who FROM u") == [("own",)]
            assert rows(url, "SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY 1") == [
                ("postgres",),
                ("someone",),
            ]
        assert say("clean") == "the server"
        assert rows(one, "SELECT who FROM t", "SELECT who, rolcanlogin FROM t, pg_roles WHERE rolname = 'someone'") == [
            ("template", False)
        ]
        assert rows(other(one, "second"), "SELECT who FROM u") == []
        assert rows(two, "SELECT who FROM t") == [("own",)]
    finally:
        shutil.rmtree(space, ignore_errors=True)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def crash(url: str) -> None:
    """Of a backend: the server ends all others, and reads its log again. Returns when it is back."""
    connection = psycopg.connect(url)
    begun = connection.execute("SELECT pg_postmaster_start_time(), pg_backend_pid()").fetchone()
    assert begun
    os.kill(begun[1], signal.SIGKILL)
    with pytest.raises(psycopg.Error):
        connection.execute("SELECT pg_sleep(60)")
    connection.close()
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        with contextlib.suppress(psycopg.OperationalError):
            assert rows(url, "SELECT pg_postmaster_start_time()") == [(begun[0],)]
            return
        time.sleep(0.01)
    pytest.fail("the server did not come back")


def test_first_sessions_find_what_a_start_has_removed(
    tmp_path: Path, keeper: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, trace = tmp_path / "schema.sql", tmp_path / "trace"
    script.write_text("CREATE TABLE t(who text);")
    monkeypatch.setenv("HASTEN_TRACE", str(trace))
    say = keeper(f"--postgres-sql={script}", "--postgres-key=0123abcdee", "--postgres-reset=exact")
    url = say("lease")
    ((data, oid, own),) = rows(
        url,
        """SELECT current_setting('data_directory'), oid, (SELECT oid FROM pg_database WHERE datname =
        current_database()) FROM pg_database WHERE datname = 'postgres'""",
    )
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    found = {event["file"] for event in events if event["ev"] == "db_warm" and event["first"]}
    assert {f"{data}/global/pg_internal.init", f"{data}/base/{oid}/pg_internal.init"} <= found
    copied = Path(data, "base", str(own), "pg_internal.init")
    template = next(path for path in Path(data, "base").iterdir() if path.is_symlink() and path.name != "4"
                    and (path / "pg_internal.init").exists())  # fmt: skip
    assert copied.read_bytes() == (template / "pg_internal.init").read_bytes()


@pytest.mark.parametrize("kind", ["", "UNLOGGED"])
def test_templates_that_servers_share_outlive_what_one_of_them_does(tmp_path: Path, keeper: Any, kind: str) -> None:
    script = tmp_path / "schema.sql"
    script.write_text(f"CREATE {kind} TABLE t(who text); INSERT INTO t VALUES ('template'); CREATE TABLE u(x int);")
    say = keeper(f"--postgres-sql={script}", f"--postgres-key=0123abced{len(kind)}", "--postgres-reset=exact")
    one, two = say("lease", "gw0"), say("lease", "gw1")
    ((data, version),) = rows(two, "SELECT current_setting('data_directory'), current_setting('server_version_num')")
    closed = dict(rows(two, "SELECT datname, oid FROM pg_database WHERE NOT datallowconn"))
    (template,) = closed.keys() - {"template0"}
    folders = {name: Path(data, "base", str(oid)) for name, oid in closed.items()}
    assert folders["template0"].is_symlink()
    assert folders[template].is_symlink() != bool(kind)
    before = {name: files_of(folder) for name, folder in folders.items()}

    for name in closed:
        rows(one, f"ALTER DATABASE {name} WITH IS_TEMPLATE false", f"DROP DATABASE {name}")
    crash(one)  # databases are dropped once more when the log is read
    strategies = ("", " STRATEGY FILE_COPY", " STRATEGY WAL_LOG") if int(version) >= 150000 else ("",)
    for number, strategy in enumerate(strategies):
        for name in closed:
            rows(two, f"CREATE DATABASE {name}_{number} TEMPLATE {name}{strategy}")
        assert rows(other(two, f"{template}_{number}"), "SELECT who FROM t") == [("template",)]
        rows(other(two, f"{template}_{number}"), "VACUUM FULL t", "DROP TABLE u", "CREATE TABLE u()")
    rows(two, "SET synchronous_commit = on", "INSERT INTO u VALUES (7)")
    crash(two)
    assert rows(two, "SELECT x FROM u") == [(7,)]
    rows(two, f"CREATE DATABASE again TEMPLATE {template}", "CREATE DATABASE empty TEMPLATE template0")
    assert rows(other(two, "again"), "SELECT who FROM t") == ([] if kind else [("template",)])
    now = {name: files_of(folder) for name, folder in folders.items()}
    assert now == before or kind  # what is not in the log begins anew, as links of its own

    say("clean")
    assert rows(one, "SELECT who FROM t") == [("template",)]
    rows(one, f"CREATE DATABASE again TEMPLATE {template}")
    assert rows(other(one, "again"), "SELECT who FROM t") == [("template",)]
    assert say("starts") == "0"
    base = Path(data).parents[1]
    assert base.exists()
    say.process.terminate()
    say.process.wait(60)
    assert not base.exists()


def test_one_servers_death_is_no_other_workers(tmp_path: Path, keeper: Any) -> None:
    script = tmp_path / "schema.sql"
    script.write_text("CREATE TABLE t(who text);")
    say = keeper(f"--postgres-sql={script}", "--postgres-reset=exact")
    one, two = say("lease", "gw0"), say("lease", "gw1")
    kept = psycopg.connect(two, autocommit=True)
    kept.execute("INSERT INTO t VALUES ('stays')")
    ((data,),) = rows(one, "INSERT INTO t VALUES ('goes')", "SHOW data_directory")
    os.kill(int(Path(data, "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    say("clean")
    assert say("starts") == "1"
    assert rows(one, "SELECT * FROM t") == []
    assert kept.execute("SELECT who FROM t").fetchall() == [("stays",)]
    kept.close()


def test_a_test_may_end_every_connection_to_its_server(tmp_path: Path, keeper: Any) -> None:
    script = tmp_path / "schema.sql"
    script.write_text("CREATE TABLE t(who text);")
    say = keeper(f"--postgres-sql={script}", "--postgres-reset=exact")
    url = say("lease")
    for _ in range(5):
        end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid <> 0 AND pid <> pg_backend_pid()"
        rows(url, "INSERT INTO t VALUES ('x')", end)
        say("clean")
        assert rows(url, "SELECT * FROM t") == []
    assert say("starts") == "0"


@pytest.mark.parametrize("how", ["exact", "clone"])
def test_two_workers_make_the_same_roles_and_databases(suite: Any, run_hasten: Any, tmp_path: Path, how: str) -> None:
    test = """
        import psycopg
        import pytest


        @pytest.mark.parametrize("n", range(4))
        def test_makes(hasten_pg, n):
            connection = psycopg.connect(hasten_pg.url, autocommit=True)
            connection.execute("CREATE ROLE clerk")
            connection.execute("CREATE DATABASE orders OWNER clerk")
            connection.execute("ALTER ROLE postgres SET work_mem = '7MB'")
            connection.close()
    """
    folder = suite({"schema.sql": "CREATE TABLE t(id serial);\n", "test_x.py": test, "test_y.py": test})
    (folder / "pytest.ini").unlink(missing_ok=True)
    (folder / "pyproject.toml").write_text(
        f'[tool.hasten.db]\npostgres = {{ setup = "schema.sql", reset = "{how}" }}\n'
    )
    env = {"XDG_CACHE_HOME": str(tmp_path.parent / "cache")}
    run = run_hasten(folder, "-n", "2", env=env, timeout=120)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
