/* SPDX-License-Identifier: MIT */
/*
 * engine/show.c - what the translator has made, for people: guest and host code side by side
 * (STANDIN_DUMP), names of units for `perf report` (STANDIN_PERFMAP), and the ranges of guest code
 * in which the debugging switches hold. Nothing of it costs anything while it is not asked for.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "base/sys.h"
#include "engine/translate_priv.h"

#define TEXT 256	/* a line */

/* "LOW-HIGH", hexadecimal, both included. */
static bool parse_range(const char *s, struct rip_range *r)
{
	char *end;
	u64 first = strtoull(s, &end, 16);

	if (end == s || *end != '-')
		return false;
	s = end + 1;

	u64 last = strtoull(s, &end, 16);

	if (end == s || *end)
		return false;
	r->first = first;
	r->last = last;
	return true;
}

struct rip_range range_of(enum option o)
{
	const char *s = option_text(o);
	struct rip_range r = { .last = ~0ull, .on = option_given(o) };

	/* Any other value: everywhere. */
	if (s)
		parse_range(s, &r);
	return r;
}

static int open_to_append(const char *path)
{
	int fd = sys_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC);

	if (fd < 0)
		log_warn("cannot write %s: %s", path, strerror(-fd));
	return fd;
}

void show_init(struct engine *e)
{
	const char *dump = option_text(OPT_DUMP), *comma;
	char path[TEXT];

	e->dump_fd = e->perf_fd = -1;
	e->dump_range = (struct rip_range){ .last = ~0ull, .on = true };
	if (dump && *dump) {
		comma = strrchr(dump, ',');
		if (comma && !parse_range(comma + 1, &e->dump_range))
			comma = NULL;
		snprintf(path, sizeof(path), "%.*s",
			 (int)(comma ? comma - dump : (long)strlen(dump)), dump);
		e->dump_fd = open_to_append(path);
	}
	if (option_given(OPT_PERFMAP)) {
		snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)sys_getpid());
		e->perf_fd = open_to_append(path);
	}
}

void show_destroy(struct engine *e)
{
	if (e->dump_fd >= 0)
		sys_close(e->dump_fd);
	if (e->perf_fd >= 0)
		sys_close(e->perf_fd);
	e->dump_fd = e->perf_fd = -1;
}

/* One write: lines of several vCPUs do not mix. Who has no room for them does without. */
static void put(int fd, const char *text, int n)
{
	sys_write(fd, text, (size_t)n);
}

static void perf_map(struct engine *e, const struct unit *u)
{
	char line[TEXT];
	int n = snprintf(line, sizeof(line), "%lx %x guest_%s_%lx\n",
			 (u64)codemem_at(&e->mem, u->code), u->code_end - u->code,
			 u->mode & MODE_CPL0 ? "kernel" : "user", u->rip);

	put(e->perf_fd, line, n);
}

struct page_text {
	char text[16384];
	int n;
};

__attribute__((format(printf, 2, 3))) static void add(struct page_text *p, const char *fmt, ...)
{
	int left = (int)sizeof(p->text) - p->n, n;
	va_list ap;

	va_start(ap, fmt);
	n = vsnprintf(p->text + p->n, (size_t)left, fmt, ap);
	va_end(ap);
	if (n > 0)
		p->n += n < left ? n : left - 1;
}

static void add_code(struct page_text *p, const ZydisFormatter *f, const ZydisDecoder *d,
		     const char *margin, const u8 *code, u32 bytes, u64 at)
{
	ZydisDecodedInstruction in;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];

	for (u32 i = 0; i < bytes; i += in.length) {
		char text[TEXT] = "?";

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(d, code + i, bytes - i, &in, op)))
			in.length = 1;
		else
			ZydisFormatterFormatInstruction(f, &in, op, in.operand_count_visible, text,
							sizeof(text), at + i, NULL);
		add(p, "%s%lx: %s\n", margin, at + i, text);
	}
}

static void dump(struct translator *t, const struct unit *u)
{
	static const char *const size[] = { "16", "32", "64", "?" };
	struct engine *e = t->e;
	struct page_text p = { .n = 0 };
	ZydisFormatter f;

	if (!ZYAN_SUCCESS(ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL)))
		return;
	add(&p, "unit %lx: physical %lx, %s-bit, mode %x, %u instructions, %u bytes of %u\n",
	    u->rip, (u64)(u->cp->pp->gpa + (u->lin & ~PAGE_MASK)), size[u->mode & MODE_SIZE],
	    u->mode, u->n_insns, u->code_end - u->code, u->len);
	add(&p, "  entries: body +%x, poll +%x\n", u->e_body - u->code, u->e_poll - u->code);
	for (u32 i = 0; i < t->n; i++) {
		const struct di *d = &t->d[i];
		u32 from = u->insns[i].host,
		    to = i + 1 < t->n ? u->insns[i + 1].host : u->code_end - u->code;
		u64 lin = d->rip + u->cs_base;

		/* What has been followed lies elsewhere, an instruction in two pages in both. */
		if (!u->cp2 && !((lin ^ u->lin) & PAGE_MASK))
			add_code(&p, &f, &engine_decoder[u->mode & MODE_SIZE], "  guest ",
				 u->cp->pp->copy + (lin & ~PAGE_MASK), d->in.len, d->rip);
		else
			add(&p, "  guest %lx: (in another page)\n", d->rip);
		add_code(&p, &f, &engine_decoder[MODE_SIZE64], "        ",
			 e->mem.rw + u->code + from, to - from,
			 (u64)codemem_at(&e->mem, u->code + from));
	}
	add(&p, "\n");
	put(e->dump_fd, p.text, p.n);
}

void show_unit(struct translator *t, const struct unit *u)
{
	if (t->e->perf_fd >= 0)
		perf_map(t->e, u);
	if (t->e->dump_fd >= 0 && in_range(&t->e->dump_range, u->rip))
		dump(t, u);
}
