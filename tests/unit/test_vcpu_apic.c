/* SPDX-License-Identifier: MIT */
/* tests/unit/test_vcpu_apic.c - a vCPU with its LAPIC: HLT, timer, INIT/SIPI, EOI exits. */
/* Run: build/tests/unit/test_vcpu_apic [NAME...] */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "vcpu_rig.h"

#include "irq/irqchip.h"
#include "irq/lapic.h"

#define CODE(...) static const u8 code[] = { __VA_ARGS__ }

static struct irqchip *chip;
static struct lapic *lapic;

static u64 now_ns(void *vm)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}
static void ack(void *vm, u32 gsi)
{
}
static void timer(void *vm, u64 deadline)
{
}

static const struct irq_ops irq = {
	.now_ns = now_ns, .tsc_now = vcpu_tsc_now, .tsc_to_ns = vcpu_tsc_to_ns,
	.wake = vcpu_irq_wake, .ack = ack, .timer = timer,
};

static int setup(enum irqchip_mode mode, bool bsp)
{
	if (rig_setup(NULL))
		return -1;
	chip = irqchip_create(mode, &irq, NULL, &R.cfg.shared, 24);
	vcpu_destroy(R.v);
	R.cfg.irqchip = mode;
	R.cfg.irq = chip;
	R.cfg.bsp_id = bsp ? 0 : 7;
	if (vcpu_create(&R.v, 0, 0, R.fd, &R, &rig_ops, &R.cfg, &R.phys, NULL))
		return -1;
	lapic = lapic_create(chip, R.v, 0, bsp);
	vcpu_attach_lapic(R.v, lapic);
	rig_cpuid();
	return 0;
}

static int setup_full(void **state) { return setup(IRQCHIP_FULL, true); }
static int setup_split(void **state) { return setup(IRQCHIP_SPLIT, true); }
static int setup_ap(void **state) { return setup(IRQCHIP_FULL, false); }

static int teardown(void **state)
{
	lapic_destroy(lapic);
	rig_teardown(state);
	irqchip_destroy(chip);
	return 0;
}

static u32 mp(void)
{
	struct kvm_mp_state m;

	vcpu_get_mp_state(R.v, &m);
	return m.mp_state;
}

/* A 32-bit IDT entry for `vector` at 3000h, handler at 4000h: EOI, out 99h, iretd. */
static void handler(u8 vector)
{
	static const u8 code[] = { 0xc7, 0x05, 0xb0, 0, 0xe0, 0xfe, 0, 0, 0, 0, 0xe6, 0x99, 0xcf };
	static const u8 gate[] = { 0, 0x40, 8, 0, 0, 0x8e, 0, 0 };
	static const u64 gdt[] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
	struct kvm_sregs s;

	memcpy(R.ram + 0x4000, code, sizeof(code));
	memcpy(R.ram + 0x3000 + 8 * vector, gate, sizeof(gate));
	memcpy(R.ram + 0x5000, gdt, sizeof(gdt));
	vcpu_get_sregs(R.v, &s);
	s.idt.base = 0x3000;
	s.idt.limit = 0x7ff;
	s.gdt.base = 0x5000;
	s.gdt.limit = 23;
	assert_int_equal(vcpu_set_sregs(R.v, &s), 0);
	/* Software-enable the APIC. */
	u32 spiv = 0x1ff;

	assert_int_equal(lapic_mmio_write(lapic, 0xf0, &spiv, 4), 0);
}

T(registers_by_mmio)
{
	CODE(0xa1, 0x30, 0, 0xe0, 0xfe, 0xe6, 0x99);	/* mov eax,[fee00030h]; out 99h,al */
	struct kvm_regs r;

	rig_code32(code, sizeof(code));
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_IO);
	vcpu_get_regs(R.v, &r);
	assert_int_equal(r.rax & 0xff, 0x14);
}

