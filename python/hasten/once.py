"""``--session-once NAME`` and :func:`hasten.session_once`: session fixtures set up once, before workers are forked.

The template sets them up after collection and tears them down when all workers are gone; a worker finds their values
in place and never tears them down. A fixture whose value cannot cross a fork is torn down again and left to the
workers, with a line that says why.
"""

from __future__ import annotations

from typing import Any

import pytest

from hasten import watch

MARK = "__hasten_session_once__"


class Once:
    """One per template."""

    def __init__(self, config: pytest.Config, session: pytest.Session) -> None:
        self.config = config
        self.session = session
        self.notes: list[str] = []
        self.active = False

    def set_up(self) -> None:
        """Sets up every fixture that was asked for. notes: one line for each that workers have to make themselves."""
        wanted = dict.fromkeys(self.config.getoption("session_once", []))
        found: dict[str, tuple[Any, pytest.Item]] = {}
        for item in self.session.items:
            info = getattr(item, "_fixtureinfo", None)
            for name, defs in (info.name2fixturedefs if info else {}).items():
                if defs and name not in found and (name in wanted or getattr(defs[-1].func, MARK, False)):
                    found[name] = (defs[-1], item)
        for name in wanted:
            if name not in found:
                self.notes.append(f"--session-once {name}: no collected test uses a fixture of that name")
        for name, (definition, item) in found.items():
            reason = self._refusal(definition, item) or self._make(name, item)
            if reason:
                self.notes.append(f"session-once '{name}': {reason}; every worker makes its own")

    def _refusal(self, definition: Any, item: Any) -> str | None:
        if definition.scope != "session":
            return f"its scope is {definition.scope}, not session"
        if definition.params:
            return "it is parametrized"
        for name in self._closure(definition, item):
            if name in ("worker_id", "testrun_uid"):
                return f"it depends on '{name}', which differs between workers"
        return None

    def _closure(self, definition: Any, item: Any) -> list[str]:
        names = list(definition.argnames)
        for name in names:
            defs = item._fixtureinfo.name2fixturedefs.get(name)
            names.extend(n for n in (defs[-1].argnames if defs else ()) if n not in names)
        return names

    def _make(self, name: str, item: Any) -> str | None:
        state = self.session._setupstate
        if self.session not in state.stack:
            self.session.setup()
            state.stack[self.session] = ([self.session.teardown], None)
        before = watch._open_things()
        state.stack[item] = ([], None)  # pytest wants the asking test to be in its set-up phase
        try:
            item._request.getfixturevalue(name)
        except BaseException as exc:
            reason = f"its set-up failed before the fork ({type(exc).__name__}: {exc})"
        else:
            reason = ""
        finally:
            del state.stack[item]
            item._initrequest()  # it asks anew when it runs
        if reason:
            self._undo()
            return reason
        reason = watch._threads() or ""
        for fd, what in watch._open_things().items():
            if before.get(fd) != what:
                reason = f"{what[0]} does not survive a fork"
        if reason:
            self._undo()
            return reason
        self.active = True
        return None

    def _undo(self) -> None:
        """Takes back everything made so far: fixtures may depend on each other."""
        self.active = False
        self.tear_down()

    def tear_down(self) -> str:
        """Returns what went wrong, or ''."""
        try:
            self.session._setupstate.teardown_exact(None)
        except BaseException as exc:
            return f"{type(exc).__name__}: {exc}"
        return ""

    def last_teardown(self) -> pytest.TestReport | None:
        """After the last worker. What went wrong is reported as pytest does it: as an error of the last test."""
        item = self.session.items[-1]
        call = pytest.CallInfo.from_call(lambda: self.session._setupstate.teardown_exact(None), "teardown")
        if call.excinfo is None:
            return None
        report: pytest.TestReport = item.ihook.pytest_runtest_makereport(item=item, call=call)
        capman = self.config.pluginmanager.getplugin("capturemanager")
        if capman is not None and capman.is_globally_capturing():
            for name, text in zip(("stdout", "stderr"), capman.read_global_capture(), strict=True):
                if text:
                    report.sections.append((f"Captured {name} teardown", text))
        return report

    def in_worker(self) -> None:
        """The values stay; their teardown is the template's."""
        state = self.session._setupstate
        if self.active and self.session in state.stack:
            state.stack[self.session] = ([self.session.teardown], None)
