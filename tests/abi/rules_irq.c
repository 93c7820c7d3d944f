/* SPDX-License-Identifier: MIT */
/* tests/abi/rules_irq.c - interrupt controllers, routing, eventfds (docs/kvm-abi.md 5.2). */
/* Run: build/standin run -- build/tests/abi/abi_rules [NAME...] */
#include <sys/eventfd.h>

#include "tests/abi/abi.h"

T(irqchip_create, "5.2: CREATE_IRQCHIP: exists EEXIST, a vCPU exists EINVAL")
{
	machine(M_NO_CPU | M_NO_RAM);
	IS(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), 0);
	IS(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
	machine(M_NO_RAM);
	IS(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), -EINVAL);
}

T(irqchip_split, "5.4: SPLIT_IRQCHIP: pins 1..24, once, before vCPUs and a full irqchip")
{
	machine(M_NO_CPU | M_NO_RAM);
	IS(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 4097), -EINVAL);
	IS(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 24), 0);
	IS(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 24), -EEXIST);
	IS(ioctl(m.vm, KVM_CREATE_IRQCHIP, 0), -EEXIST);
	machine(M_NO_CPU | M_NO_RAM | M_IRQCHIP);
	IS(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 24), -EEXIST);
	machine(M_NO_RAM);
	IS(enable(m.vm, KVM_CAP_SPLIT_IRQCHIP, 24), -EEXIST);
}

