/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/svm.c - L1, the VMCB, nested page tables. */
#include "tests/guest/harness/svm.h"

#define EFER 0xc0000080
#define VM_HSAVE_PA 0xc0010117

/* L1: RAX = the VMCB; all other registers go through VMRUN untouched. */
CODE64(l1, "l1_loop: vmrun %rax\n out %al, $0xf1\n jmp l1_loop");

static struct vmcb_seg seg(const struct kvm_segment *k)
{
	return (struct vmcb_seg){
		.selector = k->selector, .limit = k->limit, .base = k->base,
		.attrib = (u16)(k->type | k->s << 4 | k->dpl << 5 | k->present << 7 |
				k->avl << 8 | k->l << 9 | k->db << 10 | k->g << 11),
	};
}

void svm_rewind(struct svm_guest *s)
{
	struct kvm_sregs sr = cpu_sregs(s->c);

	memset(s->vmcb, 0, sizeof(*s->vmcb));
	s->save->es = seg(&sr.es);
	s->save->cs = seg(&sr.cs);
	s->save->ss = seg(&sr.ss);
	s->save->ds = seg(&sr.ds);
	s->save->gdtr = (struct vmcb_seg){ .base = sr.gdt.base, .limit = sr.gdt.limit };
	s->save->idtr = (struct vmcb_seg){ .base = sr.idt.base, .limit = sr.idt.limit };
	s->save->efer = sr.efer;
	s->save->cr0 = sr.cr0;
	s->save->cr3 = sr.cr3;
	s->save->cr4 = sr.cr4;
	s->save->dr6 = 0xffff0ff0;
	s->save->dr7 = 0x400;
	s->save->rflags = 2;
	s->save->rip = G_L2;
	s->save->rsp = G_L2_STACK;
	s->save->g_pat = 0x0007040600070406;
	s->ctl->asid = 1;
	s->ctl->iopm = G_IOPM;
	s->ctl->msrpm = G_MSRPM;
	svm_want(s, SVM_I_VMRUN);
	svm_want(s, SVM_I_VMMCALL);
}

struct svm_guest svm_new(enum mode m, u32 flags, const u8 *l2, u64 len)
{
	struct guest *g = guest_new_flags(m, flags);
	struct svm_guest s = { .g = g, .c = cpu0(g), .vmcb = (void *)(g->ram + G_VMCB) };

	if (!guest_has(g, 0x80000001, 2, 2))
		test_skip("no SVM");
	s.ctl = &s.vmcb->control;
	s.save = &s.vmcb->save;
	guest_load(g, G_CODE, l1);
	guest_write(g, G_L2, l2, (u32)len);
	if (flags & (GUEST_IRQCHIP | GUEST_SPLIT))
		guest_map_apic(g);
	cpu_set_msr(s.c, EFER, cpu_msr(s.c, EFER) | BIT64(12));
	cpu_set_msr(s.c, VM_HSAVE_PA, G_HSAVE);
	svm_rewind(&s);
	WITH_REGS(s.c, r)
		r.rax = G_VMCB;
	return s;
}

struct stop svm_run(struct svm_guest *s)
{
	return cpu_run(s->c);
}

u32 nested_flags(struct guest_cpu *c)
{
	static struct {
		struct kvm_nested_state hdr;
		u8 page[4096];
	} st;

	st.hdr.size = sizeof(st);
	vcpu_ioctl(c, KVM_GET_NESTED_STATE, &st, "KVM_GET_NESTED_STATE");
	return st.hdr.flags;
}

void svm_npt(struct svm_guest *s)
{
	u64 *pml4 = (u64 *)(void *)(s->g->ram + G_NPT), *pdpt = pml4 + 512, *pd = pdpt + 512,
	    *apic = pd + 512;

	memset(pml4, 0, 4 * 4096);
	pml4[0] = (G_NPT + 0x1000) | 7;
	pdpt[0] = (G_NPT + 0x2000) | 7;
	pdpt[3] = (G_NPT + 0x3000) | 7;
	for (u64 i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x87;
	apic[0xfee00000ull >> 21 & 511] = 0xfee00000 | 0x87;
	s->ctl->misc_ctl |= SVM_NP_ENABLE;
	s->ctl->ncr3 = G_NPT;
}

bool check_exit(const char *file, int line, const struct svm_guest *s, const struct stop *st,
		u64 code)
{
	if (st->kind != ST_OUT || st->port != PORT_L1) {
		test_fail(file, line, "stopped by %s, expected exit %llx", stop_text(st),
			  (unsigned long long)code);
		return false;
	}
	return check_eq(file, line, "exit_code", s->ctl->exit_code, code);
}
