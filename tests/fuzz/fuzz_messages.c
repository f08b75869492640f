/*
 * Messages of reporter, template and workers, damaged in every way: the supervisor drops them or ends the run with a
 * message. It never reads outside, aborts, keeps a descriptor, or signals what is not a worker.
 *
 * The real messages.c, pool.c, schedule.c, results.c and finish.c on real channels; what would start processes, write
 * files or signal somebody is replaced below (the linker takes none of launch.c, remember.c, runs.c).
 */
#include "run/state.h"

#include "os/chan.h"
#include "os/shm.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_MESSAGES = 40, MOST_WORKERS = 4, PEERS = 3 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int far_ends[2]; /* of the reporter's and the template's channel */

struct input {
    const uint8_t *at;
    size_t n;
};

static uint64_t take(struct input *in, size_t n)
{
    uint64_t value = 0;

    n = n < in->n ? n : in->n;
    memcpy(&value, in->at, n);
    in->at += n;
    in->n -= n;
    return value;
}

/* ---- in place of launch.c, remember.c, runs.c and the kernel */

int kill(pid_t pid, int signal)
{
    (void)signal;
    HS_CHECK(pid > 1 || pid < -1);
    return 0;
}

void launch_note(struct run *run, const char *fmt, ...)
{
    struct record record = {.type = RECORD_NOTE, .item = RECORD_NO_ITEM, .slot = RECORD_NO_SLOT};
    char text[600];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    record.size = (uint32_t)strlen(text);
    if (run->has_journal && !run->ended)
        journal_add(&run->journal, &record, text);
}

int launch_template(struct run *run, const char *start, struct err *err)
{
    int ends[2];

    (void)start;
    if (chan_pair(ends) < 0)
        return err_set(err, "no channel");
    run_close_fd(&run->template.chan);
    run_close_fd(&far_ends[1]);
    run->template = (struct peer){.chan = ends[0]};
    far_ends[1] = ends[1];
    run->template_restarts++;
    return 0;
}

void launch_open_hits(struct run *run)
{
    (void)run;
}

int launch_pytest(struct run *run, struct err *err)
{
    (void)run;
    return err_set(err, "no pytest");
}

int launch_reporter(struct run *run, struct err *err)
{
    return launch_pytest(run, err);
}

int launch_worker(struct run *run, uint32_t slot, int chan, struct err *err)
{
    (void)slot;
    (void)chan;
    return launch_pytest(run, err);
}

void remember_open(struct run *run)
{
    (void)run;
}

void remember_expect(struct run *run)
{
    (void)run;
}

uint32_t remember_workers(struct run *run)
{
    return run->config.workers < MOST_WORKERS ? run->config.workers : MOST_WORKERS;
}

void remember_write(struct run *run)
{
    (void)run;
}

void remember_close(struct run *run)
{
    (void)run;
}

void remember_start(const struct run *run, const char *mode, const char *why)
{
    (void)run;
    HS_CHECK(strlen(mode) + strlen(why) > 0);
}

bool runs_make_folder(const char *rootdir, char *path, size_t size)
{
    (void)rootdir;
    (void)path;
    (void)size;
    return false;
}

bool runs_newest(const char *folder, const char *except, char *path, size_t size)
{
    (void)except;
    return runs_make_folder(folder, path, size);
}

void runs_prune(const char *folder)
{
    (void)folder;
}

/* ---- messages */

/* A catalog of up to 7 tests; the bytes of the input overwrite it from somewhere on. */
static int make_catalog(struct input *in, uint8_t how)
{
    const uint32_t n = how % 8;
    const uint64_t strings = 64 + n * sizeof(struct catalog_item);
    const uint64_t areas[] = {strings + n, 0, strings, n};
    char blob[64 + 7 * sizeof(struct catalog_item) + 7] = CATALOG_MAGIC;
    const size_t size = (size_t)strings + n;
    const size_t at = how / 8 % size;
    const size_t damaged = in->n < size - at ? in->n : size - at;
    const int fd = shm_create("catalog", 0);

    memcpy(blob + 8, &n, sizeof n);
    blob[12] = 1; /* groups */
    memcpy(blob + 16, areas, sizeof areas);
    for (uint32_t i = 0; i < n; i++) {
        const struct catalog_item item = {.id_at = i, .id_len = 1};

        memcpy(blob + 64 + i * sizeof item, &item, sizeof item);
        blob[strings + i] = (char)('a' + (int)i);
    }
    if (how & 128)
        memcpy(blob + at, in->at, damaged);
    HS_CHECK(fd >= 0 && write(fd, blob, size) == (ssize_t)size);
    return fd;
}

static int make_fd(struct input *in, uint8_t kind)
{
    int fd = -1;

    if (kind == 1)
        return make_catalog(in, (uint8_t)take(in, 1));
    if (kind == 2)
        return open("/", O_RDONLY | O_CLOEXEC);
    if (kind == 3) {
        const size_t n = in->n < 200 ? in->n : 200;

        fd = shm_create("any", 0);
        HS_CHECK(fd >= 0 && write(fd, in->at, n) == (ssize_t)n);
    }
    return fd;
}

