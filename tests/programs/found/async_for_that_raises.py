"""END_ASYNC_FOR raises again what is no end of the iteration."""

from program_props import *


async def f(k):
    async for b in axs(k):
        a = yield b
    pass


run(f, 12)
