/* SPDX-License-Identifier: MIT */
/*
 * shim/cpuinfo.c - programs that look into /proc/cpuinfo for VT-x or AMD-V before they try the node
 * (kvm-ok, virt-host-validate, lscpu) find the flag. It is the one that shim/cpuid.c shows, since
 * they go by the host's vendor; on a host that has one of them the file is left as it is.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/options.h"
#include "base/raw.h"

#define CPUINFO "/proc/cpuinfo"

/* The whole file, with a NUL behind it; free it. */
static char *contents(size_t *n)
{
	long fd = RAW(SYS_openat, AT_FDCWD, CPUINFO, O_RDONLY | O_CLOEXEC), r = -1;
	size_t room = 1 << 16;
	char *text = fd < 0 ? NULL : malloc(room + 1), *more;

	*n = 0;
	while (text && (r = RAW(SYS_read, fd, text + *n, room - *n)) > 0) {
		*n += (size_t)r;
		if (*n < room)
			continue;
		room *= 2;
		more = realloc(text, room + 1);
		if (!more)
			r = -1;
		if (!more)
			break;
		text = more;
	}
	if (fd >= 0)
		RAW(SYS_close, fd);
	if (r) {
		free(text);
		return NULL;
	}
	if (text)
		text[*n] = 0;
	return text;
}

static bool has_word(const char *line, const char *end, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = line; (p = memmem(p, (size_t)(end - p), word, n)); p += n)
		if (p[-1] == ' ' && (p + n == end || p[n] == ' '))
			return true;
	return false;
}

static bool put(int fd, const char *text, size_t n)
{
	while (n) {
		long r = RAW(SYS_write, fd, text, n);

		if (r <= 0)
			return false;
		text += r;
		n -= (size_t)r;
	}
	return true;
}

/* Each line of flags, with one more. */
static bool put_with(int fd, const char *text, size_t n, const char *flag)
{
	const char *end;

	for (const char *line = text; line < text + n; line = end) {
		end = memchr(line, '\n', (size_t)(text + n - line));
		if (!end)
			return put(fd, line, (size_t)(text + n - line));
		if (!put(fd, line, (size_t)(end - line)))
			return false;
		if (!strncmp(line, "flags\t", 6)) {
			if (has_word(line, end, "svm") || has_word(line, end, "vmx"))
				return false;
			if (!put(fd, flag, strlen(flag)))
				return false;
		}
		end++;
		if (!put(fd, "\n", 1))
			return false;
	}
	return true;
}

int shim_open_cpuinfo(int dir, const char *path, int flags)
{
	size_t n;
	char *text;
	int fd;

	if (shim_passive || (flags & (O_ACCMODE | O_PATH)) ||
	    likely(!shim_is_file(dir, path, CPUINFO)) || option_word(OPT_CPUID) == 0)
		return -ENOSYS;
	text = contents(&n);
	if (!text)
		return -ENOSYS;
	fd = memfd_create("cpuinfo", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
	if (fd >= 0 && (!put_with(fd, text, n, strstr(text, "GenuineIntel") ? " vmx" : " svm") ||
			RAW(SYS_lseek, fd, 0, SEEK_SET))) {
		RAW(SYS_close, fd);
		fd = -1;
	}
	free(text);
	return fd < 0 ? -ENOSYS : fd;
}
