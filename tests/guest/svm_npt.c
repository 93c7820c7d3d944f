/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_npt.c - nested paging as a hypervisor sees it: nested page faults, their
 * exit information, when translations change, and what L0 does below (APM2 15.25, 15.16;
 * docs/kvm-svm.md 4.9, 4.11). Walks in all modes: tests/unit/test_npt.c.
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_npt [NAME...] */
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "tests/guest/harness/svm.h"

#define NPF_FINAL BIT64(32)
#define NPF_TABLE BIT64(33)
enum { NP = 1, NW = 2, NU = 4, NR = 8, NI = 16 };	/* EXITINFO1, low part */

#define VA (G_WINDOW + 0x5000ull)	/* identity in L2's own tables */
#define TO (G_SVM_DATA + 0x1000ull)	/* another page of L1 */

/* The nested entry of a 4 KiB page below 16 MiB; 2 MiB entries are split on the way. */
static u64 *npte(struct svm_guest *s, u64 gpa)
{
	u64 *pd = (u64 *)(void *)(s->g->ram + G_NPT + 0x2000), *e = &pd[gpa >> 21], *pt;
	static u32 used;

	if (*e & PTE_PS) {
		if (used == 4)
			test_die("no nested tables left");
		*e = (G_NPT + 0x4000 + 0x1000 * used++) | 7;
		pt = (u64 *)(void *)(s->g->ram + (*e & PTE_ADDR));
		for (u64 i = 0; i < 512; i++)
			pt[i] = ((gpa & ~0x1fffffull) + (i << 12)) | 7;
	}
	pt = (u64 *)(void *)(s->g->ram + (*e & PTE_ADDR));
	return &pt[gpa >> 12 & 511];
}

static struct svm_guest nested(const u8 *l2, u64 len)
{
	struct svm_guest s = svm_new(M_LONG, 0, l2, len);

	svm_npt(&s);
	return s;
}
#define NESTED(snip) nested(snip##_b, LEN(snip))

/* L2's RDI and RSI; RAX is the VMCB's. */
static void l2_regs(struct svm_guest *s, u64 rdi, u64 rsi)
{
	WITH_REGS(s->c, r) {
		r.rdi = rdi;
		r.rsi = rsi;
	}
}

#define CHECK_NPF(s, st, info1, gpa)					\
	do {								\
		CHECK_EXIT(s, st, SVM_EXIT_NPF);			\
		CHECK_EQ((s)->ctl->exit_info_1, info1);			\
		CHECK_EQ((s)->ctl->exit_info_2, gpa);			\
	} while (0)

static void flush(struct svm_guest *s)
{
	s->ctl->tlb_ctl = 3;
}

/* -- faults -- */

CODE64(load, "mov (%rdi), %rax\n vmmcall");
CODE64(store, "movl $0x5a5a5a5a, (%rdi)\n vmmcall");
CODE64(go, "jmp *%rdi");

T(not_present, "not present: EXITINFO1 of a read, a write and a fetch; then L2 goes on")
{
	struct svm_guest s = NESTED(load);
	struct stop st;
	bool nx = cpu_sregs(s.c).efer & BIT64(11);

	*npte(&s, VA) = 0;
	*g64(s.g, VA + 8) = 0x1234567;
	l2_regs(&s, VA + 8, 0);
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NU, VA + 8);
	CHECK_EQ(s.save->rip, G_L2);
	CHECK_EQ(s.ctl->exit_int_info, 0);
	*npte(&s, VA) = VA | 7;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rax, 0x1234567);

	*npte(&s, VA) = 0;
	flush(&s);
	s.save->rip = G_L2 + 0x100;
	guest_load(s.g, G_L2 + 0x100, store);
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NU | NW, VA + 8);
	s.save->rip = G_L2 + 0x200;
	guest_load(s.g, G_L2 + 0x200, go);
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NU | (nx ? NI : 0), VA + 8);
	CHECK_EQ(s.save->rip, VA + 8);
}

