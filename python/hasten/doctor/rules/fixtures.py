"""Fixtures that are made too often, or for nobody."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant


def find(facts: Facts) -> Iterator[Candidate | Note]:
    for fixture in sorted(facts.seen["fixtures"], key=lambda f: -f["setup_s"] - f["teardown_s"]):
        seconds = fixture["setup_s"] + fixture["teardown_s"]
        if seconds < facts.floor_s or not facts.own(fixture["place"]):
            continue
        place = facts.short(fixture["place"])
        name = fixture["name"]
        key = f"{name} {fixture['place']}"
        never = set(facts.seen["unused"].get(name, ()))  # by name: another file's fixture may have the same
        unused = [test for test in fixture["tests"] if test in never]
        if unused and fixture["scope"] == "function":
            yield Candidate(
                f"unused fixture {name} {place}",
                f"fixture {name} ({place}) is made for {len(unused)} tests that never look at it",
                "take the argument out of these tests",
                Variant(simulate={"unused": {name: unused}}),
                details=unused[:3],
                weight=("fixture", key),
                tests=unused,
            )
        if (
            fixture["scope"] in ("function", "class", "module", "package")
            and fixture["n"] > 1
            and not fixture["params"]
        ):
            yield Candidate(
                f"fixture scope {name} {place}",
                f"fixture {name} ({place}) is made {fixture['n']} times, once for each {fixture['scope']}",
                'scope="session", if what tests do to it does not matter to others',
                Variant(simulate={"scopes": {fixture["place"]: "session"}}),
                must_hold_reversed=True,
                weight=("again", key),
                tests=fixture["tests"],
            )
        if fixture["teardown_s"] >= facts.floor_s and fixture["teardown_s"] >= fixture["setup_s"]:
            yield Candidate(
                f"teardown {name} {place}",
                f"the teardown of fixture {name} ({place}) takes {fixture['teardown_s']:.2f} s in {fixture['n']} calls",
                "end what it ends without waiting, or do it once for all tests",
                where="seen",
                weight=("teardown", key),
                tests=fixture["tests"],
                judge=True,
            )
