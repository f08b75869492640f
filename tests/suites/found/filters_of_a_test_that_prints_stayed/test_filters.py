import warnings


def test_sets_a_filter_and_prints():
    warnings.filterwarnings("ignore", message="sigma.*")
    print("text")


def test_after_it():
    warnings.warn("sigma", UserWarning)
