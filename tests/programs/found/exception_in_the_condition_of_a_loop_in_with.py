from program_props import *


def f(k):
    with cm(3):
        while r(k):
            b = 1
    return 2


run(f, 7)
run(f, 6)
