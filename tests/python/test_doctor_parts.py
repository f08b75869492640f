"""Parts of `hasten doctor` that need no suite: what pairs of runs say, edits of files, fixes kept or taken back."""

from __future__ import annotations

import configparser
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hasten.doctor import fix, report
from hasten.doctor.__main__ import seconds
from hasten.doctor.advice import Candidate, Facts, IniEdit, Saving
from hasten.doctor.examine import Examination
from hasten.doctor.measure import Rounds, differing, judge, volatile
from hasten.doctor.rules import collection, parallel, plugins, waiting
from hasten.doctor.suite import Run, SuiteError, Variant

TESTPATHS = IniEdit("testpaths", ["tests", "more"])
ADDOPTS = IniEdit("addopts", ["-p", "no:cov"])


def test_pairs_that_agree_are_certain_and_noise_is_nothing() -> None:
    assert judge([1.0, 1.1, 0.9], 10.0) == Saving(1.0, pytest.approx(0.14826), 3, "certain", 0.1)
    assert judge([0.5, -0.4, 0.1, -0.2, 0.3], 10.0).sure == ""
    assert judge([0.9, 1.0, -0.1, 1.1, 1.0, 0.9], 10.0).sure == "likely"
    assert judge([-1.0, -1.1, -0.9], 10.0).sure == ""
    assert judge([1.0, 1.0], 10.0).sure == ""  # two say nothing about noise
    assert judge([], 10.0).seconds == 0.0


class FakeSuite:
    """Each run costs what its variant says."""

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs, self.asked = costs, []

    def run(self, variant: Any) -> Run:
        name = variant.args[0] if variant.args else "plain"
        self.asked.append(name)
        return Run(quiet_s=self.costs[name] + 0.01 * (len(self.asked) % 3), outcomes={"t": "passed"})

    collect = run


def test_rounds_are_interleaved_and_drop_what_does_not_pay() -> None:
    suite = FakeSuite({"plain": 5.0, "good": 3.0, "bad": 6.0, "none": 5.0})
    candidates = [Candidate(name, name, "", Variant((name,))) for name in ("good", "bad", "none")]
    Rounds(suite, 5.0, 0.1, 5, float("inf"), lambda text: None).measure(candidates)  # type: ignore[arg-type]
    assert [c.saving.sure for c in candidates] == ["certain", "", ""]
    assert candidates[0].saving.seconds == pytest.approx(2.0, abs=0.03)
    assert {name: suite.asked.count(name) for name in suite.costs} == {"plain": 5, "good": 5, "bad": 2, "none": 2}


def test_outcomes_are_compared_by_test() -> None:
    plain, other = {"a": "passed", "b": "failed", "c": "passed"}, {"a": "failed", "c": "failed", "d": "passed"}
    found = differing(plain, other, {"c"})
    assert found == ["a: passed -> failed", "b: failed -> not there", "d: not there -> passed"]


