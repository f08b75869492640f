/* json.h - writing JSON: the one thing that is easy to get wrong, a string. */
#ifndef HASTEN_JSON_H
#define HASTEN_JSON_H

#include "base/str.h"

/*
 * Adds the n bytes as one JSON string with its quotes. The result is valid JSON whatever the bytes are: what is not
 * UTF-8 becomes U+FFFD (one for each wrong byte), and U+2028/2029 are escaped, so that it is one line everywhere.
 */
void json_string(struct str *out, const char *bytes, size_t n);

#endif
