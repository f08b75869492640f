"""What README.md and docs/ say is so: links, commands, options, tests and versions that they name are there."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "bench/README.md"])
# cli.md is made from the program's help (tests/e2e/test_reference.py); plugins.md names the plugins' own options.
USERS = [
    ROOT / "README.md",
    ROOT / "docs/guide/run.md",
    *(ROOT / "docs/guide" / f"{name}.md" for name in ("cov", "databases", "doctor", "imports", "isolate", "resources")),
    ROOT / "docs/reference/differences.md",
    ROOT / "docs/reference/xdist.md",
]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]

# Of other programs: pytest's plugins, and what is named as not being there.
FOREIGN = {
    "--create-db",
    "--no-migrations",
    "--reuse-db",
    "-wal",
    "-E",
    "-I",
    "-S",
    "--junitxml",
    "--traceconfig",
    "--cov",
    "--cov-fail-under",
    "--px",
    "--rsyncdir",
    "--rsyncignore",
    "-f",
}
FIGURE = re.compile(r"\b\d+(?:\.\d+)? ?(?:s|ms|us|ns|MB|MiB|GB|%)(?: CPU)?(?![\w%])")
COMMAND = re.compile(r"`(?:python bench/|make (?:bench|corpus|coverage)|\./try)")


def words(page: pathlib.Path) -> list[str]:
    """Code of a page: spans, and the lines of its blocks without their comments."""
    text = page.read_text()
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return spans + [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]


def sections(page: pathlib.Path) -> list[str]:
    return re.split(r"^#+ .*$", page.read_text(), flags=re.MULTILINE)


def anchors(page: pathlib.Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{name} links to {target}"


def test_figures_in_the_readme_have_their_command_in_the_same_section() -> None:
    with_figures = [text for text in sections(ROOT / "README.md") if FIGURE.search(text)]
    assert with_figures, "the README has measured figures"
    for text in with_figures:
        found = [match[0] for match in FIGURE.finditer(text)]
        assert COMMAND.search(text), f"no command beside {found}"
        assert re.search(r"\b20\d\d-\d\d-\d\d\b", text), f"no date beside {found}"


def test_commands_that_pages_name_are_there() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    scripts, goals = set(), set()
    for page in PAGES:
        for code in words(page):
            goals |= set(re.findall(r"(?:^|\s)make ([a-z][a-z-]*)(?![\w./])", code))
            scripts |= set(re.findall(r"(?:^|\s)(?:python |\./)((?:bench|tools)/[\w/]+\.py|try|check)\b", code))
    assert {"check", "ready"} <= goals
    assert goals - targets == set()
    assert {"try", "check", "bench/corpus.py"} <= scripts
    assert [name for name in sorted(scripts) if not (ROOT / name).is_file()] == []


def says(*command: str) -> str:
    env = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


def option_names(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w/<-])--?[A-Za-z][A-Za-z-]*[A-Za-z]|(?<![\w/<-])-[A-Za-z]\b", text))


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> set[str]:
    """All that `hasten run` understands: its own, pytest's, and the plugin's with those that help does not show."""
    program = pathlib.Path(sys.executable).parent / "hasten"
    shown = says(str(program), "run", "--help") + says(
        sys.executable, "-m", "pytest", "--help", "-p", "no:cacheprovider"
    )
    modules = ("options", "xdist", "cov_options", "cov_diff")
    declared = "".join((ROOT / f"python/hasten/{name}.py").read_text() for name in modules)
    declared += says(str(program), "cov", "which", "--help")
    for verb in re.findall(r"^  ([a-z]+) ", says(str(program), "--help"), re.MULTILINE):
        declared += says(str(program), verb, "--help")
    return option_names(shown) | option_names(declared.replace('"', " "))


@pytest.mark.parametrize("page", USERS, ids=lambda path: path.name)
def test_options_that_users_read_of_are_understood(options: set[str], page: pathlib.Path) -> None:
    named = set()
    for code in words(page):
        if re.match(r"(?:hasten|pytest|-)", code):
            named |= option_names(code)
    assert sorted(named - options - FOREIGN) == []


def test_verbs_that_pages_name_are_commands() -> None:
    overview = says(str(pathlib.Path(sys.executable).parent / "hasten"), "--help")
    verbs = set(re.findall(r"^  ([a-z]+) ", overview, re.MULTILINE))
    named = {verb for page in USERS for code in words(page) for verb in re.findall(r"^hasten ([a-z]+)\b", code)}
    assert "run" in named
    assert named - verbs == set()


def test_versions_in_the_readme_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = [re.search(r":: (3\.\d+)$", text) for text in project["classifiers"]]
    numbers = sorted((found[1] for found in versions if found), key=lambda text: int(text.split(".")[1]))
    readme = (ROOT / "README.md").read_text()
    assert f"CPython {numbers[0]} to {numbers[-1]}" in readme
    assert project["requires-python"] == f">={numbers[0]}"
    lowest = re.search(r"pytest>=([\d.]+)", " ".join(project["dependencies"]))
    assert lowest
    assert f"pytest {lowest[1]} to " in readme


def test_tests_that_the_xdist_page_names_are_there() -> None:
    page = (ROOT / "docs/reference/xdist.md").read_text()
    files = dict(re.findall(r"\b([A-Z]) = (tests/[\w/]+\.py)", page))
    assert len(files) >= 2
    functions = {key: re.findall(r"def (test_\w+)", (ROOT / path).read_text()) for key, path in files.items()}
    n = 0
    for row in re.findall(r"^\|.*\|([^|]*)\|$", page, re.MULTILINE):
        key = ""
        for name in re.split(r",\s*", row.strip()):
            key, name = name.split() if re.match(r"[A-Z] \w+$", name) else (key, name)
            if key and re.fullmatch(r"\w+", name):
                n += 1
                assert any(name in one for one in functions[key]), f"{key} {name} in docs/reference/xdist.md"
    assert n > 20