def test_node_ids_that_are_others_in_each_run_are_no_difference() -> None:
    first, second = {"a[1:01]": "passed", "b[x]": "passed"}, {"a[1:02]": "passed", "b[x]": "passed"}
    unstable = volatile(first, second)
    assert unstable == {"a["}
    assert differing(first, {"a[1:03]": "passed", "b[x]": "passed"}, unstable) == []
    assert differing(first, {"a[1:03]": "passed", "b[x]": "failed"}, unstable) == ["b[x]: passed -> failed"]
    assert volatile({"c": "passed"}, {}) == set()


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        ("[pytest]\n# why\nx = true\n", TESTPATHS, "[pytest]\ntestpaths = tests more\n# why\nx = true\n"),
        ("[pytest]\ntestpaths =\n    old\n    other\n# end\n", TESTPATHS, "[pytest]\ntestpaths = tests more\n# end\n"),
        ("[pytest]\naddopts = -q\n", ADDOPTS, "[pytest]\naddopts = -q -p no:cov\n"),
        ("[pytest]\naddopts =\n    -q\n    # why\n    -ra\n[other]\nx = 1\n", ADDOPTS,
         "[pytest]\naddopts =\n    -q\n    # why\n    -ra -p no:cov\n[other]\nx = 1\n"),
        ("[pytest]", ADDOPTS, "[pytest]\naddopts = -p no:cov\n"),
        ("", ADDOPTS, "[pytest]\naddopts = -p no:cov\n"),
        ("[tox]\nx = 1\n", ADDOPTS, "[tox]\nx = 1\n\n[pytest]\naddopts = -p no:cov\n"),
        ("[pytest]\r\naddopts: -q\r\n", ADDOPTS, "[pytest]\r\naddopts: -q -p no:cov\r\n"),
        ("[other]\naddopts = -v\n[pytest]\nminversion = 7\n", ADDOPTS,
         "[other]\naddopts = -v\n[pytest]\naddopts = -p no:cov\nminversion = 7\n"),
    ],
)  # fmt: skip
def test_ini_files_keep_everything_else(before: str, edit: IniEdit, after: str) -> None:
    found = fix.edited("pytest.ini", before, edit)
    assert found == after
    configparser.ConfigParser(interpolation=None).read_string(found)


def test_setup_cfg_has_another_section() -> None:
    assert fix.edited("setup.cfg", "[tool:pytest]\n", ADDOPTS) == "[tool:pytest]\naddopts = -p no:cov\n"


def test_toml_files_keep_comments() -> None:
    pytest.importorskip("tomlkit")
    text = '# top\n[tool.pytest.ini_options]\naddopts = ["-ra"] # short\n# about strictness\nxfail_strict = true\n'
    found = fix.edited("pyproject.toml", fix.edited("pyproject.toml", text, ADDOPTS), TESTPATHS)
    assert "# top" in found
    assert "# short" in found
    assert "# about strictness" in found
    options = tomllib.loads(found)["tool"]["pytest"]["ini_options"]
    assert options == {"addopts": ["-ra", "-p", "no:cov"], "xfail_strict": True, "testpaths": ["tests", "more"]}
    words = fix.edited("pyproject.toml", '[tool.pytest.ini_options]\naddopts = "-ra"\n', ADDOPTS)
    assert tomllib.loads(words)["tool"]["pytest"]["ini_options"]["addopts"] == "-ra -p no:cov"
    new = fix.edited("pyproject.toml", '[project]\nname = "x"\n', IniEdit("core", "sysmon", "coverage:run"))
    assert tomllib.loads(new)["tool"]["coverage"]["run"]["core"] == "sysmon"
    own = fix.edited("pyproject.toml", "[tool.pytest]\nstrict = true\n", IniEdit("log_cli", "false"))
    assert tomllib.loads(own)["tool"]["pytest"]["log_cli"] is False
    with pytest.raises(fix.FixError, match="cannot be edited"):
        fix.edited("pyproject.toml", "[broken", ADDOPTS)


def test_a_missing_tomlkit_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tomlkit", None)
    with pytest.raises(fix.FixError, match="needs the package tomlkit: pip install tomlkit"):
        fix.edited("pyproject.toml", "", ADDOPTS)


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "pytest.ini"
    path.write_text("[pytest]\n")
    path.chmod(0o640)
    fix.write(str(path), "[pytest]\nx = 1\n")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("[pytest]\nx = 1\n", 0o640)
    assert [p.name for p in tmp_path.iterdir()] == ["pytest.ini"]
    fix.write(str(path), "")
    assert not path.exists()


class EditedSuite:
    """A suite whose cost and outcomes come from its pytest.ini."""

    part = None

    def __init__(self, path: Path, with_it: float, outcome: str) -> None:
        self.path, self.with_it, self.outcome, self.stop_at, self.n = path, with_it, outcome, 0, 0

    def run(self, *_args: Any, **_kwargs: Any) -> Run:
        self.n += 1
        if self.n == self.stop_at:
            raise KeyboardInterrupt
        edited = "testpaths" in self.path.read_text()
        return Run(quiet_s=self.with_it if edited else 2.0, outcomes={"t": self.outcome if edited else "passed"})

    collect = run


