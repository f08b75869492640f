import csv

import openpyxl
import pandas


def rows(text):
    return list(csv.reader([text]))


def frame(text):
    return pandas.DataFrame(rows(text))


def book():
    return openpyxl.Workbook()
