#include "db/pgwire.h"

#include <string.h>

/* In C code of extensions and languages a session may hold anything; those that are known to be harmless stand in pooler.h. */
static const struct {
    const char *word;
    bool begins; /* words that begin so */
    unsigned hints;
} words[] = {
    {"database", false, WIRE_DATABASES},
    {"pg_stat_", true, WIRE_SESSIONS},
    {"pg_terminate_backend", false, WIRE_SESSIONS},
    {"pg_cancel_backend", false, WIRE_SESSIONS},
    {"pg_reload_conf", false, WIRE_SERVER},
    {"pg_backend_", true, WIRE_KEEPS}, /* who asks for its process's number should not meet it again */
    {"load", false, WIRE_KEEPS},
    {"temp", false, WIRE_KEEPS}, /* current_schemas(true) goes on naming the schema of temporary tables */
    {"temporary", false, WIRE_KEEPS},
    {"pg_temp", true, WIRE_KEEPS},
    {"setseed", false, WIRE_KEEPS},
    {"pg_replication_origin_", true, WIRE_KEEPS}, /* ..._session_setup */
    {"dblink", true, WIRE_KEEPS},
    {"plperl", true, WIRE_KEEPS},
    {"plpython", true, WIRE_KEEPS},
    {"pltcl", true, WIRE_KEEPS},
    {"function", false, WIRE_CODE},
    {"procedure", false, WIRE_CODE},
    {"routine", false, WIRE_CODE},
    {"extension", false, WIRE_CODE},
    {"language", false, WIRE_CODE},
};

uint32_t wire_u32(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* ---- words */

/* As it is compared; 0: it is part of no word. */
static unsigned char folded(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned char)(c + 32);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '$' || c >= 0x80 ? c : 0;
}

static bool is(const struct wire_words *w, const char *word)
{
    return !w->longer && strlen(word) == w->n && !memcmp(w->word, word, w->n);
}

static unsigned known(const struct wire_words *w)
{
    for (size_t i = 0; i < HS_COUNT(words); i++) {
        const size_t n = strlen(words[i].word);

        if (words[i].word[0] == w->word[0] && (words[i].begins ? w->n >= n : w->n == n && !w->longer) &&
            !memcmp(w->word, words[i].word, n))
            return words[i].hints;
    }
    return 0;
}

/* A setting with a dot in its name may be new to the server, and stays known to the session when it is reset. */
static unsigned end_word(struct wire_words *w)
{
    unsigned hints = known(w);

    if (is(w, "set") || is(w, "reset"))
        w->in_set = true;
    else if (is(w, "to"))
        w->in_set = false;
    else if (is(w, "set_config")) {
        w->in_config = true;
        w->quoted = false;
    } else if (is(w, "alter"))
        w->altered = true;
    else if (w->altered && is(w, "system"))
        hints |= WIRE_SERVER;
    w->n = 0;
    w->longer = false;
    return hints;
}

static unsigned between_words(struct wire_words *w, unsigned char c)
{
    unsigned hints = (w->in_set || w->in_config) && c == '.' ? WIRE_KEEPS : 0;

    if (w->in_set && (c == '=' || c == ';' || c == '(' || c == '\0'))
        w->in_set = false;
    if (w->in_config && c == '\'')
        w->quoted = true;
    if (w->in_config && (c == ',' || c == ';' || c == '\0')) {
        hints |= w->quoted ? 0 : WIRE_KEEPS; /* its name comes from somewhere else */
        w->in_config = false;
    }
    return hints;
}

/* Stops before the end of a word that is one of WIRE_STOPS. */
static size_t scan(struct wire_words *w, const unsigned char *bytes, size_t n, unsigned *hints)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = folded(bytes[i]);

        if (c) {
            if (w->n < sizeof w->word)
                w->word[w->n++] = (char)c;
            else
                w->longer = true;
            continue;
        }
        if (w->n) {
            const unsigned found = end_word(w);

            *hints |= found;
            if (found & WIRE_STOPS)
                return i;
        }
        *hints |= between_words(w, bytes[i]);
    }
    return n;
}

/* ---- from a client */

static void begin_message(struct wire_front *front, unsigned *hints)
{
    const uint32_t n = wire_u32(front->head + 1);
    const char type = (char)front->head[0];

    front->broken = front->broken || n < 4 || !type || !strchr("QPBDECHSFdcf", type);
    if (front->broken)
        return;
    front->left = n - 4;
    front->words = (struct wire_words){.n = 0};
    front->begun = front->named = false;
    if (type == 'Q' || type == 'S' || type == 'F')
        front->n_asked++;
    if (type == 'F')
        *hints |= WIRE_KEEPS; /* a function by its number: no words to look at */
    if (type == 'S')
        front->unsynced = false;
    else if (strchr("PBDECH", type))
        front->unsynced = true;
}

