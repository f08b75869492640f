from program_props import *


def f(k):
    yield from [
        same]
    pass


run(f, 0)
run(f, 0)
