/* SPDX-License-Identifier: MIT */
/*
 * base/log.h - diagnostics of the preload object: nothing unless STANDIN_LOG asks
 * for it, one write(2) a line, to stderr or to STANDIN_LOG_FILE.
 *
 * Any thread; not async-signal-safe; not from in-guest paths.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/types.h"

#define LOG_LEVELS(X) X(error) X(warn) X(info) X(debug)
enum log_level {
	LOG_off,
#define X(n) LOG_##n,
	LOG_LEVELS(X)
#undef X
};

extern enum log_level log_threshold;	/* set once by log_init() */

/* Read the environment. Idempotent; called when the library is loaded. */
void log_init(void);
void log_write(enum log_level l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_at(l, ...) \
	do { \
		if (unlikely(log_threshold >= LOG_##l)) \
			log_write(LOG_##l, __VA_ARGS__); \
	} while (0)
#define log_error(...) log_at(error, __VA_ARGS__)
#define log_warn(...) log_at(warn, __VA_ARGS__)
#define log_info(...) log_at(info, __VA_ARGS__)
#define log_debug(...) log_at(debug, __VA_ARGS__)

#endif
