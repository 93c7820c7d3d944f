/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_irq.c - interrupts and L2: GIF, INTR, NMI and INIT exits, virtual interrupts,
 * EVENTINJ, virtual NMIs (APM2 15.13, 15.17, 15.20, 15.21; docs/kvm-svm.md 4.8).
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_irq [NAME...] */
#include "tests/guest/harness/svm.h"

#define VEC 0x55
#define VVEC 0x66
#define SELF_NMI "movl $0x44400, 0x300(%rbp)\n mov 0x20(%rbp), %ecx\n"

/* -- EVENTINJ -- */
CODE64(nop, "nop\n nop_1: vmmcall");
LABEL(nop_1);

static struct stop inject(struct svm_guest *s, u32 ev, u32 err)
{
	s->ctl->event_inj = ev;
	s->ctl->event_inj_err = err;
	return svm_run(s);
}

T(event_inj, "EVENTINJ: interrupt, NMI, exception with and without code, software interrupt")
{
	static const struct {
		u32 ev, err;
		u8 vec;
		s64 code;
		u64 rip;
	} x[] = {
		{ 0x80000055, 0, 0x55, -1, G_L2 },
		{ 0x80000202, 0, 2, -1, G_L2 },
		{ 0x80000300, 0, 0, -1, G_L2 },
		{ 0x80000b0d, 0x1234, 13, 0x1234, G_L2 },
		{ 0x80000b0e, 0x7, 14, 7, G_L2 },
		{ 0x80000306, 0, 6, -1, G_L2 },
		/* what an instruction raises returns to nRIP */
		{ 0x80000440, 0, 0x40, -1, G_L2 + 1 },
		{ 0x80000303, 0, 3, -1, G_L2 + 1 },
		{ 0x80000304, 0, 4, -1, G_L2 + 1 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = svm_with(nop);
		struct stop st;

		s.save->cr2 = 0x5000;
		s.ctl->next_rip = G_L2 + 1;
		/* Injected events are not intercepted, interrupts come with IF clear. */
		for (u32 n = 0; n < 32; n++)
			svm_want(&s, SVM_I_EXCP + n);
		svm_want(&s, SVM_I_NMI);
		svm_want(&s, SVM_I_INTR);
		svm_want(&s, SVM_I_INTN);
		st = inject(&s, x[i].ev, x[i].err);
		if (!CHECK_EXC(st, x[i].vec, x[i].code))
			printf("# event %x\n", x[i].ev);
		CHECK_EQ(st.rip, x[i].rip);
		if (x[i].vec == 14)
			CHECK_EQ(st.cr2, 0x5000);
		guest_free(s.g);
	}
}

T(event_inj_fault, "a fault in its delivery may be intercepted; EXITINTINFO has the event")
{
	struct svm_guest s = svm_with(nop);
	struct stop st;

	s.save->idtr.base = 0x7ff00000;
	svm_want(&s, SVM_I_EXCP + 14);
	st = inject(&s, 0x80000b0d, 0x77);
	CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 14);
	CHECK_EQ(s.ctl->exit_int_info, 0x80000b0d);
	CHECK_EQ(s.ctl->exit_int_info_err, 0x77);
	CHECK_EQ(s.ctl->event_inj, 0);
	CHECK_EQ(s.ctl->event_inj_err, 0);
	CHECK_EQ(s.save->rip, G_L2);
	s.ctl->event_inj_err = 0;
	st = inject(&s, 0x80000055, 0);
	CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 14);
	CHECK_EQ(s.ctl->exit_int_info, 0x80000055);
	s.ctl->next_rip = G_L2;
	st = inject(&s, 0x80000455, 0);
	CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 14);
	CHECK_EQ(s.ctl->exit_int_info, 0x80000455);
	st = inject(&s, 0x80000202, 0);
	CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 14);
	CHECK_EQ(s.ctl->exit_int_info, 0x80000202);
}

