#include "ui/scan.h"

#include "ui/text.h"

#define MANY_ROWS 10000u

void scan_init(struct scan *scan, uint32_t columns, uint32_t rows, bool utf8)
{
    *scan = (struct scan){.utf8 = utf8, .columns = columns, .rows = rows, .certain = true, .blank = true};
}

void scan_resize(struct scan *scan, uint32_t columns, uint32_t rows)
{
    /* Some terminals fold long lines anew, others cut them: a line that is folded either way is uncertain. */
    if (scan->wrapped || scan->column >= columns || scan->column >= scan->columns)
        scan->certain = false;
    scan->columns = columns;
    scan->rows = rows;
    if (scan->below > rows)
        scan->below = rows;
}

void scan_mark(struct scan *scan)
{
    scan->touched = false;
    scan->left_line = false;
}

bool scan_is_quiet(const struct scan *scan)
{
    return scan->state == SCAN_GROUND && scan->certain && scan->column < scan->columns && scan->below == 0 &&
           !scan->other_screen && !scan->no_wrap && !scan->margins && !scan->saved && !scan->shifted;
}

/* Whether movements and erasing end a waiting wrap differs between terminals. */
static void end_waiting_wrap(struct scan *scan)
{
    if (scan->column >= scan->columns)
        scan->certain = false;
}

static void move_down(struct scan *scan, uint32_t n)
{
    end_waiting_wrap(scan);
    scan->below -= n < scan->below ? n : scan->below;
    scan->since_saved = n < MANY_ROWS - scan->since_saved ? scan->since_saved + n : MANY_ROWS;
    scan->blank = false;
    scan->left_line = true;
}

static void move_up(struct scan *scan, uint32_t n)
{
    end_waiting_wrap(scan);
    scan->below = n < scan->rows - scan->below ? scan->below + n : scan->rows; /* there are no more on a screen */
    scan->blank = false;
    scan->left_line = true;
}

static void set_column(struct scan *scan, uint32_t column)
{
    scan->column = column < scan->columns ? column : scan->columns - 1;
    scan->certain = true;
    scan->blank = false;
}

static void save(struct scan *scan)
{
    scan->saved = true;
    scan->since_saved = 0;
}

static void restore(struct scan *scan)
{
    move_up(scan, scan->saved ? scan->since_saved : scan->rows);
    scan->saved = false;
    scan->certain = false;
}

static void line_feed(struct scan *scan)
{
    const bool free_below = scan->below == 0;

    move_down(scan, 1);
    scan->column = 0;
    scan->certain = true;
    scan->wrapped = false;
    scan->saved = false;
    scan->blank = free_below;
}

static void print_char(struct scan *scan, uint32_t code)
{
    const uint32_t cells = text_char_cells(code);

    if (code == TEXT_INVALID || cells == 0 || (cells == 2 && (code < 0x2E80 || (code >= 0x1F000 && code < 0x20000))))
        scan->certain = false;
    if (scan->column + cells > scan->columns) {
        const bool certain = scan->certain;

        move_down(scan, certain ? 1 : 0); /* rows below are given up only when it is sure that they were passed */
        scan->certain = certain;
        scan->column = 0;
        scan->wrapped = true;
    }
    scan->column += cells;
    scan->blank = false;
    if (!scan->certain)
        scan->since_saved = MANY_ROWS; /* it may have wrapped unseen */
}

static void tab(struct scan *scan)
{
    const bool certain = scan->certain && scan->column < scan->columns;

    set_column(scan, (scan->column / 8 + 1) * 8);
    scan->certain = certain;
}

static void control(struct scan *scan, unsigned char byte)
{
    if (byte == '\n')
        line_feed(scan);
    else if (byte == '\v' || byte == '\f')
        move_down(scan, 1);
    else if (byte == '\r')
        scan->column = 0, scan->certain = true;
    else if (byte == '\t')
        tab(scan);
    else if (byte == '\b' && scan->column >= scan->columns)
        end_waiting_wrap(scan);
    else if (byte == '\b')
        scan->column -= scan->column > 0;
    else if (byte == 0x0E || byte == 0x0F)
        scan->shifted = byte == 0x0E;
    if (byte >= '\b' && byte <= '\r')
        scan->touched = true;
}

