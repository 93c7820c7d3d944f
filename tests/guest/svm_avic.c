/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_avic.c - AVIC and x2AVIC as L1's hardware (APM2 15.29; docs/kvm-apic.md 3.5-3.7):
 * what L2's APIC accesses do in the backing page, and the #VMEXITs of those that software must
 * finish.
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_avic [NAME...] */
#include <pthread.h>
#include <stdlib.h>

#include "irq/lapic_regs.h"
#include "tests/guest/harness/svm.h"

enum {
	G_PAGE = G_SVM_DATA,		/* backing page of virtual CPU 0 */
	G_PAGE1 = G_SVM_DATA + 0x1000,	/* ... of virtual CPU 1 */
	G_LOGICAL = G_SVM_DATA + 0x2000,
	G_PHYSICAL = G_SVM_DATA + 0x3000,	/* 8 pages: 4096 entries */
	VEC = 0x55,
};
#define RUNNING BIT64(62)
#define VALID BIT64(63)
#define INCOMPLETE_IPI SVM_EXIT_AVIC_INCOMPLETE_IPI
#define UNACCELERATED SVM_EXIT_AVIC_UNACCELERATED_ACCESS
#define WRITE BIT64(32)
#define BASE "mov $0xfee00000, %ebp\n"

static u32 *page_reg(struct svm_guest *s, u64 page, u32 reg)
{
	return (u32 *)(void *)(s->g->ram + page + reg);
}

static void vector_bit(struct svm_guest *s, u64 page, u32 reg, u8 vec)
{
	*page_reg(s, page, reg + vec / 32 * 16) |= 1u << (vec % 32);
}

static bool has_vector(struct svm_guest *s, u64 page, u32 reg, u8 vec)
{
	return *page_reg(s, page, reg + vec / 32 * 16) >> (vec % 32) & 1;
}

static u64 *phys_entry(struct svm_guest *s, u32 id)
{
	return (u64 *)(void *)(s->g->ram + G_PHYSICAL + id * 8);
}

static struct svm_guest avic(const u8 *code, u64 len, const char *options, bool x2, u32 max)
{
	struct svm_guest s;

	setenv("STANDIN_SVM", options, 1);
	s = svm_new(M_LONG, GUEST_IRQCHIP, code, len);
	if (!guest_has(s.g, 0x8000000a, 3, 13))
		test_skip("no AVIC for a nested hypervisor");
	if (x2 && !guest_has(s.g, 0x8000000a, 3, 18))
		test_skip("no x2AVIC for a nested hypervisor");
	svm_npt(&s);
	s.ctl->int_ctl = SVM_AVIC_ENABLE | SVM_V_INTR_MASKING | (x2 ? SVM_X2AVIC_ENABLE : 0);
	s.ctl->avic_bar = 0xfee00000;
	s.ctl->avic_backing = G_PAGE;
	s.ctl->avic_logical = G_LOGICAL;
	s.ctl->avic_physical = G_PHYSICAL | max;
	*page_reg(&s, G_PAGE, 0x20) = 0;
	*page_reg(&s, G_PAGE, 0xf0) = 0x1ff;
	*page_reg(&s, G_PAGE, 0xe0) = ~0u;
	*phys_entry(&s, 0) = VALID | RUNNING | G_PAGE;	/* on L1's CPU 0 */
	*phys_entry(&s, 1) = VALID | G_PAGE1;		/* not running */
	return s;
}
#define avic_with(snip) avic(snip##_b, LEN(snip), "avic,x2avic", false, 7)
#define x2avic_with(snip) avic(snip##_b, LEN(snip), "avic,x2avic", true, 7)

/* -- accelerated -- */
CODE64(accelerated, BASE "mov 0x20(%rbp), %ebx\n movl $0x40, 0x80(%rbp)\n mov 0x80(%rbp), %ecx\n"
	"mov %cr8, %rdx\n mov $3, %esi\n mov %rsi, %cr8\n mov 0xa0(%rbp), %esi\n"
	" movl $0, 0xb0(%rbp)\n"
	"movl $0x55667788, 0x310(%rbp)\n mov 0xf0(%rbp), %edi\n vmmcall");
