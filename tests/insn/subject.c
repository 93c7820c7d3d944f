/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/subject.c - a long-mode guest with the arena mapped at its linear
 * addresses, and exception handlers that turn a fault into part of the result.
 */
#include "tests/insn/subject.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/insn/gen.h"
#include "tests/insn/oracle.h"

enum {
	ARENA_GPA = 0x800000,
	TABLES = 0x700000,	/* page tables of the arena */
	ALIAS_TABLES = 0x7f0000,
	PORT_BAD = 0xe1,
};
/*
 * The guest's own tables and handlers are mapped here only, so that a small
 * wrong address faults in ring 0 as it does natively.
 */
#define HIGH 0xffffa00000000000ull
#define ALIAS 0xffffb00000000000ull

/* One 32-byte stub per vector, then the common part. */
#define STUB_BYTES 32
#define S(x) A_STR(x)
CODE64(handlers,
	".altmacro\n"
	".macro insn_stub n\n"
	"	.balign 32\n"
	"	.if ((1 << \\n) & 0x00227d00) == 0\n"	/* vectors without an error code */
	"		push $0\n"
	"	.endif\n"
	"	push $\\n\n"
	"	jmp insn_common\n"
	".endm\n"
	".set insn_v, 0\n"
	".rept 32\n"
	"	insn_stub %insn_v\n"
	"	.set insn_v, insn_v + 1\n"
	".endr\n"
	".noaltmacro\n"
	"	.balign 32\n"
	"insn_common:\n"
	"	push %rax\n"
	"	cmpb $1, 8(%rsp)\n"
	"	je insn_trap\n"
	"insn_fault:\n"
	"	mov 24(%rsp), %rax\n"
	"	movabs %rax, " S(A_RES) " + 168\n"
	"	shr $32, %rax\n"
	"	cmp $(" S(A_TRAMP) " >> 32), %eax\n"
	"	je 1f\n"
	"	mov 8(%rsp), %rax\n"
	"	movabs %rax, " S(A_RES) " + 144\n"
	"	mov 16(%rsp), %rax\n"
	"	movabs %rax, " S(A_RES) " + 152\n"
	"	mov %cr2, %rax\n"
	"	movabs %rax, " S(A_RES) " + 160\n"
	"	mov 40(%rsp), %rax\n"
	"	movabs %rax, " S(A_RES) " + 176\n"
	"	andl $~0x10100, 40(%rsp)\n"
	"	mov insn_exit_slot(%rip), %rax\n"
	"	mov %rax, 24(%rsp)\n"
	"	mov insn_narrow(%rip), %rax\n"
	"	test %rax, %rax\n"
	"	jz 2f\n"
	"	mov %rax, 32(%rsp)\n"			/* CS and SS of 64-bit code */
	"	mov insn_narrow+8(%rip), %rax\n"
	"	mov %rax, 56(%rsp)\n"
	"2:\n"
	"	pop %rax\n"
	"	add $16, %rsp\n"
	"	iretq\n"
	"1:	mov 8(%rsp), %rax\n"
	"	out %al, $0xe1\n"			/* PORT_BAD */
	"	jmp 1b\n"
	/* #DB: one more of struct insn_steps, and on; in the trampoline stepping ends. */
	"insn_trap:\n"
	"	push %rbx\n"
	"	push %rcx\n"
	"	mov %dr6, %rcx\n"
	"	mov $0xffff0ff0, %eax\n"
	"	mov %rax, %dr6\n"
	"	test $0xc, %cl\n"			/* DR2 and DR3 are those of instructions */
	"	jz 1f\n"
	"	orl $0x10000, 56(%rsp)\n"
	"1:	mov 40(%rsp), %rbx\n"
	"	mov %rbx, %rax\n"
	"	shr $32, %rax\n"
	"	cmp $(" S(A_TRAMP) " >> 32), %eax\n"
	"	je 2f\n"
	"	mov %ebx, %eax\n"
	"	shr $12, %eax\n"
	"	cmp $(" S(A_LOW) " >> 12), %eax\n"
	"	je 2f\n"
	"	shl $10, %ecx\n"
	"	and $0x1000000, %ecx\n"		/* BS to STEP_BS */
	"	mov 56(%rsp), %eax\n"
	"	and $0x10dd5, %eax\n"			/* STEP_FLAGS */
	"	or %ecx, %eax\n"
	"	shl $32, %rax\n"
	"	mov %ebx, %ebx\n"
	"	or %rax, %rbx\n"
	"	movabs $" S(A_RES) ", %rax\n"
	"	mov " S(STATE_BYTES_S) "(%rax), %rcx\n"
	"	cmp $" S(STEPS_MAX_S) ", %rcx\n"
	"	jae 3f\n"
	"	mov %rbx, " S(STATE_BYTES_S) "+8(%rax,%rcx,8)\n"
	"	incq " S(STATE_BYTES_S) "(%rax)\n"
	"4:	mov insn_alias(%rip), %rbx\n"
	"	test %rbx, %rbx\n"
	"	jnz 5f\n"
	"	pop %rcx\n"
	"	pop %rbx\n"
	"	pop %rax\n"
	"	add $16, %rsp\n"
	"	iretq\n"
	"2:	andl $~0x10100, 56(%rsp)\n"
	"	jmp 4b\n"
	"3:	pop %rcx\n"
	"	pop %rbx\n"
	"	jmp insn_fault\n"
	/* IRET to a 16-bit stack leaves the rest of RSP as it is: it is done from an address that
	 * has the bits. */
	"5:	mov 64(%rsp), %eax\n"
	"	and $0xffff0000, %eax\n"
	"	add %rax, %rbx\n"
	"	.set insn_v, 0\n"
	"	.rept 8\n"
	"	mov insn_v(%rsp), %rax\n"
	"	.if insn_v >= 24\n"
	"	mov %rax, insn_v-16(%rbx)\n"
	"	.else\n"
	"	mov %rax, insn_v(%rbx)\n"
	"	.endif\n"
	"	.set insn_v, insn_v + 8\n"
	"	.if insn_v == 24\n"
	"	.set insn_v, 40\n"
	"	.endif\n"
	"	.endr\n"
	"	mov %rbx, %rsp\n"
	"	pop %rcx\n"
	"	pop %rbx\n"
	"	pop %rax\n"
	"	iretq\n"
	"	.balign 8\n"
	"insn_exit_slot:	.quad 0\n"		/* the trampoline's exit */
	"insn_narrow:	.quad 0, 0\n"
	"insn_alias:	.quad 0\n");
