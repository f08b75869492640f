"""A branch leads into code of its own line that raises: it has not led to the next line."""

from program_props import *

if c: t: unknown
pass
