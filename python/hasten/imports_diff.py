"""`hasten imports diff A.json B.json`: which modules came, went and changed between two measurements."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

Profile = dict[str, Any]


def read(path: str) -> Profile:
    with open(path, encoding="utf-8") as file:
        profile = json.load(file)
    if not isinstance(profile, dict) or profile.get("format") != 1:
        raise ValueError(f"{path} was not written by `hasten imports --json`")
    return profile


def times(profile: Profile) -> dict[str, float]:
    return {one["name"]: one["cpu"] for one in profile["modules"]}


def changes(a: Profile, b: Profile, least: float) -> list[tuple[float, str, str]]:
    """(seconds more in b, what happened, module) for each module that differs by at least `least` seconds."""
    before, after = times(a), times(b)
    found = [(after[name], "new", name) for name in after.keys() - before.keys()]
    found += [(-before[name], "gone", name) for name in before.keys() - after.keys()]
    found += [(after[name] - before[name], "changed", name) for name in after.keys() & before.keys()]
    return sorted((one for one in found if one[1] != "changed" or abs(one[0]) >= least), key=lambda one: -abs(one[0]))


def show(a: Profile, b: Profile, found: list[tuple[float, str, str]], limit: int) -> str:
    def line(title: str, key: str, factor: float, unit: str) -> str:
        x, y = a[key] * factor, b[key] * factor
        share = f" ({(y - x) / x:+.1%})" if x else ""
        return f"{title:12} {x:9.1f} -> {y:9.1f} {unit}{share}"

    lines = [
        f"A: {a['target']}, {a['processes']} processes",
        f"B: {b['target']}, {b['processes']} processes",
        line("CPU time", "cpu", 1e3, "ms"),
        line("wall time", "wall", 1e3, "ms"),
        line("memory", "bytes", 1 / 1048576, "MB"),
        f"{'modules':12} {len(a['modules']):9} -> {len(b['modules']):9}",
    ]
    shown = found[:limit] if limit else found
    if shown:
        lines.append("")
    lines += [f"{seconds * 1e3:+9.1f} ms  {what:8} {name}" for seconds, what, name in shown]
    if len(found) > len(shown):
        lines.append(f"and {len(found) - len(shown)} more")
    return "\n".join(lines)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="hasten imports diff", description=__doc__)
    parser.add_argument("a", metavar="A.json", help="an earlier output of hasten imports --json")
    parser.add_argument("b", metavar="B.json", help="a later one")
    parser.add_argument("--limit", type=int, default=15, metavar="N", help="modules to list; 0: all (15)")
    parser.add_argument("--least", type=float, default=0.5, metavar="MS", help="least change worth a line (0.5)")
    parser.add_argument("--json", action="store_true", help="the changes as JSON, times in seconds")
    options = parser.parse_args(argv)
    try:
        a, b = read(options.a), read(options.b)
    except (OSError, ValueError) as failure:
        print(f"hasten: {failure}", file=sys.stderr)
        return 4
    found = changes(a, b, options.least / 1e3)
    if options.json:
        described = [{"module": name, "what": what, "cpu": round(seconds, 9)} for seconds, what, name in found]
        print(json.dumps({"cpu": round(b["cpu"] - a["cpu"], 9), "modules": described}, indent=1))
    else:
        print(show(a, b, found, options.limit))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
