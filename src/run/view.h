/*
 * view.h - what a person may see of a run at one moment: pure data, filled by the loop (run/run.c), read by ui/.
 *
 * Nothing here is owned: a view lives for one call of line_draw.
 */
#ifndef HASTEN_VIEW_H
#define HASTEN_VIEW_H

#include "store/record.h"

enum view_phase {
    VIEW_STARTING,   /* Python, plugins and conftests are being loaded */
    VIEW_COLLECTING, /* n_total counts what is collected so far */
    VIEW_TESTING,
    VIEW_FINISHING, /* every test has a result; session teardown and reports */
};

enum view_worker_state {
    VIEW_WORKER_STARTING,
    VIEW_WORKER_IDLE,
    VIEW_WORKER_RUNNING, /* node_id and running_ns are set */
    VIEW_WORKER_GONE,
};

struct view_worker {
    uint32_t slot; /* shown as gw<slot> */
    enum view_worker_state state;
    const char *node_id; /* borrowed, not NUL-terminated, any bytes */
    size_t node_id_len;
    uint64_t running_ns; /* since the set-up of this test began */
};

struct run_view {
    enum view_phase phase;
    bool stopping;       /* Ctrl-C was pressed: what runs comes to its end, nothing new starts */
    uint64_t elapsed_ns; /* since hasten started */
    uint32_t n_total;
    uint32_t n_done;
    uint32_t n_outcome[OUTCOME_COUNT]; /* by enum record_outcome */
    uint64_t eta_ns;                   /* time left; 0: unknown */
    bool eta_trusted;                  /* false: a guess from too little, shown with a question mark */
    const struct view_worker *workers; /* borrowed, in any order */
    uint32_t n_workers;
};

#endif
