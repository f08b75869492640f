import decimal
import statistics

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype


def clean(rows):
    frame = pd.DataFrame(rows)
    return frame[[name for name in frame if is_numeric_dtype(frame[name])]]


def spread(values):
    return np.std(values), statistics.stdev(values), decimal.Decimal(values[0])
