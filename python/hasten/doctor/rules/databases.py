"""Databases that tests use: one for each worker, and none that waits for the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.rules.parallel import names
from hasten.doctor.suite import Variant

ADAPTED = {"django.db": "Django", "alembic": "Alembic", "sqlalchemy": "SQLAlchemy"}
SERVERS = {
    "psycopg": "PostgreSQL",
    "psycopg2": "PostgreSQL",
    "asyncpg": "PostgreSQL",
    "pymysql": "MySQL",
    "MySQLdb": "MySQL",
    "redis": "Redis",
}


def find(facts: Facts) -> Iterator[Candidate | Note]:
    files = facts.seen["sqlite"]
    if files:
        tests = sorted({test for some in files.values() for test in some})
        yield Candidate(
            "sqlite",
            f"SQLite waits for the disk at each commit ({len(files)} files in {len(tests)} tests)",
            "PRAGMA synchronous = OFF on each connection of the tests: what they write is thrown away",
            Variant(simulate={"sqlite": True}),
            tests=tests,
            weight=("some tests", *tests),
        )
    shared = {path: tests for path, tests in files.items() if len(tests) > 1 and _stays(facts, path)}
    if shared:
        yield Note(
            "database",
            "tests share a database: in parallel each worker needs one of its own, as [tool.hasten.db] sqlite gives it",
            [f"{facts.short(path)}: {names(tests)}" for path, tests in sorted(shared.items())[:5]],
        )
    servers = sorted({SERVERS[name] for name in facts.seen["loaded"] if name in SERVERS} - {"Redis"})
    servers += ["Redis"] if "redis" in facts.seen["loaded"] else []
    tools = [name for module, name in ADAPTED.items() if module in facts.seen["loaded"]]
    if servers:
        how = f"; what {' and '.join(tools)} make is built once and copied (adapters)" if tools else ""
        yield Note(
            "database server",
            f"{' and '.join(servers)}: each worker of a parallel run needs a database of its own, "
            f"as [tool.hasten.db] gives it{how}",
        )


def _stays(facts: Facts, path: str) -> bool:
    """It is there before and after the tests."""
    return os.path.exists(os.path.join(facts.rootdir, path))
