"""conftest.py files: hooks around tests, plain and wrappers of both styles, first and last."""

from __future__ import annotations

from generator.maker import Maker, function, indent

# hook: (arguments, expression of the item or node, what it writes down)
AROUND = {
    "pytest_runtest_protocol": ("item, nextitem", "item", "nextitem and nextitem.name"),
    "pytest_runtest_setup": ("item", "item", "[type(n).__name__ for n in item.session._setupstate.stack]"),
    "pytest_runtest_call": ("item", "item", 'sorted(getattr(item, "funcargs", None) or ())'),
    "pytest_runtest_teardown": ("item, nextitem", "item", "nextitem and nextitem.name"),
    "pytest_runtest_makereport": ("item, call", "item", "call.when, call.excinfo and call.excinfo.typename"),
    "pytest_fixture_setup": ("fixturedef, request", "request.node", "fixturedef.argname, fixturedef.scope"),
    "pytest_fixture_post_finalizer": (
        "fixturedef, request",
        "request.node",
        "fixturedef.argname, fixturedef.cached_result is None",
    ),
    "pytest_pyfunc_call": ("pyfuncitem", "pyfuncitem", "pyfuncitem.name"),
    "pytest_exception_interact": ("node, call, report", "node", "call.when, report.outcome"),
}
FIRST_RESULT = ("pytest_runtest_protocol", "pytest_runtest_makereport", "pytest_fixture_setup", "pytest_pyfunc_call")
REPORTING = {
    "pytest_runtest_logstart": ("nodeid, location", "nodeid", "location[0]"),
    "pytest_runtest_logreport": ("report", "report.nodeid", "report.when, report.outcome, len(report.sections)"),
    "pytest_runtest_logfinish": ("nodeid, location", "nodeid", "location[2]"),
    "pytest_warning_recorded": (
        "warning_message, when, nodeid, location",
        "nodeid",
        "when, str(warning_message.message)",
    ),
}


def make_hooks(maker: Maker, how_many: int, root: bool) -> str:
    texts = [_around(maker, hook) for hook in maker.some(sorted(AROUND), how_many)]
    if maker.chance(0.25):
        # A conftest.py below the root is not known where tests are reported.
        others = OTHERS if root else [t for t in OTHERS if not any(name in t for name in OF_REPORTING)]
        texts.append(maker.pick(others).replace("@w", maker.word()))
    return "\n\n".join(texts)


def _around(maker: Maker, hook: str) -> str:
    arguments, node, detail = AROUND[hook]
    quiet = not maker.together and hook.startswith("pytest_fixture")  # wide fixtures live once in every worker
    path = f'file=getattr({node}, "path", None) and {node}.path.name'
    say = "pass" if quiet else f'step("{hook[7:]}", {node}.name, {_safe(maker, hook, detail)}, {path})'
    style = maker.pick(("plain", "plain", "wrapper", "wrapper", "old"))
    options = {"plain": [], "wrapper": ["wrapper=True"], "old": ["hookwrapper=True"]}[style]
    order = maker.pick((None, None, "tryfirst=True", "trylast=True"))
    options += [order] if order else []
    own = _own(maker, hook, node)
    if style == "plain":
        # a plain first-result hook answers nothing, so that pytest's own is called too
        body = f"{say}\n{own}return None" if hook in FIRST_RESULT else f"{say}\n{own}"
        names = arguments.split(", ") if maker.chance(0.7) else [node.split(".")[0], *_used(arguments, body)]
        names = [n for n in arguments.split(", ") if n in names]
        return function(hook, names, body, [f"@pytest.hookimpl({', '.join(options)})"] if options else [])
    after = say.replace(f'"{hook[7:]}"', f'"{hook[7:]} after"')
    if style == "wrapper":
        result = f"{say}\nresult = yield\n{after}\n{_change(maker, hook)}return result"
        if maker.chance(0.3):
            result = f"{say}\ntry:\n    return (yield)\nfinally:\n{indent(after)}"
    else:
        result = f"{say}\noutcome = yield\n{after}\nresult = outcome._result if outcome.exception is None else None\n"
        result += _change(maker, hook, "if result is not None:\n") + "outcome.exception"
    return function(hook, arguments.split(", "), result, [f"@pytest.hookimpl({', '.join(options)})"])


