"""Suites of SQLAlchemy, Alembic and pytest-postgresql, unchanged: plain pytest's outcomes, and one worker builds."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from database_writer import write, write_alembic
from servers import HAS_POSTGRES, Server, plain_outcomes, postgres, python_with

PYTHON = python_with("alembic", "sqlalchemy", "psycopg")
TABLES, MIGRATIONS = 4, 8
ALWAYS = {"HASTEN_TEST_DB_SLOW": "0", "HASTEN_TEST_DB_TABLES": "1"}  # even what is as quick as a copy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not HAS_POSTGRES:
        pytest.skip("no PostgreSQL server")
    with postgres(tmp_path_factory.mktemp("cache")) as server:
        yield server


@pytest.fixture
def env(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("HASTEN_PROGRAM", str(Path(PYTHON).with_name("hasten")))
    return ALWAYS | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("own"))}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_alembic(tmp_path, TABLES, MIGRATIONS, files=2, rounds=1)
    return tmp_path


def plain(folder: Path, env: dict[str, str]) -> dict[str, str]:
    return plain_outcomes(PYTHON, folder, env, "-p", "no:xdist")


def kept(run: Run) -> int:
    return len(run.events("db_template_kept"))


@pytest.mark.parametrize("kind", ["postgres", "sqlite"])
def test_outcomes_are_plain_pytests(
    kind: str, project: Path, run_hasten: Any, env: dict[str, str], request: pytest.FixtureRequest
) -> None:
    if kind == "postgres":
        env["DB_URL"] = request.getfixturevalue("server").url
    expected = plain(project, env)
    assert set(expected.values()) == {"passed"}, expected
    for n in (2, 0):  # one of migrations, one of metadata
        run = run_hasten(project, "-n", "2", env=env, timeout=120)
        assert run.outcomes() == expected, run.describe()
        assert kept(run) == n, run.describe()
        assert n or run.events("db_template_use"), run.describe()
    if kind == "postgres":
        off = run_hasten(project, "-n", "2", env=env | {"HASTEN_DB_ADAPTERS": "0"}, timeout=120)
        assert off.outcomes() == expected, off.describe()
        assert not off.events("db_template_use")


def test_a_changed_revision_or_model_is_another_template(
    project: Path, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    env["DB_URL"] = server.url
    assert run_hasten(project, "-n", "2", env=env, timeout=120).status == 0
    last = project / "migrations" / "versions" / f"{MIGRATIONS:04}_m.py"
    last.write_text(last.read_text().replace("'seed'", "'other'"))
    models = (project / "shop.py").read_text()
    (project / "shop.py").write_text(models + 'sa.Table("t_new", metadata, sa.Column("id", sa.Integer))\n')
    run = run_hasten(project, "-n", "2", env=env, timeout=120)
    failed = sorted(name for name, outcome in run.outcomes().items() if outcome == "failed")
    assert {name[:10] for name in failed} == {"test_migra", "test_rows_", "test_creat"}, run.describe()
    assert kept(run) == 2


def test_a_database_that_is_not_empty_or_not_alone_is_migrated_as_ever(
    project: Path, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    """The suite has made a table, and holds a connection, before it migrates."""
    env["DB_URL"] = server.url
    conftest = (project / "conftest.py").read_text()
    held = "    upgrade(url)\n    engine = sqlalchemy.create_engine(url)\n"
    assert held in conftest
    first = "    engine = sqlalchemy.create_engine(url)\n    held = engine.connect()\n"
    first += '    held.exec_driver_sql("SELECT 1")\n'
    (project / "conftest.py").write_text(conftest.replace(held, first + "    upgrade(url)\n"))
    run = run_hasten(project, "-n", "2", "-k", "migrated", env=env, timeout=120)
    assert run.status == 0, run.describe()
    assert (kept(run), run.events("db_template_use")) == (0, [])
    table = '    held.exec_driver_sql("CREATE TABLE mine()")\n    held.commit()\n    engine.dispose()\n'
    (project / "conftest.py").write_text(conftest.replace(held, first + table + "    upgrade(url)\n"))
    test = "\n\ndef test_mine(connection):\n    connection.exec_driver_sql('SELECT * FROM mine')\n"
    (project / "test_1.py").write_text((project / "test_1.py").read_text() + test)
    for _ in range(2):
        run = run_hasten(project, "-n", "2", "-k", "migrated or mine", env=env, timeout=120)
        assert run.status == 0, run.describe()
        assert kept(run) == 0


def test_a_failing_revision_leaves_nothing(project: Path, run_hasten: Any, env: dict[str, str], server: Server) -> None:
    env["DB_URL"] = server.url
    last = project / "migrations" / "versions" / f"{MIGRATIONS:04}_m.py"
    good = last.read_text()
    last.write_text(good.replace("op.execute(", "op.execute('SELECT nothing'); op.execute("))
    before = server.templates()
    run = run_hasten(project, "-n", "2", "-k", "migrated", env=env, timeout=120)
    assert set(run.outcomes().values()) == {"error"}, run.describe()
    assert server.templates() == before
    last.write_text(good)
    assert run_hasten(project, "-n", "2", "-k", "migrated", env=env, timeout=120).status == 0


def test_a_worker_that_dies_while_it_builds_is_followed_by_another(
    project: Path, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    env["DB_URL"] = server.url
    last = project / "migrations" / "versions" / f"{MIGRATIONS:04}_m.py"
    die = "import os, pathlib\n    if not pathlib.Path('died').exists():\n        pathlib.Path('died').touch()\n"
    die += f"        os.kill(os.getpid(), {int(signal.SIGKILL)})\n    op.execute("
    last.write_text(last.read_text().replace("op.execute(", die))
    run = run_hasten(project, "-n", "2", "-k", "migrated or rows", env=env, timeout=120)
    outcomes = list(run.outcomes().values())
    assert outcomes.count("passed") == len(outcomes) - 1, run.describe()
    assert kept(run) == 1


# ---- pytest-postgresql

LOADS = {
    "schema.sql": "CREATE TABLE t(who text);\nINSERT INTO t VALUES ('sql');\n",
    "loader.py": """
        import os

        import psycopg


        def more(host, port, user, dbname, password, **kwargs):
            with psycopg.connect(host=host, port=port, user=user, dbname=dbname, password=password) as connection:
                connection.execute("INSERT INTO t VALUES ('more')")
    """,
    "conftest.py": """
        import pathlib

        from loader import more
        from pytest_postgresql import factories

        HERE = pathlib.Path(__file__).parent
        given = factories.postgresql_{kind}(load=[HERE / "schema.sql", more])
        client = factories.postgresql("given")
    """,
    "test_a.py": """
        import pytest


        @pytest.mark.parametrize("n", range(4))
        def test_own(client, n):
            with client.cursor() as cursor:
                cursor.execute("SELECT who FROM t ORDER BY 1")
                assert cursor.fetchall() == [("more",), ("sql",)]
                cursor.execute("INSERT INTO t VALUES ('x')")
            client.commit()
    """,
}


def test_pytest_postgresql_loads_once(tmp_path: Path, run_hasten: Any, env: dict[str, str], server: Server) -> None:
    python_with("pytest_postgresql")
    ini = f"[pytest]\npythonpath = .\npostgresql_host = {server.sockets}\npostgresql_user = postgres\n"
    write(tmp_path, LOADS | {"conftest.py": LOADS["conftest.py"].format(kind="noproc")})
    (tmp_path / "pytest.ini").write_text(ini)
    expected = plain(tmp_path, env)
    assert list(expected.values()) == ["passed"] * 4, expected
    for n, changed in ((2, ""), (0, ""), (2, "-- changed\n")):
        (tmp_path / "schema.sql").write_text((tmp_path / "schema.sql").read_text() + changed)
        run = run_hasten(tmp_path, "-n", "2", env=env, timeout=120)
        assert run.outcomes() == expected, run.describe()
        assert kept(run) == n
        assert not [name for name in server.databases() if name.startswith("tests")]


@pytest.mark.skipif(os.geteuid() == 0, reason="pytest-postgresql starts no server as root")
def test_pytest_postgresql_starts_from_a_copy(tmp_path: Path, run_hasten: Any, env: dict[str, str]) -> None:
    python_with("pytest_postgresql")
    if not shutil.which("pg_ctl") and not list(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")):
        pytest.skip("no pg_ctl")
    write(tmp_path, LOADS | {"conftest.py": LOADS["conftest.py"].format(kind="proc")})
    found = shutil.which("pg_ctl") or str(sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))[-1])
    ini = f"[pytest]\npythonpath = .\npostgresql_exec = {found}\npostgresql_unixsocketdir = /tmp\n"
    (tmp_path / "pytest.ini").write_text(ini)
    for n in (True, False):
        run = run_hasten(tmp_path, "-n", "2", env=env, timeout=120)
        assert set(run.outcomes().values()) == {"passed"}, run.describe()
        assert bool(kept(run)) == n
        assert n or run.events("db_template_use")
