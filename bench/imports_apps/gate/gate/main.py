from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from gate import backends, jobs, tables, tracing


class Item(BaseModel):
    name: str


def backend():
    return backends.client()


app = FastAPI()


@app.post("/items")
def add(item: Item, to: Annotated[object, Depends(backend)]):
    jobs.send(item.name)
    return tables.insert(item.name)


@app.get("/trace")
def trace():
    return tracing.last()
