import gc


def test_leaves_a_file_open():
    open(__file__)
    gc.collect()