T(event_inj_df, "an injected exception and a contributory fault make #DF")
{
	struct svm_guest s = svm_with(nop);
	struct stop st;

	s.save->idtr.limit = 0;
	svm_want(&s, SVM_I_EXCP + 8);
	st = inject(&s, 0x80000b0d, 0);
	CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 8);
}

T(soft_dpl, "an injected software interrupt obeys the gate's DPL, #BP does not")
{
	struct svm_guest s = svm_with(nop);
	struct stop st;

	s.save->cs.attrib |= 0x60;
	s.save->ss.attrib |= 0x60;
	s.save->cs.selector = SEL_UCODE64;
	s.save->ss.selector = SEL_UDATA;
	s.save->cpl = 3;
	guest_gate(s.g, 0x40, SEL_CODE64, G_STUBS + 0x400, 0xe, 0, 0);
	guest_gate(s.g, 3, SEL_CODE64, G_STUBS + 0x30, 0xe, 0, 0);
	s.ctl->next_rip = G_L2 + 1;
	svm_want(&s, SVM_I_EXCP + 13);
	st = inject(&s, 0x80000440, 0);
	CHECK_EXIT(&s, st, SVM_EXIT_EXCP + 13);
	CHECK_EQ(s.ctl->exit_info_1, 0x40 * 8 + 2);
	st = inject(&s, 0x80000303, 0);
	CHECK_EXC(st, 3, -1);
}

/* -- GIF -- */
CODE64(l1_gif, G_APIC_ON "clgi\n sti\n" G_APIC_SELF "nop\n nop\n l1_gif_1: stgi\n l1_gif_2: nop\n"
	"nop" DONE);
CODE64(l1_nmi, G_APIC_ON "clgi\n" SELF_NMI "nop\n nop\n l1_nmi_1: stgi\n l1_nmi_2: nop\n nop" DONE);
LABEL(l1_gif_2);
LABEL(l1_nmi_2);
T(gif, "GIF = 0 holds interrupts and NMIs, STGI lets them in at once")
{
	struct guest *g = guest_apic(l1_gif);
	struct stop st;

	cpu_set_msr(cpu0(g), 0xc0000080, cpu_msr(cpu0(g), 0xc0000080) | BIT64(12));
	st = RUN_EXC(g, VEC, -1);
	CHECK_EQ(st.rip, AT(l1_gif, l1_gif_2));
	guest_free(g);
	g = guest_apic(l1_nmi);
	cpu_set_msr(cpu0(g), 0xc0000080, cpu_msr(cpu0(g), 0xc0000080) | BIT64(12));
	st = RUN_EXC(g, 2, -1);
	CHECK_EQ(st.rip, AT(l1_nmi, l1_nmi_2));
}

/* -- INTR -- */
CODE64(ipi, G_APIC_ON "ipi_0: " G_APIC_SELF "ipi_1: nop\n nop\n vmmcall");
CODE64(ipi_sti, G_APIC_ON G_APIC_SELF "sti\n ipi_sti_1: nop\n ipi_sti_2: nop\n vmmcall");
LABEL(ipi_sti_2);
T(intr, "INTR exit by L2's IF without V_INTR_MASKING; not acknowledged; VMRUN into a shadow")
{
	struct svm_guest s = svm_with_apic(ipi_sti);

	svm_want(&s, SVM_I_INTR);
	SVM_EXITS(&s, SVM_EXIT_INTR);
	CHECK_EQ(s.save->rip, AT_L2(ipi_sti, ipi_sti_2));
	CHECK_EQ(s.ctl->int_state & 1, 0);
	CHECK_EQ(s.ctl->exit_int_info, 0);
	CHECK_EQ(s.ctl->next_rip, 0);
	/* still pending: the next entry exits again, an exit does not wait for L2's shadow */
	s.ctl->int_state = 1;
	SVM_EXITS(&s, SVM_EXIT_INTR);
	CHECK_EQ(s.save->rip, AT_L2(ipi_sti, ipi_sti_2));
	CHECK_EQ(s.ctl->int_state & 1, 1);
}

