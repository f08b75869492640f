from . import maths


def test_double(for_package):
    assert maths.double(2) == 4
    assert for_package == "package"


def test_triple():
    assert maths.triple(2) == 7
