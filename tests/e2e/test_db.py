"""Databases of workers' own, on a real PostgreSQL: apart, from one template, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, find_program, wait_until
from servers import HAS_POSTGRES, ask

psycopg = pytest.importorskip("psycopg")
pytestmark = pytest.mark.skipif(not HAS_POSTGRES, reason="no PostgreSQL server")

SETTINGS = '[tool.hasten.db]\npostgres = {{ setup = "schema.sql"{more} }}\n'
SCHEMA = "CREATE TABLE t(who text);\nINSERT INTO t VALUES ('template');\n"
MEET = """
    import os
    import pathlib
    import time

    import psycopg


    def meet(own, other):
        pathlib.Path(own).touch()
        end = time.monotonic() + 20
        while not pathlib.Path(other).exists():
            assert time.monotonic() < end, "the other worker does not come"
            time.sleep(0.01)


    def rows(url, *statements):
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            found = [row[0] for row in cursor.fetchall()] if cursor.description else []
        connection.close()
        return found
"""
ONE = """
    from meet import meet, rows


    def test_{own}(hasten_pg):
        rows(hasten_pg.url, "INSERT INTO t VALUES ('{own}')")
        meet("{own}.here", "{other}.here")
        assert rows(hasten_pg.url, "SELECT who FROM t ORDER BY 1") == sorted(["{own}", "template"])
"""
APART = {
    "meet.py": MEET,
    "schema.sql": SCHEMA,
    "test_a.py": ONE.format(own="a", other="b"),
    "test_b.py": ONE.format(own="b", other="a"),
}


def settings(folder: Path, more: str = "", schema: str | None = None) -> None:
    (folder / "pytest.ini").unlink(missing_ok=True)
    (folder / "pyproject.toml").write_text(SETTINGS.format(more=more) + "[tool.pytest.ini_options]\n")
    if schema is not None:
        (folder / "schema.sql").write_text(schema)


def folders(run: Run) -> list[Path]:
    """Where the run's servers lay."""
    return [Path(event["data"]).parent for event in run.events("db_cluster")]


