"""Logs and captured output: kept, formatted or shown though nobody reads them."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, IniEdit, Note
from hasten.doctor.suite import Variant

_ALL = ("DEBUG", "NOTSET", "10", "0", "1")


def find(facts: Facts) -> Iterator[Candidate | Note]:
    ini, options = facts.seen["ini"], facts.seen["options"]
    if is_on(ini["log_cli"]):
        yield Candidate(
            "log_cli",
            "log_cli shows each log line on the terminal",
            "log_cli = false (the log of a failed test is in its report all the same)",
            Variant(args=("-o", "log_cli=false")),
            clock="tests_s",
            edits=[IniEdit("log_cli", "false")],
        )
    if str(ini["log_level"] or options["log_level"] or "").upper() in _ALL:
        yield Candidate(
            "log_level",
            "log_level keeps debug messages of every library",
            "no log_level, or INFO; tests that need more ask for it: caplog.set_level",
            Variant(args=("-o", "log_level=WARNING", "--log-level=WARNING")),
        )
    if options["log_file"] or ini["log_file"]:
        yield Candidate(
            "log_file",
            f"every log message is written to {options['log_file'] or ini['log_file']}",
            "log_file in CI's command only (pytest --log-file=...), or log_file_level = WARNING",
            Variant(args=("-o", "log_file=", "--log-file=/dev/null", "--log-file-level=CRITICAL")),
        )
    if options["capture"] == "tee-sys":
        yield Candidate(
            "capture",
            "capture=tee-sys writes what tests print twice",
            "--capture=fd, pytest's default",
            Variant(args=("--capture=fd",)),
        )


def is_on(value: object) -> bool:
    return str(value).lower() in ("true", "1", "yes", "on")
