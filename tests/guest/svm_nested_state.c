/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_nested_state.c - KVM_GET/SET_NESTED_STATE (docs/kvm-svm.md 4.13): sizes, every
 * error, and a guest that is moved to another VM in the middle of L2.
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_nested_state [NAME...] */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/guest/harness/svm.h"

#define EFER 0xc0000080
#define SVME BIT64(12)
#define VM_HSAVE_PA 0xc0010117

#define GUEST_MODE KVM_STATE_NESTED_GUEST_MODE
#define RUN_PENDING KVM_STATE_NESTED_RUN_PENDING
#define GIF_SET KVM_STATE_NESTED_GIF_SET

struct nested {
	struct kvm_nested_state hdr;
	struct vmcb image;
};
_Static_assert(sizeof(struct nested) == 0x1080, "KVM's size");

/* L2 tells the outside how far it is by ports that L1 does not intercept. */
CODE64(steps, "mov $1, %eax\n out %al, $0x10\n inc %eax\n out %al, $0x11\n inc %eax\n"
	" out %al, $0x12\n"
	" mov %eax, %ebx\n vmmcall\n hlt");

static int get(struct guest_cpu *c, struct nested *n, u32 capacity)
{
	memset(n, 0xa5, sizeof(*n));
	n->hdr.size = capacity;
	return ioctl(c->fd, KVM_GET_NESTED_STATE, n) ? errno : 0;
}

static int set(struct guest_cpu *c, const struct nested *n)
{
	return ioctl(c->fd, KVM_SET_NESTED_STATE, n) ? errno : 0;
}

static struct nested state_of(struct guest_cpu *c)
{
	struct nested n;

	if (get(c, &n, sizeof(n)))
		test_die("KVM_GET_NESTED_STATE: %s", strerror(errno));
	return n;
}

/* Stopped inside L2, at its first OUT. */
static struct svm_guest in_l2(void)
{
	struct svm_guest s = svm_with(steps);
	struct stop st = svm_run(&s);

	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x10);
	cpu_complete(s.c);
	return s;
}

/* L2's remaining way, back in L1 at the end. */
static void finish(struct svm_guest *s, u32 next)
{
	struct stop st;

	for (u32 port = next; port <= 0x12; port++) {
		st = svm_run(s);
		CHECK_STOP(st, ST_OUT);
		CHECK_EQ(st.port, port);
		CHECK_EQ(st.val, port - 0xf);
	}
	st = SVM_EXITS(s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rax, G_VMCB);
	CHECK_EQ(st.r.rsp, G_STACK);
	CHECK_EQ(st.r.rbx, 3);
	CHECK_EQ(s->save->rax, 3);
	CHECK(cpu_msr(s->c, EFER) & SVME);
}

T(capability, "KVM_CAP_NESTED_STATE is the size of header and page")
{
	struct guest *g = guest_new(M_LONG);

	CHECK_EQ(ioctl(g->sys, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE), 0x1080);
	CHECK_EQ(ioctl(g->vm, KVM_CHECK_EXTENSION, KVM_CAP_NESTED_STATE), 0x1080);
}

T(get_outside, "get outside L2: 128 bytes are enough, less is E2BIG with the size needed")
{
	struct svm_guest s = svm_with(steps);
	static const u8 zero[120];
	struct nested n;

	CHECK_EQ(get(s.c, &n, 128), 0);
	CHECK_EQ(n.hdr.size, 128);
	CHECK_EQ(n.hdr.format, KVM_STATE_NESTED_FORMAT_SVM);
	CHECK_EQ(n.hdr.flags, GIF_SET);
	CHECK(!memcmp(n.hdr.hdr.pad, zero, sizeof(zero)));
	CHECK_EQ(*(u8 *)&n.image, 0xa5);
	CHECK_EQ(get(s.c, &n, sizeof(n)), 0);
	CHECK_EQ(n.hdr.size, 128);
	for (u32 i = 0; i < 2; i++) {
		CHECK_EQ(get(s.c, &n, i ? 127 : 0), E2BIG);
		CHECK_EQ(n.hdr.size, 128);
		CHECK_EQ(n.hdr.flags, 0xa5a5);
	}
	CHECK_EQ(ioctl(s.c->fd, KVM_GET_NESTED_STATE, NULL), -1);
	CHECK_EQ(errno, EFAULT);
	CHECK_EQ(ioctl(s.c->fd, KVM_SET_NESTED_STATE, NULL), -1);
	CHECK_EQ(errno, EFAULT);
}

