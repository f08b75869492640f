/*
 * state.h - the supervisor's own memory of one run; private to src/run/.
 *
 * Who does what:  run.c the loop; messages.c what the others say; launch.c starts pytest; schedule.c from catalog to
 * ranges; finish.c the end; results.c rings to journal, what has a result and what is left; resume.c takes over an earlier
 * run's; remember.c the history; parts.c tests that several processes have collected; show.c what a watcher sees;
 * totals.c what is left to say at the end; pool.c workers: start, watch, end.
 */
#ifndef HASTEN_RUN_STATE_H
#define HASTEN_RUN_STATE_H

#include "base/map.h"
#include "run/leases.h"
#include "run/options.h"
#include "run/segment.h"
#include "run/wire.h"
#include "sched/plan.h"
#include "store/catalog.h"
#include "store/journal.h"

/* Why we ended a worker ourselves. */
enum worker_end { END_NONE, END_TIMEOUT, END_LEAVING, END_MEMORY, END_STOPPED, END_INTERRUPT };

struct worker {
    int pid;  /* 0: asked for, not there yet */
    int chan; /* owned; its end of file kills the worker */
    struct ring_reader reader;
    bool live;           /* asked for and not reaped */
    bool node_down;      /* its session has ended properly */
    bool aborted;        /* early start: has said why it could not collect, and leaves */
    bool has_plan;       /* early start: WIRE_PLAN was sent */
    bool waits_for_plan; /* early start: collected, wants WIRE_PLAN */
    uint32_t part;
    enum worker_end end;
    uint64_t ended_at_ns; /* when we sent the first signal */
    uint32_t stopped_looks;
    uint32_t last_item; /* last one with a result */
    uint64_t up_ns;     /* clock when it was asked for */
    uint64_t down_ns;
};

struct peer {
    int chan;     /* owned; -1: gone or never there */
    int pid;      /* 0: not a child of ours */
    int said_pid; /* of a template: as it says itself; 0 before that */
    int status;   /* wait status once exited */
    bool exited;
};

/* What one test took in this run. */
struct phases {
    uint64_t setup_ns;
    uint64_t call_ns;
    uint64_t teardown_ns;
    bool fresh; /* ran now, not taken over from an earlier run's journal */
};

/* Tests that one of several collecting processes can fork workers for. */
struct part {
    bool waits;  /* has tests and was not handed out: more parts than workers */
    bool closed; /* a worker more found nothing to take */
};

struct remembered;

struct run {
    const struct run_options *options; /* borrowed */
    const struct run_watcher *watcher; /* borrowed */
    struct run_totals *totals;         /* borrowed */
    struct run_config config;
    struct peer reporter;
    struct peer template;
    bool configured;     /* WIRE_CONFIG has come */
    bool plain;          /* pytest runs everything itself */
    char early_why[512]; /* a suite that needs the early start said so; told and remembered once configured */
    bool early;          /* workers collect for themselves */
    bool early_wanted;   /* ... once the template that has asked for it has ended */
    bool anew_wanted;    /* likewise: another template is to collect alone */
    bool beside;         /* tests were collected by several processes */
    char anew_why[512];  /* why they could not be */
    bool anew_kept;      /* and will not be in the next run */
    bool spawn;          /* ... in processes of their own: there is no template */
    bool planned;
    bool gathered;       /* the first workers that collect for themselves have all done it */
    bool aborted;        /* WIRE_ABORT has come */
    bool ended;          /* RECORD_END is written */
    bool template_last;  /* the template tears fixtures down after the last worker: its end is waited for */
    uint64_t quit_ns;    /* when the template was told to end; 0: not yet */
    bool template_late;  /* and it was ended, being late */
    bool template_ready; /* it forks when asked: it has collected, or (early) has what it gives to workers */
    bool strange;        /* a message that nobody of ours sends has come; said once */
    bool said_bye;       /* WIRE_BYE has come: the reporter's exit status is pytest's */
    bool proper_end;     /* a worker has ended its session */
    uint32_t template_restarts;
    uint32_t reporter_restarts;
    int signals;    /* owned signalfd */
    int pty;        /* owned master, not blocking; -1: not live */
    int pty_slave;  /* owned */
    bool keys_lent; /* what is typed goes to the pseudo-terminal */
    bool keys_gone; /* the end of our standard input was read */
    uint32_t n_interrupts;
    int exit_signal; /* SIGTERM, SIGHUP: end quickly */
    uint64_t started_ns;
    uint64_t interrupted_ns;
    uint64_t last_draw_ns;
    uint64_t last_look_ns;
    uint64_t looked_ns; /* when the workers were looked at last, and ... */
    uint64_t
        gap_begin_ns; /* ... the last time that we did not come to it for long: we were stopped, or the machine was */
    uint64_t gap_end_ns;
    uint64_t last_result_ns;
    uint64_t configured_ns; /* 0 here and below: not reached */
    uint64_t collected_ns;
    uint64_t first_up_ns;
    uint64_t ended_ns;

