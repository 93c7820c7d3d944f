/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/window.c - accesses off RSP, whose page is kept apart from the software TLB
 * (engine/window.c): at the ends of pages, with flags that live across them, and after all that
 * changes what the page is.
 */
/* Run: build/standin run -- build/tests/guest/guest_window [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

#define ARITH 0x8d5u	/* CF PF AF ZF SF OF */
enum { PAGE0 = G_WINDOW + 0x10000, ELSEWHERE = G_WINDOW + 0x40000 };

/* The page at `va` is the memory at `pa`. */
static void map(struct guest *g, u64 va, u64 pa)
{
	*guest_pte(g, va) = (*guest_pte(g, va) & ~(PTE_ADDR | PTE_A | PTE_D)) | pa;
}

/* The function is in another page, so that flags are live at the call. */
CODE64(ends, "push %rax\n popfq\n jmp 1f\n 1: push %rbx\n mov %ecx, -4(%rsp)\n mov %cx, -12(%rsp)\n"
	     " mov -12(%rsp), %r8w\n mov -4(%rsp), %r9d\n call far\n"
	     " pop %rdx\n mov %rcx, 0x40(%rsp)\n mov 0x44(%rsp), %r10d\n pushfq\n pop %rbp" DONE
	     " .skip 4096\n far: push %rdx\n push %rcx\n pop %rdi\n pop %r11\n ret");
T(ends, "values and flags, wherever RSP is around the end of a page, whose neighbour is elsewhere")
{
	struct guest *g = guest_with(M_LONG, ends);
	static const u64 flags[] = { 0, ARITH, 0x801, 0xd4 };

	map(g, PAGE0 + 0x1000, ELSEWHERE);
	for (u32 k = 0; k < 3 * 160; k++) {
		u64 fl = flags[k % 4], sp = PAGE0 + 0x1000 - 80 + k % 160;
		struct stop s;

		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rsp = sp;
			r.rax = fl | 2;
			r.rbx = 0x1111222233334444 + k;
			r.rcx = 0x5555666677778888 + k;
			r.rdx = 0x99999999;
			r.rdi = r.rbp = r.r8 = r.r9 = r.r10 = r.r11 = 0;
		}
		s = RUN_TO(g, ST_DONE);
		CHECK_EQ(s.r.rsp, sp);
		CHECK_EQ(s.r.rdx, 0x1111222233334444 + k);
		CHECK_EQ(s.r.rdi, 0x5555666677778888 + k);
		CHECK_EQ(s.r.r11, 0x99999999);
		CHECK_EQ(s.r.r8, (u16)(0x8888 + k));
		CHECK_EQ(s.r.r9, 0x77778888 + k);
		CHECK_EQ(s.r.r10, 0x55556666);
		CHECK_EQ(s.r.rbp & ARITH, fl);
	}
}

CODE64(between, "1: mov %rax, (%rsp)\n mov %rbx, 0x7f0(%rsp)\n lea 0x1000(%rsp), %rsp\n push %rcx\n"
		" pop %rdx\n lea -0x1000(%rsp), %rsp\n add (%rsp), %rsi\n add 0x7f0(%rsp), %rsi\n"
		" add %rdx, %rsi\n dec %edi\n jnz 1b" DONE);
T(between, "two pages of a stack in turn")
{
	struct guest *g = guest_with(M_LONG, between);

	map(g, PAGE0 + 0x1000, ELSEWHERE);
	WITH_REGS(cpu0(g), r) {
		r.rsp = PAGE0 + 0x810;
		r.rax = 1, r.rbx = 0x100, r.rcx = 0x10000;
		r.rdi = WARM;
		r.rsi = 0;
	}
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rsi, 0x10101ull * WARM);
	CHECK_EQ(*g64(g, ELSEWHERE + 0x808), 0x10000);
	CHECK_EQ(*g64(g, ELSEWHERE), 0x100);
}