def examined(path: Path, suite: EditedSuite) -> tuple[Candidate, Examination]:
    path.write_text("[pytest]\n# mine\n")
    examination = Examination(suite, 1, 3, 60.0, lambda text: None)  # type: ignore[arg-type]
    examination.plain = {"t": "passed"}
    candidate = Candidate("testpaths", "no testpaths", "", where="collect", edits=[TESTPATHS])
    candidate.saving = Saving(1.0, 0.0, 3, "certain", 0.5)
    seen = {"rootdir": str(path.parent), "inipath": str(path)}
    examination.fix(Facts(seen, {}, 2.0, 0.1, [], 1, {}), [candidate])
    return candidate, examination


def test_a_fix_that_pays_is_kept_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "pytest.ini"
    candidate, examination = examined(path, EditedSuite(path, 1.0, "passed"))
    assert candidate.fixed == "kept in pytest.ini: 1.00 s saved, certain"
    assert path.read_text() == "[pytest]\ntestpaths = tests more\n# mine\n"
    assert "+testpaths = tests more" in examination.diff


@pytest.mark.parametrize(
    ("cost", "outcome", "said"), [(2.0, "passed", "not above the noise"), (1.0, "failed", "outcomes differ")]
)
def test_a_fix_that_does_not_pay_or_breaks_is_taken_back(tmp_path: Path, cost: float, outcome: str, said: str) -> None:
    path = tmp_path / "pytest.ini"
    candidate, examination = examined(path, EditedSuite(path, cost, outcome))
    assert candidate.fixed.startswith("taken back")
    assert said in candidate.fixed
    assert path.read_text() == "[pytest]\n# mine\n"
    assert examination.diff == ""


def test_what_was_in_the_noise_is_measured_again_when_a_fix_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "pytest.ini"
    path.write_text("[pytest]\n")

    class Noisy(EditedSuite):
        def run(self, variant: Any = None, *_args: Any, **_kwargs: Any) -> Run:
            seconds = 3.0 - ("testpaths" in path.read_text()) * 2.0 - ("log_cli" in path.read_text()) * 0.5
            tried = bool(getattr(variant, "args", ())) * 0.5
            return Run(quiet_s=seconds - tried, outcomes={"t": "passed"})

        collect = run

    examination = Examination(Noisy(path, 0.0, ""), 1, 3, 60.0, lambda text: None)  # type: ignore[arg-type]
    examination.plain = {"t": "passed"}
    first = Candidate("testpaths", "", "", where="collect", edits=[TESTPATHS])
    first.saving = Saving(2.0, 0.0, 3, "certain", 0.5)
    second = Candidate("log_cli", "", "", Variant(("x",)), edits=[IniEdit("log_cli", "false")])
    seen = {"rootdir": str(tmp_path), "inipath": str(path)}
    examination.fix(Facts(seen, {}, 3.0, 0.1, [], 1, {}), [first, second])
    assert [one.fixed.partition(":")[0] for one in (first, second)] == ["kept in pytest.ini"] * 2
    assert second.saving.seconds == pytest.approx(0.5)


@pytest.mark.parametrize("stop_at", range(1, 8))
def test_a_fix_that_is_interrupted_leaves_the_old_file(tmp_path: Path, stop_at: int) -> None:
    path = tmp_path / "pytest.ini"
    suite = EditedSuite(path, 1.0, "passed")
    suite.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        examined(path, suite)
    assert path.read_text() == "[pytest]\n# mine\n"