T(accelerated, "reads, TPR, CR8, EOI of an edge vector and ICR high never leave L2")
{
	struct svm_guest s = avic_with(accelerated);
	struct stop st;

	*page_reg(&s, G_PAGE, 0x20) = 0x0b000000;
	vector_bit(&s, G_PAGE, 0x100, 0x77);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx, 0x0b000000);
	CHECK_EQ(st.r.rcx, 0x40);
	CHECK_EQ(st.r.rdx, 4);
	CHECK_EQ(st.r.rsi, 0x70);		/* PPR: the vector in service */
	CHECK_EQ(has_vector(&s, G_PAGE, 0x100, 0x77), false);
	CHECK_EQ(*page_reg(&s, G_PAGE, 0xa0), 0x30);
	CHECK_EQ(*page_reg(&s, G_PAGE, 0x80), 0x30);
	CHECK_EQ(*page_reg(&s, G_PAGE, 0x310), 0x55667788);
	CHECK_EQ(st.r.rdi, 0x1ff);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_TPR, 3);
	guest_free(s.g);
}

/* -- trapped and faulting accesses -- */
CODE64(eoi_level, BASE "movl $0, 0xb0(%rbp)\n eoi_level_1: vmmcall");
LABEL(eoi_level_1);
T(eoi_level, "EOI of a level vector traps with the vector, ISR is software's")
{
	struct svm_guest s = avic_with(eoi_level);

	vector_bit(&s, G_PAGE, 0x100, 0x77);
	vector_bit(&s, G_PAGE, 0x180, 0x77);
	SVM_EXITS(&s, UNACCELERATED);
	CHECK_EQ(s.ctl->exit_info_1, 0xb0 | WRITE);
	CHECK_EQ(s.ctl->exit_info_2, 0x77);
	CHECK_EQ(s.save->rip, AT_L2(eoi_level, eoi_level_1));
	CHECK_EQ(has_vector(&s, G_PAGE, 0x100, 0x77), true);
	guest_free(s.g);
}

CODE64(write_reg, BASE "write_reg_0: mov %eax, (%rbp, %rbx)\n write_reg_1: vmmcall");
CODE64(read_reg, BASE "read_reg_0: mov (%rbp, %rbx), %eax\n vmmcall");
LABEL(write_reg_0);
LABEL(write_reg_1);
LABEL(read_reg_0);
T(traps, "every trapped write: the value is in the page, RIP behind the instruction")
{
	static const u16 trapped[] = { 0x20, 0xc0, 0xd0, 0xe0, 0xf0, 0x280, 0x320, 0x330, 0x340,
				       0x350,
				       0x360, 0x370, 0x380, 0x3e0 };

	for (u32 i = 0; i < ARRAY_SIZE(trapped); i++) {
		struct svm_guest s = avic_with(write_reg);
		struct stop st;

		s.save->rax = 0x12345678;
		WITH_REGS(s.c, r)
			r.rbx = trapped[i];
		st = svm_run(&s);
		if (!CHECK_EXIT(&s, st, UNACCELERATED))
			printf("# register %#x\n", trapped[i]);
		CHECK_EQ(s.ctl->exit_info_1, trapped[i] | WRITE);
		CHECK_EQ(s.save->rip, AT_L2(write_reg, write_reg_1));
		CHECK_EQ(*page_reg(&s, G_PAGE, trapped[i]), 0x12345678);
		guest_free(s.g);
	}
}
T(faults_write, "writes that are neither accelerated nor trapped: RIP at the instruction")
{
	static const u16 refused[] = { 0x30,  0x90,  0xa0,  0x100, 0x180,
				       0x200, 0x390, 0x3f0, 0x10,  0x700 };

	for (u32 i = 0; i < ARRAY_SIZE(refused); i++) {
		struct svm_guest s = avic_with(write_reg);
		struct stop st;

		s.save->rax = 0x12345678;
		WITH_REGS(s.c, r)
			r.rbx = refused[i];
		st = svm_run(&s);
		if (!CHECK_EXIT(&s, st, UNACCELERATED))
			printf("# register %#x\n", refused[i]);
		CHECK_EQ(s.ctl->exit_info_1, refused[i] | WRITE);
		CHECK_EQ(s.save->rip, AT_L2(write_reg, write_reg_0));
		CHECK_EQ(*page_reg(&s, G_PAGE, refused[i]), 0);
		guest_free(s.g);
	}
}
T(faults_read, "reads of APR and the current count fault")
{
	static const u16 refused[] = { 0x90, 0x390 };

	for (u32 i = 0; i < ARRAY_SIZE(refused); i++) {
		struct svm_guest s = avic_with(read_reg);

		WITH_REGS(s.c, r)
			r.rbx = refused[i];
		SVM_EXITS(&s, UNACCELERATED);
		CHECK_EQ(s.ctl->exit_info_1, refused[i]);
		CHECK_EQ(s.save->rip, AT_L2(read_reg, read_reg_0));
		guest_free(s.g);
	}
}
T(npf_first, "what nested paging refuses is a nested page fault, not an APIC access")
{
	struct svm_guest s = avic_with(read_reg);

	*g64(s.g, G_NPT + 0x3000 + 8 * (0xfee00000ull >> 21 & 511)) = 0;
	WITH_REGS(s.c, r)
		r.rbx = 0x20;
	SVM_EXITS(&s, SVM_EXIT_NPF);
	CHECK_EQ(s.ctl->exit_info_2, 0xfee00020);
	guest_free(s.g);
}