T(irqchip_state, "5.2: GET/SET_IRQCHIP: not full in-kernel ENXIO; bad chip id EINVAL; round trip")
{
	struct kvm_irqchip c = { 0 }, d;

	machine(M_NO_CPU | M_NO_RAM | M_SPLIT);
	IS(ioctl(m.vm, KVM_GET_IRQCHIP, &c), -ENXIO);
	IS(ioctl(m.vm, KVM_SET_IRQCHIP, &c), -ENXIO);
	machine(M_NO_CPU | M_NO_RAM);
	IS(ioctl(m.vm, KVM_GET_IRQCHIP, &c), -ENXIO);
	IS(ioctl(m.vm, KVM_SET_IRQCHIP, &c), -ENXIO);
	MUST(!ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
	c.chip_id = 3;
	IS(ioctl(m.vm, KVM_GET_IRQCHIP, &c), -EINVAL);
	IS(ioctl(m.vm, KVM_SET_IRQCHIP, &c), -EINVAL);
	IS(ioctl(m.vm, KVM_GET_IRQCHIP, BAD), -EFAULT);
	IS(ioctl(m.vm, KVM_SET_IRQCHIP, BAD), -EFAULT);
	for (u32 id = 0; id < 3; id++) {
		memset(&c, 0, sizeof(c));
		c.chip_id = id;
		IS(ioctl(m.vm, KVM_GET_IRQCHIP, &c), 0);
		if (id == 2) {
			EQ(c.chip.ioapic.base_address, 0xfec00000);
			c.chip.ioapic.redirtbl[7].bits = 0x10041;
		} else {
			c.chip.pic.imr = 0x5a;
		}
		IS(ioctl(m.vm, KVM_SET_IRQCHIP, &c), 0);
		memset(&d, 0, sizeof(d));
		d.chip_id = id;
		IS(ioctl(m.vm, KVM_GET_IRQCHIP, &d), 0);
		EQ(memcmp(&c, &d, sizeof(c)), 0);
	}
}

T(pit_create, "5.2: CREATE_PIT(2): exists EEXIST, no in-kernel PIC ENOENT")
{
	struct kvm_pit_config c = { 0 };

	machine(M_NO_CPU | M_NO_RAM);
	IS(ioctl(m.vm, KVM_CREATE_PIT2, &c), -ENOENT);
	IS(ioctl(m.vm, KVM_CREATE_PIT, 0), -ENOENT);
	IS(ioctl(m.vm, KVM_CREATE_PIT2, BAD), -EFAULT);
	MUST(!ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
	IS(ioctl(m.vm, KVM_CREATE_PIT2, &c), 0);
	IS(ioctl(m.vm, KVM_CREATE_PIT2, &c), -EEXIST);
	IS(ioctl(m.vm, KVM_CREATE_PIT, 0), -EEXIST);
	machine(M_NO_CPU | M_NO_RAM | M_SPLIT);
	IS(ioctl(m.vm, KVM_CREATE_PIT2, &c), -ENOENT);
}

T(pit_state, "5.2: GET/SET_PIT(2), REINJECT_CONTROL: no PIT ENXIO; round trip")
{
	struct kvm_pit_state2 s = { 0 }, t = { 0 };
	struct kvm_pit_state o = { 0 };
	struct kvm_reinject_control r = { .pit_reinject = 0 };

	machine(M_NO_CPU | M_NO_RAM | M_IRQCHIP);
	IS(ioctl(m.vm, KVM_GET_PIT, &o), -ENXIO);
	IS(ioctl(m.vm, KVM_SET_PIT, &o), -ENXIO);
	IS(ioctl(m.vm, KVM_GET_PIT2, &s), -ENXIO);
	IS(ioctl(m.vm, KVM_SET_PIT2, &s), -ENXIO);
	IS(ioctl(m.vm, KVM_REINJECT_CONTROL, &r), -ENXIO);
	IS(ioctl(m.vm, KVM_SET_PIT, BAD), -EFAULT);
	IS(ioctl(m.vm, KVM_SET_PIT2, BAD), -EFAULT);
	IS(ioctl(m.vm, KVM_REINJECT_CONTROL, BAD), -EFAULT);
	MUST(!ioctl(m.vm, KVM_CREATE_PIT, 0));
	IS(ioctl(m.vm, KVM_GET_PIT2, &s), 0);
	s.channels[2].count = 1234;
	s.channels[2].mode = 3;
	IS(ioctl(m.vm, KVM_SET_PIT2, &s), 0);
	IS(ioctl(m.vm, KVM_GET_PIT2, &t), 0);
	EQ(t.channels[2].count, 1234);
	EQ(t.channels[2].mode, 3);
	IS(ioctl(m.vm, KVM_GET_PIT, &o), 0);
	EQ(o.channels[2].count, 1234);
	o.channels[2].count = 77;
	IS(ioctl(m.vm, KVM_SET_PIT, &o), 0);
	IS(ioctl(m.vm, KVM_GET_PIT2, &t), 0);
	EQ(t.channels[2].count, 77);
	IS(ioctl(m.vm, KVM_REINJECT_CONTROL, &r), 0);
	IS(ioctl(m.vm, KVM_GET_PIT, BAD), -EFAULT);
	IS(ioctl(m.vm, KVM_GET_PIT2, BAD), -EFAULT);
}

T(irq_line,
  "5.2: IRQ_LINE(_STATUS): no irqchip ENXIO; status: CPUs reached, 0 coalesced, <0 ignored")
{
	struct kvm_irq_level l = { .irq = 4, .level = 1 };
	struct kvm_irqchip c = { .chip_id = 0 };

	machine(M_NO_CPU | M_NO_RAM);
	IS(ioctl(m.vm, KVM_IRQ_LINE, &l), -ENXIO);
	IS(ioctl(m.vm, KVM_IRQ_LINE_STATUS, &l), -ENXIO);
	IS(ioctl(m.vm, KVM_IRQ_LINE, BAD), -EFAULT);
	IS(ioctl(m.vm, KVM_IRQ_LINE_STATUS, BAD), -EFAULT);
	MUST(!ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
	MUST(ioctl(m.vm, KVM_CREATE_VCPU, 0) >= 0);
	MUST(!ioctl(m.vm, KVM_GET_IRQCHIP, &c));
	c.chip.pic.imr = 0;
	MUST(!ioctl(m.vm, KVM_SET_IRQCHIP, &c));
	IS(ioctl(m.vm, KVM_IRQ_LINE, &l), 0);
	l.level = 0;
	IS(ioctl(m.vm, KVM_IRQ_LINE, &l), 0);
	l.level = 1;
	IS(ioctl(m.vm, KVM_IRQ_LINE_STATUS, &l), 0);
	EQ((int)l.status, 0);		/* still pending: coalesced */
	l = (struct kvm_irq_level){ .irq = 5, .level = 1 };
	IS(ioctl(m.vm, KVM_IRQ_LINE_STATUS, &l), 0);
	TRUE((int)l.status > 0);
	l = (struct kvm_irq_level){ .irq = 4000, .level = 1 };
	IS(ioctl(m.vm, KVM_IRQ_LINE, &l), 0);
}

T(signal_msi, "5.2: SIGNAL_MSI: no irqchip EINVAL, flags EINVAL; the number of vCPUs reached")
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x41 };
	struct kvm_lapic_state l;

	machine(0);
	IS(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), -EINVAL);
	machine(M_IRQCHIP);
	IS(ioctl(m.vm, KVM_SIGNAL_MSI, BAD), -EFAULT);
	msi.flags = 2;
	IS(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), -EINVAL);
	msi.flags = 0;
	MUST(!ioctl(m.cpu, KVM_GET_LAPIC, &l));
	l.regs[0xf1] |= 1;		/* SPIV: software enable */
	MUST(!ioctl(m.cpu, KVM_SET_LAPIC, &l));
	IS(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), 1);
	MUST(!ioctl(m.cpu, KVM_GET_LAPIC, &l));
	EQ(l.regs[0x220] & 2, 2);	/* IRR bit 0x41 */
	msi.flags = 1;			/* VALID_DEVID is ignored */
	IS(ioctl(m.vm, KVM_SIGNAL_MSI, &msi), 1);
}

