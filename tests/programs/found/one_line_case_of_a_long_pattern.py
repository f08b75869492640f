"""The body stands on the last line of its head, which is its first line to coverage.py."""

import sys

from program_props import *


def f(k):
    match m(29), k:
        case [Point(),
             *_]: same(k)
        case 1: pass
    if c: k = 1


for i in range(3 * (sys.version_info >= (3, 13))):  # 3.12: docs/reference/coverage.md
    run(f, i)
