"""coverage.py's data files: what a run starts from, and all files of a run made into one."""

from __future__ import annotations

import contextlib
import functools
import glob
import importlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hasten.cov_write import name_aside


def parallel_files(target: str) -> list[str]:
    """The data files beside `target` that coverage.py would combine into it."""
    return sorted(path for path in glob.glob(glob.escape(target) + ".*") if not path.endswith("-journal"))


def check_old(target: str, branch: bool) -> None:
    """--cov-append: UsageError when this run's data could not be added to what is there."""
    if not os.path.exists(target):
        return
    coverage = importlib.import_module("coverage")
    data = coverage.CoverageData(target)
    try:
        data.read()
        has_arcs = data.has_arcs()
        kind = "branches" if has_arcs else "lines"
        if bool(data.measured_files()) and has_arcs is not branch:
            this = "branches" if branch else "lines"
            raise pytest.UsageError(
                f"--cov-append: {target} has {kind}, this run measures {this}; delete it or go along"
            )
    except coverage.CoverageException as exc:
        raise pytest.UsageError(f"--cov-append: {exc}") from None
    finally:
        data.close()


@contextlib.contextmanager
def mapped(measured: Any, target: str, append: bool) -> Iterator[bool]:
    """Paths that coverage.py gets here are those that [paths] makes of them: what combine() would read it all for.

    False: nothing is changed, and combine() does it where it has to be done.
    """
    if not measured.config.paths or parallel_files(target) or (append and os.path.exists(target)):
        yield False
        return
    coverage = importlib.import_module("coverage")
    try:
        aliases = measured._make_aliases()
    except coverage.CoverageException:
        yield False
        return
    before = measured._file_mapper
    measured._file_mapper = functools.cache(lambda path: aliases.map(before(path)))
    try:
        yield True
    finally:
        measured._file_mapper = before


def combine(make: Callable[..., Any], measured: Any, target: str, append: bool, is_mapped: bool = False) -> Any:
    """The Coverage of the result, loaded. The file appears under its name when it is whole.

    make: makes a Coverage with this run's options. measured: the one of this process, saved. is_mapped: see mapped().
    """
    inputs = parallel_files(target)
    if append and os.path.exists(target):
        inputs.insert(0, target)
    own = measured.get_data().data_filename()
    temporary = name_aside(target)
    try:
        if inputs == [own] and (is_mapped or not measured.config.paths):
            os.replace(own, target)
        elif inputs:
            used = _merge(make, inputs, temporary)
            if used:
                os.replace(temporary, target)
            for path in used:
                if path != target:
                    os.unlink(path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
    result = make(data_suffix="combined", data_file=target)
    result.load()
    return result


def _merge(make: Callable[..., Any], inputs: list[str], temporary: str) -> list[str]:
    """Those of the inputs that are in the file `temporary` now; coverage.py warns of each that cannot be read."""
    coverage = importlib.import_module("coverage")
    inputs = list(inputs)
    while inputs:
        combiner = make(data_suffix="combined", data_file=temporary)
        try:
            combiner.combine(data_paths=inputs, keep=True)
            combiner.save()
            unread = combiner._warnings
            return [path for path in inputs if not any(path in text for text in unread)]
        except (coverage.CoverageException, sqlite3.Error):
            inputs = _without_bad(make, inputs, temporary)
        finally:
            combiner.get_data().close(force=True)
    return []


def _without_bad(make: Callable[..., Any], inputs: list[str], temporary: str) -> list[str]:
    """coverage.py stops at a file of the other kind, or one that was cut off; the others are not to be lost with it."""
    coverage = importlib.import_module("coverage")
    good: list[str] = []
    for path in inputs:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        trial = make(data_suffix="combined", data_file=temporary)
        try:
            trial.combine(data_paths=[*good[:1], path], keep=True)
            good.append(path)
        except (coverage.CoverageException, sqlite3.Error) as exc:
            trial._warn(f"Couldn't combine data file {path!r}: {exc}")
        finally:
            trial.get_data().close(force=True)
    with contextlib.suppress(OSError):
        os.unlink(temporary)
    return good if len(good) < len(inputs) else []
