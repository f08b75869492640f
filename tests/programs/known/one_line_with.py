"""Differs: see docs/reference/coverage.md."""

from program_props import *


async def f(k):
    async with acm(9): raise OddError; k = 1
    k = 2


run(f, 1)
run(f, 1)
