/* SPDX-License-Identifier: MIT */
/*
 * tools/start.c - start a program on standin, by the door that base/door.h chooses, as shim/exec.c
 * does it for the programs below. A program that nothing reaches runs as it is, and one line says
 * so.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/door.h"
#include "door/launch.h"
#include "tools/standin.h"

enum { LOW_FD = 3, HIGH_FD = 200 };

int preload_env(void)
{
	const char *lib = preload_path(), *old = getenv("LD_PRELOAD");
	char *value, by_fd[40];
	int from, fd, r;

	if (!lib)
		return -1;
	if (old && strstr(old, lib))
		return 0;
	/* The loader splits the list at blanks and colons: then by a descriptor, which the object
	 * closes when it has been loaded. Never a standard stream. */
	if (strpbrk(lib, " :")) {
		from = open(lib, O_RDONLY | O_CLOEXEC);
		fd = fcntl(from, F_DUPFD, HIGH_FD);
		if (fd < 0)
			fd = fcntl(from, F_DUPFD, LOW_FD);
		if (fd < 0 || access("/proc/self/fd", F_OK)) {
			fprintf(stderr,
				"standin: %s: LD_PRELOAD cannot carry a path with a blank or "
				"colon, and there is no /proc\n",
				lib);
			return -1;
		}
		close(from);
		snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", fd);
		lib = by_fd;
	}
	if (asprintf(&value, "%s%s%s", lib, old && *old ? ":" : "", old ? old : "") < 0) {
		fprintf(stderr, "standin: out of memory\n");
		return -1;
	}
	r = setenv("LD_PRELOAD", value, 1);
	free(value);
	if (r)
		fprintf(stderr, "standin: setenv: %s\n", strerror(errno));
	return r;
}

/* Which glibc it needs, and where the second door is. */
static void read_objects(const char *lib)
{
	char door[PATH_MAX];
	struct stat st;
	const char *slash = strrchr(lib, '/');
	void *image;
	int fd = open(lib, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (!fstat(fd, &st)) {
		image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (image != MAP_FAILED) {
			door_read_object(image, (size_t)st.st_size);
			munmap(image, (size_t)st.st_size);
		}
	}
	close(fd);
	if (snprintf(door, sizeof(door), "%.*s/" DOOR_NAME, (int)(slash - lib), lib) <
	    (int)sizeof(door))
		door_object(door);
}

bool find_program(const char *name, char path[PATH_MAX])
{
	const char *p = getenv("PATH");

	snprintf(path, PATH_MAX, "%s", name);
	if (strchr(name, '/'))
		return !access(path, X_OK);
	if (!p)
		p = "/bin:/usr/bin";
	for (;;) {
		int n = (int)strcspn(p, ":");

		if (snprintf(path, PATH_MAX, "%.*s%s%s", n, p, n ? "/" : "", name) < PATH_MAX &&
		    !access(path, X_OK))
			return true;
		if (!p[n])
			break;
		p += n + 1;
	}
	snprintf(path, PATH_MAX, "%s", name);
	return false;
}

static bool in_list(const char *variable, const char *path)
{
	const char *list = getenv(variable), *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	size_t n = strlen(name);

	for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
		if (strcspn(p, ",") == n && !memcmp(p, name, n))
			return true;
	return false;
}

static bool is_wanted(const char *path)
{
	return (!getenv("STANDIN_ONLY") || in_list("STANDIN_ONLY", path)) &&
	       !in_list("STANDIN_EXCEPT", path);
}

int start_natively(char **argv)
{
	execvp(argv[0], argv);
	fprintf(stderr, "standin: %s: %s\n", argv[0], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}

/* Comes back if there is no second door, or the kernel has refused to open it. */
static void start_second(const char *path, char **argv)
{
	void *room = malloc(door_second_room(argv, environ));
	struct door_launch l;

	if (room && !door_second(&l, AT_FDCWD, path, 0, argv, environ, room))
		execveat(l.fd, l.path, l.argv, l.envp, l.flags);
	free(room);
}

int start_program(char **argv)
{
	const char *lib = preload_path();
	struct door_choice c;
	char path[PATH_MAX];

	if (!lib)
		return 1;
	read_objects(lib);
	find_program(argv[0], path);
	door_for(AT_FDCWD, path, 0, &c);
	if (c.door == DOOR_SECOND && is_wanted(c.scripts ? c.program : path))
		start_second(path, argv);
	/* The name may be a script's, in the messages of the kernel's own too. */
	if (door_reason(c.kind) && c.door != DOOR_PRELOAD && is_wanted(path))
		fprintf(stderr,
			"standin: warning: %s %s: it cannot be reached and will not see "
			"the stand-in%s\n",
			c.scripts ? c.program : path, door_reason(c.kind),
			door_strips(c.kind) ? "" : " (programs it starts can)");
	if (!door_strips(c.kind) && preload_env())
		return 1;
	return start_natively(argv);
}

bool real_kvm_works(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = -1, vcpu = -1;
	bool works;

	if (kvm >= 0 && ioctl(kvm, KVM_GET_API_VERSION, 0) == KVM_API_VERSION)
		vm = ioctl(kvm, KVM_CREATE_VM, 0);
	if (vm >= 0)
		vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	works = vcpu >= 0;
	if (vcpu >= 0)
		close(vcpu);
	if (vm >= 0)
		close(vm);
	if (kvm >= 0)
		close(kvm);
	return works;
}
