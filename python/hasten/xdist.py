"""What suites and plugins expect of pytest-xdist: options, fixtures, hooks, nodes and ``import xdist``.

Registered under the name ``xdist`` while hasten runs a suite, so that ``hasplugin("xdist")`` is true; the real
plugin, where it is installed, is not loaded then. Semantics are those of pytest-xdist 3.8.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
import uuid
from typing import Any

import pytest

from hasten.scheduling import SUBMODULES

DIST_MODES = ("each", "load", "loadscope", "loadfile", "loadgroup", "worksteal", "no")
IGNORED_OPTIONS = ("px", "rsyncdir", "rsyncignore", "maxschedchunk")


def parse_numprocesses(text: str) -> int | str:
    """``auto``, ``logical`` or a number of workers; ValueError (which argparse reports) for anything else."""
    if text in ("auto", "logical"):
        return text
    n = int(text)
    if n < 0:
        raise ValueError("negative")
    return n


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("xdist", "distributed and subprocess testing (hasten)")
    group._addoption(
        "-n",
        "--numprocesses",
        dest="numprocesses",
        metavar="numprocesses",
        action="store",
        type=parse_numprocesses,
        help="Workers: a number, 'auto' (cores this process may use; hasten's default) or 'logical' "
        "(hyper-threads counted). 0: run in this process.",
    )
    group.addoption("--maxprocesses", dest="maxprocesses", action="store", type=int, help="At most this many workers.")
    group.addoption(
        "--max-worker-restart",
        dest="maxworkerrestart",
        action="store",
        default=None,
        help="How many workers may be replaced after a crash (default: 4 for each worker).",
    )
    group.addoption(
        "--dist",
        dest="dist",
        action="store",
        choices=DIST_MODES,
        default="no",
        help="Which tests stay together on one worker: load and worksteal (none), loadscope (module or class), "
        "loadfile, loadgroup (mark xdist_group); each: every worker runs every test.",
    )
    group.addoption("--loadscope-reorder", dest="loadscopereorder", action="store_true", default=True)
    group.addoption("--no-loadscope-reorder", dest="loadscopereorder", action="store_false")
    group.addoption("--tx", dest="tx", action="append", default=[], metavar="xspec")
    group.addoption("--px", dest="px", action="append", default=[], metavar="xspec")
    group._addoption("-d", dest="distload", action="store_true", default=False, help="Shortcut for '--dist=load'.")
    group.addoption("--rsyncdir", action="append", default=[], metavar="DIR")
    group.addoption("--rsyncignore", action="append", default=[], metavar="GLOB")
    group.addoption("--testrunuid", action="store", help="Value of the testrun_uid fixture (default: a new one).")
    group.addoption("--maxschedchunk", action="store", type=int)
    for name in ("rsyncdirs", "looponfailroots"):
        parser.addini(name, "Accepted for pytest-xdist's sake.", type="paths")
    parser.addini("rsyncignore", "Accepted for pytest-xdist's sake.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "xdist_group(name): tests of one group run on one worker under --dist loadgroup."
    )


class HookSpecs:
    """pytest-xdist's hooks, so that plugins and conftests may implement them."""

    @pytest.hookspec()
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: list[Any]) -> None: ...

    @pytest.hookspec()
    def pytest_xdist_newgateway(self, gateway: Any) -> None: ...

    @pytest.hookspec()
    def pytest_xdist_rsyncstart(self, source: Any, gateways: Any) -> None: ...

    @pytest.hookspec()
    def pytest_xdist_rsyncfinish(self, source: Any, gateways: Any) -> None: ...

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_getremotemodule(self) -> Any: ...

    @pytest.hookspec()
    def pytest_configure_node(self, node: Node) -> None: ...

    @pytest.hookspec()
    def pytest_testnodeready(self, node: Node) -> None: ...

    @pytest.hookspec()
    def pytest_testnodedown(self, node: Node, error: object | None) -> None: ...

    @pytest.hookspec()
    def pytest_xdist_node_collection_finished(self, node: Node, ids: list[str]) -> None: ...

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any: ...

    @pytest.hookspec(firstresult=True)
    def pytest_xdist_auto_num_workers(self, config: pytest.Config) -> int:  # type: ignore[empty-body]
        ...

    @pytest.hookspec(firstresult=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None: ...


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(HookSpecs)


@pytest.hookimpl(trylast=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Cores this process may use: affinity mask and cgroup quota; at least 1."""
    from hasten import _native

    for name in ("PYTEST_XDIST_AUTO_NUM_WORKERS", "PYTHON_CPU_COUNT"):
        try:
            return max(1, int(os.environ[name]))
        except (KeyError, ValueError):
            pass
    limits = _native.cpu_limits()
    n = limits["logical" if config.option.numprocesses == "logical" else "physical"]
    return max(1, min(n, limits["quota"] or n))


class Spec:
    """A worker's place, in the form plugins read it from ``node.gateway.spec``."""

    popen = True
    python = None
    chdir = None
    nice = None
    execmodel = "main_thread_only"

    def __init__(self, worker_id: str) -> None:
        self.id = worker_id
        self._spec = f"popen//id={worker_id}"

    def __str__(self) -> str:
        return self._spec

    def __repr__(self) -> str:
        return f"<XSpec {self._spec!r}>"

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


class RemoteInfo:
    """What ``gateway._rinfo()`` tells of the interpreter at the other end: it is this one."""

    def __init__(self) -> None:
        self.executable = sys.executable
        self.version_info = tuple(sys.version_info)
        self.platform = sys.platform
        self.cwd = os.getcwd()
        self.pid = os.getpid()


class Gateway:
    def __init__(self, worker_id: str) -> None:
        self.id = worker_id
        self.spec = Spec(worker_id)

    def _rinfo(self, update: bool = False) -> RemoteInfo:
        return RemoteInfo()

    def __repr__(self) -> str:
        return f"<Gateway id={self.id!r}>"


class NodeManager:
    def __init__(self, config: pytest.Config, testrunuid: str, specs: list[Spec]) -> None:
        self.config = config
        self.testrunuid = testrunuid
        self.specs = specs
        self.roots: list[Any] = []
        self.trace = config.trace.get("nodemanager")


class Node:
    """One worker as reporting plugins see it (xdist's WorkerController)."""

    workeroutput: dict[str, Any]

    def __init__(self, manager: NodeManager, worker_id: str, count: int) -> None:
        self.nodemanager = manager
        self.config = manager.config
        self.gateway = Gateway(worker_id)
        self.workerinput: dict[str, Any] = {
            "workerid": worker_id,
            "workercount": count,
            "testrunuid": manager.testrunuid,
            "mainargv": sys.argv,
        }
        # workeroutput: what the worker has left; not there when it ended otherwise, and plugins ask whether it is.
        self.workerinfo: dict[str, Any] = {}
        self.shutting_down = False

    def __repr__(self) -> str:
        return f"<WorkerController {self.gateway.id}>"


def is_xdist_worker(request_or_session: Any) -> bool:
    """True in a worker. request_or_session: a fixture request or the session."""
    return hasattr(request_or_session.config, "workerinput")


def is_xdist_controller(request_or_session: Any) -> bool:
    """True in the reporting process of a distributed run."""
    return not is_xdist_worker(request_or_session) and request_or_session.config.option.dist != "no"


is_xdist_master = is_xdist_controller


def get_xdist_worker_id(request_or_session: Any) -> str:
    """``gw0``, ``gw1`` ... in a worker, else ``master``."""
    if is_xdist_worker(request_or_session):
        return str(request_or_session.config.workerinput["workerid"])
    return "master"


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The id of this worker (``gw0`` ...), or ``master`` when tests are not distributed."""
    return get_xdist_worker_id(request)


@pytest.fixture(scope="session")
def testrun_uid(request: pytest.FixtureRequest) -> str:
    """An id of this run, the same in all workers."""
    if is_xdist_worker(request):
        return str(request.config.workerinput["testrunuid"])  # type: ignore[attr-defined]
    return uuid.uuid4().hex


MODULES = frozenset(["xdist", "xdist.plugin", "xdist.scheduler", *(f"xdist.scheduler.{name}" for name in SUBMODULES)])


class Finder(importlib.abc.MetaPathFinder):
    """Serves ``import xdist`` where pytest-xdist is not installed.

    Not to ``pytest.importorskip``: a test that is skipped without pytest-xdist stays skipped.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in MODULES:
            return None
        frame: types.FrameType | None = sys._getframe(1)
        while frame is not None:
            module = frame.f_globals.get("__name__", "")
            if module == "_pytest.outcomes":
                return None
            if not module.startswith("importlib"):
                break
            frame = frame.f_back
        return importlib.util.spec_from_loader(name, Loader(), is_package=name in ("xdist", "xdist.scheduler"))


class Loader(importlib.abc.Loader):
    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__.startswith("xdist.scheduler"):
            for scheduler in SUBMODULES.values():
                setattr(module, scheduler.__name__, scheduler)
            return
        for name in ("is_xdist_worker", "is_xdist_controller", "is_xdist_master", "get_xdist_worker_id"):
            setattr(module, name, globals()[name])
        module.__version__ = "3.8.0"  # type: ignore[attr-defined]


def provide_import() -> None:
    """From now on ``import xdist`` works, with the real package where there is one."""
    if not any(isinstance(f, Finder) for f in sys.meta_path):
        sys.meta_path.append(Finder())
