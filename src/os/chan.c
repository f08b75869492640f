#include "os/chan.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

int chan_pair(int ends[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0 ? 0 : -errno;
}

static int send_with(int flags, int chan, const struct chan_msg *msg, const void *data, size_t n, int fd)
{
    struct iovec parts[2] = {
        {.iov_base = (void *)(uintptr_t)msg, .iov_len = sizeof *msg},
        {.iov_base = (void *)(uintptr_t)data, .iov_len = n},
    };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr head = {.msg_iov = parts, .msg_iovlen = n ? 2 : 1};
    ssize_t done;

    HS_CHECK(n <= CHAN_MAX_DATA);
    if (fd >= 0) {
        struct cmsghdr *c = &control.align;

        head.msg_control = control.bytes;
        head.msg_controllen = sizeof control.bytes;
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    do
        done = sendmsg(chan, &head, MSG_NOSIGNAL | flags);
    while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : 0;
}

int chan_send(int chan, const struct chan_msg *msg, const void *data, size_t n, int fd)
{
    return send_with(0, chan, msg, data, n, fd);
}

int chan_offer(int chan, const struct chan_msg *msg, int fd)
{
    return send_with(MSG_DONTWAIT, chan, msg, NULL, 0, fd);
}

/* The last descriptor of the message, -1 for none; others, which no message of ours has, are closed. How many. */
static size_t take_fds(struct msghdr *head, int *fd)
{
    size_t n = 0;

    *fd = -1;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(head); c; c = CMSG_NXTHDR(head, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; at + sizeof *fd <= c->cmsg_len - CMSG_LEN(0); at += sizeof *fd, n++) {
            if (*fd >= 0)
                close(*fd);
            memcpy(fd, CMSG_DATA(c) + at, sizeof *fd);
        }
    }
    return n;
}

/* What recvmsg gave is one message as chan_send makes them; else nothing of it stays. */
static int accept_message(struct msghdr *head, size_t got, int *fd)
{
    const size_t n_fds = take_fds(head, fd);

    if (got >= sizeof(struct chan_msg) && !(head->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && n_fds <= 1)
        return 1;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return -EBADMSG;
}

int chan_recv(int chan, int wait_ms, struct chan_msg *msg, void *data, size_t *n, int *fd)
{
    struct pollfd ready = {.fd = chan, .events = POLLIN};
    struct iovec parts[2] = {
        {.iov_base = msg, .iov_len = sizeof *msg},
        {.iov_base = data, .iov_len = CHAN_MAX_DATA},
    };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr head = {
        .msg_iov = parts, .msg_iovlen = 2, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    ssize_t got;
    int polled;

    if (chan < 0) /* poll would wait for nothing, for ever */
        return -EBADF;
    polled = poll(&ready, 1, wait_ms);
    if (polled < 0)
        return -errno;
    if (polled == 0)
        return -EAGAIN;
    got = recvmsg(chan, &head, MSG_CMSG_CLOEXEC);
    /* The other end was closed with messages of ours unread: said once, and before what it had sent to us. */
    if (got < 0 && errno == ECONNRESET)
        got = recvmsg(chan, &head, MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == ECONNRESET ? 0 : -errno;
    if (got == 0 && !head.msg_controllen)
        return 0;
    *n = (size_t)got > sizeof *msg ? (size_t)got - sizeof *msg : 0;
    return accept_message(&head, (size_t)got, fd);
}
