/* monitor_record.c - from proven lines and arcs to bits in shared memory. */
#include "py/monitor.h"

#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static uint32_t pieces_for(uint32_t bits)
{
    return (bits + HITS_PIECE_BITS - 1) / HITS_PIECE_BITS;
}

static uint8_t **more_pieces(uint8_t **pieces, uint32_t *n, uint32_t wanted)
{
    if (wanted <= *n)
        return pieces;
    pieces = hs_realloc(pieces, wanted * sizeof *pieces);
    memset(pieces + *n, 0, (wanted - *n) * sizeof *pieces);
    *n = wanted;
    return pieces;
}

/* Another record in shared memory, with more room; what the one before holds stays there. */
static bool widen(struct monitor_sink *sink, struct monitor_file *file, uint32_t n_lines, uint32_t n_arcs)
{
    struct hits_file *shared = hits_file(&sink->hits, file->path, file->path_size, n_lines, n_arcs);

    if (!shared)
        return false;
    record_context(sink, sink->context); /* pieces name the record */
    file->shared = shared;
    file->lines = hits_lines(&sink->hits, shared);
    return true;
}

struct monitor_file *record_file(struct monitor_sink *sink, const char *path, size_t size, int32_t last_line, bool arcs)
{
    struct monitor_file *file = hs_alloc(sizeof *file);
    const uint32_t n_lines = (uint32_t)last_line + 1;

    file->path = hs_alloc(size + 1);
    memcpy(file->path, path, size);
    file->path_size = size;
    if (widen(sink, file, n_lines, arcs ? 4 * n_lines + 64 : 0))
        return file;
    free(file->path);
    free(file);
    return NULL;
}

static void note_piece(struct monitor_sink *sink, uint8_t **piece)
{
    if (sink->n_touched == sink->touched_room) {
        sink->touched_room = sink->touched_room ? 2 * sink->touched_room : 256;
        sink->touched = hs_realloc(sink->touched, sink->touched_room * sizeof *sink->touched);
    }
    sink->touched[sink->n_touched++] = piece;
}

static void set_in_piece(struct monitor_sink *sink, const struct monitor_file *file, uint8_t **pieces, bool is_arcs,
                         uint32_t bit)
{
    uint8_t **piece = &pieces[bit / HITS_PIECE_BITS];

    if (!*piece) {
        *piece = hits_piece(&sink->hits, sink->context, file->shared->id, is_arcs, bit / HITS_PIECE_BITS);
        if (!*piece)
            return;
        note_piece(sink, piece);
    }
    (*piece)[bit % HITS_PIECE_BITS / 8] |= (uint8_t)(1u << bit % 8);
}

/* The pieces of the context before are left as they are. Pointers into the lists are dropped before the lists grow. */
void record_context(struct monitor_sink *sink, uint32_t context)
{
    for (uint32_t i = 0; i < sink->n_touched; i++)
        *sink->touched[i] = NULL;
    sink->n_touched = 0;
    hits_settle(&sink->hits);
    sink->context = context;
}

void record_line(struct monitor_sink *sink, struct monitor_file *file, int32_t line, bool in_context)
{
    const uint32_t bit = (uint32_t)line;

    if (line <= 0 || line >= HITS_MOST_LINES)
        return;
    if (bit >= file->shared->n_lines && !widen(sink, file, 2 * bit, file->shared->arcs_room))
        return;
    if (!in_context) {
        hits_set(file->lines, bit);
        return;
    }
    if (sink->context == HITS_NONE)
        return;
    if (bit / HITS_PIECE_BITS >= file->n_line_pieces) {
        record_context(sink, sink->context);
        file->line_pieces = more_pieces(file->line_pieces, &file->n_line_pieces, pieces_for(file->shared->n_lines));
    }
    set_in_piece(sink, file, file->line_pieces, false, bit);
}

static uint32_t number_of_arc(struct monitor_sink *sink, struct monitor_file *file, int32_t from, int32_t to)
{
    uint32_t number = hits_arc(&sink->hits, file->shared, from, to);

    while (number == HITS_NONE) {
        if (!widen(sink, file, file->shared->n_lines, 2 * file->shared->arcs_room))
            return HITS_NONE;
        number = hits_arc(&sink->hits, file->shared, from, to);
    }
    return number;
}

static void set_arc(struct monitor_sink *sink, struct monitor_file *file, uint32_t number)
{
    if (number / HITS_PIECE_BITS >= file->n_arc_pieces) {
        record_context(sink, sink->context);
        file->arc_pieces = more_pieces(file->arc_pieces, &file->n_arc_pieces, pieces_for(file->shared->arcs_room));
    }
    set_in_piece(sink, file, file->arc_pieces, true, number);
}

static bool is_arc(int32_t from, int32_t to)
{
    return from > 0 && from < HITS_MOST_LINES && to < HITS_MOST_LINES && to > -HITS_MOST_LINES;
}

void record_arc(struct monitor_sink *sink, struct monitor_file *file, int32_t from, int32_t to, bool in_context)
{
    uint32_t number;

    if (from == to) {
        record_line(sink, file, from, in_context);
        return;
    }
    if (!is_arc(from, to))
        return;
    number = number_of_arc(sink, file, from, to);
    if (number != HITS_NONE && in_context && sink->context != HITS_NONE)
        set_arc(sink, file, number);
}

bool record_again(struct monitor_sink *sink, struct monitor_code *known, uint32_t place)
{
    const size_t size = 2 * known->flow->n * sizeof *known->numbers;
    uint32_t number;

    if (sink->context == HITS_NONE)
        return false;
    if (known->numbered_in != known->file->shared) { /* another record of the file, other numbers */
        known->numbered_in = known->file->shared;
        known->numbers = hs_realloc(known->numbers, size);
        memset(known->numbers, 0, size);
    }
    number = known->numbers[place];
    if (number && number != HITS_NONE)
        set_arc(sink, known->file, number - 1);
    return number != 0;
}

void record_first(struct monitor_sink *sink, struct monitor_code *known, uint32_t place, int32_t from, int32_t to)
{
    const bool is_one = is_arc(from, to) && to && from != to;
    const uint32_t number = is_one ? number_of_arc(sink, known->file, from, to) : HITS_NONE;

    if (sink->context == HITS_NONE)
        return;
    if (number != HITS_NONE)
        set_arc(sink, known->file, number);
    if (known->numbered_in == known->file->shared) /* else it has just been replaced */
        known->numbers[place] = number == HITS_NONE ? HITS_NONE : number + 1;
}

/* Most code objects run a few lines in a context; looking at all their units each time was 1 % of a run. */
void monitor_forget(struct monitor_code *known)
{
    struct flow *flow = known->flow;
    const uint32_t n = known->n_touched;

    known->n_touched = 0;
    if (n > MONITOR_TOUCHED) {
        flow_forget(flow);
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        flow->units[known->touched[i]].state &= (uint8_t)~(FLOW_FALL_SEEN | FLOW_JUMP_SEEN | FLOW_SEEN);
    for (uint32_t i = 0; i < flow->n_pairs; i++) {
        flow->pairs[i].proven = false;
        flow->pairs[i].frame = NULL;
    }
}
