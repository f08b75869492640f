"""3.14 and later: the frame is left at an instruction that has no line."""

from program_props import *


def f(b):
    try:
        raise g(21)
    except* ValueError:
        match b:
            case o: raise; ...
    pass


run(f, 2)
