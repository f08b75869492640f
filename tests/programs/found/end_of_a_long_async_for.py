"""END_ASYNC_FOR has an EXTENDED_ARG: the exception is handled at that."""

from program_props import *


async def f(k):
    async for b in axs(k):
        x = [b + 1, b + 2, b + 3, b + 4, b + 5, b + 6, b + 7, b + 8, b + 9, b + 10, b + 11, b + 12, b + 13, b + 14]
        x = [b + 1, b + 2, b + 3, b + 4, b + 5, b + 6, b + 7, b + 8, b + 9, b + 10, b + 11, b + 12, b + 13, b + 14]
        x = [b + 1, b + 2, b + 3, b + 4, b + 5, b + 6, b + 7, b + 8, b + 9, b + 10, b + 11, b + 12, b + 13, b + 14]
        if c(b):
            break
    x = 1


run(f, 0)
run(f, 0)
run(f, 0)
