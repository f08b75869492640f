"""A line with one way out, and another one in code that is not compiled."""

from program_props import *
def f1(a=0, b=1, *y):
    for y in xs(26):
        if c(1):
            pass
        else:
            try:
                pass
            finally: continue; break
run(f1, 2, c)
