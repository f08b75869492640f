def test_fails():
    assert False


def test_interrupts():
    raise KeyboardInterrupt("by a test")
