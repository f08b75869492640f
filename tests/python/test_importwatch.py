"""The watch over imports: it comes, it goes without a trace, and it survives odd imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import builtins, gc, os, sys, _frozen_importlib as machinery, _frozen_importlib_external as external, _imp
from hasten import _native
path = sys.argv[1]
"""


def run(tmp_path: Path, code: str) -> bytes:
    """Runs code in a fresh process; the log that it wrote."""
    log = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code, str(log)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return log.read_bytes() if log.exists() else b""


def test_it_leaves_everything_as_it_was(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
def state():
    return (builtins.__import__, machinery._find_and_load, machinery._find_spec, external._compile_bytecode,
            vars(external.FileLoader)["get_data"], vars(external.SourceLoader)["source_to_code"],
            _imp.create_dynamic, _imp.exec_dynamic, list(gc.callbacks))
before = state()
for i in range(3):
    _native.imports_start(f"{path}{i}")
    assert all(a is not b for a, b in zip(before[:8], state()[:8]))
    import json
    _native.imports_stop()
    assert state() == before
_native.imports_stop()
""",
    )


def test_the_file_is_as_long_as_what_is_in_it(tmp_path: Path) -> None:
    data = run(tmp_path, "_native.imports_start(path)\nimport json\n_native.imports_stop()\n")
    assert data.startswith(b"HSIMPRT2")
    assert int.from_bytes(data[16:24], sys.byteorder) == len(data) < 100_000
    assert b"json.decoder\0" in data


def test_wrong_use_is_an_exception(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
_native.imports_start(path)
for argument, kind in ((path + "x", RuntimeError), (1, TypeError)):
    try:
        _native.imports_start(argument)
    except kind:
        pass
    else:
        raise SystemExit("no exception")
_native.imports_stop()
try:
    _native.imports_start(path)  # the file is there
except FileExistsError:
    pass
""",
    )


@pytest.mark.parametrize(
    "code",
    [
        "__import__('os', {}, {}, ['path', 'sep'], 0)",
        "__import__('xml', globals(), None, ['dom', 'nothing'], 0)",
        "__import__(name='wave')",
        "__import__('json', fromlist=('decoder',))",
        "import importlib; importlib.import_module('xml.dom'); importlib.import_module('.dom', 'xml')",
        "import importlib; importlib.__import__('wave')",
        "import wave, importlib; importlib.reload(wave)",
        "exec('import wave', {})",
        "exec('import wave', {'__name__': 3})",
        "exec('from . import dom', {'__package__': 'xml', '__name__': 'xml.x'})",
        "import wave; del sys.modules['wave']; import wave",
        "sys.modules['odd'] = object(); import odd",
        "class S(str): pass\n__import__(S('wave'))",
        "from os import *\nimport os.path as p",
    ],
)
def test_odd_imports_work_as_ever(tmp_path: Path, code: str) -> None:
    run(tmp_path, f"_native.imports_start(path)\n{code}\n_native.imports_stop()\n")


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("__import__(1)", "TypeError"),
        ("__import__('')", "ValueError"),
        ("__import__()", "TypeError"),
        ("__import__('os', level=-1)", "ValueError"),
        ("__import__('os', {}, {}, (), 1)", "KeyError|ImportError"),
        ("import nothing_like_it.sub", "ModuleNotFoundError"),
        ("from os import nothing_like_it", "ImportError"),
        ("sys.modules['gone'] = None; import gone", "ModuleNotFoundError"),
        ("from .... import x", "ImportError|KeyError"),
    ],
)
def test_failing_imports_fail_in_the_same_way(tmp_path: Path, code: str, kind: str) -> None:
    attempt = f"""
def attempt():
    try:
        exec({code!r}, {{"sys": sys}})
    except Exception as failure:
        return type(failure).__name__, str(failure)
before = attempt()
sys.modules.pop("gone", None)
_native.imports_start(path)
assert attempt() == before, (attempt(), before)
_native.imports_stop()
assert before[0] in {kind.split("|")!r}, before
"""
    run(tmp_path, attempt)


def test_tracebacks_show_no_frame_of_the_watch(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    run(
        tmp_path,
        """
import traceback
def text():
    try:
        import broken
    except ZeroDivisionError:
        return traceback.format_exc()
sys.path.insert(0, os.getcwd())
before = text()
_native.imports_start(path)
assert text() == before
_native.imports_stop()
""",
    )
