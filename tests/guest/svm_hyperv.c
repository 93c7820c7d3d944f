/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_hyperv.c - an L1 that uses Hyper-V's interface: TLB flushes of L2 that L0 carries
 * out, and the enlightened MSR bitmap (TLFS, nested virtualization; the software area of the VMCB).
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_hyperv [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/svm.h"

#define MSR_OS_ID 0x40000000
#define MSR_VP_INDEX 0x40000002
#define MSR_ASSIST 0x40000073

#define G_ASSIST G_SVM_DATA		/* VP assist page; direct calls are bit 0 at 32 */
#define G_PARTITION (G_SVM_DATA + 0x1000)
#define G_INPUT (G_SVM_DATA + 0x2000)
#define G_INPUT2 (G_SVM_DATA + 0x3000)

#define FLUSH_ALL 3			/* every processor and address space */
#define FAST_FLUSH "mov $0x10002, %ecx\n xor %edx, %edx\n mov $3, %r8d\n"
/* XMM0's low half is the mask of a fast FlushVirtualAddressSpace without FLUSH_ALL. */
#define FLUSH_MASK "mov $0x10002, %ecx\n xor %edx, %edx\n mov $2, %r8d\n"

/* Flushes, tells so, and calls L1. */
CODE64(own, FAST_FLUSH "own_a: vmmcall\n own_b1: mov %rax, %r12\n mov $0x1234, %ecx\n"
		       " own_c: vmmcall");
LABEL(own_a); LABEL(own_b1); LABEL(own_c);

static struct svm_guest hyperv(const u8 *code, u64 len, void (*change)(struct kvm_cpuid_entry2 *e))
{
	struct svm_guest s = svm_new(M_LONG, 0, code, len);

	cpu_hyperv(s.c, change);
	cpu_set_msr(s.c, MSR_OS_ID, 1);
	cpu_set_msr(s.c, MSR_ASSIST, G_ASSIST | 1);
	*g32(s.g, G_ASSIST + 32) = 1;
	s.ctl->hv_control = SVM_HV_DIRECT_FLUSH;
	s.ctl->hv_vm_id = s.ctl->hv_vp_id = 1;
	s.ctl->hv_assist = G_PARTITION;
	return s;
}
#define HYPERV(snip) hyperv(snip##_b, LEN(snip), NULL)

T(direct, "L0 carries out L2's flush; other calls are L1's")
{
	struct svm_guest s = HYPERV(own);
	struct stop st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);

	CHECK_EQ(s.save->rip, AT_L2(own, own_c));
	CHECK_EQ(st.r.r12, 0);
	guest_free(s.g);
}

static void no_direct_flush(struct kvm_cpuid_entry2 *e)
{
	if (e->function == 0x4000000a)
		e->eax &= ~(1u << 17);
}

static void no_interface(struct kvm_cpuid_entry2 *e)
{
	if (e->function == 0x40000001)
		e->eax = 0;
}

T(conditions,
  "a direct flush wants CPUID, a guest OS id, the assist page, its bit and the VMCB's: else L1's")
{
	for (u32 i = 0; i < 6; i++) {
		struct svm_guest s = hyperv(own_b, LEN(own),
					    i == 0   ? no_direct_flush
					    : i == 1 ? no_interface
						     : NULL);

		if (i == 2)
			cpu_set_msr(s.c, MSR_OS_ID, 0);
		if (i == 3)
			cpu_set_msr(s.c, MSR_ASSIST, 0);
		if (i == 4)
			*g32(s.g, G_ASSIST + 32) = 0;
		if (i == 5)
			s.ctl->hv_control = 0;
		SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		if (!CHECK_EQ(s.save->rip, AT_L2(own, own_a)))
			printf("# row %u\n", i);
		guest_free(s.g);
	}
}

CODE64(vmcall, FAST_FLUSH "vmcall\n mov $0x1234, %ecx\n vmcall_a: vmmcall");
LABEL(vmcall_a);
T(foreign, "VMCALL is taken for VMMCALL, and its flush is L0's as well")
{
	struct svm_guest s = HYPERV(vmcall);

	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, AT_L2(vmcall, vmcall_a));
	guest_free(s.g);
}

T(trap,
  "locks in the partition assist page: the flush is done, then a synthetic exit behind the call")
{
	struct svm_guest s = HYPERV(own);

	*g32(s.g, G_PARTITION) = 7;
	s.ctl->exit_info_2 = 5;
	SVM_EXITS(&s, 0xf0000000);
	CHECK_EQ(s.ctl->exit_info_1, 1);
	CHECK_EQ(s.ctl->exit_info_2, 0);
	CHECK_EQ(s.save->rip, AT_L2(own, own_b1));
	CHECK_EQ(s.ctl->next_rip, AT_L2(own, own_b1));
	CHECK_EQ(s.save->rax, 0);
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, AT_L2(own, own_c));
	guest_free(s.g);
}

T(no_page, "a partition assist page that is no memory: invalid input, and no synthetic exit")
{
	struct svm_guest s = HYPERV(own);
	struct stop st;

	s.ctl->hv_assist = G_MMIO;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, AT_L2(own, own_c));
	CHECK_EQ(st.r.r12, 3);
	guest_free(s.g);
}

