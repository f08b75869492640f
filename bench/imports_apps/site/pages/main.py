import pages.setup  # noqa: F401
from pages import people, testing, views

ROUTES = {"/": views.index}


def invite(user):
    return people.invite(user)


def get(path):
    return ROUTES[path](testing.request(path))
