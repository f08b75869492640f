"""Which collector measures coverage, and settings of it that have no effect."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser, Error
from typing import Any

from hasten.doctor.advice import Candidate, Facts, IniEdit, Note
from hasten.doctor.suite import Variant


def settings(rootdir: str) -> tuple[dict[str, Any], str]:
    """coverage's [run] settings and the name of their file."""
    for name, section in ((".coveragerc", "run"), ("setup.cfg", "coverage:run"), ("tox.ini", "coverage:run")):
        parser = ConfigParser(interpolation=None)
        try:
            parser.read(os.path.join(rootdir, name), encoding="utf-8")
        except (Error, UnicodeDecodeError):
            continue
        if parser.has_section(section):
            return dict(parser[section]), name
    try:
        with open(os.path.join(rootdir, "pyproject.toml"), "rb") as file:
            return tomllib.load(file).get("tool", {}).get("coverage", {}).get("run", {}), "pyproject.toml"
    except (OSError, tomllib.TOMLDecodeError):
        return {}, ""


def find(facts: Facts) -> Iterator[Candidate | Note]:
    options = facts.seen["options"]
    if not options["cov_source"] or options["no_cov"]:
        return
    run, file = settings(facts.rootdir)
    branches = bool(options["cov_branch"]) or str(run.get("branch", "")).lower() in ("true", "1", "yes", "on")
    contexts = bool(options["cov_context"]) or bool(run.get("dynamic_context"))
    asked = os.environ.get("COVERAGE_CORE") or run.get("core") or ""
    why = (
        "contexts are asked for" if contexts else "branches are measured, which needs CPython 3.14" if branches else ""
    )
    if branches and sys.version_info >= (3, 14) and not contexts:
        why = ""
    if asked == "sysmon" and why:
        yield Note("sysmon", f"core = sysmon has no effect here: {why}; coverage.py falls back to its tracer")
    if sys.version_info >= (3, 12):
        yield Candidate(
            "hasten cov",
            "measure coverage with hasten's collector",
            "hasten cov -n 1 with the same options in the place of pytest (and more workers, see above)",
            Variant(args=("-n1",), runner="cov"),
            clock="cpu_s",
        )
    if sys.version_info[:2] in ((3, 12), (3, 13)) and not asked and not why:
        yield Candidate(
            "sysmon",
            "coverage.py over sys.monitoring",
            'core = "sysmon" in the [run] section of coverage\'s configuration',
            Variant(env={"COVERAGE_CORE": "sysmon"}),
            edits=[IniEdit("core", "sysmon", "coverage:run")] if file in ("pyproject.toml", "") else [],
        )