T(get_inside, "get inside L2: flags, VMCB address, L1's control area and L1's registers")
{
	struct svm_guest s = svm_with(steps);
	struct kvm_regs l1 = cpu_regs(s.c);
	struct kvm_sregs l1s = cpu_sregs(s.c);
	struct stop st;
	struct nested n;

	s.ctl->tsc_offset = 0x1234567;
	s.ctl->int_vector = 0x77;
	svm_want(&s, SVM_I_CPUID);
	s.save->cr4 |= BIT64(2);
	st = svm_run(&s);
	CHECK_EQ(st.port, 0x10);
	CHECK_EQ(get(s.c, &n, 0x107f), E2BIG);
	CHECK_EQ(n.hdr.size, 0x1080);
	CHECK_EQ(get(s.c, &n, 128), E2BIG);
	CHECK_EQ(n.hdr.size, 0x1080);
	CHECK_EQ(get(s.c, &n, 0x1080), 0);
	CHECK_EQ(n.hdr.size, 0x1080);
	CHECK_EQ(n.hdr.flags, GUEST_MODE | GIF_SET);
	CHECK_EQ(n.hdr.hdr.svm.vmcb_pa, G_VMCB);
	CHECK_EQ(n.image.control.asid, 1);
	CHECK_EQ(n.image.control.tsc_offset, 0x1234567);
	CHECK_EQ(n.image.control.int_vector, 0x77);
	CHECK_EQ(n.image.control.iopm, G_IOPM);
	CHECK_EQ(n.image.control.msrpm, G_MSRPM);
	CHECK(vmcb_intercepts(&n.image.control, SVM_I_CPUID));
	CHECK(vmcb_intercepts(&n.image.control, SVM_I_VMRUN));
	CHECK(!vmcb_intercepts(&n.image.control, SVM_I_HLT));
	CHECK_EQ(n.image.save.rip, l1.rip + 3);
	CHECK_EQ(n.image.save.rsp, l1.rsp);
	CHECK_EQ(n.image.save.rax, G_VMCB);
	CHECK_EQ(n.image.save.cr0, l1s.cr0);
	CHECK_EQ(n.image.save.cr3, l1s.cr3);
	CHECK_EQ(n.image.save.cr4, l1s.cr4);
	CHECK_EQ(n.image.save.efer, l1s.efer);
	CHECK_EQ(n.image.save.cs.selector, l1s.cs.selector);
	CHECK_EQ(n.image.save.gdtr.base, l1s.gdt.base);
	CHECK_EQ(n.image.save.idtr.limit, l1s.idt.limit);
	CHECK_EQ(cpu_sregs(s.c).cr4, l1s.cr4 | BIT64(2));
}

T(next_rip, "nRIP in the state is that of L2's last exit, while no event of VMRUN's waits")
{
	struct svm_guest s = svm_with(steps);
	struct stop st;

	s.ctl->next_rip = 0x123456;
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	/* behind MOV and OUT */
	CHECK_EQ(state_of(s.c).image.control.next_rip, G_L2 + 7);
	cpu_complete(s.c);
	CHECK_EQ(state_of(s.c).image.control.next_rip, G_L2 + 7);
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(state_of(s.c).image.control.next_rip, st.r.rip + 2);
}

