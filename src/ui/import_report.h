/* import_report.h - what a program's imports cost, for people: a summary, a tree with bars, and what could be saved. */
#ifndef HASTEN_UI_IMPORT_REPORT_H
#define HASTEN_UI_IMPORT_REPORT_H

#include "base/str.h"

#include "imports/view.h"
#include "ui/table.h"

struct import_report_options {
    struct table_options shape;
    uint32_t limit;   /* rows of each part */
    bool plugins;     /* pytest's plugins instead of the tree */
    const char *root; /* files below it are shown without it */
};

void import_report(struct str *out, const struct imports_view *view, const struct import_report_options *options);

#endif
