/* SPDX-License-Identifier: MIT */
/*
 * base/door.h - by which door does a program come to standin? The one place that decides it:
 * `standin run` and every exec below it look at the file here.
 *
 * A program that cannot be reached must not notice us: what the dynamic loader of the file would
 * refuse (musl, 32 bits, an old glibc) is not put into its environment.
 *
 * No libc, no memory but the caller's: runs in vfork children and in a loader of our own.
 */
#ifndef BASE_DOOR_H
#define BASE_DOOR_H

#include "base/types.h"

/* In the environment of a program: what brings it here, what it is told, and that it is to be left
 * alone. */
#define ENV_PRELOAD "LD_PRELOAD="
#define ENV_OURS "STANDIN_"
#define ENV_OFF ENV_OURS "OFF="

enum door {
	DOOR_NONE,	/* as it is */
	DOOR_PRELOAD,	/* its dynamic loader takes LD_PRELOAD */
	DOOR_SECOND,	/* the loader of door/; where that is missing: as DOOR_NONE */
};

/* Where the preload object is built with it, too, both have the same runtime (.ci/run). */
#ifdef __SANITIZE_ADDRESS__
#define DOOR_OF_ASAN DOOR_PRELOAD
#else
#define DOOR_OF_ASAN DOOR_SECOND
#endif

/* X(name, door, strip, what is said of a program that is out of reach)
 * strip: LD_PRELOAD in its environment would change it. The others' may name us: it is for the
 * programs that they start. */
#define PROGRAM_KINDS(X) \
	X(UNKNOWN, DOOR_NONE, false, NULL)	/* execve() says why, or a shell runs it */ \
	X(GLIBC, DOOR_PRELOAD, false, NULL) \
	X(STATIC, DOOR_SECOND, false, "is statically linked") \
	X(GO, DOOR_SECOND, false, "is a Go program, which makes system calls itself") \
	X(MUSL, DOOR_SECOND, true, "is linked to musl") \
	X(OTHER_LOADER, DOOR_SECOND, true, "has a dynamic loader that is not glibc's") \
	X(OLD_GLIBC, DOOR_SECOND, true, "has a glibc older than the one standin was built with") \
	/* gcc's: it ends a program in whose list of libraries it is not the first. */ \
	X(ASAN, DOOR_OF_ASAN, DOOR_OF_ASAN != DOOR_PRELOAD, "is built with the address sanitizer") \
	X(BITS32, DOOR_NONE, true, "is a 32-bit program") \
	X(FOREIGN, DOOR_NONE, true, NULL)	/* binfmt_misc, or ENOEXEC */ \
	X(SETUID, DOOR_NONE, false, "is setuid or has file capabilities") \
	X(UNREADABLE, DOOR_NONE, true, "cannot be read")
enum program_kind {
#define X(n, door, strip, text) PROGRAM_##n,
	PROGRAM_KINDS(X)
#undef X
};

enum { DOOR_INTERP_MAX = 256, DOOR_SCRIPT_DEPTH = 5 };

struct door_choice {
	enum door door;
	enum program_kind kind;
	u32 scripts;	/* "#!" lines on the way to the program that was judged */
	/* The judged program when scripts is not 0: the last interpreter. */
	char program[DOOR_INTERP_MAX];
};

/* Look at what execveat(dir, path, ..., flags) would run. path may be a bad pointer. Fails never:
 * what cannot be judged is PROGRAM_UNKNOWN. AT_EMPTY_PATH: dir is the program. */
void door_for(int dir, const char *path, int flags, struct door_choice *c);
/* "is statically linked", or NULL: there is nothing to say. */
const char *door_reason(enum program_kind kind);
/* Unless it goes by the second door: is LD_PRELOAD to be kept from it? */
bool door_strips(enum program_kind kind);

/* The smallest minor version of glibc 2 that the preload object runs with. Set once at start, best
 * from the object's file. */
extern u32 door_glibc_minor;
void door_read_object(const void *image, size_t bytes);
/* Does it need nothing but libc, so that it can be loaded in another root? */
extern bool door_object_alone;

/* The "#!" line at the head (n bytes in a buffer of DOOR_HEAD_BYTES) of a script, as Linux splits
 * it: the interpreter and at most one argument (NULL: none), as strings within head, which is
 * changed. False: not a script. */
bool door_script(char *head, size_t n, char **interp, char **arg);
enum { DOOR_HEAD_BYTES = 256 };	/* how much of the file Linux looks at for that */

/*
 * The second door. What to execute instead of path: start it with execveat(fd, path, argv, envp,
 * flags) (fd may be AT_FDCWD), and close fd when that has failed, if it is not AT_FDCWD. All that
 * argv and envp need comes from `room` (door_second_room() bytes). 0 or -errno; -ENOSYS: this build
 * has no second door.
 */
struct door_launch {
	int fd;
	const char *path;
	int flags;
	char *const *argv, *const *envp;
};
size_t door_second_room(char *const argv[], char *const envp[]);
int door_second(struct door_launch *l, int dir, const char *path, int flags, char *const argv[],
		char *const envp[], void *room);

#endif
