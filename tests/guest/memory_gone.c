/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/memory_gone.c - the program takes memory away from under a slot: KVM_RUN
 * fails with EFAULT whoever touches it, and goes on when the memory is back.
 */
/* Run: build/standin run -- build/tests/guest/guest_memory_gone [NAME...] */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

enum { HOLE = G_FREE + 0x5000, MEMORY_FAULT = 39, CAP_MEMORY_FAULT_INFO = 232 };

static void take(struct guest *g, u64 gpa)
{
	if (munmap(g->ram + gpa, 4096))
		test_die("munmap: %s", strerror(errno));
}

static void give(struct guest *g, u64 gpa)
{
	if (mmap(g->ram + gpa, 4096, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		test_die("mmap: %s", strerror(errno));
}

static void check_gone(const char *what, struct guest *g, struct stop s, u64 gpa)
{
	const u64 *info = (const u64 *)(const void *)&cpu0(g)->run->hw;

	if (s.kind != ST_ERROR || s.err != EFAULT) {
		test_fail(__FILE__, __LINE__, "%s: %s", what, stop_text(&s));
		return;
	}
	if (ioctl(g->vm, KVM_CHECK_EXTENSION, CAP_MEMORY_FAULT_INFO) <= 0)
		return;
	CHECK_EQ(cpu0(g)->run->exit_reason, MEMORY_FAULT);
	CHECK_EQ(info[0], 0);
	CHECK_EQ(info[1], gpa & ~0xfffull);
	CHECK_EQ(info[2], 4096);
}

#define P "mov $0x405000, %edi\n mov $0x405000, %esi\n mov $3, %eax\n"
CODE64(g_load, P "mov 8(%rdi), %rax" DONE);
CODE64(g_store, P "mov %rax, 8(%rdi)" DONE);
CODE64(g_rmw, P "lock; addl $1, (%rdi)" DONE);
CODE64(g_sse, P "movups 8(%rdi), %xmm0" DONE);
CODE64(g_cross, P "mov -4(%rdi), %rax" DONE);
CODE64(g_bounce, P "addq $1, -4(%rdi)" DONE);
CODE64(g_push, P "lea 0x100(%rdi), %rsp\n push %rax\n pop %rax\n lea -0x5000(%rdi), %rsp" DONE);
CODE64(g_movs, P "sub $0x800, %esi\n mov $0x200, %ecx\n rep movsq" DONE);
CODE64(g_back, P "add $0x1000, %edi\n mov $8, %ecx\n std\n rep stosb\n cld" DONE);
CODE64(g_jump, P "jmp *%rdi");
CODE64(g_xsave, P "fxsave (%rdi)" DONE);
CODE64(g_live, P "pcmpeqd %xmm5, %xmm5\n movq (%rdi), %xmm6\n fxsave 0x100(%rdi)\n"
	" paddq %xmm5, %xmm6\n movq %xmm6, %rbx" DONE);
T(gone, "EFAULT for every kind of access, and on again")
{
#define ROW(name) { #name, name##_b, name##_e }
	static const struct {
		const char *name;
		const u8 *b, *e;
	} rows[] = {
		ROW(g_load), ROW(g_store), ROW(g_rmw),	ROW(g_sse),  ROW(g_cross), ROW(g_bounce),
		ROW(g_push), ROW(g_movs),  ROW(g_back), ROW(g_jump), ROW(g_xsave), ROW(g_live),
	};

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		struct guest *g = guest_with_code(M_LONG, rows[i].b, (u32)(rows[i].e - rows[i].b));
		struct stop s;

		take(g, HOLE);
		check_gone(rows[i].name, g, run(g), HOLE);
		check_gone(rows[i].name, g, run(g), HOLE);
		give(g, HOLE);
		memcpy(g->ram + HOLE, "\xe6\xf0", 2);	/* out %al, $0xf0: done */
		s = run(g);
		if (s.kind != ST_DONE)
			test_fail(__FILE__, __LINE__, "%s again: %s", rows[i].name, stop_text(&s));
		guest_free(g);
	}
}
CODE64(g_warm, "mov $3000, %ecx\n mov $0x405000, %edi\n xor %eax, %eax\n 1: add (%rdi), %rax\n"
	" dec %ecx\n jnz 1b\n in $0x40, %al\n w_at: mov 8(%rdi), %rbx" DONE);
LABEL(w_at);
T(warm, "a page that translated code has used before")
{
	struct guest *g = guest_with(M_LONG, g_warm);
	struct stop s = RUN_TO(g, ST_IN);

	cpu_answer(cpu0(g), 7);
	take(g, HOLE);
	s = run(g);
	check_gone("warm", g, s, HOLE);
	CHECK_EQ(cpu_regs(cpu0(g)).rip, AT(g_warm, w_at));
	give(g, HOLE);
	*g64(g, HOLE + 8) = 0x1234;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 0x1234);
}
/* 20 pages of code, and one that is called from one place, before and after the program has been
 * told. */
