"""Test modules: functions, classes, unittest's classes, doctests, marks and parameters."""

from __future__ import annotations

from generator.fixtures import Fixture, make_fixtures
from generator.maker import CAPTURES, Maker, function, indent
from generator.support import HEAD

MARKS = (
    "pytest.mark.slowish", "pytest.mark.custom(@n, key='@w')", "pytest.mark.skip", "pytest.mark.skip(reason='@w')",
    "pytest.mark.skipif(True, reason='always')", "pytest.mark.skipif(False, reason='never')",
    "pytest.mark.skipif('sys.version_info > (3,)', reason='by text')", "pytest.mark.skipif('helper_missing == 1')",
    "pytest.mark.skipif('config.getoption(\"verbose\") > 5', reason='@w')", "pytest.mark.xfail",
    "pytest.mark.xfail(reason='@w')", "pytest.mark.xfail(strict=True)", "pytest.mark.xfail(run=False, reason='not run')",
    "pytest.mark.xfail(raises=ValueError)", "pytest.mark.xfail(raises=(AssertionError, ValueError), strict=True)",
    "pytest.mark.xfail('os.sep == \"/\"', reason='condition')", "pytest.mark.xfail(False, reason='no')",
    "pytest.mark.filterwarnings('ignore::UserWarning')", "pytest.mark.filterwarnings('error')",
    "pytest.mark.filterwarnings('always:@w.*:DeprecationWarning')", "pytest.mark.usefixtures('tmp_path')",
    "pytest.mark.usefixtures('capsys')", "pytest.mark.usefixtures('monkeypatch', 'caplog')",
)  # fmt: skip
PARAMETERS = (
    ("a", "[1, 2, 3]"), ("a", "['x', None, 2.5, True]"), ("a", "[[1], {}, object]"), ("a", "[1, 1, 1]"), ("a", "[]"),
    ("a", "[pytest.param(1, marks=pytest.mark.xfail), pytest.param(2, id='two'), 3]"),
    ("a", "[1, pytest.param(2, marks=pytest.mark.skip(reason='param'))]"), ("a, b", "[(1, 2), (3, 4)]"),
    ("a, b", "[(1, 'x'), pytest.param(3, 'y', id='last')]"), ("a", "[1, 2], ids=['one', 'two']"),
    ("a", "[1, 2], ids=lambda v: f'v{v}'"), ("a", "[b'raw', 'tab\\t', 'caf\\u00e9', '']"), ("a", "range(4)"),
    ("a", "[lambda: 1, ValueError]"), ("a", "[pytest.param(1, marks=[pytest.mark.slowish, pytest.mark.custom(1)])]"),
    ("a", "[1, 2], scope='module'"), ("a", "[float('nan'), 10**20, -1]"), ("a", "[1, 2], scope='class'"),
    ("a", "[pytest.param(1, id=pytest.HIDDEN_PARAM)]"),
)  # fmt: skip


