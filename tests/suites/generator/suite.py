"""A generated suite: its files, its pytest.ini and the arguments of its run."""

from __future__ import annotations

import dataclasses
import json
import pathlib

from generator.fixtures import make_fixtures
from generator.hooks import make_hooks, make_reporting
from generator.maker import Maker
from generator.modules import ModuleMaker
from generator.support import HEAD, HELPER, STEPS

# What pytest.ini may say. The first part of each is its key: only one line of a kind.
INI = (
    "xfail_strict = true", "console_output_style = classic", "console_output_style = count", "log_level = INFO",
    "log_level = DEBUG", "junit_family = xunit1", "junit_logging = all", "junit_logging = system-out",
    "junit_log_passing_tests = false", "junit_duration_report = call", "filterwarnings = error::UserWarning",
    "filterwarnings = error", "filterwarnings = ignore::DeprecationWarning", "filterwarnings = default",
    "filterwarnings = always\n    ignore:.*again:RuntimeWarning", "usefixtures = tmp_path", "usefixtures = capsys",
    "python_functions = test_* documented*", "python_classes = Test Case", "enable_assertion_pass_hook = true",
    "log_format = %(levelname)s-%(message)s", "empty_parameter_set_mark = xfail", "tmp_path_retention_policy = none",
    "log_auto_indent = true", "verbosity_assertions = 2", "truncation_limit_lines = 3", "faulthandler_timeout = 60",
    "log_cli = false", "verbosity_subtests = 1", "strict = true", "doctest_optionflags = ELLIPSIS",
    "disable_test_id_escaping_and_forfeit_all_rights_to_community_support = true", "log_file = own.log",
)  # fmt: skip
# Arguments for any suite, and those whose effect depends on what has run before.
ARGUMENTS = (
    ["-rA"], ["-rfEsxXpP"], ["-s"], ["--capture=sys"], ["--capture=tee-sys"], ["--tb=short"], ["--tb=long"], ["--tb=line"],
    ["--tb=no"], ["-W", "error"], ["-W", "ignore::UserWarning"], ["-W", "error::pytest.PytestUnraisableExceptionWarning"],
    ["--runxfail"], ["-k", "not 3"], ["-k", "1 or 2 or Test"], ["-m", "not slowish"], ["--strict-markers"],
    ["-p", "no:logging"], ["-p", "no:warnings"], ["-p", "no:unraisableexception"], ["-p", "no:threadexception"],
    ["-p", "no:doctest"], ["-p", "no:cacheprovider"], ["-p", "no:faulthandler"], ["-p", "no:unittest"], ["-p", "no:tmpdir"],
    ["-p", "no:skipping"], ["-p", "no:assertion"], ["--assert=plain"], ["--doctest-modules"], ["-v"], ["-vv"], ["-q"],
    ["--show-capture=no"], ["--show-capture=log"], ["--disable-warnings"], ["--log-level=INFO"], ["-l"], ["--no-summary"],
    ["--import-mode=importlib"], ["--durations=3"], ["--no-header"], ["--continue-on-collection-errors"], ["-o", "xfail_strict=true"], ["--color=yes"],
    ["-p", "no:subtests"], ["--force-short-summary"], ["--strict-config"], ["--xfail-tb"],
    ["--log-file=own.log", "--log-file-level=INFO"], ["-p", "no:monkeypatch"], ["-p", "no:recwarn"],
)  # fmt: skip
ORDERED = (["-x"], ["--maxfail=2"], ["--lf"], ["--ff"], ["--nf"], ["-x", "--lf"])