struct routes {
	struct kvm_irq_routing h;
	struct kvm_irq_routing_entry e[3];
};

T(gsi_routing, "5.2: SET_GSI_ROUTING: every refusal is EINVAL; replaces the whole table")
{
	struct routes r = { .h.nr = 1, .e[0] = { .gsi = 3, .type = KVM_IRQ_ROUTING_IRQCHIP,
			    .u.irqchip = { .irqchip = 2, .pin = 3 } } };
	const struct routes good = r;

	machine(M_NO_CPU | M_NO_RAM);
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	MUST(!ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, BAD), -EFAULT);
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), 0);
	r.h.nr = 4097;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r = good;
	r.h.flags = 1;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r = good;
	r.e[0].flags = 1;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r = good;
	r.e[0].type = 99;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r = good;
	r.e[0].u.irqchip.pin = 24;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.e[0].u.irqchip = (struct kvm_irq_routing_irqchip){ .irqchip = 0, .pin = 8 };
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.e[0].u.irqchip = (struct kvm_irq_routing_irqchip){ .irqchip = 3 };
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r = good;
	r.e[0].gsi = 4096;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r = good;			/* one GSI twice to the same chip */
	r.h.nr = 2;
	r.e[1] = r.e[0];
	r.e[1].u.irqchip.pin = 4;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.e[1].u.irqchip = (struct kvm_irq_routing_irqchip){ .irqchip = 0, .pin = 3 };
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), 0);
	r.e[1] = (struct kvm_irq_routing_entry){ .gsi = 3, .type = KVM_IRQ_ROUTING_MSI,
						 .u.msi = { .address_lo = 0xfee00000,
							 .data = 0x30 } };
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.e[1].gsi = 50;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), 0);
	r.e[1].flags = KVM_MSI_VALID_DEVID;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), 0);
	r.e[1].flags = 2;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.h.nr = 0;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), 0);
}

T(gsi_routing_split,
  "5.2: split mode: an IRQCHIP entry is refused; 32-bit ids: MSI address_hi low byte 0")
{
	struct routes r = { .h.nr = 1, .e[0] = { .gsi = 3, .type = KVM_IRQ_ROUTING_IRQCHIP,
			    .u.irqchip = { .irqchip = 2, .pin = 3 } } };

	machine(M_NO_CPU | M_NO_RAM | M_SPLIT);
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.e[0] = (struct kvm_irq_routing_entry){ .gsi = 3, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .address_hi = 1, .data = 0x30 } };
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), 0);
	IS(enable(m.vm, KVM_CAP_X2APIC_API, 1), 0);
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), -EINVAL);
	r.e[0].u.msi.address_hi = 0x100;
	IS(ioctl(m.vm, KVM_SET_GSI_ROUTING, &r), 0);
}

T(irqfd, "5.2: IRQFD: no irqchip EINVAL, bad fd EBADF/EINVAL, twice EBUSY, flags EINVAL")
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd f = { .fd = (u32)fd, .gsi = 5 };

	machine(M_NO_CPU | M_NO_RAM);
	IS(ioctl(m.vm, KVM_IRQFD, &f), -EINVAL);
	IS(ioctl(m.vm, KVM_IRQFD, BAD), -EFAULT);
	MUST(!ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
	f.flags = 4;
	IS(ioctl(m.vm, KVM_IRQFD, &f), -EINVAL);
	f.flags = 0;
	f.fd = 999;
	IS(ioctl(m.vm, KVM_IRQFD, &f), -EBADF);
	f.fd = (u32)m.sys;
	IS(ioctl(m.vm, KVM_IRQFD, &f), -EINVAL);
	f.fd = (u32)fd;
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
	IS(ioctl(m.vm, KVM_IRQFD, &f), -EBUSY);
	f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);	/* nothing there: no error */
}