/* HLT sleeps inside KVM_RUN until the LAPIC timer fires. */
T(timer_wakes_hlt)
{
	/* LVT timer = 40h; divide by 1; initial count = 5 ms; sti; hlt; out 98h,al */
	CODE(0xc7, 0x05, 0x20, 3, 0xe0, 0xfe, 0x40, 0, 0, 0, 0xc7, 0x05, 0xe0, 3, 0xe0, 0xfe, 0xb,
	     0, 0, 0, 0xc7, 0x05, 0x80, 3, 0xe0, 0xfe, 0x40, 0x4b, 0x4c, 0, 0xfb, 0xf4, 0xe6, 0x98);
	u64 start;

	rig_code32(code, sizeof(code));
	handler(0x40);
	start = now_ns(NULL);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(R.v->run->io.port, 0x99);
	assert_in_range(now_ns(NULL) - start, 4900000, 500000000);
	assert_int_equal(R.v->run->ready_for_interrupt_injection, 1);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->io.port, 0x98);
}

static void on_signal(int sig)
{
	vcpu_signal_seen();
}

static void *killer(void *arg)
{
	struct timespec ts = { .tv_nsec = 20000000 };

	nanosleep(&ts, NULL);
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

T(signal_ends_hlt)
{
	CODE(0xf4);
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t self = pthread_self(), t;

	sigaction(SIGUSR1, &sa, NULL);
	rig_code32(code, sizeof(code));
	pthread_create(&t, NULL, killer, &self);
	assert_int_equal(vcpu_run(R.v), -EINTR);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_INTR);
	assert_int_equal(mp(), KVM_MP_STATE_HALTED);
	pthread_join(t, NULL);
}

static void *ipi(void *arg)
{
	struct timespec ts = { .tv_nsec = 20000000 };

	nanosleep(&ts, NULL);
	lapic_set_irq(lapic, 0x40, false);
	return NULL;
}

/* An interrupt from another thread reaches a loop without exits, and a halted vCPU. */
static void interrupted(const u8 *code, u32 bytes)
{
	pthread_t t;

	rig_code32(code, bytes);
	handler(0x40);
	pthread_create(&t, NULL, ipi, NULL);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->io.port, 0x99);
	pthread_join(t, NULL);
}

T(interrupt_from_outside)
{
	CODE(0xfb, 0xeb, 0xfe);

	interrupted(code, sizeof(code));
}

T(interrupt_wakes_halted)
{
	CODE(0xfb, 0xf4, 0xeb, 0xfd);

	interrupted(code, sizeof(code));
	assert_int_equal(mp(), KVM_MP_STATE_RUNNABLE);
}

/* docs/kvm-abi.md 5.7 step 2: -EAGAIN after INIT, then SIPI starts it. */
T(ap_start, .setup = setup_ap)
{
	static const u8 code[] = { 0xe6, 0x55 };
	struct kvm_sregs s;

	memcpy(R.ram + 0x9000, code, sizeof(code));
	assert_int_equal(mp(), KVM_MP_STATE_UNINITIALIZED);
	R.v->run->immediate_exit = 1;
	assert_int_equal(vcpu_run(R.v), -EINTR);
	R.v->run->immediate_exit = 0;
	lapic_post_events(lapic, LAPIC_EV_INIT);
	assert_int_equal(vcpu_run(R.v), -EAGAIN);
	assert_int_equal(mp(), KVM_MP_STATE_INIT_RECEIVED);
	struct apic_msg m = { .dest = 0, .delivery = APIC_STARTUP, .vector = 9, .level = 1 };

	apic_deliver(chip, &m, NULL);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(R.v->run->io.port, 0x55);
	vcpu_get_sregs(R.v, &s);
	assert_int_equal(s.cs.selector, 0x900);
	assert_int_equal(s.cs.base, 0x9000);
}

/* Split irqchip: the EOI of a level vector is user space's business, exactly once. */
T(eoi_exit, .setup = setup_split)
{
	CODE(0xfb, 0xeb, 0xfe);
	struct kvm_irq_routing_entry e = {
		.gsi = 5, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = 0x40 | 1 << 15 | 1 << 14 },
	};

	rig_code32(code, sizeof(code));
	handler(0x40);
	assert_int_equal(irqchip_set_routing(chip, &e, 1), 0);
	lapic_scan(lapic);
	irqchip_set_irq(chip, 5, 1, IRQ_SOURCE_USER, false);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_IOAPIC_EOI);
	assert_int_equal(R.v->run->eoi.vector, 0x40);
	/* The EOI has retired. */
	assert_int_equal(rig_rip(), 0x400a);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(R.v->run->io.port, 0x99);
}

