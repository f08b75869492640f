"""`hasten imports --html FILE`: the measurement as one page that needs nothing else (imports_page.html)."""

from __future__ import annotations

import base64
import hashlib
import json
import linecache
import os
import re
import sys
from typing import Any

from hasten.imports_graph import Profile


def place(statement: dict[str, Any] | None, root: str) -> str:
    if not statement or not statement.get("file"):
        return ""
    file = statement["file"]
    shown = os.path.relpath(file, root) if file.startswith(root + "/") else shortened(file)
    within = f" in {statement['function']}" if statement.get("function") else ""
    return f"{shown}:{statement['line']}{within}"


def shortened(file: str) -> str:
    return re.split(r"/(?:site|dist)-packages/|/lib/python3\.\d+t?/", file)[-1]


def verdict(statement: dict[str, Any]) -> str:
    reason = statement.get("reason")
    return "" if reason is None else reason or "can be lazy"


def data(profile: Profile, root: str) -> dict[str, Any]:
    """What the page needs, times in nanoseconds."""
    numbers = {one["name"]: at for at, one in enumerate(profile["modules"])}
    graph = profile["graph"]
    return {
        "target": profile["target"],
        "processes": profile["processes"],
        "cpu": round(profile["cpu"] * 1e9),
        "gc": round(profile["gc"] * 1e9),
        "bytes": profile["bytes"],
        "modules": [
            {
                "name": one["name"],
                "file": one["file"],
                "cpu": graph["cpu_ns"][at],
                "bytes": graph["bytes"][at],
                "saved": round(one["saved"]["cpu"] * 1e9),
                "within": numbers.get(one.get("within", ""), -1),
                "own": bool(one.get("own")),
                "failed": bool(one.get("failed")),
                "place": place(one.get("at"), root),
            }
            for at, one in enumerate(profile["modules"])
        ],
        "statements": [
            {
                "imports": ", ".join(one["imports"]),
                "place": place(one, root),
                "own": bool(one.get("own")),
                "verdict": verdict(one),
                "saved": round(one["saved"]["cpu"] * 1e9),
                "saved_bytes": one["saved"]["bytes"],
                "saved_modules": one["saved"]["modules"],
            }
            for one in profile["statements"]
        ],
        "work": [
            {
                "place": place(one, root),
                "times": one["times"],
                "wall": round(one["wall"] * 1e9),
                "cpu": round(one["cpu"] * 1e9),
                "does": "waits" if one.get("waits") else "computes",
                "source": linecache.getline(one["file"], one["line"]).strip()[:120],
            }
            for one in profile["work"]
        ],
        "leads_to": graph["leads_to"],
    }


def page(profile: Profile, root: str) -> str:
    with open(os.path.join(os.path.dirname(__file__), "imports_page.html"), encoding="utf-8") as file:
        template = file.read()
    scripts = re.findall(r'<script id="(?:model|page)">(.*?)</script>', template, re.DOTALL)
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in scripts)
    # A name may hold anything: nothing in it ends the element.
    text = json.dumps(data(profile, root), separators=(",", ":")).replace("<", "\\u003c")
    return template.replace("@HASHES@", hashes).replace("@DATA@", text)


def main(argv: list[str]) -> int:
    source, target, root = argv
    with open(source, encoding="utf-8") as file:
        profile = json.load(file)
    text = page(profile, root)
    try:
        with open(target, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as failure:
        print(f"hasten: cannot write '{target}': {failure.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
