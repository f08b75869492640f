/*
 * options.h - what a run is told: by the command line (run_options) and by the reporter, which has read pytest's
 * options and configuration (run_config, as "key=value\n" lines in WIRE_CONFIG).
 */
#ifndef HASTEN_OPTIONS_H
#define HASTEN_OPTIONS_H

#include "base/err.h"
#include "run/view.h"
#include "store/record.h"

struct run_options {
    const char *python;       /* interpreter; found by cmd/python.c */
    char *const *pytest_args; /* NULL-terminated */
    size_t n_pytest_args;
    bool resume;       /* go on where the last unfinished journal of this rootdir ends */
    bool live;         /* a terminal: pytest gets a pseudo-terminal and the watcher draws */
    uint64_t seed;     /* of the plan, see sched/plan.h */
    int reporter_chan; /* `pytest --hasten`: the reporter is there already; -1: we start it */
    int template_chan;
};

struct run_config {
    uint32_t workers;
    char dist[16];
    uint32_t max_fail;
    uint32_t max_restarts;
    uint64_t timeout_ms;
    uint64_t worker_memory; /* bytes, 0: no limit */
    char rootdir[4096];
    bool in_order;
    char start[16];
    char python[32];
    char pytest[32];
    bool quiet;
    bool own_screen;   /* a plugin draws progress of its own: the watcher gets no ticks */
    int pid;           /* of the reporter */
    bool auto_workers; /* nobody asked for a number */
    char key[256];     /* of the history: interpreter and what else changes durations */
};

/* Unknown keys are left alone. -1 with err for a value that cannot be. */
int run_config_parse(struct run_config *config, const char *text, size_t n, struct err *err);

/* What a run tells those who show it. Every function may be NULL. Times: clock_now_ns. */
struct run_watcher {
    void *self;
    void (*lend)(void *self, bool lent); /* whether keys go to pytest now, all of them: a debugger reads (live only) */
    void (*output)(void *self, const char *bytes, size_t n); /* pytest printed this (live only) */
    void (*tick)(void *self, const struct run_view *view);   /* about 10 times a second (live only) */
    void (*resized)(void *self, uint32_t columns, uint32_t rows);
    void (*suspend)(void *self); /* Ctrl-Z: stops this process, and returns when it goes on (live only) */
    void (*finished)(void *self, const struct record *record, const char *id, size_t id_len, const char *text,
                     size_t text_len); /* one test has its result; text: of a crash, else empty */
    void (*worker)(void *self, uint32_t slot, uint64_t up_ns, uint64_t down_ns); /* at the end, for each that lived */
};

/* What is left to say when a run is over. */
struct run_totals {
    int status;       /* exit status */
    bool distributed; /* false: pytest ran everything itself */
    bool quiet;
    uint64_t wall_ns;
    uint64_t tests_ns; /* sum of all phases of the tests that ran now, without what workers waited for a core */
    uint64_t start_ns; /* from start to the first worker */
    uint64_t idle_ns;  /* of all workers while tests were running */
    uint64_t span_ns;  /* first worker up to last worker down */
    uint32_t n_tests;
    uint32_t n_workers;
    struct run_slow {
        char id[256];
        uint64_t ns;
    } slow[3];
    uint32_t n_slow;
    struct run_marks { /* clock_now_ns; 0: never reached */
        uint64_t started_ns;
        uint64_t configured_ns; /* pytest, plugins and conftests are loaded */
        uint64_t collected_ns;
        uint64_t first_up_ns;
        uint64_t ended_ns; /* every result is in; summaries and reports follow */
        uint64_t over_ns;
    } marks;
    char note[480]; /* one more line for people, or "" */
};

/* Runs it all. *totals is filled in; 0, or -1 with err when there was nothing that could run. */
int run_tests(const struct run_options *options, const struct run_watcher *watcher, struct run_totals *totals,
              struct err *err);

#endif
