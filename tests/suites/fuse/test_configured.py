# Marks with filters of warnings (src/py/filters.c) and levels of loggers, one after the other.
# ruff: noqa
# fmt: off
import logging, warnings
import pytest
log=logging.getLogger("x.configured")
class Own(UserWarning): pass
class Other(UserWarning): pass
def warnme(): warnings.warn("the same", UserWarning)
def own(): warnings.warn("own", Own)
def test_none_1(): warnme()
@pytest.mark.filterwarnings("ignore")
def test_ignore_1(): warnme(); own()
@pytest.mark.filterwarnings("ignore")
def test_ignore_2(): warnme(); own()
def test_none_2(): warnme()
@pytest.mark.filterwarnings("error")
def test_error_1(): warnme()
@pytest.mark.filterwarnings("error")
def test_error_2(): pass
def test_none_3(): pass
@pytest.mark.filterwarnings("error::test_configured.Own")
def test_class_1(): warnme(); own()
@pytest.mark.filterwarnings("error::test_configured.Own")
def test_class_2(monkeypatch): monkeypatch.setattr("test_configured.Own", Other); print(warnings.filters[0][2])
@pytest.mark.filterwarnings("error::test_configured.Own")
def test_class_3(): print(warnings.filters[0][2])
def swap():
    global Own, Other
    Own, Other = Other, Own
def test_swap(): swap()
@pytest.mark.filterwarnings("error::test_configured.Own")
def test_class_4(): print(warnings.filters[0][2]); own()
def test_swap_back(): swap()
@pytest.mark.filterwarnings("error::test_configured.Own")
def test_class_5(): print(warnings.filters[0][2])
@pytest.mark.filterwarnings("once")
@pytest.mark.filterwarnings("error:two")
def test_two_1(): warnme(); warnme(); warnings.warn("two")
@pytest.mark.filterwarnings("error:two", "default")
def test_two_2(): warnme(); warnme(); print(warnings.filters[:3])
@pytest.mark.filterwarnings("default")
class TestMarked:
    pytestmark = [pytest.mark.filterwarnings("ignore:hidden")]
    def test_a(self): warnings.warn("hidden"); warnme()
    @pytest.mark.filterwarnings("error:hidden")
    def test_b(self): warnings.warn("hidden")
    def test_c(self, pytestconfig): pytestconfig.pluginmanager.hasplugin("warnings") and warnings.simplefilter("error"); print(len(warnings.filters))
    def test_d(self): print(len(warnings.filters)); warnings.warn("hidden"); warnme()
    @pytest.mark.parametrize("i", range(4))
    def test_e(self, i): warnme(); print(warnings.filters[:2])
@pytest.mark.parametrize("i", [1, pytest.param(2, marks=pytest.mark.filterwarnings("ignore"))])
def test_param(i): warnme()
def test_added(request): request.node.add_marker(pytest.mark.filterwarnings("error")); warnme()
def test_added_to_parent(request): request.node.parent.add_marker(pytest.mark.filterwarnings("ignore:later")); warnings.warn("later")
def test_parent(): warnings.warn("later"); warnme()
def test_ini(pytestconfig): pytestconfig.addinivalue_line("filterwarnings", "error:by the ini"); warnings.warn("by the ini")
def test_ini_after(): warnings.warn("by the ini")
@pytest.mark.filterwarnings("ignore")
def test_ini_marked(): warnings.warn("by the ini")
@pytest.mark.filterwarnings("ignore:x")
def test_skip(): pytest.skip("no")
@pytest.mark.filterwarnings("ignore:x")
@pytest.mark.xfail
def test_xfail(): warnme(); assert 0
@pytest.fixture
def warns(): warnme(); yield; warnings.warn("down")
@pytest.mark.filterwarnings("error")
def test_setup_error(warns): pass
@pytest.mark.filterwarnings("ignore:down")
def test_teardown(warns): pass
def level(): return logging.getLogger().level, [h.level for h in logging.getLogger().handlers][-2:]
def test_level(): print(level()); log.debug("debug"); log.info("info"); log.warning("warning")
def test_level_root(): logging.getLogger().setLevel(logging.ERROR); log.warning("no"); log.error("yes")
def test_level_after(): print(level()); log.warning("warned")
def test_level_back(): logging.getLogger().setLevel(logging.WARNING)
@pytest.fixture
def verbose(caplog): caplog.set_level(logging.DEBUG); log.debug("in setup"); yield; log.debug("in teardown"); print(level())
def test_caplog(verbose, caplog): print(level()); log.debug("in call"); log.info("in call")
def test_caplog_call(caplog): caplog.set_level(5); log.log(7, "low"); print(level())
def test_caplog_at(caplog):
    with caplog.at_level(logging.DEBUG, "x"): log.debug("at"); print(level())
    log.debug("not at")
def test_handler_level(): logging.getLogger().handlers[-1].setLevel(logging.ERROR); log.warning("kept by one")
def test_handler_after(): print(level()); log.warning("kept by both")
def test_handler_back(): logging.getLogger().handlers[-1].setLevel(0)
def test_disabled(): logging.disable(logging.CRITICAL); log.error("gone")
def test_enabled(): logging.disable(logging.NOTSET); log.error("there")