T(split_extint_slot, .setup = setup_split)
{
	assert_int_equal(vcpu_interrupt(R.v, 0x20), 0);
	assert_int_equal(vcpu_interrupt(R.v, 0x21), -EEXIST);
}

T(full_has_no_slot)
{
	assert_int_equal(vcpu_interrupt(R.v, 0x20), -ENXIO);
}

T(pv_eoi)
{
	/* The handler at 4000h uses the short cut when it may: btr [7000h],0; jc over; EOI */
	static const u8 code[] = { 0xfb, 0xeb, 0xfe };
	static const u8 h[] = { 0x0f, 0xba, 0x35, 0, 0x70, 0, 0, 0, 0x72, 0x0a, 0xc7, 0x05, 0xb0, 0,
				0xe0, 0xfe, 0, 0, 0, 0, 0xe6, 0x99, 0xcf };
	u32 isr;

	rig_code32(code, sizeof(code));
	handler(0x40);
	memcpy(R.ram + 0x4000, h, sizeof(h));
	assert_int_equal(vcpu_set_msr(R.v, 0x4b564d04, 0x7001), 0);
	lapic_set_irq(lapic, 0x40, false);
	assert_int_equal(vcpu_run(R.v), 0);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_IO);
	assert_int_equal(R.ram[0x7000] & 1, 0);
	/* Either way the vector is out of service. */
	lapic_mmio_read(lapic, 0x120, &isr, 4);
	assert_int_equal(isr, 0);
}

/* What a guest had KVM write to its memory ends with INIT: whoever starts the CPU again may use
 * that memory for something else. */
T(init_ends_what_is_written_to_memory)
{
	static const u32 msrs[] = { 0x4b564d01, 0x4b564d03, 0x4b564d04 };
	u64 val;

	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++)
		assert_int_equal(vcpu_set_msr(R.v, msrs[i], (0x7000 + 0x100 * i) | 1), 0);
	lapic_post_events(lapic, LAPIC_EV_INIT);
	vcpu_apic_events(R.v);
	for (u32 i = 0; i < ARRAY_SIZE(msrs); i++) {
		assert_int_equal(vcpu_get_msr(R.v, msrs[i], &val), 0);
		assert_int_equal(val, 0);
	}
}

/* An NMI from before INIT is none of the program's that starts afterwards. */
T(init_drops_queued_nmis)
{
	struct kvm_vcpu_events e;

	lapic_post_events(lapic, LAPIC_EV_NMI);
	lapic_post_events(lapic, LAPIC_EV_NMI | LAPIC_EV_INIT);
	vcpu_apic_events(R.v);
	assert_int_equal(vcpu_get_events(R.v, &e), 0);
	assert_int_equal(e.nmi.pending, 0);
}

/* A CPU that is not waiting for one loses a SIPI; that it cannot take INIT either (GIF is clear)
 * does not keep the SIPI. */
T(sipi_is_lost_while_init_is_held, .setup = setup_ap)
{
	R.v->c->svm->gif = false;
	lapic_post_events(lapic, LAPIC_EV_INIT);
	lapic_post_events(lapic, LAPIC_EV_SIPI);
	vcpu_apic_events(R.v);
	assert_int_equal(lapic_peek_events(lapic), LAPIC_EV_INIT);
	/* nor does it end a HLT */
	vcpu_set_mp(R.v, KVM_MP_STATE_HALTED);
	assert_false(vcpu_has_events(R.v));
	R.v->c->svm->gif = true;
	assert_true(vcpu_has_events(R.v));
	vcpu_apic_events(R.v);
	assert_int_equal(mp(), KVM_MP_STATE_INIT_RECEIVED);
	lapic_post_events(lapic, LAPIC_EV_SIPI);
	vcpu_apic_events(R.v);
	assert_int_equal(mp(), KVM_MP_STATE_RUNNABLE);
}

