/* SPDX-License-Identifier: MIT */
/*
 * tools/doctor.c - standin doctor: does a real KVM work here; can standin run guests, shown by one
 * that each door runs; and what of the machine matters for that.
 */
#include "tools/doctor.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/host_cpuid.h"
#include "base/node.h"
#include "base/options.h"
#include "tools/standin.h"

enum { MAX_FACTS = 64 };

static struct fact_row {
	enum verdict verdict;
	const char *section, *what;
	char detail[200];
} facts[MAX_FACTS];
static u32 nr_facts;

void fact(enum verdict v, const char *section, const char *what, const char *fmt, ...)
{
	struct fact_row *f = &facts[nr_facts];
	va_list ap;

	if (nr_facts == MAX_FACTS)
		return;
	nr_facts++;
	f->verdict = v;
	f->section = section;
	f->what = what;
	va_start(ap, fmt);
	vsnprintf(f->detail, sizeof(f->detail), fmt, ap);
	va_end(ap);
}

/* -- the real one -- */

static void why_not(void)
{
	static const char *const modules[] = { "kvm_amd", "kvm_intel", "kvm_pvm" };
	u32 r[4];
	bool virt, module = false;
	char path[64];

	cpuid_host(CPUID_L_BASIC, 0, r);
	virt = r[CPUID_ECX] & CPUID_MASK(VMX);
	cpuid_host(CPUID_L_EXT, 0, r);
	if (r[CPUID_EAX] >= CPUID_L_EXT_BASIC) {
		cpuid_host(CPUID_L_EXT_BASIC, 0, r);
		virt |= r[CPUID_ECX] & CPUID_MASK(SVM);
	}
	fact(virt ? FACT_OK : FACT_NO, SECTION_REAL, "VT-x or AMD-V", "%s",
	     virt ? "the CPU offers it" : "the CPU offers neither");
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", modules[i]);
		if (!access(path, F_OK)) {
			fact(FACT_OK, SECTION_REAL, "kernel module", "%s is loaded", modules[i]);
			module = true;
		}
	}
	if (!module)
		fact(FACT_NO, SECTION_REAL, "kernel module", "none is loaded");
}

/* Is the node the character device that KVM has everywhere? */
static bool right_node(const char *node)
{
	struct stat st;

	if (stat(node, &st))
		fact(FACT_NO, SECTION_REAL, "node", "%s: %s", node, strerror(errno));
	else if (!S_ISCHR(st.st_mode))
		fact(FACT_NO, SECTION_REAL, "node", "%s is not a device", node);
	else if (st.st_rdev != NODE_RDEV)
		fact(FACT_NO, SECTION_REAL, "node", "%s is device %u:%u; KVM's is %d:%d", node,
		     major(st.st_rdev), minor(st.st_rdev), NODE_MAJOR, NODE_MINOR);
	else if (access(node, R_OK | W_OK))
		fact(FACT_NO, SECTION_REAL, "node", "%s: %s; it is of group %u", node,
		     strerror(errno), st.st_gid);
	else
		return true;
	return false;
}

/* Does a guest run on it? Looking proves nothing: nodes exist where KVM cannot work. */
static bool real_kvm(const char *node, bool try_it)
{
	const char *why;

	why_not();
	if (!right_node(node))
		return false;
	if (!try_it) {
		fact(FACT_NOTE, SECTION_REAL, "node", "%s may be used; not tried", node);
		return false;
	}
	why = doctor_guest(node);
	if (why)
		fact(FACT_NO, SECTION_REAL, "guest", "%s", why);
	else
		fact(FACT_OK, SECTION_REAL, "guest", "one ran on %s", node);
	return !why;
}

/* -- settings that are in force -- */

static void settings(void)
{
	static const char *const kinds[] = {
#define X(name, kind, ...) #kind,
		OPTIONS(X)
#undef X
	};

	for (u32 o = 0; o < OPTION_COUNT; o++) {
		const char *v = getenv(option_name(o));

		if (!v)
			continue;
		/* A path may tell of the user. */
		fact(*v && !option_allows(o, v) ? FACT_WARN : FACT_NOTE, SECTION_MACHINE,
		     option_name(o), "%s", strcmp(kinds[o], "PATH") ? v : "(a path)");
	}
}

/* -- what is printed -- */

static const char *const verdicts[] = {
	[FACT_OK] = "ok", [FACT_NOTE] = "-", [FACT_WARN] = "warn", [FACT_NO] = "no",
	[FACT_FAIL] = "FAIL",
};

