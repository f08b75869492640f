from program_props import *


async def f(k):
    async with (
        acm(k) as x
    ):
        x = yield k


run(f, 33)
