/*
 * pg_copy.h - the cluster of a server that is stopped, copied for another server beside it.
 *
 * Of databases that nobody can connect to, templates above all, the files are not copied but linked, as nobody writes to
 * them, and where no server can add to or take from their folder, that is one link to the folder; of the write-ahead log only
 * that part is copied which a start looks at; and each copy has tablespaces of its own.
 */
#ifndef HASTEN_DB_PG_COPY_H
#define HASTEN_DB_PG_COPY_H

#include "db/pg_server.h"

/* from: the folder of the server that is stopped; server's own has no cluster yet. -1: what is there of it is removed. */
int pg_copy_cluster(const struct pg_server *server, const char *from, struct err *err);

/* Notes in a cluster which databases nobody can connect to: their numbers, with a line break behind each. */
int pg_copy_note(const struct pg_server *server, const char *numbers, struct err *err);

/*
 * Before copies are made: nothing can be added to or removed from the folders of those databases any more, by no server, whatever
 * is dropped there. They belong to root then, where servers run as another user. One with unlogged tables stays as it is.
 */
void pg_copy_shut(const struct pg_server *server);

/*
 * What a session of a database reads first, the first one after a start has to make out of the catalogs: a start removes it, as
 * it may have played back the log. A copy that has just begun has not, and gets that of the cluster that it is a copy of, unless
 * somebody was faster.
 */
void pg_copy_warm(const struct pg_server *server, const char *from);

/* It has some outside of itself, which a copy into the cache would leave behind. */
bool pg_has_tablespaces(const char *data);

#endif