T(rights, "read-only, supervisor and reserved entries")
{
	struct svm_guest s = NESTED(store);
	struct stop st;

	l2_regs(&s, VA, 0);
	*npte(&s, VA) = VA | 5;
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NP | NW | NU, VA);
	*npte(&s, VA) = VA | 3;
	flush(&s);
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NP | NW | NU, VA);
	*npte(&s, VA) = VA | 7 | BIT64(51);
	flush(&s);
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NP | NW | NU | NR, VA);
	*npte(&s, VA) = VA | 7;
	flush(&s);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(*g32(s.g, VA), 0x5a5a5a5a);
}

T(reserved, "reserved bits of any level; bit 4 of a fetch needs L1's NX or SMEP, not L2's")
{
	struct svm_guest s = NESTED(load);
	u64 *pml4 = (void *)(s.g->ram + G_NPT), *pdpt = pml4 + 512, *pd = pdpt + 512;
	struct {
		u64 *entry, bit, info1;
	} x[] = {
		{ pml4, BIT64(8), NPF_TABLE | NU | NW | NP | NR },
		{ pdpt, PTE_PS | BIT64(13), NPF_TABLE | NU | NW | NP | NR },
		{ pd + G_L2 / 0x200000, BIT64(20), NPF_FINAL | NU | NP | NR },
	};

	if (!guest_has(s.g, 7, 1, 7))
		test_skip("no SMEP");
	/* Both run in supervisor pages, for SMEP. */
	*g64(s.g, cpu_sregs(s.c).cr3) &= ~(u64)PTE_U;
	for (u32 i = 0; i < 16 * ARRAY_SIZE(x); i++) {
		bool nx = i & 1, smep = i & 2;
		u64 *entry = x[i / 16].entry, old = *entry, info1 = x[i / 16].info1;
		struct stop st;

		WITH_SREGS(s.c, sr) {
			sr.efer = (sr.efer & ~BIT64(11)) | (nx ? BIT64(11) : 0);
			sr.cr4 = (sr.cr4 & ~BIT64(20)) | (smep ? BIT64(20) : 0);
		}
		svm_rewind(&s);
		svm_npt(&s);
		s.save->efer = (s.save->efer & ~BIT64(11)) | (i & 4 ? BIT64(11) : 0);
		s.save->cr4 = (s.save->cr4 & ~BIT64(20)) | (i & 8 ? BIT64(20) : 0);
		s.ctl->tlb_ctl = 1;
		*entry |= nx ? x[i / 16].bit : PTE_NX;
		st = svm_run(&s);
		if ((nx || smep) && info1 >> 32 & 1)
			info1 |= NI;
		CHECK_EXIT(&s, st, SVM_EXIT_NPF);
		CHECK_EQ(s.ctl->exit_info_1, info1);
		*entry = old;
	}
}

T(no_execute, "NX of a nested entry stops L2's fetch, not its reads")
{
	struct svm_guest s = NESTED(go);
	struct stop st;

	WITH_SREGS(s.c, sr)
		sr.efer |= BIT64(11);
	guest_write(s.g, VA, "\x0f\x01\xd9", 3);	/* VMMCALL */
	l2_regs(&s, VA, 0);
	*npte(&s, VA) = VA | 7 | PTE_NX;
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NP | NU | NI, VA);
	guest_load(s.g, G_L2, load);
	s.save->rip = G_L2;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	guest_load(s.g, G_L2, go);
	s.save->rip = G_L2;
	*npte(&s, VA) = VA | 7;
	flush(&s);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, VA);
}

