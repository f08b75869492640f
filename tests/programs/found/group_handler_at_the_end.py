from program_props import *

try:
    r(28)
except* TypeError as x:
    match x:
        case {'k': 1}:
            pass
