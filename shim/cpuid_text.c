/* SPDX-License-Identifier: MIT */
/*
 * shim/cpuid_text.c - CPUID where the processor cannot fault on it: the instructions in the text of
 * a program that knows of the node are replaced by UD2, which is as long, and answered from the
 * handler of SIGILL.
 *
 * Only what is surely an instruction is replaced. Where .eh_frame_hdr names the functions (LSB 5.0,
 * 11.5.2), decoding from the function's start has to arrive at it. Static programs and Go's have no
 * such table: there decoding from several places in front of it has to arrive, hardly any may go
 * past it, and what stands around it has to be code of a program. Programs that do not mention the
 * node are not touched, nor are big ones, which would take long to look through.
 */
#include "shim/shim.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "base/log.h"

enum {
	PATCHES = 256, TEXT_MAX = 8 << 20, ALL_MAX = 32 << 20,
	/* The pointer encodings that every linker uses for the table. */
	EH_PTR_ENC = 0x1b, EH_COUNT_ENC = 0x03, EH_TABLE_ENC = 0x3b,
	/* Decoding from a wrong place finds the right ones after a few instructions. Of STREAMS
	 * places in a row, LEAD bytes before, so many have to arrive, and so many times as many as
	 * go past it; and AFTER instructions behind it have to be there. */
	STREAMS = 32, LEAD = 40, ARRIVE = 6, OVER_MISSES = 4, AFTER = 6,
};

/* Written by the constructor only. */
static u64 patched[PATCHES];
static u32 nr_patched;

static const u8 cpuid[2] = { 0x0f, 0xa2 }, ud2[2] = { 0x0f, 0x0b };

struct program {
	const ElfW(Phdr) * ph;
	size_t n;
	u64 bias;
	const u8 *eh;		/* .eh_frame_hdr */
};

bool shim_cpuid_text_is(u64 rip)
{
	for (u32 i = 0; i < nr_patched; i++)
		if (patched[i] == rip)
			return !memcmp((const void *)(uintptr_t)rip, ud2, sizeof(ud2));
	return false;
}

/* Where it is: PT_PHDR tells, or the header that the table follows. */
static bool find_bias(struct program *p)
{
	const ElfW(Ehdr) *eh = (const void *)((const u8 *)p->ph - sizeof(*eh));

	for (size_t i = 0; i < p->n; i++)
		if (p->ph[i].p_type == PT_PHDR) {
			p->bias = (u64)(uintptr_t)p->ph - p->ph[i].p_vaddr;
			return true;
		}
	if (((uintptr_t)p->ph & ~PAGE_MASK) != sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, SELFMAG))
		return false;
	if (eh->e_type == ET_EXEC)
		return true;
	for (size_t i = 0; i < p->n; i++)
		if (p->ph[i].p_type == PT_LOAD && !p->ph[i].p_offset) {
			p->bias = (u64)(uintptr_t)eh - p->ph[i].p_vaddr;
			return true;
		}
	return false;
}

static bool find_program(struct program *p)
{
	memset(p, 0, sizeof(*p));
	p->ph = (const void *)getauxval(AT_PHDR);
	p->n = getauxval(AT_PHNUM);
	if (!p->ph || !find_bias(p))
		return false;
	for (size_t i = 0; i < p->n; i++)
		if (p->ph[i].p_type == PT_GNU_EH_FRAME && p->ph[i].p_memsz >= 12)
			p->eh = (const u8 *)(uintptr_t)(p->bias + p->ph[i].p_vaddr);
	return true;
}

static const u8 *segment(const struct program *p, const ElfW(Phdr) * ph)
{
	return (const u8 *)(uintptr_t)(p->bias + ph->p_vaddr);
}

static bool mentions_node(const struct program *p)
{
	const char *node = shim_node();
	u64 all = 0, text = 0;

	for (size_t i = 0; i < p->n; i++) {
		if (p->ph[i].p_type != PT_LOAD)
			continue;
		all += p->ph[i].p_filesz;
		if (p->ph[i].p_flags & PF_X)
			text += p->ph[i].p_filesz;
	}
	if (all > ALL_MAX || text > TEXT_MAX)
		return false;
	for (size_t i = 0; i < p->n; i++)
		if (p->ph[i].p_type == PT_LOAD && p->ph[i].p_flags & PF_R &&
		    (memmem(segment(p, &p->ph[i]), p->ph[i].p_filesz, node, strlen(node)) ||
		     memmem(segment(p, &p->ph[i]), p->ph[i].p_filesz, "/dev/kvm", 8)))
			return true;
	return false;
}

/* Where the function around `at` begins, or 0. The table is sorted: offsets from the header of a
 * function and of its description. */
