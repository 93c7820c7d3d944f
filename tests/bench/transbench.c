/* SPDX-License-Identifier: MIT */
/*
 * tests/bench/transbench.c - what translating costs: the text of an ELF file, made into units from
 * its first byte to its last, with nothing run.
 *
 *	transbench FILE [ROUNDS]
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/engine_priv.h"
#include "tests/unit/long_mode.h"

/* <elf.h> has names of ours. What is needed of a 64-bit file's header, and of a segment's. */
struct elf {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	u64 entry, phoff, shoff;
	u32 flags;
	u16 ehsize, phentsize, phnum;
};
struct segment {
	u32 type, flags;
	u64 offset, vaddr, paddr, filesz, memsz, align;
};
enum { LOADED = 1, EXECUTABLE = 1 };

#define AT 0x7f0000000000ull	/* where shared libraries are */

static const u8 *text;
static u64 bytes;

static enum cpu_result fetch(struct cpu *c, u64 gva, struct fetch_page *fp)
{
	fp->gpa = (gva & PAGE_MASK) - AT;
	if (fp->gpa >= bytes)
		return CPU_FAULT;
	fp->host = text + fp->gpa;
	return CPU_OK;
}

static u32 code_page(struct cpu *c, u64 gpa, const u8 *host, u32 put) { return 1; }

static const struct cpu_ops ops = { .fetch = fetch, .code_page = code_page };

static int load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -1;
	const u8 *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

	close(fd);
	if (map == MAP_FAILED)
		return -1;
	const struct elf *h = (const void *)map;
	const struct segment *p = (const void *)(map + h->phoff);

	for (u32 i = 0; i < h->phnum; i++) {
		if (p[i].type != LOADED || !(p[i].flags & EXECUTABLE))
			continue;
		bytes = p[i].filesz & PAGE_MASK;
		u8 *to = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);

		if (to == MAP_FAILED)
			return -1;
		memcpy(to, map + p[i].offset, bytes);
		text = to;
		return 0;
	}
	return -1;
}

/* What the kernel takes for new memory is no part of it: that depends on the machine. */
static double now(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return (double)r.ru_utime.tv_sec + (double)r.ru_utime.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	if (argc < 2 || load(argv[1])) {
		fprintf(stderr, "usage: transbench FILE [ROUNDS]\n");
		return 2;
	}
	for (int k = 0; k < (argc > 2 ? atoi(argv[2]) : 3); k++) {
		struct cpu *c = engine_cpu_create(NULL);

		if (!c)
			return 1;
		struct engine *e = c->engine;

		long_mode(c, &ops);
		c->cpl = 3;
		mode_update(e);

		u64 units = 0, insns = 0;
		double t = now();

		for (u64 at = 0; at + 64 < bytes && !e->flush_pending;) {
			struct unit *u;

			c->rip = AT + at;
			if (engine_find_unit(e, e->mode, WAY_BODY, &u))
				break;
			units++;
			insns += u->n_insns;
			at += u->len;
		}
		t = now() - t;
		printf("%llu units, %llu instructions: %.0f ns a unit, %.1f ns an instruction; "
		       "bytes a unit: %.0f hot, %.0f cold, %.0f kept\n",
		       (unsigned long long)units, (unsigned long long)insns,
		       t * 1e9 / (double)units, t * 1e9 / (double)insns,
		       (double)(e->mem.hot - e->mem.hot_start) / (double)units,
		       (double)(e->mem.cold - e->mem.cold_start) / (double)units,
		       (double)e->arena.used / (double)units);
		engine_cpu_destroy(c);
	}
	return 0;
}
