"""Settings without effect: people believe in them."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from importlib.metadata import entry_points

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.rules.logs import is_on


def find(facts: Facts) -> Iterator[Candidate | Note]:
    ini, options = facts.seen["ini"], facts.seen["options"]
    found = [f"{name}: nothing that is installed reads it" for name in facts.seen["unknown_settings"]]
    found += [f"testpaths: '{name}' is not there" for name in facts.seen["empty_testpaths"]]
    if not is_on(ini["log_cli"]) and not options["log_cli_level"]:
        found += [f"{name}: log_cli is off" for name in ("log_cli_level", "log_cli_format") if ini[name]]
    if ini["log_file_level"] and not (ini["log_file"] or options["log_file"]):
        found.append("log_file_level: there is no log_file")
    if ini["reruns_delay"] and not (ini["reruns"] or options["reruns"]):
        found.append("reruns_delay: without reruns only tests with a mark of their own are run again")
    found += [f"-p no:{name}: no plugin that is installed has this name" for name in _blocked_in_vain(facts)]
    if found:
        yield Note("no effect", "settings without effect", found)


def _blocked_in_vain(facts: Facts) -> list[str]:
    """Of addopts alone: what the command line says, somebody has just written."""
    words = [str(word) for word in facts.seen["ini"]["addopts"] or ()]
    blocked = [b.removeprefix("no:") for a, b in itertools.pairwise(words) if a == "-p" and b[:3] == "no:"]
    blocked += [word.removeprefix("-pno:") for word in words if word.startswith("-pno:")]
    known = {one.name for one in entry_points(group="pytest11")} | {one.value for one in entry_points(group="pytest11")}
    return [name for name in blocked if name not in known and not _is_pytests(name)]


def _is_pytests(name: str) -> bool:
    return importlib.util.find_spec(f"_pytest.{name}") is not None or "." in name or name == "terminalreporter"
