/* SPDX-License-Identifier: MIT */
/* base/log.c - see log.h. */
#include "base/log.h"

#include "base/options.h"
#include "base/sys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum log_level log_threshold = LOG_off;
/* STANDIN_LOG_FILE: opened for each line, since a program may count its descriptors, or close all
 * and get the number for a file of its own. NULL: standard error. */
static const char *log_file;

static const char *const level_name[] = {
	"off",
#define X(n) #n,
	LOG_LEVELS(X)
#undef X
};

static void say(const char *text)
{
	log_warn("%s", text);
}

void log_init(void)
{
	static const enum log_level of[] = { LOG_error, LOG_warn, LOG_info, LOG_debug, LOG_off };
	static bool done;
	const char *file = option_text(OPT_LOG_FILE);
	int word = option_word(OPT_LOG);

	if (done)
		return;
	done = true;
	if (!option_given(OPT_LOG) || !*getenv(option_name(OPT_LOG)))
		return;
	/* The environment may be changed later. */
	if (file)
		log_file = strdup(file);
	/* Whoever misspelt it wanted to be told something. */
	log_threshold = word < 0 ? LOG_warn : of[word];
	options_check(say);
}

void log_write(enum log_level l, const char *fmt, ...)
{
	int saved = errno;
	char line[512];
	struct timespec ts;
	va_list ap;
	int n, m, fd;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	n = snprintf(line, sizeof(line), "standin[%ld] %ld.%06ld %s: ", (long)sys_gettid(),
		     (long)ts.tv_sec, ts.tv_nsec / 1000, level_name[l]);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m > 0)
		n += m;
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	fd = log_file ? sys_open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC) : 2;
	if (fd < 0)
		fd = 2;
	do {
		m = (int)sys_write(fd, line, (size_t)n);
	} while (m == -EINTR); /* other failures have nowhere to be reported */
	if (fd != 2)
		sys_close(fd);
	errno = saved;
}
