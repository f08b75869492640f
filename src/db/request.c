#include "db/request.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

bool request_read(int fd, char request[REQUEST_MAX])
{
    size_t n = 0;

    while (n < REQUEST_MAX - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        const ssize_t got = poll(&p, 1, 1000) == 1 ? read(fd, request + n, REQUEST_MAX - 1 - n) : 0;

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

        if (n <= 0)
            return;
        at += (size_t)n;
    }
}
