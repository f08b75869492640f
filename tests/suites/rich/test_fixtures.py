"""Fixtures of all scopes, errors around tests, built-in fixtures."""

import logging
import os
import warnings

import pytest

log = logging.getLogger(__name__)


@pytest.fixture
def broken():
    print("before it breaks")
    raise OSError("broken set-up")


@pytest.fixture
def broken_after():
    yield
    print("breaking")
    raise OSError("broken teardown")


@pytest.fixture(autouse=True)
def every_time():
    yield


class TestScopes:
    def test_all(self, for_session, for_package, for_module, for_class, for_function):
        assert (for_session, for_package, for_module, for_class, for_function) == (
            "session", "package", "module", "class", "function")

    def test_again(self, for_class):
        assert for_class == "class"

    def test_colour(self, coloured):
        assert coloured in ("red", "blue")

    class TestInner:
        @pytest.mark.slowish
        def test_deep(self, tens, coloured):
            assert tens % 10 == 0


def test_tens(tens):
    assert tens < 20


def test_setup_error(broken):
    pass


def test_teardown_error(broken_after):
    print("this passes")


def test_fails_twice(broken_after):
    assert 0, "first"


def test_logs():
    log.debug("quiet")
    log.info("some %s", "thing")
    log.warning("careful")
    assert 0


def test_warns():
    warnings.warn(DeprecationWarning("old thing"))
    warnings.warn("plain warning")


class OwnWarning(UserWarning):
    pass


@pytest.mark.parametrize("n", [1, 2])
def test_warns_its_own(n):
    warnings.warn(OwnWarning("own", n))


@pytest.mark.filterwarnings("error::UserWarning")
def test_warning_is_error():
    warnings.warn("now an error")


def test_properties(record_property, record_testsuite_property, record_xml_attribute):
    record_property("key", "value")
    record_property("number", 3)
    record_testsuite_property("suite-key", "suite-value")
    record_xml_attribute("attribute", "of this test")


@pytest.fixture(scope="session")
def told_once(record_testsuite_property):
    record_testsuite_property("told", 1)


def test_told(told_once):
    pass


def test_told_again(told_once):
    pass


def test_caplog(caplog):
    with caplog.at_level(logging.INFO):
        log.info("caught")
    assert caplog.messages == ["caught"]


def test_capsys(capsys):
    print("seen")
    assert capsys.readouterr().out == "seen\n"
    print("left over")
    assert 0


def test_capfd(capfd):
    os.system("echo from outside")
    assert capfd.readouterr().out == "from outside\n"


def test_recwarn(recwarn):
    warnings.warn("recorded")
    assert len(recwarn) == 1


def test_monkeypatch(monkeypatch):
    monkeypatch.setenv("RICH", "1")
    assert os.environ["RICH"] == "1"


def test_tmp_path(tmp_path, tmp_path_factory):
    (tmp_path / "a").write_text("a")
    assert tmp_path_factory.mktemp("x").is_dir()


def test_cache(cache):
    cache.set("rich/value", 1)
    assert cache.get("rich/value", None) == 1


def test_same_folder(pytestconfig):
    assert os.getcwd() == str(pytestconfig.invocation_params.dir)


def test_order_of_names(request):
    assert request.node.name == "test_order_of_names"
