/* SPDX-License-Identifier: MIT */
/* tools/standin.h - the verbs of the standin command. */
#ifndef TOOLS_STANDIN_H
#define TOOLS_STANDIN_H

#include <stdio.h>

#include "base/types.h"

#define EXIT_USAGE 2
#define PRELOAD_NAME "libstandin-preload.so"

/* Each gets the arguments from its own name on and returns an exit code. */
int verb_run(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_info(int argc, char **argv);
int verb_explain(int argc, char **argv);
int verb_trace(int argc, char **argv);
int verb_stat(int argc, char **argv);

/* The usage of `explain`, to f; 0. */
int explain_help(FILE *f);

/* Path of the preload object: next to the command, then libdir. NULL + message. */
const char *preload_path(void);
/* Put it in front of LD_PRELOAD. 0 or -1 + message. */
int preload_env(void);
int usage(const char *msg);

#endif
