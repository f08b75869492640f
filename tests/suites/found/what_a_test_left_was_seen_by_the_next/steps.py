"""Writes down what happens, in order: steps.log from where tests run, reports.log from where they are reported.

Each line begins with the file it belongs to, so that files run by several processes can be compared.
"""
import logging
import os
import re
import signal
import sys
import threading
import warnings

ROOT = os.path.dirname(os.path.abspath(__file__))
ENVIRON = os.environ
_write, _open, _close, _get = os.write, os.open, os.close, ENVIRON.get


def _line(name, parts):
    if sys.is_finalizing():  # hasten does not take its processes apart
        return
    text = " ".join(str(part).replace("\n", "\\n") for part in parts)
    text = re.sub(r"0x[0-9a-f]{6,}", "0x0", text)
    fd = _open(os.path.join(ROOT, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _write(fd, (text + "\n").encode("utf-8", "backslashreplace"))
    _close(fd)


def step(*parts, file=None):
    """A step of where tests run. file: the test file it belongs to, else that of the calling function."""
    if file is None:
        file = os.path.basename(sys._getframe(1).f_globals.get("__file__", "?"))
    _line("steps.log", (file + ":", *parts))


def reported(config, nodeid, *parts):
    """A step of where tests are reported: once, not in workers."""
    if not hasattr(config, "workerinput"):
        _line("reports.log", (os.path.basename(nodeid.split("::")[0]) + ":", nodeid, *parts))


def look(label):
    """The state of this process that tests can see."""
    root = logging.getLogger() if isinstance(logging.root, logging.Logger) else logging.root
    seen = {
        "current": os.environ.get("PYTEST_CURRENT_TEST"),
        "really": _get("PYTEST_CURRENT_TEST"),
        "cwd": os.path.relpath(os.getcwd(), ROOT) if os.getcwd().startswith(ROOT) else "elsewhere",
        "std": [type(s).__name__ for s in (sys.stdin, sys.stdout, sys.stderr)],
        "root": [root.level, [type(h).__name__ for h in root.handlers], logging.root.manager.disable],
        "loggers": {n: [lo.level, lo.propagate, lo.disabled, len(lo.handlers)]
                    for n, lo in sorted(logging.root.manager.loggerDict.items()) if n.split(".")[0] in ("app", "own")
                    and isinstance(lo, logging.Logger)},
        "filters": [(f[0], f[2].__name__, bool(f[1])) for f in warnings.filters],
        "show": [warnings.showwarning.__module__, warnings.showwarning.__qualname__],
        "last": getattr(getattr(sys, "last_type", None), "__name__", None),
        "last_exc": type(getattr(sys, "last_exc", None)).__name__,
        "info": str(sys.exc_info()[0]),
        "signals": [str(signal.getsignal(s)).split(" at ")[0] for s in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)],
        "threads": sorted(t.name for t in threading.enumerate()),
        "hooks": [getattr(h, "__qualname__", str(h)) for h in (sys.excepthook, sys.unraisablehook, threading.excepthook)],
        "env": sorted(k for k in os.environ if k.startswith(("LEFT_", "VALUE_"))),
        "trace": [sys.gettrace(), sys.getprofile()],
    }
    step("look", label, seen, file=os.path.basename(sys._getframe(1).f_globals.get("__file__", "?")))


def look_at(request):
    """The state of the item and of the session that tests can see."""
    node, session = request.node, request.session
    state = session._setupstate
    seen = {
        "node": type(node).__name__ + " " + node.name,
        "keywords": sorted(k for k in node.keywords if not k.startswith("/") and k != os.path.basename(ROOT)),
        "markers": [m.name for m in node.iter_markers()],
        "own": [m.name for m in node.own_markers],
        "properties": getattr(node, "user_properties", None),
        "sections": [s[:2] for s in getattr(node, "_report_sections", ())],
        "funcargs": sorted(getattr(node, "funcargs", None) or ()),
        "stack": [(type(n).__name__, n.name if n is not session else "", len(f), str(e)) for n, (f, e) in state.stack.items()],
        "failed": [session.testsfailed, session.testscollected, str(session.shouldstop), str(session.shouldfail)],
        "request": [type(request).__name__, request.scope, request.fixturename, sorted(request._fixture_defs)],
        "cached": {n: [(d.scope, d.cached_result is not None, len(d._finalizers)) for d in defs]
                   for n, defs in sorted(node._fixtureinfo.name2fixturedefs.items())} if hasattr(node, "_fixtureinfo") else {},
        "params": str(getattr(getattr(node, "callspec", None), "params", None)),
        "location": node.location if hasattr(node, "location") else None,
        "capture": str(request.config.pluginmanager.getplugin("capturemanager").is_capturing()),
    }
    step("look_at", seen, file=os.path.basename(sys._getframe(1).f_globals.get("__file__", "?")))
