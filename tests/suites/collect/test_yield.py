def test_ok(): pass
def test_yield():
    yield 1
