/* effects.c - see effects.h. */
#include "py/effects.h"

#include "py/filters.h"
#include "py/words.h"

#include "os/descriptor.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VARIABLE "PYTEST_CURRENT_TEST"

enum capture { CAPTURE_NONE, CAPTURE_FD, CAPTURE_SYS };

struct stream {
    PyObject *file; /* owned: what sys.stdout or sys.stderr is while pytest captures */
    dev_t device;
    ino_t inode;
};

static struct {
    PyObject *sys;     /* borrowed from the interpreter: sys.__dict__ */
    PyObject *os;      /* owned */
    PyObject *environ; /* owned: os.environ as it was at first */
    PyObject *data;    /* owned: its dictionary of bytes */
    PyObject *key;     /* owned, bytes */
    PyObject *nodeid;  /* owned, str: of the last test */
    PyObject *encoded; /* owned, bytes: the same as the environment has it */
    char *buffer;      /* what the C environment points to; an outgrown one stays, as it may still be pointed to */
    size_t room;
    bool pending; /* the variable is to be removed */
    enum capture capture;
    struct stream streams[2];
    PyObject *root;          /* owned, NULL without the logging plugin */
    PyObject *loggers;       /* owned: logging's dictionary of them */
    PyObject *logger_type;   /* owned */
    PyObject *handlers[2];   /* owned: caplog's and the report's */
    Py_ssize_t n_attached;   /* loggers beside root that have them */
    Py_ssize_t n_noted[2];   /* records of the handlers when the last phase ended */
    Py_ssize_t text_size[2]; /* and of what their streams held */
    bool used;               /* the handlers have something of the last phase, or of what came after it */
    PyObject *level;         /* owned: of both in a phase; None: as the suite has it */
    PyObject *root_level;    /* owned: what the root logger has in a phase then */
} fx;

/* ---- the environment */

static int read_environ(void)
{
    PyObject *data;

    if (!fx.sys) {
        PyObject *sys = PyImport_ImportModule("sys"); /* owned */

        fx.sys = sys ? PyModule_GetDict(sys) : NULL;
        Py_XDECREF(sys);
    }
    if (!fx.os)
        fx.os = PyImport_ImportModule("os");
    if (!fx.key)
        fx.key = PyBytes_FromString(VARIABLE);
    if (!fx.sys || !fx.os || !fx.key)
        return -1;
    Py_XSETREF(fx.environ, PyObject_GetAttr(fx.os, S(environ)));
    if (!fx.environ)
        return -1;
    data = PyObject_GetAttr(fx.environ, S(_data)); /* owned */
    if (!data || !PyDict_CheckExact(data)) {
        PyErr_Clear();
        Py_CLEAR(data);
    }
    Py_XSETREF(fx.data, data);
    return 0;
}

/* os.environ is the mapping that we know. */
static bool environ_is_plain(void)
{
    return fx.data && PyDict_GetItem(PyModule_GetDict(fx.os), S(environ)) == fx.environ;
}

static bool write_buffer(const char *value, size_t size)
{
    const size_t name = sizeof VARIABLE; /* with '=' in the place of the NUL */

    if (name + size + 1 > fx.room) {
        char *buffer = malloc(2 * (name + size + 1));

        if (!buffer)
            return false;
        fx.buffer = buffer;
        fx.room = 2 * (name + size + 1);
        memcpy(fx.buffer, VARIABLE "=", name);
    }
    memcpy(fx.buffer + name, value, size + 1);
    return true;
}

static bool buffer_is_set(void)
{
    const char *value = getenv(VARIABLE);

    return value && value == fx.buffer + sizeof VARIABLE;
}

static PyObject *without_nul(PyObject *text)
{
    PyObject *nul = PyUnicode_FromStringAndSize("\0", 1); /* owned */
    PyObject *shown = PyUnicode_FromString("(null)");     /* owned */
    PyObject *replaced = nul && shown ? PyUnicode_Replace(text, nul, shown, -1) : NULL;

    Py_XDECREF(nul);
    Py_XDECREF(shown);
    return replaced;
}

/* fx.encoded belongs to this nodeid. */
static int encode(PyObject *nodeid)
{
    PyObject *text;

    if (nodeid == fx.nodeid)
        return 0;
    text = PyUnicode_FindChar(nodeid, 0, 0, PyUnicode_GET_LENGTH(nodeid), 1) >= 0 ? without_nul(nodeid)
                                                                                  : Py_NewRef(nodeid); /* owned */
    Py_CLEAR(fx.nodeid);
    Py_XSETREF(fx.encoded, text ? PyUnicode_EncodeFSDefault(text) : NULL);
    Py_XDECREF(text);
    if (!fx.encoded)
        return -1;
    fx.nodeid = Py_NewRef(nodeid);
    return 0;
}

