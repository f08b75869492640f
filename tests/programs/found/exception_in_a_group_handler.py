"""What comes after the clauses of except* has no lines, but decisions."""

from program_props import *

try:
    raise OddError
except* OddError as x:
    for a in range(3):
        if c(a): break
    for a in y:
        pass
