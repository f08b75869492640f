"""3.14 and later: the branch event of END_ASYNC_FOR is told for another instruction."""

from program_props import *


async def f(a):
    if c:
        async for a in axs(35):
            pass
    else:
        yield a
    c(0)


run(f, 2)