/* CPUID may be set several times before the vCPU runs; the last one counts, also where it
 * says the same of the APIC as the one before. */
T(each_cpuid_is_told_to_the_apic)
{
	struct kvm_cpuid_entry2 e[256];
	u32 n = 256, i = 0, lvr;

	assert_int_equal(cpuid_supported(e, &n), 0);
	while (e[i].function != 0x80000008)
		i++;
	assert_int_equal(lapic_set_base(lapic, BIT64(40) | APIC_BASE_EN | APIC_BASE_BSP, true), 0);
	assert_int_equal(lapic_set_base(lapic, APIC_DEFAULT_BASE | APIC_BASE_EN, true), 0);
	e[i].eax = (e[i].eax & ~0xffu) | 40;
	R.cfg.shared.eoi_mode = EOI_SUPPRESS_ENABLED;
	irqchip_settings_changed(chip);
	assert_int_equal(vcpu_set_cpuid2(R.v, e, n), 0);
	assert_int_equal(lapic_set_base(lapic, BIT64(40) | APIC_BASE_EN | APIC_BASE_BSP, true),
			 -EINVAL);
	/* docs/kvm-apic.md 2.4: an update of the CPUID makes the version register anew. */
	lapic_mmio_read(lapic, 0x30, &lvr, 4);
	assert_true(lvr & BIT(24));
}

/* An uncorrected error that needs no action is logged and told by the LVT's CMCI entry, if its bank
 * says so (SDM3 16.5); never an exception. */
T(ucna_raises_cmci)
{
	struct kvm_x86_mce m = { .bank = 1, .status = 5ull << 61, .addr = 0x1000, .misc = 7 };
	u32 irr, lvt = 0x57, spiv = 0x1ff;
	u64 val;

	R.v->c->cr4 |= CR4_MCE;
	assert_int_equal(vcpu_setup_mce(R.v, 10 | 1 << 8), 0);
	assert_int_equal(vcpu_get_msr(R.v, 0x281, &val), 0);
	assert_int_equal(vcpu_set_msr(R.v, 0x281, 0), 0);
	assert_int_equal(vcpu_set_msr(R.v, 0x281, 1), -EINVAL);
	assert_int_equal(msr_hook_read(R.v->c, 0x281, &val), CPU_FAULT);
	assert_int_equal(vcpu_setup_mce(R.v, 10 | 1 << 8 | 1 << 10), 0);
	assert_int_equal(msr_hook_write(R.v->c, 0x281, BIT64(30) | 0x7fff), CPU_OK);
	assert_int_equal(msr_hook_write(R.v->c, 0x281, BIT64(15)), CPU_FAULT);
	assert_int_equal(msr_hook_write(R.v->c, 0x28a, 0), CPU_FAULT);
	lapic_mmio_write(lapic, 0xf0, &spiv, 4);
	lapic_mmio_write(lapic, 0x2f0, &lvt, 4);
	assert_int_equal(vcpu_set_mce(R.v, &m), 0);
	assert_int_equal(vcpu_get_msr(R.v, 0x405, &val), 0);
	assert_true(val == m.status);
	lapic_mmio_read(lapic, 0x220, &irr, 4);
	assert_int_equal(irr, BIT(0x57 - 0x40));
	assert_false(R.v->p->ev.exc.pending);
	/* another bank logs only */
	m.bank = 2;
	lapic_ack(lapic);
	lapic_eoi(lapic);
	assert_int_equal(vcpu_set_mce(R.v, &m), 0);
	lapic_mmio_read(lapic, 0x220, &irr, 4);
	assert_int_equal(irr, 0);
	/* with the context corrupt it is a machine check */
	m.status |= BIT64(57);
	assert_int_equal(vcpu_set_mce(R.v, &m), 0);
	assert_true(R.v->p->ev.exc.pending);
}

T_EACH(setup_full, teardown);
