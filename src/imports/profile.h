/*
 * profile.h - the imports of one program, from the logs of several fresh processes of it.
 *
 * Modules and statements are numbered in the order in which they were first seen. What was measured is a value for each
 * process; of those the least and the median are kept.
 */
#ifndef HASTEN_IMPORTS_PROFILE_H
#define HASTEN_IMPORTS_PROFILE_H

#include "base/map.h"

#include "imports/digraph.h"
#include "imports/log.h"

#define PROFILE_NONE UINT32_MAX
#define PROFILE_MAX_RUNS 64

struct cost {
    uint64_t cpu_ns; /* of the module itself: without what it imports, without the garbage collector */
    uint64_t wall_ns;
    uint64_t gc_ns; /* of collections that happened in it: chance, not its own doing */
    int64_t bytes;
    uint64_t phase_ns[LOG_N_PHASES];
};

struct module {
    const char *name;   /* borrowed from a log, as all texts here */
    const char *file;   /* "": none */
    uint32_t flags;     /* enum log_flag of its first load */
    uint32_t n_loads;   /* in the process with the most; 0: there before, or no module */
    uint32_t statement; /* where it was loaded first; PROFILE_NONE */
    uint32_t within;    /* the module in whose load it was loaded first; PROFILE_NONE: none */
    uint32_t package;   /* the module that its name lies in; PROFILE_NONE */
    uint32_t first;     /* place in the order of loading */
    bool own;           /* the user's, see profile_own */
    struct cost median;
    struct cost least;
};

/* An import statement, or a call that imports: there each target is a statement of its own. */
struct statement {
    char *key; /* owned */
    size_t key_len;
    uint32_t importer; /* module */
    const char *file;
    uint32_t line;
    const char *function; /* "": it stands in no function */
    uint32_t flags;
    uint32_t *targets; /* owned: modules */
    uint32_t n_targets;
    uint32_t *callers; /* owned: of one in a function, modules in whose loads it was executed; the importer: in none */
    uint32_t n_callers;
    bool own;
};

/* importer needed target and found it not yet executed to its end. */
struct closing {
    uint32_t statement;
    uint32_t target;
};

/* `from module import name`, by another module. */
struct taking {
    uint32_t module;
    const char *name;
};

/* A line of the user's that took time of its own while its module was loaded: medians, 0 in processes in which it took none. */
struct work_line {
    uint32_t module;
    const char *file;
    uint32_t line;
    uint32_t n; /* how often it began, in the process with the most */
    uint64_t wall_ns;
    uint64_t cpu_ns;       /* much less than wall_ns: it waited */
    struct worked *worked; /* owned: n_runs of them, until profile_finish */
};

/* A module that nothing was seen to import, and where it was first seen: it hangs there. */
struct root {
    uint32_t module;
    uint32_t within; /* module; PROFILE_NONE: in none */
    uint32_t when;   /* 1 + seq of the load of `within`, 0 for none: the least counts */
};

struct profile {
    struct module *modules; /* owned */
    uint32_t n_modules;
    struct statement *statements; /* owned */
    uint32_t n_statements;
    struct closing *closings; /* owned */
    uint32_t n_closings;
    struct root *roots; /* owned */
    uint32_t n_roots;
    struct digraph_edge *uses; /* owned: statement -> module, for circles: without packages asked for their modules */
    uint32_t n_uses;
    struct taking *takings; /* owned */
    uint32_t n_takings;
    struct work_line *works; /* owned; after profile_finish what took most wall time is first */
    uint32_t n_works;
    char **texts; /* owned, and what it holds: names that stand in no log as they are */
    uint32_t n_texts;
    struct map by_name;
    struct map by_place;
    struct measured *measured; /* owned: n_runs for each module */
    uint32_t n_runs;
    uint32_t n_added;
    int64_t before[PROFILE_MAX_RUNS]; /* of each process: CPU time before it was watched */
    /* Of the whole process, medians: */
    uint64_t gc_ns;
    uint64_t before_ns;
    uint64_t cpu_ns;       /* of all loads, with the collector */
    uint64_t least_cpu_ns; /* of the process with the least */
    uint64_t wall_ns;
    int64_t bytes;
    bool full; /* a log was too small */
};

void profile_init(struct profile *p, uint32_t n_runs); /* n_runs: 1 to PROFILE_MAX_RUNS */
void profile_release(struct profile *p);
/* The log must live as long as the profile. Called n_runs times, then profile_finish once. */
void profile_add(struct profile *p, const struct log *log);
void profile_finish(struct profile *p);

/*
 * Marks what is the user's: files below root (absolute, no slash at its end), but not those that lie below a folder
 * of an environment there (site-packages, lib/python3.X, .tox ...).
 */
void profile_own(struct profile *p, const char *root);

/* own.c: the file is such a one. */
bool profile_is_own(const char *file, const char *root);

/* work.c: the line used less than half of its time on the processor. */
bool work_waits(const struct work_line *w);

/* work.c; called by profile_add, profile_finish, profile_release */
void work_add(struct profile *p, const struct log *log);
void work_finish(struct profile *p);
void work_release(struct profile *p);

/* The middle one of n values, which are put in order; 0 of none. */
int64_t profile_median(int64_t *values, uint32_t n);

/* PROFILE_NONE: there is no such module. */
uint32_t profile_find(const struct profile *p, const char *name);

#endif
