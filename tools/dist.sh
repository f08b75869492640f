#!/bin/sh
# Builds dist/: the source distribution, and for each Python named a wheel that auditwheel accepts.
# Usage: dist.sh PYTHON...    auditwheel, patchelf and build must be on PATH (make dist sees to it).
set -eu
cd "$(dirname "$0")/.."
raw=build/wheels
rm -rf "$raw" && mkdir -p "$raw" dist

for python in "$@"; do
    "$python" -m venv "$raw/venv"
    "$raw/venv/bin/python" -m pip install -q 'meson-python>=0.16' meson ninja
    PATH="$(pwd)/$raw/venv/bin:$PATH" "$raw/venv/bin/python" -m pip wheel -q --no-deps --no-build-isolation -w "$raw" .
    rm -rf "$raw/venv"
done
for wheel in "$raw"/*.whl; do
    auditwheel show "$wheel"
    auditwheel repair -w dist "$wheel"
done
"${PY:-python3}" -m build -q --sdist -o dist .
ls -l dist
