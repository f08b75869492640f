"""A condition is over where its last line, a constant, has gone."""

from program_props import *
def f10(a=0, b=1, *y):
    if c(1):
        pass
    elif (r and 
        0):
        ...
    else: y = 3
run(f10, 0, c)
