import unittest.mock

from django.test import Client, RequestFactory


def client():
    return Client()


def request(path):
    return RequestFactory().get(path)


def fake():
    return unittest.mock.Mock()
