#include "ui/line.h"

#include "os/term.h"
#include "ui/region.h"

#include <string.h>

/* Terminals that know mode 2026 show what lies between the two at once; the others ignore it. */
#define SYNC_ON "\x1b[?2026h"
#define SYNC_OFF "\x1b[?2026l"

/* Position and attributes (colours) of the output, so that ours start from none and end where the output was. */
#define SAVE "\0337"
#define RESTORE "\0338"
#define PLAIN "\x1b[m"

/* Rows that take more cells than we think (terminals disagree on some characters) are cut and do not push others. */
#define WRAP_OFF "\x1b[?7l"
#define WRAP_ON "\x1b[?7h"

#define ERASE_ROW_END "\x1b[K"
#define ERASE_BELOW "\x1b[J"
#define NEXT_ROW "\x1b[B\r" /* stops at the last row */
#define ROW_DOWN "\033D"    /* scrolls at the last row; keeps the column */

void line_init(struct line *line, const struct line_options *options)
{
    *line = (struct line){.options = *options};
    if (!line->options.rows)
        line->options.rows = 24;
    if (!line->options.columns)
        line->options.columns = 80;
    scan_init(&line->scan, line->options.columns, line->options.rows, options->utf8);
}

void line_release(struct line *line)
{
    str_release(&line->wanted);
    str_release(&line->render);
    str_release(&line->pending);
}

static void add_erase(struct line *line)
{
    if (!line->shown)
        return;
    str_puts(&line->pending, SAVE PLAIN);
    /* Not "erase below" at the top left: tmux takes that for a clear screen and keeps what was there in its history. */
    if (line->shown_at_row)
        str_puts(&line->pending, "\r" ERASE_ROW_END);
    str_puts(&line->pending, NEXT_ROW ERASE_BELOW RESTORE);
    line->shown = false;
}

/* Below the region there may be the rest of a larger one: the last row erases to the end of the screen. */
static void add_rows(struct line *line)
{
    const char *row = str_text(&line->wanted);

    for (uint32_t i = 0; i < line->n_wanted; i++) {
        const char *end = strchrnul(row, '\n');

        str_puts(&line->pending, i == 0 && line->shown_at_row ? "\r" : NEXT_ROW);
        str_add(&line->pending, row, (size_t)(end - row));
        str_puts(&line->pending, i + 1 < line->n_wanted ? ERASE_ROW_END : ERASE_BELOW);
        row = end + (*end == '\n');
    }
}

/* Only when scan_is_quiet. */
static void add_region(struct line *line)
{
    if (line->shown && line->shown_at_row != line->scan.blank)
        add_erase(line);
    if (line->n_wanted == 0) {
        add_erase(line);
        return;
    }
    line->shown_at_row = line->scan.blank;
    /* Make room: at the bottom of the screen this scrolls, and the cursor goes back up to the same text. */
    for (uint32_t i = line->shown_at_row; i < line->n_wanted; i++)
        str_puts(&line->pending, ROW_DOWN);
    if (line->n_wanted > line->shown_at_row)
        str_addf(&line->pending, "\x1b[%uA", line->n_wanted - line->shown_at_row);
    str_puts(&line->pending, SAVE PLAIN WRAP_OFF);
    add_rows(line);
    str_puts(&line->pending, WRAP_ON RESTORE);
    line->shown = true;
}

static void write_pending(struct line *line)
{
    if (line->pending.len && !line->trouble)
        line->trouble = term_write(line->options.fd, line->pending.data, line->pending.len);
    str_reset(&line->pending);
}

/* The output has gone on inside its row, and the region beside it is untouched. */
static bool region_survives(const struct line *line)
{
    return line->shown && scan_is_quiet(&line->scan) && !line->scan.left_line &&
           !(line->shown_at_row && line->scan.touched);
}

void line_output(struct line *line, const char *bytes, size_t n)
{
    bool was_shown;
    bool redraw;

    if (n == 0)
        return;
    if (!line->options.live) {
        if (!line->trouble)
            line->trouble = term_write(line->options.fd, bytes, n);
        return;
    }
    scan_mark(&line->scan);
    scan_feed(&line->scan, bytes, n);
    if (region_survives(line)) {
        str_add(&line->pending, bytes, n);
        write_pending(line);
        return;
    }
    /* Never a sequence of ours where the output before or after it is in the middle of one of its own. */
    redraw = line->n_wanted > 0 && scan_is_quiet(&line->scan);
    was_shown = line->shown;
    if (redraw && was_shown)
        str_puts(&line->pending, SYNC_ON);
    add_erase(line);
    str_add(&line->pending, bytes, n);
    if (redraw) {
        if (!was_shown)
            str_puts(&line->pending, SYNC_ON);
        add_region(line);
        str_puts(&line->pending, SYNC_OFF);
    }
    write_pending(line);
}

void line_draw(struct line *line, const struct run_view *view)
{
    const struct region_options options = {.columns = line->options.columns,
                                           .rows = line->options.rows,
                                           .colour = line->options.colour,
                                           .utf8 = line->options.utf8};
    uint32_t n;
    struct str old;

    if (!line->options.live)
        return;
    str_reset(&line->render);
    n = region_render(&line->render, view, &options);
    if (line->shown && n == line->n_wanted && strcmp(str_text(&line->render), str_text(&line->wanted)) == 0)
        return;
    old = line->wanted;
    line->wanted = line->render;
    line->render = old;
    line->n_wanted = n;
    if (!scan_is_quiet(&line->scan))
        return;
    str_puts(&line->pending, SYNC_ON);
    add_region(line);
    str_puts(&line->pending, SYNC_OFF);
    write_pending(line);
}

void line_clear(struct line *line)
{
    line->n_wanted = 0;
    str_reset(&line->wanted);
    add_erase(line); /* what is shown is at a quiet place: nothing to wait for */
    write_pending(line);
}

void line_resize(struct line *line, uint32_t columns, uint32_t rows)
{
    line_clear(line);
    line->options.columns = columns ? columns : 80;
    line->options.rows = rows ? rows : 24;
    scan_resize(&line->scan, line->options.columns, line->options.rows);
}