LABEL(insn_alias);
LABEL(insn_exit_slot);
LABEL(insn_narrow);

/* The table behind an entry, made when there is none. */
static u64 *table_of(struct guest *g, u64 *entry)
{
	static u64 next;

	if (!(*entry & PTE_P)) {
		*entry = (TABLES + next) | PTE_P | PTE_W | PTE_U;
		next += 4096;
	}
	return g64(g, *entry & PTE_ADDR);
}

static void map_page(struct guest *g, u64 va, u64 flags)
{
	u64 *t = g64(g, G_PT);

	for (u32 shift = 39; shift > 12; shift -= 9)
		t = table_of(g, &t[va >> shift & 511]);
	t[va >> 12 & 511] = (arena_offset(va) + ARENA_GPA) | flags;
}

static void map_range(struct guest *g, u64 from, u64 end, u64 flags)
{
	for (u64 va = from; va < end; va += 4096)
		map_page(g, va, flags | PTE_P | PTE_U);
}

/* One page at every 64 KiB of 4 GiB, as Linux has it for the same reason (espfix). */
static void make_aliases(struct guest *g)
{
	u64 *pdpt = g64(g, ALIAS_TABLES), *pd = g64(g, ALIAS_TABLES + 0x1000),
	    *pt = g64(g, ALIAS_TABLES + 0x2000);

	*g64(g, G_PT + 8 * (ALIAS >> 39 & 511)) = ALIAS_TABLES | PTE_P | PTE_W;
	for (u32 i = 0; i < 4; i++)
		pdpt[i] = (ALIAS_TABLES + 0x1000) | PTE_P | PTE_W;
	for (u32 i = 0; i < 512; i++)
		pd[i] = (ALIAS_TABLES + 0x2000) | PTE_P | PTE_W;
	for (u32 i = 15; i < 512; i += 16)
		pt[i] = (ALIAS_TABLES + 0x3000) | PTE_P | PTE_W;
	*g64(g, AT(handlers, insn_alias)) = ALIAS + 0xff00;
}

