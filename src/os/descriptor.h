/* descriptor.h - what a descriptor leads to, as cheaply as the kernel says it. */
#ifndef HASTEN_DESCRIPTOR_H
#define HASTEN_DESCRIPTOR_H

#include "base/base.h"

#include <sys/stat.h>

/* fstat(): 0 or -1 with errno. glibc's own asks for a path that is empty, which costs the kernel a third more. */
int descriptor_stat(int fd, struct stat *st);

#endif