@dataclasses.dataclass
class Suite:
    """together: compared in one process only. again: run a second time with these arguments instead (--lf)."""

    files: dict[str, str]
    args: list[str]
    together: bool
    again: list[str] | None = None
    env: dict[str, str] = dataclasses.field(default_factory=dict)

    def write(self, folder: pathlib.Path) -> None:
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def save(self, folder: pathlib.Path) -> None:
        """As write(), with what load() needs besides the files."""
        self.write(folder)
        facts = {"args": self.args, "together": self.together, "again": self.again, "env": self.env}
        (folder / "suite.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: pathlib.Path) -> Suite:
        facts = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
        files = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and path.suffix in (".py", ".ini", ".txt", ".own") and "__pycache__" not in name:
                files[name] = path.read_text(encoding="utf-8")
        return cls(files, facts["args"], facts["together"], facts["again"], facts["env"])


def make(seed: int) -> Suite:
    """The suite of this seed."""
    maker = Maker(seed)
    files = {"steps.py": STEPS.lstrip(), "helper.py": HELPER.lstrip()}
    text, fixtures = make_fixtures(maker, [], maker.pick((0, 1, 2, 3, 4)))
    hooks = make_hooks(maker, maker.pick((0, 0, 0, 1, 2, 4)), True)
    files["conftest.py"] = "\n\n".join(p for p in (HEAD, text, hooks, make_reporting(maker)) if p)
    maker.makes = "'made' in" in hooks
    for at in range(maker.pick((1, 2, 2, 3))):
        files[f"test_m{at}.py"] = ModuleMaker(maker, f"m{at}", fixtures).text()
    if maker.chance(0.4):
        _folder(maker, files, fixtures)
    if maker.chance(0.1):
        files["documented.txt"] = f"Text\n\n>>> {maker.number()} + 1\n3\n>>> print('a')\na\n"
        files["test_documented.txt"] = files["documented.txt"]
    if maker.chance(0.1):
        files["thing.own"] = "own\n"
    files["pytest.ini"] = _ini(maker)
    args, again = _arguments(maker)
    if any(
        ".dup2(" in text for text in files.values()
    ):  # without capture of descriptors pytest's own output goes there
        args, again = (words and [w for w in words if w != "-s" and "--capture" not in w] for words in (args, again))
    env = {} if maker.chance(0.3) else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # foreign plugins: hypothesis is there
    return Suite(files, args, maker.together, again, env)


def _folder(maker: Maker, files: dict[str, str], fixtures) -> None:
    if maker.chance(0.5):
        files["sub/__init__.py"] = ""
    if maker.chance(0.7):
        text, fixtures = make_fixtures(maker, fixtures, maker.pick((0, 1, 2)))
        files["sub/conftest.py"] = "\n\n".join(
            p for p in (HEAD, text, make_hooks(maker, maker.pick((0, 1, 2)), False)) if p
        )
    for at in range(maker.pick((1, 2))):
        files[f"sub/test_s{at}.py"] = ModuleMaker(maker, f"s{at}", fixtures).text()


def _ini(maker: Maker) -> str:
    lines = ["[pytest]", "pythonpath = .", "markers =", "    slowish: some", "    custom: own", ""]
    found: dict[str, str] = {}
    for line in maker.some(INI, 3) if maker.chance(0.6) else []:
        found.setdefault(line.partition(" =")[0], line)
    return "\n".join(lines[:-1] + list(found.values())) + "\n"


def _arguments(maker: Maker) -> tuple[list[str], list[str] | None]:
    chosen = maker.some(ARGUMENTS, 3) if maker.chance(0.8) else []
    if not maker.together:  # a test's filters stay for the next module then
        chosen = [words for words in chosen if words != ["-p", "no:warnings"]]
    args = [word for words in chosen for word in words]
    again = None
    if maker.together and maker.chance(0.15):
        ordered = maker.pick(ORDERED)
        if any("f" in word for word in ordered if word.startswith("--") and "max" not in word):
            again = [*args, *ordered]
        else:
            args += ordered
    return args, again


def with_copies(suite: Suite, n: int) -> Suite:
    """The same with n more copies of each test module: enough files for several collectors."""
    copies = {
        name.replace("test_m", f"test_{chr(ord('n') + i)}"): text
        for name, text in suite.files.items()
        for i in range(n)
        if name.startswith("test_m")
    }
    return dataclasses.replace(suite, files=suite.files | copies)
