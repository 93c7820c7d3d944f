/* SPDX-License-Identifier: MIT */
/*
 * door/launch.c - start a program by the second door: execute our object, with the program as its
 * argument.
 *
 * System calls only, and the caller's memory: this runs in vfork children, and in programs whose
 * libc is not ours.
 */
#include "door/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/door.h"
#include "base/raw.h"

enum { PATH_BYTES = 4096, NAME_BYTES = PATH_BYTES + 32 };

/* Written at the start of the process only. */
static char object_path[PATH_BYTES];
static const u8 *object;
static size_t object_size;

void door_object_fd(int fd)
{
	struct stat st;
	long p;

	if (fd < 0)
		return;
	if (!RAW(SYS_fstat, fd, &st) && st.st_size > 0) {
		p = RAW(SYS_mmap, NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (p > 0 || p < -4095) {
			object = (const u8 *)p;
			object_size = (size_t)st.st_size;
		}
	}
	RAW(SYS_close, fd);
}

void door_object(const char *path)
{
	size_t n = strlen(path);
	long fd;

	if (path[0] != '/' || n >= sizeof(object_path))
		return;
	fd = RAW(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	memcpy(object_path, path, n + 1);
	door_object_fd((int)fd);
}

long door_image_file(const char *name, const void *image, size_t size)
{
	long fd = RAW(SYS_memfd_create, name, 0), n;

	for (size_t at = 0; fd >= 0 && at < size; at += (size_t)n) {
		n = RAW(SYS_write, fd, (const char *)image + at, size - at);
		if (n == -EINTR)
			n = 0;
		if (n < 0) {
			RAW(SYS_close, fd);
			return n;
		}
	}
	return fd;
}

/* The caller's memory, piece by piece. */
struct room {
	char *at;
};

static char *put_text(struct room *r, const char *s)
{
	char *p = r->at;
	size_t n = 0;

	do
		p[n] = s[n];
	while (s[n++]);
	r->at += n;
	return p;
}

static char *put_number(struct room *r, const char *before, u32 n, const char *after)
{
	char digits[12], *d = digits + sizeof(digits), *p = r->at;

	*--d = 0;
	do
		*--d = (char)('0' + n % 10);
	while (n /= 10);
	put_text(r, before);
	r->at--;
	put_text(r, d);
	r->at--;
	put_text(r, after);
	return p;
}

static size_t count(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

/* Scripts put words before the program's: each of them an interpreter and an argument, and itself
 * for the first word. */
enum { OURS = 4, PER_SCRIPT = 3 };

size_t door_second_room(char *const argv[], char *const envp[])
{
	return (count(argv) + OURS + PER_SCRIPT * DOOR_SCRIPT_DEPTH + 2) * sizeof(char *) +
	       DOOR_SCRIPT_DEPTH * (DOOR_HEAD_BYTES + 1) + 2 * NAME_BYTES + 64;
}

/* Follow "#!" lines: argv (with room before it) becomes the interpreter's. The file that is to be
 * started, or -errno. */
static long open_target(int dir, const char *path, int flags, const char *name, char ***argv,
			struct room *r, const char **where)
{
	char head[DOOR_HEAD_BYTES + 1], *interp, *arg;
	const char *script = name;
	long fd, n;

	*where = dir == AT_FDCWD || path[0] == '/' ? path : NULL;
	for (int depth = 0;; depth++) {
		fd = flags & AT_EMPTY_PATH && !path[0] ? RAW(SYS_dup, dir)
						       : RAW(SYS_openat, dir, path, O_RDONLY);
		if (fd < 0)
			return fd;
		n = RAW(SYS_pread64, fd, head, DOOR_HEAD_BYTES, 0);
		if (n < 0 || !door_script(head, (size_t)n, &interp, &arg))
			return fd;
		RAW(SYS_close, fd);
		if (depth == DOOR_SCRIPT_DEPTH)
			return -ELOOP;
		/* The script's name takes the place of the first word. */
		if (**argv)
			(*argv)++;
		*--*argv = (char *)script;
		if (arg)
			*--*argv = put_text(r, arg);
		interp = put_text(r, interp);
		*--*argv = interp;
		script = path = *where = interp;
		dir = AT_FDCWD;
		flags = 0;
	}
}

int door_second(struct door_launch *l, int dir, const char *path, int flags, char *const argv[],
		char *const envp[], void *room)
{
	size_t n = count(argv), before = OURS + PER_SCRIPT * DOOR_SCRIPT_DEPTH;
	char **v = (char **)room + before;
	struct room r = { (char *)((char **)room + before + n + 2) };
	const char *name = path, *where;
	long fd, own = -1;

	if (!object_path[0] && !object)
		return -ENOSYS;
	for (size_t i = 0; i <= n; i++)
		v[i] = i < n ? argv[i] : NULL;
	if (!n) {		/* as the kernel does since 5.18 */
		v[0] = put_text(&r, "");
		v[1] = NULL;
	}
	if (dir != AT_FDCWD && path[0] != '/')
		name = path[0] ? put_number(&r, "/dev/fd/", (u32)dir, "/")
			       : put_number(&r, "/dev/fd/", (u32)dir, "");
	if (name != path && path[0]) {
		r.at--;
		put_text(&r, path);
	}
	fd = open_target(dir, path, flags, name, &v, &r, &where);
	if (fd < 0)
		return (int)fd;
	if (where)
		RAW(SYS_close, fd);
	if (!object_path[0] || RAW(SYS_faccessat, AT_FDCWD, object_path, X_OK)) {
		own = object ? door_image_file(DOOR_NAME, object, object_size) : -ENOSYS;
		if (own < 0)
			return (int)own;
	}
	*--v = own < 0 ? put_text(&r, "-") : put_number(&r, "@", (u32)own, "");
	*--v = (char *)name;
	*--v = where ? (char *)where : put_number(&r, "@", (u32)fd, "");
	*--v = put_text(&r, DOOR_NAME);
	*l = (struct door_launch){
		.fd = own < 0 ? AT_FDCWD : (int)own, .path = own < 0 ? object_path : "",
		.flags = own < 0 ? 0 : AT_EMPTY_PATH, .argv = v, .envp = envp,
	};
	return 0;
}
