"""The second line begins at once for the condition and, in another place, for the body."""

from program_props import *

a = b = 1
if (same or
    c): b = b = b
else:
    pass
c(0)
