"""The exception goes on after an `if` that is the last statement of a `finally`."""

from program_props import *


def f(k):
    try:
        if c(k): raise ValueError
        b = 1
    finally:
        if c(k + 1):
            a = 2


def nested(k):
    try:
        try:
            r(k)
        finally:
            for x in xs(k):
                if c(k): y = 1
    except Exception:
        z = 1


for k in range(9):
    run(f, k)
    run(nested, k)
