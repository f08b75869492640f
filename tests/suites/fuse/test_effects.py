# One test, or a few, for each effect that pytest has around a test (src/py/fuse.c); compared by tests/e2e/test_fuse.py.
# ruff: noqa
# fmt: off
import pytest, os, sys, logging, warnings, threading, functools, asyncio
log=logging.getLogger("x.y")
@pytest.fixture(scope="module")
def mod(sess): 
    print("mod up"); log.warning("mod up"); yield sess+1; print("mod down"); log.error("mod down")
@pytest.fixture
def overridden(overridden): return overridden+["mod"]
@pytest.fixture
def gen(): 
    print("gen up"); yield 5; print("gen down")
@pytest.fixture
def dep(gen, mod): return gen+mod
@pytest.fixture
def boom(): raise ValueError("boom in setup")
@pytest.fixture
def boomdown():
    yield
    raise KeyError("boom in teardown")
@pytest.fixture
def boomdown2():
    yield
    raise KeyError("boom2 in teardown")
@pytest.fixture
def skipper(): pytest.skip("fixture skip")
@pytest.fixture
def twice():
    yield 1
    yield 2
@pytest.fixture
def noyield():
    if 0: yield
@pytest.fixture
def withreq(request, gen):
    request.addfinalizer(lambda: print("fin1"))
    request.addfinalizer(lambda: log.info("fin2"))
    return request.node.name, request.fixturename, request.scope, repr(request)
@pytest.fixture(params=["a",float("nan"),None])
def par2(request): return request.param
def test_plain(): pass
def test_env(): assert os.environ["PYTEST_CURRENT_TEST"].endswith("(call)"); assert "PYTEST_CURRENT_TEST" in os.popen("env").read()
def test_env_del(): del os.environ["PYTEST_CURRENT_TEST"]
def test_env2(): assert os.environ["PYTEST_CURRENT_TEST"].endswith("test_env2 (call)"); assert os.getenv("PYTEST_CURRENT_TEST")
def test_env_mp(monkeypatch):
    monkeypatch.setattr(os,"environ",dict(os.environ))
def test_env3(): assert os.environ["PYTEST_CURRENT_TEST"].endswith("test_env3 (call)")
def test_print(): print("out"); print("err",file=sys.stderr); os.write(1,b"raw\n")
def test_fail_print(gen): print("x"); log.error("logged %d",1); assert gen==6
def test_mod(mod): assert mod==2
def test_dep(dep): assert dep==7
def test_over(overridden): assert overridden==["conf","mod"]
def test_boom(boom): pass
def test_boomdown(boomdown): pass
def test_boomdown_both(boomdown,boomdown2): assert 0
def test_skipper(skipper): pass
def test_twice(twice): pass
def test_noyield(noyield): pass
def test_withreq(withreq): assert withreq[1:3]==("withreq","function"), withreq
def test_par(par): assert par
def test_par2(par2, par): print(par2)
@pytest.mark.parametrize("a,b",[(1,2),(3,4)])
@pytest.mark.parametrize("c",["x","y"])
def test_p(a,b,c,gen): assert a<b
@pytest.mark.skip(reason="no")
def test_skip(): pass
@pytest.mark.skipif("sys.version_info > (3,)", reason="yes")
def test_skipif(): pass
@pytest.mark.xfail
def test_xf(): assert 0
@pytest.mark.xfail
def test_xp(): print("p")
@pytest.mark.xfail(strict=True, reason="st")
def test_xps(): pass
@pytest.mark.xfail(raises=ValueError)
def test_xraises(): raise KeyError
@pytest.mark.xfail(run=False)
def test_xnorun(): assert 0
def test_dyn_xfail(request):
    request.node.add_marker(pytest.mark.xfail(reason="dyn"))
    assert 0
def test_dyn_xpass(request):
    request.node.add_marker(pytest.mark.xfail(reason="dynp"))
@pytest.fixture
def fx_xfail(request): request.applymarker(pytest.mark.xfail(reason="fx"))
def test_fx_xfail(fx_xfail): assert 0
def test_fx_xpass(fx_xfail): pass
def test_after_mark(): pass
@pytest.mark.filterwarnings("error")
def test_fw():
    with pytest.raises(UserWarning): warnings.warn("x")
@pytest.mark.usefixtures("gen")
def test_usefix(): pass
def warnme(): warnings.warn("the same", UserWarning)
def test_w_caller(): warnings.warn("about the caller", stacklevel=2)
@pytest.fixture
def w_fixture(): warnings.warn("about the fixture's caller", stacklevel=2)
@pytest.fixture
def w_generator():
    warnings.warn("about the generator's caller", stacklevel=2)
    yield
    warnings.warn("about the end's caller", stacklevel=2)
def test_w_callers(w_fixture, w_generator): pass
@pytest.mark.parametrize("nothing", [None, ...])
def test_odd_param(nothing): pass
def test_w1(): warnme()
def test_w2(): warnme(); warnme()
def test_w3(): warnings.simplefilter("ignore"); warnme()
def test_w4(): warnme()
def test_w5():
    with warnings.catch_warnings(): warnings.simplefilter("error"); 