T(gif, "GIF is kept on its own, with and without EFER.SVME")
{
	struct svm_guest s = svm_with(steps);
	struct nested n = state_of(s.c);

	for (u32 i = 0; i < 4; i++) {
		if (i == 2)
			cpu_set_msr(s.c, EFER, cpu_msr(s.c, EFER) & ~SVME);
		n.hdr.flags = i & 1 ? GIF_SET : 0;
		CHECK_EQ(set(s.c, &n), 0);
		CHECK_EQ(state_of(s.c).hdr.flags, n.hdr.flags);
	}
}

/* Every error leaves the vCPU inside L2, where it was. */
T(errors, "set: each row of the table of errors")
{
	struct svm_guest s = in_l2();
	const struct nested good = state_of(s.c);
	struct nested n, now, *cut;
	void *page;

#define FAILS(change, e) \
	do { \
		n = good; \
		change; \
		if (!CHECK_EQ(set(s.c, &n), e)) \
			printf("# ... %s\n", #change); \
		now = state_of(s.c); \
		CHECK(!memcmp(&now, &good, sizeof(now))); \
	} while (0)
	struct vmcb_control *ctl = &n.image.control;
	struct vmcb_save *l1 = &n.image.save;

	/* header */
	FAILS(n.hdr.size = 127, EINVAL);
	FAILS(n.hdr.size = 0, EINVAL);
	for (u32 bit = 4; bit < 16; bit++)
		if (bit != 8)
			FAILS(n.hdr.flags |= BIT(bit), EINVAL);
	FAILS(n.hdr.flags = RUN_PENDING | GIF_SET, EINVAL);
	FAILS(n.hdr.format = KVM_STATE_NESTED_FORMAT_VMX, EINVAL);
	FAILS(n.hdr.format = 2, EINVAL);
	FAILS(n.hdr.flags |= KVM_STATE_NESTED_EVMCS, EINVAL);
	FAILS(n.hdr.flags |= KVM_STATE_NESTED_MTF_PENDING, EINVAL);
	FAILS(n.hdr.hdr.svm.vmcb_pa |= 8, EINVAL);
	FAILS(n.hdr.hdr.svm.vmcb_pa = ~0ull, EINVAL);
	FAILS(n.hdr.hdr.svm.vmcb_pa = BIT64(52), EINVAL);
	FAILS(n.hdr.size = 0x107f, EINVAL);
	FAILS(n.hdr.size = 128, EINVAL);
	/* control area */
	FAILS(ctl->asid = 0, EINVAL);
	FAILS(vmcb_clear_intercept(ctl, SVM_I_VMRUN), EINVAL);
	FAILS(ctl->msrpm = BIT64(52), EINVAL);
	FAILS(ctl->iopm = BIT64(52), EINVAL);
	FAILS((ctl->misc_ctl = 1, ctl->ncr3 = BIT64(52)), EINVAL);
	FAILS(ctl->int_ctl = SVM_V_NMI_ENABLE, EINVAL);
	FAILS(ctl->event_inj = 0x80000302, EINVAL);
	/* L1's registers */
	FAILS(l1->cr0 &= ~BIT64(31), EINVAL);
	FAILS(l1->cr0 &= ~BIT64(0), EINVAL);
	FAILS(l1->rflags |= BIT64(17), EINVAL);
	FAILS(l1->efer &= ~SVME, EINVAL);
	FAILS((l1->efer &= ~BIT64(8), l1->cs.attrib = 0xc9b), EINVAL);
	FAILS(l1->efer |= BIT64(63), EINVAL);
	FAILS(l1->cr0 |= BIT64(29), EINVAL);
	FAILS(l1->cr0 |= BIT64(32), EINVAL);
	FAILS(l1->cr3 |= BIT64(52), EINVAL);
	FAILS(l1->cr4 |= BIT64(31), EINVAL);
	FAILS(l1->cr4 &= ~BIT64(5), EINVAL);
	FAILS(l1->dr6 |= BIT64(32), EINVAL);
	FAILS(l1->dr7 |= BIT64(32), EINVAL);
	FAILS(l1->cs.attrib |= 0x400, EINVAL);
	/* The header is there, the image is not. */
	page = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	mprotect((u8 *)page + 0x1000, 0x1000, PROT_NONE);
	cut = (struct nested *)(void *)((u8 *)page + 0x1000 - 128);
	memcpy(cut, &good, 128);
	CHECK_EQ(set(s.c, cut), EFAULT);
	now = state_of(s.c);
	CHECK(!memcmp(&now, &good, sizeof(now)));
	/* Getting into it: the size is readable, the rest is not writable. */
	CHECK_EQ(ioctl(s.c->fd, KVM_GET_NESTED_STATE, cut), -1);
	CHECK_EQ(errno, EFAULT);
	munmap(page, 0x2000);
	finish(&s, 0x11);
}

T(without_svme, "set without EFER.SVME: nothing but GIF")
{
	struct svm_guest s = in_l2();
	struct nested n = state_of(s.c), now;
	struct guest *g = guest_new(M_LONG);
	static const u16 flags[] = { GUEST_MODE, GUEST_MODE | GIF_SET,
				     GUEST_MODE | RUN_PENDING | GIF_SET };

	for (u32 i = 0; i < ARRAY_SIZE(flags); i++) {
		n.hdr.flags = flags[i];
		CHECK_EQ(set(cpu0(g), &n), EINVAL);
		now = state_of(cpu0(g));
		CHECK_EQ(now.hdr.flags, GIF_SET);
	}
}

T(l2_cr0, "set: L2's own CR0 must be one that VMRUN accepts")
{
	/* KVM_SET_SREGS refuses NW without CD, so the registers cannot become so: what is
	 * tested is that CD with NW, which is legal, goes through. */
	struct svm_guest s = in_l2();
	struct nested n = state_of(s.c);

	WITH_SREGS(s.c, sr)
		sr.cr0 |= BIT64(29) | BIT64(30);
	CHECK_EQ(set(s.c, &n), 0);
	finish(&s, 0x11);
}

T(again, "set what was got, in the same vCPU: L2 goes on")
{
	struct svm_guest s = in_l2();
	struct nested n = state_of(s.c), now;

	for (u32 i = 0; i < 3; i++) {
		CHECK_EQ(set(s.c, &n), 0);
		now = state_of(s.c);
		CHECK(!memcmp(&n, &now, sizeof(n)));
	}
	finish(&s, 0x11);
}

T(leave, "set without guest mode: L1 goes on behind VMRUN, the VMCB is not written")
{
	struct svm_guest s = in_l2();
	struct nested n = state_of(s.c);
	struct stop st;

	s.ctl->exit_code = 0x1234;
	n.hdr.flags = GIF_SET;
	n.hdr.size = 128;
	CHECK_EQ(set(s.c, &n), 0);
	CHECK_EQ(state_of(s.c).hdr.flags, GIF_SET);
	CHECK_EQ(state_of(s.c).hdr.hdr.svm.vmcb_pa, 0);
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, PORT_L1);
	CHECK_EQ(s.ctl->exit_code, 0x1234);
}

