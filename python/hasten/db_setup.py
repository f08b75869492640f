"""``python -m hasten.db_setup module:callable``: fills a template by callable(url) (src/db/setup.c starts it)."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


def main() -> int:
    module, _, path = sys.argv[1].partition(":")
    sys.path.insert(0, os.getcwd())
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    found(os.environ["HASTEN_DB_URL"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
