"""What `hasten.imports_needs` wrote, read: which tests need an import, and what workers import for themselves."""

from __future__ import annotations

import dataclasses
import json
import os
import struct
import sys
from collections.abc import Iterable, Iterator

from hasten.imports_edit import File, bound
from hasten.imports_names import Def

# src/imports/log.h
MAGIC = b"HSIMPRT2"
HEADER, RECORD = 64, struct.Struct("=II")
LOAD = struct.Struct("=IIIIIIIIIIIIQQQQQQq")  # place (6), seq, parent, thread, name, origin, flags, times (6), bytes
TEXT, LOADED = 1, 2
FAILED_OR_WAITED = 1 | 2


@dataclasses.dataclass(frozen=True)
class Load:
    """One import of a process."""

    name: str
    importer: str
    file: str
    line: int
    function: str
    number: int
    parent: int
    cpu_ns: int  # its own, without what was loaded in it, with its share of collections
    bytes: int


def loads(path: str) -> list[Load]:
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] != MAGIC:
        raise ValueError(f"{path} is no log of imports as src/imports/log.h has them")
    (used,) = struct.unpack_from("=Q", data, 16)
    texts = [""]
    found = []
    at = HEADER
    while at + RECORD.size <= min(used, len(data)):
        size, kind = RECORD.unpack_from(data, at)
        if size < RECORD.size:
            break
        if kind == TEXT:
            (n,) = struct.unpack_from("=I", data, at + 8)
            texts.append(data[at + 16 : at + 16 + n].decode(errors="replace"))
        elif kind == LOADED:
            fields = LOAD.unpack_from(data, at + 8)
            importer, file_id, line, function, _, _, number, parent, _, name, _, flags, *times = fields
            if not flags & FAILED_OR_WAITED:
                place = (texts[importer], texts[file_id], line, texts[function])
                found.append(Load(texts[name], *place, number, parent, times[4] + times[5], times[6]))
        at += size
    return found


class Needs:
    def __init__(self, folder: str) -> None:
        self.tests: dict[str, tuple[int, set[tuple[str, int]]]] = {}  # id -> (process, functions it called)
        self.workers: dict[int, list[Load]] = {}
        for name in sorted(os.listdir(folder)):
            stem, _, ending = name.partition(".")
            path = os.path.join(folder, name)
            if ending == "jsonl":
                self.workers.setdefault(int(stem), [])
                for test, called in _lines(path):
                    self.tests[test] = (int(stem), called)
            elif ending == "log":
                self.workers[int(stem)] = loads(path)

    def by(self, functions: Iterable[tuple[str, int]]) -> set[str]:
        """Tests that call one of these functions (file, first line as code objects have it)."""
        wanted = set(functions)
        return {test for test, (_, called) in self.tests.items() if not wanted.isdisjoint(called)}

    def processes(self, tests: Iterable[str]) -> set[int]:
        return {self.tests[test][0] for test in tests}


def _lines(path: str) -> Iterator[tuple[str, set[tuple[str, int]]]]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                one = json.loads(line)
            except ValueError:  # a worker was killed while it wrote
                continue
            yield one["test"], {(path, number) for path, number in one["called"]}


def first_line(function: Def) -> int:
    return min([function.lineno, *(one.lineno for one in function.decorator_list)])


def functions_that_use(file: File, line: int) -> set[tuple[str, int]]:
    """Those that use what the import statement on that line binds."""
    names = bound(file.statement(line))
    homes = [use.home for name in names for use in file.names.uses.get(name, ())]
    return {(file.path, first_line(home)) for home in homes if home is not None}


def fork_cost_ns(megabytes: int = 192, rounds: int = 5) -> float:
    """CPU time that a fork costs for each MB of memory that is there: of a process that has so many more, and of one
    that has not."""

    def cost() -> float:
        import time

        took = []
        for _ in range(rounds):
            start = time.process_time_ns()
            child = os.fork()
            if not child:
                os._exit(0)
            os.waitpid(child, 0)
            took.append(time.process_time_ns() - start)
        return min(took)

    small = cost()
    block = bytearray(megabytes << 20)
    for at in range(0, len(block), 4096):
        block[at] = 1
    large = cost()
    return max(0.0, (large - small) / megabytes)


if __name__ == "__main__":
    print(fork_cost_ns())
    sys.exit(0)