CODE64(nowhere_push, "mov %rbx, %rsp\n push %rax" DONE);
CODE64(nowhere_pop, "mov %rbx, %rsp\n pop %rax" DONE);
CODE64(nowhere_live, "mov %rbx, %rsp\n mov 8(%rsp), %rax\n jc 1f\n mov 8(%rsp), %ecx\n 1:" DONE);
T(nowhere, "an address off RSP that is not canonical is #SS, where an empty window is as well")
{
	static const struct {
		const u8 *p, *e;
	} c[] = {
		{ nowhere_push_b, nowhere_push_e },
		{ nowhere_pop_b, nowhere_pop_e },
		{ nowhere_live_b, nowhere_live_e },
	};
	static const u64 at[] = { 0x8000000000000800, 0x8000000000000000, 0x7ffffffffffffff8,
				  0x8000000000000ffc };

	for (u32 i = 0; i < ARRAY_SIZE(c); i++)
		for (u32 k = 0; k < ARRAY_SIZE(at); k++) {
			struct guest *g = guest_with_code(M_LONG, c[i].p, (u32)(c[i].e - c[i].p));

			guest_gate(g, 12, SEL_CODE64, G_STUBS + 12 * 16u, 0xe, 0, 1);
			WITH_REGS(cpu0(g), r)
				r.rbx = at[k];
			struct stop s = RUN_EXC(g, 12, 0);

			CHECK_EQ(s.sp, at[k]);
			CHECK_EQ(s.rip, G_CODE + 3);
			guest_free(g);
		}
}

/* RDI: the page's entry. */
CODE64(remap_page, "push %rax\n mov %rbx, (%rdi)\n invlpg (%rsp)\n push %rcx\n mov 8(%rsp), %rdx"
       DONE);
CODE64(remap_cr3, "push %rax\n mov %rbx, (%rdi)\n mov %cr3, %rdx\n mov %rdx, %cr3\n push %rcx\n"
		  " mov 8(%rsp), %rdx" DONE);
T(remap, "a stack whose page becomes another one")
{
	static const struct {
		const u8 *p, *e;
	} c[] = {
		{ remap_page_b, remap_page_e },
		{ remap_cr3_b, remap_cr3_e },
	};

	for (u32 i = 0; i < ARRAY_SIZE(c); i++) {
		struct guest *g = guest_with_code(M_LONG, c[i].p, (u32)(c[i].e - c[i].p));
		u64 *pte = guest_pte(g, PAGE0);

		WITH_REGS(cpu0(g), r) {
			r.rsp = PAGE0 + 0x800;
			r.rdi = (u64)((u8 *)pte - g->ram);
			r.rax = 0x11, r.rcx = 0x22;
			r.rbx = (*pte & ~PTE_ADDR) | ELSEWHERE;
		}
		*g64(g, ELSEWHERE + 0x7f8) = 0x33;
		struct stop s = RUN_TO(g, ST_DONE);

		CHECK_EQ(s.r.rdx, 0x33);
		CHECK_EQ(*g64(g, PAGE0 + 0x7f8), 0x11);
		CHECK_EQ(*g64(g, PAGE0 + 0x7f0), 0);
		CHECK_EQ(*g64(g, ELSEWHERE + 0x7f0), 0x22);
		guest_free(g);
	}
}

CODE64(rights, "push %rax\n mov %rbx, (%rdi)\n invlpg (%rsp)\n pop %rdx\n mov -8(%rsp), %rsi\n"
	       "rights_push: push %rcx" DONE);
LABEL(rights_push);
T(rights, "a stack that becomes read-only can be read, and is not written (page fault)")
{
	struct guest *g = guest_with(M_LONG, rights);
	u64 *pte = guest_pte(g, PAGE0);

	guest_gate(g, 14, SEL_CODE64, G_STUBS + 14 * 16u, 0xe, 0, 1);
	WITH_SREGS(cpu0(g), sr)
		sr.cr0 |= 1u << 16;
	WITH_REGS(cpu0(g), r) {
		r.rsp = PAGE0 + 0x800;
		r.rdi = (u64)((u8 *)pte - g->ram);
		r.rax = 0x11, r.rcx = 0x22;
		r.rbx = *pte & ~(u64)PTE_W;
	}
	struct stop s = RUN_EXC(g, 14, 3);

	CHECK_EQ(s.rip, AT(rights, rights_push));
	CHECK_EQ(s.cr2, PAGE0 + 0x7f8);
	CHECK_EQ(s.r.rdx, 0x11);
	CHECK_EQ(s.r.rsi, 0x11);
	CHECK_EQ(*g64(g, PAGE0 + 0x7f8), 0x11);
}