class ModuleMaker:
    """Makes one module. fixtures: those known in its folder."""

    def __init__(self, maker: Maker, stem: str, fixtures: list[Fixture]) -> None:
        self.maker = maker
        self.stem = stem
        self.fixtures = fixtures

    def text(self) -> str:
        maker = self.maker
        parts = [HEAD]
        if maker.chance(0.02):
            parts.append(maker.pick((
                "pytest.skip('whole module', allow_module_level=True)\n", "pytest.importorskip('no_such_module')\n",
                "import no_such_module\n", "raise ValueError('while importing')\n", "warnings.warn('while importing', UserWarning)\n",
                "print('while importing')\n", "assert 1 == 2, 'while importing'\n",
            )))  # fmt: skip
        if maker.chance(0.15):
            marks = [m for m in self.marks(2, 1.0) if "skip" not in m or maker.chance(0.2)]
            parts.append(f"pytestmark = [{', '.join(m[1:] for m in marks)}]\n")
        text, self.fixtures = make_fixtures(maker, self.fixtures, maker.pick((0, 0, 1, 2, 3)))
        parts.append(text)
        parts += self.xunit("module", 0.1) + self.xunit("function", 0.1)
        makers = [self.test] * 6 + [self.test_class] * 2 + [self.unittest_class, self.odd]
        parts += [maker.pick(makers)() for _ in range(maker.size * maker.pick((2, 4, 6, 8)))]
        return "\n\n".join(part for part in parts if part)

    # ---- parts

    def marks(self, most: int, chance: float) -> list[str]:
        maker = self.maker
        if not maker.chance(chance):
            return []
        return ["@" + m.replace("@n", str(maker.number())).replace("@w", maker.word()) for m in maker.some(MARKS, most)]

    def xunit(self, level: str, chance: float, method: bool = False) -> list[str]:
        maker = self.maker
        texts = []
        for what in ("setup", "teardown"):
            if maker.chance(chance):
                _names, body = maker.actions(1, 0.08 if maker.together or what == "setup" else 0, ())
                arguments = {
                    "module": ["module"],
                    "function": ["function"],
                    "class": ["cls"],
                    "method": ["self", "method"],
                }
                given = arguments[level] if level == "class" or maker.chance(0.5) or method else []
                given = given[:1] if method and maker.chance(0.5) else given
                decorators = ["@classmethod"] if level == "class" else []
                body = f'step("{what}_{level}")\n{body}'
                texts.append(function(f"{what}_{level}", given, body, decorators))
        return texts

    def test(self, method: bool = False) -> str:
        """One test function with its decorators."""
        maker = self.maker
        name = maker.name("test_")
        names, body = maker.body(name)
        decorators = self.marks(2, 0.15)
        arguments, params = self.wanted(names, method)
        if maker.chance(0.2):
            params += self.parameters(arguments, decorators)
        if maker.chance(0.04):
            body += "\nreturn 5"
        if maker.makes and maker.chance(0.1):
            arguments.append("made")
        prefix = "async " if maker.chance(0.015) else ""
        if arguments and maker.chance(0.03):
            arguments.append("*")
            params.append("keyword=1")
        first = ["self"] if method else []
        everything = [*first, *[a for a in arguments if a != "*"], *params]
        if method and maker.chance(0.04):
            decorators.append("@staticmethod")
            everything.remove("self")
            body = body.replace("self.", "STATE.")
        return function(
            name, [*everything, "other='default'"] if maker.chance(0.04) else everything, body, decorators, prefix
        )

    def wanted(self, names: list[str], method: bool) -> tuple[list[str], list[str]]:
        """Built-in fixtures and some of the suite's own."""
        maker = self.maker
        own = [f.name for f in self.fixtures if not f.needs_param]
        chosen = maker.some(own, 2) if own and maker.chance(0.45) else []
        arguments = [*names, *chosen]
        maker.random.shuffle(arguments)
        return arguments, []

    def parameters(self, arguments: list[str], decorators: list[str]) -> list[str]:
        maker = self.maker
        names, values = maker.pick(PARAMETERS)
        decorators.append(f"@pytest.mark.parametrize('{names}', {values})")
        found = names.split(", ")
        if maker.chance(0.25):
            decorators.append("@pytest.mark.parametrize('other_one', [pytest.param(0, marks=pytest.mark.slowish), 9])")
            found.append("other_one")
        indirect = [f.name for f in self.fixtures if f.needs_param]
        if indirect and maker.chance(0.5):
            name = maker.pick(indirect)
            decorators.append(f"@pytest.mark.parametrize('{name}', [1, 2], indirect=True)")
            found.append(name)
        elif self.fixtures and maker.chance(0.15):  # the parameter hides the fixture
            name = maker.pick(self.fixtures).name
            if name not in arguments:
                decorators.append(f"@pytest.mark.parametrize('{name}', ['hidden', 2])")
                found.append(name)
        return found

    def test_class(self, depth: int = 0) -> str:
        maker = self.maker
        name = maker.name("Test")
        outside = self.fixtures
        parts = self.xunit("class", 0.15) + self.xunit("method", 0.15, True)
        if maker.chance(0.3):
            text, self.fixtures = make_fixtures(maker, outside, 1, method=True)
            parts.append(text)
        if maker.chance(0.05):
            parts.append("def __init__(self):\n    self.value = 1\n")
        parts += [self.test(method=True) for _ in range(maker.number(3))]
        if depth == 0 and maker.chance(0.1):
            parts.append(self.test_class(1))
        self.fixtures = outside
        if maker.chance(0.15):
            parts.insert(0, f"pytestmark = [{', '.join(m[1:] for m in self.marks(2, 1.0))}]\n")
        body = indent("\n".join(parts))
        decorators = "".join(f"{m}\n" for m in self.marks(1, 0.15))
        text = f"{decorators}class {name}:\n{body}\n"
        if depth == 0 and maker.chance(0.15):
            extra = indent(self.test(method=True))
            text += f"\n\nclass {name}More({name}):\n{extra}\n"
        return text

    def unittest_class(self) -> str:
        maker = self.maker
        name = maker.name("Case")
        asynchronous = maker.chance(0.2)
        base = "unittest.IsolatedAsyncioTestCase" if asynchronous else "unittest.TestCase"
        parts = []
        for method in ("setUp", "tearDown"):
            if maker.chance(0.4):
                _, body = maker.actions(1, 0.08 if maker.together or method == "setUp" else 0, ())
                parts.append(function(method, ["self"], f'step("{method}")\n{body}'))
        for method in ("setUpClass", "tearDownClass"):
            if maker.chance(0.3):
                _, body = maker.actions(0, 0.08, ())
                parts.append(function(method, ["cls"], f'step("{method}")\n{body}', ["@classmethod"]))
        if asynchronous and maker.chance(0.5):
            parts.append(function("asyncSetUp", ["self"], 'step("asyncSetUp")', prefix="async "))
        for _ in range(maker.number(4)):
            _, body = maker.actions(maker.pick((0, 1, 1)), 0.12, ())
            more = maker.pick(CASE_ACTIONS).replace("@n", str(maker.number())).replace("@w", maker.word())
            decorators = [maker.pick(CASE_MARKS)] if maker.chance(0.2) else []
            prefix = "async " if asynchronous and maker.chance(0.6) else ""
            parts.append(function(maker.name("test_"), ["self"], f"{more}\n{body}", decorators, prefix))
        if maker.chance(0.2):
            parts.append(
                "@pytest.fixture(autouse=True)\ndef around(self, request):\n    step('around', request.node.name)\n    yield\n"
                "    step('around over')\n"
            )
        return f"class {name}({base}):\n" + indent("\n".join(parts))

    def odd(self) -> str:
        maker = self.maker
        name = maker.name("test_")
        doctest = f'def {maker.name("documented")}():\n    """\n    >>> 1 + {maker.number()}\n    {maker.number(7)}\n    """\n'
        capture = maker.pick(CAPTURES)
        return maker.pick((
            f"{name} = lambda: None\n", f"{name} = lambda request: step('lambda', request.node.name)\n", doctest, doctest,
            f"def {name}({capture}, monkeypatch):\n    print('kept')\n    {capture}.readouterr()\n    print('more')\n    assert 0\n",
            f"@unittest.mock.patch('os.sep', '/')\ndef {name}(tmp_path):\n    assert tmp_path\n",
            f"@unittest.mock.patch('os.getpid')\ndef {name}(mocked, tmp_path):\n    assert mocked is None\n",
            f"def {name}():\n    yield 1\n" if maker.chance(0.1) else doctest, f"@unittest.skip('unittest skip')\ndef {name}():\n    pass\n",
            f"def {name}(no_such_fixture):\n    pass\n", f"class Test{name}:\n    pass\n",
            f"def {name}(request):\n    for at in range(3):\n        request.addfinalizer(lambda at=at: step('finalizer', at))\n"
            "    request.addfinalizer(lambda: _raise(KeyError('in a finalizer')))\n"
            "    request.addfinalizer(lambda: _raise(ValueError('in another')))\n",
            f"def {name}():\n    assert STATE == {{}}, STATE\n",
            f"@pytest.mark.parametrize('missing', [1])\ndef {name}():\n    pass\n",
            f"def {name}(request):\n    request.getfixturevalue('capsys')\n    print('taken')\n",
            f"import functools\n{name} = functools.partial(lambda request, n: step('partial', n), n=1)\n",
            f"def {name}(subtests, caplog):\n    with subtests.test('logs'):\n        logging.error('in a subtest')\n"
            "        warnings.warn('in a subtest', UserWarning)\n        raise ValueError('in a subtest')\n    print('after')\n",
            f"@pytest.fixture(params=[1, 2], scope='module')\ndef wide_{name}(request):\n    step('wide', request.param)\n"
            f"    yield request.param\n    step('wide down', request.param)\n\n\ndef {name}(wide_{name}):\n    assert wide_{name} == 1\n"
            f"\n\ndef {name}_again(wide_{name}, request):\n    step('again', request.node.name)\n",
            f"def {name}(request):\n    {'look_at(request)' if maker.together else 'pass'}\n    request.node.own = 1\n    assert request.node.own == 2\n",
        ))  # fmt: skip