T(irqfd_two_vms, "1.8: IRQFD: one GSI of one VM for each eventfd; deassignment succeeds")
{
	int fd = eventfd(0, EFD_NONBLOCK), copy = dup(fd), vm2;
	struct kvm_irqfd f = { .fd = (u32)fd, .gsi = 10 };

	machine(M_NO_CPU | M_NO_RAM | M_IRQCHIP);
	vm2 = new_vm();
	MUST(!ioctl(vm2, KVM_CREATE_IRQCHIP, 0));
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
	f.gsi = 11;
	IS(ioctl(m.vm, KVM_IRQFD, &f), -EBUSY);
	IS_OR(ioctl(vm2, KVM_IRQFD, &f), -EBUSY, 0, "older: one per VM");
	f.fd = (u32)copy;
	IS_OR(ioctl(vm2, KVM_IRQFD, &f), -EBUSY, -EBUSY, "older: it has it by now");
	f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	IS(ioctl(vm2, KVM_IRQFD, &f), 0);
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
	f.gsi = 10;
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
	f.flags = 0;
	IS(ioctl(vm2, KVM_IRQFD, &f), 0);
	/* A VM that goes gives it back. */
	close(vm2);
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
}

T(irqfd_any_gsi, "1.8: IRQFD: a GSI that no route can have is accepted, and leads nowhere")
{
	int fd = eventfd(0, EFD_NONBLOCK), fd2 = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd f = { .fd = (u32)fd, .gsi = 1u << 20 };
	u64 one = 1;

	machine(M_NO_CPU | M_NO_RAM | M_IRQCHIP);
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
	IS(write(fd, &one, 8), 8);
	f = (struct kvm_irqfd){ .fd = (u32)fd2, .gsi = ~0u, .flags = KVM_IRQFD_FLAG_RESAMPLE,
				.resamplefd = (u32)fd };
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
	IS(write(fd2, &one, 8), 8);
	f.flags = KVM_IRQFD_FLAG_DEASSIGN;
	IS(ioctl(m.vm, KVM_IRQFD, &f), 0);
}

T(ioeventfd, "5.2: IOEVENTFD: len, overflow, EEXIST, ENOENT; signals without an exit")
{
	int fd = eventfd(0, EFD_NONBLOCK), fd2 = eventfd(0, EFD_NONBLOCK);
	struct kvm_ioeventfd e = { .addr = NOWHERE, .len = 1, .fd = fd };
	u64 n = 0;

	machine(0);
	IS(ioctl(m.vm, KVM_IOEVENTFD, BAD), -EFAULT);
	e.len = 3;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -EINVAL);
	e.len = 4;
	e.addr = ~1ull;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -EINVAL);
	e.addr = NOWHERE;
	e.flags = 1u << 9;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -EINVAL);
	e.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
	e.len = 0;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -EINVAL);
	e.flags = 0;
	e.len = 1;
	e.fd = 999;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -EBADF);
	e.fd = m.sys;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -EINVAL);
	e.fd = fd;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), 0);
	e.fd = fd2;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -EEXIST);
	e.len = 2;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), 0);
	e.len = 0;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -EEXIST);
	/* mov ax,0x8000; mov ds,ax; mov [0],al; hlt */
	LOAD(0xb8, 0x00, 0x80, 0x8e, 0xd8, 0xa2, 0, 0, 0xf4);
	EQ(run(), KVM_EXIT_HLT);
	IS(read(fd, &n, 8), 8);
	EQ(n, 1);
	IS(read(fd2, &n, 8), -EAGAIN);
	e.len = 1;
	e.fd = fd;
	e.flags = KVM_IOEVENTFD_FLAG_DEASSIGN;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), 0);
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), -ENOENT);
}

T(ioeventfd_match, "5.2: ioeventfd: exact address, length and masked data; else it exits")
{
	int fd = eventfd(0, EFD_NONBLOCK);
	struct kvm_ioeventfd e = { .addr = 0x77, .len = 1, .fd = fd, .datamatch = 0x102,
				   .flags = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH };
	u64 n = 0;

	machine(0);
	/* The value is compared in its length, so 0x102 never matches one byte. */
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), 0);
	e.datamatch = 2;
	IS(ioctl(m.vm, KVM_IOEVENTFD, &e), 0);
	/* mov al,1; out 0x77,al; mov al,2; out 0x77,al; out 0x77,ax; hlt */
	LOAD(0xb0, 1, 0xe6, 0x77, 0xb0, 2, 0xe6, 0x77, 0xe7, 0x77, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	EQ(run(), KVM_EXIT_IO);
	EQ(m.run->io.size, 2);
	EQ(run(), KVM_EXIT_HLT);
	IS(read(fd, &n, 8), 8);
	EQ(n, 1);
}

/* -- vCPU side -- */

