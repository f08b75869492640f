"""What watching imports costs, and whether its sum is that of a plain process: interleaved, CPU time.

Usage: imports.py [--rounds N] [--python PATH] MODULE [MODULE ...]
       imports.py truth [--rounds N] [--out FILE] [APP ...]     what is predicted, against edits really made

Each round starts fresh processes, in changing order: plain; watched, as `hasten imports` does it; `-X importtime`.
Each takes the CPU time of its own imports by time.process_time(). For each module: the median of each, the median of
the rounds' ratios to plain, and the sum that the two measurements report, against what their own process took
(-X importtime counts wall time). Run it under `taskset -c N`: numpy starts threads that spin where it has several
processors.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

INSIDE = "import time\nstart = time.process_time()\nimport {}\nprint(time.process_time() - start)\n"
SITE = """\
import os
if 'HASTEN_IMPORTS' in os.environ:
    from hasten import imports_child
    imports_child.begin(__name__)
"""
LOAD, AT_CPU, AT_GC = 2, 80, 88  # src/imports/log.h: the type of a load's record, its own time, its collections


def log_sum(path):
    """Seconds of CPU that the log says: own times and collections of all loads."""
    data = path.read_bytes()
    used = int.from_bytes(data[16:24], sys.byteorder)
    at, total = 64, 0
    while at < used:
        size, kind = (int.from_bytes(data[at + i : at + i + 4], sys.byteorder) for i in (0, 4))
        if kind == LOAD:
            total += sum(int.from_bytes(data[at + i : at + i + 8], sys.byteorder) for i in (AT_CPU, AT_GC))
        at += size
    return total / 1e9


def importtime_sum(text, module):
    """Seconds, wall: what -X importtime says that the module took with all in it."""
    return int(re.search(rf"^import time: +-?\d+ \| +(-?\d+) \| {re.escape(module)}$", text, re.MULTILINE)[1]) / 1e6


class Bench:
    def __init__(self, python, folder):
        self.python, self.folder = python, pathlib.Path(folder)
        (self.folder / "site").mkdir()
        (self.folder / "site/sitecustomize.py").write_text(SITE)

    def plain(self, module):
        return self._run(module, [], {})[0], None

    def watched(self, module):
        logs = self.folder / "logs"
        logs.mkdir()
        took, _ = self._run(module, [], {"PYTHONPATH": str(self.folder / "site"), "HASTEN_IMPORTS": str(logs)})
        (log,) = logs.iterdir()
        total = log_sum(log)
        log.unlink()
        logs.rmdir()
        return took, total

    def importtime(self, module):
        took, text = self._run(module, ["-X", "importtime"], {})
        return took, importtime_sum(text, module)

    def _run(self, module, options, env):
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | env
        errors = self.folder / "errors"
        with errors.open("w") as file:
            command = [self.python, *options, "-c", INSIDE.format(module)]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=file, text=True, check=True)
        return float(done.stdout), errors.read_text()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="+")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--python", default=sys.executable)
    options = parser.parse_args()
    names = ["plain", "watched", "importtime"]
    for module in options.modules:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(options.python, folder)
            took = {name: [] for name in names}
            sums = {name: [] for name in names}
            bench.plain(module)  # compiles, and reads from the disk
            for i in range(options.rounds):
                for name in names[i % 3 :] + names[: i % 3]:
                    seconds, total = getattr(bench, name)(module)
                    took[name].append(seconds)
                    if total is not None:
                        sums[name].append(total / seconds)
        print(f"{module}, {options.rounds} rounds")
        for name in names:
            ratio = statistics.median(a / b for a, b in zip(took[name], took["plain"], strict=True))
            least = min(took[name]) / min(took["plain"])
            share = f", reports {statistics.median(sums[name]):.1%} of that" if sums[name] else ""
            print(
                f"  {name:10} {statistics.median(took[name]) * 1e3:7.1f} ms CPU, {ratio:.3f} of plain"
                f" (least of all {least:.3f}){share}"
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["truth"]:
        import imports_truth

        sys.exit(imports_truth.main(sys.argv[2:]))
    main()