static uint32_t param(const struct scan *scan, uint32_t at, uint32_t absent)
{
    return at < scan->n_params && scan->params[at] ? scan->params[at] : absent;
}

static void set_mode(struct scan *scan, bool on)
{
    if (scan->marker != '?')
        return;
    for (uint32_t i = 0; i < scan->n_params; i++) {
        if (scan->params[i] == 7)
            scan->no_wrap = !on;
        if (scan->params[i] == 47 || scan->params[i] == 1047 || scan->params[i] == 1049) {
            scan->other_screen = on;
            scan->left_line = true;
            scan->certain = false;
        }
    }
}

static void erase_below(struct scan *scan)
{
    if (param(scan, 0, 0) == 1)
        return;
    end_waiting_wrap(scan);
    scan->below = 0;
    scan->left_line = true;
    scan->blank = scan->column == 0 && scan->certain;
}

static void csi_vertical(struct scan *scan, char final)
{
    if (final == 'A' || final == 'F')
        move_up(scan, param(scan, 0, 1));
    else if (final == 'B' || final == 'E' || final == 'e')
        move_down(scan, param(scan, 0, 1));
    else if (final == 'H' || final == 'f')
        move_up(scan, scan->rows), set_column(scan, param(scan, 1, 1) - 1);
    else if (final == 'd')
        move_up(scan, scan->rows);
    else
        move_up(scan, param(scan, 0, 1)); /* L, M, S, T: rows were moved about */
    if (final == 'E' || final == 'F')
        set_column(scan, 0);
}

static void csi_horizontal(struct scan *scan, char final)
{
    const uint32_t n = param(scan, 0, 1);

    /* From a waiting wrap or an uncertain column, only an absolute position leads back to certainty. */
    if (final == 'G' || final == '`') {
        set_column(scan, n - 1);
    } else if (scan->certain && scan->column < scan->columns) {
        if (final == 'D')
            set_column(scan, n < scan->column ? scan->column - n : 0);
        else
            set_column(scan, n < scan->columns ? scan->column + n : scan->columns);
    } else {
        scan->certain = false;
    }
    scan->touched = true;
}

static void csi(struct scan *scan, char final)
{
    /* clang-format off */
    switch (final) {
    case 'A': case 'B': case 'E': case 'F': case 'H': case 'L': case 'M': case 'S': case 'T': case 'd': case 'e': case 'f':
        csi_vertical(scan, final);
        break;
    case 'C': case 'D': case 'G': case '`': case 'a':
        csi_horizontal(scan, final);
        break;
    case 'J':
        erase_below(scan);
        break;
    case 'K':
        end_waiting_wrap(scan);
        scan->touched = true;
        if (scan->column == 0 && scan->certain && !scan->wrapped && param(scan, 0, 0) != 1)
            scan->blank = true;
        break;
    case 'X': case 'P': case '@': case 'b':
        end_waiting_wrap(scan);
        scan->touched = true;
        scan->certain = scan->certain && final != 'b';
        break;
    case 'h': case 'l':
        set_mode(scan, final == 'h');
        break;
    case 'r':
        if (scan->marker == 0) {
            scan->margins = param(scan, 0, 1) > 1 || (param(scan, 1, 0) && param(scan, 1, 0) < scan->rows);
            move_up(scan, scan->rows), scan->column = 0;
        }
        break;
    case 's':
        save(scan);
        break;
    case 'u':
        if (scan->marker == 0)
            restore(scan);
        break;
    default: /* colours, reports: nothing moves */
        break;
    }
    /* clang-format on */
}

static void csi_byte(struct scan *scan, unsigned char byte)
{
    uint32_t *last = &scan->params[scan->n_params ? scan->n_params - 1 : 0];

    if (byte >= '0' && byte <= '9') {
        if (scan->n_params == 0)
            scan->n_params = 1;
        if (*last < MANY_ROWS)
            *last = *last * 10 + (byte - '0');
    } else if (byte == ';' || byte == ':') {
        if (scan->n_params == 0)
            scan->n_params = 1;
        if (scan->n_params < SCAN_MAX_PARAMS)
            scan->params[scan->n_params++] = 0;
    } else if (byte >= 0x3C && byte <= 0x3F) {
        scan->marker = byte;
    } else if (byte >= 0x40 && byte <= 0x7E) {
        scan->state = SCAN_GROUND;
        csi(scan, (char)byte);
    } else if (byte < 0x20) {
        control(scan, byte); /* controls act in the middle of a sequence */
    }
}

