"""The exception closes the generator of the loop: GeneratorExit is raised in there before this one is handled."""

from program_props import *

try:
    for a in (y
    for y in xs(3)): raise OddError
except* ValueError:
    pass
