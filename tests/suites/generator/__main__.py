"""python tests/suites/generator [--seeds 0-999] [--modes 2] [--keep FOLDER]    compare on many generated suites
python tests/suites/generator --write FOLDER --seeds 17                          only write a suite
python tests/suites/generator --suite FOLDER                                     compare on a suite that was kept

Exit status 1 when something differs; each mismatch is made small and written to FOLDER (build/fuzz-suites).
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from generator import minimise  # noqa: E402
from generator.differential import Mode, Stage, Verdict, check, modes_of  # noqa: E402
from generator.suite import Suite, make  # noqa: E402

TREE = pathlib.Path(__file__).parents[3]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-99", help="a number, or the first and the last")
    parser.add_argument("--modes", type=int, default=2, help="ways to run each suite with hasten, plain pytest aside")
    parser.add_argument("--keep", type=pathlib.Path, default=TREE / "build" / "fuzz-suites")
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--suite", type=pathlib.Path)
    parser.add_argument("--mode", help="one way only: workers, then u (unfused) and a (-rA): 1, 2u, 1a")
    parser.add_argument("--no-minimise", action="store_true")
    parser.add_argument("--no-preload", action="store_true", help="plain pytest in new processes (preloaded.py)")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--program", default=str(pathlib.Path(sys.executable).with_name("hasten")))
    options = parser.parse_args()
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    if options.write:
        make(seeds[0]).save(options.write)
        return 0
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        with Stage(pathlib.Path(folder), options.program, options.python, not options.no_preload) as stage:
            if options.suite:
                suite = Suite.load(options.suite)
                verdicts = check(stage, suite, _modes(options, 0, suite, 9))
                return _report(stage, options, options.suite.name, suite, verdicts, False)
            return _fuzz(stage, options, seeds)


def _modes(options, seed: int, suite: Suite, how_many: int) -> list[Mode]:
    if options.mode:
        return [Mode(int(options.mode[0]), "u" not in options.mode, "a" not in options.mode)]
    return modes_of(seed, suite, how_many)


def _fuzz(stage: Stage, options, seeds) -> int:
    start, failed, runs = time.monotonic(), [], 0
    for seed in seeds:
        suite = make(seed)
        verdicts = check(stage, suite, _modes(options, seed, suite, options.modes))
        runs += len(verdicts)
        if _report(stage, options, f"seed-{seed}", suite, verdicts, not options.no_minimise):
            failed.append(seed)
    cpu = stage.cpu_s + sum(os.times()[:2])
    print(
        f"{len(seeds)} suites, {runs} runs of hasten compared, {len(failed)} suites differ {failed or ''}; "
        f"{cpu:.0f} s of CPU, {time.monotonic() - start:.0f} s"
    )
    return 1 if failed else 0


def _report(stage: Stage, options, name: str, suite: Suite, verdicts: list[Verdict], small: bool) -> int:
    bad = [verdict for verdict in verdicts if verdict.found]
    for verdict in bad:
        print(f"{name} {verdict.mode}: {len(verdict.found)} differences in {', '.join(sorted(verdict.fields))}")
        for difference in verdict.found[:4]:
            print("  " + str(difference).replace("\n", "\n  "))
    sys.stdout.flush()
    if bad and small:
        print("  kept in", minimise.keep(stage, suite, bad[0], options.keep / name))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
