"""pytest-django's suites, unchanged: plain pytest's outcomes, one worker migrates and the others copy."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, read_cases
from database_writer import write, write_django
from servers import HAS_POSTGRES, Server, postgres, python_with

PYTHON = python_with("django", "pytest_django", "psycopg")
TABLES, MIGRATIONS = 4, 8
FAILS = "import pathlib\n\nif pathlib.Path('fails').exists():\n    raise ValueError('this migration fails')\n"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def module_server(cache: Path) -> Iterator[Server]:
    if not HAS_POSTGRES:
        pytest.skip("no PostgreSQL server")
    with postgres(cache) as server:
        yield server


@pytest.fixture
def server(module_server: Server) -> Iterator[Server]:
    yield module_server
    module_server.clear()


@pytest.fixture
def env(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """With a cache of its own: templates are counted. The environment has more plugins, which change tests' order."""
    monkeypatch.setenv("HASTEN_PROGRAM", str(Path(PYTHON).with_name("hasten")))
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_django.plugin"}
    return plugins | {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("own"))}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_django(tmp_path, TABLES, MIGRATIONS, files=2, rounds=1)
    return tmp_path


def plain(folder: Path, env: dict[str, str], *args: str) -> dict[str, str]:
    path = folder / "plain.xml"
    command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--junitxml={path}", *args]
    subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, check=False)
    return {case.name: case.outcome for case in read_cases(path)}


def kept_and_used(run: Run) -> tuple[int, bool]:
    """How many templates were kept, and whether one was used: a worker may come too late to have any test."""
    kept = len(run.events("db_template_kept"))
    return kept, kept == 0 and run.events("db_template_use") != []


@pytest.mark.parametrize("kind", ["postgres", "file", "memory"])
def test_outcomes_are_plain_pytests_and_only_one_worker_migrates(
    kind: str, project: Path, run_hasten: Any, env: dict[str, str], request: pytest.FixtureRequest
) -> None:
    if kind == "postgres":
        env["DB_URL"] = request.getfixturevalue("server").url
    elif kind == "file":
        env["DB_FILE"] = str(project / "test_")
    expected = plain(project, env)
    assert set(expected.values()) == {"passed"}, expected
    for kept in (2, 0):  # two databases
        run = run_hasten(project, "-n", "2", env=env, timeout=120)
        assert run.outcomes() == expected, run.describe()
        assert kept_and_used(run) == (kept, kept == 0), run.describe()
    if kind == "postgres":
        off = run_hasten(project, "-n", "2", env=env | {"HASTEN_DB_ADAPTERS": "0"}, timeout=120)
        assert off.outcomes() == expected, off.describe()
        assert kept_and_used(off) == (0, False)


