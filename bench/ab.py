#!/usr/bin/env python3
"""Interleaved comparison of commands: A B, B A, A B ... so that a machine that slows down slows all of them.

    ab.py [--pairs 5] [--memory] [--setup CMD] [--out FILE] [name=]'command' [name=]'command' ...

Commands are split like a shell's words, not run by a shell. The first one is what the others are compared with. A
ratio is the median of the ratios within each round; below 1 is better. CPU is user and system time of all processes
that the command started.
"""

import argparse
import datetime
import json
import math
import pathlib
import shlex
import statistics
import sys

import measure


def interleave(runs, pairs, progress=None):
    """Calls each of runs (name -> function that returns a measure.Run) pairs times, in rotating order."""
    names, found = list(runs), {name: [] for name in runs}
    for round_number in range(pairs):
        turn = round_number % len(names)
        for name in names[turn:] + names[:turn]:
            found[name].append(runs[name]())
            if progress:
                progress(round_number, name, found[name][-1])
    return found


def summary(found, reference):
    """Per name: medians, and the median of the ratios to the reference per round. Some may have fewer rounds."""
    table = {}
    for name, runs in found.items():
        row = {}
        for what in ("wall_s", "cpu_s"):
            values = [getattr(run, what) for run in runs]
            base = [getattr(run, what) for run in found[reference]]
            row[what] = statistics.median(values)
            row[what + "_all"] = [round(value, 4) for value in values]
            row[what[:-2] + "_ratio"] = statistics.median(v / max(b, 1e-9) for v, b in zip(values, base, strict=False))
        row["status"] = sorted({run.status for run in runs})
        row["left"] = sorted({name for run in runs for name in run.left})
        table[name] = row
    return table


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values))


def print_table(table):
    width = max(map(len, table))
    print(f"{'':{width}}  {'wall s':>8} {'ratio':>6}  {'CPU s':>8} {'ratio':>6}  {'PSS MB':>7}  exit")
    for name, row in table.items():
        pss = f"{row['pss_bytes'] / 1e6:7.0f}" if row.get("pss_bytes") else f"{'':7}"
        exits = ",".join(map(str, row["status"])) + (f"  left behind: {', '.join(row['left'])}" if row["left"] else "")
        print(
            f"{name:{width}}  {row['wall_s']:8.2f} {row['wall_ratio']:6.2f}  "
            f"{row['cpu_s']:8.2f} {row['cpu_ratio']:6.2f}  {pss}  {exits}"
        )


def save(path, what, table, **facts):
    """Appends one result: what was measured, where, and every single value."""
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    result = {"what": what, "when": when, "machine": measure.machine(), **facts, "runs": table}
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(result, sort_keys=True) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="+", metavar="[name=]command")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="one more run of each, sampling the PSS of its processes")
    parser.add_argument("--setup", help="command to run, unmeasured, before each measured one")
    parser.add_argument("--cwd")
    parser.add_argument("--out", help="append the result, as one line of JSON, to this file")
    options = parser.parse_args()
    commands = dict(_named(index, text) for index, text in enumerate(options.commands))

    def once(argv, memory=False):
        if options.setup:
            measure.run(shlex.split(options.setup), cwd=options.cwd)
        return measure.run(argv, cwd=options.cwd, memory=memory)

    for argv in commands.values():
        once(argv)  # warms the caches of files and of byte code
    found = interleave({name: lambda argv=argv: once(argv) for name, argv in commands.items()}, options.pairs)
    table = summary(found, next(iter(commands)))
    if options.memory:
        for name, argv in commands.items():
            table[name]["pss_bytes"] = once(argv, memory=True).pss_bytes
    print_table(table)
    if options.out:
        words = {name: shlex.join([pathlib.Path(argv[0]).name, *argv[1:]]) for name, argv in commands.items()}
        save(options.out, "commands", table, commands=words)
    return 0


def _named(index, text):
    name, equals, rest = text.partition("=")
    named = bool(equals) and name.isidentifier()
    return (name, shlex.split(rest)) if named else (chr(ord("A") + index), shlex.split(text))


if __name__ == "__main__":
    sys.exit(main())
