/* covered_write.c - what was collected goes into coverage.py's data file, row by row and past Python. */
#include "py/native.h"

#include "run/hitfile.h"

#include <inttypes.h>
#include <stdlib.h>

static int attach(struct hits *hits, int fd)
{
    struct err err = {0};

    if (hits_attach(hits, fd, &err) == 0)
        return 0;
    compat_raise(PyExc_OSError, &err);
    return -1;
}

static int open_rows(struct hitrows *rows, struct hits *hits, int branch)
{
    struct err err = {0};

    if (hitrows_open(rows, hits, branch, &err) == 0)
        return 0;
    compat_raise(PyExc_OSError, &err);
    return -1;
}

/* ---- names */

static PyObject *paths_of(const struct hitrows *rows)
{
    PyObject *list = PyList_New(rows->n_files);

    for (uint32_t i = 0; list && i < rows->n_files; i++) {
        const struct hits_file *file = rows->file_ran[i] ? rows->files[i] : NULL;
        PyObject *path =
            file ? PyUnicode_DecodeUTF8(hits_path(rows->hits, file), file->path_size, "replace") : Py_NewRef(Py_None);

        if (path)
            PyList_SET_ITEM(list, i, path);
        else
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *contexts_of(const struct hitrows *rows)
{
    PyObject *list = PyList_New(rows->n_contexts);

    for (uint32_t i = 0; list && i < rows->n_contexts; i++) {
        const struct hits_context *context = rows->context_ran[i] ? rows->contexts[i] : NULL;
        PyObject *name = context ? PyUnicode_DecodeUTF8(context->name, context->size, "replace") : Py_NewRef(Py_None);

        if (name)
            PyList_SET_ITEM(list, i, name);
        else
            Py_CLEAR(list);
    }
    return list;
}

/* covered_names(fd, branch) */
static PyObject *native_covered_names(PyObject *self, PyObject *args)
{
    struct hits hits = {0};
    struct hitrows rows;
    PyObject *paths;
    PyObject *contexts;
    PyObject *result = NULL;
    int branch;
    int fd;

    (void)self;
    if (!PyArg_ParseTuple(args, "ip", &fd, &branch) || attach(&hits, fd) < 0)
        return NULL;
    if (open_rows(&rows, &hits, branch) == 0) {
        paths = paths_of(&rows);
        contexts = paths ? contexts_of(&rows) : NULL;
        if (contexts)
            result = Py_BuildValue("(OONk)", paths, contexts, PyBool_FromLong(rows.own_ran),
                                   (unsigned long)atomic_load(&hits.head->n_lost));
        Py_XDECREF(paths);
        Py_XDECREF(contexts);
    }
    hitrows_close(&rows);
    hits_detach(&hits);
    return result;
}

/* ---- rows */

/* A list of at least n row numbers, 1 or above where ran[i] says that it is used. Owned by the caller; NULL: exception. */
static uint32_t *take_rows(PyObject *list, uint32_t n, const bool *ran)
{
    uint32_t *rows = hs_alloc(((size_t)n + 1) * sizeof *rows);

    for (uint32_t i = 0; i < n; i++) {
        PyObject *row = i < PyList_GET_SIZE(list) ? PyList_GET_ITEM(list, i) : NULL;
        const long value = row && PyLong_Check(row) ? PyLong_AsLong(row) : 0;

        if (ran[i] && (value < 1 || value > INT32_MAX)) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "a row that is used has no number");
            free(rows);
            return NULL;
        }
        rows[i] = (uint32_t)value;
    }
    return rows;
}

static int sort_rows(struct hitrows *rows, PyObject *file_rows, PyObject *context_rows, uint32_t own)
{
    uint32_t *files = take_rows(file_rows, rows->n_files, rows->file_ran);
    uint32_t *contexts = files ? take_rows(context_rows, rows->n_contexts, rows->context_ran) : NULL;

    int code = -1;

    if (contexts && rows->own_ran && !own) {
        PyErr_SetString(PyExc_ValueError, "what ran in no context has no row");
    } else if (contexts) {
        hitrows_sort(rows, &(struct hitrows_ids){files, contexts, own});
        code = 0;
    }
    free(files);
    free(contexts);
    return code;
}

static PyObject *write_rows(struct hitrows *rows, const struct hitfile_target *target)
{
    struct err err = {0};
    uint64_t hash[2];
    char text[40];
    int code;

    Py_BEGIN_ALLOW_THREADS
    code = hitfile_write(rows, target, hash, &err);
    Py_END_ALLOW_THREADS
    if (code < 0 && err.sys)
        return compat_raise(PyExc_OSError, &err);
    if (code < 0)
        Py_RETURN_NONE;
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, hash[0], hash[1]);
    return PyUnicode_FromString(text);
}

/* covered_write(fd, branch, file_rows, context_rows, own_row, path, table_root, index_root) */
static PyObject *native_covered_write(PyObject *self, PyObject *args)
{
    struct hitfile_target target;
    struct hits hits = {0};
    struct hitrows rows;
    PyObject *file_rows;
    PyObject *context_rows;
    PyObject *path; /* owned */
    PyObject *result = NULL;
    unsigned own;
    int branch;
    int fd;

    (void)self;
    if (!PyArg_ParseTuple(args, "ipO!O!IO&II", &fd, &branch, &PyList_Type, &file_rows, &PyList_Type, &context_rows,
                          &own, PyUnicode_FSConverter, &path, &target.table_root, &target.index_root))
        return NULL;
    target.path = PyBytes_AS_STRING(path);
    if (attach(&hits, fd) == 0) {
        if (open_rows(&rows, &hits, branch) == 0 && sort_rows(&rows, file_rows, context_rows, own) == 0)
            result = write_rows(&rows, &target);
        hitrows_close(&rows);
        hits_detach(&hits);
    }
    Py_DECREF(path);
    return result;
}

PyMethodDef covered_write_methods[] = {
    {"covered_names", native_covered_names, METH_VARARGS,
     "covered_names(fd, branch) -> (paths, contexts, own, n_lost)\n\nBy number, None where nothing ran; own: "
     "something ran in no context. OSError."},
    {"covered_write", native_covered_write, METH_VARARGS,
     "covered_write(fd, branch, file_rows, context_rows, own_row, path, table_root, index_root) -> str | "
     "None\n\nRows of arc or line_bits; the lists are by number, as covered_names answers them. A hash of what was "
     "written; None: the file is of another form, and as it was. OSError: it is no data file any more."},
    {NULL, NULL, 0, NULL},
};
