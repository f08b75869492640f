"""What the program starts: ``python -m hasten.isolate PROGRAM [--option=value ...] -- NODEID [pytest arguments]``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable

from hasten.isolate import order, report
from hasten.isolate.hunt import INTERNAL, INTERRUPTED, USAGE, Hunt
from hasten.isolate.lab import Lab, LabError


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()  # the program has judged them: src/cmd/isolate.c
    parser.add_argument("program")
    for name in ("--order", "--journal", "--numprocesses", "--python"):
        parser.add_argument(name)
    parser.add_argument("--after", action="append", default=[])
    parser.add_argument("--tries", type=int)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--json", action="store_true")
    at = argv.index("--")
    options = parser.parse_args(argv[:at])
    options.test, options.args = argv[at + 1], argv[at + 2 :]
    return options


def count(text: str | None) -> int:
    if text in (None, "auto", "logical"):
        return max(1, len(os.sched_getaffinity(0)))
    if not text.isdigit() or int(text) < 1:
        raise LabError(f"-n: '{text}' is no number of probes")
    return int(text)


class Progress:
    """One line on a terminal's standard error; nothing elsewhere."""

    def __init__(self) -> None:
        self.on = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def __call__(self, text: str) -> None:
        if self.on:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def chosen_order(options: argparse.Namespace, hunt: Hunt) -> list[str] | None:
    if options.after:
        return [*options.after, hunt.answer.test]
    if options.order is not None:
        return order.from_file(options.order)
    if options.journal is not None:
        path = options.journal if options.journal != "last" else order.last_journal(hunt.lab.rootdir)
        return order.from_journal(path, hunt.answer.test)
    return None


def main(argv: list[str]) -> int:
    options = parse(argv)
    say = Progress()
    try:
        if sum(bool(given) for given in (options.after, options.order, options.journal)) > 1:
            raise LabError("--after, --order and --journal are three ways to say the same: one at a time")
        n = count(options.numprocesses)
        with Lab(options.args, n, options.limit / 1e9) as lab:
            hunt = Hunt(lab, options.test, options.tries, options.fresh, say)
            say("collecting")
            hunt.find_target()
            answer = hunt.hunt(chosen_order(options, hunt), bool(options.after))
        say("")
    except KeyboardInterrupt:
        say("")
        print("hasten: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (LabError, order.OrderError) as exc:
        say("")
        print(f"hasten: {exc}", file=sys.stderr)
        return USAGE
    print(report.as_json(answer) if options.json else report.text(answer, n))
    return answer.status if answer.verdict else INTERNAL


def guarded(argv: list[str], run: Callable[[list[str]], int]) -> int:
    """A fault of ours is none of the suite: it has a status of its own."""
    try:
        return run(argv)
    except Exception:
        traceback.print_exc()
        return INTERNAL


if __name__ == "__main__":
    sys.exit(guarded(sys.argv[1:], main))
