"""Other interpreters that are installed: newer ones, and those without the GIL, and what the suite lacks there."""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence

_PLACES = (
    "{root}/.tox/*/bin/python",
    "{root}/.nox/*/bin/python",
    "{root}/.venv*/bin/python",
    "{root}/venv*/bin/python",
    "~/.pyenv/versions/*/bin/python",
    "~/.local/share/uv/python/*/bin/python3",
    "/usr/bin/python3.*",
    "/usr/local/bin/python3.*",
)
MOST = 20  # that are asked
SHOWN = 3
_ASK = """
import importlib.util, json, sys
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
print(json.dumps({"version": list(sys.version_info[:3]), "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
    "implementation": sys.implementation.name, "hasten": there("hasten"),
    "missing": [name for name in sys.argv[1:] if not there(name)]}))
"""


@dataclasses.dataclass
class Found:
    path: str
    version: tuple[int, ...]
    gil: bool
    missing: list[str]  # packages that the suite imports
    hasten: bool  # is installed there

    @property
    def name(self) -> str:
        """As people write it: 3.14.0, or 3.14.0t without the GIL."""
        return ".".join(map(str, self.version)) + ("" if self.gil else "t")


def ask(path: str, names: Iterable[str]) -> Found | None:
    """None when it is no interpreter that could run the suite."""
    try:
        done = subprocess.run(
            [path, "-P", "-c", _ASK, "pytest", *sorted(set(names) - {"pytest", "_pytest"})],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
        said = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    if said["implementation"] != "cpython" or tuple(said["version"]) < (3, 11):
        return None
    return Found(path, tuple(said["version"]), said["gil"], said["missing"], said["hasten"])


def places(rootdir: str) -> list[str]:
    found = [path for place in _PLACES for path in sorted(glob.glob(os.path.expanduser(place.format(root=rootdir))))]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        found += sorted(glob.glob(os.path.join(glob.escape(folder), "python3.*"))) if folder else []
    programs = [path for path in found if not path.endswith(("-config", ".py")) and os.access(path, os.X_OK)]
    return list(dict.fromkeys(map(os.path.abspath, programs)))


def newer(rootdir: str, names: Sequence[str]) -> list[Found]:
    """The best one of each later version, and of each without the GIL: that which lacks least."""
    own = os.path.abspath(sys.executable)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    best: dict[tuple[tuple[int, ...], bool], Found] = {}
    for path in [one for one in places(rootdir) if one != own][:MOST]:
        found = ask(path, names)
        if found is None or (found.version[:2] <= sys.version_info[:2] and (found.gil or not gil)):
            continue
        if found.version[:2] < sys.version_info[:2]:
            continue
        key = (found.version[:2], found.gil)
        old = best.get(key)
        if old is None or (len(found.missing), [-n for n in found.version]) < (
            len(old.missing),
            [-n for n in old.version],
        ):
            best[key] = found
    return sorted(best.values(), key=lambda one: (one.version, one.gil))[-SHOWN:]


def given(paths: Sequence[str], names: Sequence[str]) -> tuple[list[Found], list[str]]:
    """Those that were named, and those of them that are none."""
    answers = {path: ask(path, names) for path in paths}
    return [one for one in answers.values() if one], [path for path, one in answers.items() if one is None]


def package_path(folder: str) -> str:
    """A folder for PYTHONPATH in which there is this package and nothing else."""
    import hasten

    place = os.path.join(folder, "package")
    if not os.path.isdir(place):
        os.mkdir(place)
        os.symlink(os.path.dirname(os.path.abspath(str(hasten.__file__))), os.path.join(place, "hasten"))
    return place
