"""What the program starts: ``python -m hasten.doctor PROGRAM [--option=value ...] -- [pytest arguments]``."""

from __future__ import annotations

import argparse
import re
import sys

from hasten.doctor import report
from hasten.doctor.examine import Examination, Extras
from hasten.doctor.suite import Suite, SuiteError
from hasten.isolate.__main__ import Progress, count, guarded
from hasten.isolate.hunt import INTERRUPTED, USAGE
from hasten.isolate.lab import LabError

_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "m": 60.0, "h": 3600.0}


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()  # the program has judged them: src/cmd/doctor.c
    parser.add_argument("program")
    for name in ("--numprocesses", "--python", "--budget"):
        parser.add_argument(name)
    for name in ("--pairs", "--within"):
        parser.add_argument(name, type=int)
    for name in ("--fix", "--json", "--no-orders", "--no-lines", "--no-interpreters"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("--interpreter", action="append")
    at = argv.index("--")
    options = parser.parse_args(argv[:at])
    options.args = argv[at + 1 :]
    return options


def seconds(text: str | None) -> float | None:
    """'500ms' -> 0.5. None for None: a budget of nothing is one, too."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|us|s|m|h|)", text.strip())
    if not found:
        raise SuiteError(f"--budget: '{text}' is no time; write for example 500ms or 2s")
    return float(found[1]) * _UNITS[found[2]]


def main(argv: list[str]) -> int:
    options = parse(argv)
    say = Progress()
    try:
        budget = seconds(options.budget)
        workers = count(options.numprocesses)
        with Suite(options.program, options.args, str(workers)) as suite:
            extras = Extras(not options.no_lines, options.interpreter, options.no_interpreters)
            examination = Examination(suite, workers, options.pairs, options.within / 1e9, say, extras)
            facts = examination.look()
            candidates = examination.propose(facts)
            examination.measure(facts, candidates)
            if not options.no_orders:
                examination.orders()
            if options.fix:
                examination.fix(facts, candidates)
            page = examination.page(facts, candidates)
        say("")
    except KeyboardInterrupt:
        say("")
        print("hasten: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (SuiteError, LabError) as exc:
        say("")
        print(f"hasten: {exc}", file=sys.stderr)
        return USAGE
    print(report.as_json(page) if options.json else report.text(page))
    if budget is not None and page.could_save() > budget:
        print(f"hasten: {page.could_save():.2f} s could be saved, the budget is {budget:g} s", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(guarded(sys.argv[1:], main))
