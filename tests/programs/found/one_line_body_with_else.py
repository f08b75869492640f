"""3.14 and later tell the unit after NOT_TAKEN as where a branch falls to."""

from program_props import *


def f(k):
    if c(k): pass
    else:
        pass
    a = c(0)


run(f, 14)
run(f, 14)
