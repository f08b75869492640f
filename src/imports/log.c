#include "imports/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void log_close(struct log *log)
{
    free(log->data);
    free(log->texts);
    free(log->loads);
    free(log->edges);
    free(log->notes);
    free(log->works);
    *log = (struct log){0};
}

/* How many records of each kind there are, or -1 when one does not lie inside. */
static int count(const struct log *log, size_t used, uint32_t counts[LOG_WORK + 1], struct err *err)
{
    struct log_record head;

    for (size_t at = sizeof(struct log_header); at < used; at += head.size) {
        if (used - at < sizeof head)
            return err_set(err, "the log of imports ends inside of a record");
        memcpy(&head, log->data + at, sizeof head);
        if (head.size < sizeof head || head.size % 8 || head.size > used - at)
            return err_set(err, "the log of imports has a record of %u bytes at %zu", head.size, at);
        if (head.type >= LOG_TEXT && head.type <= LOG_WORK)
            counts[head.type]++;
    }
    return 0;
}

static bool known_place(const struct log *log, const struct log_place *place)
{
    return place->importer < log->n_texts && place->file < log->n_texts && place->function < log->n_texts &&
           place->attribute < log->n_texts;
}

static bool add_text(struct log *log, const struct log_record *head)
{
    const struct log_text *text = (const struct log_text *)head;

    if (head->size < sizeof *text + 1 || text->n >= head->size - sizeof *text || text->bytes[text->n])
        return false;
    log->texts[log->n_texts++] = text->bytes;
    return true;
}

/* Sums of such numbers stay far from overflowing: 2^48 ns are three days. */
static const uint64_t MOST = (uint64_t)1 << 48;

static bool plausible(const struct log_load *load)
{
    uint64_t all = load->start_ns | load->wall_ns | load->cpu_ns | load->self_wall_ns | load->self_cpu_ns | load->gc_ns;

    for (int i = 0; i < LOG_N_PHASES; i++)
        all |= load->phase_ns[i];
    return all < MOST && load->self_bytes < (int64_t)MOST && load->self_bytes > -(int64_t)MOST;
}

static bool add_load(struct log *log, const struct log_record *head)
{
    const struct log_load *load = (const struct log_load *)head;

    if (head->size < sizeof *load || !known_place(log, &load->place) || load->name >= log->n_texts ||
        load->origin >= log->n_texts || !plausible(load))
        return false;
    log->loads[log->n_loads++] = load;
    return true;
}

static bool add_edge(struct log *log, const struct log_record *head)
{
    const struct log_edge *edge = (const struct log_edge *)head;

    if (head->size < sizeof *edge || !known_place(log, &edge->place) || edge->name >= log->n_texts ||
        edge->package >= log->n_texts || edge->n_names > (head->size - sizeof *edge) / sizeof edge->names[0])
        return false;
    for (uint32_t i = 0; i < edge->n_names; i++)
        if (edge->names[i] >= log->n_texts)
            return false;
    log->edges[log->n_edges++] = edge;
    return true;
}

static bool add_note(struct log *log, const struct log_record *head)
{
    const struct log_noted *note = (const struct log_noted *)head;

    if (head->size < sizeof *note)
        return false;
    for (size_t i = 0; i < HS_COUNT(note->text); i++)
        if (note->text[i] >= log->n_texts)
            return false;
    log->notes[log->n_notes++] = note;
    return true;
}

static bool add_work(struct log *log, const struct log_record *head)
{
    const struct log_work *work = (const struct log_work *)head;

    if (head->size < sizeof *work || work->module >= log->n_texts || work->file >= log->n_texts ||
        (work->wall_ns | work->cpu_ns) >= MOST)
        return false;
    log->works[log->n_works++] = work;
    return true;
}

static bool add(struct log *log, const struct log_record *head)
{
    switch (head->type) {
    case LOG_TEXT:
        return add_text(log, head);
    case LOG_LOAD:
        return add_load(log, head);
    case LOG_EDGE:
        return add_edge(log, head);
    case LOG_NOTE:
        return add_note(log, head);
    case LOG_WORK:
        return add_work(log, head);
    default:
        return true; /* of a later version */
    }
}

int log_parse(struct log *log, char *data, size_t size, struct err *err)
{
    uint32_t counts[LOG_WORK + 1] = {0};
    const struct log_record *head;
    size_t used;

    *log = (struct log){.data = data, .size = size};
    if (size < sizeof(struct log_header) || memcmp(data, LOG_MAGIC, 8) != 0) {
        err_set(err, "this is no log of imports");
        goto fail;
    }
    log->header = (const struct log_header *)data;
    used = (size_t)atomic_load_explicit(&log->header->used, memory_order_acquire);
    if (used > size || used < sizeof(struct log_header)) {
        err_set(err, "the log of imports is shorter than it says");
        goto fail;
    }
    if ((log->header->before_ns | log->header->gc_ns) >= MOST) {
        err_set(err, "the log of imports has a wrong header");
        goto fail;
    }
    if (count(log, used, counts, err) < 0)
        goto fail;
    log->texts = hs_alloc((counts[LOG_TEXT] + 1) * sizeof *log->texts);
    log->loads = hs_alloc((counts[LOG_LOAD] + 1) * sizeof *log->loads);
    log->edges = hs_alloc((counts[LOG_EDGE] + 1) * sizeof *log->edges);
    log->notes = hs_alloc((counts[LOG_NOTE] + 1) * sizeof *log->notes);
    log->works = hs_alloc((counts[LOG_WORK] + 1) * sizeof *log->works);
    log->texts[log->n_texts++] = "";
    for (size_t at = sizeof(struct log_header); at < used; at += head->size) {
        head = (const struct log_record *)(data + at);
        if (!add(log, head)) {
            err_set(err, "the log of imports has a wrong record at %zu", at);
            goto fail;
        }
    }
    return 0;

fail:
    log_close(log);
    return -1;
}

/* How much of the file is in use: it may be far longer, and empty there, when its writer was killed. */
static size_t used_bytes(int fd)
{
    struct log_header header;
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || pread(fd, &header, sizeof header, 0) != sizeof header ||
        memcmp(header.magic, LOG_MAGIC, sizeof header.magic) != 0)
        return 0;
    return header.used <= LOG_MAX_BYTES && header.used <= (uint64_t)st.st_size ? (size_t)header.used : 0;
}

int log_read(struct log *log, const char *path, struct err *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t size;
    size_t n = 0;
    char *data;

    *log = (struct log){0};
    if (fd < 0)
        return err_sys(err, errno, "cannot open '%.200s'", path);
    size = used_bytes(fd);
    data = hs_alloc(size + 1);
    while (n < size) {
        const ssize_t got = pread(fd, data + n, size - n, (off_t)n);

        if (got <= 0)
            break;
        n += (size_t)got;
    }
    close(fd);
    return log_parse(log, data, n, err);
}
