/* SPDX-License-Identifier: MIT */
/*
 * shim/chosen.c - which programs are put on standin: all, but where STANDIN_OFF is in the
 * environment, and those that STANDIN_ONLY and STANDIN_EXCEPT choose by the name of their file
 * (virtiofsd beside QEMU in one tree).
 */
#include "shim/shim.h"

#include <string.h>

#include "base/options.h"

bool shim_off, shim_passive;
static const char *only, *except;	/* names with commas */

static bool lists(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = list; *p; p += strcspn(p, ","), p += *p == ',')
		if (strcspn(p, ",") == n && !memcmp(p, name, n))
			return true;
	return false;
}

bool shim_wanted(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	return (!only || lists(only, name)) && !(except && lists(except, name));
}

void shim_chosen_init(void)
{
	/* The environment may be written to later. */
	static char names[2][1024];
	const char *o = option_text(OPT_ONLY), *e = option_text(OPT_EXCEPT);

	if (o && strlen(o) < sizeof(names[0]))
		only = strcpy(names[0], o);
	if (e && strlen(e) < sizeof(names[1]))
		except = strcpy(names[1], e);
	shim_off = option_given(OPT_OFF);
	shim_passive = shim_off || !shim_wanted(program_invocation_name);
}
