/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_smm.c - SMIs for who runs guests of its own: out of guest mode, and back into it
 * (APM2 15.22, docs/kvm-svm.md 4.11).
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_smm [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/smm.h"
#include "tests/guest/harness/svm.h"

#define EFER_SVME 0x1000
#define MODE_FLAGS 0x5	/* kvm_run.flags: SMM 1, GUEST_MODE 4 */

CODE64(l2, "nop\n out %al, $0x50\n l2_1: inc %ebx\n vmmcall");
LABEL(l2_1);
CODE16(h_out, "out %al, $0x51\n rsm");

struct world {
	struct svm_guest s;
	struct smm m;
};

static struct world world_with(const u8 *code, u64 len)
{
	struct world w = { .s = svm_new(M_LONG, GUEST_IRQCHIP, code, len) };

	w.m = smm_attach(w.s.g);
	smm_handler(&w.m, h_out);
	return w;
}

static void world_free(struct world *w)
{
	smm_free(&w->m);
}

/* An SMI behind L2's OUT; the handler stands at its own. */
static struct world in_smm(void)
{
	struct world w = world_with(l2_b, LEN(l2));
	struct stop st = svm_run(&w.s);

	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x50);
	WITH_REGS(w.s.c, r)
		r.rbx = 5, r.r15 = 0xfedcba9876543210;
	smm_smi(w.s.c);
	st = cpu_run(w.s.c);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x51);
	CHECK_EQ(w.s.c->run->flags & MODE_FLAGS, 1);
	return w;
}

T(out_and_back,
  "an SMI out of L2: its registers in SMRAM, L1's in the host save area; RSM goes back")
{
	struct world w = in_smm();
	struct vmcb_save *host = (void *)(w.s.g->ram + G_HSAVE + 0x400);
	struct kvm_nested_state n = { .size = sizeof(n) };
	struct stop st;

	CHECK_EQ(smm_get(&w.m, 0xfed8, 8), 1);
	CHECK_EQ(smm_get(&w.m, 0xfee0, 8), G_VMCB);
	CHECK_EQ(smm_get(&w.m, 0xff78, 8), AT_L2(l2, l2_1));
	CHECK_EQ(smm_get(&w.m, 0xffe0, 8), 5);
	CHECK_EQ(smm_get(&w.m, 0xff80, 8), 0xfedcba9876543210);
	CHECK_EQ(smm_get(&w.m, 0xfed0, 8) & EFER_SVME, EFER_SVME);
	CHECK_EQ(w.s.ctl->exit_code, 0xf0000000);
	CHECK(host->rip >= G_CODE && host->rip < G_CODE + 0x100);
	CHECK_EQ(host->cr3, G_PT);
	vcpu_ioctl(w.s.c, KVM_GET_NESTED_STATE, &n, "KVM_GET_NESTED_STATE");
	CHECK_EQ(n.flags, KVM_STATE_NESTED_GIF_SET);
	smm_put(&w.m, 0xffe8, 8, 0x7777);	/* RDX */
	st = cpu_run(w.s.c);
	CHECK_EXIT(&w.s, st, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx, 6);
	CHECK_EQ(st.r.rdx, 0x7777);
	CHECK_EQ(st.r.r15, 0xfedcba9876543210);
	world_free(&w);
}

T(refused, "RSM into a guest mode that VMRUN would not enter is a shutdown, of L1")
{
	for (u32 i = 0; i < 5; i++) {
		struct world w = in_smm();
		struct vmcb_save *host = (void *)(w.s.g->ram + G_HSAVE + 0x400);
		struct stop st;

		svm_want(&w.s, SVM_I_SHUTDOWN);
		switch (i) {
		case 0:	/* no memory there */
			smm_put(&w.m, 0xfee0, 8, G_MMIO);
			break;
		case 1:
			smm_put(&w.m, 0xfed0, 8, smm_get(&w.m, 0xfed0, 8) & ~(u64)EFER_SVME);
			break;
		case 2:	/* VMRUN is not intercepted */
			w.s.ctl->intercept[4] &= ~1u;
			break;
		case 3:	/* L1 has no paging */
			host->cr0 &= ~(1ull << 31);
			break;
		case 4:	/* L2's own registers */
			smm_put(&w.m, 0xff58, 8, smm_get(&w.m, 0xff58, 8) | 1ull << 40);
			break;
		}
		st = cpu_run(w.s.c);
		CHECK_STOP(st, ST_SHUTDOWN);
		CHECK_EQ(w.s.c->run->flags & MODE_FLAGS, 0);
		world_free(&w);
	}
}

