/*
 * words.h - attribute and variable names that the fused path reads, interned once.
 *
 * S(obj) is the string "obj"; borrowed, never NULL after words_init.
 */
#ifndef HASTEN_WORDS_H
#define HASTEN_WORDS_H

#include "py/compat.h"

#define WORDS(X)                                                                                                       \
    X(_arg2scope)                                                                                                      \
    X(_capture_fixture)                                                                                                \
    X(_data)                                                                                                           \
    X(_fixture_defs)                                                                                                   \
    X(_fixtureinfo)                                                                                                    \
    X(_finalizers)                                                                                                     \
    X(_id)                                                                                                             \
    X(_markers)                                                                                                        \
    X(_obj)                                                                                                            \
    X(_report_sections)                                                                                                \
    X(_request)                                                                                                        \
    X(_scope)                                                                                                          \
    X(_storage)                                                                                                        \
    X(activate_fixture)                                                                                                \
    X(add_report_section)                                                                                              \
    X(addfinalizer)                                                                                                    \
    X(append)                                                                                                          \
    X(argnames)                                                                                                        \
    X(cached_result)                                                                                                   \
    X(call) X(callspec) X(clear) X(close) X(closed) X(tell) X(deactivate_fixture) X(duration) X(excinfo) X(filters)    \
        X(finish) X(fixturenames) X(func) X(funcargs) X(getfixturevalue) X(handlers) X(id) X(instance) X(item)         \
            X(keywords) X(last_exc) X(last_traceback) X(last_type) X(last_value) X(level) X(location) X(longrepr)      \
                X(name) X(name2fixturedefs) X(names_closure) X(nodeid) X(obj) X(outcome) X(own_markers) X(param)       \
                    X(params) X(parent) X(passed) X(propagate) X(pytest_pyfunc_call) X(pyfuncitem) X(records) X(reset) \
                        X(result) X(runtest) X(sections) X(send) X(setup) X(_shouldfail) X(_shouldstop) X(shouldfail)  \
                            X(shouldstop) X(showwarning) X(_showwarnmsg_impl) X(stack) X(start) X(stash) X(stderr)     \
                                X(stdout) X(stop) X(teardown) X(user_properties) X(when) X(_use_item_location)         \
                                    X(environ) X(__wrapped__) X(__iter__) X(__await__) X(__aiter__) X(_ispytest)       \
                                        X(get_result) X(_result) X(indices) X(args) X(function) X(_exception)          \
                                            X(_traceback) X(pytest_runtest_logreport) X(stream) X(item_index)          \
                                                X(_str_cache) X(_nodeid) X(_excinfo) X(_explicit_tearDown)

enum word {
#define X(text) WORD_##text,
    WORDS(X)
#undef X
        N_WORDS
};

extern PyObject *words_table[N_WORDS];

#define S(text) (words_table[WORD_##text])

/* Makes the strings; -1 with an exception set. */
int words_init(void);

/* Puts the values of a dictionary's keys (names) into places, n of each, owned. KeyError for one that is not there. */
int words_take(PyObject *dict, const char *const names[], PyObject **const places[], size_t n);

#endif