T(tables, "L2's page tables: bit 33, and every access to them is a write")
{
	struct svm_guest s = NESTED(load);
	u64 entry = (u64)((u8 *)guest_pte(s.g, VA) - s.g->ram), page = entry & ~0xfffull;
	struct stop st;

	l2_regs(&s, VA, 0);
	*npte(&s, page) = 0;
	st = svm_run(&s);
	/* The code is found through the same tables only if it lies in the same page of them. */
	CHECK_EXIT(&s, st, SVM_EXIT_NPF);
	CHECK_EQ(s.ctl->exit_info_1, NPF_TABLE | NW | NU);
	CHECK_EQ(s.ctl->exit_info_2 & ~0xfffull, page);
	*npte(&s, page) = page | 5;
	flush(&s);
	st = SVM_EXITS(&s, SVM_EXIT_NPF);
	CHECK_EQ(s.ctl->exit_info_1, NPF_TABLE | NP | NW | NU);
	*npte(&s, page) = page | 7;
	flush(&s);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(*npte(&s, page) & (PTE_A | PTE_D), PTE_A | PTE_D);
}

T(accessed_dirty, "A and D of nested entries: A by a read, D by a write only")
{
	struct svm_guest s = NESTED(load);

	*npte(&s, VA) = VA | 7;
	l2_regs(&s, VA, 0);
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(*npte(&s, VA) & (PTE_A | PTE_D), PTE_A);
	guest_load(s.g, G_L2, store);
	s.save->rip = G_L2;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(*npte(&s, VA) & (PTE_A | PTE_D), PTE_A | PTE_D);
}

CODE64(cross, "movq $-1, (%rdi)\n vmmcall");
T(two_pages, "an access over a page boundary: the second page faults, the first is untouched")
{
	struct svm_guest s = NESTED(cross);
	struct stop st;

	*npte(&s, VA + 0x1000) = 0;
	l2_regs(&s, VA + 0xffc, 0);
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NU | NW, VA + 0x1000);
	CHECK_EQ(*g32(s.g, VA + 0xffc), 0);
	*npte(&s, VA + 0x1000) = TO | 7;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(*g32(s.g, VA + 0xffc), 0xffffffff);
	CHECK_EQ(*g32(s.g, TO), 0xffffffff);
	CHECK_EQ(*g32(s.g, VA + 0x1000), 0);
}

CODE64(copy, "mov $0x3000, %ecx\n cld\n rep movsb\n vmmcall");
T(strings, "REP MOVSB stops at a nested fault with its registers, and goes on")
{
	struct svm_guest s = NESTED(copy);
	u8 *from = s.g->ram + VA, *to = s.g->ram + VA + 0x10000;
	struct stop st;

	for (u32 i = 0; i < 0x3000; i++)
		from[i] = (u8)(i * 7 + i / 256);
	*npte(&s, VA + 0x11000) = 0;
	l2_regs(&s, VA + 0x10000, VA);
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NU | NW, VA + 0x11000);
	CHECK_EQ(st.r.rcx, 0x2000);
	CHECK_EQ(st.r.rdi, VA + 0x11000);
	*npte(&s, VA + 0x11000) = (VA + 0x11000) | 7;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rcx, 0);
	CHECK(!memcmp(from, to, 0x3000));
}

CODE64(outs, "mov $0x80, %edx\n outsb");
CODE64(ins, "mov $0x80, %edx\n insb");
T(string_io, "OUTS and INS that no one intercepts: the fault of their memory, or of its tables")
{
	for (u32 i = 0; i < 4; i++) {
		bool in = i & 1, table = i & 2;
		struct svm_guest s = in ? NESTED(ins) : NESTED(outs);
		u64 at = table ? (u64)((u8 *)guest_pte(s.g, G_WINDOW) - s.g->ram) & PAGE_MASK : VA;
		struct stop st;

		*npte(&s, at) &= ~(in ? 2ull : 1ull);
		l2_regs(&s, table ? G_WINDOW : VA, table ? G_WINDOW : VA);
		do {
			st = svm_run(&s);
			/* INS may have read the port before it looks where to. */
			if (st.kind == ST_IN)
				cpu_answer(s.c, 0x55);
		} while (st.kind == ST_IN);
		CHECK_NPF(&s, st,
			  (table ? NPF_TABLE : NPF_FINAL) | NU | (in ? NP : 0) |
				  (in || table ? NW : 0),
			  at);
		guest_free(s.g);
	}
}

