"""What a test, a fixture or a hook may do: statements by kind, to be indented into a function.

An action names the fixtures it uses in brackets before its text: "[capsys,tmp_path] statement". Texts may contain `@n`
(a small number) and `@w` (a word). What ends the function (raises) stands in ENDS. What others can see afterwards stands
in LEAKS: only suites that are run in one process, in one order, have these.
"""

QUIET = r"""
assert @n + 1 > @n
===
pass
===
numbers = [i * i for i in range(@n)]
assert len(numbers) == @n
===
assert "@w" in "a @w b", "not reached"
===
with pytest.raises(ValueError, match="inv.*"):
    int("@w") if "@w".isdigit() else _raise(ValueError("invalid @w"))
===
value = {"@w": [1, 2, {"x": @n}]}
assert value == {"@w": [1, 2, {"x": @n}]}
===
STATE["@w"] = STATE.get("@w", 0) + @n
===
[request] assert request.node.name
===
[tmp_path] (tmp_path / "@w").write_text("@w")
assert (tmp_path / "@w").read_text() == "@w"
===
[monkeypatch] monkeypatch.setenv("VALUE_@w", "@n")
assert os.environ["VALUE_@w"] == "@n"
===
[pytestconfig] assert pytestconfig.rootpath == request_root(pytestconfig)
===
with pytest.warns(UserWarning, match="@w"):
    warnings.warn("@w here", UserWarning)
"""

OUTPUT = r"""
print("out @w @n")
===
print("err @w", file=sys.stderr)
===
os.write(1, b"fd out @w\n")
===
os.write(2, b"fd err @w\n")
===
print("no newline @w", end="")
===
print("caf\u00e9 \u2603 \x1b[31mred\x1b[0m @w")
===
sys.stdout.write("x" * 3000 + "\n")
===
subprocess.run(["echo", "from a child @w"], check=True)
===
os.system("echo from a shell @w >&2")
===
sys.__stdout__.write("dunder @w\n")
sys.__stdout__.flush()
===
print("bytes", sys.stdout.encoding, file=sys.stderr, flush=True)
===
sys.stdout.buffer.write(b"raw @w\n")
sys.stdout.flush()
===
[capsys] print("taken @w")
assert capsys.readouterr().out.endswith("taken @w\n")
print("left @w")
===
[capsys] print("before @w")
with capsys.disabled():
    pass
print("after @w", file=sys.stderr)
===
[capfd] os.write(1, b"taken @w\n")
assert "taken @w" in capfd.readouterr().out
os.write(2, b"left @w\n")
===
[capsysbinary] sys.stdout.buffer.write(b"binary @w")
assert capsysbinary.readouterr().out
===
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
"""

LOGS = r"""
logging.warning("root %s", "@w")
===
logging.getLogger("app.@w").info("info %d", @n)
===
logging.getLogger("app").error("error @w")
===
logging.getLogger("app.@w").debug("debug @w")
===
try:
    {}["@w"]
except KeyError:
    logging.getLogger("app").exception("with a traceback")
===
logging.getLogger("app").log(25, "level 25\nsecond line")
===
logger = logging.getLogger("own.@w")
handler = logging.StreamHandler(sys.stdout)
logger.addHandler(handler)
logger.warning("to stdout too")
logger.removeHandler(handler)
===
[caplog] caplog.set_level(logging.DEBUG)
logging.getLogger("app").debug("seen @w")
assert "seen @w" in caplog.text
===
[caplog] with caplog.at_level(logging.INFO, logger="app.@w"):
    logging.getLogger("app.@w").info("in between")
assert len(caplog.records) >= 1
caplog.clear()
===
[caplog] logging.getLogger("app").warning("kept @w")
step("caplog", caplog.record_tuples, [r.getMessage() for r in caplog.get_records("setup")])
"""

