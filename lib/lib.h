/* SPDX-License-Identifier: MIT */
/* lib/lib.h - between the files of libstandin. */
#ifndef LIB_LIB_H
#define LIB_LIB_H

/* Handlers for the five signals of translated code. 0 or -errno. */
int lib_signals_start(void);
/* They must be deliverable on a thread that makes requests. */
void lib_thread_ready(void);

#endif
