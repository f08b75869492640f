from fastapi import FastAPI
from fastapi.testclient import TestClient

from shop import mail, reports, store

app = FastAPI()


@app.get("/names")
def names():
    return reports.names()


@app.get("/version")
def version():
    return store.version()


@app.post("/mail")
def send():
    return mail.letter("you", "hello")


def client():
    return TestClient(app)