CODE64(bad, "mov $0x100000002, %rcx\n mov $0x442000, %edx\n vmmcall\n mov %rax, %r12\n"
	    " mov $1, %ecx\n vmmcall");
T(bad_call, "a refused flush of L2's makes no synthetic exit")
{
	struct svm_guest s = HYPERV(bad);
	struct stop st;

	*g32(s.g, G_PARTITION) = 1;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.r12, 3);
	guest_free(s.g);
}

CODE64(ring3, FAST_FLUSH "ring3_a: vmmcall\n hlt");
LABEL(ring3_a);
T(cpl3, "a flush of L2's outside ring 0 is #UD, which L1 may intercept")
{
	struct svm_guest s = HYPERV(ring3);

	s.save->cpl = 3;
	s.save->cs.selector = SEL_UCODE64;
	s.save->cs.attrib |= 0x60;
	s.save->ss.selector = SEL_UDATA;
	s.save->ss.attrib |= 0x60;
	svm_want(&s, SVM_I_EXCP + 6);
	SVM_EXITS(&s, SVM_EXIT_EXCP + 6);
	CHECK_EQ(s.save->rip, AT_L2(ring3, ring3_a));
	guest_free(s.g);
}

/* Reads, has its page moved (L1 does, in L2's table), reads again behind the flush. */
CODE64(moved, "mov $0x200000, %esi\n mov (%rsi), %r12d\n mov $0x443000, %ebx\n or $7, %ebx\n"
	" mov 0x442000, %rdi\n"
	" mov %rbx, (%rdi)\n" FAST_FLUSH "vmmcall\n mov (%rsi), %r13d\n mov $1, %ecx\n vmmcall");
T(flushes, "after a direct flush L2 reads by its new tables")
{
	struct svm_guest s = HYPERV(moved);
	struct stop st;

	*g64(s.g, G_INPUT) = (u64)((u8 *)guest_pte(s.g, 0x200000) - s.g->ram);
	*g32(s.g, 0x200000) = 0x11;
	*g32(s.g, G_INPUT2) = 0x22;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.r12, 0x11);
	CHECK_EQ(st.r.r13, 0x22);
	guest_free(s.g);
}

/* FlushVirtualAddressSpace by address: space, flags, mask. */
CODE64(slow, "mov $2, %ecx\n mov $0x442000, %edx\n vmmcall\n mov %rax, %r12\n"
	" mov $0xf0000000, %edx\n mov $2, %ecx\n"
	" vmmcall\n mov %rax, %r13\n mov $1, %ecx\n vmmcall");
T(nested_input,
  "the input's address is L2's: through nested paging, and invalid input where L1 maps nothing")
{
	struct svm_guest s = HYPERV(slow);
	u64 *pd, *pt = (u64 *)(void *)(s.g->ram + G_NPT + 0x4000);
	u64 before = cpu_counter(s.c, "tlb_flush");
	struct stop st;

	svm_npt(&s);
	pd = (u64 *)(void *)(s.g->ram + G_NPT + 0x2000);
	for (u64 i = 0; i < 512; i++)
		pt[i] = (0x400000 + (i << 12)) | 7;
	/* L2's input page is L1's next one; in L1's own there are processors that do not exist. */
	pt[G_INPUT >> 12 & 511] = G_INPUT2 | 7;
	pd[G_INPUT >> 21] = (G_NPT + 0x4000) | 7;
	*g64(s.g, G_INPUT + 8) = 2;
	*g64(s.g, G_INPUT + 16) = 1ull << 40;
	*g64(s.g, G_INPUT2 + 8) = 2;
	*g64(s.g, G_INPUT2 + 16) = 1ull << 1;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.r12, 0);
	CHECK_EQ(st.r.r13, 3);
	CHECK_EQ(cpu_counter(s.c, "tlb_flush") - before, 1);
	guest_free(s.g);
}

