"""
>>> 1 + 1
2
"""
def f():
    """
    >>> 1
    1
    """
def test_d(): pass
