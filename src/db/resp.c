#include "db/resp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { DEPTH_MAX = 8, BUFFER_BYTES = 16384 };

/* One reply that is being read. */
struct reply {
    int fd;
    size_t at, n; /* what is left of buffer */
    struct str line;
    struct str *values; /* NULL: not wanted */
    struct err *err;
    char said[200]; /* the first error in it */
    char buffer[BUFFER_BYTES];
};

int resp_open(const char *path, int limit_s, struct err *err)
{
    const struct timeval limit = {.tv_sec = limit_s};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof address.sun_path)
        return err_set(err, "the path of the Redis server's socket is too long: '%.200s'", path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        return fd;
    }
    err_sys(err, errno, "no connection to the Redis server at '%.200s'", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

static int next_byte(struct reply *r)
{
    if (r->at == r->n) {
        const ssize_t n = recv(r->fd, r->buffer, sizeof r->buffer, 0);

        if (n <= 0)
            return n == 0 ? err_set(r->err, "the Redis server has ended the connection")
                          : err_sys(r->err, errno, "the Redis server does not answer");
        r->at = 0;
        r->n = (size_t)n;
    }
    return (unsigned char)r->buffer[r->at++];
}

/* Without its end, in r->line. */
static int read_line(struct reply *r)
{
    str_reset(&r->line);
    for (int c; (c = next_byte(r)) != '\n';) {
        const char byte = (char)c;

        if (c < 0)
            return -1;
        if (c != '\r')
            str_add(&r->line, &byte, 1);
    }
    return 0;
}

static int read_bulk(struct reply *r, long n)
{
    for (long i = 0; i < n + 2; i++) {
        const int c = next_byte(r);
        const char byte = (char)c;

        if (c < 0)
            return -1;
        if (i < n && r->values)
            str_add(r->values, &byte, 1);
    }
    if (r->values)
        str_add(r->values, "", 1);
    return 0;
}

static int read_any(struct reply *r, int depth)
{
    const char *text;
    long n;

    if (depth > DEPTH_MAX || read_line(r) < 0)
        return depth > DEPTH_MAX ? err_set(r->err, "the Redis server's reply is nested too deeply") : -1;
    text = str_text(&r->line);
    switch (text[0]) {
    case '+':
    case ':':
        if (r->values)
            str_add(r->values, text + 1, strlen(text)); /* with its NUL */
        return 0;
    case '-':
        if (!r->said[0])
            snprintf(r->said, sizeof r->said, "%s", text + 1);
        return 0;
    case '$':
        n = atol(text + 1);
        return n < 0 ? 0 : read_bulk(r, n);
    case '*':
        n = atol(text + 1);
        for (long i = 0; i < n; i++)
            if (read_any(r, depth + 1) < 0)
                return -1;
        return 0;
    default:
        return err_set(r->err, "what answers at the Redis server's socket is no Redis server");
    }
}

static int send_all(int fd, const struct str *text, struct err *err)
{
    for (size_t at = 0; at < text->len;) {
        const ssize_t n = send(fd, text->data + at, text->len - at, MSG_NOSIGNAL);

        if (n < 0)
            return err_sys(err, errno, "the Redis server takes no command");
        at += (size_t)n;
    }
    return 0;
}

int resp_call(int fd, const char *const *words, struct str *values, struct err *err)
{
    struct reply r = {.fd = fd, .values = values, .err = err};
    struct str command = STR_INIT;
    size_t n = 0;
    int code;

    while (words[n])
        n++;
    str_addf(&command, "*%zu\r\n", n);
    for (size_t i = 0; i < n; i++)
        str_addf(&command, "$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
    code = send_all(fd, &command, err);
    if (code == 0)
        code = read_any(&r, 0);
    if (code == 0 && r.said[0])
        code = err_set(err, "Redis: %s (to: %.60s)", r.said, words[0]);
    str_release(&command);
    str_release(&r.line);
    return code;
}