T(run_flags, "kvm_run.flags say which of the two has exited")
{
	struct svm_guest s = in_l2();

	CHECK_EQ(ioctl(s.g->vm, KVM_CHECK_EXTENSION, 238), 1);	/* KVM_CAP_X86_GUEST_MODE */
	CHECK_EQ(s.c->run->flags, 4);
	finish(&s, 0x11);
	CHECK_EQ(s.c->run->flags, 0);
}

T(guest_mode_stat, "the counter guest_mode follows L2 that an ioctl enters or leaves")
{
	struct svm_guest s = in_l2();
	struct kvm_sregs sr = cpu_sregs(s.c), off = sr;
	struct nested n = state_of(s.c), out = n;

	CHECK_EQ(cpu_counter(s.c, "guest_mode"), 1);
	out.hdr.flags = GIF_SET;
	out.hdr.size = 128;
	CHECK_EQ(set(s.c, &out), 0);
	CHECK_EQ(cpu_counter(s.c, "guest_mode"), 0);
	cpu_set_sregs(s.c, &sr);
	CHECK_EQ(set(s.c, &n), 0);
	CHECK_EQ(cpu_counter(s.c, "guest_mode"), 1);
	/* Without EFER.SVME there is no guest mode (docs/kvm-svm.md 4.12). */
	off.efer &= ~SVME;
	cpu_set_sregs(s.c, &off);
	CHECK_EQ(cpu_counter(s.c, "guest_mode"), 0);
	cpu_set_sregs(s.c, &sr);
	CHECK_EQ(set(s.c, &n), 0);
	CHECK_EQ(cpu_counter(s.c, "guest_mode"), 1);
	cpu_set_msr(s.c, EFER, sr.efer & ~SVME);
	CHECK_EQ(cpu_counter(s.c, "guest_mode"), 0);
}

