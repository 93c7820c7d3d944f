/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/modes.c - a guest that changes its mode all the time: indirect jumps lead to what the
 * code means in the mode as it is now (engine/jump_cache.c).
 */
/* Run: build/standin run -- build/tests/guest/guest_modes [NAME...] */
#include "tests/guest/harness/harness.h"

/* fp: an x87 instruction; nofp: none. RBX and RSI lead to them, CR0 with TS set is in RDI, without
 * in RBP. */
#define TS_LOOP(n) "mov $" n ", %ecx\n 1: mov %rbp, %cr0\n call *%rbx\n call *%rsi\n" \
	"mov %rdi, %cr0\n call *%rsi\n dec %ecx\n jnz 1b\n"
CODE64(ts, TS_LOOP("400") "call *%rbx" DONE ".org ts_b + 0x80\n ts_fp: fld1\n fstp %st\n inc %rax\n"
	" ret\n"
	"ts_nofp: inc %rdx\n ret\n");
LABEL(ts_fp);
LABEL(ts_nofp);

T(ts, "CR0.TS back and forth: #NM where it is set, and nowhere else")
{
	struct guest *g = guest_with(M_LONG, ts);
	u64 cr0 = cpu_sregs(cpu0(g)).cr0 & ~0xcull;	/* neither EM nor TS */
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rax = r.rdx = 0;
		r.rbx = AT(ts, ts_fp);
		r.rsi = AT(ts, ts_nofp);
		r.rbp = cr0;
		r.rdi = cr0 | 8;
	}
	s = RUN_EXC(g, 7, -1);
	CHECK_EQ(s.rip, AT(ts, ts_fp));
	CHECK_EQ(s.r.rax, 400);
	CHECK_EQ(s.r.rdx, 800);
}

/* 48 ff c0: INC RAX in 64-bit code; DEC EAX, INC EAX in 32-bit code. Ring 3 of each size in turn,
 * at the same address. */
CODE64(both, "mov $400, %edi\n 1: pushq $0x3b\n pushq $0x30000\n pushf\n push %rbx\n push %rbp\n"
	     " iretq\n"
	/* back from ring 3: drop its frame, take the other size the next time */
	"both_back: add $40, %rsp\n xchg %rbx, %rsi\n dec %edi\n jnz 1b" DONE
	".org both_b + 0x80\n both_user: call *%rdx\n int $0x31\n"
	".org both_b + 0x90\n both_fn: .byte 0x48, 0xff, 0xc0\n ret\n");
LABEL(both_back);
LABEL(both_user);
LABEL(both_fn);

T(both, "the same address in 64- and in 32-bit code of ring 3, in turn")
{
	struct guest *g = guest_with(M_LONG, both);
	struct stop s;

	guest_gate(g, 0x31, SEL_CODE64, AT(both, both_back), 0xe, 3, 0);
	WITH_REGS(cpu0(g), r) {
		r.rax = 1000;
		r.rdx = AT(both, both_fn);
		r.rbp = AT(both, both_user);
		r.rbx = SEL_UCODE64;
		r.rsi = SEL_UCODE32;
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 1200);
}
