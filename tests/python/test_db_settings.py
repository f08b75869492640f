"""[tool.hasten.db]: what it may say, when a template counts as the same, and what fixtures hand to drivers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

db = pytest.importorskip("hasten.db", reason="hasten is not built in this environment")


def kinds(folder: Path, text: str) -> dict[str, Any]:
    (folder / "pyproject.toml").write_text("[tool.hasten.db]\n" + text)
    found = db.read_settings(folder)
    assert found is not None
    return {kind.name: kind for kind in found[0]}


def key(folder: Path, text: str) -> str:
    return str(kinds(folder, text)["postgres"].key)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mysql = {}", "unknown 'mysql'; known are postgres, sqlite, redis, url"),
        ("postgres = { file = 'x' }", "postgres: 'file' is not known"),
        ("postgres = { version = 'new' }", "'version' is not known or has a value of the wrong type"),
        ("keep = { days = -1 }", "keep: a table of days and megabytes, each a number"),
        ("postgres = { reset = 'always' }", "postgres: reset is one of exact, rollback, clone"),
        ("servers = 'many'", "servers: 'many' is none of worker, run"),
        ("servers = 'worker'\nurl = 'postgresql://x/'", "with a url there is one server for all workers"),
        ("sqlite = 'app.db'", "sqlite: '' is not known or has a value of the wrong type"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(pytest.UsageError) as raised:
        kinds(tmp_path, text)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_table_is_no_database(tmp_path: Path) -> None:
    assert db.read_settings(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text("[tool.hasten]\nx = 1\n")
    assert db.read_settings(tmp_path) is None


def test_a_set_up_is_a_script_a_callable_or_a_command(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("SELECT 1")
    one = kinds(tmp_path, "postgres = { setup = 'a.sql' }\nsqlite = { setup = 'pkg.mod:make' }")
    assert one["postgres"].sql == str(tmp_path / "a.sql")
    assert one["postgres"].command == ""
    assert one["sqlite"].command.endswith("-m hasten.db_setup pkg.mod:make")
    assert (
        kinds(tmp_path, "postgres = { setup = 'alembic upgrade head' }")["postgres"].command == "alembic upgrade head"
    )


def test_any_change_of_what_a_template_comes_from_is_another_template(tmp_path: Path) -> None:
    settings = "postgres = { setup = 'make db', files = ['m/*.py'] }"
    (tmp_path / "m").mkdir()
    seen = set()
    for name, content in (("1.py", "a"), ("1.py", "b"), ("2.py", "b"), ("2.py", ""), ("2.txt", "no migration")):
        (tmp_path / "m" / name).write_text(content)
        seen.add(key(tmp_path, settings))
    assert len(seen) == 4
    (tmp_path / "m" / "2.py").rename(tmp_path / "m" / "3.py")
    seen.add(key(tmp_path, settings))
    seen.add(key(tmp_path, settings.replace("make db", "make other")))
    assert len(seen) == 6
    assert key(tmp_path, settings) in seen
    assert all(seen)


def test_what_is_not_known_is_not_shared(tmp_path: Path) -> None:
    assert key(tmp_path, "postgres = { setup = 'make db' }") == ""
    assert key(tmp_path, "postgres = { setup = 'make db', files = ['nothing/*'] }") == ""
    (tmp_path / "a.sql").write_text("SELECT 1;\n")
    assert key(tmp_path, "postgres = { setup = 'a.sql' }")
    (tmp_path / "a.sql").write_text("SELECT 1;\n\\ir other.sql\n")
    assert key(tmp_path, "postgres = { setup = 'a.sql' }") == ""
    assert key(tmp_path, "postgres = { setup = 'missing.sql' }") == ""


@pytest.mark.parametrize(
    ("url", "params"),
    [
        (
            "postgresql://postgres@/hasten_0_gw0?host=/dev/shm/x/s&port=5432",
            {"user": "postgres", "dbname": "hasten_0_gw0", "host": "/dev/shm/x/s", "port": 5432},
        ),
        (
            "postgresql+psycopg://u:p%40ss@db.local:6000/n?sslmode=require",
            {"user": "u", "password": "p@ss", "host": "db.local", "port": 6000, "dbname": "n", "sslmode": "require"},
        ),
        ("postgresql:///n", {"dbname": "n"}),
    ],
)
def test_params_are_those_of_the_url(url: str, params: dict[str, Any]) -> None:
    assert db.parameters(url) == params


def test_the_variable_of_a_worker_is_known_before_its_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "postgres = { env = 'A' }\nsqlite = { env = 'B' }"
    databases = db.Databases(tmp_path, list(kinds(tmp_path, text).values()), "", 2)
    databases._learn(
        "control /nowhere/control\nrun 0\npostgres postgresql://h/hasten_0_%s?x=1\nsqlite /f/hasten_0_%s.db\n\n"
    )
    monkeypatch.setenv("A", "")
    monkeypatch.setenv("B", "")
    databases.identity("gw1")
    assert os.environ["A"] == "postgresql://h/hasten_0_gw1?x=1"
    assert os.environ["B"] == "sqlite:////f/hasten_0_gw1.db"
    assert databases.names == ["A", "B"]