/* Another VM with the same memory, and the state in the documented order. */
static struct svm_guest move(struct svm_guest *from, const struct nested *n)
{
	static const u32 msrs[] = { VM_HSAVE_PA, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000102 };
	struct guest *g = guest_new(M_LONG);
	struct svm_guest to = { .g = g, .c = cpu0(g), .vmcb = (void *)(g->ram + G_VMCB) };
	struct kvm_sregs sr = cpu_sregs(from->c);
	struct kvm_regs r = cpu_regs(from->c);
	struct kvm_vcpu_events ev;

	to.ctl = &to.vmcb->control;
	to.save = &to.vmcb->save;
	memcpy(g->ram, from->g->ram, G_RAM_SIZE);
	vcpu_ioctl(from->c, KVM_GET_VCPU_EVENTS, &ev, "KVM_GET_VCPU_EVENTS");
	cpu_set_sregs(to.c, &sr);
	CHECK_EQ(set(to.c, n), 0);
	cpu_set_regs(to.c, &r);
	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++)
		cpu_set_msr(to.c, msrs[i], cpu_msr(from->c, msrs[i]));
	vcpu_ioctl(to.c, KVM_SET_VCPU_EVENTS, &ev, "KVM_SET_VCPU_EVENTS");
	return to;
}

T(migrate, "moved to another VM in the middle of L2")
{
	struct svm_guest a = in_l2(), b;
	struct nested n = state_of(a.c), now;
	struct stop st;

	b = move(&a, &n);
	now = state_of(b.c);
	CHECK(!memcmp(&n, &now, sizeof(n)));
	st = svm_run(&b);
	CHECK_EQ(st.port, 0x11);
	cpu_complete(b.c);
	n = state_of(b.c);
	a = move(&b, &n);
	finish(&a, 0x12);
	/* L1 can use it. */
	svm_rewind(&a);
	st = svm_run(&a);
	CHECK_EQ(st.port, 0x10);
}

T(migrate_npt, "... with nested paging")
{
	struct svm_guest a = svm_with(steps), b;
	struct nested n;
	struct stop st;

	svm_npt(&a);
	st = svm_run(&a);
	CHECK_EQ(st.port, 0x10);
	cpu_complete(a.c);
	n = state_of(a.c);
	CHECK_EQ(n.image.control.ncr3, G_NPT);
	b = move(&a, &n);
	finish(&b, 0x11);
}

/* -- what only KVM_RUN can see -- */

