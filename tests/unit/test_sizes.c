/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/test_sizes.c - how many bytes the translator makes of instructions and idioms: a
 * change of it shows here, as a difference of sizes.txt that somebody looks at.
 *
 *	test_sizes FILE		compare; 1: a size is another one
 *	test_sizes --print	what FILE would be now
 */
/* Run: build/tests/unit/test_sizes [NAME...] */
#include <stdio.h>
#include <string.h>

#include "engine/engine_priv.h"
#include "tests/unit/long_mode.h"

/* CPL, name, text. */
#define SNIPPETS(X) \
	X(3, "mov %rdx, %rax", "mov %rdx, %rax") \
	X(3, "mov %rcx, %rsi (both live elsewhere)", "mov %rcx, %rsi") \
	X(3, "mov %r13, %rax (in memory)", "mov %r13, %rax") \
	X(3, "add %r14, %r15 (both in memory)", "add %r14, %r15") \
	X(3, "mov $1, %eax", "mov $1, %eax") \
	X(3, "lea 8(%rdi,%rdx,4), %rax", "lea 8(%rdi,%rdx,4), %rax") \
	X(3, "lea rip, %rax (moves with its page)", "lea 64(%rip), %rax") \
	X(3, "shl %cl, %rax", "shl %cl, %rax") \
	X(3, "mov %ah, %bl", "mov %ah, %bl") \
	X(3, "bsf %rdx, %rax", "bsf %rdx, %rax") \
	X(3, "load, flags dead", "mov (%rdi), %rax; test %eax, %eax") \
	X(3, "load, flags live", "mov (%rdi), %rax") \
	X(3, "store, flags dead", "mov %rax, (%rdi); test %eax, %eax") \
	X(3, "load relative to rip", "mov 64(%rip), %rax; test %eax, %eax") \
	X(3, "load from fs:", "mov %fs:0x28, %rax; test %eax, %eax") \
	X(3, "add to memory", "add %rax, 8(%rdi)") \
	X(3, "lock add to memory", "lock addl $1, 8(%rdi)") \
	X(3, "cmpxchg", "lock cmpxchg %rdx, (%rdi)") \
	X(3, "bts with a register offset", "bts %rdx, (%rdi)") \
	X(3, "push", "push %rbx; test %eax, %eax") \
	X(3, "pop", "pop %rbx; test %eax, %eax") \
	X(3, "pushf", "pushfq") \
	X(3, "SSE load and add", "movups (%rdi), %xmm0; addps %xmm1, %xmm0; test %eax, %eax") \
	X(3, "AVX load and add", "vmovups (%rdi), %ymm0; vaddps %ymm1, %ymm0, %ymm0; " \
				 "test %eax, %eax") \
	X(3, "x87 load", "fldl (%rdi); test %eax, %eax") \
	X(3, "rep movsb", "rep movsb") \
	X(3, "rep stosq", "rep stosq") \
	X(3, "jcc, one side", "1: jz 1b + 0x80") \
	X(3, "jmp", "1: jmp 1b + 0x80") \
	X(3, "call", "1: call 1b + 0x80") \
	X(3, "ret", "ret") \
	X(3, "jmp *%rax", "jmp *%rax") \
	X(3, "call *8(%rax)", "call *8(%rax)") \
	X(3, "syscall (left to C)", "syscall") \
	X(3, "idiom: function begins", "endbr64; push %rbp; mov %rsp, %rbp; push %r12; " \
				       "push %rbx; sub $16, %rsp") \
	X(3, "idiom: function ends", "add $16, %rsp; pop %rbx; pop %r12; pop %rbp; ret") \
	X(3, "idiom: four fields of a structure", "mov (%rdi), %rax; mov 8(%rdi), %rdx; " \
	  "mov %rax, 16(%rdi);" \
	  "mov %rdx, 24(%rdi); test %eax, %eax") \
	X(3, "idiom: compare and branch", "1: cmp %rax, 8(%rdi); jne 1b + 0x80") \
	X(3, "idiom: stack protector", "mov %fs:0x28, %rax; sub -8(%rbp), %rax; " \
				       "1: jne 1b + 0x80; leave; ret") \
	X(3, "idiom: copying loop", "1: mov (%rsi,%rax), %dl; mov %dl, (%rdi,%rax); inc %rax; " \
				    "cmp %rcx, %rax; jb 1b") \
	X(3, "idiom: PLT entry", "endbr64; jmp *0x2fe2(%rip)") \
	X(0, "cli", "cli") \
	X(0, "sti, mov", "sti; mov %rdx, %rax") \
	X(0, "swapgs", "swapgs") \
	X(0, "wrmsr", "wrmsr") \
	X(0, "mov %cr3, %rax (left to C)", "mov %cr3, %rax") \
	X(0, "idiom: system call entry", "swapgs; mov %rsp, %gs:0x14; mov %gs:0x1c, %rsp; " \
	  "push $0x2b; push %gs:0x14;" \
	  "push %r11; push $0x33; push %rcx; push %rax")

