/*
 * hitkeep.h - what a run has measured (hits.h) stays beside its journal until the run is whole, and --resume takes it up.
 */
#ifndef HASTEN_HITKEEP_H
#define HASTEN_HITKEEP_H

#include "run/hits.h"

/* The path of what belongs to a journal: its own, with another ending. False when it does not fit. */
bool hitkeep_path(const char *journal, char *path, size_t size);

/* Gives the memory its name. 0 or -errno (-EXDEV: it is not on that disk). Processes of a run go on as before. */
int hitkeep_link(int fd, const char *path);

enum hitkeep_result {
    HITKEEP_MERGED,
    HITKEEP_NOT_MEASURED, /* this run measures nothing: nothing was done */
    HITKEEP_NOT_KEPT,     /* there is nothing, or this run's tracer is another one, or it cannot be read */
    HITKEEP_OTHER         /* that run measured something else */
};

struct hitkeep_merge {
    uint32_t n_changed; /* files that were written to since: what ran in them is left out */
    char changed[512];  /* one of them */
};

/* Adds to the memory `fd` what the run of that journal has measured. */
enum hitkeep_result hitkeep_take_up(int fd, const char *journal, struct hitkeep_merge *merge);

#endif