static void escape_byte(struct scan *scan, unsigned char byte)
{
    scan->state = SCAN_GROUND;
    if (byte == '[') {
        scan->state = SCAN_CSI;
        scan->marker = 0;
        scan->n_params = 0;
        scan->params[0] = 0;
    } else if (byte == ']' || byte == 'P' || byte == '_' || byte == '^' || byte == 'X') {
        scan->state = SCAN_STRING;
        scan->marker = byte;
    } else if (byte >= 0x20 && byte <= 0x2F) {
        scan->state = SCAN_CHARSET;
        scan->marker = byte;
    } else if (byte == '7') {
        save(scan);
    } else if (byte == '8') {
        restore(scan);
    } else if (byte == 'D') {
        move_down(scan, 1);
    } else if (byte == 'E') {
        line_feed(scan);
    } else if (byte == 'M') {
        move_up(scan, 1);
    } else if (byte == 'c') {
        scan_init(scan, scan->columns, scan->rows, scan->utf8);
        scan->touched = scan->left_line = true;
    } else if (byte < 0x20) {
        scan->state = SCAN_ESCAPE;
        control(scan, byte);
    }
}

static void charset_byte(struct scan *scan, unsigned char byte)
{
    if (byte < 0x20) {
        control(scan, byte);
    } else if (byte >= 0x30) {
        scan->state = SCAN_GROUND;
        if (scan->marker == '(')
            scan->shifted = byte != 'B';
    }
}

static void start_char(struct scan *scan, unsigned char byte)
{
    scan->touched = true;
    if (byte < 0x80 || !scan->utf8 || byte < 0xC2 || byte > 0xF4) {
        print_char(scan, byte < 0x80 ? byte : TEXT_INVALID);
        return;
    }
    scan->state = SCAN_CHAR;
    scan->char_left = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
    scan->code = byte & (0x3Fu >> scan->char_left);
}

static void ground_byte(struct scan *scan, unsigned char byte)
{
    if (byte < 0x20)
        control(scan, byte);
    else if (byte != 0x7F)
        start_char(scan, byte);
}

static void char_byte(struct scan *scan, unsigned char byte)
{
    if ((byte & 0xC0) != 0x80) {
        scan->state = SCAN_GROUND;
        print_char(scan, TEXT_INVALID);
        ground_byte(scan, byte);
        return;
    }
    scan->code = scan->code << 6 | (byte & 0x3F);
    if (--scan->char_left == 0) {
        scan->state = SCAN_GROUND;
        print_char(scan, scan->code);
    }
}

static void feed_byte(struct scan *scan, unsigned char byte)
{
    const bool cancels = byte == 0x18 || byte == 0x1A;

    if (byte == 0x1B || (cancels && scan->state != SCAN_GROUND)) {
        if (scan->state == SCAN_CHAR)
            print_char(scan, TEXT_INVALID);
        scan->state = cancels ? SCAN_GROUND : SCAN_ESCAPE;
        scan->certain = scan->certain && !cancels; /* some terminals print something for a cancelled sequence */
        return;
    }
    if (byte >= 0x80 && (scan->state == SCAN_ESCAPE || scan->state == SCAN_CHARSET || scan->state == SCAN_CSI)) {
        scan->state = SCAN_GROUND; /* broken: terminals end it here, go on with it, or print the byte */
        scan->certain = false;
        scan->touched = true;
        return;
    }
    switch (scan->state) {
    case SCAN_GROUND:
        ground_byte(scan, byte);
        break;
    case SCAN_CHAR:
        char_byte(scan, byte);
        break;
    case SCAN_ESCAPE:
        escape_byte(scan, byte);
        break;
    case SCAN_CHARSET:
        charset_byte(scan, byte);
        break;
    case SCAN_CSI:
        csi_byte(scan, byte);
        break;
    case SCAN_STRING:
        if (byte == 0x07 && scan->marker == ']')
            scan->state = SCAN_GROUND;
        break;
    }
}

void scan_feed(struct scan *scan, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        feed_byte(scan, (unsigned char)bytes[i]);
}