static void on_alarm(int sig)
{
}

static u64 ldt_entry(const struct world_desc *d)
{
	bool pages = d->limit > 0xfffff;

	return gdt_desc(d->base, d->limit, (u8)(0xf1 | (d->code ? 8 : d->down << 2) | !d->ro << 1),
			(u8)(pages << 3 | d->big << 2));
}

static void make_ldt(struct guest *g)
{
	for (u32 i = 0; i < WORLD_LDT; i++)
		*g64(g, G_LDT + 8 * i) = ldt_entry(&world_ldt[i]);
	guest_gdt(g, USER_CS & ~7, gdt_desc(0, 0xffffffff, 0xfb, 0xa));
	guest_gdt(g, USER_SS & ~7, gdt_desc(0, 0xffffffff, 0xf3, 0xc));
	*g64(g, AT(handlers, insn_narrow)) = USER_CS;
	*g64(g, AT(handlers, insn_narrow) + 8) = USER_SS;
	make_aliases(g);
	WITH_SREGS(cpu0(g), sr) {
		sr.ldt = (struct kvm_segment){ .base = HIGH + G_LDT, .limit = 8 * WORLD_LDT - 1,
					       .selector = SEL_LDT, .type = 2, .present = 1 };
	}
}

/* Linux's segments and control bits: what user code must have to run directly (STANDIN_DIRECT). */
static void make_linux(struct guest *g)
{
	guest_gdt(g, 0x20, gdt_desc(0, 0xffffffff, 0xfb, 0xc));
	guest_gdt(g, USER_SS & ~7, gdt_desc(0, 0xffffffff, 0xf3, 0xc));
	guest_gdt(g, USER_CS & ~7, gdt_desc(0, 0xffffffff, 0xfb, 0xa));
	WITH_SREGS(cpu0(g), sr) {
		struct kvm_segment null = { .unusable = 1 };

		sr.ds = sr.es = sr.fs = sr.gs = null;
		sr.cr4 |= 1u << 9 | 1u << 10 | 1u << 16;	/* OSFXSR OSXMMEXCPT FSGSBASE */
		sr.efer |= 1;
	}
}