T(intr_own, "without the intercept the interrupt is delivered through L2's IDT")
{
	struct svm_guest s = svm_with_apic(ipi_sti);
	struct stop st = svm_run(&s);

	CHECK_EXC(st, VEC, -1);
	CHECK_EQ(st.rip, AT_L2(ipi_sti, ipi_sti_2));
}

T(intr_masking, "V_INTR_MASKING: L1's IF decides, not L2's")
{
	struct svm_guest s = svm_with_apic(ipi);
	struct stop st;

	/* L1: IF = 0 */
	svm_want(&s, SVM_I_INTR);
	s.ctl->int_ctl = SVM_V_INTR_MASKING;
	s.save->rflags |= 0x200;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_INTR_MASKING, SVM_V_INTR_MASKING);
	guest_free(s.g);

	/* L1: IF = 1, L2: IF = 0 */
	s = svm_with_apic(ipi);
	svm_want(&s, SVM_I_INTR);
	s.ctl->int_ctl = SVM_V_INTR_MASKING;
	WITH_REGS(s.c, r)
		r.rflags |= 0x200;
	st = SVM_EXITS(&s, SVM_EXIT_INTR);
	/* L1 has IF set, but GIF clear: nothing is taken */
	CHECK_EQ(st.r.rflags & 0x200, 0x200);
	guest_free(s.g);
}

CODE64(nmi, G_APIC_ON SELF_NMI "nmi_1: nop\n nop\n vmmcall");
T(nmi_exit, "NMI exit; the NMI waits for L1's GIF")
{
	struct svm_guest s = svm_with_apic(nmi);
	struct stop st;

	svm_want(&s, SVM_I_NMI);
	st = SVM_EXITS(&s, SVM_EXIT_NMI);
	CHECK_EQ(s.ctl->exit_int_info, 0);
	st = SVM_EXITS(&s, SVM_EXIT_NMI);
	vmcb_clear_intercept(s.ctl, SVM_I_NMI);
	st = svm_run(&s);
	CHECK_EXC(st, 2, -1);
}

/* -- virtual interrupts -- */
CODE64(virq, "nop\n sti\n virq_1: nop\n virq_2: nop\n vmmcall");
LABEL(virq_1);
LABEL(virq_2);
static void v_irq(struct svm_guest *s, u32 prio)
{
	s->ctl->int_ctl |= SVM_V_IRQ | prio << SVM_V_PRIO_SHIFT;
	s->ctl->int_vector = VVEC;
}

T(virq, "V_IRQ is taken when L2's IF allows it, and clears")
{
	struct svm_guest s = svm_with(virq);
	struct stop st;

	v_irq(&s, 1);
	st = svm_run(&s);
	CHECK_EXC(st, VVEC, -1);
	CHECK_EQ(st.rip, AT_L2(virq, virq_2));
	/* at once when IF is set from the start */
	s = svm_with(virq);
	v_irq(&s, 1);
	s.save->rflags |= 0x200;
	st = svm_run(&s);
	CHECK_EXC(st, VVEC, -1);
	CHECK_EQ(st.rip, G_L2);
}

T(vintr, "VINTR exit at the window; V_IRQ stays")
{
	struct svm_guest s = svm_with(virq);

	v_irq(&s, 1);
	svm_want(&s, SVM_I_VINTR);
	SVM_EXITS(&s, SVM_EXIT_VINTR);
	CHECK_EQ(s.save->rip, AT_L2(virq, virq_2));
	CHECK_EQ(s.ctl->int_ctl & SVM_V_IRQ, SVM_V_IRQ);
	CHECK_EQ(s.ctl->int_vector, VVEC);
}

T(virq_done, "a V_IRQ that was taken is clear in the VMCB")
{
	struct svm_guest s = svm_with(virq);

	v_irq(&s, 1);
	guest_write(s.g, G_STUBS + VVEC * 16, "\x0f\x01\xd9", 3);
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, G_STUBS + VVEC * 16);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_IRQ, 0);
}

