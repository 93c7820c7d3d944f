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
#include "base/user.h"

void shim_confine(unsigned int mode, const void *filter)
{
	struct sock_filter code[BPF_MAXINSNS];
	struct sock_fprog p;

	if (mode != SECCOMP_SET_MODE_FILTER)
		optional_refuse_all();
	else if (user_get(&p, filter, sizeof(p)) || p.len > BPF_MAXINSNS ||
		 user_get(code, p.filter, p.len * sizeof(code[0])))
		optional_refuse_all();
	else
		optional_filter(code, p.len);
}

/* Both ways of asking for it, by the arguments of prctl(2). */
void shim_confine_prctl(int option, unsigned long mode, const void *filter)
{
	if (option == PR_SET_SECCOMP)
		shim_confine(mode == SECCOMP_MODE_FILTER ? SECCOMP_SET_MODE_FILTER :
			     SECCOMP_SET_MODE_STRICT, filter);
}

EXPORT int prctl(int option, ...)
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