def _used(arguments: str, body: str) -> list[str]:
    return [name for name in arguments.split(", ") if f"{name}." in body or f"{name} " in body or f"{name}," in body]


def _safe(maker: Maker, hook: str, detail: str) -> str:
    """Without what differs when several processes share the tests."""
    if not maker.together and ("nextitem" in detail or "stack" in detail):
        return "None"
    return detail


def _own(maker: Maker, hook: str, node: str) -> str:
    """Now and then a hook does something."""
    if hook == "pytest_runtest_setup" and maker.chance(0.3):
        return maker.pick((
            'if "_3" in item.name:\n    pytest.skip("by the setup hook")\n',
            'if "_4" in item.name:\n    raise ValueError("from the setup hook")\n',
            'item.add_marker(pytest.mark.xfail(reason="by a hook")) if item.name.endswith("5") else None\n',
            'print("setup hook prints")\n', 'logging.getLogger("app").warning("setup hook logs")\n',
            'item.user_properties.append(("hook", "setup"))\n', 'item.funcargs["late"] = 1 if hasattr(item, "funcargs") else 0\n',
            'warnings.warn("by the setup hook", UserWarning)\n', 'item.add_report_section("setup", "hook", "text")\n',
        ))  # fmt: skip
    if hook in ("pytest_runtest_call", "pytest_runtest_teardown") and maker.chance(0.3):
        when = hook.rpartition("_")[2]
        return maker.pick((
            f'print("{when} hook prints")\n', f'logging.getLogger("app").error("{when} hook logs")\n',
            f'if "_6" in item.name:\n    raise ValueError("from the {when} hook")\n',
            f'item.user_properties.append(("hook", "{when}"))\n', f'warnings.warn("by the {when} hook", UserWarning)\n',
            'if "_7" in item.name:\n    pytest.skip("late skip by a hook")\n',
        ))  # fmt: skip
    if hook == "pytest_pyfunc_call" and maker.chance(0.2):
        return 'if "_8" in pyfuncitem.name:\n    step("not called", pyfuncitem.name)\n    return True\n'
    if hook == "pytest_fixture_setup" and maker.chance(0.1):
        return 'if fixturedef.argname.endswith("7"):\n    fixturedef.cached_result = (7, request.param_index, None)\n    return 7\n'
    return ""


def _change(maker: Maker, hook: str, guard: str = "") -> str:
    """What a wrapper does to the result."""
    if hook != "pytest_runtest_makereport" or maker.chance(0.5):
        return ""
    text = maker.pick((
        'result.sections.append(("by the wrapper", result.when))', 'result.user_properties.append(("wrapper", result.when))',
        'result.extra = ["kept", result.when]', 'if "_9" in item.name and result.passed:\n    result.outcome, result.longrepr = "failed", "made to fail"',
        'result.longrepr = "changed text" if result.failed else result.longrepr', 'result.keywords["by_wrapper"] = 1',
        'result.wasxfail = "by the wrapper" if result.failed and call.when == "call" else ""\n'
        'if not result.wasxfail:\n    del result.wasxfail\nelse:\n    result.outcome = "skipped"',
        'result.duration = 0.25', 'step("report", result.when, result.outcome, sorted(vars(result)), file=item.path.name)',
    ))  # fmt: skip
    return f"{guard}{indent(text)}\n" if guard else f"{text}\n"