/* -- interrupts -- */
CODE64(open, "sti\n nop\n open_1: vmmcall");
LABEL(open_1);
T(irr, "a vector in IRR is taken when IF opens, by priority, into ISR")
{
	struct svm_guest s = avic_with(open);
	struct stop st;

	vector_bit(&s, G_PAGE, 0x200, VEC);
	vector_bit(&s, G_PAGE, 0x200, 0x41);
	st = svm_run(&s);
	CHECK_EXC(st, VEC, -1);
	CHECK_EQ(st.rip, AT_L2(open, open_1));
	CHECK_EQ(has_vector(&s, G_PAGE, 0x200, VEC), false);
	CHECK_EQ(has_vector(&s, G_PAGE, 0x200, 0x41), true);
	CHECK_EQ(has_vector(&s, G_PAGE, 0x100, VEC), true);
	CHECK_EQ(*page_reg(&s, G_PAGE, 0xa0), 0x50);
	guest_free(s.g);
}
T(irr_at_entry, "with IF set it is taken before L2's first instruction; VINTR is not intercepted")
{
	struct svm_guest s = avic_with(open);
	struct stop st;

	vector_bit(&s, G_PAGE, 0x200, VEC);
	s.save->rflags |= 0x200;
	svm_want(&s, SVM_I_VINTR);
	st = svm_run(&s);
	CHECK_EXC(st, VEC, -1);
	CHECK_EQ(st.rip, G_L2);
	guest_free(s.g);
}
T(tpr_holds, "TPR holds a vector back; V_IRQ means nothing")
{
	struct svm_guest s = avic_with(open);

	vector_bit(&s, G_PAGE, 0x200, VEC);
	*page_reg(&s, G_PAGE, 0x80) = 0x50;
	s.ctl->int_ctl |= SVM_V_IRQ | SVM_V_IGN_TPR;
	s.ctl->int_vector = 0x66;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(has_vector(&s, G_PAGE, 0x200, VEC), true);
	guest_free(s.g);
}
CODE64(lower, BASE "sti\n movl $0x20, 0x80(%rbp)\n lower_1: nop\n nop\n vmmcall");
LABEL(lower_1);
T(tpr_lowered, "lowering TPR lets it through at once")
{
	struct svm_guest s = avic_with(lower);
	struct stop st;

	vector_bit(&s, G_PAGE, 0x200, VEC);
	*page_reg(&s, G_PAGE, 0x80) = 0x50;
	st = svm_run(&s);
	CHECK_EXC(st, VEC, -1);
	CHECK_EQ(st.rip, AT_L2(lower, lower_1));
	guest_free(s.g);
}

