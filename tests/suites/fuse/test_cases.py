# unittest's test cases (src/py/admit.c), one for each way in which they set up, end, skip and fail.
# ruff: noqa
# fmt: off
import asyncio, logging, os, sys, unittest, warnings
import pytest
log=logging.getLogger("x.cases")
made=[]
def setUpModule(): print("module up"); log.warning("module up")
def tearDownModule(): print("module down")
class TestPlain(unittest.TestCase):
    def test_a(self): self.assertEqual(1,1)
    def test_b(self): pass
    def test_env(self): assert os.environ["PYTEST_CURRENT_TEST"].endswith("TestPlain::test_env (call)")
    def test_id(self): print(self.id(), self.shortDescription())
    def test_doc(self):
        "Has a description."
        print(self.shortDescription())
class TestMade(unittest.TestCase):
    def __init__(self, *args): super().__init__(*args); made.append(args)
    def test_1(self): pass
    def test_2(self): pass
    def test_3(self): print(len(made), made[-1])
def test_made(): print(len(made), made)
class TestAround(unittest.TestCase):
    @classmethod
    def setUpClass(cls): print("class up"); cls.addClassCleanup(print, "class cleanup"); cls.shared=[1]
    @classmethod
    def tearDownClass(cls): print("class down"); log.error("class down")
    def setUp(self): print("up"); self.addCleanup(print, "cleanup 1"); self.addCleanup(lambda: log.warning("cleanup 2")); self.x=1
    def tearDown(self): print("down"); warnings.warn("down")
    def test_a(self): self.assertEqual(self.x, 1); self.shared.append(2)
    def test_b(self): print(self.shared); log.warning("in b")
    def test_fail(self): self.assertIn(5, self.shared)
    def test_error(self): {}["none"]
    def test_later(self): self.enterContext(open(os.devnull)); self.addCleanup(lambda: 1/0)
    def test_skip(self): self.skipTest("skipped inside")
    def test_pskip(self): pytest.skip("by pytest")
    def test_pfail(self): pytest.fail("by pytest", pytrace=False)
    def test_pxfail(self): pytest.xfail("by pytest")
    def test_exit(self): sys.exit(3)
    def test_skiptest(self): raise unittest.SkipTest("raised")
    def test_returns(self): return 5
    def test_print(self): print("out"); print("err", file=sys.stderr); os.write(1, b"raw\n")
    def test_group(self): raise ExceptionGroup("g", [ValueError(1)])
    @unittest.skip("never")
    def test_never(self): pass
    @unittest.skipIf(True, "if")
    def test_if(self): pass
    @unittest.skipUnless(True, "unless")
    def test_unless(self): pass
    @unittest.expectedFailure
    def test_xfails(self): assert 0
    @unittest.expectedFailure
    def test_xpasses(self): pass
    @pytest.mark.skip(reason="marked")
    def test_marked(self): pass
    @pytest.mark.xfail(reason="marked")
    def test_xmarked(self): assert 0
    @pytest.mark.xfail(reason="marked", strict=True)
    def test_xmarked_passes(self): pass
    @pytest.mark.filterwarnings("error")
    def test_filtered(self):
        with pytest.raises(UserWarning): warnings.warn("x")
class TestSub(unittest.TestCase):
    def test_all_pass(self):
        for i in range(3):
            with self.subTest(i=i): pass
    def test_one_fails(self):
        for i in range(3):
            with self.subTest("message", i=i): self.assertNotEqual(i, 1)
    def test_all_fail_and_it(self):
        for i in range(2):
            with self.subTest(i=i): assert 0
        assert 1 == 2
    def test_skips(self):
        for i in range(3):
            with self.subTest(i=i):
                if i: self.skipTest("sub")
    def test_error(self):
        with self.subTest(): raise KeyError("sub")
class TestUpFails(unittest.TestCase):
    def setUp(self): raise ValueError("up")
    def tearDown(self): print("not called")
    def test_a(self): pass
class TestUpSkips(unittest.TestCase):
    def setUp(self): self.skipTest("up")
    def test_a(self): pass
class TestDownFails(unittest.TestCase):
    def tearDown(self): raise ValueError("down")
    def test_a(self): pass
    def test_b(self): assert 0
class TestClassFails(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.addClassCleanup(print, "cleaned"); raise ValueError("class up")
    def test_a(self): pass
    def test_b(self): pass
class TestClassDownFails(unittest.TestCase):
    @classmethod
    def tearDownClass(cls): raise ValueError("class down")
    def test_a(self): pass
class TestClassCleanupFails(unittest.TestCase):
    @classmethod
    def setUpClass(cls): cls.addClassCleanup(lambda: 1/0)
    def test_a(self): pass
class TestClassSkips(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise unittest.SkipTest("class up")
    def test_a(self): pass
@unittest.skip("all of it")
class TestSkipped(unittest.TestCase):
    def test_a(self): pass
    def test_b(self): pass
class TestXunit(unittest.TestCase):
    def setup_method(self, method): print("setup", method.__name__)
    def teardown_method(self, method): print("teardown", method.__name__)
    def setUp(self): print("setUp")
    def test_a(self): pass
    def test_b(self): assert 0
class TestFixtures(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def around(self, request, tmp_path): self.path=tmp_path; print("around", request.node.name, request.instance is self); yield; print("around over")
    @pytest.fixture(scope="class", autouse=True)
    def whole(self, request): request.cls.whole=[]; yield; print("whole over")
    def test_a(self): assert self.path.exists(); self.whole.append(1)
    def test_b(self): print(self.whole); assert 0
@pytest.mark.usefixtures("boom")
class TestFixtureFails(unittest.TestCase):
    def test_a(self): pass
@pytest.fixture
def boom(): raise ValueError("boom")
class TestAsync(unittest.IsolatedAsyncioTestCase):
    def setUp(self): print("up")
    async def asyncSetUp(self): self.y=await asyncio.sleep(0, 5); self.addAsyncCleanup(self.clean)
    async def clean(self): print("cleaned")
    async def asyncTearDown(self): print("down")
    async def test_a(self): assert self.y==5
    async def test_b(self): assert self.y==6
    def test_c(self): print(self.y)
    async def test_sub(self):
        with self.subTest(1): assert 0
class TestStdout(unittest.TestCase):
    def test_replaced(self): sys.stdout=open(os.devnull, "w"); print("x")
    def test_after(self): print("back")
class TestRunTest(unittest.TestCase):
    def runTest(self): print("run")
class TestKeeps(unittest.TestCase):
    def run(self, result=None): print("own run"); return super().run(result)
    def test_a(self): pass
class TestDel(unittest.TestCase):
    def __del__(self): print("gone", self._testMethodName)
    def test_a(self): pass
    def test_b(self): pass
class TestLogs(unittest.TestCase):
    def test_logs(self):
        with self.assertLogs("x.cases", "INFO") as found: log.info("seen")
        assert len(found.records)==1
    def test_no_logs(self):
        with self.assertNoLogs("x.cases"): log.debug("hidden")
    def test_warns(self):
        with self.assertWarns(UserWarning): warnings.warn("w")
    def test_log(self): log.warning("out")
class TestReports(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def properties(self, record_property, request): self.record=record_property; self.request=request
    def test_property(self): self.record("a", 1)
    def test_keyword(self): self.request.node.keywords["later"]=1
    def test_marker(self): self.request.node.add_marker(pytest.mark.xfail(reason="dyn")); assert 0
    def test_finalizer(self): self.request.addfinalizer(lambda: 1/0)
def test_after(): print(len(made))
