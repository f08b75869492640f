/* cov.h - the verbs below `hasten cov`. */
#ifndef HASTEN_CMD_COV_H
#define HASTEN_CMD_COV_H

int cov_which(int argc, char **argv); /* argv[0] is the first argument after `which`; the exit status */

#endif
