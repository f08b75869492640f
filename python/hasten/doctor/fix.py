"""Edits configuration files, comments and layout kept, and never leaves half of one."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from typing import Any

from hasten.doctor.advice import IniEdit

TOML = (".toml",)


class FixError(Exception):
    """One line for people."""


def target(rootdir: str, inipath: str, edit: IniEdit) -> str:
    """The file that an edit goes to."""
    if edit.section != "pytest":
        return os.path.join(rootdir, edit.file or "pyproject.toml")
    if inipath:
        return os.path.realpath(inipath)
    project = os.path.join(rootdir, "pyproject.toml")
    return project if os.path.exists(project) else os.path.join(rootdir, "pytest.ini")


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        raise FixError(f"cannot read '{path}': {exc}") from None


def write(path: str, text: str) -> None:
    """The file has its old text or the new one, whatever happens. An empty text: there is no file."""
    if not text:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    try:
        mode = os.stat(path).st_mode & 0o7777 if os.path.exists(path) else 0o644
        fd, new = tempfile.mkstemp(prefix=".hasten-", dir=os.path.dirname(path))
        try:
            with open(fd, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(new, mode)
            os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise
    except OSError as exc:
        raise FixError(f"cannot write '{path}': {exc}") from None


def edited(path: str, text: str, edit: IniEdit) -> str:
    if path.endswith(TOML):
        return edited_toml(path, text, edit)
    return edited_ini(path, text, edit)


# ---- TOML


def edited_toml(path: str, text: str, edit: IniEdit) -> str:
    try:
        import tomlkit
        from tomlkit.exceptions import TOMLKitError
    except ImportError:
        raise FixError(f"editing {os.path.basename(path)} needs the package tomlkit: pip install tomlkit") from None
    try:
        document: Any = tomlkit.parse(text)
        table = _table(tomlkit, document, path, edit)
        _set(tomlkit, table, edit)
        result: str = tomlkit.dumps(document)
    except TOMLKitError as exc:
        raise FixError(f"'{path}' cannot be edited: {exc}") from None
    return result


def _table(tomlkit: Any, document: Any, path: str, edit: IniEdit) -> Any:
    if edit.section != "pytest":
        names = ["tool", *edit.section.split(":")]
    elif os.path.basename(path) != "pyproject.toml":
        names = ["pytest"]  # pytest.toml
    else:
        pytest_table = document.get("tool", {}).get("pytest", {})
        names = ["tool", "pytest"]
        if "ini_options" in pytest_table or not pytest_table:
            names.append("ini_options")
    table = document
    for i, name in enumerate(names):
        if name not in table:
            table[name] = tomlkit.table(is_super_table=i + 1 < len(names))
        table = table[name]
    return table


def _set(tomlkit: Any, table: Any, edit: IniEdit) -> None:
    value: Any = edit.value
    if edit.name == "addopts":
        assert isinstance(edit.value, list)
        old = table.get("addopts")
        if isinstance(old, list):
            old.extend(edit.value)
        else:
            table["addopts"] = " ".join([*([str(old)] if old else []), *edit.value])
        return
    if value in ("true", "false"):
        value = value == "true"
    table[edit.name] = value


# ---- INI


def _header(name: str, section: str) -> str:
    if section != "pytest":
        return f"[{section}]" if name in ("setup.cfg", "tox.ini") else f"[{section.partition(':')[2]}]"
    return "[tool:pytest]" if name == "setup.cfg" else "[pytest]"


def edited_ini(path: str, text: str, edit: IniEdit) -> str:
    header = _header(os.path.basename(path), edit.section)
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    value = edit.value if isinstance(edit.value, str) else " ".join(edit.value)
    start = next((i for i, line in enumerate(lines) if line.strip().startswith(header)), None)
    if start is None:
        gap = end if lines else ""
        return text + ("" if not text or text.endswith("\n") else end) + f"{gap}{header}{end}{edit.name} = {value}{end}"
    stop = next((i for i in range(start + 1, len(lines)) if lines[i].startswith("[")), len(lines))
    at = next((i for i in range(start + 1, stop) if re.match(rf"{re.escape(edit.name)}\s*[=:]", lines[i])), None)
    if at is None:
        if not lines[start].endswith("\n"):
            lines[start] += end
        lines.insert(start + 1, f"{edit.name} = {value}{end}")
        return "".join(lines)
    last = at
    while last + 1 < stop and (lines[last + 1][:1] in " \t") and lines[last + 1].strip():
        last += 1
    if edit.name == "addopts":
        while last > at and lines[last].lstrip().startswith(("#", ";")):
            last -= 1
        lines[last] = f"{lines[last].rstrip()} {value}{end}"
    else:
        lines[at : last + 1] = [f"{edit.name} = {value}{end}"]
    return "".join(lines)
