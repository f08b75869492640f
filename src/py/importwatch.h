/*
 * importwatch.h - what every import of this process costs, who asked for it and where: `hasten imports`.
 *
 * The interpreter looks _frozen_importlib._find_and_load up by name for every module that is not there yet: by statement,
 * import_module, as a parent, or a lazy one made real. A C function stands in its place, and others around the phases.
 * builtins.__import__ is replaced too, for the edges to modules that are there; each place is looked at once.
 *
 * A span is one load or one phase of a load; spans of a thread are nested. What a span took less what spans inside of it
 * took, and less the collector, is its own.
 */
#ifndef HASTEN_IMPORTWATCH_H
#define HASTEN_IMPORTWATCH_H

#include "py/compat.h"

#include "imports/log.h"

struct span {
    struct span *outer; /* of the same thread */
    PyObject *name;     /* borrowed from the caller; NULL: a phase */
    uint32_t seq;
    uint64_t wall_ns; /* at its start, as the next two */
    uint64_t cpu_ns;
    int64_t bytes;
    uint64_t inner_wall_ns; /* of spans inside of it */
    uint64_t inner_cpu_ns;
    int64_t inner_bytes;
    uint64_t gc_ns; /* of collections in it, and in no inner span */
    uint64_t gc_wall_ns;
    uint64_t phase_ns[LOG_N_PHASES];
    struct work *work; /* owned: importwork.c; NULL: none */
    bool dynamic;      /* a phase: the code of an extension module runs */
    bool found;        /* somebody looked for its spec: it was really loaded here */
};

/* importspan.c */
struct span *span_open(PyObject *name);                         /* owned; becomes the innermost one */
void span_close_phase(struct span *span, int phase);            /* adds to the load around it; frees it */
void span_close_load(struct span *span, struct log_load *load); /* fills times and memory; frees it */
struct span *span_load(void);                                   /* the innermost load of this thread, NULL: none */
uint32_t span_thread(void);                                     /* this thread's number */
PyObject *span_extension(void); /* name of the module whose compiled code runs as it is loaded: borrowed, NULL: none */
void span_collector(bool starts);                                                  /* a garbage collection */
void span_own_times(const struct span *span, uint64_t *wall_ns, uint64_t *cpu_ns); /* of an open one, so far */
bool span_is_innermost(const struct span *span);                                   /* no phase goes on in it */
void span_leave_out(uint64_t since_ns); /* what this thread has done since then was the watch's own work */
void span_reset(void);                  /* numbers begin again; this thread's is 0 */

/* importplace.c: the innermost Python frame that is not of importlib's, or an extension module that is being loaded. */
struct place {
    PyFrameObject *frame; /* owned; NULL: no such frame, as the next two */
    PyObject *code;       /* owned */
    PyObject *globals;    /* owned */
    int lasti;
    bool by_statement;   /* no frame of importlib lay between */
    bool within;         /* the frame on top is importlib's own machinery */
    PyObject *extension; /* owned: it is compiled code that imports, of the module of that name; NULL: a frame does */
};

void place_find(struct place *place);
void place_release(struct place *place);
void place_write(const struct place *place, struct log_place *into, uint32_t *flags);
/*
 * True when this place and name were not seen before in the load that is under way, and always in the bodies of modules and
 * classes.
 */
bool place_is_new(const struct place *place, PyObject *name);
void place_forget(void);

/* importwork.c: what lines of modules below root take, as they are loaded; CPython 3.12 and later. "": of none */
void work_start(const char *root);
void work_stop(void);
void work_watch(PyObject *loaded); /* a module's code, which will be executed, or a pair that ends in it */
void work_end(struct span *span);  /* of a load: writes what is worth it */

/* importedge.c */
PyObject *edge_loaded(PyObject *name);                        /* sys.modules[name]: borrowed, NULL: not there */
PyObject *edge_attribute(PyObject *module, const char *name); /* of a module's namespace: borrowed, NULL: none */
/* Writes an executed statement, or call. fromlist: NULL or what the interpreter gave. Sets no exception. */
void edge_note(const struct place *place, PyObject *name, int level, PyObject *fromlist);

/*
 * importbind.c: compiled code asks the interpreter straight, which calls nothing of Python's where the module is there. What
 * Cython makes does: by PyImport_ImportModuleLevelObject, before that perhaps by PyImport_GetModule. Loads the extension
 * module of that spec, if it is one, so that its calls of the first of these functions, and where it binds that one of all
 * of them, go to ours. Sets no exception.
 */
struct binding {
    const char *name;
    void *original;
    void *function;
};
void bind_extension(PyObject *spec, const struct binding *bindings, size_t n);

#endif
