/*
 * fixture.h - the fixtures of a test function, set up from a plan.
 *
 * A plan is made once for each FuncFixtureInfo (all parametrizations of a function share it). A fixture is set up here
 * when pytest's own pytest_fixture_setup alone would do it and it is of function scope, of one definition or the last
 * of several, and an ordinary function, generator or method; a cached one of a wider scope is taken from its cache.
 * Every other goes through pytest's request.getfixturevalue. What pytest and plugins find afterwards is the same:
 * cached_result, the finalizers' order, request._fixture_defs, item.funcargs.
 */
#ifndef HASTEN_FIXTURE_H
#define HASTEN_FIXTURE_H

#include "py/compat.h"

/*
 * Classes and functions of this pytest, a dictionary: FixtureDef, DirectParam (class or None), SubRequest,
 * function_scope (Scope.Function), direct (function of direct parameters), teardown_yield (function), skip (exception),
 * outcomes (tuple of exceptions), partial, notset
 * (pytest's NOTSET), group(def, item, exceptions) which raises them together,
 * no_yield(name) which raises what pytest does,
 * call(function, kwargs) and next(generator) of python/hasten/frames.py. -1 with an exception set.
 */
int fixture_init(PyObject *pytest);

/* What item._request._fillfixtures() does. finalizers: the item's list in the set-up state. own: nobody else sets
 * fixtures up. *ran: set when the suite's own code ran. -1 with the exception that the fixture raised. */
int fixture_fill(PyObject *item, PyObject *request, PyObject *funcargs, PyObject *finalizers, bool own, bool *ran);

#endif