T(lapic_needs_irqchip, "5.2: GET/SET_LAPIC, SET_VAPIC_ADDR without in-kernel LAPIC: EINVAL")
{
	struct kvm_lapic_state l = { { 0 } }, k;
	struct kvm_vapic_addr a = { .vapic_addr = DATA };

	machine(0);
	IS(ioctl(m.cpu, KVM_GET_LAPIC, &l), -EINVAL);
	IS(ioctl(m.cpu, KVM_SET_LAPIC, &l), -EINVAL);
	IS(ioctl(m.cpu, KVM_SET_VAPIC_ADDR, &a), -EINVAL);
	machine(M_IRQCHIP);
	IS(ioctl(m.cpu, KVM_GET_LAPIC, &l), 0);
	l.regs[0x80] = 0x30;
	IS(ioctl(m.cpu, KVM_SET_LAPIC, &l), 0);
	IS(ioctl(m.cpu, KVM_GET_LAPIC, &k), 0);
	EQ(k.regs[0x80], 0x30);
	IS(ioctl(m.cpu, KVM_GET_LAPIC, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_LAPIC, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_SET_VAPIC_ADDR, &a), 0);
	a.vapic_addr = 0;
	IS(ioctl(m.cpu, KVM_SET_VAPIC_ADDR, &a), 0);
	a.vapic_addr = 0x40000000;	/* no memory there */
	IS(ioctl(m.cpu, KVM_SET_VAPIC_ADDR, &a), -EINVAL);
	IS(ioctl(m.cpu, KVM_SET_VAPIC_ADDR, BAD), -EFAULT);
}

static int interrupt(u32 irq)
{
	struct kvm_interrupt i = { .irq = irq };

	return ioctl(m.cpu, KVM_INTERRUPT, &i);
}

T(interrupt, "5.2: INTERRUPT: >= 256 EINVAL; user-space irqchip queues and overwrites")
{
	struct kvm_vcpu_events e;

	machine(0);
	IS(interrupt(256), -EINVAL);
	IS(interrupt(0x30), 0);
	IS(interrupt(0x31), 0);
	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	EQ(e.interrupt.injected, 1);
	EQ(e.interrupt.nr, 0x31);
	IS(ioctl(m.cpu, KVM_INTERRUPT, BAD), -EFAULT);
}

T(interrupt_irqchip, "5.2: INTERRUPT: full in-kernel ENXIO; split: one slot, occupied EEXIST")
{
	machine(M_IRQCHIP);
	IS(interrupt(256), -EINVAL);
	IS(interrupt(0x30), -ENXIO);
	machine(M_SPLIT);
	IS(interrupt(0x30), 0);
	IS(interrupt(0x30), -EEXIST);
}

T(nmi, "5.2: NMI queues an NMI")
{
	struct kvm_vcpu_events e;

	machine(0);
	IS(ioctl(m.cpu, KVM_NMI, 0), 0);
	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	TRUE(e.nmi.pending || e.nmi.injected);
}

T(smi, "5.2: SMI needs SMM support")
{
	struct kvm_vcpu_events e;

	machine(0);
	if (cap(m.sys, KVM_CAP_X86_SMM)) {
		IS(ioctl(m.cpu, KVM_SMI, 0), 0);
		MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
		TRUE(e.smi.pending || e.smi.smm);
	} else {
		IS(ioctl(m.cpu, KVM_SMI, 0), -ENOTTY);
	}
}

T(mp_states, "5.2: SET_MP_STATE: 0 always; 1 2 3 4 9 with a LAPIC only; 4 is 2 with a SIPI")
{
	static const u32 lapic_only[] = { 1, 2, 3, 4, 9 };
	struct kvm_mp_state s;

	machine(0);
	s.mp_state = 0;
	IS(ioctl(m.cpu, KVM_SET_MP_STATE, &s), 0);
	for (u32 i = 0; i < ARRAY_SIZE(lapic_only); i++) {
		s.mp_state = lapic_only[i];
		IS(ioctl(m.cpu, KVM_SET_MP_STATE, &s), -EINVAL);
	}
	s.mp_state = 5;
	IS(ioctl(m.cpu, KVM_SET_MP_STATE, &s), -EINVAL);
	IS(ioctl(m.cpu, KVM_SET_MP_STATE, BAD), -EFAULT);
	IS(ioctl(m.cpu, KVM_GET_MP_STATE, BAD), -EFAULT);
	machine(M_IRQCHIP);
	for (u32 st = 0; st < 12; st++) {
		bool ok = st <= 4 || st == 9;

		s.mp_state = st;
		IS(ioctl(m.cpu, KVM_SET_MP_STATE, &s), ok ? 0 : -EINVAL);
		if (!ok || st == 4)
			continue;
		IS(ioctl(m.cpu, KVM_GET_MP_STATE, &s), 0);
		EQ(s.mp_state, st);
	}
}