OTHERS = (
    "def pytest_assertrepr_compare(config, op, left, right):\n"
    "    if isinstance(left, int) and isinstance(right, int):\n        return ['own explanation', str(op)]\n",
    "def pytest_assertion_pass(item, lineno, orig, expl):\n    step('assertion passed', lineno, file=item.path.name)\n",
    "def pytest_report_teststatus(report, config):\n"
    "    if report.when == 'call' and report.passed and '_2' in report.nodeid:\n        return 'special', 'S', 'SPECIAL'\n",
    "def pytest_generate_tests(metafunc):\n    if 'made' in metafunc.fixturenames:\n        metafunc.parametrize('made', [1, 2])\n",
    "def pytest_make_parametrize_id(config, val, argname):\n    return f'{argname}-is-{val}' if val == 2 else None\n",
    "def pytest_itemcollected(item):\n    item.user_properties.append(('collected', item.name)) if '_5' in item.name else None\n",
    "def pytest_collection_modifyitems(config, items):\n    items.sort(key=lambda item: (item.path.name, '_1' in item.name))\n",
    "def pytest_collection_modifyitems(config, items):\n    gone = [i for i in items if i.name.endswith('_4')]\n"
    "    items[:] = [i for i in items if not i.name.endswith('_4')]\n    config.hook.pytest_deselected(items=gone)\n",
    "@pytest.hookimpl(trylast=True)\ndef pytest_collection_modifyitems(items):\n    for item in items:\n"
    "        if item.name.endswith('_2'):\n            item.add_marker(pytest.mark.usefixtures('tmp_path'))\n"
    "            item.add_marker(pytest.mark.custom('@w'))\n",
    "def pytest_terminal_summary(terminalreporter, exitstatus, config):\n    terminalreporter.section('generated')\n"
    "    for name, reports in sorted(terminalreporter.stats.items()):\n"
    "        terminalreporter.line(f'{name or None}: {len(reports)}')\n",
    "def pytest_configure(config):\n    config.addinivalue_line('markers', 'declared: in pytest_configure')\n"
    "    config.pluginmanager.register(helper.Plugin('@w'), 'early-@w')\n",
    "def pytest_report_header(config):\n    return 'generated header'\n",
    "from _pytest.fixtures import FixtureDef\n_execute = FixtureDef.execute\n\n\ndef _patched(self, request):\n"
    "    step('execute', self.argname, file=request.node.path.name) if self.scope == 'function' else None\n"
    "    return _execute(self, request)\n\n\nFixtureDef.execute = _patched\n",
    "from _pytest import runner\n_check = runner.check_interactive_exception\n\n\ndef _patched(call, report):\n"
    "    step('check', report.when, file=report.nodeid.split('::')[0].split('/')[-1])\n    return _check(call, report)\n\n\n"
    "runner.check_interactive_exception = _patched\n",
    "class Item(pytest.Item):\n    def runtest(self):\n        assert self.name != 'bad', 'an item of its own'\n\n"
    "    def repr_failure(self, excinfo, style=None):\n        return f'own text: {excinfo.value}'\n\n"
    "    def reportinfo(self):\n        return self.path, 0, f'own: {self.name}'\n\n\n"
    "class File(pytest.File):\n    def collect(self):\n        yield Item.from_parent(self, name='good')\n"
    "        yield Item.from_parent(self, name='bad')\n\n\n"
    "def pytest_collect_file(file_path, parent):\n    if file_path.suffix == '.own':\n"
    "        return File.from_parent(parent, path=file_path)\n",
    "def pytest_runtest_protocol(item, nextitem):\n    if '_6' not in item.name or nextitem is None:\n        return None\n"
    "    from _pytest.runner import runtestprotocol\n\n    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)\n"
    "    for report in runtestprotocol(item, nextitem=nextitem, log=False):\n"
    "        item.ihook.pytest_runtest_logreport(report=report)\n"
    "    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)\n    return True\n",
)
OF_REPORTING = ("pytest_report_teststatus", "pytest_terminal_summary", "pytest_report_header")


def make_reporting(maker: Maker) -> str:
    """Hooks of where tests are reported. There they are called once; tests of others may be reported in between."""
    texts = []
    for hook in maker.some(sorted(REPORTING), 2):
        arguments, nodeid, detail = REPORTING[hook]
        plain = f"reported(_config[0], {nodeid}, '{hook[7:]}', {detail})"
        wrapper = maker.chance(0.3) and hook != "pytest_warning_recorded"
        decorators = ["@pytest.hookimpl(wrapper=True)"] if wrapper else []
        body = f"result = yield\n{plain}\nreturn result" if wrapper else plain
        texts.append(function(hook, arguments.split(", "), body, decorators))
    if not texts:
        return ""
    return (
        "_config = []\n\n\ndef pytest_sessionstart(session):\n    _config.append(session.config)\n\n\n"
        + "\n\n".join(texts)
    )
