"""
>>> 1+1
2
"""
def test_d(): pass
