def test_plain():
    pass


def test_prints():
    print("text")


def test_fails():
    assert False