    struct segment segment;
    int segment_fd;
    int inputs_fd;
    int hits_fd;          /* hits.h; -1: none could be made */
    char hits_path[4600]; /* where that is kept; "": nowhere */
    struct plan_table table;
    int table_fd;
    int catalog_fd;
    void *catalog_map;
    size_t catalog_size;
    struct catalog catalog;
    bool has_catalog;
    struct needs needs; /* of exclusive things, in the catalog */
    struct leases leases;
    bool leased; /* some test has needs */

    struct journal journal;
    bool has_journal;
    uint64_t told; /* bytes of the journal that the reporter knows of */
    char journal_path[4352];
    char crash_dir[128];

    uint8_t *result;       /* owned, per item: enum record_outcome, 0 while there is none */
    uint8_t *attempts;     /* owned, per item: how often it was handed out again */
    struct phases *phases; /* owned, per item */
    uint64_t asks;         /* enum wire_asks */
    bool waits_for_groups; /* tests are collected and not yet planned */
    uint32_t *groups;      /* owned, per item; NULL: the catalog's */
    uint32_t *part_of;     /* owned, per item; NULL: there is one part */
    uint32_t n_part_of;
    struct part *parts;  /* owned */
    uint32_t n_parts;    /* 0: one */
    uint8_t *unanswered; /* owned, per item: a crash that the reporter has not yet seen */
    uint32_t n_unanswered;
    uint32_t n_done;
    uint32_t n_outcome[OUTCOME_COUNT];
    uint32_t n_free; /* first position of the table not in use */
    uint64_t expected_total_ns;
    uint64_t expected_done_ns;
    uint64_t *expected_ns; /* owned, per item; 0 unknown */
    uint32_t expected_known;
    uint32_t n_workers;    /* that are started at a time */
    uint64_t worker_bytes; /* most private memory seen of one worker */
    uint64_t last_weigh_ns;
    struct remembered *remembered; /* owned; remember.c */

    struct worker *workers; /* owned, one for each slot */
    uint32_t n_slots;
    uint32_t n_used; /* slots ever used */
    uint32_t n_restarts;
    uint32_t n_awaited; /* workers that others waited for at the last look */
    bool gave_up;       /* no more replacements */
};

/* run.c */
void run_close_fd(int *fd);
void run_release(struct run *run);

/* messages.c. What is there on *chan; closed and -1 at its end. slot: of a worker. -1 with err: the run cannot go on. */
enum sender { FROM_REPORTER = 1, FROM_TEMPLATE = 2, FROM_WORKER = 4 };
int messages_drain(struct run *run, int *chan, enum sender from, uint32_t slot, struct err *err);