WARNS = r"""
warnings.warn("@w user", UserWarning)
===
warnings.warn("@w deprecated", DeprecationWarning)
===
warnings.warn("@w pending", PendingDeprecationWarning)
===
for _ in range(3):
    warnings.warn("again", RuntimeWarning)
===
warnings.warn(pytest.PytestWarning("of pytest @w"))
===
helper.warns("@w")
===
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    warnings.warn("ignored @w", UserWarning)
===
warnings.simplefilter("ignore")
warnings.warn("ignored from here on", UserWarning)
===
warnings.simplefilter("always")
helper.warns("always")
===
warnings.filterwarnings("ignore", message="@w.*")
warnings.warn("@w user", UserWarning)
===
warnings.warn_explicit("explicit @w", UserWarning, "some_file.py", @n + 1)
===
[recwarn] warnings.warn("recorded @w", UserWarning)
assert len(recwarn) == 1
===
[recwarn] warnings.warn("popped @w", UserWarning)
step("recwarn", str(recwarn.pop(UserWarning).message), len(recwarn))
===
with pytest.deprecated_call():
    warnings.warn("expected", DeprecationWarning)
warnings.warn("resource @w", ResourceWarning)
===
warnings.resetwarnings()
warnings.warn("after a reset @w", ImportWarning)
===
warnings.filters.insert(0, ("ignore", None, UserWarning, None, 0))
warnings._filters_mutated() if hasattr(warnings, "_filters_mutated") else None
warnings.warn("hidden by hand", UserWarning)
===
warnings.showwarning = lambda *args, **kwargs: step("showwarning", str(args[0]))
warnings.warn("shown by hand @w", UserWarning)
"""

# What concerns the item, its marks and reports.
NODES = r"""
[record_property] record_property("key_@w", @n)
===
[record_xml_attribute] record_xml_attribute("attr", "@w")
===
[record_testsuite_property] record_testsuite_property("of_@w", "@w")
===
[request] request.node.user_properties.append(("by_node", "@w"))
===
[request] request.node.add_report_section("call", "extra", "section @w")
===
[request] request.node.keywords["late_@w"] = True
===
[request] request.node.add_marker("slowish")
===
[request] request.node.add_marker(pytest.mark.xfail(reason="late @w"))
===
[request] request.applymarker(pytest.mark.xfail(strict=True, reason="strict @w"))
===
[request] request.node.warn(pytest.PytestWarning("by node @w"))
===
[request] request.addfinalizer(lambda: step("finalizer", "@w"))
===
[request] request.addfinalizer(lambda: print("finalizer prints @w"))
===
[request] request.node.addfinalizer(lambda: step("of the node", "@w"))
===
[request] step("funcargs", sorted(request.node.funcargs), request.fixturenames == request.node.fixturenames)
===
[request] step("stack", [type(n).__name__ for n in request.session._setupstate.stack])
===
[request] step("markers", [m.name for m in request.node.iter_markers()])
===
step("current", os.environ.get("PYTEST_CURRENT_TEST"))
===
[request] request.config.stash.setdefault(STASH_KEY, []).append("@w")
===
[request] step("last", getattr(sys, "last_type", None) is None)
===
[tmp_path_factory] (tmp_path_factory.mktemp("made") / "@w").touch()
===
[subtests] with subtests.test("good @w"):
    pass
===
[subtests] with subtests.test("bad @w", i=@n):
    assert @n == -1
===
[subtests] for i in range(3):
    with subtests.test(i=i):
        print("in subtest", i)
        assert i != 1
===
[subtests] with subtests.test("skipped @w"):
    pytest.skip("inside")
===
[cache] cache.set("generated/@w", @n)
step("cache", cache.get("generated/@w", None))
===
[request] step("getfixturevalue", type(request.getfixturevalue("capsys")).__name__)
===
[request] step("tmp", request.getfixturevalue("tmp_path").name)
===
[request] step("closure", request.node._fixtureinfo.names_closure)
===
[request] setattr(request.node, "own_attribute", "@w")
"""

# What concerns the process and is put right again, or is invisible afterwards.
SYSTEM = r"""
[monkeypatch] monkeypatch.chdir("/")
===
[monkeypatch] monkeypatch.setattr(sys, "stdout", io.StringIO())
print("nobody sees this")
===
[monkeypatch] monkeypatch.setattr(time, "time", lambda: 0.0)
monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
===
[monkeypatch] monkeypatch.setattr(os, "environ", {"A": "1"})
===
[monkeypatch] monkeypatch.delenv("PYTEST_CURRENT_TEST")
===
[monkeypatch] monkeypatch.setattr(os, "getcwd", lambda: "/nowhere")
===
[monkeypatch] monkeypatch.setattr(logging, "getLogger", lambda *a: logging.Logger("other"))
===
os.environ["PYTEST_CURRENT_TEST"] = "another (call)"
===
thread = threading.Thread(target=_raise, args=(ValueError("in a thread @w"),), name="thread-@w")
thread.start()
thread.join()
===
thread = threading.Thread(target=print, args=("from a thread",))
thread.start()
thread.join()
===
helper.Undeletable("@w")
===
helper.cycle("@w")
gc.collect()
===
generator = helper.left_open("@w")
next(generator)
===
asyncio.run(helper.coroutine("@w"))
===
random.seed(@n)
step("random", random.random())
===
old = sys.stderr
sys.stderr = io.StringIO()
print("into a buffer", file=sys.stderr)
sys.stderr = old
===
saved = os.dup(1)
null = os.open(os.devnull, os.O_WRONLY)
os.dup2(null, 1)
os.write(1, b"lost")
os.dup2(saved, 1)
os.close(saved)
os.close(null)
===
with pytest.raises(SystemExit):
    sys.exit(@n)
===
try:
    raise ValueError("handled @w")
except ValueError:
    step("exc_info", sys.exc_info()[0].__name__)
===
with unittest.mock.patch("os.path.exists", return_value=True):
    assert os.path.exists("@w")
===
old = signal.signal(signal.SIGUSR1, lambda *_: step("signal"))
os.kill(os.getpid(), signal.SIGUSR1)
signal.signal(signal.SIGUSR1, old)
===
gc.collect()
===
sys.setrecursionlimit(sys.getrecursionlimit())
===
helper.coroutine("never awaited @w")
===
open(__file__)
gc.collect()
===
raise_later = [ExceptionGroup("g", [ValueError(1)])]
del raise_later
===
exec(compile("value = @n", "<made>", "exec"), {})
"""