#define X(cpl, name, text) \
	__asm__(".pushsection .rodata\n771: " text "\n772: .popsection\n" \
		".pushsection snips, \"aw\"\n.quad 771b, 772b\n.popsection\n");
SNIPPETS(X)
#undef X
extern const struct {
	const u8 *from, *to;
} __start_snips[];

static const struct {
	u8 cpl;
	const char *name;
} snippets[] = {
#define X(cpl, name, text) { cpl, name },
	SNIPPETS(X)
#undef X
};

#define AT 0x7f0000000000ull
static u8 page[PAGE_SIZE] __attribute__((aligned(PAGE_SIZE)));

static enum cpu_result fetch(struct cpu *c, u64 gva, struct fetch_page *fp)
{
	*fp = (struct fetch_page){ .gpa = 0, .host = page };
	return CPU_OK;
}

static u32 code_page(struct cpu *c, u64 gpa, const u8 *host, u32 put) { return 1; }
static u64 sti(struct cpu *c, u64 unused, u64 unused2) { return 0; }
static const struct cpu_ops ops = { .fetch = fetch, .code_page = code_page, .sti = sti };

struct size {
	u32 hot, cold;
	bool ended;	/* by itself */
};

/* Of n bytes with UD2 behind them, without the entries. */
static struct size size_of(u32 cpl, const u8 *code, u32 n)
{
	struct cpu *c = engine_cpu_create(NULL);
	struct size s = { 0 };
	struct unit *u;

	if (!c)
		return s;
	memset(page, 0x90, sizeof(page));
	if (n)	/* of the empty one there is no text */
		memcpy(page, code, n);
	memcpy(page + n, "\x0f\x0b", 2);
	long_mode(c, &ops);
	c->cpl = (u8)cpl;
	c->rip = AT;
	mode_update(c->engine);
	if (!engine_find_unit(c->engine, c->engine->mode, WAY_BODY, &u))
		s = (struct size){
			.hot = u->code_end - u->e_body, .ended = u->len <= n,
			.cold = (u32)(c->engine->mem.cold - c->engine->mem.cold_start),
		};
	engine_cpu_destroy(c);
	return s;
}

/* The sizes of one snippet, as a line. */
static void line_of(u32 k, char *line, size_t room)
{
	struct size none = size_of(snippets[k].cpl, NULL, 0);
	struct size s = size_of(snippets[k].cpl, __start_snips[k].from,
				(u32)(__start_snips[k].to - __start_snips[k].from));

	if (!s.ended) {
		s.hot -= none.hot;
		s.cold -= none.cold;
	} else {
		s.cold -= none.cold;
	}
	snprintf(line, room, "%4u %4u  %s\n", s.hot, s.cold, snippets[k].name);
}

int main(int argc, char **argv)
{
	const char *head =
		"# Bytes of host code: where it runs, and of the ways out that it rarely takes.\n"
		"# Made by test_sizes --print.\n";
	bool print = argc > 1 && !strcmp(argv[1], "--print");
	FILE *f = argc > 1 && !print ? fopen(argv[1], "r") : NULL;
	char line[200], want[200];
	int bad = 0;

	if (!print && !f) {
		fprintf(stderr, "usage: test_sizes --print | FILE\n");
		return 2;
	}
	if (print)
		fputs(head, stdout);
	for (u32 k = 0; k < ARRAY_SIZE(snippets); k++) {
		line_of(k, line, sizeof(line));
		if (print) {
			fputs(line, stdout);
			continue;
		}
		do {
			if (!fgets(want, sizeof(want), f))
				want[0] = 0;
		} while (want[0] == '#');
		if (!strcmp(line, want))
			continue;
		bad = 1;
		fprintf(stderr, "is:       %swas:      %s", line, want[0] ? want : "missing\n");
	}
	if (bad)
		fprintf(stderr,
			"if that is what was meant: test_sizes --print > tests/unit/sizes.txt\n");
	if (f)
		fclose(f);
	return bad;
}
