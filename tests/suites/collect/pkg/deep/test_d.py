def test_deep(deep): pass
def test_other(shadowed): pass
