"""Suites whose code keeps a database's URL at import: imported once, and every worker has its own database."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from bound_suites import COMMON, MAKE, ONE, OWN, SCHEMA
from conftest import Run
from servers import HAS_POSTGRES, plain_outcomes, postgres, python_with

PYTHON = python_with("psycopg", "sqlalchemy", "redis")
pytestmark = pytest.mark.skipif(not HAS_POSTGRES, reason="no PostgreSQL server")

SETTINGS = """
[tool.hasten.db]
postgres = { setup = "schema.sql", env = "DATABASE_URL" }
"""
# Each of these runs takes seconds.
more_only = pytest.mark.skipif(not os.environ.get("HASTEN_TEST_BOUND"), reason="HASTEN_TEST_BOUND=1 has these run, too")

ONE_SERVER = 'servers = "run"\n'
FILES = """
sqlite = { setup = "files:make", files = ["files.py"], env = "FILE_URL", form = "path" }
"""
REDIS = """
redis = { env = "REDIS_URL" }
"""


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One cache for this module: initdb takes seconds."""
    cache = str(tmp_path_factory.mktemp("cache"))
    # Some of the plugins that may be installed beside the drivers connect to their own servers: an early start.
    return {"XDG_CACHE_HOME": cache, "PYTHONPATH": ".", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HASTEN_PROGRAM", str(Path(PYTHON).with_name("hasten")))


def settings(folder: Path, more: str = "") -> None:
    (folder / "pytest.ini").unlink(missing_ok=True)
    (folder / "pyproject.toml").write_text(SETTINGS + more + "[tool.pytest.ini_options]\n")
    (folder / "schema.sql").write_text(SCHEMA)


def whole(suite: Any, n: int) -> Path:
    """Of n files, one for each worker."""
    if not shutil.which("redis-server"):
        pytest.skip("no Redis server")
    folder: Path = suite(OWN | {f"test_{own}.py": ONE.format(own=own, n=n) for own in "abcd"[:n]})
    settings(folder, FILES + REDIS)
    return folder


def noted(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "noted").read_text().splitlines()]


def plain(folder: Path, env: dict[str, str]) -> dict[str, str]:
    return plain_outcomes(PYTHON, folder, env, "-p", "hasten.plugin")


def starts_early(run: Run) -> str:
    """Why; "" when workers were forked with everything imported."""
    return "; ".join(event["why"] for event in run.events("early"))


@pytest.mark.parametrize(("n", "more"), [(2, ONE_SERVER), (4, "")])
def test_what_was_bound_at_import_is_each_workers_own(
    n: int, more: str, suite: Any, run_hasten: Any, env: dict[str, str]
) -> None:
    folder = whole(suite, n)
    settings(folder, FILES + REDIS + more)
    run = run_hasten(folder, "-n", str(n), "--dist=loadfile", env=env, timeout=120)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
    assert len(run.outcomes()) == 3 * n, run.describe()
    assert not starts_early(run), run.describe()
    lines = noted(folder)
    assert len({imported for imported, *_rest in lines}) == 1
    assert len({worker for _imported, worker, *_rest in lines}) == n
    for kind in ("postgres", "sqlite", "redis"):
        assert len({name for *_rest, of, name in lines if of == kind}) == n, lines
    assert [event["what"] for event in run.events("db_seal")] in ([""], [])  # [] where no server was there to be closed


@pytest.mark.parametrize("switch", ["on", "off", pytest.param("setting", marks=more_only)])
def test_outcomes_are_plain_pytests_with_and_without(
    switch: str, suite: Any, run_hasten: Any, env: dict[str, str]
) -> None:
    folder = whole(suite, 1)
    (folder / "test_other.py").write_text("def test_fails(): assert 1 == 2\ndef test_other(): pass\n")
    expected = plain(folder, env)
    assert expected["test_a_postgres"] == "passed", expected
    assert expected["test_fails"] == "failed", expected
    if switch == "setting":
        settings(folder, FILES + REDIS + "rebind = false\n")
    run = run_hasten(folder, "-n", "2", env=env | ({"HASTEN_DB_REBIND": "0"} if switch == "off" else {}), timeout=60)
    assert run.outcomes() == expected, run.describe()
    assert bool(starts_early(run)) is (switch != "on"), run.describe()