CODE64(over, "jmp *%rdi");
T(fetch_over_boundary, "an instruction over a page boundary: the fault names the second page")
{
	struct svm_guest s = NESTED(over);

	guest_write(s.g, VA + 0xffe, "\x0f\x01\xd9", 3);	/* VMMCALL */
	*npte(&s, VA + 0x1000) = 0;
	l2_regs(&s, VA + 0xffe, 0);
	SVM_EXITS(&s, SVM_EXIT_NPF);
	CHECK_EQ(s.ctl->exit_info_2 & ~0xfffull, VA + 0x1000);
	CHECK_EQ(s.save->rip, VA + 0xffe);
	*npte(&s, VA + 0x1000) = (VA + 0x1000) | 7;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
}

T(during_delivery, "a nested fault while an event is delivered: EXITINTINFO holds the event")
{
	struct svm_guest s = NESTED(load);
	u32 event = 0x80000000 | 0x55;	/* external interrupt */
	struct stop st;

	*npte(&s, VA) = 0;
	s.save->rsp = VA + 0x800;
	s.save->rflags |= 0x200;
	s.ctl->event_inj = event;
	st = SVM_EXITS(&s, SVM_EXIT_NPF);
	CHECK_EQ(s.ctl->exit_info_1, NPF_FINAL | NU | NW);
	CHECK_EQ(s.ctl->exit_info_2 & ~0xfffull, VA);
	CHECK_EQ(s.ctl->exit_int_info, event);
	CHECK_EQ(s.save->rip, G_L2);
	CHECK_EQ(s.save->rsp, VA + 0x800);
	/* L1 maps the page and injects it again */
	*npte(&s, VA) = VA | 7;
	s.ctl->event_inj = s.ctl->exit_int_info;
	st = svm_run(&s);
	CHECK_EXC(st, 0x55, -1);
	CHECK_EQ(st.rip, G_L2);
}

T(idt, "a nested fault while an exception of L2 finds its gate")
{
	struct svm_guest s = NESTED(load);
	struct stop st;

	guest_write(s.g, G_L2, "\x0f\x0b", 2);	/* UD2 */
	*npte(&s, G_IDT) = 0;
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NU, G_IDT + 6 * 16);
	CHECK_EQ(s.ctl->exit_int_info, 0x80000306);
	CHECK_EQ(s.save->rip, G_L2);
}

/* -- what is remembered -- */

T(moved, "a page that moves: TLB_CONTROL, another ASID and INVLPGA make it seen")
{
	struct svm_guest s = NESTED(load);

	*g64(s.g, VA) = 1;
	*g64(s.g, TO) = 2;
	l2_regs(&s, VA, 0);
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rax, 1);
	*npte(&s, VA) = TO | 7;
	s.ctl->tlb_ctl = 3;
	s.save->rip = G_L2;
	svm_run(&s);
	CHECK_EQ(s.save->rax, 2);
	*npte(&s, VA) = VA | 7;
	s.ctl->tlb_ctl = 1;
	s.save->rip = G_L2;
	svm_run(&s);
	CHECK_EQ(s.save->rax, 1);
	*npte(&s, VA) = TO | 7;
	s.ctl->tlb_ctl = 0;
	s.ctl->asid = 2;
	s.save->rip = G_L2;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rax, 2);
}

/* RBX: invalidates RDI for ASID ECX in L1, then enters L2. */
CODE64(l1_invlpga, "mov %rax, %rbx\n mov %rdi, %rax\n mov $1, %ecx\n invlpga %rax, %ecx\n"
		   "mov %rbx, %rax\n vmrun %rax\n out %al, $0xf1");