/* launch.c */
void launch_open_hits(struct run *run);
int launch_pytest(struct run *run, struct err *err);
int launch_reporter(struct run *run, struct err *err);
int launch_worker(struct run *run, uint32_t slot, int chan, struct err *err);
int launch_template(struct run *run, const char *start, struct err *err);
void launch_note(struct run *run, const char *fmt, ...) HS_PRINTF(2, 3); /* a line for people, through the reporter */

/* parts.c */
void parts_take(struct run *run, int fd, uint64_t n); /* takes fd over; before the catalog */
void parts_drop(struct run *run);
int parts_check(const struct run *run, struct err *err); /* against the catalog */
void parts_share(struct run *run, const uint32_t *left, uint32_t n, uint32_t *n_workers);
void parts_ended(struct run *run, uint32_t slot); /* this worker has ended */
void parts_look(struct run *run);                 /* a part may need one more, now or after a while */

/* schedule.c */
int schedule_open(struct run *run, int catalog_fd, struct err *err);
int schedule_plan(struct run *run, struct err *err);
int schedule_part(struct run *run, uint32_t part, struct err *err); /* hands out what waits in it, to one worker */
uint32_t schedule_again(struct run *run);                           /* hands out what has no result; how many tests */

/* queues.c */
int queues_open(struct run *run, struct err *err);             /* after the catalog */
size_t queues_bytes(const struct run *run, uint32_t capacity); /* of leases.h, behind the plan table */
void queues_make(struct run *run, bool fixed);
void queues_fill(struct run *run, uint32_t at, uint32_t item, uint32_t set); /* what leases.h knows of a position */
/* Moves tests with needs from left[0..*n) into queues. grouped: groups stay together. */
int queues_split(struct run *run, uint32_t *left, uint32_t *n, bool grouped, struct err *err);

/* answers.c */
int answers_groups(struct run *run, int fd, bool any, struct err *err);
void answers_ask_crash(struct run *run, uint32_t item);
void answers_crash(struct run *run, uint64_t item, bool again);
bool answers_awaited(const struct run *run); /* the reporter has something to decide before this run may end */

/* results.c */
int results_open(struct run *run, struct err *err);
void results_drain(struct run *run, uint32_t slot);
void results_drain_all(struct run *run);
void results_tell(struct run *run);
void results_add(struct run *run, const struct record *record, const void *payload);
void results_crash(struct run *run, uint32_t slot, uint32_t item, enum record_outcome outcome, const char *text);
uint32_t results_missing(const struct run *run);
int results_resume(struct run *run, struct err *err);
void results_interrupt(struct run *run, const char *kind, const char *text);

/* finish.c */
void finish_look(struct run *run); /* when no worker lives: has what is missing run again, or ends the run */

/* remember.c */
void remember_open(struct run *run);
void remember_expect(struct run *run);
uint32_t remember_workers(struct run *run);
void remember_write(struct run *run);
void remember_close(struct run *run);
void remember_collect(const struct run *run);
void remember_start(const struct run *run, const char *mode, const char *why);

/* totals.c */
void totals_fill(struct run *run);

/* show.c */
void show_draw(struct run *run);
bool show_relay(struct run *run);
void show_lend_keys(struct run *run);
void show_relay_keys(struct run *run, bool ready);

/* pool.c */
bool pool_start(struct run *run, uint32_t part); /* one more worker; false when no slot is left */
void pool_forked(struct run *run, uint32_t slot, int pid);
void pool_reap(struct run *run, uint32_t slot, int status);
void pool_look(struct run *run); /* limits of time and memory, stopped workers, lost template */
uint32_t pool_live(const struct run *run);
bool pool_debugs(const struct run *run);               /* a debugger holds one of them */
bool pool_may_restart(struct run *run, uint32_t slot); /* counts one; false: too many, and the run stops */
void pool_signal(struct run *run, int signal);
void pool_send_plans(struct run *run); /* to workers that have collected for themselves, once all have */
void pool_remove_stack(const struct run *run, uint32_t slot);
uint64_t pool_end_limit_ns(const struct run *run); /* for what follows the last test of a process; 0: none */

#endif
