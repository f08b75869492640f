"""Writes tests/fuzz/seeds/<target>.txt from what `make fuzz` has found: few small inputs that reach everything.

Usage: python tools/fuzz_seeds.py [TARGET ...]   (after `make fuzz`; without names all targets)
       python tools/fuzz_seeds.py --unpack       (the other way round: `make fuzz` begins with them)
"""

import hashlib
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
MOST_BYTES = 400
MOST_SEEDS = 120


def merged(program: pathlib.Path, corpus: pathlib.Path) -> list[bytes]:
    """Inputs that together reach what the whole corpus reaches, or of every size some of them."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "-merge=1", f"-max_len={MOST_BYTES}", folder, corpus]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        inputs = [path.read_bytes() for path in pathlib.Path(folder).iterdir()]
    inputs.sort(key=lambda data: (len(data), data))
    return inputs[:: len(inputs) // MOST_SEEDS + 1]


def unpack() -> int:
    for seeds in (ROOT / "tests/fuzz/seeds").glob("fuzz_*.txt"):
        corpus = ROOT / "build/fuzz/corpus" / seeds.stem
        corpus.mkdir(parents=True, exist_ok=True)
        for line in seeds.read_text().splitlines():
            data = bytes.fromhex(line)
            (corpus / hashlib.sha1(data).hexdigest()).write_bytes(data)
    return 0


def main(names: list[str]) -> int:
    if names == ["--unpack"]:
        return unpack()
    found = sorted((ROOT / "build/fuzz/corpus").glob("fuzz_*"))
    for corpus in found:
        if names and corpus.name not in names:
            continue
        inputs = merged(ROOT / "build/fuzz/tests/fuzz" / corpus.name, corpus)
        (ROOT / "tests/fuzz/seeds" / f"{corpus.name}.txt").write_text("".join(f"{data.hex()}\n" for data in inputs))
        print(f"{corpus.name}: {len(inputs)} inputs, {sum(map(len, inputs))} bytes")
    return 0 if found else 1


sys.exit(main(sys.argv[1:]))