T(invlpga, "INVLPGA drops one address of one ASID")
{
	struct svm_guest s = NESTED(load);

	*g64(s.g, VA) = 1;
	*g64(s.g, TO) = 2;
	l2_regs(&s, VA, 0);
	svm_run(&s);
	CHECK_EQ(s.save->rax, 1);
	*npte(&s, VA) = TO | 7;
	s.save->rip = G_L2;
	guest_load(s.g, G_CODE, l1_invlpga);
	WITH_REGS(s.c, r)
		r.rip = G_CODE;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rax, 2);
}

/* L2 changes its own entry at RSI for RDI: RAX = what is read before and after INVLPG, and
 * after a load of CR3. */
CODE64(own, "mov (%rdi), %rbx\n mov (%rsi), %r8\n mov %r9, (%rsi)\n invlpg (%rdi)\n"
	    "mov (%rdi), %rcx\n mov %r8, (%rsi)\n mov %cr3, %rax\n mov %rax, %cr3\n"
	    "mov (%rdi), %rdx\n vmmcall");
T(own_tables, "L2's INVLPG and MOV CR3 act on L2 and leave L1 alone")
{
	struct svm_guest s = NESTED(own);
	u64 *pte = guest_pte(s.g, VA), at = (u64)((u8 *)pte - s.g->ram);
	struct stop st;

	*g64(s.g, VA) = 1;
	*g64(s.g, VA + 0x1000) = 2;
	for (int i = 0; i < 3; i++) {
		s.save->rip = G_L2;
		WITH_REGS(s.c, r) {
			r.rdi = VA;
			r.rsi = at;
			r.r9 = (*pte & ~PTE_ADDR) | (VA + 0x1000);
		}
		st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(st.r.rbx, 1);
		CHECK_EQ(st.r.rcx, 2);
		CHECK_EQ(st.r.rdx, 1);
	}
}

/* L2's RDI and L1's RDI are different pages of one linear address. */
CODE64(l1_both, "mov %rax, %rbp\n 1: mov %rbp, %rax\n vmrun %rax\n mov (%rdi), %r10\n inc %r11\n"
		"addq $3, 0x578(%rbp)\n cmp $1000, %r11\n jb 1b\n out %al, $0xf1");
CODE64(l2_both, "1: incq (%rdi)\n vmmcall\n jmp 1b");
T(both, "one linear address in L1 and in L2, a thousand switches without a flush")
{
	struct svm_guest s = NESTED(l2_both);
	struct stop st;

	*g64(s.g, VA) = 77;
	*npte(&s, VA) = TO | 7;
	guest_load(s.g, G_CODE, l1_both);
	l2_regs(&s, VA, 0);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.r10, 77);
	CHECK_EQ(*g64(s.g, TO), 1000);
	CHECK_EQ(*g64(s.g, VA), 77);
}

/* -- L0's side -- */

CODE64(self, "xor %eax, %eax\n xor %ebx, %ebx\n mov $50, %ecx\n"
	     "1: call 2f\n mov %cl, 3f(%rip)\n dec %ecx\n jnz 1b\n vmmcall\n"
	     "2: .byte 0xb0\n 3: .byte 0\n add %eax, %ebx\n ret");
T(self_modifying, "L2 changes its code, in a page that nested tables have elsewhere")
{
	struct svm_guest s = NESTED(self);
	struct stop st;

	memcpy(s.g->ram + TO, s.g->ram + G_L2, 4096);
	*npte(&s, G_L2) = TO | 7;
	for (int k = 0; k < 3; k++) {
		s.save->rip = G_L2;
		s.g->ram[TO + (u64)(LEN(self) - 4)] = 0;
		st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(st.r.rbx, 50 * 51 / 2 - 1);
	}
}

