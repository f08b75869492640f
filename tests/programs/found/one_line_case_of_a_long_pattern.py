"""The body stands on the last line of its head, which is its first line to coverage.py."""

from program_props import *


def f(k):
    match m(29), k:
        case [Point(),
             *_]: same(k)
        case 1: pass
    if c: k = 1


run(f, 1)
run(f, 2)
run(f, 3)
