/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/oracle.h - the host CPU as oracle: a process of its own, started without
 * the preload, in which the arena is mapped at its linear addresses.
 */
#ifndef INSN_ORACLE_H
#define INSN_ORACLE_H

#include <sys/types.h>

#include "tests/insn/world.h"

struct oracle {
	u8 *arena;	/* our view of the shared arena */
	int to, from;	/* one byte starts a batch, one byte ends it */
	pid_t pid;
};

/* Bases of FS and GS in every sequence. */
#define A_FS_BASE 0x10ull
#define A_GS_BASE 0x20ull

bool oracle_has_ldt(void);
int oracle_start(struct oracle *o);		/* 0 or -errno */
int oracle_begin(struct oracle *o);
int oracle_wait(struct oracle *o);		/* 0; -EIO: it died */
/* Between batches: give the process debug registers; -errno where nobody may trace it. */
int oracle_watch(struct oracle *o, const struct watch *w);
void oracle_stop(struct oracle *o);
/* Body of the child process: arena fd, command fds. */
int oracle_main(int arena, int in, int out);

#endif
