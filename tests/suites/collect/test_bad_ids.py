import pytest
from helpers_ids import fails

def test_before(): pass

@pytest.mark.parametrize("x", [1], ids=fails)
def test_ids_raise(x): pass
