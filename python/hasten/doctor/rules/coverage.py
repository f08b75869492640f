"""Which collector measures coverage, and settings of it that have no effect."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser, Error
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hasten.doctor.advice import Candidate, Facts, IniEdit, Note
from hasten.doctor.suite import Variant


def settings(rootdir: str, given: str = "") -> tuple[dict[str, Any], str]:
    """coverage's [run] settings and the name of their file. given: what --cov-config names."""
    other = given if given != ".coveragerc" and not given.endswith(".toml") else ""
    files = [(other, "run")] if other else []
    for name, section in (*files, (".coveragerc", "run"), ("setup.cfg", "coverage:run"), ("tox.ini", "coverage:run")):
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
    run, file = settings(facts.rootdir, str(options["cov_config"] or ""))
    branches = bool(options["cov_branch"]) or str(run.get("branch", "")).lower() in ("true", "1", "yes", "on")
    contexts = bool(options["cov_context"]) or bool(run.get("dynamic_context"))
    asked = os.environ.get("COVERAGE_CORE") or run.get("core") or ""
    why = why_not_sysmon(sys.version_info[:2], branches, contexts)
    if asked == "sysmon" and why:
        yield Note("sysmon", f"core = sysmon has no effect here: {why}; coverage.py falls back to its tracer")
    if asked == "pytrace":
        yield Candidate(
            "pytrace",
            "coverage.py's tracer in Python is asked for",
            'no COVERAGE_CORE=pytrace, and no core = "pytrace": the tracer in C measures the same',
            Variant(env={"COVERAGE_CORE": "ctrace"}),
        )
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
            'core = "sysmon" in the [run] section of coverage\'s configuration'
            if has_core()
            else "COVERAGE_CORE=sysmon",
            Variant(env={"COVERAGE_CORE": "sysmon"}),
            edits=[IniEdit("core", "sysmon", "coverage:run", file)] if has_core() else [],
        )
    yield Candidate(
        "coverage",
        "coverage is measured in this run",
        "--cov in CI's command and not in addopts; until then, for developers: pytest --no-cov",
        Variant(args=("--no-cov",)),
        judge=True,
    )


def why_not_sysmon(python: tuple[int, int], branches: bool, contexts: bool) -> str:
    """Why coverage.py does not measure over sys.monitoring, though asked to."""
    if python < (3, 12):
        return "it needs CPython 3.12"
    if contexts:
        return "contexts are asked for"
    return "branches are measured, which needs CPython 3.14" if branches and python < (3, 14) else ""


def has_core() -> bool:
    """This coverage.py reads `core` from its configuration."""
    try:
        major, minor = version("coverage").split(".")[:2]
    except (PackageNotFoundError, ValueError):
        return False
    return (int(major), int(minor)) >= (7, 9)
