"""Time in which nothing is computed: sleeps, and connections to other machines."""

from __future__ import annotations

from collections.abc import Iterator

from hasten.doctor.advice import Candidate, Facts, Note
from hasten.doctor.suite import Variant


def find(facts: Facts) -> Iterator[Candidate | Note]:
    elsewhere: list[str] = []
    for place, (n, seconds) in sorted(facts.seen["sleeps"].items(), key=lambda entry: -entry[1][1]):
        if seconds < facts.floor_s:
            continue
        if not facts.own(place):
            elsewhere.append(f"{place}: {seconds:.2f} s in {n} calls")
            continue
        yield Candidate(
            f"sleep {facts.short(place)}",
            f"{facts.short(place)} sleeps {seconds:.2f} s in {n} calls",
            "wait for the event itself, or give the code a clock that tests can turn",
            Variant(simulate={"sleeps": [place]}),
            weight=("sleep", place),
            tests=facts.seen["sleepers"].get(place, []),
        )
    if elsewhere:
        yield Note("sleeps elsewhere", "code of libraries sleeps", elsewhere[:5])
    remote = [
        (
            seconds,
            f"{address} from {facts.short(place) or 'a library'}, {n} times, {seconds:.2f} s until it was reached",
        )
        for address, place, n, seconds in facts.seen["connections"]
    ]
    if remote:
        found = [text for _seconds, text in sorted(remote, key=lambda one: (-one[0], one[1]))]
        yield Note("network", "tests connect to other machines, which makes them slow and flaky", found[:5])
