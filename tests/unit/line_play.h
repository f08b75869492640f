/*
 * line_play.h - plays random bytes as a run: output in pieces, draws, clears, and checks line.h's promises by force.
 * Used by the unit test (seeded random bytes) and by the fuzz target (libFuzzer's).
 *
 * line_play_same: the output is made of pieces that every terminal understands alike; a second screen is given the
 * output alone. After line_clear both must hold the same text and colours, in history and on the screen.
 * line_play_any: the output is the bytes themselves; each call must write them in one piece and unchanged.
 */
#ifndef HASTEN_TEST_LINE_PLAY_H
#define HASTEN_TEST_LINE_PLAY_H

#include "screen.h"

#include "ui/line.h"

#include <sys/mman.h>
#include <unistd.h>

struct play {
    const unsigned char *bytes;
    size_t n;
    struct line line;
    struct screen seen;
    struct screen plain;
    uint32_t n_up; /* rows that the cursor is above the last one */
    char ids[4][200];
    struct view_worker workers[4];
};

static inline unsigned play_byte(struct play *play)
{
    if (play->n == 0)
        return 0;
    play->n--;
    return *play->bytes++;
}

static inline void play_view(struct play *play, struct run_view *view)
{
    static const char *const pieces[] = {
        "tests/", "test_a",    "::",   "[\x1b[31m]",       "\xE4\xB8\xAD",
        "\n",     "e\xCC\x81", "\xFF", "\xF0\x9F\x98\x80", "a_long_name_of_a_test_that_goes_on_and_on"};
    const unsigned how = play_byte(play);

    *view = (struct run_view){.phase = how % 4 == 1 ? VIEW_COLLECTING : VIEW_TESTING,
                              .n_total = 1000,
                              .n_done = play_byte(play) * 5 % 1001,
                              .elapsed_ns = (uint64_t)play_byte(play) * 777777777u,
                              .eta_ns = how & 4 ? (uint64_t)how * 999999999u : 0,
                              .eta_trusted = how & 8,
                              .workers = play->workers,
                              .n_workers = how >> 4 & 3};
    view->n_outcome[OUTCOME_FAILED] = how & 16 ? how : 0;
    view->n_outcome[OUTCOME_SKIPPED] = how & 32 ? how * 100 : 0;
    for (uint32_t i = 0; i < view->n_workers; i++) {
        const unsigned what = play_byte(play);

        snprintf(play->ids[i], sizeof play->ids[i], "%s%s%s%s", pieces[what % 10], pieces[what / 2 % 10],
                 pieces[what / 5 % 10], pieces[what / 20 % 10]);
        play->workers[i] = (struct view_worker){.slot = what / 3,
                                                .state = VIEW_WORKER_RUNNING,
                                                .node_id = play->ids[i],
                                                .node_id_len = strlen(play->ids[i]),
                                                .running_ns = (uint64_t)what * 100000000u};
    }
}

/* What the line has written since the last call, into the caller's buffer. */
static inline size_t play_written(struct play *play, char *buffer, size_t size)
{
    const ssize_t n = pread(play->line.options.fd, buffer, size, 0);

    HS_CHECK(n >= 0 && (size_t)n < size && ftruncate(play->line.options.fd, 0) == 0);
    HS_CHECK(lseek(play->line.options.fd, 0, SEEK_SET) == 0);
    screen_write(&play->seen, buffer, (size_t)n);
    return (size_t)n;
}

static inline void play_output(struct play *play, const char *bytes, size_t n)
{
    static char written[1 << 16];
    size_t got;

    line_output(&play->line, bytes, n);
    HS_CHECK(!play->line.shown || scan_is_quiet(&play->line.scan));
    got = play_written(play, written, sizeof written);
    HS_CHECK(n == 0 || memmem(written, got, bytes, n));
    screen_write(&play->plain, bytes, n);
}

static inline void play_draw_or_clear(struct play *play, bool clear)
{
    static char written[1 << 16];
    struct run_view view;

    if (clear) {
        line_clear(&play->line);
    } else {
        play_view(play, &view);
        line_draw(&play->line, &view);
    }
    play_written(play, written, sizeof written);
    HS_CHECK(play->seen.n_sync == 0);
}

