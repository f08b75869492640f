"""Plugins that give tests something: event loops, clients, mocks, clocks, files, snapshots, servers."""

from __future__ import annotations

from plugin_case import Case, Result

ASYNCIO = """
    import asyncio, pytest, pytest_asyncio

    @pytest_asyncio.fixture(scope="module", loop_scope="module")
    async def shared():
        await asyncio.sleep(0)
        yield asyncio.get_running_loop()

    @pytest_asyncio.fixture
    async def number():
        await asyncio.sleep(0)
        return 42

    @pytest.mark.asyncio
    async def test_fixture(number):
        await asyncio.sleep(0.001)
        assert number == 42

    @pytest.mark.asyncio(loop_scope="module")
    @pytest.mark.parametrize("n", range(4))
    async def test_one_loop_for_the_module(shared, n):
        assert asyncio.get_running_loop() is shared

    @pytest.mark.asyncio
    async def test_fails():
        await asyncio.sleep(0)
        assert 1 == 2
"""

ANYIO = """
    import anyio, pytest

    @pytest.fixture
    async def number():
        await anyio.sleep(0)
        return 42

    @pytest.mark.anyio
    async def test_passes(number):
        await anyio.sleep(0.001)
        assert number == 42

    @pytest.mark.anyio
    async def test_fails():
        await anyio.sleep(0)
        assert 1 == 2
"""

TRIO = """
    import pytest, trio

    @pytest.fixture
    async def number():
        await trio.sleep(0)
        yield 42

    @pytest.mark.trio
    async def test_clock(autojump_clock, number):
        start = trio.current_time()
        await trio.sleep(30)
        assert trio.current_time() - start == 30 and number == 42

    @pytest.mark.trio
    async def test_fails():
        await trio.sleep(0)
        assert 1 == 2
"""

MOCK = """
    import os

    def test_patch(mocker):
        mocker.patch("os.getcwd", return_value="/nowhere")
        assert os.getcwd() == "/nowhere"

    def test_undone():
        assert os.getcwd() != "/nowhere"

    def test_spy_fails(mocker):
        spy = mocker.spy(os.path, "join")
        os.path.join("a", "b")
        spy.assert_called_once_with("a", "c")
"""

DJANGO = {
    "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = settings\npythonpath = .\n",
    "settings.py": """
        SECRET_KEY = "x"
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "app.sqlite3",
                                 "TEST": {"NAME": "test.sqlite3"}}}
        INSTALLED_APPS = ["shop"]
        ROOT_URLCONF = "urls"
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    """,
    "urls.py": """
        from django.http import HttpResponse
        from django.urls import path
        urlpatterns = [path("hello/", lambda request: HttpResponse("hello"))]
    """,
    "shop/__init__.py": "",
    "shop/models.py": """
        from django.db import models

        class Thing(models.Model):
            name = models.CharField(max_length=20, unique=True)
    """,
    "test_shop.py": """
        import pytest
        from django.test import TestCase
        from shop.models import Thing

        @pytest.mark.django_db
        @pytest.mark.parametrize("n", range(6))
        def test_rolled_back(n):
            assert Thing.objects.count() == 0
            Thing.objects.create(name="one")

        @pytest.mark.django_db(transaction=True)
        @pytest.mark.parametrize("n", range(2))
        def test_committed_and_flushed(n):
            assert Thing.objects.count() == 0
            Thing.objects.create(name="two")

        class TestOld(TestCase):
            @classmethod
            def setUpTestData(cls):
                Thing.objects.create(name="class")

            def test_one(self):
                assert Thing.objects.get().name == "class"

            def test_two(self):
                assert Thing.objects.count() == 1

        def test_client(client):
            assert client.get("/hello/").content == b"hello"

        def test_no_database():
            Thing.objects.count()
    """,
}

FLASK = {
    "conftest.py": """
        import flask, pytest

        @pytest.fixture(scope="session")
        def app():
            app = flask.Flask(__name__)
            app.add_url_rule("/hello", view_func=lambda: {"word": "hello"}, endpoint="hello")
            return app
    """,
    "test_app.py": """
        import flask, urllib.request

        def test_client(client):
            assert client.get("/hello").json == {"word": "hello"}

        def test_context(client):
            assert flask.url_for("hello", _external=True) == "http://localhost/hello"

        def test_accepts_fails(client, accept_json):
            assert client.get("/none", headers=accept_json).status_code == 200
    """,
}

AIOHTTP = """
    import asyncio
    from aiohttp import web

    async def hello(request):
        return web.json_response({"word": "hello"})

    async def make(aiohttp_client):
        app = web.Application()
        app.router.add_get("/", hello)
        return await aiohttp_client(app)

    async def test_client(aiohttp_client):
        client = await make(aiohttp_client)
        assert await (await client.get("/")).json() == {"word": "hello"}

    async def test_fails(aiohttp_client):
        client = await make(aiohttp_client)
        status = (await client.get("/none")).status
        assert status == 200

    async def test_third(aiohttp_client):
        await asyncio.sleep(0.001)
"""

