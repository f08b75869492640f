"""Every effect of a test with everything that takes a test off the shortest path; after each a test that looks."""

import gc
import logging
import os
import sys
import threading
import warnings

import pytest
from steps import look


def no_effect():
    pass


def filters():
    warnings.filterwarnings("ignore", message="sigma.*")


def filters_reset():
    warnings.resetwarnings()


def filters_replaced():
    warnings.filters = list(warnings.filters)
    warnings.filters.insert(0, ("ignore", None, UserWarning, None, 0))


def showwarning():
    warnings.showwarning = lambda *args, **kwargs: None


def capture_of_warnings():
    logging.captureWarnings(True)


def environ_of_the_test():
    os.environ["PYTEST_CURRENT_TEST"] = "another (call)"


def environ():
    os.environ["LEFT_BEHIND"] = "1"


def folder():
    os.chdir("/")


def logger_level():
    logging.getLogger().setLevel(logging.DEBUG)


def logger_handler():
    logging.getLogger().addHandler(logging.NullHandler())


def logger_handlers_gone():
    logging.getLogger().handlers.clear()


def logger_of_its_own():
    logging.getLogger("app").propagate = False


def standard_output():
    sys.stdout = sys.__stdout__


def unraisable_hook():
    sys.unraisablehook = sys.__unraisablehook__


def thread_hook():
    threading.excepthook = threading.__excepthook__


def collector():
    gc.disable()


EFFECTS = [value for value in list(vars().values()) if callable(value) and getattr(value, "__module__", "") == __name__]


def silent():
    pass


def prints():
    print("text")


def logs():
    logging.getLogger("app").warning("text")


def warns():
    warnings.warn("kappa", UserWarning)


def fails():
    raise ValueError("failed")


def skips():
    pytest.skip("skipped")


def xfails():
    pytest.xfail("expected")


NOISES = [silent, prints, logs, warns, fails, skips, xfails]
CASES = [(effect, noise, after) for effect in EFFECTS for noise in NOISES for after in (False, True)]


@pytest.mark.parametrize(("effect", "noise", "after"), CASES, ids=lambda value: getattr(value, "__name__", None))
def test_effect(effect, noise, after):
    if after:
        look("after " + effect.__name__)
        warnings.warn("sigma", UserWarning)
        logging.getLogger("app").info("seen only where it is asked for")
        return
    effect()
    noise()


@pytest.fixture
def tidy():
    yield
    logging.captureWarnings(False)


def test_the_end(tidy):
    look("end")