T(dirty_log, "the dirty log has L1-physical pages: L2's writes and nested A/D bits")
{
	struct svm_guest s = NESTED(store);
	static u64 bits[G_RAM_SIZE / 4096 / 64];
	struct kvm_userspace_memory_region m = {
		.flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = G_RAM_SIZE,
		.userspace_addr = (u64)s.g->ram,
	};
	struct kvm_dirty_log log = { .dirty_bitmap = bits };
	u64 table = (u64)((u8 *)npte(&s, VA) - s.g->ram) >> 12;

	*npte(&s, VA) = TO | 7;
	l2_regs(&s, VA, 0);
	svm_run(&s);	/* everything is in the TLB */
	CHECK_EQ(ioctl(s.g->vm, KVM_SET_USER_MEMORY_REGION, &m), 0);
	for (int k = 0; k < 2; k++) {
		CHECK_EQ(ioctl(s.g->vm, KVM_GET_DIRTY_LOG, &log), 0);
		s.save->rip = G_L2;
		*npte(&s, VA) = TO | 7;
		flush(&s);
		SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(ioctl(s.g->vm, KVM_GET_DIRTY_LOG, &log), 0);
		CHECK(bits[TO >> 12 >> 6] >> (TO >> 12 & 63) & 1);
		CHECK(!(bits[VA >> 12 >> 6] >> (VA >> 12 & 63) & 1));
		CHECK(bits[table >> 6] >> (table & 63) & 1);
	}
}

T(mmio, "L2 reaches a device of the VMM through nested tables")
{
	struct svm_guest s = NESTED(load);
	struct stop st;

	*npte(&s, VA) = (G_MMIO + 0x3000) | 7;
	for (int k = 0; k < 3; k++) {
		l2_regs(&s, VA + 0x10, 0);
		s.save->rip = G_L2;
		st = svm_run(&s);
		CHECK_STOP(st, ST_MMIO);
		CHECK_EQ(st.gpa, G_MMIO + 0x3010);
		CHECK(!st.write);
		cpu_answer(s.c, 0x99 + (u64)k);
		st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(s.save->rax, 0x99 + (u64)k);
	}
	guest_load(s.g, G_L2, store);
	s.save->rip = G_L2;
	st = svm_run(&s);
	CHECK_STOP(st, ST_MMIO);
	CHECK_EQ(st.gpa, G_MMIO + 0x3010);
	CHECK(st.write);
	CHECK_EQ(st.val, 0x5a5a5a5a);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
}

T(slot_removed, "a memory slot goes: L2's translations of it go too")
{
	struct svm_guest s = NESTED(load);
	struct kvm_userspace_memory_region m = {
		.slot = 9, .guest_phys_addr = 0x20000000, .memory_size = 0x1000,
		.userspace_addr = (u64)s.g->ram + TO,
	};
	struct stop st;

	CHECK_EQ(ioctl(s.g->vm, KVM_SET_USER_MEMORY_REGION, &m), 0);
	*g64(s.g, TO) = 0x77;
	*npte(&s, VA) = 0x20000000 | 7;
	l2_regs(&s, VA, 0);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rax, 0x77);
	m.memory_size = 0;
	CHECK_EQ(ioctl(s.g->vm, KVM_SET_USER_MEMORY_REGION, &m), 0);
	s.save->rip = G_L2;
	st = svm_run(&s);
	CHECK_STOP(st, ST_MMIO);
	CHECK_EQ(st.gpa, 0x20000000);
}

