"""The cache of rewritten test files: what it gives is what pytest would make, and nothing goes wrong when it cannot."""

from __future__ import annotations

import errno
import marshal
import os
import subprocess
import sys
import traceback
import types
import warnings
from pathlib import Path

import pytest
from _pytest.assertion import rewrite as pytest_rewrite

from hasten import _native, rewrite

SOURCE = """
import pytest


def outer(a):
    def inner():
        assert a == 1, "text"
    inner()
    assert [b for b in [a] if b]


class TestA:
    def test_b(self):
        assert outer(1) is None
"""


class FakeConfig:
    def __init__(self, rootpath: Path) -> None:
        self.rootpath = rootpath
        self.inis = {"enable_assertion_pass_hook": False}

    def getini(self, name):
        return self.inis[name]


@pytest.fixture
def config(tmp_path):
    return FakeConfig(tmp_path)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "test_a.py"
    path.write_text(SOURCE)
    return path


def new(config):
    return rewrite.Rewrites(config, pytest_rewrite)


def run(rewrites, path, original=None):
    """As pytest calls it. Returns the answer."""
    through = _native.through(rewrites.find, original or pytest_rewrite._rewrite_test, rewrites.keep)
    return through(path, rewrites.config)


def entries(config):
    folder = config.rootpath / ".hasten" / "cache"
    return sorted(p for p in folder.iterdir() if len(p.name) == 40) if folder.exists() else []


def filenames(code):
    yield code.co_filename
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from filenames(const)


def never(path, config):
    raise AssertionError("pytest's own function is called")


def test_the_second_answer_comes_from_the_cache_and_is_the_first(config, source):
    first = run(new(config), source)
    second = run(new(config), source, never)
    assert second == first
    assert type(second[0]) is type(first[0])
    assert marshal.dumps(second[1]) == marshal.dumps(marshal.loads(marshal.dumps(first[1])))


def test_code_names_the_file_that_asks(config, source, tmp_path):
    run(new(config), source)
    other = tmp_path / "other" / "test_b.py"
    other.parent.mkdir()
    other.write_text(SOURCE)
    _, code = run(new(config), other, never)
    assert set(filenames(code)) == {str(other)}


def test_another_content_is_rewritten_again(config, source):
    run(new(config), source)
    stat = source.stat()
    source.write_text(SOURCE.replace('"text"', '"tent"'))
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same size, same time
    rewrites = new(config)
    _, code = run(rewrites, source)
    assert rewrites.counts == {"hit": 0, "miss": 1, "kept": 1}
    assert b"tent" in marshal.dumps(code)


def test_time_of_the_file_does_not_matter(config, source):
    run(new(config), source)
    os.utime(source, (1, 1))
    run(new(config), source, never)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "renamed", "other magic"])
def test_a_damaged_entry_is_made_again(config, source, damage):
    first = run(new(config), source)
    (entry,) = entries(config)
    data = entry.read_bytes()
    if damage == "flip":
        damaged = [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(0, len(data), 97)]
    elif damage == "cut":
        damaged = [data[:i] for i in range(0, len(data), 97)]
    elif damage == "empty":
        damaged = [b""]
    elif damage == "renamed":
        source.with_name("test_c.py").write_text("def test_c(): assert 1")
        run(new(config), source.with_name("test_c.py"))
        (other,) = set(entries(config)) - {entry}
        damaged = [other.read_bytes()]
    else:
        damaged = [b"hasten rewrite 0\n" + data[len(rewrite.FORMAT) :]]
    for bad in damaged:
        entry.write_bytes(bad)
        rewrites = new(config)
        assert run(rewrites, source) == first
        assert rewrites.counts == {"hit": 0, "miss": 1, "kept": 1}
        assert entry.read_bytes() == data
    run(new(config), source, never)


@pytest.mark.parametrize("text", ["def test_a():\n    assert (1, 'x')\n", "a = 1 is 1\n", "a = '\\d'\n"])
def test_a_file_that_warns_when_it_is_compiled_warns_in_each_run(config, tmp_path, text):
    path = tmp_path / "test_w.py"
    path.write_text(text)
    seen = []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as log:
            warnings.simplefilter("always")
            run(new(config), path)
        seen.append([str(w.message) for w in log])
    assert seen[0]
    assert seen[0] == seen[1]
    assert not entries(config)


