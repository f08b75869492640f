/*
 * chan.h - small framed messages between processes of one run, with at most one descriptor each.
 *
 * A channel is one end of a SOCK_SEQPACKET pair: messages keep their borders, a closed peer reads as end of file. One
 * message is a fixed head and up to CHAN_MAX_DATA bytes; anything larger travels as the descriptor of a memory file.
 */
#ifndef HASTEN_CHAN_H
#define HASTEN_CHAN_H

#include "base/base.h"

#define CHAN_MAX_DATA 16384u

struct chan_msg {
    uint32_t type; /* the user's enum */
    uint32_t slot; /* worker slot, or 0 */
    uint64_t a;
    uint64_t b;
};

/* Both ends close-on-exec. 0 or -errno. */
int chan_pair(int ends[2]);

/* fd: borrowed, -1 for none. 0 or -errno (-EPIPE when the peer is gone; never raises SIGPIPE). */
int chan_send(int chan, const struct chan_msg *msg, const void *data, size_t n, int fd);

/* The same without data and without waiting: -EAGAIN when the peer has some hundred messages to read already. */
int chan_offer(int chan, const struct chan_msg *msg, int fd);

/*
 * Waits for one message. data: room for CHAN_MAX_DATA bytes. Returns 1 and *n, *fd (owned by the caller, close-on-exec,
 * -1 for none); 0 at end of file; -errno (-EAGAIN when wait_ms passed, -EINTR on a signal, -EBADMSG for what chan_send
 * cannot have sent: too short, too long, several descriptors; it is gone then). wait_ms -1: no limit.
 */
int chan_recv(int chan, int wait_ms, struct chan_msg *msg, void *data, size_t *n, int *fd);

#endif
