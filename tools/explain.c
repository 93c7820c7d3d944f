/* SPDX-License-Identifier: MIT */
/* tools/explain.c - `standin explain vmcb FILE`: why VMRUN refuses a VMCB. */
#include "tools/standin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu.h"
#include "svm/checks.h"
#include "svm/fields.h"

#define EXIT_VALID 0
#define EXIT_VIOLATED 1

/* Features that only free a bit of CR4 or EFER; those of SVM_FEATURES may do so as well. */
static const struct reg_feature {
	const char *name;
	u64 cr4, efer;
} reg_features[] = {
	{ "umip", CR4_UMIP, 0 }, { "la57", CR4_LA57, 0 }, { "fsgsbase", CR4_FSGSBASE, 0 },
	{ "pcid", CR4_PCIDE, 0 }, { "xsave", CR4_OSXSAVE, 0 }, { "smep", CR4_SMEP, 0 },
	{ "smap", CR4_SMAP, 0 }, { "pku", CR4_PKE, 0 }, { "shstk", BIT64(23), 0 },
	{ "lm", 0, EFER_LME | EFER_LMA }, { "nx", 0, EFER_NX }, { "svm", 0, EFER_SVME },
	{ "ffxsr", 0, EFER_FFXSR }, { "tce", 0, EFER_TCE }, { "lmsle", 0, BIT64(13) },
	{ "mcommit", 0, BIT64(17) }, { "intwb", 0, BIT64(18) }, { "autoibrs", 0, BIT64(21) },
};

static const struct {
	const char *name;
	enum svm_feature f;
} svm_features[] = {
#define X(id, option, ...) { option, SVM_FEAT_##id },
	SVM_FEATURES(X)
#undef X
};

/* The CPU that standin offers. */
#define DEFAULTS "svm,npt,lbrv,nrips,tscrate,vmcbclean,flushbyasid,pausefilter,pfthreshold,vls," \
	"vgif,vnmi,svme-addr-chk,rdtscp,xsave,invpcid,umip,fsgsbase,pcid,smep,smap,lm,nx,autoibrs"

struct cpu_model {
	u64 features, cr4, efer;
};

static bool set_feature(struct cpu_model *m, const char *name, size_t len, bool on)
{
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(svm_features); i++)
		if (strlen(svm_features[i].name) == len &&
		    !strncmp(svm_features[i].name, name, len)) {
			u64 bit = BIT64(svm_features[i].f);

			m->features = on ? m->features | bit : m->features & ~bit;
			known = true;
		}
	for (size_t i = 0; i < ARRAY_SIZE(reg_features); i++) {
		const struct reg_feature *f = &reg_features[i];

		if (strlen(f->name) != len || strncmp(f->name, name, len))
			continue;
		m->cr4 = on ? m->cr4 | f->cr4 : m->cr4 & ~f->cr4;
		m->efer = on ? m->efer | f->efer : m->efer & ~f->efer;
		known = true;
	}
	return known;
}

/* "shstk,-npt" */
static int set_features(struct cpu_model *m, const char *list)
{
	while (*list) {
		size_t n = strcspn(list, ",");
		bool off = *list == '-';

		if (!set_feature(m, list + off, n - off, !off)) {
			fprintf(stderr, "standin: no such feature: %.*s\n", (int)n, list);
			return -1;
		}
		list += n + (list[n] == ',');
	}
	return 0;
}

int explain_help(FILE *f)
{
	fprintf(f,
		"usage: standin explain vmcb [OPTION...] FILE\n\n"
		"FILE is a 4 KiB image of a VMCB, - for standard input. Lists every rule that\n"
		"VMRUN would refuse it for. Exit status: 0 valid, 1 refused, 2 error.\n\n"
		"  --features LIST    add (NAME) or take away (-NAME) CPU features, by comma\n"
		"  --maxphyaddr BITS  physical address size (48)\n"
		"  --own-pat          the guest has a PAT of its own: check G_PAT\n"
		"  --fields           show the fields that are not zero as well\n\n"
		"features:");
	for (size_t i = 0; i < ARRAY_SIZE(svm_features); i++)
		fprintf(f, " %s", svm_features[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(reg_features); i++) {
		bool shown = false;

		for (size_t j = 0; j < ARRAY_SIZE(svm_features); j++)
			shown |= !strcmp(svm_features[j].name, reg_features[i].name);
		if (!shown)
			fprintf(f, " %s", reg_features[i].name);
	}
	fprintf(f, "\ndefault: " DEFAULTS "\n");
	return 0;
}

static int explain_usage(void)
{
	explain_help(stderr);
	return EXIT_USAGE;
}

static int read_image(const char *path, struct vmcb *v)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
	size_t n;
	bool more;

	if (!f) {
		fprintf(stderr, "standin: %s: %s\n", path, strerror(errno));
		return -1;
	}
	n = fread(v, 1, sizeof(*v), f);
	more = n == sizeof(*v) && fgetc(f) != EOF;
	if (ferror(f))
		fprintf(stderr, "standin: %s: %s\n", path, strerror(errno));
	else if (n < sizeof(*v) || more)
		fprintf(stderr, "standin: %s: not an image of 4096 bytes\n", path);
	more |= ferror(f) || n < sizeof(*v);
	if (f != stdin)
		fclose(f);
	return more ? -1 : 0;
}

