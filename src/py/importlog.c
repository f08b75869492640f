#include "py/importlog.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Texts by their address, before they are looked up by content: mostly the same few objects, names of code. */
struct recent {
    PyObject *text; /* owned, so that no other text gets its address; NULL: free */
    uint32_t id;
};

enum { N_RECENT = 4096 };

static struct {
    struct log_header *header; /* the mapped file; NULL: closed */
    int fd;
    PyObject *texts; /* owned dict: str -> id */
    uint32_t n_texts;
    struct recent *recent; /* owned: N_RECENT of them */
} out = {.fd = -1};

struct log_header *importlog_header(void)
{
    return out.header;
}

int importlog_open(const char *path)
{
    void *memory;
    int code;

    out.fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out.fd < 0)
        return -errno;
    if (ftruncate(out.fd, LOG_MAX_BYTES) < 0) {
        code = -errno;
        close(out.fd);
        return code;
    }
    memory = mmap(NULL, LOG_MAX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, out.fd, 0);
    if (memory == MAP_FAILED) {
        code = -errno;
        close(out.fd);
        return code;
    }
    out.header = memory;
    out.n_texts = 0;
    out.texts = PyDict_New();
    out.recent = hs_alloc(N_RECENT * sizeof *out.recent);
    PyErr_Clear(); /* without it every text is 0 */
    *out.header = (struct log_header){
        .magic = LOG_MAGIC,
        .pid = (uint32_t)getpid(),
        .used = sizeof(struct log_header),
        .start_ns = clock_now_ns(),
        .before_ns = clock_cpu_ns(),
        .version = PY_VERSION_HEX,
    };
    return 0;
}

void importlog_close(void)
{
    if (!out.header)
        return;
    /* Only to give the disk back: a reader goes by `used`. */
    if (ftruncate(out.fd, (off_t)out.header->used) < 0)
        errno = 0;
    importlog_forget();
}

void importlog_forget(void)
{
    struct log_header *header = out.header;

    if (!header)
        return;
    out.header = NULL;
    munmap(header, LOG_MAX_BYTES);
    close(out.fd);
    out.fd = -1;
    Py_CLEAR(out.texts);
    for (size_t i = 0; i < N_RECENT; i++)
        Py_XDECREF(out.recent[i].text);
    free(out.recent);
    out.recent = NULL;
}

bool importlog_add(void *record, size_t size)
{
    struct log_record *head = record;
    struct log_header *header = out.header;
    uint64_t used;

    if (!header || header->full)
        return false;
    used = atomic_load_explicit(&header->used, memory_order_relaxed);
    if (used + size > LOG_MAX_BYTES) {
        header->full = 1; /* nothing shorter may follow: a record would name a text that is not there */
        return false;
    }
    head->size = (uint32_t)size;
    memcpy((char *)header + used, record, size);
    /* Release: whoever reads `used` sees the record that it covers. */
    atomic_store_explicit(&header->used, used + size, memory_order_release);
    return true;
}

/* The text as UTF-8 that every reader can take: lone surrogates of file names become escapes. Owned bytes, or NULL. */
static PyObject *encoded(PyObject *text)
{
    PyObject *bytes = PyUnicode_AsEncodedString(text, "utf-8", "backslashreplace");

    if (!bytes)
        PyErr_Clear();
    return bytes;
}

static uint32_t write_text(PyObject *text)
{
    PyObject *bytes = encoded(text); /* owned */
    PyObject *id = NULL;             /* owned */
    struct log_text *record;
    size_t n;
    size_t size;
    uint32_t number = 0;

    if (!bytes)
        return 0;
    n = (size_t)PyBytes_GET_SIZE(bytes);
    if (n > 4000)
        n = 4000; /* no name of a module or file is so long */
    size = (sizeof *record + n + 1 + 7) & ~(size_t)7;
    id = PyLong_FromUnsignedLong(out.n_texts + 1);
    if (id && PyDict_SetItem(out.texts, text, id) == 0) {
        record = hs_alloc(size);
        record->head.type = LOG_TEXT;
        record->n = (uint32_t)n;
        memcpy(record->bytes, PyBytes_AS_STRING(bytes), n);
        if (importlog_add(record, size))
            number = ++out.n_texts;
        free(record);
    }
    PyErr_Clear();
    Py_XDECREF(id);
    Py_DECREF(bytes);
    return number;
}

static uint32_t by_content(PyObject *text)
{
    PyObject *id = PyDict_GetItemWithError(out.texts, text); /* borrowed */

    if (id)
        return (uint32_t)PyLong_AsUnsignedLong(id);
    PyErr_Clear();
    return write_text(text);
}

uint32_t importlog_text(PyObject *text)
{
    struct recent *slot;

    if (!text || !out.texts || !PyUnicode_CheckExact(text))
        return 0;
    slot = &out.recent[((uintptr_t)text >> 4 ^ (uintptr_t)text >> 16) % N_RECENT];
    if (slot->text != text) {
        const uint32_t id = by_content(text);

        Py_XSETREF(slot->text, Py_NewRef(text));
        slot->id = id;
    }
    return slot->id;
}
