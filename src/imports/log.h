/*
 * log.h - what a measured process writes down about its imports: a file that it maps, and that outlives it.
 *
 * Layout (native byte order: it is read on the machine that wrote it, and thrown away), which imports_used.py reads, too:
 *     0   struct log_header
 *     64  records, one after another, each a multiple of 8 bytes that begins with struct log_record
 *
 * One writer, the measured process. It writes a record and then raises `used` over it, so that a reader that comes after
 * a crash sees whole records only. Texts (names, files) are written once, before their first use; their id is their number
 * in the file, from 1; 0 is no text.
 *
 * Times are nanoseconds. Memory is bytes of resident memory. What is `self` leaves out what loads inside of it took, and
 * the garbage collector.
 */
#ifndef HASTEN_IMPORTS_LOG_H
#define HASTEN_IMPORTS_LOG_H

#include <stdatomic.h>

#include "base/err.h"

#define LOG_MAGIC "HSIMPRT2"
#define LOG_NONE UINT32_MAX
#define LOG_MAX_BYTES (64u << 20) /* of a file; what comes after is not recorded, and log_header.full says so */

enum log_type { LOG_TEXT = 1, LOG_LOAD, LOG_EDGE, LOG_NOTE, LOG_WORK };

enum log_phase { LOG_FIND, LOG_READ, LOG_UNMARSHAL, LOG_COMPILE, LOG_DYNAMIC, LOG_N_PHASES };

enum log_flag {
    LOG_FAILED = 1 << 0,       /* the load raised an exception */
    LOG_WAITED = 1 << 1,       /* no load: another thread was at it */
    LOG_PACKAGE = 1 << 2,      /* has a __path__ */
    LOG_EXTENSION = 1 << 3,    /* its file is a shared library */
    LOG_PARENT = 1 << 4,       /* a package that is there because a module inside of it was asked for */
    LOG_LAZY = 1 << 5,         /* was declared lazy (PEP 810); the place is where it was made real */
    LOG_IN_FUNCTION = 1 << 6,  /* the statement stands in a function */
    LOG_DYNAMIC_CALL = 1 << 7, /* no statement: importlib.import_module and the like */
};

enum log_note { LOG_NOTE_PLUGIN = 1, LOG_NOTE_LAZY };

struct log_header {
    char magic[8];
    uint32_t pid;
    uint32_t full;         /* 1: the file was too small */
    _Atomic uint64_t used; /* bytes of the file that are valid */
    uint64_t start_ns;     /* clock_now_ns() when watching began */
    uint64_t before_ns;    /* CPU time of the process until then: the interpreter's start */
    uint64_t gc_ns;        /* CPU time of all garbage collections since */
    uint64_t n_gc;
    uint32_t version; /* PY_VERSION_HEX */
    uint32_t spare;
};

struct log_record {
    uint32_t size; /* bytes, this struct and padding included */
    uint32_t type; /* enum log_type */
};

struct log_text {
    struct log_record head;
    uint32_t n;
    uint32_t spare;
    char bytes[]; /* UTF-8, and a NUL */
};

/*
 * Where an import stands. All but line are ids of texts. What the code of an extension module asks for while it is loaded
 * has the module as its importer, no file, and line 0.
 */
struct log_place {
    uint32_t importer; /* __name__ of the module whose code it is; 0: unknown */
    uint32_t file;
    uint32_t line;      /* 0: unknown */
    uint32_t function;  /* the function's qualified name; 0 in the body of a module or class */
    uint32_t attribute; /* in a module's __getattr__: which name was asked for; else 0 */
    uint32_t spare;
};

struct log_load {
    struct log_record head;
    struct log_place place;
    uint32_t seq;    /* number of the load in its process, by start */
    uint32_t parent; /* the load that it happened in, in the same thread; LOG_NONE */
    uint32_t thread; /* 0: the one that started watching */
    uint32_t name;
    uint32_t origin; /* its file; 0: none */
    uint32_t flags;
    uint64_t start_ns; /* since log_header.start_ns */
    uint64_t wall_ns;  /* from start to end */
    uint64_t cpu_ns;   /* of its thread, from start to end */
    uint64_t self_wall_ns;
    uint64_t self_cpu_ns;
    uint64_t gc_ns; /* CPU time of collections in it and not in loads inside of it */
    int64_t self_bytes;
    uint64_t phase_ns[LOG_N_PHASES]; /* CPU time; the rest of self_cpu_ns is the module's own code */
};

/*
 * An import statement, or call, that was executed, whether the module was there or not. In a function: once for
 * each load in which it was.
 * What it means is left to the reader: the measured process has better things to do.
 */
struct log_edge {
    struct log_record head;
    struct log_place place;
    uint32_t name;    /* as it is written, without the dots; 0: none, as in `from . import x` */
    uint32_t package; /* with a level: of the importer */
    uint32_t level;   /* how many dots; 0: absolute */
    uint32_t flags;
    uint32_t loading; /* seq of the load that it happened in; LOG_NONE */
    uint32_t n_names;
    uint32_t names[]; /* what follows `from x import` */
};

struct log_noted {
    struct log_record head;
    uint32_t kind; /* enum log_note */
    uint32_t text[3];
};

/* What a line of a module's body took while the module was loaded, without what loads in it took. Lines of the user's. */
struct log_work {
    struct log_record head;
    uint32_t module;
    uint32_t file;
    uint32_t line;
    uint32_t n; /* how often it began */
    uint64_t wall_ns;
    uint64_t cpu_ns;
};

_Static_assert(sizeof(struct log_header) == 64, "the records begin at 64");
_Static_assert(sizeof(struct log_load) % 8 == 0 && sizeof(struct log_edge) % 8 == 0, "records are multiples of 8");

/*
 * A file that was read. Every text id in its records is one of texts, every record lies inside. Records point into data,
 * which is owned.
 */
struct log {
    char *data; /* owned */
    size_t size;
    const struct log_header *header;
    const char **texts; /* owned array; texts[0] is "" */
    uint32_t n_texts;
    const struct log_load **loads; /* owned array, by end */
    uint32_t n_loads;
    const struct log_edge **edges; /* owned array */
    uint32_t n_edges;
    const struct log_noted **notes; /* owned array */
    uint32_t n_notes;
    const struct log_work **works; /* owned array */
    uint32_t n_works;
};

/* Takes over data (from hs_alloc), also when it fails. 0, or -1 when it is no log. */
int log_parse(struct log *log, char *data, size_t size, struct err *err);
int log_read(struct log *log, const char *path, struct err *err);
void log_close(struct log *log); /* safe after a failure, too */

#endif