CASE_ACTIONS = (
    "pass", "pass", "self.assertEqual(@n, @n)", "self.assertEqual(@n, -1)", "self.assertIn('@w', ['@w'])",
    "self.skipTest('skipped @w')", "self.addCleanup(step, 'cleanup', '@w')",
    "self.addCleanup(_raise, ValueError('in a cleanup'))", "self.assertRaises(ValueError, int, '@w')",
    "with self.subTest(i=@n):\n    step('in a subTest')",
    "for i in range(2):\n    with self.subTest('text @w', i=i):\n        self.assertEqual(i, 1)",
    "with self.subTest(i=1):\n    self.skipTest('in a subTest')", "with self.assertLogs('app') as found:\n    logging.getLogger('app').error('@w')",
    "with self.assertWarns(UserWarning):\n    helper.warns('@w')", "raise self.failureException('@w')",
    "self.fail('failed @w')", "self.addClassCleanup(step, 'class cleanup', '@w')", "assert {'a': 1} == {'a': @n}",
    "print('in a case @w')", "self.assertMultiLineEqual('one\\n@w', 'one\\ntwo')", "with self.assertNoLogs('app'):\n    pass",
)  # fmt: skip
CASE_MARKS = (
    "@unittest.skip('skipped')", "@unittest.expectedFailure", "@unittest.skipIf(True, 'if')", "@pytest.mark.xfail",
    "@pytest.mark.skip(reason='by pytest')", "@pytest.mark.slowish", "@pytest.mark.filterwarnings('error')",
    "@pytest.mark.usefixtures('tmp_path')", "@unittest.skipUnless(True, 'unless')",
)  # fmt: skip
