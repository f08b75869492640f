import csv
import io

import openpyxl
import pandas as pd

from shop import store


def totals(rows):
    return pd.DataFrame(rows).groupby("customer").sum()


def as_csv(rows):
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def as_sheet(rows):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    return book


def names():
    with store.session() as opened:
        return [one.name for one in store.customers(opened)]