static inline void play_piece(struct play *play, unsigned which)
{
    /* clang-format off */
    static const char *const pieces[] = {
        ".",        "F",       "PASSED",     "tests/test_x.py ", "\r\n",      "\r\n",    "\n",       "\r",
        "\x1b[3",   "1m",      "\x1b[0m",    "\x1b[32;1m",       "\xE4",      "\xB8",    "\xAD",     "\xE4\xB8\xAD",
        "\b",       "\t",      "\x1b[K",     "\x1b[2K",          "\x1b[J",    "\x1b[5G", "\x1b[2C",  "\x1b[3D",
        "\x1b",     "[m",      "\xF0\x9F",   "\x98\x80",         "\x1b]0;t",  "\x07",    "\0337",    "\0338",
        "\x1b[A",   "0123456789012345678901234567890123456789",  "\x1b[K\r\n",            "  [ 50%]\r\n",
    };
    /* clang-format on */
    const char *text = pieces[which % HS_COUNT(pieces)];

    if (strcmp(text, "\x1b[A") == 0 && (play->n_up++ > 2 || play->plain.at.row < 3))
        text = "\r\n";
    /* Restoring what was never saved, or was saved before the screen scrolled, differs between terminals. */
    if (text[0] == '\x1b' && text[1] == '8' && (!play->line.scan.saved || play->line.scan.since_saved))
        text = ".";
    if (text[0] == 'F' && play->line.scan.state == SCAN_CSI)
        text = "m"; /* it would be "rows up", perhaps beyond the top */
    if (strchr(text, '\n'))
        play->n_up -= play->n_up > 0;
    play_output(play, text, strlen(text));
}

static inline void play_open(struct play *play, const unsigned char *bytes, size_t n)
{
    static const uint32_t widths[] = {20, 40, 80, 200};
    struct line_options options = {.live = true, .utf8 = true, .rows = 12};
    unsigned how;

    *play = (struct play){.bytes = bytes, .n = n};
    how = play_byte(play);
    options.columns = widths[how % 4];
    options.colour = how & 4;
    options.fd = memfd_create("line", MFD_CLOEXEC);
    HS_CHECK(options.fd >= 0);
    line_init(&play->line, &options);
    screen_init(&play->seen, options.columns, options.rows);
    screen_init(&play->plain, options.columns, options.rows);
}

static inline void play_close(struct play *play)
{
    close(play->line.options.fd);
    line_release(&play->line);
    screen_release(&play->seen);
    screen_release(&play->plain);
}

static inline void line_play_same(const unsigned char *bytes, size_t n)
{
    struct play play;
    char *seen;
    char *plain;
    bool same;

    play_open(&play, bytes, n);
    while (play.n > 0) {
        const unsigned what = play_byte(&play);

        if (what < 180)
            play_piece(&play, what);
        else
            play_draw_or_clear(&play, what > 245);
    }
    play_draw_or_clear(&play, true);
    seen = screen_text(&play.seen, true);
    plain = screen_text(&play.plain, true);
    same = strcmp(seen, plain) == 0;
    if (!same)
        fprintf(stderr, "--- without the region:\n%s\n--- with it:\n%s\n", plain, seen);
    HS_CHECK(same);
    HS_CHECK(play.seen.n_cut == 0);
    HS_CHECK(play.seen.at.column == play.plain.at.column && play.seen.at.attr == play.plain.at.attr);
    free(seen);
    free(plain);
    play_close(&play);
}

static inline void line_play_any(const unsigned char *bytes, size_t n)
{
    struct play play;

    play_open(&play, bytes, n);
    while (play.n > 0) {
        const unsigned what = play_byte(&play);
        const size_t piece = what % 64 < play.n ? what % 64 : play.n;

        if (what < 128) {
            play_output(&play, (const char *)play.bytes, piece);
            play.bytes += piece;
            play.n -= piece;
        } else if (what < 250) {
            play_draw_or_clear(&play, what > 220);
        } else {
            line_resize(&play.line, 10 + play_byte(&play), 1 + play_byte(&play) % 50);
            play_draw_or_clear(&play, true);
        }
    }
    play_close(&play);
}

#endif