#define DEBUGCTL 0x1d9
T(lbr, "with LBRV the image holds L1's records, the MSRs are L2's")
{
	struct svm_guest a = svm_with(steps), b;
	struct nested n;
	struct stop st;

	/* DEBUGCTL.BTF does nothing here, and LBR would record L1's loop */
	for (u32 i = 0; i < 5; i++)
		cpu_set_msr(a.c, DEBUGCTL + i + !!i, i ? 0x1000 + i : 2);
	a.ctl->misc_ctl2 = SVM_LBRV_ENABLE;
	a.save->br_from = 0x2001;
	st = svm_run(&a);
	CHECK_STOP(st, ST_OUT);
	cpu_complete(a.c);
	n = state_of(a.c);
	CHECK_EQ(n.image.save.dbgctl, 2);
	CHECK_EQ(n.image.save.br_from, 0x1001);
	CHECK_EQ(n.image.save.last_excp_to, 0x1004);
	b = move(&a, &n);
	cpu_set_msr(b.c, 0x1db, cpu_msr(a.c, 0x1db));
	CHECK_EQ(cpu_msr(b.c, 0x1db), 0x2001);
	finish(&b, 0x11);
	CHECK_EQ(b.save->br_from, 0x2001);
	CHECK_EQ(b.save->dbgctl, 0);
	for (u32 i = 0; i < 5; i++)
		CHECK_EQ(cpu_msr(b.c, DEBUGCTL + i + !!i), i ? 0x1000 + i : 2);
}

T(vmcb_elsewhere, "a state whose VMCB is not memory can be set; its #VMEXIT is a shutdown")
{
	struct svm_guest s = in_l2();
	struct nested n = state_of(s.c);
	struct stop st;

	n.hdr.hdr.svm.vmcb_pa = G_RAM_SIZE;
	CHECK_EQ(set(s.c, &n), 0);
	for (u32 port = 0x11; port <= 0x12; port++) {
		st = svm_run(&s);
		CHECK_STOP(st, ST_OUT);
		CHECK_EQ(st.port, port);
	}
	st = svm_run(&s);
	CHECK_STOP(st, ST_SHUTDOWN);
}

/* In L2, with an MSR map where there is no memory. */
static struct nested without_msrpm(struct svm_guest *s)
{
	struct nested n = state_of(s->c);

	vmcb_set_intercept(&n.image.control, SVM_I_MSR);
	n.image.control.msrpm = 0x40000000;
	CHECK_EQ(set(s->c, &n), 0);
	return n;
}

T(msrpm_gone, "an MSR map without memory is an internal error of KVM_RUN, until it is there")
{
	struct svm_guest s = in_l2();
	struct nested n = without_msrpm(&s);
	struct stop st;

	for (u32 i = 0; i < 3; i++) {
		st = svm_run(&s);
		CHECK_STOP(st, ST_INTERNAL);
		CHECK_EQ(st.err, KVM_INTERNAL_ERROR_EMULATION);
		CHECK_EQ(s.c->run->internal.ndata, 0);
	}
	n.image.control.msrpm = G_MSRPM;
	CHECK_EQ(set(s.c, &n), 0);
	finish(&s, 0x11);
}

T(msrpm_left, "... and forgotten when L2 is left")
{
	struct svm_guest s = in_l2();
	struct nested n = without_msrpm(&s);
	struct stop st;

	n.hdr.flags = GIF_SET;
	CHECK_EQ(set(s.c, &n), 0);
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, PORT_L1);
}

/* L2 in PAE mode stops at its first OUT. */
CODE32(pae_steps, "mov $1, %eax\n out %al, $0x10\n inc %eax\n out %al, $0x11\n vmmcall\n hlt");
#define PDPT G_SVM_DATA
#define PD (G_SVM_DATA + 0x1000)

static struct svm_guest in_pae(void)
{
	struct svm_guest s = svm_with(pae_steps);
	struct stop st;

	for (u32 i = 0; i < 4; i++)
		*g64(s.g, PDPT + 8 * i) = (PD + 0x1000 * i) | 1;
	for (u32 i = 0; i < 2048; i++)
		*g64(s.g, PD + 8 * i) = (u64)i << 21 | 0x83;
	s.save->efer = SVME;
	s.save->cs.attrib = 0xc9b;
	s.save->cr3 = PDPT;
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	cpu_complete(s.c);
	return s;
}

