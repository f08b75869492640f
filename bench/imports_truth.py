"""What `hasten imports` predicts, against edits really made by the machinery of --fix in copies of bench/imports_apps.

Called as `imports.py truth`; see there. For each application: its statements that may be lazy, the dearest first,
and the sets that --fix would choose. Each is made in a copy of its own. The modules that are gone are compared by name;
the time is what the copy's processes take less than those of the unchanged application: CPU time of the thread that
imports, mean of the middle half. All copies take turns: a machine's speed changes. noise_ms is two standard errors of
that difference, by resampling: no prediction can be shown right to less. The prediction is what --runs profiles say,
which take their turns, too. Everything runs on one processor: numpy's BLAS starts a thread for each of several, which
spin. Addresses and hash seeds are left to chance: held fast, each folder would have a layout, and a time, of its own.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime

APPS = {"shop": "shop.api", "site": "pages.main", "jobs": "jobs.app", "etl": "etl.run", "gate": "gate.main"}
STACKS = ("sqlalchemy", "pandas", "celery", "django", "boto3", "fastapi")


def cpu_of(python, folder, module):
    """Seconds of CPU time that the import takes: not what the process takes to start and to end, nor other threads."""
    code = f"import time; a = time.thread_time(); import {module}; print(time.thread_time() - a)"
    command = [python, "-W", "ignore", "-c", code]
    return float(subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout)


class App:
    def __init__(self, name, folder, options):
        self.name, self.module, self.options = name, APPS[name], options
        self.folder = pathlib.Path(folder)
        self.plain = self.copy("plain")
        self.profile = self.measure(self.plain, 3)

    def copy(self, name):
        target = self.folder / self.name / name
        shutil.copytree(pathlib.Path(__file__).parent / "imports_apps" / self.name, target)
        return target

    def measure(self, folder, runs):
        command = [self.options.program, "imports", "--python", self.options.python, "--json", "--runs", str(runs)]
        environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run([*command, self.module], cwd=folder, env=environment, capture_output=True, check=True)
        return json.loads(done.stdout)

    def sets(self, form):
        """Statements to make lazy together: (their numbers, what is predicted)."""
        from hasten.imports_choose import Chooser

        self.chooser = Chooser(self.profile, str(self.plain), form)
        self.chooser.look()
        graph = self.chooser.graph
        single = [(graph.without([one.at]).cpu_ns, [one]) for one in self.chooser.candidates]
        chosen = [one for one in sorted(single, key=lambda one: -one[0]) if one[0] >= self.options.least * 1e6]
        sets = [candidates for _, candidates in chosen[: self.options.single]]
        together = []
        for edit in self.chooser.choose(10):
            together += edit.candidates
            sets.append(list(together))
        seen = set()
        for candidates in sets:
            key = tuple(sorted(one.at for one in candidates))
            if key not in seen:
                seen.add(key)
                yield candidates, graph.without(key)

    def make(self, number, candidates, form):
        target = self.copy(f"edit{number}")
        by_file = {}
        for one in candidates:
            by_file.setdefault(one.path, []).append(one.line)
        for path, lines in by_file.items():
            file = self.chooser.files[path]
            (target / os.path.relpath(path, self.plain)).write_bytes(file.edited(lines, form, self.chooser.has_typing))
        return target


def predicted_by(profile, candidates):
    """Seconds that the same set saves by another profile."""
    from hasten.imports_graph import Graph

    places = {(one.path, one.line) for one in candidates}
    numbers = [at for at, one in enumerate(profile["statements"]) if (one["file"], one["line"]) in places]
    return Graph(profile).without(numbers).cpu_ns / 1e9


N_RESAMPLED = 1000
PROFILE = None  # in the place of a folder


def rounds_of(app, folders, rounds):
    """Seconds of every process, by folder, and profiles: each round runs all, the unchanged one twice, in its order."""
    took = {folder: [] for folder in (app.plain, *folders)}
    profiles = []
    order = [app.plain, app.plain, *folders, PROFILE]
    for number in range(rounds):
        random.Random(number).shuffle(order)
        for folder in order:
            if folder is not PROFILE:
                took[folder].append(cpu_of(app.options.python, folder, app.module))
            elif len(profiles) * rounds < (number + 1) * app.options.runs:
                profiles.append(app.measure(app.plain, 1))
    return took, profiles


def middle(times):
    """The mean of the middle half: nearly as steady as the mean, and a disturbed process does not move it."""
    ordered = sorted(times)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def noise(whole, times):
    """Two standard errors of the difference of their middles."""
    chance = random.Random(0)
    found = [
        middle(chance.choices(whole, k=len(whole))) - middle(chance.choices(times, k=len(times)))
        for _ in range(N_RESAMPLED)
    ]
    return 2 * statistics.stdev(found)


def compare(app, form, rounds):
    names = {one["name"] for one in app.profile["modules"] if not one.get("failed")}
    edits = []
    for number, (candidates, predicted) in enumerate(app.sets(form)):
        folder = app.make(number, candidates, form)
        after = {one["name"] for one in app.measure(folder, 1)["modules"]}  # compiles, too
        edits.append((candidates, predicted, names - after, folder))
    took, profiles = rounds_of(app, [folder for *_, folder in edits], rounds)
    whole = took[app.plain]
    for candidates, predicted, gone, folder in edits:
        saved = middle(whole) - middle(took[folder])
        within_noise = noise(whole, took[folder])
        expected = middle([predicted_by(profile, candidates) for profile in profiles])
        yield {
            "app": app.name,
            "statements": [f"{os.path.relpath(one.path, app.plain)}:{one.line} {one.words}" for one in candidates],
            "modules": len(predicted.gone),
            "modules_equal": set(predicted.gone) == gone,
            "modules_differ": sorted(set(predicted.gone) ^ gone)[:10],
            "predicted_ms": round(expected * 1e3, 1),
            "measured_ms": round(saved * 1e3, 1),
            "whole_ms": round(middle(whole) * 1e3, 1),
            "noise_ms": round(within_noise * 1e3, 1),
            "error_ms": round((expected - saved) * 1e3, 1),
            "within": abs(expected - saved) <= max(0.005, 0.1 * saved),
            "within_noise": abs(expected - saved) <= max(0.005, 0.1 * saved, within_noise),
        }


def versions(python):
    code = f"import importlib.metadata as m; print(*(p + ' ' + m.version(p) for p in {STACKS!r}), sep=', ')"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main(argv):
    parser = argparse.ArgumentParser(prog="imports.py truth", description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", default=sys.executable, help="with hasten, libcst and the stacks installed")
    parser.add_argument("--program", default=str(pathlib.Path(sys.executable).with_name("hasten")))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--runs", type=int, default=20, help="profiles of each application")
    parser.add_argument("--single", type=int, default=7, help="single statements of each application")
    parser.add_argument("--least", type=float, default=1.0, metavar="MS", help="what a statement must save")
    parser.add_argument("--form", default="function", choices=("function", "lazy", "lazy-modules"))
    parser.add_argument("--out", help="JSON lines are added to this file")
    parser.add_argument("apps", nargs="*", default=list(APPS), metavar="APP")
    options = parser.parse_args(argv)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.apps:
            for row in compare(App(name, folder, options), options.form, options.rounds):
                rows.append(row)
                print(json.dumps(row), flush=True)
    summary = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "versions": versions(options.python),
        "cpus": os.cpu_count(),
        "form": options.form,
        "rounds": options.rounds,
        "edits": len(rows),
        "modules_equal": sum(row["modules_equal"] for row in rows),
        "within": sum(row["within"] for row in rows),
        "within_noise": sum(row["within_noise"] for row in rows),
    }
    print(json.dumps(summary))
    if options.out:
        with open(options.out, "a", encoding="utf-8") as file:
            for row in (summary, *rows):
                file.write(json.dumps(row) + "\n")
    return 0 if all(row["within_noise"] and row["modules_equal"] for row in rows) else 1