T(watchpoint, "a data breakpoint of L2 is found through nested tables, L1 has none")
{
	struct svm_guest s = NESTED(store);

	*npte(&s, VA) = TO | 7;
	l2_regs(&s, VA, 0);
	struct kvm_debugregs d = { .db = { VA }, .dr6 = 0xffff0ff0, .dr7 = 0x400 };

	vcpu_ioctl(s.c, KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
	for (int k = 0; k < 2; k++) {
		s.save->rip = G_L2;
		s.save->dr7 = 0xd0402;	/* G0, write, 4 bytes */
		svm_want(&s, SVM_I_EXCP + 1);
		SVM_EXITS(&s, 0x41);
		CHECK_EQ(s.save->dr6 & 15, 1);
		CHECK_EQ(s.save->rip, G_L2 + 6);
		CHECK_EQ(*g32(s.g, TO), 0x5a5a5a5a);
		s.save->dr6 = 0xffff0ff0;
		SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	}
}

/* -- modes of L2 -- */

CODE16(real, "mov $0x55, %ax\n mov %ax, (%si)\n vmmcall");
T(paging_off, "L2 in real mode: every address is L2-physical")
{
	struct svm_guest s = svm_new(M_LONG, 0, real_b, LEN(real));
	struct stop st;

	svm_npt(&s);
	memcpy(s.g->ram + TO, s.g->ram + G_L2, 64);
	*npte(&s, 0x20000) = TO | 7;
	*npte(&s, 0x21000) = (TO + 0x1000) | 7;
	s.save->cr0 = 0x10;
	s.save->cr4 = 0;
	s.save->efer = BIT64(12);
	s.save->cs = (struct vmcb_seg){ .selector = 0x2000, .base = 0x20000, .limit = 0xffff,
					.attrib = 0x9b };
	s.save->ds = s.save->es = s.save->ss = (struct vmcb_seg){
		.selector = 0x2100, .base = 0x21000, .limit = 0xffff, .attrib = 0x93 };
	s.save->rip = 0;
	l2_regs(&s, 0, 0x40);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(*g16(s.g, TO + 0x1040), 0x55);
	*npte(&s, 0x21000) = 0;
	flush(&s);
	s.save->rip = 0;
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NU | NW, 0x21040);
}

/* Legacy L2 with tables of its own at G_SVM_DATA: 4 MiB pages, or PAE's 2 MiB pages. */
CODE32(legacy, "movl $0x66, (%esi)\n mov (%edi), %eax\n vmmcall");
static void legacy_l2(bool pae)
{
	struct svm_guest s = svm_new(M_LONG, 0, legacy_b, LEN(legacy));
	u64 cr3 = G_SVM_DATA + 0x4000, pd = pae ? cr3 + 0x1000 : cr3;
	struct stop st;

	svm_npt(&s);
	memset(s.g->ram + cr3, 0, 0x2000);
	if (pae)
		*g64(s.g, cr3) = pd | 1;
	for (u32 i = 0; i < 8; i++) {
		if (pae)
			*g64(s.g, pd + i * 8) = (u64)i << 21 | 0xe7;
		else
			*g32(s.g, pd + i * 4) = i << 22 | 0xe7;
	}
	*npte(&s, VA) = TO | 7;
	s.save->cr3 = cr3;
	s.save->cr4 = pae ? 0x20 : 0x10;
	s.save->efer = BIT64(12);
	s.save->cs.attrib = 0xc9b;
	s.save->ds.attrib = s.save->es.attrib = s.save->ss.attrib = 0xc93;
	l2_regs(&s, VA + 4, VA);
	*g32(s.g, TO + 4) = 0x4321;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(*g32(s.g, TO), 0x66);
	CHECK_EQ(s.save->rax, 0x4321);
	*npte(&s, VA) = VA | 5;
	flush(&s);
	s.save->rip = G_L2;
	st = svm_run(&s);
	CHECK_NPF(&s, st, NPF_FINAL | NP | NU | NW, VA);
}
T(pg32, "L2 with 32-bit paging and 4 MiB pages") { legacy_l2(false); }
T(pae, "L2 with PAE paging") { legacy_l2(true); }

T(no_npt, "without nested paging L2's tables are in L1's space, its TLB is its own")
{
	struct svm_guest s = svm_with(l2_both);
	struct stop st;

	*g64(s.g, VA) = 5;
	guest_load(s.g, G_CODE, l1_both);
	l2_regs(&s, VA, 0);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.r10, 1005);
}