/* "nodeid (when)", a new bytes object. */
static PyObject *value_of(const char *when)
{
    const size_t size = (size_t)PyBytes_GET_SIZE(fx.encoded);
    const size_t more = strlen(when);
    PyObject *value = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(size + more + 3));

    if (value) {
        char *text = PyBytes_AS_STRING(value);

        memcpy(text, PyBytes_AS_STRING(fx.encoded), size);
        memcpy(text + size, " (", 2);
        memcpy(text + size + 2, when, more);
        text[size + 2 + more] = ')';
    }
    return value;
}

static int set_slowly(PyObject *nodeid, const char *when)
{
    PyObject *environ = PyObject_GetAttr(fx.os, S(environ));                      /* owned */
    PyObject *name = PyUnicode_FromString(VARIABLE);                              /* owned */
    PyObject *plain = without_nul(nodeid);                                        /* owned */
    PyObject *text = plain ? PyUnicode_FromFormat("%U (%s)", plain, when) : NULL; /* owned */
    const int code = environ && name && text ? PyObject_SetItem(environ, name, text) : -1;

    Py_XDECREF(environ);
    Py_XDECREF(name);
    Py_XDECREF(plain);
    Py_XDECREF(text);
    return code;
}

int effects_env_set(PyObject *nodeid, const char *when)
{
    PyObject *value;
    int code = -1;

    fx.pending = false;
    if (!environ_is_plain())
        return set_slowly(nodeid, when);
    value = encode(nodeid) == 0 ? value_of(when) : NULL; /* owned */
    if (!value)
        return -1;
    if (PyDict_SetItem(fx.data, fx.key, value) == 0 &&
        write_buffer(PyBytes_AS_STRING(value), (size_t)PyBytes_GET_SIZE(value)))
        code = buffer_is_set() ? 0 : putenv(fx.buffer);
    Py_DECREF(value);
    if (code < 0 && !PyErr_Occurred())
        PyErr_SetFromErrno(PyExc_OSError);
    return code;
}

void effects_env_flush(void)
{
    if (!fx.pending)
        return;
    fx.pending = false;
    if (fx.data && PyDict_DelItem(fx.data, fx.key) < 0)
        PyErr_Clear();
    unsetenv(VARIABLE);
}

int effects_env_pop(bool lazily)
{
    PyObject *environ;
    PyObject *popped;

    if (environ_is_plain() && PyDict_Contains(fx.data, fx.key) == 1) {
        fx.pending = true;
        if (!lazily)
            effects_env_flush();
        return 0;
    }
    environ = PyObject_GetAttr(fx.os, S(environ)); /* owned */
    popped = environ ? PyObject_CallMethod(environ, "pop", "s", VARIABLE) : NULL;
    Py_XDECREF(environ);
    Py_XDECREF(popped);
    return popped ? 0 : -1;
}

bool effects_has_last_exception(void)
{
    return PyDict_GetItemWithError(fx.sys, S(last_type)) != NULL;
}

/* ---- capture */

static bool is_closed(PyObject *file)
{
    PyObject *closed = PyObject_GetAttr(file, S(closed)); /* owned */
    const bool answer = !closed || PyObject_IsTrue(closed) != 0;

    Py_XDECREF(closed);
    PyErr_Clear();
    return answer;
}

static bool wrote_to_fd(const struct stream *stream, int fd)
{
    struct stat st;

    return descriptor_stat(fd, &st) < 0 || st.st_size != 0 || st.st_dev != stream->device || st.st_ino != stream->inode;
}

static bool wrote_to_file(const struct stream *stream)
{
    PyObject *at = PyObject_CallMethodNoArgs(stream->file, S(tell)); /* owned */
    const bool none = at && PyLong_CheckExact(at) && PyLong_AsLong(at) == 0;

    Py_XDECREF(at);
    PyErr_Clear();
    return !none;
}

/* by_size: does not ask whose file the descriptor leads to, which costs half of it. */
static bool wrote(const struct stream *stream, PyObject *name, int fd, bool by_size)
{
    if (!stream->file)
        return false;
    if (PyDict_GetItemWithError(fx.sys, name) != stream->file || is_closed(stream->file))
        return true;
    if (fx.capture != CAPTURE_FD)
        return wrote_to_file(stream);
    return by_size ? lseek(fd, 0, SEEK_CUR) != 0 : wrote_to_fd(stream, fd);
}

