/*
 * text.h - UTF-8 text and the cells of a terminal that it takes.
 *
 * The widths come from a table of our own (text_table.h) and not from wcwidth(), whose answer depends on the locale and
 * which answers -1 for everything in the C locale.
 */
#ifndef HASTEN_TEXT_H
#define HASTEN_TEXT_H

#include "base/base.h"
#include "base/str.h"

#define TEXT_INVALID 0xFFFD

/* One character of s (n > 0 bytes): bytes used (1 to 4); *code is TEXT_INVALID and 1 is used when it is no UTF-8. */
size_t text_decode(const char *s, size_t n, uint32_t *code);

/* 0 (combining, invisible), 1 or 2. Controls count 0. */
uint32_t text_char_cells(uint32_t code);

uint32_t text_cells(const char *s, size_t n);

/*
 * Adds s as one printable line: controls as ^X, direction and other invisible formatting dropped, what is no UTF-8
 * replaced. Without utf8 everything beyond ASCII is a question mark (one for each cell).
 */
void text_add_visible(struct str *out, const char *s, size_t n, bool utf8);

/* The same in at most `cells` cells: what does not fit is left out of the middle, the end keeps more than the start. */
void text_add_elided(struct str *out, const char *s, size_t n, uint32_t cells, bool utf8);

#endif