CODE64(tpr, "sti\n nop\n xor %eax, %eax\n mov %rax, %cr8\n tpr_1: nop\n vmmcall");
CODE64(tpr_up, "mov %cr8, %rbx\n mov $9, %eax\n mov %rax, %cr8\n vmmcall");
LABEL(tpr_1);
T(vtpr, "V_INTR_PRIO must exceed V_TPR, unless V_IGN_TPR; CR8 is V_TPR under V_INTR_MASKING")
{
	struct svm_guest s = svm_with(tpr);
	struct stop st;

	v_irq(&s, 5);
	s.ctl->int_ctl |= SVM_V_INTR_MASKING | 5;
	st = svm_run(&s);
	CHECK_EXC(st, VVEC, -1);
	CHECK_EQ(st.rip, AT_L2(tpr, tpr_1));
	guest_free(s.g);
	s = svm_with(tpr);
	v_irq(&s, 5);
	s.ctl->int_ctl |= SVM_V_INTR_MASKING | SVM_V_IGN_TPR | 5;
	s.save->rflags |= 0x200;
	st = svm_run(&s);
	CHECK_EXC(st, VVEC, -1);
	CHECK_EQ(st.rip, G_L2);
	guest_free(s.g);
	/* V_TPR is written back, the real TPR is not touched */
	s = svm_with(tpr_up);
	s.ctl->int_ctl |= SVM_V_INTR_MASKING | 3;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx, 3);
	CHECK_EQ(s.ctl->int_ctl & 0xff, 9);
	CHECK_EQ(cpu_sregs(s.c).cr8, 0);
	guest_free(s.g);
	s = svm_with(tpr_up);
	s.ctl->int_ctl |= 3;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx, 0);
	CHECK_EQ(s.ctl->int_ctl & 0xff, 9);
	CHECK_EQ(cpu_sregs(s.c).cr8, 9);
}

T(shadow_in, "INTERRUPT_SHADOW holds a virtual interrupt for one instruction")
{
	struct svm_guest s = svm_with(nop);
	struct stop st;

	v_irq(&s, 1);
	s.save->rflags |= 0x200;
	s.ctl->int_state = 1;
	st = svm_run(&s);
	CHECK_EXC(st, VVEC, -1);
	CHECK_EQ(st.rip, AT_L2(nop, nop_1));
}

CODE64(sti_hlt, "sti\n sti_hlt_1: hlt");
CODE64(sti_pf, "mov $0x7fff0000, %eax\n sti\n sti_pf_1: mov (%rax), %al");
LABEL(sti_hlt_1);
LABEL(sti_pf_1);
T(shadow_out, "INTERRUPT_SHADOW is set when the exit is of the instruction behind STI")
{
	struct svm_guest s = svm_with(sti_hlt);

	svm_want(&s, SVM_I_HLT);
	SVM_EXITS(&s, SVM_EXIT_HLT);
	CHECK_EQ(s.save->rip, AT_L2(sti_hlt, sti_hlt_1));
	CHECK_EQ(s.ctl->int_state, 1);
	s.ctl->int_state = 0;
	SVM_EXITS(&s, SVM_EXIT_HLT);
	CHECK_EQ(s.ctl->int_state, 0);
	guest_free(s.g);
	s = svm_with(sti_pf);
	svm_want(&s, SVM_I_EXCP + 14);
	SVM_EXITS(&s, SVM_EXIT_EXCP + 14);
	CHECK_EQ(s.save->rip, AT_L2(sti_pf, sti_pf_1));
	CHECK_EQ(s.ctl->int_state, 1);
}