static bool written(bool by_size)
{
    if (fx.capture == CAPTURE_NONE)
        return false;
    return wrote(&fx.streams[0], S(stdout), 1, by_size) || wrote(&fx.streams[1], S(stderr), 2, by_size);
}

bool effects_written(void)
{
    return written(false);
}

bool effects_written_outside(void)
{
    return written(true);
}

bool effects_streams_intact(void)
{
    PyObject *const names[2] = {S(stdout), S(stderr)};

    for (int i = 0; i < 2; i++) {
        const struct stream *stream = &fx.streams[i];
        struct stat st;

        if (!stream->file)
            continue;
        if (PyDict_GetItemWithError(fx.sys, names[i]) != stream->file || is_closed(stream->file))
            return false;
        if (fx.capture == CAPTURE_FD &&
            (descriptor_stat(i + 1, &st) < 0 || st.st_dev != stream->device || st.st_ino != stream->inode))
            return false;
    }
    return fx.capture != CAPTURE_NONE;
}

static int enter_capture(PyObject *state)
{
    static const char *const names[2] = {"out", "err"};
    PyObject *method = PyDict_GetItemString(state, "capture");

    if (!method)
        return 0;
    fx.capture = CAPTURE_NONE;
    if (method == Py_None)
        return 0;
    fx.capture = PyUnicode_CompareWithASCIIString(method, "fd") == 0 ? CAPTURE_FD : CAPTURE_SYS;
    for (int i = 0; i < 2; i++) {
        PyObject *file = PyDict_GetItemString(state, names[i]);
        struct stat st = {0};

        Py_XSETREF(fx.streams[i].file, file && file != Py_None ? Py_NewRef(file) : NULL);
        if (fx.capture == CAPTURE_FD && fstat(i + 1, &st) < 0) {
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        fx.streams[i].device = st.st_dev;
        fx.streams[i].inode = st.st_ino;
    }
    return 0;
}

/* ---- logging */

static Py_ssize_t n_records(PyObject *handler)
{
    PyObject *records = PyObject_GetAttr(handler, S(records)); /* owned */
    const Py_ssize_t n = records ? PyObject_Size(records) : -1;

    Py_XDECREF(records);
    PyErr_Clear();
    return n;
}

bool effects_logged_outside(void)
{
    return fx.root && (n_records(fx.handlers[0]) != fx.n_noted[0] || n_records(fx.handlers[1]) != fx.n_noted[1]);
}

/* How much text the handler's stream has; 0 when it cannot tell. */
static Py_ssize_t text_size(PyObject *handler)
{
    PyObject *stream = PyObject_GetAttr(handler, S(stream));                   /* owned */
    PyObject *at = stream ? PyObject_CallMethodNoArgs(stream, S(tell)) : NULL; /* owned */
    const Py_ssize_t size = at ? PyLong_AsSsize_t(at) : -1;

    Py_XDECREF(stream);
    Py_XDECREF(at);
    PyErr_Clear();
    return size < 0 ? 0 : size;
}

static int cut_text(PyObject *handler, Py_ssize_t size)
{
    PyObject *stream = PyObject_GetAttr(handler, S(stream));                            /* owned */
    PyObject *cut = stream ? PyObject_CallMethod(stream, "truncate", "n", size) : NULL; /* owned */
    PyObject *at = cut ? PyObject_CallMethod(stream, "seek", "n", size) : NULL;         /* owned */
    const int code = at ? 0 : -1;

    Py_XDECREF(stream);
    Py_XDECREF(cut);
    Py_XDECREF(at);
    return code;
}

int effects_drop_logged_outside(void)
{
    for (int i = 0; fx.root && i < 2; i++) {
        PyObject *records = PyObject_GetAttr(fx.handlers[i], S(records)); /* owned */
        const int code =
            records && PyList_Check(records) ? PyList_SetSlice(records, fx.n_noted[i], PY_SSIZE_T_MAX, NULL) : -1;

        Py_XDECREF(records);
        if (code < 0 || cut_text(fx.handlers[i], fx.text_size[i]) < 0)
            return -1;
    }
    fx.used = true;
    return 0;
}

void effects_end_logs(bool used)
{
    fx.used = fx.used || used;
    for (int i = 0; i < 2; i++) {
        fx.n_noted[i] = used ? n_records(fx.handlers[i]) : 0;
        fx.text_size[i] = used ? text_size(fx.handlers[i]) : 0;
    }
}

int effects_begin_logs(void)
{
    fx.n_noted[0] = fx.n_noted[1] = 0;
    for (int i = 0; fx.used && i < 2; i++) {
        PyObject *done = PyObject_CallMethodNoArgs(fx.handlers[i], S(reset)); /* owned */

        Py_XDECREF(done);
        if (!done)
            return -1;
    }
    fx.used = false;
    return 0;
}

bool effects_logged(void)
{
    return fx.root && (n_records(fx.handlers[0]) != 0 || n_records(fx.handlers[1]) != 0);
}

static bool has_handlers(PyObject *logger, bool at_end)
{
    PyObject *list = PyObject_GetAttr(logger, S(handlers)); /* owned */
    bool found[2] = {false, false};
    bool ok = list && PyList_Check(list);

    if (ok && at_end) {
        const Py_ssize_t n = PyList_GET_SIZE(list);

        ok = n >= 2 && PyList_GET_ITEM(list, n - 2) == fx.handlers[0] && PyList_GET_ITEM(list, n - 1) == fx.handlers[1];
    } else if (ok) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++)
            for (int k = 0; k < 2; k++)
                found[k] = found[k] || PyList_GET_ITEM(list, i) == fx.handlers[k];
        ok = found[0] && found[1];
    }
    Py_XDECREF(list);
    PyErr_Clear();
    return ok;
}

