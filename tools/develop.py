"""Makes a virtual environment use this source tree: run it with that environment's Python.

Usage: develop.py BUILD_FOLDER

Writes the distribution's metadata (pytest finds the plugin by it) into site-packages, and links the package, the built
extension and the program to where they are looked for. An editable install of meson-python would do most of that,
but not install the program, and it starts ninja at every import: 0.1 s in each process of a run that is measured.
"""

import os
import pathlib
import re
import shutil
import sys
import sysconfig
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]


def version() -> str:
    found = re.search(r"^\s*version: '([^']+)'", (ROOT / "meson.build").read_text(), re.MULTILINE)
    if not found:
        raise SystemExit("develop: meson.build names no version")
    return found[1]


def link(at: pathlib.Path, to: pathlib.Path) -> None:
    if not to.exists():
        return
    if at.is_dir() and not at.is_symlink():
        shutil.rmtree(at)
    elif at.is_symlink() or at.exists():
        at.unlink()
    at.symlink_to(os.path.relpath(to, at.parent))


def write_metadata(site: pathlib.Path) -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    folder = site / f"hasten-{version()}.dist-info"
    for old in site.glob("hasten-*.dist-info"):
        shutil.rmtree(old)
    folder.mkdir()
    requires = "".join(f"Requires-Dist: {one}\n" for one in project["dependencies"])
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hasten\nVersion: {version()}\n{requires}")
    groups = project["entry-points"]
    lines = (f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in groups[group].items()) for group in groups)
    (folder / "entry_points.txt").write_text("\n".join(lines))
    (folder / "INSTALLER").write_text("hasten's tools/develop.py\n")
    # The package's files are named too: pytest reads from here what a plugin's distribution consists of.
    files = sorted(path.relative_to(ROOT / "python").as_posix() for path in (ROOT / "python").rglob("*.py"))
    metadata = sorted(f"{folder.name}/{path.name}" for path in folder.iterdir())
    names = [*files, *metadata, f"{folder.name}/RECORD"]
    (folder / "RECORD").write_text("".join(f"{name},,\n" for name in names))


def main() -> int:
    build = pathlib.Path(sys.argv[1]).resolve()
    if sys.prefix == sys.base_prefix:
        raise SystemExit("develop: this Python belongs to no virtual environment; nothing was changed")
    extension = f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
    site = pathlib.Path(sysconfig.get_path("purelib"))
    write_metadata(site)
    link(site / "hasten", ROOT / "python" / "hasten")
    link(ROOT / "python" / "hasten" / extension, build / extension)
    link(pathlib.Path(sysconfig.get_path("scripts")) / "hasten", build / "hasten")
    return 0


if __name__ == "__main__":
    sys.exit(main())
