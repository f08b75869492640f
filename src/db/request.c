#include "db/request.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { LINE_LIMIT_MS = 5000 };

/* Children of the keeper end at any time: a call that their signal interrupts is made again. */
static ssize_t read_some(int fd, char *to, size_t n, uint64_t limit_ns)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    for (;;) {
        const uint64_t now = clock_now_ns();
        const int ready = now < limit_ns ? poll(&p, 1, (int)((limit_ns - now) / 1000000) + 1) : 0;
        const ssize_t got = ready > 0 ? read(fd, to, n) : ready;

        if (got >= 0 || errno != EINTR)
            return got;
    }
}

bool request_read(int fd, char request[REQUEST_MAX])
{
    const uint64_t limit_ns = clock_now_ns() + (uint64_t)LINE_LIMIT_MS * 1000000;
    size_t n = 0;

    while (n < REQUEST_MAX - 1) {
        const ssize_t got = read_some(fd, request + n, REQUEST_MAX - 1 - n, limit_ns);

        if (got <= 0)
            return false;
        n += (size_t)got;
        request[n] = '\0';
        if (strchr(request, '\n'))
            return true;
    }
    return false;
}

void request_answer(int fd, const struct str *answer)
{
    for (size_t at = 0; at < answer->len;) {
        const ssize_t n = write(fd, answer->data + at, answer->len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}