T(nested_state, "in SMM KVM_SET_NESTED_STATE takes no guest mode")
{
	struct world w = in_smm();
	static u8 buf[128 + 4096] __attribute__((aligned(8)));
	struct kvm_nested_state *n = (void *)buf;

	n->size = sizeof(buf);
	n->format = KVM_STATE_NESTED_FORMAT_SVM;
	n->flags = KVM_STATE_NESTED_GIF_SET | KVM_STATE_NESTED_GUEST_MODE;
	n->hdr.svm.vmcb_pa = G_VMCB;
	WITH_SREGS(w.s.c, s)
		s.efer |= EFER_SVME;
	CHECK_EQ(ioctl(w.s.c->fd, KVM_SET_NESTED_STATE, n), -1);
	CHECK_EQ(errno, EINVAL);
	world_free(&w);
}

T(events_leave, "KVM_SET_VCPU_EVENTS that changes smm leaves guest mode")
{
	struct world w = world_with(l2_b, LEN(l2));
	struct stop st = svm_run(&w.s);
	struct kvm_vcpu_events e = smm_events(w.s.c);
	struct kvm_nested_state n = { .size = sizeof(n) };

	CHECK_EQ(st.port, 0x50);
	CHECK_EQ(w.s.c->run->flags & MODE_FLAGS, 4);
	e.smi.smm = 1;
	vcpu_ioctl(w.s.c, KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
	vcpu_ioctl(w.s.c, KVM_GET_NESTED_STATE, &n, "KVM_GET_NESTED_STATE");
	CHECK_EQ(n.flags & KVM_STATE_NESTED_GUEST_MODE, 0);
	world_free(&w);
}

/* L1: after the exit GIF again, and tell. */
CODE64(l1_stgi, "vmrun %rax\n stgi\n ls_1: nop\n out %al, $0x60");
LABEL(ls_1);
T(intercepted, "an SMI that L1 intercepts exits, and is taken behind L1's STGI")
{
	struct world w = world_with(l2_b, LEN(l2));
	struct stop st;

	svm_want(&w.s, SVM_I_SMI);
	guest_load(w.s.g, G_CODE + 0x100, l1_stgi);
	WITH_REGS(w.s.c, r)
		r.rip = G_CODE + 0x100, r.rax = G_VMCB;
	st = cpu_run(w.s.c);
	CHECK_EQ(st.port, 0x50);
	smm_smi(w.s.c);
	st = cpu_run(w.s.c);
	CHECK_EQ(st.port, 0x51);
	CHECK_EQ(w.s.ctl->exit_code, SVM_EXIT_SMI);
	CHECK_EQ(w.s.save->rip, AT_L2(l2, l2_1));
	CHECK_EQ(smm_get(&w.m, 0xfed8, 8), 0);
	CHECK_EQ(smm_get(&w.m, 0xff78, 8), G_CODE + 0x100 + (u64)(ls_1 - l1_stgi_b));
	st = cpu_run(w.s.c);
	CHECK_EQ(st.port, 0x60);
	world_free(&w);
}

CODE64(gif_l1, "clgi\n out %al, $0x50\n nop\n stgi\n gl_1: out %al, $0x60");
LABEL(gl_1);
T(gif, "an SMI waits for GIF")
{
	struct world w = world_with(l2_b, LEN(l2));
	struct stop st;

	guest_load(w.s.g, G_CODE + 0x100, gif_l1);
	WITH_REGS(w.s.c, r)
		r.rip = G_CODE + 0x100;
	st = cpu_run(w.s.c);
	CHECK_EQ(st.port, 0x50);
	smm_smi(w.s.c);
	st = cpu_run(w.s.c);
	CHECK_EQ(st.port, 0x51);
	CHECK_EQ(smm_get(&w.m, 0xff78, 8), G_CODE + 0x100 + (u64)(gl_1 - gif_l1_b));
	world_free(&w);
}

CODE64(vmrun_in_smm, "vmrun %rax" DONE);
T(vmrun, "VMRUN in SMM is #UD")
{
	struct world w = world_with(l2_b, LEN(l2));
	struct kvm_sregs before = cpu_sregs(w.s.c);
	struct stop st;

	guest_load(w.s.g, G_CODE, vmrun_in_smm);
	smm_smi(w.s.c);
	st = cpu_run(w.s.c);
	CHECK_EQ(st.port, 0x51);
	cpu_complete(w.s.c);
	/* As a handler that has gone to long mode. */
	cpu_set_sregs(w.s.c, &before);
	WITH_REGS(w.s.c, r)
		r.rip = G_CODE, r.rax = G_VMCB, r.rsp = G_STACK;
	st = cpu_run(w.s.c);
	CHECK_EXC(st, 6, -1);
	CHECK_EQ(w.s.c->run->flags & MODE_FLAGS, 1);
	world_free(&w);
}