/* -- IPIs -- */
CODE64(ipi, BASE "movl $0, 0x310(%rbp)\n mov %edx, 0x310(%rbp)\n ipi_0: mov %eax, 0x300(%rbp)\n"
		 " ipi_1: nop\n vmmcall");
LABEL(ipi_1);
static struct stop send(struct svm_guest *s, u32 icr, u32 dest)
{
	s->save->rax = icr;
	WITH_REGS(s->c, r)
		r.rdx = dest;
	return svm_run(s);
}

T(self_ipi, "an IPI to itself is taken without an exit")
{
	struct svm_guest s = avic_with(ipi);
	struct stop st;

	s.save->rflags |= 0x200;
	st = send(&s, 0x44000 | VEC, 0);
	CHECK_EXC(st, VEC, -1);
	CHECK_EQ(st.rip, AT_L2(ipi, ipi_1));
	guest_free(s.g);
}
T(not_running, "a target that does not run: its IRR is set, exit 0x401 with id 1")
{
	struct svm_guest s = avic_with(ipi);
	struct stop st = send(&s, 0x4000 | VEC, 1u << 24);

	CHECK_EXIT(&s, st, INCOMPLETE_IPI);
	CHECK_EQ(s.ctl->exit_info_1, 1ull << 56 | 0x4000 | VEC);
	CHECK_EQ(s.ctl->exit_info_2, 1ull << 32 | 1);
	CHECK_EQ(has_vector(&s, G_PAGE1, 0x200, VEC), true);
	CHECK_EQ(s.save->rip, AT_L2(ipi, ipi_1));
	guest_free(s.g);
}
T(incomplete, "invalid type, target and vector")
{
	static const struct { u32 icr, dest, id; } x[] = {
		{ 0x4400 | VEC, 1u << 24, 0 },		/* NMI */
		{ 0xc000 | VEC, 1u << 24, 0 },		/* level */
		{ 0x4000 | VEC, 5u << 24, 2 },		/* entry not valid */
		{ 0x4000 | VEC, 200u << 24, 2 },	/* beyond the index */
		{ 0x4800 | VEC, 0x80u << 24, 2 },	/* logical entry not valid */
		{ 0x4000 | 5, 1u << 24, 4 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = avic_with(ipi);
		struct stop st = send(&s, x[i].icr, x[i].dest);

		if (!CHECK_EXIT(&s, st, INCOMPLETE_IPI))
			printf("# icr %#x\n", x[i].icr);
		CHECK_EQ(s.ctl->exit_info_1, (u64)x[i].dest << 32 | x[i].icr);
		CHECK_EQ(s.ctl->exit_info_2 >> 32, x[i].id);
		CHECK_EQ(has_vector(&s, G_PAGE1, 0x200, VEC), false);
		guest_free(s.g);
	}
}
T(logical, "flat logical destination through the logical table")
{
	struct svm_guest s = avic_with(ipi);
	struct stop st;

	*g32(s.g, G_LOGICAL + 4 * 3) = 1 | 1u << 31;
	st = send(&s, 0x4800 | VEC, 8u << 24);
	CHECK_EXIT(&s, st, INCOMPLETE_IPI);
	CHECK_EQ(s.ctl->exit_info_2 >> 32, 1);
	CHECK_EQ(has_vector(&s, G_PAGE1, 0x200, VEC), true);
	guest_free(s.g);
}
T(backing_page, "a target whose backing page is not memory")
{
	struct svm_guest s = avic_with(ipi);
	struct stop st;

	*phys_entry(&s, 1) = VALID | RUNNING | 0x7fff000;
	st = send(&s, 0x4000 | VEC, 1u << 24);
	CHECK_EXIT(&s, st, INCOMPLETE_IPI);
	CHECK_EQ(s.ctl->exit_info_2 >> 32, 3);
	guest_free(s.g);
}
T(table_gone, "tables that are not memory: invalid target, nothing worse")
{
	struct svm_guest s = avic_with(ipi);
	struct stop st;

	s.ctl->avic_physical = 0x7fff000 | 7;
	s.ctl->avic_logical = 0x7ffe000;
	st = send(&s, 0x4000 | VEC, 1u << 24);
	CHECK_EXIT(&s, st, INCOMPLETE_IPI);
	CHECK_EQ(s.ctl->exit_info_2 >> 32, 2);
	guest_free(s.g);
}
T(page_gone, "VMRUN with a backing page that is not memory: VMEXIT_INVALID")
{
	struct svm_guest s = avic_with(ipi);

	s.ctl->avic_backing = 0x7fff000;
	SVM_EXITS(&s, SVM_EXIT_INVALID);
	guest_free(s.g);
}

/* -- x2AVIC -- */
CODE64(x2, "mov $0x808, %ecx\n mov $0x40, %eax\n xor %edx, %edx\n wrmsr\n rdmsr\n mov %eax, %ebx\n"
	"mov $0x80b, %ecx\n xor %eax, %eax\n wrmsr\n mov $0x80a, %ecx\n rdmsr\n mov %eax, %esi\n"
	" vmmcall");
T(x2_accelerated, "x2AVIC: TPR, EOI and PPR by MSR")
{
	struct svm_guest s = x2avic_with(x2);
	struct stop st;

	vector_bit(&s, G_PAGE, 0x100, 0x77);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx, 0x40);
	CHECK_EQ(st.r.rsi, 0x40);
	CHECK_EQ(has_vector(&s, G_PAGE, 0x100, 0x77), false);
	guest_free(s.g);
}
CODE64(x2_ipi, "mov $0x830, %ecx\n mov %r8d, %eax\n mov %r9d, %edx\n wrmsr\n x2_ipi_1: vmmcall");
LABEL(x2_ipi_1);
struct x2_case {
	u32 max, dest, id;
};
static void x2_ipis(const char *options, const struct x2_case *x, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		struct svm_guest s = avic(x2_ipi_b, LEN(x2_ipi), options, true, x[i].max);
		struct stop st;

		*phys_entry(&s, 511) = VALID | G_PAGE1;
		*phys_entry(&s, 600) = VALID | G_PAGE1;
		*phys_entry(&s, 4095) = VALID | G_PAGE1;
		WITH_REGS(s.c, r) {
			r.r8 = 0x4000 | VEC;
			r.r9 = x[i].dest;
		}
		st = svm_run(&s);
		if (!CHECK_EXIT(&s, st, INCOMPLETE_IPI))
			printf("# destination %u\n", x[i].dest);
		CHECK_EQ(s.ctl->exit_info_1, (u64)x[i].dest << 32 | 0x4000 | VEC);
		CHECK_EQ(s.ctl->exit_info_2 >> 32, x[i].id);
		CHECK_EQ(s.save->rip, AT_L2(x2_ipi, x2_ipi_1));
		CHECK_EQ(has_vector(&s, G_PAGE1, 0x200, VEC), x[i].id == 1);
		guest_free(s.g);
	}
}
T(x2_incomplete, "x2AVIC: ICR with a 32-bit destination, ids up to 511")
{
	static const struct x2_case x[] = {
		{ 0x1ff, 1, 1 },	/* not running */
		{ 0x1ff, 511, 1 },
		{ 0x1ff, 512, 2 },
		{ 0xfff, 600, 2 },	/* the index has 9 bits only */
	};

	x2_ipis("avic,x2avic", x, ARRAY_SIZE(x));
}
T(x2_extended, "x2AVIC with its extension: ids up to 4095")
{
	static const struct x2_case x[] = {
		{ 0xfff, 600, 1 }, { 0xfff, 4095, 1 }, { 0xfff, 4096, 2 }, { 0x1ff, 600, 2 },
	};

	x2_ipis("avic,x2avic,x2avic-ext", x, ARRAY_SIZE(x));
}
CODE64(x2_self, "mov $0x83f, %ecx\n mov $0x55, %eax\n xor %edx, %edx\n wrmsr\n x2_self_1: nop\n"
		" vmmcall");
