def _raise(exc):
    raise exc


def test_two_finalizers_fail(request):
    request.addfinalizer(lambda: _raise(KeyError("one")))
    request.addfinalizer(lambda: _raise(ValueError("two")))
