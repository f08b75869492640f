#!/usr/bin/env python3
"""The open corpus: real projects' own test suites, under plain pytest, pytest-xdist and hasten.

    corpus.py prepare [NAMES] [--hasten WHEEL_OR_FOLDER]   download, unpack, make environments
    corpus.py compare [NAMES] [--with xdist,hasten]        does it say what plain pytest says?
    corpus.py time    [NAMES] [--pairs 5]                  how long, interleaved; appended to results/corpus.jsonl

README.md says what each figure means. The cache (--cache, default .cache/corpus) is made by the Python that runs this.
"""

import argparse
import sys

import ab
import compare
import runner
import suites
import timing
from peers import PEERS, named

RESULTS = suites.HERE / "results" / "corpus.jsonl"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", default=suites.DEFAULT_CACHE)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = _add(verbs, "prepare", command_prepare)
    verb.add_argument("--hasten", metavar="WHEEL_OR_FOLDER", help="install hasten from here where it is to run")
    verb.add_argument("--peers", help=f"environments for these runners too: all, or some of {','.join(PEERS)}")
    verb = _add(verbs, "compare", command_compare)
    verb.add_argument("-n", type=int, default=2, dest="workers")
    verb.add_argument("--runs", type=int, default=3, help="runs of hasten, with seeds 1, 2, ... of its scheduler")
    verb.add_argument("--with", default="hasten", dest="others", help=f"of {', '.join(runner.RUNNERS[1:])}")
    verb.add_argument("--reuse", action="store_true", help="take plain pytest's runs from the last comparison")
    verb.add_argument("--limit", type=int, default=10, help="differences to print per run")
    verb.add_argument("--how", default="record,report", help="runs with the recorder, runs that report all themselves")
    verb.add_argument("--extra", default="", help="more arguments of pytest, for all runners")
    timing.add_options(_add(verbs, "time", command_time), "plain,xdist,hasten")
    options = parser.parse_args()
    options.cache = suites.Cache(options.cache)
    options.suites = suites.load(options.names)
    return options.function(options)


def _add(verbs, name, function):
    verb = verbs.add_parser(name)
    verb.add_argument("names", nargs="*", metavar="NAME")
    verb.set_defaults(function=function)
    return verb


def command_prepare(options):
    suites.prepare(options.cache, options.suites, options.hasten, named(options.peers))
    return 0


def command_compare(options):
    known = compare.Known(suites.HERE / "known_differences.toml")
    failed = []
    for suite in options.suites:
        with options.cache.lock(suite):
            if not _compare_suite(options, known, suite):
                failed.append(suite.name)
    print(f"differ: {', '.join(failed)}" if failed else "no suite differs")
    return 1 if failed else 0


def _compare_suite(options, known, suite):
    """Compares all asked for with plain pytest, prints a row each, and returns whether all differences are known."""
    references = {how: _reference(options, suite, how) for how in options.how.split(",")}
    plain = next(iter(references.values()))[0]
    counts = ", ".join(f"{count} {name}" for name, count in sorted(plain.stats.items()))
    print(f"{suite.name} {suite.version}: plain: {counts}; exit {plain.status}", flush=True)
    if plain.stats and suite.count and not suite.count.startswith(str(plain.stats.get("passed", 0))):
        print(f"  ! corpus.toml says: {suite.count}")
    clean = True
    for other in options.others.split(","):
        for seed in range(1, (options.runs if other == "hasten" else 1) + 1):
            for how in references if seed == 1 else list(references)[:1]:
                traces, said = _said(options, suite, other, seed, how)
                clean &= _judge(options, known, suite, f"{other} {seed} {how}", traces, said, references[how])
    return clean


def _reference(options, suite, how):
    """Plain pytest's run, and in what a second one differs from it: nobody else is asked to repeat that."""
    first = _said(options, suite, "plain", 1, how, reuse=options.reuse)[1]
    second = _said(options, suite, "plain", 2, how, reuse=options.reuse)[1]
    unstable = compare.differences(first, second)
    for difference in unstable[: options.limit]:
        print(f"  plain pytest differs from itself: {difference}")
    return first, {(difference.field, difference.key) for difference in unstable}


def _said(options, suite, name, seed, how, reuse=False):
    """Runs the suite and reads what it said."""
    traces = runner.Traces(options.cache, suite, f"{name}-{seed}-{how}")
    if not (reuse and traces.restore()):
        runner.run(options.cache, suite, name, options.workers, seed, how, traces, extra=options.extra.split())
        traces.keep()
    normalise = compare.Normaliser(options.cache, suite, traces)
    return traces, compare.read(traces, normalise, how == "record")


def _judge(options, known, suite, what, traces, said, reference):
    plain, unstable = reference
    found = compare.differences(plain, said)
    repeatable = [d for d in found if (d.field, d.key) not in unstable]
    if unstable and all(d.field in compare.DERIVED for d in repeatable):
        repeatable = []
    rest, explained = known.split(suite.name, what.split()[0], repeatable)
    verdict = f"{len(rest)} DIFFERENCES" if rest else "same"
    notes = f"{len(explained)} known, {len(found) - len(repeatable)} of plain pytest's own"
    took = f"{traces.run.wall_s:6.1f} s wall {traces.run.cpu_s:6.1f} s CPU"
    print(f"  {what:18} {verdict:16} ({notes}) {took}", flush=True)
    if traces.run.left or traces.run.timed_out:
        print(f"    left behind: {', '.join(traces.run.left) or 'none'}; timed out: {traces.run.timed_out}")
    for difference in rest[: options.limit]:
        print("    " + str(difference).replace("\n", "\n    "))
    if len(rest) > options.limit:
        print(f"    ... and {len(rest) - options.limit} more; traces: {traces.output.parent}")
    return not rest


def command_time(options):
    timing.settle(options)
    options.memory = options.memory and not options.quick
    options.suites = [suite for suite in options.suites if suite.timed or suite.name in options.names]
    names, tables, broken = options.names_of_runners, [], []
    for suite in options.suites:
        with options.cache.lock(suite):
            measurement = timing.Timing(options.cache, suite, names, options)
            table = measurement.measure()
        tables.append(table)
        broken += [f"{suite.name} under {name}" for name in ("hasten", names[0]) if "says" in table.get(name, {})]
        print(f"{suite.name} {suite.version} ({options.pairs} rounds, {options.workers} workers)")
        timing.print_table(table)
        sys.stdout.flush()
        if not options.no_save:
            facts = {"workers": options.workers, "counts": measurement.counts}
            versions = timing.versions(options.cache, suite)
            ab.save(RESULTS, f"{suite.name} {suite.version}", table, versions=versions, **facts)
    for reference in [name for name in (names[0], "xdist") if name in names]:
        print("\n".join(timing.means(tables, names, reference)))
    if broken:
        print(f"BROKEN: {', '.join(broken)}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