CODE64(masks, "movq %rbx, %xmm0\n" FLUSH_MASK "vmmcall\n mov %rax, %r12\n mov $1, %ecx\n vmmcall");
T(partition,
  "the processors of a flush are those of L2's partition, by the ids that L1 has given them")
{
	static const struct {
		u64 mask;
		u64 vm;		/* of the second vCPU's L2 */
		u32 n;
	} x[] = {
		{ 1 << 5, 1, 1 },	   { 1 << 9, 1, 1 }, { 1 << 5 | 1 << 9, 1, 2 },
		{ 1 << 5 | 1 << 9, 2, 1 }, { 1 << 9, 2, 0 }, { 1 << 0 | 1 << 1, 1, 0 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = HYPERV(masks);
		struct guest_cpu *d = guest_add_cpu(s.g);
		struct svm_guest t = s;
		struct stop st;
		u64 before;

		/* The second vCPU has the same L1 and another VMCB, which it has left again. */
		cpu_hyperv(d, NULL);
		cpu_set_msr(d, 0xc0000080, cpu_msr(s.c, 0xc0000080));
		cpu_set_msr(d, 0xc0010117, G_HSAVE);
		cpu_set_msr(d, MSR_ASSIST, G_ASSIST | 1);
		t.c = d;
		t.vmcb = (void *)(s.g->ram + G_SVM_DATA + 0x8000);
		t.ctl = &t.vmcb->control;
		t.save = &t.vmcb->save;
		*t.vmcb = *s.vmcb;
		t.ctl->hv_vm_id = x[i].vm;
		t.ctl->hv_vp_id = 9;
		WITH_REGS(d, r) {
			r.rax = G_SVM_DATA + 0x8000;
			r.rbx = 1ull << 40;
		}
		st = SVM_EXITS(&t, SVM_EXIT_VMMCALL);
		s.ctl->hv_vp_id = 5;
		WITH_REGS(s.c, r)
			r.rbx = x[i].mask;
		before = cpu_counter(s.c, "tlb_flush");
		st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(st.r.r12, 0);
		if (!CHECK_EQ(cpu_counter(s.c, "tlb_flush") - before, x[i].n))
			printf("# row %u\n", i);
		guest_free(s.g);
	}
}

/* -- the enlightened MSR bitmap -- */

CODE64(msrs, "mov $0xc0000101, %ecx\n msrs_again: rdmsr\n vmmcall\n jmp msrs_again");

T(msr_bitmap,
  "enlightened, the MSR map is taken over when L1 does not call it clean; else read each time")
{
	const u32 bit = 0x800 * 8 + 2 * 0x101;
	struct svm_guest s = HYPERV(msrs);
	u8 *map = s.g->ram + G_MSRPM + bit / 8;
	struct stop st;

	svm_want(&s, SVM_I_MSR);
	/* set, clean, expected: is the read intercepted? */
	static const struct {
		u32 control;
		bool set, clean, exits;
	} x[] = {
		{ 0, false, false, false },
		{ 0, true, true, true },
		{ SVM_HV_MSR_BITMAP, false, false, false },
		{ SVM_HV_MSR_BITMAP, true, true, false },
		{ SVM_HV_MSR_BITMAP, true, false, true },
		{ SVM_HV_MSR_BITMAP, false, true, true },
		{ 0, false, true, false },
		{ SVM_HV_MSR_BITMAP, true, true, true },
	};
	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		*map = (u8)((*map & ~(1u << bit % 8)) | (u32)x[i].set << bit % 8);
		s.ctl->hv_control = x[i].control;
		s.ctl->clean = x[i].clean ? 1u << 31 : 0;
		s.save->rip = G_L2;
		st = svm_run(&s);
		if (!CHECK_EXIT(&s, st, x[i].exits ? SVM_EXIT_MSR : SVM_EXIT_VMMCALL))
			printf("# row %u\n", i);
	}
	/* Another VMCB's map is another one, whatever its clean bit says. */
	u8 *other = s.g->ram + G_SVM_DATA + 0x8000;

	*map &= (u8) ~(1u << bit % 8);
	s.save->rip = G_L2;
	memcpy(other, s.vmcb, sizeof(*s.vmcb));
	WITH_REGS(s.c, r)
		r.rax = G_SVM_DATA + 0x8000;
	s.vmcb = (void *)other;
	s.ctl = &s.vmcb->control;
	s.save = &s.vmcb->save;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	guest_free(s.g);
}

/* -- moving house -- */

struct nested {
	struct kvm_nested_state hdr;
	struct vmcb image;
};

CODE64(moves, "out %al, $0x10\n" FAST_FLUSH "moves_a: vmmcall\n mov $1, %ecx\n moves_b1: vmmcall");
LABEL(moves_b1);
T(state, "KVM_GET and SET_NESTED_STATE keep what L1 has said: the flush is L0's on the other side")
{
	struct svm_guest s = HYPERV(moves);
	struct nested n = { .hdr.size = sizeof(n) };
	struct stop st = svm_run(&s);

	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x10);
	cpu_complete(s.c);
	CHECK_EQ(ioctl(s.c->fd, KVM_GET_NESTED_STATE, &n), 0);
	CHECK_EQ(n.image.control.hv_control, SVM_HV_DIRECT_FLUSH);
	CHECK_EQ(n.image.control.hv_assist, G_PARTITION);
	CHECK_EQ(ioctl(s.c->fd, KVM_SET_NESTED_STATE, &n), 0);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, AT_L2(moves, moves_b1));
	guest_free(s.g);
}

T(cpuid, "CPUID 0x4000000a offers direct flushes and the MSR bitmap")
{
	struct {
		struct kvm_cpuid2 h;
		struct kvm_cpuid_entry2 e[32];
	} c = { .h.nent = 32 };
	struct svm_guest s = HYPERV(own);
	bool found = false;

	CHECK_EQ(ioctl(s.g->sys, KVM_GET_SUPPORTED_HV_CPUID, &c), 0);
	for (u32 i = 0; i < c.h.nent; i++)
		if (c.e[i].function == 0x4000000a) {
			found = true;
			CHECK_EQ(c.e[i].eax, 1u << 17 | 1u << 19);
			CHECK_EQ(c.e[i].ebx, 1);
		}
	CHECK(found);
	guest_free(s.g);
}
