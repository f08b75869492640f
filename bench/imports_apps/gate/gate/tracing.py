import cProfile
import unittest.mock

import httpx


def last():
    return cProfile.Profile()


def fake():
    return unittest.mock.Mock(spec=httpx.Client)
