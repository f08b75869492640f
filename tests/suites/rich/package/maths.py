"""Examples in docstrings.

>>> double(2)
4
"""


def double(n):
    """Twice.

    >>> double(3)
    6
    >>> double("a")
    'aa'
    """
    return n * 2


def triple(n):
    """Three times, wrongly.

    >>> triple(1)
    4
    """
    return n * 3
