/* request.h - a request to the keeper (keep.h) on its way: a line comes, a line goes. */
#ifndef HASTEN_DB_REQUEST_H
#define HASTEN_DB_REQUEST_H

#include "base/str.h"

enum { REQUEST_MAX = 256 };

/* False: who does not send a line within five seconds is sent away. */
bool request_read(int fd, char request[REQUEST_MAX]);

/* As far as the other side takes it. */
void request_answer(int fd, const struct str *answer);

#endif