/* -- virtual GIF (APM2 15.33.2) -- */
CODE64(vgif, "sti\n nop\n clgi\n nop\n stgi\n vgif_1: nop\n vmmcall");
LABEL(vgif_1);
T(vgif, "VGIF: STGI and CLGI in L2 act on V_GIF, which holds virtual interrupts")
{
	struct svm_guest s = svm_with(vgif);
	struct stop st;

	v_irq(&s, 1);
	s.ctl->int_ctl |= SVM_V_GIF_ENABLE;
	st = svm_run(&s);
	CHECK_EXC(st, VVEC, -1);
	CHECK_EQ(st.rip, AT_L2(vgif, vgif_1));
	guest_free(s.g);
	s = svm_with(vgif);
	s.ctl->int_ctl |= SVM_V_GIF_ENABLE;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_GIF, SVM_V_GIF);
	guest_free(s.g);
	s = svm_with(vgif);
	s.ctl->int_ctl |= SVM_V_GIF_ENABLE | SVM_V_GIF;
	svm_want(&s, SVM_I_STGI);
	st = SVM_EXITS(&s, SVM_EXIT_STGI);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_GIF, 0);
}

/* -- virtual NMI (APM2 15.21.10) -- */
CODE64(vnmi, "nop\n nop\n vmmcall");
CODE64(vnmi_handler, "add $1, %rbx\n iretq");
T(vnmi, "V_NMI_PENDING is delivered once, blocks until IRET")
{
	struct svm_guest s = svm_with(vnmi);
	struct stop st;

	svm_want(&s, SVM_I_NMI);
	s.ctl->int_ctl |= SVM_V_NMI_ENABLE | SVM_V_NMI_PENDING;
	st = svm_run(&s);
	CHECK_EXC(st, 2, -1);
	CHECK_EQ(st.rip, G_L2);
	guest_free(s.g);

	s = svm_with(vnmi);
	guest_write(s.g, G_STUBS + 2 * 16, vnmi_handler_b, (u32)LEN(vnmi_handler));
	svm_want(&s, SVM_I_NMI);
	s.ctl->int_ctl |= SVM_V_NMI_ENABLE | SVM_V_NMI_PENDING;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx, 1);
	CHECK_EQ(s.ctl->int_ctl & (SVM_V_NMI_PENDING | SVM_V_NMI_BLOCKING), 0);

	/* blocked: stays pending */
	s.save->rip = G_L2;
	s.ctl->int_ctl |= SVM_V_NMI_PENDING | SVM_V_NMI_BLOCKING;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.ctl->int_ctl & (SVM_V_NMI_PENDING | SVM_V_NMI_BLOCKING),
		 SVM_V_NMI_PENDING | SVM_V_NMI_BLOCKING);
	CHECK_EQ(st.r.rbx, 1);

	/* an injected NMI blocks virtual ones */
	s.save->rip = G_L2;
	s.ctl->int_ctl = SVM_V_NMI_ENABLE;
	guest_write(s.g, G_STUBS + 2 * 16, "\x0f\x01\xd9", 3);
	st = inject(&s, 0x80000202, 0);
	CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, G_STUBS + 2 * 16);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_NMI_BLOCKING, SVM_V_NMI_BLOCKING);
}

/* -- order: EVENTINJ before an INTR exit before a virtual interrupt -- */
T(order, "EVENTINJ is delivered, then a pending interrupt exits, before L2's first instruction")
{
	struct svm_guest s = svm_with_apic(ipi);
	struct stop st;

	/* leave an interrupt pending in the APIC */
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	s.save->rip = G_L2 + 0x100;
	s.save->rflags |= 0x200;
	s.ctl->int_ctl = SVM_V_INTR_MASKING;
	svm_want(&s, SVM_I_INTR);
	v_irq(&s, 1);
	WITH_REGS(s.c, r)
		r.rflags |= 0x200;
	st = inject(&s, 0x80000306, 0);
	CHECK_EXIT(&s, st, SVM_EXIT_INTR);
	CHECK_EQ(s.save->rip, G_STUBS + 6 * 16);
	CHECK_EQ(s.ctl->exit_int_info, 0);
	CHECK_EQ(s.ctl->int_ctl & SVM_V_IRQ, SVM_V_IRQ);
}

