"""Templates on a suite's own server: what is left of dead builders, while others build and sweep beside us."""

from __future__ import annotations

import pytest

from hasten.db_server import Server

LEFT = "hasten_0123abcd_build"


class Fake:
    """A server that lists LEFT. there: it is still there when its lock has been got."""

    def __init__(self, there: bool, lock: bool = True, drops: bool = True) -> None:
        self.there, self.lock, self.drops = there, lock, drops
        self.said: list[str] = []

    def run(self, sql: str) -> list[tuple[object, ...]]:
        self.said.append(sql)
        if "server_version_num" in sql:
            return [("150018",)]
        if "try_advisory_lock" in sql:
            return [(str(self.lock),)]
        if "datname ~" in sql:
            return [(LEFT,)]
        if f"datname = '{LEFT}'" in sql:
            return [(1,)] if self.there else []
        if sql.startswith("DROP") and not self.drops:
            raise RuntimeError("must be owner of the database")
        return []

    def did(self, verb: str) -> bool:
        return any(verb in sql for sql in self.said)


@pytest.mark.parametrize(
    ("fake", "drops"),
    [
        (Fake(there=True), True),
        (Fake(there=False), False),  # it became whole between the look and the lock
        (Fake(there=True, lock=False), False),  # its builder lives
    ],
)
def test_what_a_dead_builder_left_is_dropped_and_nothing_else(fake: Fake, drops: bool) -> None:
    Server(fake.run).sweep()
    assert fake.did("DROP DATABASE") is drops
    assert fake.did("advisory_unlock") is fake.lock


def test_a_leftover_that_cannot_be_dropped_fails_no_test() -> None:
    fake = Fake(there=True, drops=False)
    Server(fake.run).sweep()
    assert fake.did("DROP DATABASE")
    assert fake.did("advisory_unlock")