LEAKS = r"""
[doctest_namespace] doctest_namespace["@w"] = @n
===
[caplog] caplog.handler.setLevel(logging.ERROR)
logging.getLogger("app").warning("not for caplog")
step("caplog", caplog.messages)
===
warnings.warn("@w of pytest's line", PendingDeprecationWarning, stacklevel=2)
===
logging.getLogger().addHandler(logging.NullHandler())
===
logging.getLogger().handlers.clear()
===
logging.getLogger("app").propagate = not logging.getLogger("app").propagate
===
logging.getLogger().setLevel(logging.DEBUG)
===
logging.getLogger("app.@w").setLevel(logging.ERROR)
===
logging.basicConfig(level=logging.INFO, stream=io.StringIO(), force=True)
===
logging.config.dictConfig({"version": 1, "root": {"level": "INFO", "handlers": []}})
===
logging.config.dictConfig({"version": 1, "disable_existing_loggers": True})
===
logging.disable(logging.INFO)
===
logging.disable(logging.NOTSET)
===
logging.captureWarnings(True)
warnings.warn("to the log @w", UserWarning)
===
logging.captureWarnings(False)
===
os.environ.pop("PYTEST_CURRENT_TEST")
===
os.environ["LEFT_@w"] = "@n"
===
os.environ = dict(os.environ)
===
os.environ.pop("LEFT_@w", None)
===
os.chdir(tempfile.gettempdir())
===
os.chdir(helper.ROOT)
===
sys.stdout = io.StringIO()
print("kept away from pytest")
===
sys.stderr = sys.stdout
===
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
===
os.dup2(2, 1)
print("to the other one")
===
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
===
gc.disable()
===
gc.enable()
===
faulthandler.disable()
===
sys.unraisablehook = lambda unraisable: step("unraisablehook", type(unraisable.exc_value).__name__)
===
threading.excepthook = lambda args: step("excepthook", args.exc_type.__name__)
===
sys.excepthook = lambda *args: None
===
helper.VARIABLE.set("@w")
===
step("variable", helper.VARIABLE.get("none"))
===
decimal.getcontext().prec = 5
===
step("decimal", decimal.getcontext().prec)
===
LEFT.append(helper.left_open("@w"))
next(LEFT[-1])
===
LEFT.append(helper.Undeletable("later"))
===
LEFT.clear()
===
warnings.showwarning = lambda *args, **kwargs: step("showwarning", str(args[0]))
===
warnings.filters = warnings.filters[:]
===
look("@w")
===
look("@w")
===
look("@w")
===
[request] look_at(request)
===
[request] look_at(request)
===
[request] request.config.pluginmanager.register(helper.Plugin("@w"), "made-@w") if not request.config.pluginmanager.hasplugin("made-@w") else None
===
[request] request.config.pluginmanager.unregister(name="made-@w") if request.config.pluginmanager.hasplugin("made-@w") else None
===
[request] request.session.addfinalizer(lambda: step("of the session", "@w"))
===
[request] request.node.parent.addfinalizer(lambda: step("of the parent", "@w"))
===
[request] request.node.parent.add_marker("custom")
===
[request] request.node.config.addinivalue_line("markers", "late_@w: declared late")
===
import functools
atexit.register(functools.partial(step, "at exit", "@w", file="atexit"))
===
helper.VALUE += 1
step("value", helper.VALUE)
===
[request] sys.stdin.close() if @n == 7 else step("stdin", type(sys.stdin).__name__)
"""

