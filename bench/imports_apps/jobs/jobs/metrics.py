import statistics
import urllib.request

import numpy


def count(rows):
    return numpy.array(rows).sum(), statistics.fmean(rows)


def push(url):
    return urllib.request.urlopen(url)