TIME_MACHINE = """
    import datetime, time, pytest, time_machine

    @time_machine.travel(0, tick=False)
    def test_decorated():
        assert time.time() == 0

    def test_fixture(time_machine):
        time_machine.move_to(datetime.datetime(2001, 2, 3, tzinfo=datetime.timezone.utc), tick=False)
        assert datetime.date.today().year == 2001

    def test_back():
        assert time.time() > 1_700_000_000

    @time_machine.travel(10_000, tick=False)
    def test_fails():
        assert time.time() == 10_001
"""

SYRUPY = {
    "test_snap.py": """
        import pytest

        @pytest.mark.parametrize("n", range(4))
        def test_same(snapshot, n):
            assert {"n": n} == snapshot

        def test_other(snapshot):
            assert "new" == snapshot
    """,
    "test_more.py": """
        def test_list(snapshot):
            assert [1, 2] == snapshot
    """,
}
KEPT = """
# serializer version: 1
# name: test_gone
  'unused'
# ---
# name: test_other
  'old'
# ---
# name: test_same[0]
  dict({
    'n': 0,
  })
# ---
# name: test_same[1]
  dict({
    'n': 1,
  })
# ---
# name: test_same[2]
  dict({
    'n': 2,
  })
# ---
# name: test_same[3]
  dict({
    'n': 3,
  })
# ---
"""
KEPT_LIST = """
# serializer version: 1
# name: test_list
  list([
    1,
    2,
  ])
# ---
"""


def snapshots(result: Result) -> object:
    report = result.lines(r"snapshots? (passed|failed|updated|unused|generated)|^Deleted|^Unused")
    return report, {name: result.read(name) for name in result.names("__snapshots__/*")}


def regression_files(result: Result) -> object:
    return {name: result.read(name) for name in result.names("test_*/*")}


XPROCESS = {
    "server.py": """
        import http.server, sys

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"hello")

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        with open(sys.argv[1], "w") as f:
            f.write(str(server.server_port))
        print("server is ready", file=sys.stderr, flush=True)
        server.serve_forever()
    """,
    "conftest.py": """
        import pathlib, sys, pytest
        from xprocess import ProcessStarter

        HERE = pathlib.Path(__file__).parent

        @pytest.fixture(scope="session")
        def port(xprocess):
            class Starter(ProcessStarter):
                pattern = "server is ready"
                args = [sys.executable, str(HERE / "server.py"), str(HERE / "port")]
                terminate_on_interrupt = True

            xprocess.ensure("server", Starter)
            yield int((HERE / "port").read_text())
            xprocess.getinfo("server").terminate()
    """,
    "test_server.py": """
        import urllib.request, pytest

        @pytest.mark.parametrize("n", range(4))
        def test_answers(port, n):
            assert urllib.request.urlopen(f"http://127.0.0.1:{port}/").read() == b"hello"

        @pytest.mark.parametrize("n", range(4))
        def test_other(n):
            pass
    """,
}

POSTGRESQL = {
    "conftest.py": """
        from pytest_postgresql import factories
        from pytest_postgresql.factories import noprocess

        class Janitor:
            # stands for the one that talks to the server

            def __init__(self, **kwargs):
                self.name = kwargs["dbname"]

            def __enter__(self):
                return self

            def __exit__(self, *exc):
                pass

        noprocess.DatabaseJanitor = Janitor
        postgresql_noproc = factories.postgresql_noproc(host="127.0.0.1", port=5999, dbname="shop")
    """,
    "test_names.py": """
        import os, pytest

        @pytest.mark.parametrize("n", range(4))
        def test_a_database_for_each_worker(postgresql_noproc, n):
            assert postgresql_noproc.dbname == "shop" + os.environ.get("PYTEST_XDIST_WORKER", "")
            assert postgresql_noproc.port == 5999
    """,
}