def test_a_changed_migration_is_another_template(
    project: Path, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    env["DB_URL"] = server.url
    arguments = ("-n", "2", "-k", "migrated or rows")
    assert run_hasten(project, *arguments, env=env, timeout=120).status == 0
    last = project / "shop" / "migrations" / f"{MIGRATIONS:04}_m.py"
    last.write_text(last.read_text().replace('name="seed"', 'name="other"'))
    run = run_hasten(project, *arguments, env=env, timeout=120)
    assert {name: outcome for name, outcome in run.outcomes().items() if "rows" in name} == {
        "test_rows_0[0]": "failed",
        "test_rows_1[0]": "failed",
    }, run.describe()


def test_a_model_without_its_migration_is_as_in_plain_pytest(
    project: Path, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    env["DB_URL"] = server.url
    arguments = ("-k", "rows or migrated")
    assert run_hasten(project, "-n", "2", *arguments, env=env, timeout=120).status == 0
    models = project / "shop" / "models.py"
    models.write_text(models.read_text().replace("size = models", "weight = models"))
    expected = plain(project, env, *arguments)
    assert "failed" in expected.values()
    run = run_hasten(project, "-n", "2", *arguments, env=env, timeout=120)
    assert run.outcomes() == expected, run.describe()


def test_a_database_that_is_kept_is_left_alone(
    project: Path, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    env["DB_URL"] = server.url
    counts = []
    for args in (("--reuse-db",), ("--reuse-db",), ("--reuse-db", "--create-db"), ("--no-migrations", "--create-db")):
        run = run_hasten(project, "-n", "2", "-k", "test_rows", *args, env=env, timeout=120)
        outcome = "failed" if "--no-migrations" in args else "passed"  # the row is a migration's
        assert set(run.outcomes().values()) == {outcome}, run.describe()
        counts.append(kept_and_used(run))
    assert counts == [(1, False), (0, False), (0, True), (1, False)]


def test_own_receivers_of_signals_run_in_every_worker(
    project: Path, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    """They insert a row more each time, so that once too often, or never, would be seen."""
    env["DB_URL"] = server.url
    write(
        project,
        {
            "shop/__init__.py": "",
            "shop/apps.py": """
                from django.apps import AppConfig
                from django.db.models.signals import post_migrate, pre_migrate

                heard = []


                def after(plan, using, apps, **kwargs):
                    heard.append(("post", len(plan)))
                    apps.get_model("shop", "M1").objects.using(using).create(name="of the signal")


                def before(plan, using, **kwargs):
                    from django.db import connections

                    heard.append(("pre", len(plan), "shop_m0" in connections[using].introspection.table_names()))


                class Shop(AppConfig):
                    name = "shop"

                    def ready(self):
                        post_migrate.connect(after, sender=self)
                        pre_migrate.connect(before, sender=self)
            """,
            **{
                f"tests/test_signal_{n}.py": f"""
                import pytest
                from shop.apps import heard
                from shop.models import M0, M1


                @pytest.mark.django_db
                def test_signal_{n}():
                    assert [row.name for row in M1.objects.all()] == ["of the signal"]
                    assert [row.name for row in M0.objects.all()] == ["seed"]
                    (before, steps, was_there), after = heard[:2]
                    assert (before, was_there) == ("pre", False)
                    assert after == ("post", steps) and steps > {MIGRATIONS}
                """
                for n in range(4)
            },
        },
    )
    for kept in (1, 0):
        run = run_hasten(project, "-n", "2", "-k", "signal", env=env, timeout=120)
        assert set(run.outcomes().values()) == {"passed"}, run.describe()
        assert kept_and_used(run) == (kept, kept == 0), run.describe()


def test_warnings_of_migrations_are_shown_and_fail_with_a_copy_as_well(
    project: Path, run_hasten: Any, env: dict[str, str]
) -> None:
    last = project / "shop" / "migrations" / f"{MIGRATIONS:04}_m.py"
    warn = "def seed(apps, editor):\n    import warnings\n    warnings.warn('of the migration')\n"
    last.write_text(last.read_text().replace("def seed(apps, editor):\n", warn))
    for kept in (1, 0):
        run = run_hasten(project, "-n", "2", "-k", "rows", env=env, timeout=120)
        assert run.status == 0, run.describe()
        assert kept_and_used(run) == (kept, kept == 0), run.describe()
        assert "UserWarning: of the migration" in run.out, run.describe()
    run = run_hasten(project, "-n", "2", "-k", "rows", "-W", "error::UserWarning", env=env, timeout=120)
    assert set(run.outcomes().values()) == {"error"}, run.describe()


def test_a_build_that_fails_half_way_leaves_nothing(
    project: Path, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    env["DB_URL"] = server.url
    last = project / "shop" / "migrations" / f"{MIGRATIONS:04}_m.py"
    last.write_text(last.read_text().replace("def seed(apps, editor):\n", "def seed(apps, editor):\n    check()\n"))
    last.write_text(last.read_text() + "\n\ndef check():\n    " + FAILS.replace("\n", "\n    ").rstrip() + "\n")
    (project / "fails").touch()
    run = run_hasten(project, "-n", "2", "-k", "rows", env=env, timeout=120)
    assert set(run.outcomes().values()) == {"error"}, run.describe()
    assert "this migration fails" in run.text_of("test_rows_0[0]")
    assert not server.templates()
    (project / "fails").unlink()
    again = run_hasten(project, "-n", "2", "-k", "rows", env=env, timeout=120)
    assert again.status == 0, again.describe()
    assert kept_and_used(again) == (1, False)


def test_kill_9_in_the_middle_of_a_build_leaves_no_template(
    project: Path, start_hasten: Any, run_hasten: Any, env: dict[str, str], server: Server
) -> None:
    env["DB_URL"] = server.url
    last = project / "shop" / "migrations" / f"{MIGRATIONS:04}_m.py"
    wait = "    import pathlib, time\n    while not pathlib.Path('go').exists():\n"
    wait += "        pathlib.Path('builds').write_text('yes')\n        time.sleep(0.02)\n"
    last.write_text(last.read_text().replace("def seed(apps, editor):\n", "def seed(apps, editor):\n" + wait))
    run = start_hasten(project, "-n", "2", "-k", "rows", env=env)
    run.wait_file("builds", 60)
    run.end()
    run.process.communicate()
    assert not server.templates()
    (project / "go").touch()
    again = run_hasten(project, "-n", "2", "-k", "rows", env=env, timeout=120)
    assert again.status == 0, again.describe()
    assert kept_and_used(again) == (1, False)


def test_the_worker_that_builds_may_die(project: Path, run_hasten: Any, env: dict[str, str], server: Server) -> None:
    env["DB_URL"] = server.url
    last = project / "shop" / "migrations" / f"{MIGRATIONS:04}_m.py"
    die = "    import os, pathlib, signal\n    try:\n        pathlib.Path('died').touch(exist_ok=False)\n"
    die += (
        f"    except FileExistsError:\n        pass\n    else:\n        os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    last.write_text(last.read_text().replace("def seed(apps, editor):\n", "def seed(apps, editor):\n" + die))
    run = run_hasten(project, "-n", "2", "-k", "rows or migrated or isolated", env=env, timeout=120)
    outcomes = sorted(run.outcomes().values())
    assert outcomes.count("passed") == len(outcomes) - 1, run.describe()
    assert len(run.events("db_template_kept")) == 1


def test_two_runs_at_once_build_one_template(
    project: Path, start_hasten: Any, env: dict[str, str], server: Server
) -> None:
    env["DB_URL"] = server.url
    runs = [start_hasten(project, "-n", "2", "-k", "rows", env=env | {"DB_NAME": name}) for name in ("a", "b")]
    for run in runs:
        run.finish(120)
        assert run.status == 0, run.describe()
    assert sum(kept_and_used(run)[0] for run in runs) == 1


def test_settings_turn_it_off(project: Path, run_hasten: Any, env: dict[str, str]) -> None:
    settings = "[tool.hasten.db]\nadapters = {}\n"
    for value, kept in (("[]", 0), ('["django"]', 1)):
        (project / "pyproject.toml").write_text(settings.format(value))
        run = run_hasten(project, "-n", "2", "-k", "rows", env=env, timeout=120)
        assert run.status == 0, run.describe()
        assert kept_and_used(run) == (kept, False)
    (project / "pyproject.toml").write_text(settings.format('["oracle"]'))
    run = run_hasten(project, "-n", "2", env=env)
    assert run.status == 4
    assert "adapters: true, false, or a list of django" in run.out + run.err
