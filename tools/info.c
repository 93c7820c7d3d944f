/* SPDX-License-Identifier: MIT */
/*
 * tools/info.c - standin info: asks the stand-in through the same ioctls a VMM uses, so what
 * is printed is what a VMM gets. Runs itself again under the preload for that.
 */
#include "tools/standin.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi/caps.h"
#include "base/msrs.h"

#define MAX_CPUID 256
#define MAX_MSRS 512

static const struct {
	u32 nr;
	const char *name;
} caps[] = {
#define X(name, number, value) { number, #name },
	KVM_CAPS(X)
#undef X
};

struct answers {
	int caps[ARRAY_SIZE(caps)];
	struct {
		struct kvm_cpuid2 h;
		struct kvm_cpuid_entry2 e[MAX_CPUID];
	} cpuid;
	struct {
		struct kvm_msr_list h;
		u32 index[MAX_MSRS];
	} msrs, features;
};

static int ask(struct answers *a)
{
	const char *node = getenv("STANDIN_NODE");
	int fd = open(node && *node ? node : "/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "standin: cannot start: %s; see standin doctor\n", strerror(errno));
		return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		a->caps[i] = ioctl(fd, KVM_CHECK_EXTENSION, caps[i].nr);
	a->cpuid.h.nent = MAX_CPUID;
	a->msrs.h.nmsrs = a->features.h.nmsrs = MAX_MSRS;
	if (ioctl(fd, KVM_GET_SUPPORTED_CPUID, &a->cpuid) ||
	    ioctl(fd, KVM_GET_MSR_INDEX_LIST, &a->msrs) ||
	    ioctl(fd, KVM_GET_MSR_FEATURE_INDEX_LIST, &a->features)) {
		fprintf(stderr, "standin: %s\n", strerror(errno));
		close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

static const struct {
	u32 first, count;
	const char *name;
} msr_names[] = {
#define X(name, first, count, ...) { first, count, #name },
	MSRS(X)
#undef X
};

static void print_msrs(const char *title, const struct kvm_msr_list *l)
{
	printf("%s:\n  index       name\n", title);
	for (u32 i = 0; i < l->nmsrs; i++) {
		const char *name = "";

		for (size_t k = 0; k < ARRAY_SIZE(msr_names); k++)
			if (l->indices[i] - msr_names[k].first < msr_names[k].count)
				name = msr_names[k].name;
		printf("  0x%08x  %s\n", l->indices[i], name);
	}
}

static void print_text(const struct answers *a)
{
	printf("capabilities:\n  nr  name                         value\n");
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		printf("  %3u %-28s %d\n", caps[i].nr, caps[i].name, a->caps[i]);
	printf("cpuid:\n  function   index      eax      ebx      ecx      edx\n");
	for (u32 i = 0; i < a->cpuid.h.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &a->cpuid.e[i];

		printf("  0x%08x %5x %08x %08x %08x %08x\n", e->function, e->index, e->eax, e->ebx,
		       e->ecx, e->edx);
	}
	print_msrs("msrs", &a->msrs.h);
	print_msrs("feature msrs", &a->features.h);
}

static void json_list(const char *name, const u32 *v, u32 n, const char *end)
{
	printf("  \"%s\": [", name);
	for (u32 i = 0; i < n; i++)
		printf("%s%u", i ? ", " : "", v[i]);
	printf("]%s\n", end);
}

static void print_json(const struct answers *a)
{
	printf("{\n  \"version\": \"%s\",\n  \"capabilities\": {\n", STANDIN_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		printf("    \"%s\": %d%s\n", caps[i].name, a->caps[i],
		       i + 1 < ARRAY_SIZE(caps) ? "," : "");
	printf("  },\n  \"cpuid\": [\n");
	for (u32 i = 0; i < a->cpuid.h.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &a->cpuid.e[i];

		printf("    {\"function\": %u, \"index\": %u, \"flags\": %u, \"eax\": %u, "
		       "\"ebx\": %u, \"ecx\": %u, \"edx\": %u}%s\n",
		       e->function, e->index, e->flags, e->eax, e->ebx, e->ecx, e->edx,
		       i + 1 < a->cpuid.h.nent ? "," : "");
	}
	printf("  ],\n");
	json_list("msrs", a->msrs.index, a->msrs.h.nmsrs, ",");
	json_list("feature_msrs", a->features.index, a->features.h.nmsrs, "");
	printf("}\n");
}

enum { INFO_JSON = CLI_LONG(0) };
static const struct cli_option info_options[] = {
	{ INFO_JSON, "json", NULL, "for programs, instead of tables" },
	{ 0 },
};

static int info_fn(const struct verb *v, int argc, char **argv)
{
	static struct answers a;
	bool json = false;
	struct cli c;
	int id;

	cli_begin(&c, v, argc, argv);
	while ((id = cli_next(&c)) > 0)
		json |= id == INFO_JSON;
	if (id != CLI_END)
		return cli_status(id);
	if (c.at < argc)
		return cli_error(v, "'%s' is not expected", argv[c.at]);
	/* Never ask a real node by accident: the marker is the preload's. */
	if (!dlsym(RTLD_DEFAULT, "standin_preload_version")) {
		char *again[] = { (char *)"standin", (char *)"info", json ? (char *)"--json" : NULL,
				  NULL };
		char self[PATH_MAX];

		if (getenv("STANDIN_INFO_AGAIN")) {
			fprintf(stderr, "standin: the preload object was not loaded\n");
			return 1;
		}
		if (preload_env() || setenv("STANDIN_INFO_AGAIN", "1", 1))
			return 1;
		if (own_path(self))
			execv(self, again);
		fprintf(stderr, "standin: %s\n", strerror(errno));
		return 1;
	}
	if (ask(&a))
		return 1;
	if (json)
		print_json(&a);
	else
		print_text(&a);
	return 0;
}

const struct verb verb_info = {
	.name = "info", .args = "[OPTION...]", .what = "capabilities, CPUID and MSRs that guests "
		"get",
	.fn = info_fn, .options = info_options,
	.more = "Exit status: 0, 1 standin cannot start, 2 wrong usage.\n",
	.example = "  standin info --json | jq '.capabilities.SPLIT_IRQCHIP'\n",
};