CASES = [
    Case("pytest-asyncio", ("asyncio",), {"test_a.py": ASYNCIO}),
    Case(
        "pytest-asyncio",
        ("asyncio",),
        {
            "pytest.ini": "[pytest]\nasyncio_mode = auto\n",
            "test_a.py": ASYNCIO.replace("    @pytest.mark.asyncio\n", ""),
        },
        variant="auto-mode",
    ),
    Case("anyio", ("anyio",), {"test_a.py": ANYIO}),
    Case("pytest-trio", ("trio",), {"test_a.py": TRIO}),
    Case("pytest-mock", ("pytest_mock",), {"test_a.py": MOCK}),
    Case("pytest-django", ("django",), DJANGO),
    Case("pytest-flask", ("flask",), FLASK),
    Case(
        "pytest-aiohttp",
        ("aiohttp", "asyncio"),
        {"pytest.ini": "[pytest]\nasyncio_mode = auto\n", "test_a.py": AIOHTTP},
    ),
    Case(
        "pytest-env",
        ("env",),
        {
            "pytest.ini": "[pytest]\nenv =\n    SHOP=open\n    D:HOME=/nowhere\n",
            "conftest.py": "import os\nSHOP = os.environ['SHOP']\n",
            "test_a.py": """
                import os, conftest

                def test_one():
                    assert os.environ["SHOP"] == conftest.SHOP == "open"

                def test_two():
                    assert os.environ["HOME"] != "/nowhere"

                def test_fails():
                    assert os.environ["SHOP"] == "closed"
            """,
        },
    ),
    Case(
        "pytest-httpx",
        ("pytest_httpx",),
        {
            "test_a.py": """
                import httpx

                def test_answer(httpx_mock):
                    httpx_mock.add_response(url="https://shop.test/", json={"open": True})
                    assert httpx.get("https://shop.test/").json() == {"open": True}

                def test_not_asked(httpx_mock):
                    httpx_mock.add_response(url="https://shop.test/never")

                def test_passes():
                    pass
            """
        },
    ),
    Case(
        "requests-mock",
        ("requests_mock",),
        {
            "test_a.py": """
                import requests

                def test_answer(requests_mock):
                    requests_mock.get("http://shop.test/", text="open")
                    assert requests.get("http://shop.test/").text == "open"

                def test_unknown(requests_mock):
                    requests.get("http://shop.test/none")
            """
        },
    ),
    Case("time-machine", ("time_machine",), {"test_a.py": TIME_MACHINE}),
    Case(
        "pytest-socket",
        ("socket",),
        {
            "test_a.py": """
                import socket, pytest

                def test_blocked():
                    with pytest.raises(RuntimeError):
                        socket.socket()

                def test_blocked_fails():
                    socket.socket()

                def test_allowed(socket_enabled):
                    socket.socket().close()

                @pytest.mark.enable_socket
                def test_marked():
                    socket.socket().close()
            """
        },
        args=("--disable-socket",),
    ),
    Case(
        "hypothesis",
        ("hypothesispytest",),
        {
            "test_a.py": """
                import warnings
                from hypothesis import HealthCheck, example, given, settings, strategies as st

                @given(st.integers())
                def test_holds(n):
                    assert n + 0 == n

                @settings(derandomize=True, database=None)
                @given(st.lists(st.integers()))
                def test_fails(numbers):
                    assert sum(numbers) < 100

                @example(7)
                @given(st.integers())
                def test_example(n):
                    assert n != 7
            """
        },
        args=("--hypothesis-show-statistics", "--hypothesis-seed=1"),
        artefacts=lambda r: r.lines(r"- (during|Stopped)|^test_a\.py::"),
    ),
    Case(
        "pytest-check",
        ("check",),
        {
            "test_a.py": """
                from pytest_check import check

                def test_two_wrong():
                    check.equal(1, 2)
                    check.is_in(3, [4])

                def test_context(check):
                    with check:
                        assert "a" == "b"
                    with check:
                        assert 1 == 1

                def test_right():
                    check.equal(1, 1)
            """
        },
        against="xdist",  # leaves a line out of its report where PYTEST_XDIST_WORKER is set
    ),
    Case(
        "syrupy",
        ("syrupy",),
        SYRUPY | {"__snapshots__/test_snap.ambr": KEPT, "__snapshots__/test_more.ambr": KEPT_LIST},
        artefacts=snapshots,
    ),
    Case(
        "syrupy",
        ("syrupy",),
        SYRUPY | {"__snapshots__/test_snap.ambr": KEPT},
        args=("--snapshot-update",),
        artefacts=snapshots,
        variant="update",
    ),
    Case(
        "pytest-regressions",
        ("regressions", "pytest-datadir"),
        {
            "test_a.py": """
                import pytest

                @pytest.mark.parametrize("n", range(3))
                def test_data(data_regression, n):
                    data_regression.check({"n": n})

                def test_file(file_regression):
                    file_regression.check("new text")
            """,
            "test_a/test_data_0_.yml": "n: 0\n",
            "test_a/test_file.txt": "old text",
        },
        artefacts=regression_files,
    ),
    Case(
        "pytest-datadir",
        ("pytest-datadir",),
        {
            "test_a.py": """
                import pytest

                @pytest.mark.parametrize("n", range(4))
                def test_own_copy(datadir, shared_datadir, n):
                    path = datadir / "one.txt"
                    assert path.read_text() == "one"
                    path.write_text("changed")
                    assert (shared_datadir / "all.txt").read_text() == "all"

                def test_fails(datadir):
                    assert (datadir / "one.txt").read_text() == "two"
            """,
            "test_a/one.txt": "one",
            "data/all.txt": "all",
        },
        artefacts=lambda r: r.read("test_a/one.txt"),
    ),
    Case("pytest-xprocess", ("xprocess",), XPROCESS),
    Case("pytest-postgresql", ("pytest_postgresql",), POSTGRESQL),
]
