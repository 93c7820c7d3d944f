/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/directed_eoi.c - a hypervisor that ends level interrupts early, as Windows does
 * with Credential Guard (docs/kvm-apic.md 2.6): it EOIs its local APIC at once with SPIV.12 set,
 * lets the guest that owns the device serve it later, and only then writes the I/O APIC's EOI
 * register.
 *
 * Where suppression works that is one interrupt. Where it does not, the line is still high at
 * the local EOI and the interrupt comes again and again; the in-kernel I/O APIC brakes after
 * 10,000 rounds. Run with both irqchips, in all three modes of KVM_CAP_X2APIC_API, in xAPIC and
 * x2APIC mode.
 */
/* Run: build/standin run -- build/tests/guest/guest_directed_eoi [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

#define VEC 0x61
#define GSI 10
#define ENABLE_SEOIB 4
#define DISABLE_SEOIB 8
#define STORM 10000	/* rounds after which KVM's I/O APIC takes a break */

/*
 * r10 LVR, r11 SPIV as read back, r8 interrupts taken, r12 those taken when the device was
 * served. Stop 1: the device may raise its line. Stop 2: its owner serves it.
 */
#define BODY(apic_on, lvr, spiv, eoi) \
	"mov $0xfee00000, %ebp\n mov $0xfec00000, %ebx\n xor %r8d, %r8d\n xor %r9d, %r9d\n" \
	apic_on lvr "mov %eax, %r10d\n mov $0x11ff, %eax\n" spiv "mov %eax, %r11d\n" \
	STOP(1) \
	"sti\n 1: pause\n test %r9d, %r9d\n jz 1b\n cli\n" \
	STOP(2) \
	"mov %r8, %r12\n movl $0x61, 0x40(%rbx)\n" \
	"sti\n mov $2000, %ecx\n 2: pause\n dec %ecx\n jnz 2b\n cli" DONE \
	"3: inc %r8d\n mov $1, %r9d\n xor %eax, %eax\n" eoi "iretq\n"
CODE64(xapic, BODY("", "mov 0x30(%rbp), %eax\n", "mov %eax, 0xf0(%rbp)\n mov 0xf0(%rbp), %eax\n",
	"xapic_handler: mov %eax, 0xb0(%rbp)\n"));
CODE64(x2apic, BODY("mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n", "mov $0x803, %ecx\n"
	" rdmsr\n",
	"mov $0x80f, %ecx\n xor %edx, %edx\n wrmsr\n rdmsr\n",
	"x2apic_handler: push %rcx\n xor %edx, %edx\n mov $0x80b, %ecx\n wrmsr\n pop %rcx\n"));
LABEL(xapic_handler);
LABEL(x2apic_handler);
/* From the start of the handler to its label. */
#define HANDLER_HEAD (3 + 6 + 2)

/* User space's I/O APIC: one level-triggered pin, version 0x20. */
struct pin {
	bool line, remote_irr;
	u32 sent, eoi_exits, eoir_writes;
};

static void evaluate(struct guest *g, struct pin *p)
{
	struct kvm_msi m = { .address_lo = 0xfee00000, .data = VEC | 1 << 15 };

	if (!p->line || p->remote_irr)
		return;
	p->remote_irr = true;
	p->sent++;
	if (ioctl(g->vm, KVM_SIGNAL_MSI, &m) != 1)
		test_die("KVM_SIGNAL_MSI: %s", strerror(errno));
}

static void set_line(struct guest *g, struct pin *p, bool split, bool high)
{
	struct kvm_irq_level l = { .irq = GSI, .level = high };

	p->line = high;
	if (split)
		evaluate(g, p);
	else if (ioctl(g->vm, KVM_IRQ_LINE, &l))
		test_die("KVM_IRQ_LINE: %s", strerror(errno));
}

static bool in_kernel_remote_irr(struct guest *g)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	if (ioctl(g->vm, KVM_GET_IRQCHIP, &chip))
		test_die("KVM_GET_IRQCHIP: %s", strerror(errno));
	return chip.chip.ioapic.redirtbl[GSI].fields.remote_irr;
}

static void program_pin(struct guest *g, bool split)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e;
	} route = {
		.head = { .nr = 1 },
		.e = { .gsi = GSI,
		       .type = KVM_IRQ_ROUTING_MSI,
		       .u.msi = { .address_lo = 0xfee00000, .data = VEC | 1 << 15 } },
	};

	if (split) {
		if (ioctl(g->vm, KVM_SET_GSI_ROUTING, &route))
			test_die("KVM_SET_GSI_ROUTING: %s", strerror(errno));
		return;
	}
	if (ioctl(g->vm, KVM_GET_IRQCHIP, &chip))
		test_die("KVM_GET_IRQCHIP: %s", strerror(errno));
	chip.chip.ioapic.redirtbl[GSI].bits = VEC | 1 << 15;
	if (ioctl(g->vm, KVM_SET_IRQCHIP, &chip))
		test_die("KVM_SET_IRQCHIP: %s", strerror(errno));
}