@more_only
def test_a_remembered_early_start_for_a_variable_is_forgotten(suite: Any, run_hasten: Any, env: dict[str, str]) -> None:
    folder = whole(suite, 1)
    early = run_hasten(folder, "-n", "2", env=env | {"HASTEN_DB_REBIND": "0"}, timeout=60)
    assert "_URL is read at" in starts_early(early), early.describe()
    run = run_hasten(folder, "-n", "2", env=env, timeout=60)
    assert run.status == 0, run.describe()
    assert not starts_early(run), run.describe()
    assert len({imported for imported, *_rest in noted(folder)[3:]}) == 1


# ---- what code at import may do, and what it may not

READS = """
    import os

    import psycopg

    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        COLUMNS = connection.execute("SELECT count(*) FROM pg_attribute WHERE attname = 'who'").fetchone()
        ROWS = connection.execute("SELECT * FROM t").fetchall()
"""
USES = """
    import os

    import at_import
    import common
    import psycopg

    URL = os.environ["DATABASE_URL"]


    def test_{own}():
        with psycopg.connect(URL) as connection:
            name = connection.execute("SELECT current_database()").fetchone()[0]
            connection.execute("INSERT INTO t VALUES ('{own}')")
        common.note("postgres", name)
        common.meet("{own}", 2)
        with psycopg.connect(URL) as connection:
            assert connection.execute("SELECT count(*) FROM t WHERE who <> 'seed'").fetchone()[0] == 2
            assert {check}
"""


def using(suite: Any, at_import: str, check: str = "True", more: str = "") -> Path:
    files = {f"test_{own}.py": USES.format(own=own, check=check) for own in "ab"}
    folder: Path = suite({"common.py": COMMON, "at_import.py": at_import} | files)
    settings(folder, more)
    return folder


def served_early(folder: Path, run: Run) -> str:
    """Every worker has imported for itself, and had a database for itself; returns why."""
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
    last = noted(folder)[-2:]
    assert len({name for *_rest, name in last}) == len({worker for _imported, worker, *_rest in last}), last
    assert all(imported == worker for imported, worker, *_rest in last), last
    return starts_early(run)


def test_code_at_import_may_ask_its_database(suite: Any, run_hasten: Any, env: dict[str, str]) -> None:
    folder = using(suite, READS, "at_import.COLUMNS == (1,) and at_import.ROWS == [('template',)]")
    run = run_hasten(folder, "-n", "2", "--dist=loadfile", env=env, timeout=60)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
    assert not starts_early(run), run.describe()
    assert len({name for *_rest, name in noted(folder)}) == 2


@pytest.mark.parametrize(
    ("at_import", "check", "why"),
    [
        (
            READS + '\n    KEPT = psycopg.connect(os.environ["DATABASE_URL"])\n',
            "at_import.KEPT.execute('SELECT 1').fetchone() == (1,)",
            "a connected socket was opened",
        ),
        (
            READS.replace("SELECT * FROM t", "INSERT INTO t VALUES ('seed') RETURNING *"),
            """connection.execute("SELECT count(*) FROM t WHERE who = 'seed'").fetchone() == (1,)""",
            "the database was changed before the workers are forked",
        ),
        pytest.param(
            READS + '        connection.execute("CREATE TABLE IF NOT EXISTS more(x int)")\n',
            'connection.execute("SELECT count(*) FROM more").fetchone() == (0,)',
            "the database was changed before the workers are forked",
            marks=more_only,
        ),
    ],
    ids=["a connection", "a row", "a table"],
)
def test_what_code_at_import_leaves_takes_the_early_start(
    at_import: str, check: str, why: str, suite: Any, run_hasten: Any, env: dict[str, str]
) -> None:
    folder = using(suite, at_import, check)
    run = run_hasten(folder, "-n", "2", "--dist=loadfile", env=env, timeout=60)
    assert why in served_early(folder, run), run.describe()
    assert f"workers start early, before conftests are imported: {starts_early(run)}" in run.out + run.err


