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
	{ "umip", CR4_UMIP, 0 },
	{ "la57", CR4_LA57, 0 },
	{ "fsgsbase", CR4_FSGSBASE, 0 },
	{ "pcid", CR4_PCIDE, 0 },
	{ "xsave", CR4_OSXSAVE, 0 },
	{ "smep", CR4_SMEP, 0 },
	{ "smap", CR4_SMAP, 0 },
	{ "pku", CR4_PKE, 0 },
	{ "shstk", BIT64(23), 0 },
	{ "lm", 0, EFER_LME | EFER_LMA },
	{ "nx", 0, EFER_NX },
	{ "svm", 0, EFER_SVME },
	{ "ffxsr", 0, EFER_FFXSR },
	{ "tce", 0, EFER_TCE },
	{ "lmsle", 0, BIT64(13) },
	{ "mcommit", 0, BIT64(17) },
	{ "intwb", 0, BIT64(18) },
	{ "autoibrs", 0, BIT64(21) },
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

/* -- as JSON -- */

static bool json_more;	/* something precedes in this list */

static void json_comma(void)
{
	printf(json_more ? ",\n    " : "\n    ");
	json_more = true;
}

static void json_refusal(void *arg, const struct svm_refusal *why)
{
	const struct vmcb_field *f = vmcb_field_at(why->offset);
	char text[SVM_TEXT_MAX];

	svm_refusal_reason(why, text);
	json_comma();
	printf("{\"offset\": %u, \"field\": ", why->offset);
	json_string(stdout, f ? f->name : "");
	printf(", \"rule\": ");
	json_string(stdout, why->name);
	printf(", \"reason\": ");
	json_string(stdout, text);
	putchar('}');
}

/* The bytes in the order of a number: the most significant first; of an array, element by
 * element. */
static void json_field(const struct vmcb *v, const struct vmcb_field *f)
{
	const u8 *p = (const u8 *)v + f->offset;

	json_comma();
	printf("{\"offset\": %u, \"field\": ", f->offset);
	json_string(stdout, f->name);
	printf(", \"value\": [");
	for (u32 n = 0; n < f->count; n++, p += f->size) {
		printf("%s\"", n ? ", " : "");
		for (u32 i = f->size; i-- > 0;)
			printf("%02x", p[i]);
		putchar('"');
	}
	printf("]}");
}

static void explain_json(const char *path, const struct vmcb *v, const struct svm_caps *k,
			 u32 refusals, bool fields)
{
	printf("{\n  \"file\": ");
	json_string(stdout, path);
	printf(",\n  \"valid\": %s,\n  \"violations\": [", refusals ? "false" : "true");
	json_more = false;
	svm_check_all(k, v, json_refusal, NULL);
	printf("%s]", json_more ? "\n  " : "");
	if (fields) {
		printf(",\n  \"fields\": [");
		json_more = false;
		for (u32 i = 0; i < vmcb_field_count; i++)
			json_field(v, &vmcb_fields[i]);
		printf("\n  ]");
	}
	printf("\n}\n");
}

static int explain_vmcb(const char *path, const struct svm_caps *k, bool fields, bool json)
{
	static struct vmcb v;
	u32 n;

	if (read_image(path, &v))
		return EXIT_USAGE;
	n = svm_check_all(k, &v, ignore, NULL);
	if (json) {
		explain_json(path, &v, k, n, fields);
		return n ? EXIT_VIOLATED : EXIT_VALID;
	}
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

enum {
	EXPLAIN_FEATURES = CLI_LONG(0),
	EXPLAIN_MAXPHYADDR,
	EXPLAIN_OWN_PAT,
	EXPLAIN_FIELDS,
	EXPLAIN_JSON
};
static const struct cli_option explain_options[] = {
	{ EXPLAIN_FEATURES, "features", "LIST", "add (NAME) or take away (-NAME) CPU features, by "
		"comma" },
	{ EXPLAIN_MAXPHYADDR, "maxphyaddr", "BITS", "physical address size (48)" },
	{ EXPLAIN_OWN_PAT, "own-pat", NULL, "the guest has a PAT of its own: check G_PAT" },
	{ EXPLAIN_FIELDS, "fields", NULL, "show the fields that are not zero as well" },
	{ EXPLAIN_JSON, "json", NULL, "for programs; with --fields all fields" },
	{ 0 },
};

static const _Atomic u64 own_pat = QUIRK_NESTED_SVM_SHARED_PAT;

static int explain_fn(const struct verb *verb, int argc, char **argv)
{
	struct cpu_model m = {
		.cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE |
		       CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT,
		.efer = EFER_SCE,
	};
	struct svm_caps k = { .maxphyaddr = 48 };
	bool fields = false, json = false;
	struct cli c;
	u64 bits;
	int id;

	cli_begin(&c, verb, argc, argv);
	if (set_features(&m, DEFAULTS))
		return EXIT_USAGE;
	while ((id = cli_next(&c)) > 0) {
		switch (id) {
		case EXPLAIN_FEATURES:
			if (set_features(&m, c.arg))
				return EXIT_USAGE;
			break;
		case EXPLAIN_MAXPHYADDR:
			if (!cli_number(verb, "--maxphyaddr", c.arg, 32, 52, &bits))
				return EXIT_USAGE;
			k.maxphyaddr = (u8)bits;
			break;
		case EXPLAIN_OWN_PAT:
			k.quirks_off = &own_pat;
			break;
		case EXPLAIN_FIELDS:
			fields = true;
			break;
		case EXPLAIN_JSON:
			json = true;
			break;
		}
	}
	if (id != CLI_END)
		return cli_status(id);
	if (c.at >= argc || strcmp(argv[c.at], "vmcb"))
		return cli_error(verb,
				 c.at < argc ? "'%s' cannot be explained, a vmcb can"
					     : "what? A vmcb%s",
				 c.at < argc ? argv[c.at] : "");
	if (argc - c.at != 2)
		return cli_error(verb, argc - c.at < 2 ? "which file?" : "one file, please");
	svm_caps_features(&k, m.features);
	k.cr4_reserved = ~m.cr4;
	k.efer_reserved = ~m.efer;
	return explain_vmcb(argv[c.at + 1], &k, fields, json);
}

const struct verb verb_explain = {
	.name = "explain", .args = "[OPTION...] vmcb FILE", .what = "why VMRUN refuses a VMCB",
	.fn = explain_fn,
	.options = explain_options,
	.more = "FILE is a 4 KiB image of a VMCB, - for standard input. Lists every rule that "
		"VMRUN would\n"
		"refuse it for. Exit status: 0 valid, 1 refused, 2 wrong usage or no such file.\n\n"
		"features:"
#define X(id, option, ...) " " option
		SVM_FEATURES(X)
#undef X
		" umip la57 fsgsbase pcid xsave smep smap pku shstk lm nx svm ffxsr tce lmsle "
		"mcommit intwb\n"
		"default: " DEFAULTS "\n",
	.example = "  standin explain --fields --features=shstk,-npt vmcb image.bin\n",
};