static void credential_guard(bool split, u32 api, bool x2, bool expect_offer, bool expect_works)
{
	struct guest *g = guest_new_flags(M_LONG, (split ? GUEST_SPLIT : GUEST_IRQCHIP) |
							  GUEST_X2APIC_API(api));
	struct pin p = { 0 };
	struct stop s;
	bool served = false, storm = false;

	if (x2)
		guest_load(g, G_CODE, x2apic);
	else
		guest_load(g, G_CODE, xapic);
	guest_map_apic(g);
	guest_map_ioapic(g);
	guest_gate(g, VEC, SEL_CODE64,
		   (x2 ? AT(x2apic, x2apic_handler) : AT(xapic, xapic_handler)) - HANDLER_HEAD, 0xe,
		   0, 0);
	program_pin(g, split);
	for (;;) {
		s = run(g);
		if (s.kind == ST_OTHER && s.err == KVM_EXIT_IOAPIC_EOI) {
			CHECK_EQ(cpu0(g)->run->eoi.vector, VEC);
			p.eoi_exits++;
			if (p.eoi_exits >= STORM) {	/* our I/O APIC has no brake */
				storm = true;
				break;
			}
			p.remote_irr = false;
			evaluate(g, &p);
			continue;
		}
		if (s.kind == ST_MMIO && s.write && s.gpa == 0xfec00040) {
			CHECK_EQ(s.val, VEC);
			p.eoir_writes++;
			p.remote_irr = false;
			evaluate(g, &p);
			continue;
		}
		if (s.kind != ST_OUT)
			break;
		if (s.port == 1) {
			CHECK_EQ(s.r.r10 >> 24 & 1, expect_offer);
			/* The bit can be set only where it is offered (docs/kvm-apic.md 2.4). */
			CHECK_EQ(s.r.r11 >> 12 & 1, expect_offer);
			set_line(g, &p, split, true);
		} else {
			/* Step 2 is over: the local APIC is free, the line still high. */
			if (!split && expect_works)
				CHECK_EQ(in_kernel_remote_irr(g), 1);
			if (split && expect_works)
				CHECK_EQ(p.remote_irr, 1);
			set_line(g, &p, split, false);
			served = true;
		}
	}
	if (expect_works) {
		CHECK_STOP(s, ST_DONE);
		CHECK(served);
		CHECK_EQ(s.r.r12, 1);	/* one interrupt when it was served ... */
		CHECK_EQ(s.r.r8, 1);	/* ... and none after */
		CHECK_EQ(p.eoi_exits, 0);
		CHECK_EQ(p.eoir_writes, split ? 1 : 0);
		if (!split)
			CHECK_EQ(in_kernel_remote_irr(g), 0);
	} else if (split) {
		CHECK(storm);
		CHECK_EQ(p.sent, STORM);
	} else {
		CHECK_STOP(s, ST_DONE);
		/* The brake lets another round through when this thread was kept waiting. */
		CHECK(s.r.r12 >= STORM && s.r.r12 % STORM == 0);
		CHECK_EQ(in_kernel_remote_irr(g), 0);
	}
	guest_free(g);
}

#define CASES(X) \
	X(full_quirked, "in-kernel I/O APIC, quirked: storm and brake", false, 0, false, false) \
	X(full_enabled, "in-kernel I/O APIC, enabled: one interrupt", false, ENABLE_SEOIB, true, \
	  true) \
	X(full_disabled, "in-kernel I/O APIC, disabled: storm and brake", false, DISABLE_SEOIB, \
	  false, \
	  false) \
	X(split_quirked, "split, quirked: offered, and storms all the same", true, 0, true, false) \
	X(split_enabled, "split, enabled: one interrupt, no EOI exit", true, ENABLE_SEOIB, true, \
	  true) \
	X(split_disabled, "split, disabled: not offered, storm", true, DISABLE_SEOIB, false, false)
#define X(id, title, split, api, offer, works) \
	T(id##_xapic, "xAPIC, " title) { credential_guard(split, api, false, offer, works); } \
	T(id##_x2apic, "x2APIC, " title) { credential_guard(split, api, true, offer, works); }
CASES(X)
#undef X