def test_a_warning_that_was_filtered_out_comes_when_filters_let_it(config, tmp_path):
    path = tmp_path / "test_w.py"
    path.write_text("def test_a():\n    assert (1, 'x')\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(new(config), path)
        run(new(config), path, never)
    with warnings.catch_warnings(record=True) as log:
        warnings.simplefilter("always")
        run(new(config), path)
    assert log
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((SyntaxError, Warning)):
            run(new(config), path)


def test_a_filter_with_a_memory_is_not_cached(config, source):
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        run(new(config), source)
    assert not entries(config)


def test_the_warnings_function_is_put_back_whatever_happens(config, source):
    show = warnings._showwarnmsg
    run(new(config), source)
    with pytest.raises(AssertionError, match="is called"):
        run(new(config), source.with_name("conftest.py"), never)
    source.write_text("def broken(:\n")
    with pytest.raises(SyntaxError):
        run(new(config), source)
    assert warnings._showwarnmsg is show


def test_the_pass_hook_option_has_entries_of_its_own(config, source):
    run(new(config), source)
    config.inis["enable_assertion_pass_hook"] = True
    rewrites = new(config)
    _, code = run(rewrites, source)
    assert rewrites.counts["hit"] == 0
    assert b"_call_assertion_pass" in marshal.dumps(code)


@pytest.mark.parametrize("flag", ["-O", "-OO", "-Xno_debug_ranges"])
def test_flags_of_the_interpreter_have_entries_of_their_own(config, flag):
    program = (
        "import types\nfrom hasten import rewrite\nfrom _pytest.assertion import rewrite as r\n"
        "c = types.SimpleNamespace(getini=lambda name: False)\n"
        "print(rewrite.Rewrites(c, r)._describe_environment().hex())"
    )
    one = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
    two = subprocess.run([sys.executable, flag, "-c", program], check=True, capture_output=True).stdout
    assert one
    assert two
    assert one != two


def test_a_patched_rewriter_is_left_alone(config, source, monkeypatch):
    rewrites = new(config)
    calls = []

    def patched(*args):
        calls.append(args)
        return original(*args)

    original = pytest_rewrite.rewrite_asserts
    monkeypatch.setattr(pytest_rewrite, "rewrite_asserts", patched)
    run(rewrites, source)
    run(rewrites, source)
    assert len(calls) == 2
    assert not entries(config)


def test_another_config_is_left_alone(config, source, tmp_path):
    rewrites = new(config)
    other = FakeConfig(tmp_path)
    _native.through(rewrites.find, pytest_rewrite._rewrite_test, rewrites.keep)(source, other)
    assert not entries(config)


def test_a_source_that_changes_meanwhile_is_not_kept(config, source):
    def slow(path, config):
        answer = pytest_rewrite._rewrite_test(path, config)
        path.write_text(SOURCE + "# more\n")
        return answer

    run(new(config), source, slow)
    assert not entries(config)


def test_a_folder_that_cannot_be_made_is_no_trouble(config, source):
    (config.rootpath / ".hasten").write_text("a file")
    rewrites = new(config)
    assert run(rewrites, source)
    assert not rewrites.writes
    assert run(rewrites, source)


def test_a_full_disk_is_no_trouble_and_leaves_nothing(config, source, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "replace", full)
    rewrites = new(config)
    assert run(rewrites, source)
    assert list((config.rootpath / ".hasten" / "cache").iterdir()) == []
    rewrites.pytest_collection_finish()


def test_git_does_not_see_the_folder(config, source):
    run(new(config), source)
    assert (config.rootpath / ".hasten" / ".gitignore").read_text() == "*\n"


def test_a_call_through_the_cache_leaves_no_frame():
    def fails(path, config):
        raise ValueError("x")

    def nothing(*args):
        return None

    kept = []
    with pytest.raises(ValueError, match="x") as info:
        _native.through(nothing, fails, lambda *args: kept.append(args))(1, 2)
    assert [frame.name for frame in traceback.extract_tb(info.tb)][1:] == ["fails"]
    assert kept == [(1, 2, None)]


def put(folder, name, size, age, now):
    path = folder / name
    path.write_bytes(b"x" * size)
    os.utime(path, (now - age, now - age))
    return path


def test_pruning_removes_the_unused_and_then_the_oldest(tmp_path, monkeypatch):
    monkeypatch.setattr(rewrite, "MAX_BYTES", 1000)
    now = 1_700_000_000.0
    old = put(tmp_path, "a" * 40, 10, rewrite.MAX_AGE_S + 10, now)
    left_over = put(tmp_path, "b" * 40 + ".77.tmp", 10, rewrite.LEFT_OVER_S + 10, now)
    in_work = put(tmp_path, "c" * 40 + ".78.tmp", 10, 1, now)
    others = put(tmp_path, "somebody else's", 5000, rewrite.MAX_AGE_S * 2, now)
    by_age = [put(tmp_path, str(i) * 40, 300, 100 * i, now) for i in range(5)]
    rewrite.prune(str(tmp_path), now)
    assert not old.exists()
    assert not left_over.exists()
    assert in_work.exists()
    assert others.exists()
    assert [path.exists() for path in by_age] == [True, True, False, False, False]


def test_pruning_is_due_once_a_day_or_when_much_is_new(tmp_path, monkeypatch):
    monkeypatch.setattr(rewrite, "MAX_BYTES", 1000)
    done = []
    monkeypatch.setattr(rewrite, "prune", lambda folder, now: done.append(now))
    rewrite.settle(str(tmp_path), 10, 1_000_000)
    rewrite.settle(str(tmp_path), 10, 1_000_100)
    rewrite.settle(str(tmp_path), 10, 1_000_000 + rewrite.DAY_S + 1)
    rewrite.settle(str(tmp_path), 251, 1_000_002 + rewrite.DAY_S)
    rewrite.settle(str(tmp_path), 1, 1_000_003 + rewrite.DAY_S)
    (tmp_path / "pruned").write_text("nonsense")
    rewrite.settle(str(tmp_path), 1, 1_000_004 + rewrite.DAY_S)
    day = rewrite.DAY_S
    assert done == [1_000_000, 1_000_001 + day, 1_000_002 + day, 1_000_004 + day]


def test_an_entry_in_use_stays_young(config, source):
    run(new(config), source)
    (entry,) = entries(config)
    os.utime(entry, (1, 1))
    run(new(config), source, never)
    assert entry.stat().st_mtime > 1_000_000_000
