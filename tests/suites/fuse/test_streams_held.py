"""What `sys.stdout` was while a module was imported is held by it, by its parameters and by a logger."""

import logging
import sys

import pytest

out, err = sys.stdout, sys.stderr
log = logging.getLogger("held")
log.addHandler(logging.StreamHandler(sys.stderr))


@pytest.mark.parametrize("file", [out, err, getattr(out, "buffer", None)])
def test_streams_of_the_import_are_open(file):
    file.write(b"a parameter\n" if "b" in getattr(file, "mode", "") else "a parameter\n")
    file.flush()


@pytest.mark.parametrize("number", range(3))
def test_what_they_get_is_captured(number):
    print("to what standard output was", number, file=out)
    log.warning("by a handler that was made at import: %d", number)
    assert out.fileno() != err.fileno()
    assert number != 1


def test_they_are_what_capture_uses():
    assert (out is sys.stdout) == (err is sys.stderr)
    print(out is sys.stdout)
    raise AssertionError