/* Of the head; true when the client has ended. */
static bool take_head(struct wire_front *front, unsigned char c, unsigned *hints)
{
    if (front->n_head == 0 && c == 'X') {
        front->ended = true;
        return true;
    }
    front->head[front->n_head++] = c;
    if (front->n_head == sizeof front->head)
        begin_message(front, hints);
    return false;
}

size_t wire_front_feed(struct wire_front *front, const unsigned char *bytes, size_t n, unsigned *hints)
{
    size_t at = 0;

    while (at < n && !front->broken) {
        const size_t here = n - at < front->left ? n - at : front->left;
        size_t done = here;

        if (front->ended)
            return at;
        if (front->n_head < sizeof front->head) {
            if (take_head(front, bytes[at], hints))
                return at;
            at++;
        } else {
            if (!front->begun && here > 0) {
                front->begun = true;
                front->named = front->head[0] == 'P' && bytes[at];
            }
            if (front->head[0] == 'Q' || front->head[0] == 'P')
                done = scan(&front->words, bytes + at, here, hints);
            at += done;
            front->left -= (uint32_t)done;
            if (done < here)
                return at;
        }
        if (front->n_head == sizeof front->head && front->left == 0)
            front->n_head = 0;
    }
    return front->broken ? n : at;
}

bool wire_front_is_quiet(const struct wire_front *front)
{
    return !front->broken && front->n_head == 0 && front->n_asked == 0 && !front->unsynced;
}

/* ---- from a server */

static bool is_collected(const struct wire_back *back)
{
    return strchr("ZSKRE", back->head[0]) || (back->rows && back->head[0] == 'D');
}

static void begin_answer(struct wire_back *back)
{
    const uint32_t n = wire_u32(back->head + 1);

    back->broken = n < 4 || !back->head[0];
    back->left = back->broken ? 0 : n - 4;
    str_reset(&back->body);
}

void wire_back_feed(struct wire_back *back, const unsigned char *bytes, size_t n, wire_message_fn *each, void *arg)
{
    size_t at = 0;

    while (at < n && !back->broken) {
        if (back->n_head < sizeof back->head) {
            back->head[back->n_head++] = bytes[at++];
            if (back->n_head == sizeof back->head)
                begin_answer(back);
        } else {
            const size_t here = n - at < back->left ? n - at : back->left;

            if (is_collected(back))
                str_add(&back->body, bytes + at, here);
            at += here;
            back->left -= (uint32_t)here;
        }
        if (back->n_head == sizeof back->head && back->left == 0 && !back->broken) {
            back->n_head = 0;
            each(arg, (char)back->head[0], is_collected(back) ? (const unsigned char *)str_text(&back->body) : NULL,
                 is_collected(back) ? back->body.len : 0);
        }
    }
}

const char *wire_error_field(const unsigned char *body, size_t n, char field)
{
    for (size_t at = 0; at < n && body[at]; at++) {
        const char *value = (const char *)body + at + 1;
        const size_t length = strnlen(value, n - at - 1);

        if (at + 1 + length >= n)
            break;
        if ((char)body[at] == field)
            return value;
        at += 1 + length;
    }
    return "";
}

/* ---- start-up messages */

const char *wire_start_value(const unsigned char *message, size_t n, const char *name, bool *sound)
{
    const char *at = (const char *)message + 8;
    const char *end = (const char *)message + n;
    const char *found = NULL;

    *sound = n > WIRE_START_LEAST && !end[-1];
    while (*sound && at < end - 1) {
        const char *value = at + strlen(at) + 1;

        *sound = value < end - 1 && *at;
        if (!*sound)
            break;
        if (!strcmp(at, name))
            found = value;
        at = value + strlen(value) + 1;
    }
    *sound = *sound && at == end - 1;
    return *sound ? found : NULL;
}

/* ---- messages of ours */

static void add_u32(struct str *out, uint32_t value)
{
    const unsigned char bytes[] = {(unsigned char)(value >> 24), (unsigned char)(value >> 16),
                                   (unsigned char)(value >> 8), (unsigned char)value};

    str_add(out, bytes, sizeof bytes);
}

void wire_add_query(struct str *out, const char *sql)
{
    str_add(out, "Q", 1);
    add_u32(out, (uint32_t)strlen(sql) + 5);
    str_add(out, sql, strlen(sql) + 1);
}

void wire_add_terminate(struct str *out)
{
    str_add(out, "X", 1);
    add_u32(out, 4);
}