/* A path without the name of the user in it. */
static void print_detail(const char *text)
{
	const char *home = getenv("HOME"),
		   *at = home && home[0] == '/' && home[1] ? strstr(text, home) : NULL;

	if (at)
		printf("%.*s~%s\n", (int)(at - text), text, at + strlen(home));
	else
		printf("%s\n", text);
}

static void print_text(bool real, bool cannot, bool report)
{
	const char *section = "";

	if (report)
		printf("standin %s, built with %s\n", STANDIN_VERSION, __VERSION__);
	if (real)
		printf("A real KVM works here: use it. standin is for machines without one.\n");
	for (u32 i = 0; i < nr_facts; i++) {
		const struct fact_row *f = &facts[i];

		/* Who asks for no report wants to know what is wrong. */
		if (!report && f->verdict == FACT_NOTE && !strcmp(f->section, SECTION_MACHINE))
			continue;
		if (strcmp(section, f->section))
			printf("%s:\n", section = f->section);
		printf("  %-5s %-24s ", verdicts[f->verdict], f->what);
		print_detail(f->detail);
	}
	printf("%s\n", cannot ? "standin cannot run here." : "standin can run here.");
}

static void print_json(bool real, bool cannot)
{
	printf("{\n  \"version\": \"%s\",\n  \"real_kvm\": %s,\n  \"standin\": %s,\n  \"facts\": [",
	       STANDIN_VERSION, real ? "true" : "false", cannot ? "false" : "true");
	for (u32 i = 0; i < nr_facts; i++) {
		static const char *const words[] = { "ok", "note", "warn", "no", "fail" };
		const struct fact_row *f = &facts[i];

		printf("%s\n    {\"section\": ", i ? "," : "");
		json_string(stdout, f->section);
		printf(", \"what\": ");
		json_string(stdout, f->what);
		printf(", \"verdict\": \"%s\", \"detail\": ", words[f->verdict]);
		json_string(stdout, f->detail);
		putchar('}');
	}
	printf("\n  ]\n}\n");
}

/* Second half, started through a door: anything but the stand-in's node must not be touched. */
static int guest(void)
{
	const char *node = option_text(OPT_NODE), *why;

	why = doctor_guest(node ? node : "/dev/standin-doctor");
	if (why)
		printf("%s\n", why);
	return why != NULL;
}

enum { DOCTOR_JSON = CLI_LONG(0), DOCTOR_REPORT, DOCTOR_REAL, DOCTOR_NO_TRY, DOCTOR_GUEST };
static const struct cli_option doctor_options[] = {
	{ DOCTOR_JSON, "json", NULL, "for programs" },
	{ DOCTOR_REPORT, "report", NULL, "all that a bug report needs, nothing that names you" },
	{ DOCTOR_REAL, "real", "NODE", "where the real KVM would be (/dev/kvm)" },
	{ DOCTOR_NO_TRY, "no-try", NULL, "do not open it, only look at it" },
	{ DOCTOR_GUEST, "guest", NULL, "run the small guest alone, on STANDIN_NODE" },
	{ 0 },
};

static int doctor_fn(const struct verb *v, int argc, char **argv)
{
	bool json = false, report = false, try_it = true, works, cannot = false;
	const char *real = "/dev/kvm";
	struct cli c;
	int id;

	cli_begin(&c, v, argc, argv);
	while ((id = cli_next(&c)) > 0) {
		switch (id) {
		case DOCTOR_JSON:
			json = true;
			break;
		case DOCTOR_REPORT:
			report = true;
			break;
		case DOCTOR_REAL:
			real = c.arg;
			break;
		case DOCTOR_NO_TRY:
			try_it = false;
			break;
		case DOCTOR_GUEST:
			return guest();
		}
	}
	if (id != CLI_END)
		return cli_status(id);
	if (c.at < argc)
		return cli_error(v, "'%s' is not expected", argv[c.at]);
	works = real_kvm(real, try_it);
	doctor_doors();
	doctor_machine();
	settings();
	for (u32 i = 0; i < nr_facts; i++)
		cannot |= facts[i].verdict == FACT_FAIL;
	if (json)
		print_json(works, cannot);
	else
		print_text(works, cannot, report);
	return cannot ? 1 : 0;
}

const struct verb verb_doctor = {
	.name = "doctor", .args = "[OPTION...]", .what = "does a guest run here, on a real KVM, on "
		"standin; and why not",
	.fn = doctor_fn, .options = doctor_options,
	.more = "A small guest is run on /dev/kvm, if there is one, and through each of standin's "
		"doors.\n"
		"Exit status: 0 standin can run here, 1 it cannot, 2 wrong usage.\n",
	.example = "  standin doctor --report > report.txt\n",
};
