import pytest

def test_in_init(): pass
