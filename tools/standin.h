/* SPDX-License-Identifier: MIT */
/* tools/standin.h - the verbs of the standin command. */
#ifndef TOOLS_STANDIN_H
#define TOOLS_STANDIN_H

#include <limits.h>

#include "tools/cli.h"

#define PRELOAD_NAME "libstandin-preload.so"

extern const struct verb verb_run, verb_doctor, verb_info, verb_explain, verb_trace, verb_stat;

/* The file of this command, also where no /proc is mounted (a bare chroot). */
bool own_path(char path[PATH_MAX]);
/* Path of the preload object: next to the command, then libdir. NULL + message. */
const char *preload_path(void);
/* Put it in front of LD_PRELOAD. 0 or -1 + message. */
int preload_env(void);
/* Become the program argv on standin, by whichever door it takes; or as if we were not there. They
 * return an exit code, after a message, if that did not work. */
int start_program(char **argv);
int start_natively(char **argv);
/* The file that execvp() would take; the name as it is if there is none. */
bool find_program(const char *name, char path[PATH_MAX]);
/* The command was called by a program's name: run that. -1: it was not. */
int wrapper(char **argv);
bool real_kvm_works(void);

#endif
