/* python.h - which interpreter runs the suite. */
#ifndef HASTEN_CMD_PYTHON_H
#define HASTEN_CMD_PYTHON_H

#include "base/str.h"

/*
 * given (--python) or HASTEN_PYTHON; else the Python beside the path that this program was called by (links are kept:
 * a virtual environment's bin/), $VIRTUAL_ENV, ./.venv, the Python beside the program itself, python3 on PATH.
 * path: always set.
 */
void python_find(const char *given, struct str *path);

#endif