/* As chan_send, and also what it would never send: any length, two descriptors. */
static void send_raw(int chan, const void *bytes, size_t n, const int *fds, size_t n_fds)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
    union {
        char bytes[CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr head = {.msg_iov = &part, .msg_iovlen = 1};

    if (n_fds) {
        struct cmsghdr *c = &control.align;

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
        head.msg_control = control.bytes;
        head.msg_controllen = c->cmsg_len;
    }
    sendmsg(chan, &head, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void send_one(int chan, struct input *in)
{
    static char message[sizeof(struct chan_msg) + CHAN_MAX_DATA + 64];
    struct chan_msg msg = {.type = (uint32_t)take(in, 1) % 20, .slot = (uint32_t)take(in, 1) % 6};
    const uint8_t how = (uint8_t)take(in, 1);
    const int fd = make_fd(in, how % 4);
    const int fds[] = {fd, fd};
    const size_t n_data = in->n && how & 4 ? take(in, 2) % (CHAN_MAX_DATA + 64) : in->n % 256;
    size_t n = sizeof msg;

    msg.a = how & 8 ? take(in, 8) : take(in, 1) % 8;
    msg.b = how & 8 ? take(in, 8) : take(in, 1);
    memcpy(message, &msg, sizeof msg);
    for (size_t i = 0; i < n_data && how & 48; i++)
        message[n++] = (char)take(in, 1);
    if (how & 64)
        n = how / 4 % (sizeof msg);
    send_raw(chan, message, n, fds, fd < 0 ? 0 : how & 128 ? 2 : 1);
    if (fd >= 0)
        close(fd);
}

static void read_all(int chan)
{
    static char data[CHAN_MAX_DATA];
    struct chan_msg msg;
    size_t n;
    int fd = -1;

    while (chan >= 0 && chan_recv(chan, 0, &msg, data, &n, &fd) > 0)
        run_close_fd(&fd);
}

/* ---- a run */

static void configure(struct run *run, uint8_t how)
{
    static const char *const starts[] = {"template", "early", "spawn", "template"};
    static const char *const dists[] = {"load", "loadscope", "each", "worksteal"};
    const struct chan_msg msg = {.type = WIRE_CONFIG};
    char text[96];
    struct err err;

    snprintf(text, sizeof text, "workers=%d\nmax_restarts=2\nstart=%s\ndist=%s\n", 1 + how % 4, starts[how / 4 % 4],
             dists[how / 16 % 4]);
    HS_CHECK(chan_send(far_ends[0], &msg, text, strlen(text), -1) == 0);
    HS_CHECK(messages_drain(run, &run->reporter.chan, FROM_REPORTER, 0, &err) == 0 && run->configured);
}

/* So far as workers that were asked for. */
static void collect(struct run *run)
{
    const struct chan_msg msg = {.type = WIRE_CATALOG};
    const int fd = make_catalog(&(struct input){0}, 3);
    struct err err;

    HS_CHECK(chan_send(far_ends[1], &msg, NULL, 0, fd) == 0);
    close(fd);
    HS_CHECK(messages_drain(run, &run->template.chan, FROM_TEMPLATE, 0, &err) == 0 && run->planned);
}

static int deliver(struct run *run, struct input *in, struct err *err)
{
    const uint8_t who = (uint8_t)(take(in, 1) % PEERS);
    const uint32_t slot = run->n_used ? (uint32_t)take(in, 1) % run->n_used : 0;
    int ends[2];
    int code;

    if (who < 2) {
        send_one(far_ends[who], in);
        return who ? messages_drain(run, &run->template.chan, FROM_TEMPLATE, 0, err)
                   : messages_drain(run, &run->reporter.chan, FROM_REPORTER, 0, err);
    }
    if (!run->n_used || !run->workers[slot].live || chan_pair(ends) < 0)
        return 0;
    send_one(ends[1], in); /* as if it were the other end of the worker's own channel, which the template has */
    close(ends[1]);
    code = messages_drain(run, &ends[0], FROM_WORKER, slot, err);
    run_close_fd(&ends[0]);
    return code;
}

static void end(struct run *run)
{
    for (uint32_t i = 0; i < run->n_used; i++) {
        HS_CHECK(run->workers[i].pid == 0 || run->workers[i].pid > 1);
        pool_reap(run, i, 0);
    }
    if (run->has_catalog)
        HS_CHECK(run->n_done <= run->catalog.n_items);
    if (run->catalog_map)
        shm_unmap(run->catalog_map, run->catalog_size);
    run_close_fd(&run->reporter.chan);
    run_close_fd(&run->template.chan);
    run_release(run);
    for (size_t i = 0; i < HS_COUNT(far_ends); i++)
        run_close_fd(&far_ends[i]);
}

static int open_fds(void)
{
    int n = 0;

    for (int fd = 0; fd < 100; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const struct run_options options = {.reporter_chan = -1, .template_chan = -1};
    static const struct run_watcher watcher;
    struct run_totals totals = {0};
    struct run run = {.options = &options, .watcher = &watcher, .totals = &totals};
    struct input in = {.at = bytes, .n = size};
    struct err err = {0};
    const int n_fds = open_fds();
    uint8_t how_far;
    int code = 0;

    run.signals = run.segment_fd = run.inputs_fd = run.hits_fd = run.table_fd = run.catalog_fd = -1;
    run.pty = run.pty_slave = -1;
    for (int i = 0; i < 2; i++) {
        int ends[2];

        HS_CHECK(chan_pair(ends) == 0);
        *(i ? &run.template.chan : &run.reporter.chan) = ends[0];
        far_ends[i] = ends[1];
    }
    how_far = (uint8_t)take(&in, 1) % 4;
    if (how_far)
        configure(&run, (uint8_t)take(&in, 1));
    if (how_far > 1)
        collect(&run);
    for (int i = 0; i < MOST_MESSAGES && in.n && code == 0; i++) {
        code = deliver(&run, &in, &err);
        if (code == 0 && run.configured) {
            results_drain_all(&run);
            pool_look(&run);
        }
        if (code == 0)
            finish_look(&run);
        read_all(far_ends[0]);
        read_all(far_ends[1]);
    }
    HS_CHECK(code == 0 || err.text[0]);
    end(&run);
    HS_CHECK(open_fds() == n_fds); /* else one was kept */
    return 0;
}