T(pdptes, "bad PAE page-directory-pointer entries too, unless KVM_SET_SREGS2 brought good ones")
{
	struct svm_guest s = in_pae();
	struct nested n = state_of(s.c);
	struct kvm_sregs2 sr;
	struct stop st;

	vcpu_ioctl(s.c, KVM_GET_SREGS2, &sr, "KVM_GET_SREGS2");
	CHECK_EQ(sr.flags, KVM_SREGS2_FLAGS_PDPTRS_VALID);
	CHECK_EQ(sr.pdptrs[0], PD | 1);
	CHECK_EQ(set(s.c, &n), 0);
	*g64(s.g, PDPT + 8) |= 2;
	st = svm_run(&s);
	CHECK_STOP(st, ST_INTERNAL);
	CHECK_EQ(st.err, KVM_INTERNAL_ERROR_EMULATION);
	vcpu_ioctl(s.c, KVM_SET_SREGS2, &sr, "KVM_SET_SREGS2");
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x11);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
}

/* -- events -- */

T(run_pending, "an image with RUN_PENDING and EVENTINJ: the event is delivered first")
{
	struct svm_guest s = in_l2();
	struct nested n = state_of(s.c), now;
	struct stop st;

	n.hdr.flags |= RUN_PENDING;
	n.image.control.event_inj = 0x80000306;
	CHECK_EQ(set(s.c, &n), 0);
	now = state_of(s.c);
	CHECK_EQ(now.hdr.flags, GUEST_MODE | RUN_PENDING | GIF_SET);
	CHECK_EQ(now.image.control.event_inj, 0x80000306);
	st = svm_run(&s);
	CHECK_EXC(st, 6, -1);
	now = state_of(s.c);
	CHECK_EQ(now.hdr.flags, GUEST_MODE | GIF_SET);
	CHECK_EQ(now.image.control.event_inj, 0);
}

T(not_twice, "an event that was delivered before the state was taken is not delivered again")
{
	struct svm_guest a = svm_with(steps), b;
	struct nested n;
	struct stop st;

	a.ctl->event_inj = 0x80000306;
	st = svm_run(&a);
	CHECK_EXC(st, 6, -1);
	WITH_REGS(a.c, r) {
		r.rip = G_L2;
		r.rsp = G_L2_STACK;
	}
	n = state_of(a.c);
	b = move(&a, &n);
	st = svm_run(&b);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x10);
}

T(virtual_irq, "a virtual interrupt that waits moves along")
{
	struct svm_guest a = svm_with(steps), b;
	struct nested n;
	struct stop st;

	a.ctl->int_ctl = SVM_V_IRQ | SVM_V_INTR_MASKING | 15u << SVM_V_PRIO_SHIFT;
	a.ctl->int_vector = 0x55;
	st = svm_run(&a);
	CHECK_EQ(st.port, 0x10);
	cpu_complete(a.c);
	n = state_of(a.c);
	CHECK(n.image.control.int_ctl & SVM_V_IRQ);
	b = move(&a, &n);
	WITH_REGS(b.c, r)
		r.rflags |= BIT64(9);
	st = svm_run(&b);
	CHECK_EXC(st, 0x55, -1);
	n = state_of(b.c);
	CHECK(!(n.image.control.int_ctl & SVM_V_IRQ));
}

T(tsc, "L1's TSC offset is L1's again after a move out of L2")
{
	struct svm_guest a = svm_with(steps), b;
	struct nested n;
	struct stop st;
	u64 before, after;

	a.ctl->tsc_offset = BIT64(45);
	st = svm_run(&a);
	CHECK_EQ(st.port, 0x10);
	cpu_complete(a.c);
	n = state_of(a.c);
	b = move(&a, &n);
	before = cpu_msr(b.c, 0x10);
	finish(&b, 0x11);
	after = cpu_msr(b.c, 0x10);
	/* KVM_GET_MSRS shows L1's TSC whoever runs. */
	CHECK(before < BIT64(45));
	CHECK(after > before && after - before < BIT64(40));
}
