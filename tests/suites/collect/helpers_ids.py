def fails(value):
    raise LookupError(value)