static u64 number(const u8 *p, u8 size)
{
	u64 v = 0;

	memcpy(&v, p, size);
	return v;
}

static void show_segment(const u8 *p)
{
	struct vmcb_seg s;

	memcpy(&s, p, sizeof(s));
	printf("%04x attrib %03x limit %08x base %016llx", s.selector, s.attrib, s.limit,
	       (unsigned long long)s.base);
}

static void show_fields(const struct vmcb *v)
{
	const u8 *raw = (const u8 *)v;
	char name[32];

	for (u32 i = 0; i < vmcb_field_count; i++) {
		const struct vmcb_field *f = &vmcb_fields[i];
		const u8 *p = raw + f->offset;
		bool zero = true;

		for (u32 b = 0; b < (u32)f->size * f->count; b++)
			zero &= !p[b];
		if (zero)
			continue;
		printf("  0x%03x %-18s", f->offset, f->name);
		for (u32 n = 0; n < f->count; n++) {
			if (f->size == sizeof(struct vmcb_seg))
				show_segment(p);
			else
				printf("%s%0*llx", n && f->size > 1 ? " " : "", f->size * 2,
				       (unsigned long long)number(p + n * f->size, f->size));
		}
		printf("  %s", f->what);
		if (f->offset == offsetof(struct vmcb, control.exit_code))
			printf(": %s", svm_exit_name(v->control.exit_code, name));
		printf("\n");
	}
}

static void show_refusal(void *arg, const struct svm_refusal *why)
{
	const struct vmcb_field *f = vmcb_field_at(why->offset);
	char text[SVM_TEXT_MAX];

	svm_refusal_reason(why, text);
	printf("  0x%03x %-10s %-15s %s\n", why->offset, f ? f->name : "?", why->name, text);
}

static void ignore(void *arg, const struct svm_refusal *why)
{
}

static int explain_vmcb(const char *path, const struct svm_caps *k, bool fields)
{
	static struct vmcb v;
	u32 n;

	if (read_image(path, &v))
		return EXIT_USAGE;
	n = svm_check_all(k, &v, ignore, NULL);
	if (n)
		printf("%s: VMRUN refuses it (VMEXIT_INVALID), %u rule%s violated\n", path, n,
		       n == 1 ? " is" : "s are");
	else
		printf("%s: valid\n", path);
	svm_check_all(k, &v, show_refusal, NULL);
	if (fields) {
		if (n)
			printf("fields:\n");
		show_fields(&v);
	}
	return n ? EXIT_VIOLATED : EXIT_VALID;
}

int verb_explain(int argc, char **argv)
{
	struct cpu_model m = {
		.cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE |
		       CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT,
		.efer = EFER_SCE,
	};
	struct svm_caps k = { .maxphyaddr = 48 };
	const char *path = NULL;
	bool fields = false;

	if (argc < 2 || strcmp(argv[1], "vmcb") || set_features(&m, DEFAULTS))
		return explain_usage();
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--features") && i + 1 < argc) {
			if (set_features(&m, argv[++i]))
				return explain_usage();
		} else if (!strcmp(argv[i], "--maxphyaddr") && i + 1 < argc) {
			char *end;
			unsigned long bits = strtoul(argv[++i], &end, 10);

			if (*end || bits < 32 || bits > 52) {
				fprintf(stderr, "standin: --maxphyaddr is 32 to 52\n");
				return EXIT_USAGE;
			}
			k.maxphyaddr = (u8)bits;
		} else if (!strcmp(argv[i], "--own-pat")) {
			k.separate_pat = true;
		} else if (!strcmp(argv[i], "--fields")) {
			fields = true;
		} else if (!path && (argv[i][0] != '-' || !argv[i][1])) {
			path = argv[i];
		} else {
			return explain_usage();
		}
	}
	if (!path)
		return explain_usage();
	svm_caps_features(&k, m.features);
	k.cr4_reserved = ~m.cr4;
	k.efer_reserved = ~m.efer;
	return explain_vmcb(path, &k, fields);
}