@pytest.mark.parametrize(
    ("kind", "at_import", "why"),
    [
        ("file", "KEPT = sqlite3.connect(os.environ['FILE_URL'])", "was opened before the workers are forked"),
        (
            "file",
            "c = sqlite3.connect(os.environ['FILE_URL']); c.execute('INSERT INTO t VALUES (1)'); c.commit(); c.close()",
            "the database of FILE_URL was changed",
        ),
        (
            "redis",
            "c = redis.Redis.from_url(os.environ['REDIS_URL']); c.set('a', 1); c.close()",
            "the database of REDIS_URL was changed",
        ),
    ],
    ids=["an open file", "a row", "a key"],
)
def test_what_code_at_import_leaves_in_files_and_caches(
    kind: str, at_import: str, why: str, suite: Any, run_hasten: Any, env: dict[str, str]
) -> None:
    if kind == "redis" and not shutil.which("redis-server"):
        pytest.skip("no Redis server")
    test = f"import os\nimport redis\nimport sqlite3\n{at_import}\ndef test_x(): pass\ndef test_y(): pass\n"
    folder = suite({"files.py": MAKE, "test_x.py": test})
    (folder / "pyproject.toml").write_text("[tool.hasten.db]" + (FILES if kind == "file" else REDIS))
    run = run_hasten(folder, "-n", "2", env=env, timeout=60)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
    assert why in starts_early(run), run.describe()


BY_PROGRAM = """
    import os
    import subprocess

    ASK = ["psql", "-X", "-A", "-t", "-c", "SELECT who FROM t", os.environ["DATABASE_URL"]]
    ROWS = subprocess.run(ASK, capture_output=True, text=True, check=True).stdout.split()
"""


@more_only
def test_another_program_at_import_takes_the_early_start(suite: Any, run_hasten: Any, env: dict[str, str]) -> None:
    folder = using(suite, BY_PROGRAM, "at_import.ROWS == ['template']", ONE_SERVER)
    run = run_hasten(folder, "-n", "2", "--dist=loadfile", env=env, timeout=60)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()


def test_on_a_given_server_nothing_is_left(suite: Any, run_hasten: Any, env: dict[str, str]) -> None:
    folder = using(suite, READS, "at_import.COLUMNS == (1,)")
    with postgres(Path(env["XDG_CACHE_HOME"])) as server:
        settings(folder, f'url = "{server.url}"\n')
        run = run_hasten(folder, "-n", "2", "--dist=loadfile", env=env, timeout=60)
        assert set(run.outcomes().values()) == {"passed"}, run.describe()
        assert not starts_early(run), run.describe()
        assert len({name for *_rest, name in noted(folder)}) == 2
        assert {name for name in server.databases() if not name.startswith("hasten_t_")} == set()


# ---- what is not seen

HASHED = """
    import hashlib
    import os
    from urllib.parse import urlsplit

    import psycopg
    import pytest

    URL = os.environ["DATABASE_URL"]
    NAME = "t" + hashlib.md5(urlsplit(URL).path.encode()).hexdigest()[:12]
    OWN = urlsplit(URL)._replace(path=f"/{NAME}").geturl()


    @pytest.fixture(scope="session")
    def own():
        with psycopg.connect(URL, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                connection.execute(f"CREATE DATABASE {NAME}")
        with psycopg.connect(OWN, autocommit=True) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t(who text)")
        return OWN
"""
PREFIXED = HASHED.replace(
    '"t" + hashlib.md5(urlsplit(URL).path.encode()).hexdigest()[:12]', 'urlsplit(URL).path[1:] + "_test"'
)
SHARED = """
    import os

    import common
    import psycopg


    def test_before_{own}():
        assert True


    def test_{own}(own):
        with psycopg.connect(own) as connection:
            name = connection.execute("SELECT current_database()").fetchone()[0]
            connection.execute("INSERT INTO t VALUES (%s)", [str(os.getpid())])
        common.note("postgres", name)
        common.meet("{own}", {n})
        with psycopg.connect(own) as connection:
            assert {{row[0] for row in connection.execute("SELECT who FROM t")}} == {{str(os.getpid())}}


    def test_after_{own}():
        assert True
"""
COMPARES = """
    import os

    import common

    URL = os.environ["DATABASE_URL"]


    def test_{own}(hasten_pg):
        common.note("postgres", hasten_pg.url)
        common.meet("{own}", 2)
        assert hasten_pg.url == URL
"""
BY_PSQL = """
    import os

    import common

    URL = os.environ["DATABASE_URL"]


    def test_{own}():
        ask = ["psql", "-X", "-A", "-t", "-o", "name-{own}", "-c", "SELECT current_database()", URL]
        assert os.spawnvp(os.P_WAIT, "psql", ask) == 0
        with open("name-{own}") as f:
            common.note("postgres", f.read().strip())
        common.meet("{own}", 2)
"""