static u64 function_of(const struct program *p, u64 at)
{
	const u8 *eh = p->eh;
	u32 n, low = 0, high;
	s32 entry;

	if (eh[0] != 1 || eh[1] != EH_PTR_ENC || eh[2] != EH_COUNT_ENC || eh[3] != EH_TABLE_ENC)
		return 0;
	memcpy(&n, eh + 8, sizeof(n));
	for (high = n; low < high;) {
		u32 mid = low + (high - low) / 2;

		memcpy(&entry, eh + 12 + 8 * (size_t)mid, sizeof(entry));
		if ((u64)(uintptr_t)eh + (u64)(s64)entry <= at)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return 0;
	memcpy(&entry, eh + 12 + 8 * (size_t)(low - 1), sizeof(entry));
	return (u64)(uintptr_t)eh + (u64)(s64)entry;
}

static bool decode(const ZydisDecoder *d, u64 at, u64 end, ZydisDecodedInstruction *insn)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(d, NULL, (const void *)(uintptr_t)at,
							  end - at, insn));
}

static bool is_instruction(const ZydisDecoder *d, u64 from, u64 at)
{
	ZydisDecodedInstruction insn;

	while (from < at && decode(d, from, at + 2, &insn))
		from += insn.length;
	return from == at;
}

/* What a program executes, and constants seldom look like. */
static bool is_ordinary(const ZydisDecodedInstruction *i)
{
	return !(i->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) &&
	       i->meta.branch_type != ZYDIS_BRANCH_TYPE_FAR &&
	       i->meta.category != ZYDIS_CATEGORY_IO &&
	       i->meta.category != ZYDIS_CATEGORY_IOSTRINGOP && i->mnemonic != ZYDIS_MNEMONIC_INT;
}

/* Without a table of functions: from the bytes around it. */
static bool is_likely(const ZydisDecoder *d, u64 start, u64 at, u64 end)
{
	ZydisDecodedInstruction insn;
	u32 hits = 0, misses = 0;

	if (at - start < LEAD + STREAMS)
		return false;
	for (u32 k = 0; k < STREAMS; k++) {
		u64 from = at - LEAD - k;

		while (from < at && decode(d, from, end, &insn) && is_ordinary(&insn))
			from += insn.length;
		hits += from == at;
		misses += from > at;
	}
	for (u32 k = 0; k <= AFTER; k++, at += insn.length)
		if (!decode(d, at, end, &insn) || !is_ordinary(&insn))
			return false;
	return hits >= ARRIVE && hits >= OVER_MISSES * misses;
}

bool shim_cpuid_text_likely(u64 start, u64 at, u64 end)
{
	ZydisDecoder d;

	return ZYAN_SUCCESS(
		       ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) &&
	       is_likely(&d, start, at, end);
}

static bool replace(u64 at, int prot)
{
	u64 page = at & PAGE_MASK, bytes = ((at + 1) & PAGE_MASK) + PAGE_SIZE - page;
	void *p = (void *)(uintptr_t)page;

	/* Nobody else runs yet: this is the constructor. */
	if (mprotect(p, bytes, PROT_READ | PROT_WRITE))
		return false;
	memcpy((void *)(uintptr_t)at, ud2, sizeof(ud2));
	if (mprotect(p, bytes, prot)) {
		memcpy((void *)(uintptr_t)at, cpuid, sizeof(cpuid));
		return false;
	}
	return true;
}

u32 shim_cpuid_text_patch(void)
{
	ZydisDecoder d;
	struct program p;
	u64 from, at;

	if (!find_program(&p) || !mentions_node(&p) ||
	    ZYAN_FAILED(ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return 0;
	for (size_t i = 0; i < p.n; i++) {
		const u8 *start = segment(&p, &p.ph[i]), *end = start + p.ph[i].p_filesz,
			 *s = start;

		if (p.ph[i].p_type != PT_LOAD || !(p.ph[i].p_flags & PF_X) ||
		    p.ph[i].p_flags & PF_W || !(p.ph[i].p_flags & PF_R))
			continue;
		for (; nr_patched < PATCHES && (s = memmem(s, (size_t)(end - s), cpuid, 2)); s++) {
			at = (u64)(uintptr_t)s;
			from = p.eh ? function_of(&p, at) : 0;
			if (p.eh ? from < (u64)(uintptr_t)start || !is_instruction(&d, from, at)
				 : !is_likely(&d, (u64)(uintptr_t)start, at, (u64)(uintptr_t)end))
				continue;
			if (!replace(at, PROT_READ | PROT_EXEC))
				continue;
			patched[nr_patched++] = at;
		}
	}
	return nr_patched;
}