def facts(**seen: Any) -> Facts:
    empty: dict[str, Any] = {
        "rootdir": "/p", "named": [], "ini": {"testpaths": [], "norecursedirs": [".*"], "addopts": []}, "sleeps": {},
        "connections": [], "ports": {}, "written": {}, "folders": {}, "files": ["/p/tests/test_a.py"], "plugins": [],
        "sleepers": {}, "tests": {}, "sqlite": {}, "loaded": [], "attempts": {}, "fixtures": [], "unused": {},
        "gc": {"before": 0.0, "tests": 0.0}, "rewriting": {}, "rewritten": {}, "unknown_settings": [],
        "empty_testpaths": [], "options": {}, "modules": {}, "dont_write_bytecode": False, "inipath": "",
    }  # fmt: skip
    return Facts({**empty, **seen}, {}, 10.0, 0.2, [], 2, {"a": "passed", "b": "passed"})


def test_folders_searched_in_vain_give_testpaths_or_norecursedirs() -> None:
    folders = {f"/p/data/{i}": 1 for i in range(30)} | {"/p/tests": 1}
    (found,) = collection.find(facts(folders=folders))
    assert (found.key, found.edits) == ("testpaths", [IniEdit("testpaths", ["tests"])])  # type: ignore[union-attr]
    (found,) = collection.find(facts(folders=folders, files=["/p/test_top.py"]))
    assert found.edits == [IniEdit("norecursedirs", [".*", "data", "tests"])]  # type: ignore[union-attr]
    assert list(collection.find(facts(folders={"/p/tests": 1}))) == []
    assert list(collection.find(facts(folders=folders, named=["tests"]))) == []


def test_plugins_are_left_that_are_used_or_work_by_being_there() -> None:
    (found,) = plugins.find(
        facts(
            plugins=[
                {"distribution": "pytest-mock", "names": ["pytest_mock"], "used": ["fixture mocker"]},
                {"distribution": "pytest-randomly", "names": ["randomly"], "used": []},
                {"distribution": "pytest-idle", "names": ["idle"], "used": []},
            ]
        )
    )
    assert found.edits == [IniEdit("addopts", ["-p", "no:idle"])]  # type: ignore[union-attr]


def test_sleeps_shared_files_and_connections() -> None:
    seen = facts(
        sleeps={"/p/a.py:3": [2, 1.0], "/p/b.py:4": [1, 0.1], "/lib/c.py:5": [1, 2.0]},
        connections=[["10.0.0.1:80", "/p/a.py:9", 2, 0.5]],
        written={"/p/x.db": ["a", "b"], "/p/y.db": ["a"]},
    )
    keys = [found.key for found in waiting.find(seen)]
    assert keys == ["sleep a.py:3", "sleeps elsewhere", "network"]
    found = {one.key: one for one in parallel.find(seen)}
    assert found["shared"].details == ["x.db: written by a, b"]
    assert "parallel" in found


def test_the_page_ranks_and_hides_what_does_not_pay() -> None:
    def candidate(name: str, saved: float, sure: str, differences: tuple[str, ...] = ()) -> Candidate:
        one = Candidate(name, f"title {name}", f"do {name}")
        one.saving, one.differences = Saving(saved, 0.1, 5, sure, saved / 10), list(differences)
        return one

    all_of_them = [candidate("a", 3.0, "certain"), candidate("b", 2.0, "likely", ("t: passed -> failed",)),
                   candidate("c", 0.1, "")]  # fmt: skip
    page = report.Page(7, 10.0, [report.Part("tests", 9.0)], all_of_them, [], 30, 60.0)
    text = report.text(page)
    assert "title a" in text.split("changes outcomes")[0]
    assert "title b" in text.split("changes outcomes")[1]
    assert "title c" not in text
    assert page.could_save() == 3.0
    all_of_them[0].fixed = "kept in pytest.ini"
    assert page.could_save() == 0.0


def test_budgets() -> None:
    assert [seconds(text) for text in ("500ms", "2s", "0", "1.5m", None)] == [0.5, 2.0, 0.0, 90.0, None]
    with pytest.raises(SuiteError, match="is no time"):
        seconds("soon")
