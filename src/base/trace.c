#include "base/trace.h"

#include "base/clock.h"
#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int trace_fd = -1;

/* Which file trace_fd must be: a test may close every descriptor, and the number then belongs to a file of its own. */
static dev_t trace_dev;
static ino_t trace_ino;

/* Out of the way of programs that expect the next descriptor to be a small number. */
static int move_up(int fd)
{
    const int high = fcntl(fd, F_DUPFD_CLOEXEC, 100);

    if (high < 0)
        return fd;
    close(fd);
    return high;
}

int trace_open(const char *path)
{
    struct stat info;
    int fd;

    trace_close();
    if (!path || !path[0])
        return 0;
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return -errno;
    if (fstat(fd, &info) < 0) {
        const int code = errno;

        close(fd);
        return -code;
    }
    trace_dev = info.st_dev;
    trace_ino = info.st_ino;
    trace_fd = move_up(fd);
    return 0;
}

static bool still_ours(void)
{
    struct stat info;

    return fstat(trace_fd, &info) == 0 && info.st_dev == trace_dev && info.st_ino == trace_ino;
}

void trace_close(void)
{
    if (trace_fd >= 0 && still_ours())
        close(trace_fd);
    trace_fd = -1;
}

static void add_field(struct str *line, const struct trace_field *f)
{
    str_addf(line, ",\"%s\":", f->kind == TRACE_IS_NAME ? "ev" : f->name);
    switch (f->kind) {
    case TRACE_IS_NAME:
        json_string(line, f->name, strlen(f->name));
        break;
    case TRACE_IS_U64:
        str_addf(line, "%" PRIu64, f->number);
        break;
    case TRACE_IS_I64:
        str_addf(line, "%" PRId64, (int64_t)f->number);
        break;
    case TRACE_IS_BOOL:
        str_puts(line, f->number ? "true" : "false");
        break;
    case TRACE_IS_TEXT:
        if (f->text)
            json_string(line, f->text, f->len == SIZE_MAX ? strlen(f->text) : f->len);
        else
            str_puts(line, "null");
        break;
    }
}

void trace_write(const struct trace_field *fields, size_t n)
{
    const int saved = errno;
    struct str line = STR_INIT;

    if (!still_ours()) {
        trace_fd = -1;
        return;
    }
    str_addf(&line, "{\"t\":%" PRIu64 ",\"pid\":%d", clock_now_ns(), (int)getpid());
    for (size_t i = 0; i < n; i++)
        add_field(&line, &fields[i]);
    str_puts(&line, "}\n");
    while (write(trace_fd, line.data, line.len) < 0 && errno == EINTR)
        ;
    str_release(&line);
    errno = saved;
}
