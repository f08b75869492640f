"""`covering.py matrix`: the comparison with coverage.py's C tracer on every CPython that is found, and its table.

Each CPython has a cache of its own, `pythons/VERSION` in the cache; source distributions are shared. A suite whose
environment cannot be made for a CPython (no release of something that it needs) is named, and left out.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import suites

NEWEST = 20  # minor versions that are looked for
RESULTS = suites.HERE / "results" / "covering_equal.jsonl"
COLUMNS = (
    "lines 1",
    "lines 2",
    "lines 8",
    "branches 1",
    "branches 2",
    "branches 8",
    "lines 2 killed",
    "branches 2 killed",
)


def run(options):
    """Exit status: 1 when something differs."""
    chosen = [s for s in suites.load(options.names) if options.names or (s.timed and s.name != "pytest")]
    chosen.sort(key=lambda suite: options.names.index(suite.name) if options.names else 0)
    rows, skipped = [], []
    for python in options.python or find_pythons():
        version = version_of(python)
        cache = Cache(options.cache, version)
        print(f"CPython {version}: {python}", flush=True)
        wheel = None if options.ready else prepare_wheel(cache, python)
        for suite in chosen:
            if wheel and not prepared(cache, python, suite, wheel):
                skipped.append(f"{suite.requirement} on {version}: no environment could be made")
                continue
            found, status = compare(cache, python, suite, options)
            rows += found
            save(found)
            if status > 1 or not found:
                skipped.append(f"{suite.requirement} on {version}: the comparison failed (status {status})")
    print("\n" + "\n".join(table(rows)))
    for line in skipped:
        print("left out:", line)
    return 1 if any(row["different"] or row["kill"] != row["killed"] for row in rows) else 0


class Cache(suites.Cache):
    """One CPython's."""

    def __init__(self, root, version):
        whole = suites.Cache(root)
        super().__init__(whole.root / "pythons" / version)
        self.root.mkdir(parents=True, exist_ok=True)
        whole.sdists.mkdir(parents=True, exist_ok=True)
        if not self.sdists.exists():
            self.sdists.symlink_to(whole.sdists)


def version_of(python):
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def find_pythons():
    """The newest release of each minor version that has sys.monitoring, in PATH or among pyenv's."""
    found = {}
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"
    places = [shutil.which(f"python3.{minor}") for minor in range(12, NEWEST)]
    places += [str(path) for path in pyenv.glob("3.*/bin/python")]
    for python in filter(None, places):
        try:
            version = tuple(map(int, version_of(python).split(".")))
        except (subprocess.SubprocessError, OSError, ValueError):  # a shim of a version that is not chosen
            continue
        if version >= (3, 12) and version > found.get(version[:2], ((0,), ""))[0]:
            found[version[:2]] = (version, python)
    if not found:
        raise SystemExit("matrix: no CPython 3.12 or later in PATH or pyenv: name some by --python")
    return [python for _version, python in sorted(found.values())]


def script(name, python, *arguments):
    return subprocess.run([python, str(suites.HERE / name), *map(str, arguments)], check=False).returncode


def prepare_wheel(cache, python):
    """hasten's, built for this CPython."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import suites; cache = suites.Cache(sys.argv[2]);"
        "suites.prepare_tools(cache); import shutil;"
        "print(shutil.copy(suites.build_wheel(cache, sys.argv[3]), cache.wheels))"
    )
    done = subprocess.run(
        [python, "-c", code, str(suites.HERE), str(cache.root), str(suites.HERE.parent)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


def prepared(cache, python, suite, wheel):
    return script("corpus.py", python, "--cache", cache.root, "prepare", suite.name, "--hasten", wheel) == 0


def save(rows):
    RESULTS.parent.mkdir(exist_ok=True)
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows))


def compare(cache, python, suite, options):
    """Rows, and the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        rows = pathlib.Path(folder) / "rows"
        words = ["compare", suite.name, "--cache", cache.root, "--kill", "--save", rows, *["--quick"] * options.quick]
        words += ["-n", options.n] if options.n else []
        status = script("covering.py", python, *words)
        return [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else [], status


def cell(row):
    """What one run has shown."""
    if row is None:
        return ""
    text = str(len(row["different"]))
    if row["by_order"]:
        text += f" ({len(row['by_order'])} by order)"
    return text if row["kill"] == row["killed"] else "not killed"


def table(rows):
    """Lines of Markdown: differences of each run."""
    by_run = {}
    for row in rows:
        name = f"{row['kind']} {row['workers']}" + (" killed" if row["kill"] else "")
        by_run.setdefault((row["suite"], row["python"]), {})[name] = row
    columns = [name for name in COLUMNS if any(name in runs for runs in by_run.values())]
    yield "| suite | CPython | files | lines | branches | " + " | ".join(f"-n {c}" for c in columns) + " |"
    yield "|---" * (5 + len(columns)) + "|"
    for (suite, python), runs in sorted(by_run.items()):
        some = max(runs.values(), key=lambda row: row["branches"])
        facts = [suite, python, some["files"], some["lines"], some["branches"]]
        yield "| " + " | ".join(map(str, facts + [cell(runs.get(c)) for c in columns])) + " |"


def main():
    """The table of the last results that were saved, of each run the newest."""
    newest = {}
    for line in RESULTS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        newest[tuple(row[key] for key in ("suite", "python", "kind", "workers", "kill"))] = row
    print("\n".join(table(newest.values())))


if __name__ == "__main__":
    sys.exit(main())