void subject_start(struct subject *s, bool ring0, bool narrow)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct guest *g = guest_new(M_LONG);

	s->g = g;
	s->ring0 = ring0;
	s->arena = g->ram + ARENA_GPA;
	guest_load(g, G_CODE, handlers);
	*g64(g, AT(handlers, insn_exit_slot)) = A_TRAMP + (u64)(tramp_exit - tramp_start);
	for (u32 v = 0; v < 32; v++)
		guest_gate(g, (u8)v, SEL_CODE64, HIGH + G_CODE + v * STUB_BYTES, 0xe,
			   v == 3 || v == 4 ? 3 : 0, 1);
	guest_gate(g, 0x80, SEL_CODE64, HIGH + G_STUBS + 0x80 * 16, 0xe, 3, 1);
	*g64(g, G_TSS + 36) = HIGH + G_IST1;
	*g64(g, G_PT + 8 * (HIGH >> 39 & 511)) = *g64(g, G_PT) & ~(u64)PTE_U;
	*g64(g, G_PT) = 0;
	map_range(g, A_TRAMP, A_CTRL, 0);
	map_range(g, A_CTRL, A_TSTACK, PTE_W | PTE_NX);
	map_range(g, A_LOW, A_LOW + 4096, 0);
	map_range(g, A_RO, A_DATA, PTE_NX);
	map_range(g, A_DATA, A_DATA_END, PTE_W | PTE_NX);
	map_range(g, A_INIT, A_INIT + DATA_BYTES, PTE_NX);
	map_range(g, A_CODE, A_CODE_END, 0);
	map_range(g, A_CASES, A_RESULTS, PTE_NX);
	map_range(g, A_RESULTS, A_PRIV_END, PTE_W | PTE_NX);
	memcpy(s->arena + arena_offset(A_TRAMP), tramp_start, (size_t)(tramp_end - tramp_start));
	if (!ring0)
		cpu_ring3(cpu0(g), A_TRAMP);
	if (narrow)
		make_ldt(g);
	s->direct = !ring0 && !narrow && getenv("STANDIN_DIRECT");
	if (s->direct)
		make_linux(g);
	WITH_SREGS(cpu0(g), sr) {
		sr.cr0 |= 1u << 16 | 1u << 18 | 2;	/* WP AM MP */
		sr.cr4 |= guest_has(g, 1, 2, 26) ? 1u << 18 : 0;	/* OSXSAVE */
		sr.efer |= 0x800;
		sr.gdt.base += HIGH;
		sr.idt.base += HIGH;
		sr.tr.base += HIGH;
		sr.fs.base = A_FS_BASE;
		sr.gs.base = A_GS_BASE;
	}
	if (guest_has(g, 1, 2, 28)) {
		struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = 7 } };

		/* AVX-512 */
		if (guest_has(g, 7, 1, 16))
			x.xcrs[0].value = 0xe7;

		vcpu_ioctl(cpu0(g), KVM_SET_XCRS, &x, "KVM_SET_XCRS");
	}
	sigaction(SIGALRM, &sa, NULL);
}

u64 subject_features(struct subject *s)
{
	u64 f = 0;

#define X(n, leaf, reg, bit) f |= guest_has(s->g, leaf, reg, bit) ? BIT64(GF_##n) : 0;
	GEN_FEATURES(X)
#undef X
	return f;
}

void subject_watch(struct subject *s, const struct watch *w)
{
	struct kvm_debugregs d = { .dr6 = 0xffff0ff0, .dr7 = w->dr7 | 0x400 };

	for (u32 i = 0; i < 4; i++)
		d.db[i] = w->dr[i];
	vcpu_ioctl(cpu0(s->g), KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
}

const char *subject_run(struct subject *s)
{
	struct arena_ctrl *ctrl = (void *)(s->arena + arena_offset(A_CTRL));
	struct guest_cpu *c = cpu0(s->g);
	struct kvm_segment d =
		s->ring0 ? seg_flat(SEL_DATA, 3, 0, 32) : seg_flat(SEL_UDATA, 3, 3, 32);
	static char why[260];
	struct stop st;

	ctrl->i = 0;
	ctrl->ss64 = USER_SS;
	ctrl->finish = A_TRAMP + (u64)(tramp_int80 - tramp_start);
	WITH_SREGS(c, sr) {
		sr.cs = s->ring0 ? seg_flat(SEL_CODE64, 0xb, 0, 64) : seg_flat(SEL_UCODE64, 0xb, 3,
			64);
		sr.ss = d;
		if (s->direct) {
			sr.cs = seg_flat(USER_CS, 0xb, 3, 64);
			sr.ss = seg_flat(USER_SS, 3, 3, 32);
		}
	}
	WITH_REGS(c, r) {
		r.rip = A_TRAMP;
		r.rsp = A_TSTACK;
		r.rflags = 0x202;
	}
	alarm(20);
	st = cpu_run(c);
	alarm(0);
	if (st.kind == ST_EXC && st.vec == 0x80)
		return NULL;
	if (st.kind == ST_OUT && st.port == PORT_BAD)
		snprintf(why, sizeof(why), "exception %llu in the trampoline at %#llx, case %u",
			 (unsigned long long)st.r.rax & 0xff,
			 (unsigned long long)((struct insn_state *)(void *)(s->arena +
									    arena_offset(A_RES)))
				 ->fault_rip,
			 ctrl->i);
	else
		snprintf(why, sizeof(why), "the guest stopped in case %u by %s", ctrl->i,
			 stop_text(&st));
	return why;
}