CODE64(g_code, "mov $0x406000, %edi\n mov $20, %ebp\n 1: call *%rdi\n add $0x1000, %edi\n"
	" dec %ebp\n jnz 1b\n mov $0x1111, %ecx\n mov $0x2222, %esi\n mov $0x3333, %r13d\n"
	" mov $0x7fffffff, %edi\n jmp 2f\n 2: nop\n nop\n nop\n nop\n add $1, %edi\n"
	" .byte 0xe8\n .long 0x405000 - 0x8000 - (. - g_code_b) - 4\n"
	" c_back: setc %bh\n jmp 3f\n 4: in $0x40, %al\n mov $0x80000000, %edi\n add %edi, %edi\n"
	" mov $0x7fffffff, %edi\n jmp 2b\n 3: test %ebp, %ebp\n jnz 5f\n inc %ebp\n jmp 4b\n"
	" 5:" DONE);
LABEL(c_back);
T(code, "a page of code that has run before: RIP is there, and nothing is lost")
{
	struct guest *g = guest_with(M_LONG, g_code);
	struct stop s;

	for (u32 i = 0; i < 21; i++)
		memcpy(g->ram + HOLE + i * 0x1000, "\x90\x90\x90\x90\xc3", 5);
	RUN_TO(g, ST_IN);
	cpu_answer(cpu0(g), 7);
	take(g, HOLE);
	for (u32 i = 0; i < 2; i++) {
		s = run(g);
		check_gone("code", g, s, HOLE);
		s.r = cpu_regs(cpu0(g));
		CHECK_EQ(s.r.rip, HOLE);
		CHECK_EQ(s.r.rcx, 0x1111);
		CHECK_EQ(s.r.rsi, 0x2222);
		CHECK_EQ(s.r.r13, 0x3333);
		CHECK_EQ(s.r.rdi, 0x80000000);
		CHECK_EQ(s.r.rbp, 1);
		CHECK_EQ(s.r.rflags & 0x8d5, 0x894);	/* OF SF AF PF */
		CHECK_EQ(*g64(g, s.r.rsp), AT(g_code, c_back));
	}
	give(g, HOLE);
	memcpy(g->ram + HOLE, "\xf9\xc3", 2);	/* STC: it is new */
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx >> 8 & 0xff, 1);
}
T(readonly, "the program's mapping is read-only, the slot is not")
{
	struct guest *g = guest_with(M_LONG, g_store);
	struct stop s;

	if (mprotect(g->ram + HOLE, 4096, PROT_READ))
		test_die("mprotect: %s", strerror(errno));
	s = run(g);
	check_gone("read-only", g, s, HOLE);
}
T(tables, "the page tables are gone")
{
	struct guest *g = guest_with(M_LONG, g_load);
	u64 cr3 = cpu_sregs(cpu0(g)).cr3;

	take(g, cr3);
	check_gone("CR3", g, run(g), cr3);
}
CODE64(g_int, P "mov %rdi, %rsp\n add $0x200, %rsp\n ud2");
T(frame, "the stack of an exception, and the IDT, are gone")
{
	struct guest *g = guest_with(M_LONG, g_int);
	struct stop s;

	take(g, HOLE);
	check_gone("frame", g, run(g), HOLE);
	give(g, HOLE);
	s = RUN_EXC(g, 6, -1);
	guest_free(g);
	g = guest_with(M_LONG, g_int);
	take(g, G_IDT);
	s = run(g);
	check_gone("IDT", g, s, G_IDT);
}
CODE64(g_wait, "mov $0x405200, %esp\n sti\n nop\n 1: jmp 1b");
T(interrupt, "an interrupt that could not be delivered is not lost")
{
	struct guest *g = guest_with(M_LONG, g_wait);
	struct stop s;

	take(g, HOLE);
	WITH_REGS(cpu0(g), r) {
		r.rsp = HOLE + 0x200;
		r.rflags |= 0x200;
	}
	cpu_interrupt(cpu0(g), 0x45);
	check_gone("interrupt", g, run(g), HOLE);
	check_gone("interrupt", g, run(g), HOLE);
	give(g, HOLE);
	s = RUN_EXC(g, 0x45, -1);
	CHECK_EQ(s.rip, G_CODE);
}
T(shrunk, "a file behind the memory has become shorter (SIGBUS)")
{
	struct guest *g = guest_with(M_LONG, g_movs);
	int fd = memfd_create("ram", 0);
	struct stop s;

	if (fd < 0 || ftruncate(fd, 4096))
		test_die("memfd: %s", strerror(errno));
	if (mmap(g->ram + HOLE, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
		    MAP_FAILED ||
	    ftruncate(fd, 0))
		test_die("mmap: %s", strerror(errno));
	s = run(g);
	check_gone("SIGBUS", g, s, HOLE);
	guest_free(g);
	close(fd);
}