def lives(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


# ---- workers


def test_two_workers_have_databases_of_their_own(suite: Any, run_hasten: Any, cache: dict[str, str]) -> None:
    folder = suite(APART)
    settings(folder)
    run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
    assert run.outcomes() == {"test_a": "passed", "test_b": "passed"}, run.describe()
    (place,) = folders(run)
    assert not place.exists()
    assert run.events("db_end")


def test_a_template_is_built_once_for_two_runs_and_anew_after_a_change(
    suite: Any, run_hasten: Any, cache: dict[str, str]
) -> None:
    folder = suite(APART)
    settings(folder, schema=SCHEMA + "-- of two runs\n")
    builds = []
    for change in ("", "", "-- changed\n"):
        with (folder / "schema.sql").open("a") as f:
            f.write(change)
        for name in ("a.here", "b.here"):
            (folder / name).unlink(missing_ok=True)
        run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
        assert run.status == 0, run.describe()
        builds.append(len(run.events("db_template_build")))
    assert builds == [1, 0, 1]


def test_two_runs_at_once_build_one_template(suite: Any, start_hasten: Any, cache: dict[str, str]) -> None:
    folder = suite(APART | {"test_b.py": "def test_b(hasten_pg): hasten_pg.reset()"})
    settings(folder, schema=SCHEMA + "SELECT pg_sleep(0.5);\n")
    runs = [start_hasten(folder, "-n", "2", "-k", "test_b", env=cache) for _ in range(2)]
    for run in runs:
        run.finish(60)
        assert run.status == 0, run.describe()
    assert sum(len(run.events("db_template_build")) for run in runs) == 1


def test_a_reset_brings_the_template_back_and_ends_connections(suite: Any, run_hasten: Any, cache: Any) -> None:
    test = """
        import psycopg
        import pytest
        from meet import rows


        def test_reset(hasten_pg):
            left_open = psycopg.connect(**hasten_pg.params)
            rows(hasten_pg.url, "DROP TABLE t", "CREATE TABLE other(x int)", "SELECT lo_create(77)")
            hasten_pg.reset()
            assert rows(hasten_pg.url, "SELECT who FROM t") == ["template"]
            assert rows(hasten_pg.url, "SELECT count(*) FROM pg_largeobject_metadata") == [0]
            with pytest.raises(psycopg.OperationalError):
                left_open.execute("SELECT 1")
            left_open.close()
    """
    folder = suite({"meet.py": MEET, "schema.sql": SCHEMA, "test_reset.py": test, "test_b.py": "def test_b(): pass"})
    settings(folder)
    run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
    assert run.outcomes() == {"test_reset": "passed", "test_b": "passed"}, run.describe()


AT_IMPORT = """
    import os

    from meet import rows

    URL = os.environ["DATABASE_URL"]


    def test_at_import(hasten_pg):
        assert URL == hasten_pg.url
        assert rows(URL, "SELECT who FROM t") == ["template"]
"""


def test_a_suite_that_reads_the_variable_at_import_starts_early(suite: Any, run_hasten: Any, cache: Any) -> None:
    folder = suite({"meet.py": MEET, "schema.sql": SCHEMA, "test_x.py": AT_IMPORT, "test_y.py": AT_IMPORT})
    settings(folder, more=', env = "DATABASE_URL"')
    env = cache | {"HASTEN_DB_REBIND": "0"}  # test_db_bind.py has those that need not
    run = run_hasten(folder, "-n", "2", env=env, timeout=60)
    assert run.status == 0, run.describe()
    assert "DATABASE_URL is read at" in run.events("early")[0]["why"]
    again = run_hasten(folder, "-n", "2", env=env, timeout=60)  # early from its beginning, as it is known now
    assert again.status == 0, again.describe()


def test_a_suite_that_reads_the_variable_in_its_tests_does_not(suite: Any, run_hasten: Any, cache: Any) -> None:
    test = AT_IMPORT.replace("\n    URL = os.environ", "\n    def url(): return os.environ").replace(
        "URL ==", "url() =="
    )
    test = test.replace("rows(URL,", "rows(url(),")
    folder = suite({"meet.py": MEET, "schema.sql": SCHEMA, "test_x.py": test, "test_y.py": test})
    settings(folder, more=', env = "DATABASE_URL"')
    run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
    assert run.status == 0, run.describe()
    assert not run.events("early")


def test_plain_pytest_has_the_fixtures_too(suite: Any, cache: dict[str, str]) -> None:
    folder = suite({"meet.py": MEET, "schema.sql": SCHEMA, "test_x.py": AT_IMPORT})
    settings(folder, more=', env = "DATABASE_URL"')
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(command, cwd=folder, env=os.environ | cache, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_sqlite_files_are_each_workers_own(suite: Any, run_hasten: Any, cache: dict[str, str]) -> None:
    test = """
        import os
        import sqlite3

        from meet import meet


        def test_{own}(hasten_sqlite):
            with sqlite3.connect(**hasten_sqlite.params) as connection:
                connection.execute("INSERT INTO t VALUES ('{own}')")
            connection.close()
            meet("{own}.here", "{other}.here")
            connection = sqlite3.connect(hasten_sqlite.path)
            assert connection.execute("SELECT * FROM t").fetchall() == [("{own}",)]
            connection.close()
            hasten_sqlite.reset()
            connection = sqlite3.connect(hasten_sqlite.path)
            assert connection.execute("SELECT * FROM t").fetchall() == []
            connection.close()
            assert os.environ["DB"] == hasten_sqlite.url
    """
    make = """
        import sqlite3


        def make(path):
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE t(who)")
            connection.close()
    """
    names = {"test_a.py": test.format(own="a", other="b"), "test_b.py": test.format(own="b", other="a")}
    folder = suite({"meet.py": MEET, "make.py": make, **names})
    settings(folder)
    (folder / "pyproject.toml").write_text('[tool.hasten.db]\nsqlite = { setup = "make:make", env = "DB" }\n')
    run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
    assert run.outcomes() == {"test_a": "passed", "test_b": "passed"}, run.describe()
    assert not run.events("db_server")


# ---- what goes wrong

WAITS = """
    import pathlib
    import time


    def test_waits(hasten_pg):
        pathlib.Path("waits").write_text("yes")
        time.sleep(60)


    def test_other():
        pass
"""


def test_kill_9_leaves_nothing_after_the_next_start(
    suite: Any, start_hasten: Callable[..., Run], run_hasten: Any, cache: dict[str, str]
) -> None:
    folder = suite({"meet.py": MEET, "schema.sql": SCHEMA, "test_waits.py": WAITS})
    settings(folder)
    run = start_hasten(folder, "-n", "2", env=cache)
    run.wait_file("waits")
    (place,) = folders(run)
    run.end()  # every process of the run at once, by SIGKILL
    run.process.communicate()
    assert place.exists()
    again = run_hasten(folder, "-n", "2", "-k", "other", env=cache, timeout=60)
    assert again.status == 0, again.describe()
    assert not place.exists()


def test_a_killed_keeper_takes_the_server_along(suite: Any, start_hasten: Any, cache: dict[str, str]) -> None:
    folder = suite({"meet.py": MEET, "schema.sql": SCHEMA, "test_waits.py": WAITS})
    settings(folder)
    run = start_hasten(folder, "-n", "2", env=cache)
    run.wait_file("waits")
    server = run.events("db_server")[0]
    os.kill(server["pid"], signal.SIGKILL)
    wait_until(lambda: not lives(server["server_pid"]), 10, "the server's end")


def test_a_server_killed_in_mid_run_is_started_again_and_its_tests_run_again_once(
    suite: Any, run_hasten: Any, cache: dict[str, str]
) -> None:
    test = """
        import os
        import pathlib
        import signal

        from meet import rows


        def test_kills(hasten_pg):
            rows(hasten_pg.url, "INSERT INTO t VALUES ('a')")
            assert rows(hasten_pg.url, "SELECT count(*) FROM t") == [2]
            if not pathlib.Path("killed").exists():
                pathlib.Path("killed").touch()
                data = rows(hasten_pg.url, "SHOW data_directory")[0]
                os.kill(int(pathlib.Path(data, "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
                while True:
                    rows(hasten_pg.url, "SELECT 1")


        def test_fails(hasten_pg):
            with pathlib.Path("fails").open("a") as f:
                f.write("x")
            raise ValueError


        def test_passes(hasten_pg):
            assert rows(hasten_pg.url, "SELECT 1") == [1]
    """
    folder = suite({"meet.py": MEET, "schema.sql": SCHEMA, "test_kills.py": test})
    settings(folder)
    run = run_hasten(folder, "-n", "1", env=cache, timeout=120)
    assert run.outcomes() == {"test_kills": "passed", "test_fails": "failed", "test_passes": "passed"}, run.describe()
    assert (folder / "fails").read_text() == "x"
    said = run.out.partition("databases (hasten)")[2]
    assert said.count("the PostgreSQL server was killed by SIGKILL") == 1, run.describe()
    assert run.events("db_restart", ok=True)


def test_a_set_up_that_fails_half_way_shows_its_output_and_leaves_nothing(
    suite: Any, run_hasten: Any, cache: dict[str, str]
) -> None:
    folder = suite(APART)
    settings(
        folder, more=', env = "DB"', schema="CREATE TABLE t(x int);\n\\echo half way\nINSERT INTO nowhere VALUES (1);\n"
    )
    run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
    assert run.status == 4, run.describe()
    assert "failed with status 3: psql:" in run.out + run.err
    assert 'relation "nowhere" does not exist' in run.out
    assert "LINE 1: INSERT INTO nowhere" in run.out
    (place,) = folders(run)
    assert not place.exists()
    assert not run.events("db_template_end", filled=True)
    (folder / "schema.sql").write_text(SCHEMA)
    again = run_hasten(folder, "-n", "2", env=cache, timeout=60)
    assert again.status == 0, again.describe()


def test_a_run_does_not_end_later_for_a_set_up_that_nobody_waits_for(
    suite: Any, run_hasten: Any, cache: dict[str, str]
) -> None:
    folder = suite({"schema.sql": "SELECT pg_sleep(600);\n", "test_x.py": "def test_x(): pass\ndef test_y(): pass"})
    settings(folder)
    run = run_hasten(folder, "-n", "2", env=cache, timeout=30)
    assert run.status == 0, run.describe()
    assert run.events("db_end")


@pytest.mark.parametrize(
    ("more", "env", "said"),
    [
        ("", {"HASTEN_PG_BIN": "/nowhere"}, "no PostgreSQL server in HASTEN_PG_BIN ('/nowhere')"),
        (", version = 99", {}, "PostgreSQL 99 is wanted, but there is only PostgreSQL"),
        (", colour = 3", {}, "postgres: 'colour' is not known"),
    ],
)
def test_what_cannot_work_is_one_line(
    suite: Any, run_hasten: Any, cache: dict[str, str], more: str, env: dict[str, str], said: str
) -> None:
    folder = suite(APART)
    settings(folder, more=more + ', env = "DB"')
    run = run_hasten(folder, "-n", "2", env=cache | env, timeout=60)
    assert run.status == 4, run.describe()
    lines = [line for line in (run.out + run.err).splitlines() if line.startswith("ERROR: ") and said in line]
    assert len(lines) == 1, run.describe()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system with room for a server and not for four databases more."""
    folder = Path("/tmp") / f"hasten-e2e-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=1777", "tmpfs", str(folder)]
    try:
        if os.geteuid() != 0 or subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            pytest.skip("no file system of a wanted size can be mounted here")
        yield folder
        subprocess.run(["umount", "-l", folder], check=True)
    finally:
        folder.rmdir()


def test_a_full_disk_is_one_line(suite: Any, run_hasten: Any, cache: dict[str, str], small_disk: Path) -> None:
    folder = suite({"schema.sql": SCHEMA, "test_x.py": "def test_x(): pass\ndef test_y(): pass"})
    settings(folder, more=', env = "DB"')
    env = cache | {"TMPDIR": str(small_disk), "HASTEN_DB_PLACE": "disk"}
    run = run_hasten(folder, "-n", "4", env=env, timeout=60)
    assert run.status == 4, run.describe()
    lines = [line for line in run.err.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1, run.describe()
    assert "the disk of the PostgreSQL server is full" in lines[0]
    assert not list(small_disk.glob("hasten-*-*/data"))


# ---- the keeper alone


@pytest.fixture
def keep(keepers: Any, cache: dict[str, str]) -> Callable[..., tuple[subprocess.Popen[str], dict[str, str]]]:
    """keep(*arguments, **Popen's) -> a keeper for a process of its own, and what it has said."""
    return lambda *args, **options: keepers(*args, **{"env": os.environ | cache} | options)


def test_a_given_server_keeps_templates_and_nothing_else(
    suite: Any, run_hasten: Any, cache: dict[str, str], keep: Any
) -> None:
    _process, facts = keep("--postgres")
    ask(facts["control"], "ready postgres")
    url = facts["postgres"].replace("hasten_" + facts["run"] + "_%s", "postgres")
    folder = suite(APART)
    settings(folder)
    (folder / "pyproject.toml").write_text(
        (folder / "pyproject.toml").read_text() + f"[tool.hasten.db]\nurl = '{url}'\n"
    )
    text = (folder / "pyproject.toml").read_text().replace("[tool.hasten.db]\nurl", "url")
    (folder / "pyproject.toml").write_text(text.replace("[tool.pytest.ini_options]\n", ""))
    builds = []
    for _ in range(2):
        for name in ("a.here", "b.here"):
            (folder / name).unlink(missing_ok=True)
        run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
        assert run.status == 0, run.describe()
        assert not run.events("db_server")
        builds.append(len(run.events("db_template_build")))
        with psycopg.connect(url) as connection:
            left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'hasten%'").fetchall()
        connection.close()
        assert [name.startswith("hasten_t_") for (name,) in left] == [True]
    assert builds == [1, 0]
    listed = subprocess.run(
        [find_program(), "db", "list", "--json", f"--db-url={url}"],
        env=os.environ | cache, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert left[0][0] in [entry["name"] for entry in json.loads(listed.stdout)]
    subprocess.run([find_program(), "db", "prune", "--all", f"--db-url={url}"], env=os.environ | cache, check=True)
    with psycopg.connect(url) as connection:
        assert not connection.execute("SELECT 1 FROM pg_database WHERE datname LIKE 'hasten_t%'").fetchall()
    connection.close()


def test_a_database_that_another_process_had_is_new(cache: dict[str, str], keep: Any) -> None:
    """The worker that takes the place of one that crashed has its number."""
    _process, facts = keep("--postgres")
    url = ask(facts["control"], "lease postgres gw0 11").removeprefix("ok ")
    for pid, tables in ((11, 1), (12, 0)):
        assert ask(facts["control"], f"lease postgres gw0 {pid}") == f"ok {url}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS mine()") if pid == 11 else None
            found = connection.execute("SELECT count(*) FROM pg_tables WHERE tablename = 'mine'").fetchone()
        connection.close()
        assert found == (tables,)


WRITES = (
    "INSERT INTO t{n}(a) SELECT generate_series(1, 50)", "TRUNCATE t{n} CASCADE", "DROP TABLE t{n} CASCADE",
    "CREATE TABLE x{n}(y int)", "SELECT nextval('t{n}_id_seq')", "SELECT lo_create(0)", "CREATE SCHEMA s{n}",
    "ALTER TABLE t{n} ADD COLUMN z{n} int", "UPDATE t{n} SET a = 9", "CREATE VIEW v{n} AS SELECT 1",
    "ALTER DATABASE {database} SET work_mem = '5MB'", "SELECT pg_advisory_lock({n})", "COMMENT ON TABLE t{n} IS 'c'",
)  # fmt: skip
LEFT = """
    SELECT (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE locktype = 'advisory' AND datname = current_database())
         + (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            WHERE datname = current_database())
"""


def content(url: str) -> list[str]:
    """The database as pg_dump writes it, and what it does not write."""
    dump = subprocess.run(["pg_dump", "--no-owner", "-d", url], capture_output=True, text=True, check=True).stdout
    with psycopg.connect(url) as connection:
        left = connection.execute(LEFT).fetchone()
    connection.close()
    return [line for line in dump.splitlines() if not line.startswith("\\")] + [str(left)]  # \\restrict RANDOM


def test_a_given_servers_password_is_nobodys_argument(
    suite: Any, run_hasten: Any, cache: dict[str, str], keep: Any
) -> None:
    _process, facts = keep("--postgres")
    assert ask(facts["control"], "ready postgres") == "ok"
    url = facts["postgres"].replace("postgres@", "postgres:sesame@").replace("hasten_" + facts["run"] + "_%s", "")
    test = """
        from pathlib import Path


        def commands():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    yield path.read_bytes()
                except OSError:
                    pass


        def test_a(hasten_pg):
            assert "postgres:sesame@" in hasten_pg.url
            found = list(commands())
            assert [line for line in found if b"\\0db\\0keep\\0" in line]
            assert not [line for line in found if b"sesame" in line]
    """
    folder = suite({"test_a.py": test})
    (folder / "pytest.ini").unlink()
    (folder / "pyproject.toml").write_text(f"[tool.hasten.db]\nurl = '{url}'\npostgres = {{}}\n")
    run = run_hasten(folder, "-n", "2", env=cache, timeout=60)
    assert run.outcomes() == {"test_a": "passed"}, run.describe()


@pytest.mark.skipif(not shutil.which("pg_dump"), reason="no pg_dump")
def test_whatever_was_written_is_gone_after_a_reset_and_never_in_another_database(tmp_path: Path, keep: Any) -> None:
    schema = tmp_path / "schema.sql"
    schema.write_text(
        "".join(f"CREATE TABLE t{n}(id serial, a int);\n" for n in range(10)) + "INSERT INTO t1(a) VALUES (1);"
    )
    _process, facts = keep("--postgres", f"--postgres-sql={schema}")
    other = ask(facts["control"], "lease postgres gw1 1").removeprefix("ok ")
    url = ask(facts["control"], "lease postgres gw0 1").removeprefix("ok ")
    name = url.partition("?")[0].rpartition("/")[2]
    before = content(url)
    chosen = random.Random(20261121)
    for _ in range(10):
        connection = psycopg.connect(url, autocommit=True)
        for statement in chosen.choices(WRITES, k=12):
            with contextlib.suppress(psycopg.Error):
                connection.execute(statement.format(n=chosen.randrange(10), database=name))
        if chosen.random() < 0.5:
            connection.close()
        assert content(other) == before
        assert ask(facts["control"], "reset postgres gw0 1") == f"ok {url}"
        assert content(url) == before
        connection.close()


def test_the_keeper_ends_with_the_process_for_which_it_keeps(keep: Any) -> None:
    process, facts = keep("--postgres")
    assert ask(facts["control"], "ready postgres") == "ok"
    folder = Path(facts["control"]).parent
    os.kill(int(folder.name), signal.SIGKILL)
    process.wait(20)
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("servers", [[], ["--postgres-each"]])
def test_it_works_as_a_user_who_is_not_root(keep: Any, servers: list[str]) -> None:
    own = Path("/tmp") / f"hasten-e2e-{os.getpid()}-{time.monotonic_ns()}"
    own.mkdir()
    shutil.copy(os.path.realpath(find_program()), own / "hasten")
    os.chown(own, 65534, 65534)
    try:
        env = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(own), "TMPDIR": str(own)}
        person = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": "/"}
        process, facts = keep("--postgres", *servers, program=str(own / "hasten"), env=env, **person)
        answer = ask(facts["control"], "lease postgres gw0 1")
        assert answer.startswith("ok postgresql://"), answer
        with psycopg.connect(answer[3:]) as connection:
            data = connection.execute("SHOW data_directory").fetchone()[0]
        connection.close()
        assert os.stat(data).st_uid == 65534
        process.terminate()
        process.wait(20)
        assert not os.path.exists(data)
    finally:
        shutil.rmtree(own)
