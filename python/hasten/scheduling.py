"""A plugin's own scheduler (``pytest_xdist_make_scheduler``): what it says about groups goes into the plan.

Most give nothing but a group for each node id (``LoadScopeScheduling._split_scope``); the order within a worker and who
gets which group is the plan's. Served as ``xdist.scheduler`` where pytest-xdist is not installed.
"""

from __future__ import annotations

import array
from collections import OrderedDict
from typing import Any

import pytest


class Log:
    """Stands for pytest-xdist's debugging log: callable, with a log of its own under every name."""

    def __call__(self, *args: object, **kwargs: object) -> None: ...

    def __getattr__(self, name: str) -> Log:
        if name.startswith("__"):
            raise AttributeError(name)
        return self


class _Scheduling:
    """What schedulers of plugins may read when they are made. None of them hands tests out here."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        self.config = config
        self.log = log or Log()
        self.numnodes = len(getattr(config.option, "tx", None) or ())
        self.collection: list[str] | None = None
        self.registered_collections: OrderedDict[Any, list[str]] = OrderedDict()


class EachScheduling(_Scheduling):
    """``--dist each``."""


class LoadScheduling(_Scheduling):
    """``--dist load``."""


class WorkStealingScheduling(_Scheduling):
    """``--dist worksteal``."""


class LoadScopeScheduling(_Scheduling):
    """``--dist loadscope``: tests of one module or class stay together."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self.workqueue: OrderedDict[str, Any] = OrderedDict()
        self.assigned_work: OrderedDict[Any, Any] = OrderedDict()

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.rsplit("::", 1)[0]


class LoadFileScheduling(LoadScopeScheduling):
    """``--dist loadfile``."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("::", 1)[0]


class LoadGroupScheduling(LoadScopeScheduling):
    """``--dist loadgroup``: by the group after the last ``@``."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.split("@")[-1] if nodeid.rfind("@") > nodeid.rfind("]") else nodeid


SUBMODULES = {  # of xdist.scheduler
    "each": EachScheduling,
    "load": LoadScheduling,
    "worksteal": WorkStealingScheduling,
    "loadscope": LoadScopeScheduling,
    "loadfile": LoadFileScheduling,
    "loadgroup": LoadGroupScheduling,
}


STEPS = (  # of handing tests out
    "schedule", "add_node", "add_node_collection", "mark_test_complete", "remove_node",
    "_reschedule", "_assign_work_unit",
)  # fmt: skip


def _is_known(cls: type) -> bool:
    return cls is object or cls.__module__ == __name__ or cls.__module__.partition(".")[0] == "xdist"


def _not_used(cls: type) -> list[str]:
    """Methods of a plugin's scheduler that would be called in pytest-xdist and are not called here."""
    own = [name for base in cls.__mro__ if not _is_known(base) for name in vars(base) if callable(vars(base)[name])]
    known = {name for base in cls.__mro__ if _is_known(base) and base is not object for name in vars(base)}
    steps = {*STEPS, *known}
    return sorted({name for name in own if name in steps and not name.startswith("__") and name != "_split_scope"})


class Scheduler:
    """The answer of ``pytest_xdist_make_scheduler``; note: one line of what of it is not honoured, or ''."""

    def __init__(self, config: pytest.Config) -> None:
        self.note = ""
        self.made = config.hook.pytest_xdist_make_scheduler(config=config, log=Log())
        cls = type(self.made)
        self.split = getattr(self.made, "_split_scope", None)
        if self.made is None or (_is_known(cls) and self.split is None):
            return  # nothing, or one of pytest-xdist's own, for which --dist has a mode
        if self.split is None:
            self.note = f"the scheduler {cls.__name__} hands tests out itself, which is not possible here; not used"
        elif unused := _not_used(cls):
            self.note = f"of the scheduler {cls.__name__} the groups are used, not {', '.join(unused)}"

    def groups(self, ids: list[str], marks: dict[int, str]) -> array.array[int] | None:
        """The group of each test, from 0, or None. marks: names of groups of --dist loadgroup, by index."""
        if self.split is None:
            return None
        found: dict[Any, int] = {}
        groups = array.array("I")
        try:
            for i, nodeid in enumerate(ids):
                key = self.split(f"{nodeid}@{marks[i]}" if i in marks else nodeid)
                groups.append(found.setdefault(key, len(found)))
        except Exception as exc:
            name = type(self.made).__name__
            self.note = f"the scheduler {name} gives no groups ({type(exc).__name__}: {exc}); not used"
            return None
        return groups
