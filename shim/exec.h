/* SPDX-License-Identifier: MIT */
/*
 * shim/exec.h - between the files that start programs. All of it runs in vfork children: memory is
 * the caller's stack.
 */
#ifndef SHIM_EXEC_H
#define SHIM_EXEC_H

#include <alloca.h>

#include "base/door.h"
#include "shim/shim.h"

/* -- object.c: our own file -- */
enum { OBJECT_NAME_BYTES = 32 };
void object_init(void);
/* LD_PRELOAD's word for us: a path or, where there is none that can be used, name
 * (OBJECT_NAME_BYTES) with *fd set to a descriptor that the program inherits, and that is to be
 * closed here afterwards. NULL: there is no way. */
const char *object_word(char *name, int *fd);
bool object_is(const char *word, size_t n);

/* -- environ.c -- */
void environ_init(void);
/* The environment that a program gets, made from env in `out` (environ_room() bytes); word: ours,
 * or NULL: not in its LD_PRELOAD, from where it is taken. env itself, if nothing changes. */
size_t environ_room(char *const *env);
char *const *environ_for(char *const *env, const char *word, void *out);
bool environ_is_off(char *const *env);
const char *environ_find(char *const *env, const char *name);	/* name: with the "=" */
size_t environ_count(char *const *env);

/* -- exec.c -- */
struct launch {
	struct door_choice choice;
	char *const *envp;
	char name[OBJECT_NAME_BYTES];
	int fd;			/* to be closed when the program could not be started, or has
				 * been */
	bool second;		/* start second instead */
	struct door_launch by;
};
/* How to start the program. room: launch_room() bytes. */
size_t launch_room(char *const argv[], char *const envp[]);
void launch_prepare(struct launch *l, int dir, const char *path, int flags, char *const argv[],
		    char *const envp[], void *room);
void launch_end(struct launch *l);	/* keeps errno */
/* The file that PATH has for a name without a slash; path: PATH_MAX bytes. False: none. */
bool launch_search(const char *file, char *path);

#endif
