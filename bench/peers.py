"""Other runners of pytest suites that are measured beside hasten, each in an environment of its own for each suite."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Peer:
    requirement: str
    program: str  # in the environment's bin
    workers: str  # its option for the number of workers, with {n}
    replaces_pytest: bool = False  # brings its own importable `pytest`: the real one must not be there

    def command(self, environment, n_workers):
        return [str(environment / "bin" / self.program), *self.workers.format(n=n_workers).split()]

    def requirements(self, pytest):
        return [self.requirement] if self.replaces_pytest else [f"pytest=={pytest}", self.requirement]


PEERS = {
    "pytest-rs": Peer("pytest-rs==0.0.12", "pytest-rs", "-n {n}", replaces_pytest=True),
    "parallex": Peer("pytest-parallex==0.2.5", "pytest", "--parallel=fork --parallel-workers={n}"),
    "bistra": Peer("bistra==0.1.0", "bistra", "-j {n}"),
    "zygote": Peer("pytest-zygote==0.1.1", "pytest", "--workers {n}"),
}


def named(text):
    """Names of peers from an option's value: none, "all", or a list with commas."""
    names = list(PEERS) if text == "all" else [name for name in (text or "").split(",") if name]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are {', '.join(PEERS)}")
    return names
