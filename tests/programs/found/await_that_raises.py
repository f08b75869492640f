"""What an awaited one raises is raised again by CLEANUP_THROW: it does not lead to the next line."""

from program_props import *


async def f(k):
    y = await pause(k)
    return y


run(f, 23)
run(f, 23)