CODE64(halt, "sti\n hlt\n halt_1: nop\n vmmcall");
T(hlt_virq, "a HLT that is not intercepted ends by a virtual interrupt")
{
	struct svm_guest s = svm_new(M_LONG, GUEST_IRQCHIP, halt_b, LEN(halt));
	struct stop st;

	v_irq(&s, 1);
	st = svm_run(&s);
	CHECK_EXC(st, VVEC, -1);
}

CODE64(init, G_APIC_ON "movl $0x44500, 0x300(%rbp)\n nop\n nop\n vmmcall");
T(init_exit, "INIT exit; INIT is held until GIF is set")
{
	struct svm_guest s = svm_with_apic(init);

	svm_want(&s, SVM_I_INIT);
	SVM_EXITS(&s, SVM_EXIT_INIT);
}

CODE64(stgi, "stgi\n nop\n nop" DONE);
T(init_held, "an INIT that L1 intercepted resets the CPU when GIF is set")
{
	struct svm_guest s = svm_with_apic(init);
	struct kvm_sregs sr;
	struct stop st;

	svm_want(&s, SVM_I_INIT);
	st = SVM_EXITS(&s, SVM_EXIT_INIT);
	guest_load(s.g, G_CODE, stgi);
	WITH_REGS(s.c, r)
		r.rip = G_CODE;
	st = svm_run(&s);
	CHECK(st.kind != ST_DONE);
	sr = cpu_sregs(s.c);
	CHECK_EQ(sr.cs.base, 0xffff0000);
	CHECK_EQ(sr.efer, 0);
}

#define VM_CR 0xc0010114
#define R_INIT 2

T(init_redirected, "VM_CR.R_INIT: INIT is #SX(1), held while GIF is clear (APM2 15.28)")
{
	struct guest *g = guest_apic(init);
	struct svm_guest s;

	cpu_set_msr(cpu0(g), VM_CR, R_INIT);
	RUN_EXC(g, 30, 1);
	guest_free(g);

	s = svm_with_apic(init);
	svm_want(&s, SVM_I_INIT);
	cpu_set_msr(s.c, VM_CR, R_INIT);
	SVM_EXITS(&s, SVM_EXIT_INIT);
	guest_load(s.g, G_CODE, stgi);
	WITH_REGS(s.c, r)
		r.rip = G_CODE;
	RUN_EXC(s.g, 30, 1);
}

CODE64(init_hlt, G_APIC_ON "movl $0x44500, 0x300(%rbp)\n hlt");
T(init_redirected_l2, "... in L2 too, where L1 may intercept it; it ends a halt")
{
	struct svm_guest s = svm_with_apic(init);

	cpu_set_msr(s.c, VM_CR, R_INIT);
	svm_want(&s, SVM_I_EXCP + 30);
	SVM_EXITS(&s, SVM_EXIT_EXCP + 30);
	CHECK_EQ(s.ctl->exit_info_1, 1);

	struct guest *g = guest_apic(init_hlt);

	cpu_set_msr(cpu0(g), VM_CR, R_INIT);
	RUN_EXC(g, 30, 1);
}

T(init_plain, "an INIT that L1 does not intercept resets the CPU, L2 is gone")
{
	struct svm_guest s = svm_with_apic(init);
	struct kvm_sregs sr;
	struct stop st = svm_run(&s);

	CHECK(st.kind != ST_OUT);
	sr = cpu_sregs(s.c);
	CHECK_EQ(sr.cs.base, 0xffff0000);
	CHECK_EQ(sr.efer, 0);
}

CODE64(smi, G_APIC_ON "movl $0x44200, 0x300(%rbp)\n nop\n nop\n vmmcall");
T(smi_exit, "SMI exit; the SMI goes on waiting, for L1's STGI")
{
	struct svm_guest s = svm_with_apic(smi);
	struct kvm_vcpu_events e;

	svm_want(&s, SVM_I_SMI);
	SVM_EXITS(&s, SVM_EXIT_SMI);
	vcpu_ioctl(s.c, KVM_GET_VCPU_EVENTS, &e, "KVM_GET_VCPU_EVENTS");
	CHECK_EQ(e.smi.pending, 1);
}

