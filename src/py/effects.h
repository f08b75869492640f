/*
 * effects.h - what pytest does around every phase of a test, looked at instead of done.
 *
 * Between two fused tests the state is that of the inside of a phase: capture is on, the log handlers are attached,
 * warnings are recorded. These functions say whether a test has left a trace there; who has to act on it is
 * python/hasten/fuse.py, with pytest's own functions. Nothing here raises unless it says so.
 */
#ifndef HASTEN_EFFECTS_H
#define HASTEN_EFFECTS_H

#include "py/compat.h"

/*
 * The objects to look at, from a dictionary with these keys, each of which may be None when the plugin is off:
 * environ; capture ("fd", "sys" or None), capman, out, err (the capturing streams); root, loggers, logger_type, handlers
 * (the two of a phase), level (of --log-level, or None); and those of filters_entered.
 * A group of keys that is not there stays as it was. -1 with an exception set.
 */
int effects_entered(PyObject *state);

/* PYTEST_CURRENT_TEST, as os.environ[...] = "nodeid (when)" does it. -1 with an exception set. */
int effects_env_set(PyObject *nodeid, const char *when);

/* The same as os.environ.pop(...); with lazily the variable stays until effects_env_flush. -1: it was not there. */
int effects_env_pop(bool lazily);

/* Removes what effects_env_pop left. */
void effects_env_flush(void);

/* sys.last_type is there. */
bool effects_has_last_exception(void);

/* Something was captured, or the streams are not those of the capture manager any more. */
bool effects_written(void);

/* The streams are those of the capture manager: what was captured can be read without taking them away first. */
bool effects_streams_intact(void);

/* The same as effects_written between two phases, by how much is in the files alone: whose they are is asked at the end of a phase. */
bool effects_written_outside(void);

/* A handler of a phase has records. */
bool effects_logged(void);

/* The handlers got records since the last phase ended (effects_end_logs). */
bool effects_logged_outside(void);

/* Takes those away again. -1 with an exception set. */
int effects_drop_logged_outside(void);

/* A phase ends. used: its handlers have records, which stay there until the next phase begins, as with pytest. */
void effects_end_logs(bool used);

/* A phase begins: the handlers are empty. -1 with an exception set. */
int effects_begin_logs(void);

/* Both handlers are where pytest would have attached them now, and have the levels that it would have given them. */
bool effects_loggers_intact(void);

/* There is a --log-level: the root logger's level is another in a phase than outside. */
bool effects_sets_level(void);

/* A new list for the records of a phase, put into the handler of caplog. New reference or NULL. */
PyObject *effects_new_records(void);

#endif