@pytest.mark.parametrize(
    ("conftest", "test", "more", "why"),
    [
        (HASHED, SHARED, ONE_SERVER, "which every worker would"),
        pytest.param(PREFIXED, SHARED, ONE_SERVER, "", marks=more_only),
        (PREFIXED, SHARED, "", ""),
        ("", COMPARES, "", "a database of the time before the workers were forked"),
        pytest.param("", BY_PSQL, "", "a database of the time before the workers were forked", marks=more_only),
    ],
    ids=["a hashed name", "a name in a statement", "the same, own servers", "a compared name", "another program"],
)
def test_a_name_that_is_not_seen_is_never_shared(
    conftest: str, test: str, more: str, why: str, suite: Any, run_hasten: Any, env: dict[str, str]
) -> None:
    folder = suite(
        {"common.py": COMMON, "conftest.py": conftest} | {f"test_{o}.py": test.format(own=o, n=1) for o in "ab"}
    )
    settings(folder, more)
    run = run_hasten(folder, "-n", "2", "-x", "--dist=loadfile", env=env, timeout=90)
    assert why in served_early(folder, run), run.describe()
    assert "what is left of the tests runs in workers that start early" in run.out + run.err
    if test is not COMPARES:
        return
    shutil.rmtree(folder / "here")
    again = run_hasten(folder, "-n", "2", "--dist=loadfile", env=env, timeout=60)
    assert again.status == 0, again.describe()
    assert not again.events("db_seal"), again.describe()  # early from its beginning, as it is known now


def test_a_name_that_is_not_seen_is_private_on_a_server_of_ones_own(
    suite: Any, run_hasten: Any, env: dict[str, str]
) -> None:
    # They look at what the other one has written.
    tests = {f"test_{own}.py": SHARED.format(own=own, n=2) for own in "ab"}
    folder = suite({"common.py": COMMON, "conftest.py": HASHED} | tests)
    settings(folder)
    run = run_hasten(folder, "-n", "2", "--dist=loadfile", env=env, timeout=60)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
    assert not starts_early(run), run.describe()
    assert len({worker for _imported, worker, *_rest in noted(folder)}) == 2


@more_only
def test_a_name_that_is_not_seen_is_an_error_where_the_start_was_chosen(
    suite: Any, run_hasten: Any, env: dict[str, str]
) -> None:
    folder = suite({"common.py": COMMON} | {f"test_{o}.py": BY_PSQL.format(own=o) for o in "ab"})
    settings(folder)
    run = run_hasten(folder, "-n", "2", "--start=template", env=env, timeout=60)
    assert set(run.outcomes().values()) == {"failed"}, run.describe()


# ---- Django

MANAGE = """
    import os
    from urllib.parse import parse_qsl, unquote, urlsplit

    PARTS = urlsplit(os.environ["DATABASE_URL"])
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": unquote(PARTS.path[1:]),
            "USER": PARTS.username or "",
            "HOST": dict(parse_qsl(PARTS.query)).get("host", PARTS.hostname or ""),
        }
    }
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth"]
    USE_TZ = True
"""
OF_DJANGO = """
    import common
    import pytest
    from django.conf import settings
    from django.contrib.auth.models import User
    from django.db import connection

    NAME = settings.DATABASES["default"]["NAME"]


    @pytest.mark.django_db(transaction={transaction})
    def test_{own}():
        User.objects.create(username="{own}")
        common.note("postgres", connection.settings_dict["NAME"])
        common.meet("{own}", {n})
        assert [user.username for user in User.objects.all()] == ["{own}"]
        assert settings.DATABASES["default"]["NAME"] != NAME


    def test_of_nobody_{own}():
        assert settings.DATABASES["default"]["ENGINE"]
"""


def test_djangos_settings_are_each_workers_own(suite: Any, run_hasten: Any, env: dict[str, str]) -> None:
    python_with("django", "pytest_django")
    files = {f"test_{own}.py": OF_DJANGO.format(own=own, n=2, transaction=own == "b") for own in "ab"}
    folder = suite({"common.py": COMMON, "config.py": MANAGE} | files)
    settings(folder)
    own = env | {"DJANGO_SETTINGS_MODULE": "config"}
    run = run_hasten(folder, "-n", "2", "--dist=loadfile", "-p", "pytest_django.plugin", env=own, timeout=120)
    assert set(run.outcomes().values()) == {"passed"}, run.describe()
    assert len(run.outcomes()) == 4, run.describe()
    assert not starts_early(run), run.describe()
    assert len({imported for imported, *_rest in noted(folder)}) == 1
    assert len({name for *_rest, name in noted(folder)}) == 2
