"""``hasten run --verify-against-pytest``: runs plain pytest and hasten, and says what differs.

Compared for each node id and phase: outcome, failure text, report sections; then the exit status. Started by the
hasten program as ``python -m hasten.verify PROGRAM [pytest arguments]``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from typing import Any

Reports = dict[tuple[str, str], list[dict[str, Any]]]
SHOWN = 20


def _without_workers(args: list[str]) -> list[str]:
    """pytest's arguments without those that only hasten and pytest-xdist know."""
    valued = ("-n", "--numprocesses", "--dist", "--maxprocesses", "--max-worker-restart", "--start", "--collect",
              "--worker-memory", "--session-once", "--testrunuid", "--tx", "--maxschedchunk")  # fmt: skip
    flags = (
        "--slow-exit",
        "--no-fuse",
        "--explain-fuse",
        "-d",
        "--loadscope-reorder",
        "--no-loadscope-reorder",
        "--no-live",
    )
    kept = []
    skip = False
    for arg in args:
        if skip:
            skip = False
        elif arg in valued:
            skip = True
        elif not (arg in flags or arg.startswith(tuple(v + "=" for v in valued)) or _is_count(arg)):
            kept.append(arg)
    return kept


def _run(command: list[str], record: str, label: str) -> tuple[int, float]:
    env = {**os.environ, "HASTEN_RECORD": record}
    print(f"--- {label}: {' '.join(command)}", flush=True)
    start = time.monotonic()
    status = subprocess.run(command, env=env).returncode
    return status, time.monotonic() - start


def _read(path: str) -> Reports:
    found: Reports = defaultdict(list)
    try:
        with open(path, encoding="utf-8") as f:
            for line in f:
                data = json.loads(line)
                found[data["id"], data["when"]].append(data)
    except FileNotFoundError:
        pass
    return found


def compare(plain: Reports, other: Reports) -> list[str]:
    """One line for each difference."""
    lines = []
    for key in sorted(plain.keys() | other.keys()):
        nodeid, when = key
        a, b = plain.get(key), other.get(key)
        if a is None or b is None:
            lines.append(f"{nodeid} [{when}]: only {'hasten' if a is None else 'pytest'} reports it")
            continue
        if len(a) != len(b):
            lines.append(f"{nodeid} [{when}]: {len(a)} reports from pytest, {len(b)} from hasten")
        for one, two in zip(a, b, strict=False):
            for name in one:
                if one[name] != two.get(name):
                    lines.append(f"{nodeid} [{when}]: {name}: {_short(one[name])} | {_short(two.get(name))}")
    return lines


def _is_count(arg: str) -> bool:
    return arg.startswith("-n") and (arg[2:].isdigit() or arg[2:] in ("auto", "logical"))


def _short(value: object) -> str:
    text = str(value).replace("\n", "\\n")
    return text if len(text) < 120 else text[:117] + "..."


def main(argv: list[str]) -> int:
    """argv: the hasten program, then the arguments of `hasten run`. 0 same, 1 different, 4 nothing to compare."""
    program, args = argv[0], argv[1:]
    no_plugin = ["-p", "no:hasten", "-p", "no:xdist", "-p", "hasten.recorder"]
    with tempfile.TemporaryDirectory(prefix="hasten-verify-") as folder:
        records = [os.path.join(folder, name) for name in ("pytest", "hasten")]
        command = [sys.executable, "-m", "pytest", *no_plugin, *_without_workers(args)]
        plain, plain_s = _run(command, records[0], "pytest")
        own, own_s = _run([program, "run", "--python", sys.executable, "--no-live", "-p", "hasten.recorder", *args],
                          records[1], "hasten")  # fmt: skip
        reports = [_read(path) for path in records]
    lines = compare(*reports)
    if plain != own:
        lines.append(f"exit status: {plain} from pytest, {own} from hasten")
    n = len({nodeid for nodeid, _when in reports[0]})
    for line in lines[:SHOWN]:
        print("differs:", line)
    if len(lines) > SHOWN:
        print(f"... and {len(lines) - SHOWN} more")
    print(f"hasten: verified against pytest: {n} node ids, {sum(map(len, reports[0].values()))} reports, "
          f"{len(lines)} differences; {plain_s:.2f} s with pytest, {own_s:.2f} s with hasten")  # fmt: skip
    if not reports[0] and not reports[1] and plain == own:
        return plain
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
