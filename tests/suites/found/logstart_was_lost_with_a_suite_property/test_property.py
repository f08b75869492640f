def test_plain():
    pass


def test_with_a_property(record_testsuite_property):
    print("text")
    record_testsuite_property("name", "value")


def test_plain_again():
    pass
