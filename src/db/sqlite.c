#include "db/sqlite.h"

#include "base/trace.h"
#include "os/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const beside[] = {"", "-wal", "-shm", "-journal"};

static struct sqlite *sqlite_of(struct db *db)
{
    return (struct sqlite *)db; /* db is its first member */
}

static void hand_out(struct db *db, const char *name, char url[DB_URL_SIZE])
{
    snprintf(url, DB_URL_SIZE, "%s/sqlite/%s/data.db", db->folder, name);
}

static void remove_database(const char *path)
{
    char file[DB_URL_SIZE + 16];

    for (size_t i = 0; i < HS_COUNT(beside); i++) {
        snprintf(file, sizeof file, "%s%s", path, beside[i]);
        unlink(file);
    }
}

/* ---- SQLite itself */

static int failed(struct sqlite3 *db, const char *path, const char *what, struct err *err)
{
    const int code = db ? sqlite3_errcode(db) : SQLITE_NOMEM;

    if (code == SQLITE_FULL)
        return err_set(err, "the disk is full: cannot %s '%.200s'", what, path);
    return err_set(err, "cannot %s '%.200s': %.100s", what, path, db ? sqlite3_errmsg(db) : "out of memory");
}

/* A database that can be read: written too where that is allowed, as a hot journal has to be played back first. */
static int open_database(const char *path, struct sqlite3 **db, struct err *err)
{
    if (access(path, F_OK) < 0)
        return err_sys(err, errno, "there is no SQLite database '%.200s'", path);
    if (sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK) {
        sqlite3_close(*db);
        if (sqlite3_open_v2(path, db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK)
            return failed(*db, path, "open", err);
    }
    sqlite3_busy_timeout(*db, 10000);
    return 0;
}

static int back_up(const char *from, const char *to, struct err *err)
{
    struct sqlite3 *source = NULL;
    struct sqlite3 *target = NULL;
    struct sqlite3_backup *backup = NULL;
    int code = open_database(from, &source, err);

    if (code == 0 && sqlite3_open(to, &target) != SQLITE_OK)
        code = failed(target, to, "make", err);
    if (code == 0)
        sqlite3_exec(target, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    if (code == 0 && !(backup = sqlite3_backup_init(target, "main", source, "main")))
        code = failed(target, to, "copy to", err);
    if (backup) {
        const int rc = sqlite3_backup_step(backup, -1);

        sqlite3_backup_finish(backup);
        if (rc != SQLITE_DONE)
            code = failed(target, from, "copy", err);
    }
    sqlite3_close(target);
    sqlite3_close(source);
    return code;
}

/* Everything into the one file: the last connection to close plays a journal back, and takes the -wal in. */
static int settle(const char *path, struct err *err)
{
    struct sqlite3 *db = NULL;
    char wal[PLACE_SIZE + 8];
    struct stat st;
    int code = open_database(path, &db, err);

    if (code == 0 && sqlite3_exec(db, "SELECT count(*) FROM sqlite_master; PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL,
                                  NULL) != SQLITE_OK)
        code = failed(db, path, "read", err);
    sqlite3_close(db);
    snprintf(wal, sizeof wal, "%s-wal", path);
    if (code == 0 && stat(wal, &st) == 0 && st.st_size > 0)
        code = err_set(err, "the set-up's database '%.200s' is still in use: its -wal file is not empty", path);
    return code;
}

static char *read_text(const char *path, struct err *err) /* owned; NULL: err */
{
    FILE *f = fopen(path, "re");
    struct str text = STR_INIT;
    char part[4096];
    size_t n;

    if (!f) {
        err_sys(err, errno, "cannot read '%.200s'", path);
        return NULL;
    }
    str_reserve(&text, 1);
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        str_add(&text, part, n);
    fclose(f);
    str_add(&text, "", 0);
    return text.data;
}

static int fill(struct db *db, const char *url, const char *file, struct str *command, struct err *err)
{
    struct sqlite3 *target = NULL;
    char *sql = read_text(file, err);
    char *message = NULL;
    int code = sql ? 0 : -1;

    (void)db;
    (void)command;
    if (sql && sqlite3_open(url, &target) != SQLITE_OK)
        code = failed(target, url, "make", err);
    if (code == 0 && sqlite3_exec(target, sql, NULL, NULL, &message) != SQLITE_OK)
        code = err_set(err, "'%.200s' failed: %.200s", file, message ? message : sqlite3_errmsg(target));
    sqlite3_free(message);
    sqlite3_close(target);
    free(sql);
    return code;
}

/* ---- the provider */

int sqlite_init(struct sqlite *sqlite, const struct sqlite_options *options, const struct place *place, const char *run,
                struct err *err)
{
    char folder[PLACE_SIZE + 16];

    *sqlite = (struct sqlite){.options = *options, .build_lock = -1};
    sqlite->db.provider = &sqlite_provider;
    snprintf(sqlite->db.run, sizeof sqlite->db.run, "%s", run);
    snprintf(sqlite->db.folder, sizeof sqlite->db.folder, "%s", place->folder);
    snprintf(folder, sizeof folder, "%s/sqlite", place->folder);
    if (mkdir(folder, 0700) < 0)
        return err_sys(err, errno, "cannot make the folder '%s'", folder);
    return 0;
}

static int start(struct db *db, struct err *err)
{
    struct sqlite *s = sqlite_of(db);
    struct sqlite3 *empty = NULL;
    int code = 0;

    snprintf(s->source, sizeof s->source, "%.240s/source.db", db->folder);
    if (s->options.file)
        return back_up(s->options.file, s->source, err);
    if (sqlite3_open(s->source, &empty) != SQLITE_OK ||
        sqlite3_exec(empty, "PRAGMA user_version = 0", NULL, NULL, NULL))
        code = failed(empty, s->source, "make", err);
    sqlite3_close(empty);
    return code;
}

static int name_template(struct sqlite *s, const char *key, struct err *err)
{
    char cache[PLACE_SIZE];

    if (!key[0]) {
        snprintf(s->source, sizeof s->source, "%.240s/template.db", s->db.folder);
        snprintf(s->build, sizeof s->build, "%.240s/build.db", s->db.folder);
        return 0;
    }
    if (place_cache("", cache, err) < 0)
        return -1;
    snprintf(s->source, sizeof s->source, "%.180s/sqlite-%.40s.db", cache, key);
    snprintf(s->build, sizeof s->build, "%.180s/half-%d.db", cache, (int)getpid());
    return 0;
}

static void unlock(struct sqlite *s)
{
    if (s->build_lock >= 0)
        close(s->build_lock);
    s->build_lock = -1;
}

static int template_begin(struct db *db, const char *key, char url[DB_URL_SIZE], struct err *err)
{
    struct sqlite *s = sqlite_of(db);

    if (name_template(s, key, err) < 0)
        return -1;
    if (access(s->source, F_OK) == 0) {
        place_used(s->source);
        return 1;
    }
    if (key[0] && place_cache_lock(key, s->options.ended, &s->build_lock, err) < 0)
        return -1;
    if (access(s->source, F_OK) == 0) {
        unlock(s);
        return 1;
    }
    remove_database(s->build);
    if (s->options.file && back_up(s->options.file, s->build, err) < 0) {
        unlock(s);
        return -1;
    }
    snprintf(url, DB_URL_SIZE, "%s", s->build);
    return 0;
}

static int template_end(struct db *db, const char *key, bool filled, struct err *err)
{
    struct sqlite *s = sqlite_of(db);
    int code = filled ? settle(s->build, err) : 0;

    if (filled && code == 0 && rename(s->build, s->source) < 0)
        code = err_sys(err, errno, "cannot rename '%s'", s->build);
    remove_database(s->build);
    unlock(s);
    trace_event("db_template_end", TRACE_TEXT("key", key), TRACE_BOOL("filled", filled && code == 0));
    return code;
}

static int drop(struct db *db, const char *name, struct err *err)
{
    char path[DB_URL_SIZE];

    (void)err;
    hand_out(db, name, path);
    remove_database(path);
    return 0;
}

static struct sqlite_mark *find_mark(struct sqlite *s, const char *name)
{
    for (size_t i = 0; i < s->n_marks; i++)
        if (!strcmp(s->marks[i].name, name))
            return &s->marks[i];
    return NULL;
}

/* Bytes of a database's header: how it is journalled. Next to it is a counter that every transaction moves that writes. */
enum { AT_JOURNAL = 18, JOURNAL_ROLLBACK = 1 };

static bool read_header(const char *path, unsigned char header[SQLITE_HEADER])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const bool got = fd >= 0 && pread(fd, header, SQLITE_HEADER, 0) == SQLITE_HEADER;

    if (fd >= 0)
        close(fd);
    return got;
}

static bool is_there(const char *path, const char *end)
{
    char file[DB_URL_SIZE + 16];

    snprintf(file, sizeof file, "%s%s", path, end);
    return access(file, F_OK) == 0;
}

/* Of the database as it is now, which is as its template; made where there is none. */
static void mark(struct sqlite *s, const char *name, const char *path)
{
    struct sqlite_mark *m = find_mark(s, name);

    if (!m) {
        s->marks = hs_realloc(s->marks, (s->n_marks + 1) * sizeof *s->marks);
        m = &s->marks[s->n_marks++];
        snprintf(m->name, sizeof m->name, "%s", name);
    }
    if (!read_header(path, m->header))
        memset(m->header, 0, sizeof m->header); /* as no database has it: it counts as changed */
}

/* Of one database alone, with whatever a suite puts beside it. What is wrong with it the copy says. */
static void make_folder(const char *path)
{
    char folder[DB_URL_SIZE];

    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    mkdir(folder, 0700);
}

/* A new file under the old name: connections that are still open keep the old one, and cannot harm this. */
static int clone(struct db *db, const char *key, const char *name, struct err *err)
{
    struct sqlite *s = sqlite_of(db);
    char path[DB_URL_SIZE];
    int code;

    (void)key;
    hand_out(db, name, path);
    make_folder(path);
    remove_database(path);
    code = copy_file(s->source, path, NULL);
    if (code < 0)
        return err_sys(err, -code, "cannot copy the template '%s' to '%.150s'", s->source, path);
    mark(s, name, path);
    trace_event("db_clone", TRACE_TEXT("name", name));
    return 0;
}

/* Nothing was written since the mark. In WAL mode the counter does not tell. */
static bool is_unchanged(struct sqlite *s, const char *name, const char *path)
{
    const struct sqlite_mark *m = find_mark(s, name);
    unsigned char now[SQLITE_HEADER];

    return m && m->header[AT_JOURNAL] == JOURNAL_ROLLBACK && !is_there(path, "-wal") && !is_there(path, "-journal") &&
           read_header(path, now) && !memcmp(now, m->header, sizeof now);
}

/* Out of WAL mode, where nobody else is in it. */
static void leave_wal(const char *path)
{
    struct sqlite3 *target = NULL;

    if (sqlite3_open_v2(path, &target, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK)
        sqlite3_exec(target, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL);
    sqlite3_close(target);
}

/* Under connections that stay. -1: somebody is in the middle of something. */
static int put_back(const struct sqlite *s, const char *path)
{
    unsigned char now[SQLITE_HEADER], before[SQLITE_HEADER];
    struct err unused;

    if (is_there(path, "-journal") || !read_header(path, now) || !read_header(s->source, before))
        return -1;
    if (now[AT_JOURNAL] != JOURNAL_ROLLBACK && before[AT_JOURNAL] == JOURNAL_ROLLBACK)
        leave_wal(path);
    return back_up(s->source, path, &unused);
}

static int clean(struct db *db, const char *key, const char *name, struct str *what, struct err *err)
{
    struct sqlite *s = sqlite_of(db);
    char path[DB_URL_SIZE];

    hand_out(db, name, path);
    if (is_unchanged(s, name, path))
        return 0;
    str_puts(what, "the file");
    if (put_back(s, path) < 0)
        return clone(db, key, name, err);
    mark(s, name, path);
    trace_event("db_clean", TRACE_TEXT("name", name));
    return 0;
}

static int list(struct db *db, db_entry_fn *each, void *arg, struct err *err)
{
    (void)db;
    (void)each;
    (void)arg;
    (void)err;
    return 0; /* files lie in run folders and in the cache, which place.h lists */
}

static int prune(struct db *db, bool all, struct err *err)
{
    (void)db;
    (void)all;
    (void)err;
    return 0;
}

static int check(struct db *db, struct err *err)
{
    const struct sqlite *s = sqlite_of(db);

    if (access(s->source, R_OK) < 0)
        return err_sys(err, errno, "the template '%s' is gone", s->source);
    return 0;
}

static void release(struct db *db)
{
    struct sqlite *s = sqlite_of(db);

    if (s->build_lock >= 0)
        remove_database(s->build);
    unlock(s);
    free(s->marks);
    s->marks = NULL;
    s->n_marks = 0;
}

const struct db_provider sqlite_provider = {
    .name = "sqlite",
    .start = start,
    .template_begin = template_begin,
    .fill = fill,
    .template_end = template_end,
    .clone = clone,
    .hand_out = hand_out,
    .reset = clone,
    .clean = clean,
    .drop = drop,
    .list = list,
    .prune = prune,
    .check = check,
    .release = release,
};
