"""docs/architecture.md tells the truth about the tree, and the tree keeps its rules."""

import pathlib
import re
import subprocess
import sys
from collections import Counter

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:src|python|tests|tools|docs|bench)/[\w./-]*)`", PAGE)))


def test_the_page_names_paths() -> None:
    assert len(NAMED) > 10


@pytest.mark.parametrize("path", NAMED)
def test_every_path_the_page_names_exists(path: str) -> None:
    there = ROOT / path
    assert there.is_file() or (there.is_dir() and any(there.iterdir()))  # git keeps no empty folders


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#:]+)\)", PAGE))
def test_every_page_it_links_to_exists(target: str) -> None:
    assert (ROOT / "docs" / target).exists()


def test_every_source_folder_is_named() -> None:
    folders = {f"src/{path.name}/" for path in (ROOT / "src").iterdir() if path.is_dir()}
    assert folders - set(NAMED) == set()


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "decisions").glob("*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("tool", ["layers", "sizes"])
def test_the_tree_keeps_its_rules(tool: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / f"{tool}.py", ROOT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_test_files_have_names_of_their_own():
    """`pytest tests` imports them all into one process, by name."""
    names = Counter(path.name for path in (ROOT / "tests").glob("*/test_*.py"))
    assert not [name for name, n in names.items() if n > 1]