LABEL(x2_self_1);
T(x2_self, "x2AVIC: SELF_IPI")
{
	struct svm_guest s = x2avic_with(x2_self);
	struct stop st;

	s.save->rflags |= 0x200;
	st = svm_run(&s);
	CHECK_EXC(st, VEC, -1);
	CHECK_EQ(st.rip, AT_L2(x2_self, x2_self_1));
	guest_free(s.g);
}
CODE64(x2_write, "mov %r8d, %ecx\n mov %r9d, %eax\n mov %r10d, %edx\n x2_write_0: wrmsr\n vmmcall");
LABEL(x2_write_0);
T(x2_gp, "x2AVIC: reserved bits are #GP in L2")
{
	static const struct { u32 msr, lo, hi; } x[] = {
		{ 0x808, 0x100, 0 }, { 0x80b, 1, 0 }, { 0x83f, 0x155, 0 }, { 0x830, 1u << 16, 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = x2avic_with(x2_write);
		struct stop st;

		WITH_REGS(s.c, r) {
			r.r8 = x[i].msr;
			r.r9 = x[i].lo;
			r.r10 = x[i].hi;
		}
		st = svm_run(&s);
		CHECK_EXC(st, 13, 0);
		CHECK_EQ(st.rip, AT_L2(x2_write, x2_write_0));
		guest_free(s.g);
	}
}

/* -- doorbell -- */
CODE64(spin, "sti\n 1: pause\n jmp 1b");
CODE64(ring, "mov $0xc001011b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr" DONE);
static void *run_l2(void *arg)
{
	static struct stop st;

	st = svm_run(arg);
	return &st;
}
T(doorbell, "a doorbell makes a running L2 take what was put into its IRR")
{
	struct svm_guest s = avic_with(spin);
	struct guest_cpu *other = guest_add_cpu(s.g);
	struct kvm_mp_state running = { KVM_MP_STATE_RUNNABLE };
	struct stop st, *l2;
	pthread_t t;
	void *p;

	vcpu_ioctl(other, KVM_SET_MP_STATE, &running, "KVM_SET_MP_STATE");
	guest_write(s.g, G_CODE + 0x800, ring_b, (u32)LEN(ring));
	WITH_REGS(other, r)
		r.rip = G_CODE + 0x800;
	if (pthread_create(&t, NULL, run_l2, &s))
		test_die("no thread");
	/* L2 spins by now or soon: the doorbell is rung until it has heard. */
	for (u32 i = 0; i < 200; i++) {
		struct timespec ts = { 0, 5000000 };

		if (i == 10)
			__atomic_fetch_or(page_reg(&s, G_PAGE, 0x200 + VEC / 32 * 16),
					  1u << (VEC % 32), __ATOMIC_SEQ_CST);
		WITH_REGS(other, r)
			r.rip = G_CODE + 0x800;
		st = cpu_run(other);
		CHECK_STOP(st, ST_DONE);
		nanosleep(&ts, NULL);
		if (has_vector(&s, G_PAGE, 0x100, VEC))
			break;
	}
	pthread_join(t, &p);
	l2 = p;
	CHECK_EXC(*l2, VEC, -1);
	guest_free(s.g);
}
T(doorbell_gp, "without AVIC the doorbell register does not exist")
{
	struct guest *g;

	setenv("STANDIN_SVM", "", 1);
	g = guest_with(M_LONG, ring);
	if (guest_has(g, 0x8000000a, 3, 13))
		test_skip("this CPU has AVIC");
	RUN_EXC(g, 13, 0);
	guest_free(g);
}