/* L2: CLGI, the event to itself, and STGI. */
#define MIX(name, before, icr) CODE64(name, before "clgi\n" G_APIC_ON \
				      "movl $" #icr ", 0x300(%rbp)\n" \
	"sti\n nop\n nop\n stgi\n " #name "_1: nop\n vmmcall"); LABEL(name##_1)
MIX(mix_intr, "cli\n", 0x44055);
MIX(mix_nmi, "cli\n", 0x44400);
T(gif_in_l2, "without VGIF L2's CLGI and STGI are L1's GIF: an intercepted event waits for STGI")
{
	static const struct {
		const u8 *b, *e, *at;
		u32 number;
	} x[] = {
		{ mix_intr_b, mix_intr_e, mix_intr_1, SVM_I_INTR },
		{ mix_nmi_b, mix_nmi_e, mix_nmi_1, SVM_I_NMI },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = svm_new(M_LONG, GUEST_IRQCHIP, x[i].b, (u64)(x[i].e - x[i].b));

		svm_want(&s, x[i].number);
		SVM_EXITS(&s, x[i].number);
		CHECK_EQ(s.save->rip, G_L2 + (u64)(x[i].at - x[i].b));
		CHECK_EQ(s.save->rflags & 0x200, 0x200);
		guest_free(s.g);
	}
}

/* A timer of 10 ms, and HLT without IF. */
CODE64(hlt_intr, G_APIC_ON "movl $0x55, 0x320(%rbp)\n movl $11, 0x3e0(%rbp)\n"
	"movl $10000000, 0x380(%rbp)\n hi_0: hlt\n hi_1: vmmcall");
LABEL(hi_0);
LABEL(hi_1);
T(hlt_intr, "an intercepted interrupt ends L2's HLT, whatever its IF under V_INTR_MASKING")
{
	bool early;

	/* All again if the host has let 10 ms pass before the HLT. */
	do {
		struct svm_guest s = svm_with_apic(hlt_intr);

		WITH_REGS(s.c, r)
			r.rflags |= 0x200;
		svm_want(&s, SVM_I_INTR);
		s.ctl->int_ctl = SVM_V_INTR_MASKING;
		SVM_EXITS(&s, SVM_EXIT_INTR);
		early = s.save->rip == AT_L2(hlt_intr, hi_0);
		if (!early)
			CHECK_EQ(s.save->rip, AT_L2(hlt_intr, hi_1));
		guest_free(s.g);
	} while (early);
}

/* L2 takes the address out of APIC_BASE; L1 sends itself three interrupts. */
CODE64(base_l2, "mov $0x1b, %ecx\n rdmsr\n and $0xfff, %eax\n xor %edx, %edx\n wrmsr\n vmmcall");
CODE64(base_l1, "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n mov $0x80f, %ecx\n"
	"mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n mov $0x400000, %eax\n vmrun %rax\n stgi\n"
	" sti\n"
	"mov $0x83f, %ecx\n xor %edx, %edx\n mov $0x55, %eax\n wrmsr\n bl_1: nop\n hlt");
LABEL(bl_1);
T(apic_base_l2, "in x2APIC mode L2 may move L1's APIC page; its interrupts go on")
{
	struct svm_guest s = svm_with_apic(base_l2);
	struct stop st;

	guest_load(s.g, G_CODE, base_l1);
	svm_want(&s, SVM_I_MSR);
	st = svm_run(&s);
	CHECK_EXC(st, 0x55, -1);
	CHECK_EQ(st.rip, AT(base_l1, bl_1));
	CHECK_EQ(s.ctl->exit_code, SVM_EXIT_VMMCALL);
	CHECK_EQ(cpu_msr(s.c, 0x1b), 0xd00);
}

/* L1: no GIF, the event to itself, VMRUN, and tell. */
#define HELD(name, icr) CODE64(name, "clgi\n" G_APIC_ON "movl $" #icr ", 0x300(%rbp)\n" \
	"mov $0x400000, %eax\n vmrun\n out %al, $0xf1")
