"""Prints which lines of src/ the tests have run: one row for each file, and the total.

Usage: python tools/coverage.py BUILD_FOLDER   (a build with -Db_coverage=true whose tests have run; `make coverage`)
"""

import json
import pathlib
import subprocess
import sys
from collections import defaultdict

ROOT = pathlib.Path(__file__).resolve().parents[1]


def read(build: pathlib.Path) -> dict[str, dict[int, int]]:
    """File below the root -> line -> how often it ran, summed over everything that was built from it."""
    lines: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    notes = sorted(build.rglob("*.gcno"))  # not .gcda: what never ran has none, and counts too
    for at in range(0, len(notes), 50):
        command = ["gcov", "--json-format", "--stdout", *map(str, notes[at : at + 50])]
        done = subprocess.run(command, cwd=build, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for answer in done.stdout.splitlines():
            for file in json.loads(answer)["files"]:
                path = (build / file["file"]).resolve()
                if not path.is_relative_to(ROOT / "src"):
                    continue
                counts = lines[path.relative_to(ROOT).as_posix()]
                for line in file["lines"]:
                    counts[line["line_number"]] += line["count"]
    return lines


def show(name: str, n_run: int, n_all: int) -> None:
    print(f"{name:<28} {n_all:6} {n_run:6} {100 * n_run / max(n_all, 1):6.1f} %")


def main(build: pathlib.Path) -> int:
    lines = read(build.resolve())
    if not lines:
        print(f"coverage: nothing has run in {build}", file=sys.stderr)
        return 1
    print(f"{'file':<28} {'lines':>6} {'run':>6}")
    n_run = n_all = 0
    for name, counts in sorted(lines.items()):
        ran = sum(count > 0 for count in counts.values())
        show(name, ran, len(counts))
        n_run += ran
        n_all += len(counts)
    show("total", n_run, n_all)
    return 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
