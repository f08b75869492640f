/* importlog.h - the writer's side of imports/log.h. The GIL keeps threads apart. */
#ifndef HASTEN_IMPORTLOG_H
#define HASTEN_IMPORTLOG_H

#include "py/compat.h"

#include "imports/log.h"

/* A new file at path, mapped. 0, or -errno. */
int importlog_open(const char *path);
/* The rest of the file is cut off. Nothing is written from then on. */
void importlog_close(void);
/* In a forked child: the file stays the parent's. */
void importlog_forget(void);

struct log_header *importlog_header(void); /* NULL: not open */

/* The id of a text (any str; NULL is 0), written at its first use. Never fails: what cannot be written is 0. */
uint32_t importlog_text(PyObject *text);

/* Appends the record, whose head.type is set; head.size is set here. False: not open, or full. */
bool importlog_add(void *record, size_t size);

#endif
