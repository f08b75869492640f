"""Every plugin of the matrix does under hasten what it does under pytest: counts, reports and artefacts."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases_fixtures import CASES as FIXTURES
from cases_flow import CASES as FLOW
from cases_reports import CASES as REPORTS
from plugin_case import Case, Result, differences, run

CASES = [*FIXTURES, *FLOW, *REPORTS]
PAIRS = [pytest.param(case, start, id=f"{case.label}-{start}") for case in CASES for start in case.starts]


@pytest.fixture(scope="module")
def plain_results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """Plain pytest's results, made when first asked for."""
    return {}


@pytest.mark.parametrize(("case", "start"), PAIRS)
def test_plugin_works_as_in_plain_pytest(
    case: Case,
    start: str,
    plugin_python: str,
    plain_results: dict[str, Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    own = run(case, plugin_python, start, tmp_path_factory.mktemp(start) / "suite")
    if case.holds:
        case.holds(own)
    if not case.against:
        return
    if case.label not in plain_results:
        folder = tmp_path_factory.mktemp(case.against) / "suite"
        plain_results[case.label] = run(case, plugin_python, case.against, folder)
    plain = plain_results[case.label]
    assert plain.reports, f"pytest ran nothing\n{plain.text()}"
    found = differences(case, plain, own)
    assert not found, "\n".join([*found, "---- pytest:", plain.text(), "---- hasten:", own.text()])


def test_every_requirement_has_a_case() -> None:
    """requirements.txt and the matrix name the same distributions (above what these need)."""
    text = (Path(__file__).parent / "requirements.txt").read_text().partition("\n# What they need")[0]
    wanted = {line.partition("==")[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert wanted == {case.name for case in CASES} | {"pytest"}


def test_documented_versions_are_the_tested_ones() -> None:
    """docs/reference/plugins.md has a row for each requirement, with its version."""
    root = Path(__file__).parents[2]
    table = (root / "docs/reference/plugins.md").read_text()
    for line in (
        (Path(__file__).parent / "requirements.txt").read_text().partition("\n# What they need")[0].splitlines()
    ):
        if line and not line.startswith(("#", "pytest==")):
            name, _, version = line.partition("==")
            assert f"| {name} | {version} |" in table, f"{name} {version} has no row"
