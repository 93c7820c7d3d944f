/* SPDX-License-Identifier: MIT */
/*
 * shim/confine.c - a program that confines itself: which of the calls that KVM_RUN can do without
 * are let through from now on (base/optional.h)?
 */
#include "shim/shim.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/prctl.h>

#include "base/optional.h"

void shim_confine(unsigned int mode, const void *filter)
{
	const struct sock_fprog *p = filter;

	if (mode != SECCOMP_SET_MODE_FILTER)
		optional_refuse_all();
	else if (shim_can_read(p, sizeof(*p)) && p->len <= BPF_MAXINSNS &&
		 shim_can_read(p->filter, p->len * sizeof(*p->filter)))
		optional_filter(p->filter, p->len);
	/* Else nothing will be installed: programs ask with NULL whether there is seccomp at
	 * all. */
}

/* Both ways of asking for it, by the arguments of prctl(2). */
void shim_confine_prctl(int option, unsigned long mode, const void *filter)
{
	if (option == PR_SET_SECCOMP)
		shim_confine(mode == SECCOMP_MODE_FILTER ? SECCOMP_SET_MODE_FILTER
							 : SECCOMP_SET_MODE_STRICT,
			     filter);
}

/* All are taken, however many the caller has passed: see syscall(). */
EXPORT __attribute__((no_sanitize("address"))) int prctl(int option, ...)
{
	unsigned long a[4];
	va_list ap;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	shim_confine_prctl(option, a[0], (const void *)a[1]);
	return NEXT(prctl)(option, a[0], a[1], a[2], a[3]);
}
