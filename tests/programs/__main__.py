"""python tests/programs --seeds 0-499: what hasten's collector and coverage.py's C tracer see in random programs.

What differs is made small (--keep FOLDER puts it there); the exit status is 1 then. Other programs: --files.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from program_runner import Worker, compare
from program_shrink import minimise
from program_writer import make


def kind_of(said: list[str]) -> set[str]:
    """What sort of difference; another failure is another sort."""
    return {one if one.startswith("failed") else one.partition(":")[0] for one in said if not one.startswith("arcs")}


def programs(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for path in arguments.files:
        yield path.stem, path.read_text()
    if arguments.seeds:
        first, _, last = arguments.seeds.partition("-")
        for seed in range(int(first), int(last or first) + 1):
            yield f"seed{seed}", make(seed)


def shrunk(python: str, folder: Path, text: str, said: list[str], branch: tuple[bool, ...]) -> tuple[str, list[str]]:
    worker = Worker(python, folder)
    kinds = kind_of(said)
    found = said

    def differs(candidate: str) -> bool:
        nonlocal found
        worker.ask("smaller", candidate, branch)
        answer = worker.answer()
        if not kind_of(answer) & kinds:
            return False
        found = answer
        return True

    try:
        return minimise(text, differs), found
    finally:
        worker.close()


def main() -> int:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(prog="programs", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seeds", help="A-B")
    parser.add_argument("--python", default=sys.executable, help="has coverage and hasten")
    parser.add_argument("--branch", action=argparse.BooleanOptionalAction, help="only with, only without branches")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--keep", type=Path, help="where small programs go")
    parser.add_argument("--shrink", type=int, default=5, help="how many of those that differ are made small")
    parser.add_argument("--print", action="store_true", help="show the programs, measure nothing")
    arguments = parser.parse_args()
    branch = (False, True) if arguments.branch is None else (arguments.branch,)
    if arguments.print:
        for name, text in programs(arguments):
            print(f"# ---- {name}\n{text}")
        return 0
    total = different = 0
    with tempfile.TemporaryDirectory() as folder:
        texts: dict[str, str] = {}

        def noted() -> Iterator[tuple[str, str]]:
            for name, text in programs(arguments):
                texts[name] = text
                yield name, text

        for name, said in compare(arguments.python, Path(folder), noted(), branch, arguments.jobs):
            total += 1
            text = texts.pop(name)
            if not said:
                continue
            different += 1
            print(f"{name}:", *said, sep="\n    ", flush=True)
            if different <= arguments.shrink:
                text, said = shrunk(arguments.python, Path(folder), text, said, branch)
                print(f"---- {name}, made small\n{text}", *said, "----", sep="\n", flush=True)
            if arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                (arguments.keep / f"{name}.py").write_text(text)
    print(f"{total} programs, {different} differ")
    return different > 0


if __name__ == "__main__":
    sys.exit(main())
