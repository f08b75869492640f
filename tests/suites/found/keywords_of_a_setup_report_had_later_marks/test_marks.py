import pytest


class TestOne:
    def test_adds_a_mark_to_its_class(self, request):
        request.node.parent.add_marker("late")

    def test_next(self, request):
        request.node.parent.parent.add_marker(pytest.mark.later)
        request.node.add_marker("own")

    def test_last(self):
        pass


@pytest.fixture
def at_the_end(request):
    yield
    request.node.parent.add_marker("very_late")
    request.node.user_properties.append(("late", 3))


def test_at_the_end(at_the_end):
    pass


def test_after_it():
    pass