ENDS = r"""
assert @n == @n + 1
===
assert "@w" == "@w2"
===
assert [1, 2, @n, 4] == [1, 2, 3, 4, 5, @n]
===
assert {"a": 1, "b": {"c": @n}} == {"a": 1, "b": {"c": -1}, "d": 2}
===
assert {1, 2, @n} == {-1, 2}
===
assert "one\ntwo\n@w\nfour" == "one\ntwo\nthree\nfour"
===
assert helper.Point(1, @n) == helper.Point(1, -1)
===
assert 0.1 + 0.2 == pytest.approx(@n)
===
assert not isinstance("@w", str), f"message with @w {1 + 1}"
===
value = list(range(200))
assert value == value[:-1] + [@n]
===
assert all(x < @n for x in range(@n + 1)) and STATE is None
===
assert (lambda x: x > @n)(
    @n
)
===
raise ValueError("plain @w")
===
raise helper.Broken("@w")
===
raise helper.BrokenText("@w")
===
raise ExceptionGroup("group @w", [ValueError(1), ExceptionGroup("inner", [TypeError("@w"), KeyError(@n)])])
===
raise BaseExceptionGroup("base group", [SystemExit(3), ValueError("@w")])
===
try:
    raise KeyError("@w")
except KeyError as exc:
    raise RuntimeError("chained") from exc
===
try:
    raise KeyError("@w")
except KeyError:
    raise RuntimeError("in handling")
===
try:
    raise KeyError("@w")
except KeyError:
    raise RuntimeError("context hidden") from None
===
exc = ValueError("with notes")
exc.add_note("note one\nnote two @w")
raise exc
===
sys.exit(@n)
===
raise SystemExit("text @w")
===
raise helper.Base("@w")
===
raise StopIteration("@w")
===
raise GeneratorExit("@w")
===
raise asyncio.CancelledError("@w")
===
pytest.fail("because @w")
===
pytest.fail("short @w", pytrace=False)
===
pytest.skip("skipped @w")
===
pytest.xfail("expected @w")
===
raise unittest.SkipTest("of unittest @w")
===
pytest.importorskip("no_such_module_@w")
===
helper.fails("@w", @n)
===
helper.deep(@n)
===
with pytest.raises(ValueError):
    pass
===
with pytest.raises(ValueError, match="^@w$"):
    raise ValueError("something else")
===
with pytest.raises(ValueError):
    raise TypeError("@w")
===
with pytest.warns(UserWarning):
    pass
===
exec(compile("def f():\n    raise ValueError('@w')\nf()", "<made>", "exec"), {})
===
eval("1 +")
===
int("@w")
===
print("printed before @w")
logging.warning("logged before")
warnings.warn("warned before", UserWarning)
assert STATE == "@w"
===
local_one, local_two = "@w" * 30, [1] * @n
undefined_name + local_one
===
assert os.environ == {"@w": "@n"} if False else helper.fails("@w", @n)
===
[capsys] print("captured by capsys @w")
assert capsys is None
===
[caplog] logging.getLogger("app").error("before the end @w")
assert caplog.records == []
===
[request] request.getfixturevalue("no_such_fixture")
===
[request] request.node.add_marker(pytest.mark.xfail(raises=ValueError, reason="of this kind"))
raise ValueError("@w")
===
[request] request.node.add_marker(pytest.mark.xfail(raises=ValueError))
raise TypeError("@w")
===
[request] request.raiseerror("by request @w")
"""

# Only where nothing runs beside or after it in another order.
LAST = r"""
raise KeyboardInterrupt("@w")
===
pytest.exit("left by @w")
===
pytest.exit("left with a status", returncode=@n)
===
[request] request.session.shouldstop = "stop asked by @w"
===
[request] request.session.shouldfail = "fail asked by @w"
"""


def parse(text: str) -> list[tuple[tuple[str, ...], str]]:
    """Of a catalogue: (fixtures, statements) each."""
    found = []
    for part in text.strip("\n").split("\n===\n"):
        names: tuple[str, ...] = ()
        if part.startswith("[") and part[1].isalpha() and "] " in part:
            head, _, part = part[1:].partition("] ")
            names = tuple(head.split(","))
        found.append((names, part))
    return found


KINDS = {
    name: parse(text)
    for name, text in (
        ("quiet", QUIET), ("output", OUTPUT), ("logs", LOGS), ("warns", WARNS), ("nodes", NODES), ("system", SYSTEM),
        ("leaks", LEAKS), ("ends", ENDS), ("last", LAST),
    )
}  # fmt: skip