def test_w6(): warnings.showwarning=lambda *a,**k: None; warnme()
def test_w7(): warnme(); warnings.warn("dep",DeprecationWarning)
def test_recwarn(recwarn): warnme(); assert len(recwarn)==1
def test_caplog(caplog): log.warning("c"); assert caplog.text; assert caplog.get_records("setup")==[]
@pytest.fixture
def logs(): log.warning("in setup")
def test_caplog2(logs, caplog): log.warning("c2"); assert len(caplog.get_records("setup"))==1 and len(caplog.records)==1; caplog.clear()
def test_caplog3(caplog):
    caplog.set_level(logging.DEBUG); log.debug("dbg"); assert "dbg" in caplog.text
def test_log(): log.warning("w"); log.info("no")
def test_noprop():
    l=logging.getLogger("noprop"); l.propagate=False; l.warning("lost")
def test_noprop2(): logging.getLogger("noprop").warning("now caught")
def test_clear_handlers(): logging.getLogger().handlers.clear(); log.warning("gone")
def test_after_clear(): log.warning("here again")
def test_capsys(capsys): print("hi"); assert capsys.readouterr().out=="hi\n"; print("later")
def test_capfd(capfd): os.system("echo sub"); assert capfd.readouterr().out=="sub\n"
def test_capsys_disabled(capsys):
    with capsys.disabled(): print("to terminal")
def test_replace_stdout(): sys.stdout=open(os.devnull,"w"); print("x")
def test_after_stdout(): print("back")
def test_dup2():
    fd=os.open(os.devnull,os.O_WRONLY); os.dup2(fd,1); os.close(fd); print("lost")
def test_after_dup2(): print("back2")
def test_returns(): return 5
async def test_async(): pass
def test_raise_exit_code():
    with pytest.raises(SystemExit): sys.exit(3)
def test_sysexit(): sys.exit(3)
def test_baseexc():
    class B(BaseException): pass
    raise B("b")
def test_group(): raise ExceptionGroup("g",[ValueError(1),TypeError(2)])
def test_pfail(): pytest.fail("pf", pytrace=False)
def test_pskip(): pytest.skip("ps")
def test_pxfail(): pytest.xfail("px")
def test_importorskip(): pytest.importorskip("nothing_there")
def test_recprop(record_property): record_property("a",1)
def test_keywords(request): request.node.keywords["later"]=1
def test_thread():
    def f(): raise ValueError("in thread")
    t=threading.Thread(target=f); t.start(); t.join()
class Del:
    def __del__(self): raise ValueError("in del")
def test_unraisable(): d=Del(); del d
def test_after_unraisable(): pass
def test_subtests(subtests):
    with subtests.test("one"): print("s"); assert 1
    with subtests.test("two"): assert 0
def test_tmp(tmp_path): (tmp_path/"a").write_text("x"); print(tmp_path.name)
def test_getfix(request): assert request.getfixturevalue("gen")==5; assert request.getfixturevalue("overridden")
def test_getfix2(request): assert request.getfixturevalue("dep")==7
def test_addfin(request):
    request.addfinalizer(lambda: print("A")); request.addfinalizer(lambda: 1/0)
def test_last(): assert sys.last_type
def test_nested_funcs():
    def inner(): raise RuntimeError("deep")
    try: inner()
    except RuntimeError as e: raise ValueError("outer") from e
partial_test=None
def wrapped(f):
    @functools.wraps(f)
    def w(*a,**k): return f(*a,**k)
    return w
@wrapped
def test_wrapped(gen): assert gen==5
@wrapped
def test_wrapped_fail(gen): assert gen==51
class TestC:
    @pytest.fixture
    def meth(self): self.x=1; yield self; print("meth down")
    @pytest.fixture(scope="class")
    def cls(self): return object()
    @pytest.fixture(autouse=True)
    def autom(self, gen): self.auto=gen
    def setup_method(self): self.s=1; print("sm")
    def teardown_method(self): print("tm")
    def test_a(self, meth): assert meth is self and self.x==1 and self.s==1 and self.auto==5
    def test_b(self, cls): assert not hasattr(self,"x")
    def test_c(self, cls, meth): assert 0, "in class"
    @staticmethod
    def test_static(): pass
    @classmethod
    def test_cls(cls): assert cls is TestC
    class TestInner:
        def test_i(self, mod): assert mod==2
        @pytest.mark.parametrize("q",[1,2])
        def test_j(self,q): pass
class TestSetupFails:
    def setup_class(cls): raise ValueError("cls")
    def test_1(self): pass
    def test_2(self): pass
class TestMethodFails:
    def setup_method(self): raise ValueError("m")
    def test_1(self): pass
class TestTdFails:
    def teardown_method(self): raise ValueError("td")
    def test_1(self): pass
    def test_2(self): assert 0
import unittest
class TestU(unittest.TestCase):
    def setUp(self): print("setUp")
    def test_u(self): self.assertEqual(1,1)
    def test_f(self): self.assertEqual(1,2)
    @unittest.skip("us")
    def test_s(self): pass
    @unittest.expectedFailure
    def test_x(self): assert 0
class TestA(unittest.IsolatedAsyncioTestCase):
    async def test_a(self): await asyncio.sleep(0)
def test_zz_end(mod): pass
