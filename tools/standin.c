/* SPDX-License-Identifier: MIT */
/* tools/standin.c - the standin command: picks the verb. */
#include "tools/standin.h"

#include <stdio.h>
#include <string.h>

static const struct verb {
	const char *name;
	int (*fn)(int argc, char **argv);
	const char *args, *what;
} verbs[] = {
	{ "run", verb_run, "[--avic=none|avic|x2avic|x2avic-ext] [--] PROGRAM [ARG...]",
	  "run a program that expects /dev/kvm" },
	{ "doctor", verb_doctor, "[--try]", "can this host run guests, and why not" },
	{ "info", verb_info, "[--json]", "capabilities, CPUID and MSRs that guests get" },
	{ "explain", verb_explain, "vmcb [OPTION...] FILE", "why VMRUN refuses a VMCB image" },
	{ "trace", verb_trace, "[-o BASE] [-e EVENTS] [-t SECONDS] -p PID | [--] PROGRAM [ARG...]",
	  "events under KVM's names: BASE.txt as ftrace prints them, BASE.json for Perfetto" },
	{ "stat", verb_stat, "[-i SECONDS] [-n ROUNDS] PID",
	  "VMs of a process, why APIC acceleration is off, events per second" },
};

static void help(FILE *f)
{
	fprintf(f, "usage: standin VERB ...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(f, "  %-7s %-24s %s\n", verbs[i].name, verbs[i].args, verbs[i].what);
	fprintf(f, "  %-7s %-24s\n  %-7s %-24s\n", "--help", "", "--version", "");
	fprintf(f, "\nenvironment:\n"
		   "  STANDIN_LOG=error|warn|info|debug   say what goes wrong, on stderr\n"
		   "  STANDIN_LOG_FILE=PATH               ... or there\n"
		   "  STANDIN_NODE=PATH                   stand in for this node (/dev/kvm)\n"
		   "  STANDIN_CPUID=0                     leave the CPUID instruction alone\n"
		   "  STANDIN_OFF=1                       for a child: do not run it on standin\n");
}

int usage(const char *msg)
{
	fprintf(stderr, "standin: %s\n", msg);
	help(stderr);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage("which verb?");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		help(stdout);
		return 0;
	}
	if (!strcmp(argv[1], "--version")) {
		printf("standin %s\n", STANDIN_VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].fn(argc - 1, argv + 1);
	return usage("no such verb");
}
