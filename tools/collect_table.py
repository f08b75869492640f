"""Writes what python/hasten/known_collect.py should say of the pytest that this Python imports.

collect_table.py            prints one line: "version cache_tag": digest
collect_table.py --write    puts it into python/hasten/known_collect.py

Run with each supported Python and release of pytest (PYTHONPATH=folder of `pip install --no-deps --target`), after
somebody has read what changed in the functions of hasten.collect.REPRODUCED.
"""

import importlib
import pathlib
import pprint
import runpy
import sys
import types

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "python" / "hasten" / "known_collect.py"
HEAD = '''"""Releases of pytest whose collection is known, as hasten.collect.digest() has it: tools/collect_table.py."""

KNOWN: dict[tuple[str, str], str] = '''


def main() -> int:
    import pytest

    sys.path.insert(0, str(ROOT / "python"))
    sys.modules.setdefault("hasten._native", types.ModuleType("hasten._native"))  # of another Python, and not needed
    from hasten import collect

    for name in collect.REPRODUCED:
        importlib.import_module(f"_pytest.{name.partition(':')[0]}")
    key, value = (pytest.__version__, sys.implementation.cache_tag), collect.digest()
    print(*key, value)
    if "--write" in sys.argv:
        known = runpy.run_path(str(TABLE))["KNOWN"]  # not imported: bytecode of the same second could be an older one's
        table = {**known, key: value}
        TABLE.write_text(HEAD + pprint.pformat(dict(sorted(table.items())), width=110) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