static bool propagates(PyObject *logger)
{
    PyObject *value = PyObject_GetAttr(logger, S(propagate)); /* owned */
    const bool answer = value && PyObject_IsTrue(value) == 1;

    Py_XDECREF(value);
    PyErr_Clear();
    return answer;
}

/* How many loggers beside root get no help from it; -1 when one of them lacks our handlers. */
static Py_ssize_t count_alone(bool check)
{
    PyObject *key;
    PyObject *logger;
    Py_ssize_t at = 0;
    Py_ssize_t n = 0;

    while (PyDict_Next(fx.loggers, &at, &key, &logger)) {
        if (logger == fx.root || !PyObject_TypeCheck(logger, (PyTypeObject *)fx.logger_type) || propagates(logger))
            continue;
        if (check && !has_handlers(logger, false))
            return -1;
        n++;
    }
    return n;
}

static bool has_level(PyObject *logger, PyObject *expected)
{
    PyObject *level = PyObject_GetAttr(logger, S(level)); /* owned */
    const bool same = level && PyObject_RichCompareBool(level, expected, Py_EQ) == 1;

    Py_XDECREF(level);
    PyErr_Clear();
    return same;
}

/* With --log-level each phase begins with the level of the root logger and of both handlers. */
static bool levels_intact(void)
{
    return fx.level == Py_None || (has_level(fx.root, fx.root_level) && has_level(fx.handlers[0], fx.level) &&
                                   has_level(fx.handlers[1], fx.level));
}

bool effects_sets_level(void)
{
    return fx.root && fx.level != Py_None;
}

bool effects_loggers_intact(void)
{
    return !fx.root || (has_handlers(fx.root, true) && count_alone(true) == fx.n_attached && levels_intact());
}

PyObject *effects_new_records(void)
{
    PyObject *records = PyList_New(0); /* owned */

    if (records && PyObject_SetAttr(fx.handlers[0], S(records), records) < 0)
        Py_CLEAR(records);
    return records;
}

static int enter_logging(PyObject *state)
{
    PyObject *root = PyDict_GetItemString(state, "root");
    PyObject *handlers = PyDict_GetItemString(state, "handlers");
    PyObject *loggers = PyDict_GetItemString(state, "loggers");
    PyObject *type = PyDict_GetItemString(state, "logger_type");
    PyObject *level = PyDict_GetItemString(state, "level");

    if (!root)
        return 0;
    Py_CLEAR(fx.root);
    if (root == Py_None || !handlers || !PyTuple_Check(handlers) || PyTuple_GET_SIZE(handlers) != 2 || !loggers ||
        !PyDict_Check(loggers) || !type || !PyType_Check(type) || !level)
        return 0;
    Py_XSETREF(fx.loggers, Py_NewRef(loggers));
    Py_XSETREF(fx.logger_type, Py_NewRef(type));
    for (int i = 0; i < 2; i++)
        Py_XSETREF(fx.handlers[i], Py_NewRef(PyTuple_GET_ITEM(handlers, i)));
    Py_XSETREF(fx.level, Py_NewRef(level));
    Py_XSETREF(fx.root_level, PyObject_GetAttr(root, S(level)));
    if (!fx.root_level)
        return -1;
    fx.root = Py_NewRef(root);
    fx.n_attached = count_alone(false);
    return 0;
}

int effects_entered(PyObject *state)
{
    if (read_environ() < 0 || enter_capture(state) < 0 || enter_logging(state) < 0 || filters_entered(state) < 0)
        return -1;
    return 0;
}
