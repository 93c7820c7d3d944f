/* SPDX-License-Identifier: MIT */
/* tools/standin.c - the standin command: picks the verb. */
#include "tools/standin.h"

#include <stdio.h>
#include <string.h>

static const struct verb {
	const char *name;
	int (*fn)(int argc, char **argv);
	const char *args, *what, *more;
} verbs[] = {
	{ "run", verb_run, "[--avic=none|avic|x2avic|x2avic-ext] [--] PROGRAM [ARG...]",
	  "run a program that expects /dev/kvm",
	  "\nSo are the programs that it starts. The exit status is the program's; 127: it is not\n"
	  "there, 126: it cannot be executed.\n\n"
	  "  --avic=KIND   the interrupt hardware that is modelled (STANDIN_AVIC)\n\n"
	  "STANDIN_HALT_POLL=NS in the environment: a halted vCPU polls for so long at most before it\n"
	  "sleeps (200000; 0: never).\n" },
	{ "doctor", verb_doctor, "[--try]", "can this host run guests, and why not",
	  "\nExit status: 0 standin can run here, 1 it cannot.\n\n"
	  "  --try   open /dev/kvm and create a VM, if there is one; otherwise it is only looked at\n" },
	{ "info", verb_info, "[--json]", "capabilities, CPUID and MSRs that guests get",
	  "\n  --json   for programs, instead of tables\n" },
	{ "explain", verb_explain, "vmcb [OPTION...] FILE", "why VMRUN refuses a VMCB image", "" },
	{ "trace", verb_trace, "[-o BASE] [-e EVENTS] [-t SECONDS] -p PID | [--] PROGRAM [ARG...]",
	  "events under KVM's names: BASE.txt as ftrace prints them, BASE.json for Perfetto",
	  "\n  -o BASE      names of the two files (standin-trace)\n"
	  "  -e EVENTS    wildcards with commas; all but kvm_entry and kvm_exit\n"
	  "  -t SECONDS   then stop\n"
	  "  -p PID       a process that is running on standin already\n" },
	{ "stat", verb_stat, "[-i SECONDS] [-n ROUNDS] PID",
	  "VMs of a process, why APIC acceleration is off, events per second",
	  "\n  -i SECONDS   length of a round (1)\n"
	  "  -n ROUNDS    how many (1); 0: until it is interrupted\n" },
};

static const struct {
	const char *set, *what;
} settings[] = {
	{ "STANDIN_LOG=error|warn|info|debug", "say what goes wrong, on stderr" },
	{ "STANDIN_LOG_FILE=PATH", "... or there" },
	{ "STANDIN_NODE=PATH", "stand in for this node (/dev/kvm)" },
	{ "STANDIN_AVIC=none|avic|x2avic|x2avic-ext", "interrupt hardware that is modelled" },
	{ "STANDIN_HALT_POLL=NS", "a halted vCPU polls for so long at most (200000); 0: never" },
	{ "STANDIN_SVM=avic,x2avic,x2avic-ext,decodeassists", "more than KVM offers nested guests" },
	{ "STANDIN_LA57=1", "offer guests 5-level paging" },
	{ "STANDIN_CPUID=0", "leave the CPUID instruction alone" },
	{ "STANDIN_OFF=1", "for a child: do not run it on standin" },
};

static void help(FILE *f)
{
	fprintf(f, "usage: standin VERB ...\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(f, "  %-7s %-24s%s%s\n", verbs[i].name, verbs[i].args,
			strlen(verbs[i].args) > 24 ? "\n                                   " : "  ",
			verbs[i].what);
	fprintf(f, "  %-7s %-24s  %s\n", "VERB", "--help", "more about a verb");
	fprintf(f, "  --help\n  --version\n");
	fprintf(f, "\nenvironment (docs/options.md):\n");
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		fprintf(f, "  %-48s %s\n", settings[i].set, settings[i].what);
}

/* standin VERB --help. `explain` has a text of its own. */
static int verb_help(const struct verb *v)
{
	if (v->fn == verb_explain)
		return explain_help(stdout);
	printf("usage: standin %s %s\n\n%s\n%s", v->name, v->args, v->what, v->more);
	return 0;
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
			return argc > 2 && !strcmp(argv[2], "--help") ?
				verb_help(&verbs[i]) : verbs[i].fn(argc - 1, argv + 1);
	return usage("no such verb");
}