CODE64(rings, "push %rax\n pop %rax" DONE);
T(rings, "what ring 0 may reach off RSP ring 3 may not")
{
	struct guest *g = guest_with(M_LONG, rings);

	*guest_pte(g, PAGE0) &= ~(u64)PTE_U;
	WITH_REGS(cpu0(g), r)
		r.rsp = PAGE0 + 0x800;
	RUN_TO(g, ST_DONE);
	cpu_ring3(cpu0(g), G_CODE);
	WITH_REGS(cpu0(g), r)
		r.rsp = PAGE0 + 0x800;
	RUN_EXC(g, 14, 7);
}

CODE64(dirty, "push %rax\n andl $~0x40, (%rdi)\n invlpg (%rsp)\n push %rcx" DONE);
T(dirty, "each store to a page that is clean again marks it, in the page tables and in the log")
{
	struct guest *g = guest_with(M_LONG, dirty);
	struct kvm_userspace_memory_region m = {
		.slot = 0, .flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = G_RAM_SIZE,
		.userspace_addr = (u64)(uintptr_t)g->ram,
	};
	static u64 log[G_RAM_SIZE / 4096 / 64];
	struct kvm_dirty_log d = { .dirty_bitmap = log };
	u64 *pte = guest_pte(g, PAGE0);

	if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &m))
		test_die("KVM_SET_USER_MEMORY_REGION: errno %d", errno);
	for (u32 k = 0; k < 3; k++) {
		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rsp = PAGE0 + 0x800;
			r.rdi = (u64)((u8 *)pte - g->ram);
		}
		RUN_TO(g, ST_DONE);
		CHECK_EQ(*pte & PTE_D, PTE_D);
		if (ioctl(g->vm, KVM_GET_DIRTY_LOG, &d))
			test_die("KVM_GET_DIRTY_LOG: errno %d", errno);
		CHECK(log[(PAGE0 >> 12) / 64] & BIT64((PAGE0 >> 12) % 64));
	}
}

/* RBX and R9: MOV of 1 or 2 to EAX, JMP *%RDI. */
CODE64(code, "push %rbx\n lea 1f(%rip), %rdi\n jmp *%rsp\n 1: mov %eax, %r8d\n pop %rcx\n"
	     " push %r9\n lea 2f(%rip), %rdi\n jmp *%rsp\n 2:" DONE);
T(code, "code on the stack that is pushed over is run as it is then")
{
	struct guest *g = guest_with(M_LONG, code);

	for (u32 k = 0; k < 3; k++) {
		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rsp = PAGE0 + 0x800;
			r.rbx = 0x90e7ff00000001b8;
			r.r9 = 0x90e7ff00000002b8;
		}
		struct stop s = RUN_TO(g, ST_DONE);

		CHECK_EQ(s.r.r8, 1);
		CHECK_EQ(s.r.rax, 2);
	}
}

CODE64(watch, "push %rax\n pop %rax\n lea -8(%rsp), %rdx\n mov %rdx, %dr0\n mov $0x90003, %edx\n"
	      " mov %rdx, %dr7\n push %rax\n watch_hit: nop" DONE);
LABEL(watch_hit);
T(watch, "a watchpoint on the stack")
{
	struct guest *g = guest_with(M_LONG, watch);

	WITH_REGS(cpu0(g), r)
		r.rsp = PAGE0 + 0x800;
	struct stop s = RUN_EXC(g, 1, -1);

	CHECK_EQ(s.rip, AT(watch, watch_hit));
}
