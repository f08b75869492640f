"""Behind the return lies the handler."""

from program_props import *


def f(k):
    try:
        return ((same) == (k) != 3)
    except ValueError as b:
        pass


run(f, 1)