HELD(smi_l1, 0x44200);
HELD(init_l1, 0x44500);
CODE64(smi_gif, G_APIC_ON "clgi\n movl $0x44200, 0x300(%rbp)\n nop\n sg_1: stgi\n sg_2: nop\n"
			  " vmmcall");
LABEL(sg_2);
T(smi_held, "an SMI waits for GIF: of STGI in L2, of VMRUN, behind the event that VMRUN injects")
{
	struct svm_guest s = svm_with_apic(smi_gif);

	svm_want(&s, SVM_I_SMI);
	SVM_EXITS(&s, SVM_EXIT_SMI);
	CHECK_EQ(s.save->rip, AT_L2(smi_gif, sg_2));
	guest_free(s.g);
	for (int inject = 0; inject < 2; inject++) {
		s = svm_with_apic(nop);
		svm_want(&s, SVM_I_SMI);
		guest_load(s.g, G_CODE + 0x100, smi_l1);
		WITH_REGS(s.c, r)
			r.rip = G_CODE + 0x100;
		if (inject)
			s.ctl->event_inj = 0x80000055;
		SVM_EXITS(&s, SVM_EXIT_SMI);
		CHECK_EQ(s.save->rip, inject ? G_STUBS + 0x550 : G_L2);
		CHECK_EQ(s.ctl->exit_int_info, 0);
		guest_free(s.g);
	}
}

T(init_held_event, "an INIT that waited exits behind the event that VMRUN injects")
{
	struct svm_guest s = svm_with_apic(nop);

	svm_want(&s, SVM_I_INIT);
	guest_load(s.g, G_CODE + 0x100, init_l1);
	WITH_REGS(s.c, r)
		r.rip = G_CODE + 0x100;
	s.ctl->event_inj = 0x80000055;
	SVM_EXITS(&s, SVM_EXIT_INIT);
	CHECK_EQ(s.save->rip, G_STUBS + 0x550);
	CHECK_EQ(s.ctl->exit_int_info, 0);
}

/* -- breakpoints and GIF (KVM's errata document; APM2 15.17 discards them) -- */
CODE64(bp_gif, "clgi\n nop\n bp_1: nop\n nop\n stgi\n nop" DONE);
LABEL(bp_1);
T(gif_breakpoint, "a breakpoint register that matches is reported with GIF and without")
{
	for (int gif = 0; gif < 2; gif++) {
		struct guest *g = guest_with(M_LONG, bp_gif);
		struct kvm_debugregs d = { .dr6 = 0xffff0ff0, .dr7 = 0x402 };
		struct stop st;

		cpu_set_msr(cpu0(g), 0xc0000080, cpu_msr(cpu0(g), 0xc0000080) | BIT64(12));
		if (gif)
			guest_write(g, G_CODE, "\x90\x90\x90", 3);	/* no CLGI */
		d.db[0] = AT(bp_gif, bp_1);
		vcpu_ioctl(cpu0(g), KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
		st = RUN_EXC(g, 1, -1);
		CHECK_EQ(st.rip, AT(bp_gif, bp_1));
		guest_free(g);
	}
}

/* -- window for user space's interrupts -- */
T(no_window, "with GIF clear there is no interrupt window for user space")
{
	struct svm_guest s = svm_with(nop);
	struct stop st;

	WITH_REGS(s.c, r)
		r.rflags |= 0x200;
	s.c->run->request_interrupt_window = 1;
	s.ctl->int_ctl = SVM_V_INTR_MASKING;
	svm_want(&s, SVM_I_INTR);
	/* L1 has IF set: VMRUN opens the window */
	st = svm_run(&s);
	CHECK_STOP(st, ST_WINDOW);
	s.c->run->request_interrupt_window = 0;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	/* behind #VMEXIT it is closed by GIF */
	CHECK_EQ(s.c->run->ready_for_interrupt_injection, 0);
	CHECK_EQ(s.c->run->if_flag, 1);
}
