/* SPDX-License-Identifier: MIT */
/* tests/fuzz/ioctl_args.c - see ioctl_args.h. */
#include "tests/fuzz/ioctl_args.h"

#include <stddef.h>
#include <string.h>

#include "abi/ioctls.h"
#include "tests/fuzz/door.h"
#include "vm/kvm_uapi.h"

#define X(name, code, how, type, call) { #name, code, KIND, HOW_##how, 4 },
const struct request requests[] = {
#define KIND FD_SYSTEM
	SYSTEM_IOCTLS(X)
#undef KIND
#define KIND FD_VM
	VM_IOCTLS(X)
#undef KIND
#define KIND FD_VCPU
	VCPU_IOCTLS(X)
#undef KIND
	{ "(unknown)", 0xaefe, FD_SYSTEM, HOW_VAL, 1 },
	{ "(unknown)", 0xaefe, FD_VM, HOW_VAL, 1 },
	{ "(unknown)", 0xaefe, FD_VCPU, HOW_VAL, 1 },
};
#undef X
const u32 nr_requests = ARRAY_SIZE(requests);

u64 border(struct args *a)
{
	static const u64 edges[] = {
		0, 1, 2, 3, 4, 7, 8, 0xf, 0x10, 0x18, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xff,
		0x100, 0x1ff, 0x3ff, 0x400, 0xfff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x10000,
		0xa0000, 0x100000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0xfee00000,
		0xfec00000, 0xfee00fff, 0x7fffffffffff, 0x800000000000, 0xffff7fffffffffff,
		0xffff800000000000, 1ull << 51, 1ull << 52, 1ull << 63, ~0ull, ~0ull - 1,
		0xfffffffffffff000, 0xfffffffffffff, 0x1f80, 0x20, 0x202, 0x80000011, 0xd01,
	};
	u64 r = random_next(&a->rng);

	switch (r >> 60) {
	case 0: case 1: case 2: case 3: case 4: case 5:
		return edges[(r & 0xffff) % ARRAY_SIZE(edges)];
	case 6: case 7: case 8:
		return r & 0x1f;
	case 9: case 10:
		return 1ull << (r & 63);
	case 11:
		return edges[(r & 0xffff) % ARRAY_SIZE(edges)] + (r >> 20 & 0xf) - 8;
	case 12:
		return (u32)r;
	default:
		return random_next(&a->rng);
	}
}

u64 some_gpa(struct args *a)
{
	static const u64 at[] = {
		0, 0, 0, 0, 0x10000, 0x80000, 0xf0000, 0x100000, 0xfec00000, 0xfee00000, 0xfffff000,
		0x100000000, 0x10000000000, (1ull << 52) - 0x10000, 1ull << 52, 0xfffffffffffff000,
	};

	return pick(a, 16) ? at[pick(a, ARRAY_SIZE(at))] : border(a);
}

/* Change a few fields of whatever width. */
static void scramble(struct args *a, u8 *p, u32 n)
{
	static const u8 few[] = { 0, 0, 1, 1, 1, 2, 3, 6 };

	for (u32 i = few[pick(a, 8)]; i && n >= 8; i--) {
		u32 width = 1u << pick(a, 4), at = (u32)pick(a, n / width) * width;
		u64 v = border(a);

		memcpy(p + at, &v, width);
	}
}

/* What is in the buffer before it is changed. */
static void background(struct args *a, u8 *p, u32 n)
{
	switch (pick(a, 16)) {
	case 0:
		memset(p, 0xff, n);
		break;
	case 1:
		for (u32 i = 0; i < n; i++)
			p[i] = (u8)random_next(&a->rng);
		break;
	default:
		memset(p, 0, n);
	}
}

/* An address for a structure that ends with the buffer, or one that is wrong. */
static unsigned long address(struct args *a, const u8 *p)
{
	switch (pick(a, 64)) {
	case 0: return 0;
	case 1: return 8;
	case 2: return (unsigned long)-4096l;
	case 3: return (unsigned long)(p + 8);	/* runs into the inaccessible page */
	case 4: return (unsigned long)(a->buf + BUF_BYTES);
	case 5: return (unsigned long)a->readonly;
	case 6: return 1ul << 63;
	default: return (unsigned long)p;
	}
}

/* -- requests with rules of their own -- */

static void memory_region(struct args *a, u8 *p)
{
	struct kvm_userspace_memory_region2 *m = (void *)p;
	u64 size;

	m->slot = (u32)(pick(a, 8) ? pick(a, 4) : border(a));
	m->flags = (u32)(pick(a, 8) ? pick(a, 4) : border(a));
	m->guest_phys_addr = some_gpa(a);
	switch (pick(a, 8)) {
	case 0: case 1:
		size = 0;
		break;
	case 2:
		size = border(a);
		/* A slot over memory that is not the guest's would let it change us. */
		if (size > ARENA_RESERVED / 2 && size < 1ull << 47)
			size &= 0x3fffffff;
		break;
	case 3:
		size = 1 << 30;
		break;
	default:
		size = (1 + pick(a, 256)) << 12;
	}
	m->memory_size = size;
	m->userspace_addr = (u64)(uintptr_t)a->arena + (pick(a, 4) << 16);
	if (!pick(a, 16))
		m->userspace_addr += pick(a, 4096);
	if (!pick(a, 32))
		m->userspace_addr = 0xfffffffffffff000ull;
}

static void irqfd(struct args *a, u8 *p)
{
	struct kvm_irqfd *q = (void *)p;

	q->fd = (u32)(pick(a, 16) ? a->eventfd[pick(a, EVENTFDS)] : -1);
	q->gsi = (u32)(pick(a, 16) ? pick(a, 26) : border(a));
	q->flags = (u32)(pick(a, 16) ? pick(a, 4) : border(a));
	q->resamplefd = (u32)(pick(a, 16) ? a->eventfd[pick(a, EVENTFDS)] : 0);
}

static void ioeventfd(struct args *a, u8 *p)
{
	static const u64 at[] = { 0x10, 0x20, 0x100000, 0xc0000, 0xfee00000, ~0ull };
	struct kvm_ioeventfd *q = (void *)p;

	q->addr = at[pick(a, ARRAY_SIZE(at))];
	q->len = (u32)(pick(a, 16) ? 1u << pick(a, 4) : pick(a, 2) * 3);
	q->fd = pick(a, 16) ? a->eventfd[pick(a, EVENTFDS)] : (int)border(a);
	if (!pick(a, 4))
		q->len = 0;
	q->flags = (u32)(pick(a, 16) ? pick(a, 8) : border(a));
	q->datamatch = pick(a, 4);
}

static u32 routing(struct args *a, u8 *p)
{
	struct kvm_irq_routing *r = (void *)p;

	r->nr = (u32)pick(a, 40);
	for (u32 i = 0; i < r->nr; i++) {
		struct kvm_irq_routing_entry *e = &r->entries[i];

		memset(e, 0, sizeof(*e));
		e->gsi = (u32)(pick(a, 32) ? pick(a, 32) : border(a));
		e->type = (u32)(pick(a, 32) ? 1 + pick(a, 2) : border(a));
		if (e->type == KVM_IRQ_ROUTING_IRQCHIP) {
			e->u.irqchip.irqchip = (u32)pick(a, pick(a, 16) ? 3 : 5);
			e->u.irqchip.pin = (u32)pick(a, pick(a, 16) ? 8 : 30);
		} else {
			e->u.msi.address_lo = 0xfee00000 | (u32)(random_next(&a->rng) & 0xff00c);
			e->u.msi.data = (u32)random_next(&a->rng) & 0xcfff;
		}
	}
	if (!pick(a, 16))
		r->flags = (u32)border(a);
	return sizeof(*r) + r->nr * (u32)sizeof(r->entries[0]);
}

static u32 msrs(struct args *a, u8 *p)
{
	static const u32 index[] = {
		0x10, 0x11, 0x12, 0x1b, 0x3b, 0x48, 0x79, 0x8b, 0x174, 0x175, 0x176, 0x17a, 0x17b,
		0x1a0, 0x1d9, 0x200, 0x20f, 0x250, 0x277, 0x2ff, 0x400, 0x403, 0x47f, 0x6e0, 0x802,
		0x80b, 0x80d, 0x830, 0x83f, 0xda0, 0x4b564d00, 0x4b564d01, 0x4b564d02, 0x4b564d03,
		0x4b564d04, 0x4b564d05, 0x4b564d06, 0x40000000, 0xc0000080, 0xc0000081, 0xc0000082,
		0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102, 0xc0000103, 0xc0000104, 0xc0010015,
		0xc0010058, 0xc001001f, 0xc0010114, 0xc0010117, 0xc0010140, 0xc0011029, 0xdead,
		/* performance counters: twice, since they work together */
		0xc0000300, 0xc0000301, 0xc0000302, 0xc0000303, 0xc0010000, 0xc0010003, 0xc0010004,
		0xc0010007, 0xc0010200, 0xc0010201, 0xc0010202, 0xc0010203, 0xc0010208, 0xc001020a,
		0xc001020b, 0xc0010200, 0xc0010201, 0xc0010202, 0xc0010203, 0xc0010204, 0xc0010205,
	};
	static const u64 selects[] = {
		0x5300c0, 0x4300c0, 0x5300c2, 0x530076, 0x430076, 0x510129, 0x530729, 0x3005300c0,
		0x100005300c0, 0x200005300c0, ~0ull, 0x5300c0,
	};
	struct kvm_msrs *m = (void *)p;

	m->nmsrs = (u32)(pick(a, 32) ? pick(a, 20) : border(a) & 0x3ff);
	m->pad = 0;
	for (u32 i = 0; i < m->nmsrs; i++) {
		m->entries[i].index = index[pick(a, ARRAY_SIZE(index))];
		m->entries[i].reserved = 0;
		m->entries[i].data = border(a);
		if (m->entries[i].index >= 0xc0010000 && m->entries[i].index < 0xc001020c &&
		    pick(a, 4))
			m->entries[i].data = pick(a, 2) ? selects[pick(a, ARRAY_SIZE(selects))]
							: -(u64)pick(a, 5000);
	}
	return sizeof(*m) + m->nmsrs * (u32)sizeof(m->entries[0]);
}

static u32 cpuid(struct args *a, u8 *p, int fd, u32 code)
{
	struct kvm_cpuid2 *c = (void *)p;
	u32 given = (u32)(pick(a, 8) ? 128 : pick(a, 300));

	c->nent = 0;
	c->padding = 0;
	if (code == (u32)KVM_SET_CPUID2 || code == (u32)KVM_SET_CPUID) {
		c->nent = 256;
		if (door_ioctl(fd, (u32)KVM_GET_CPUID2, (unsigned long)p))
			c->nent = 0;
		scramble(a, (u8 *)c->entries, c->nent * (u32)sizeof(c->entries[0]));
		given = pick(a, 8) ? c->nent : given;
	}
	c->nent = given;
	return sizeof(*c) + given * (u32)sizeof(c->entries[0]);
}

static void msr_filter(struct args *a, u8 *p)
{
	struct kvm_msr_filter *f = (void *)p;

	f->flags = (u32)pick(a, pick(a, 16) ? 2 : 8);
	for (u32 i = pick(a, 5) ? (u32)pick(a, 3) : 16; i-- > 0;) {
		f->ranges[i].flags = 1 + (u32)pick(a, 3);
		f->ranges[i].base = (u32)(pick(a, 2) ? 0x10 : border(a));
		f->ranges[i].nmsrs = (u32)(pick(a, 16) ? pick(a, 128) : border(a));
		f->ranges[i].bitmap = (u8 *)address(a, a->buf);
	}
}

static u32 pmu_filter(struct args *a, u8 *p)
{
	static const u64 events[] = {
		0xc0, 0xc2, 0x76, 0x129, 0xff00000000000129, 0x29, 0x80ff0000000029, 1ull << 40,
	};
	struct kvm_pmu_event_filter *f = (void *)p;

	f->action = (u32)pick(a, pick(a, 16) ? 2 : 4);
	f->nevents = (u32)(pick(a, 16) ? pick(a, 6) : border(a) & 0x1ff);
	f->fixed_counter_bitmap = (u32)border(a);
	f->flags = (u32)pick(a, pick(a, 16) ? 2 : 4);
	for (u32 i = 0; i < f->nevents; i++)
		f->events[i] = pick(a, 8) ? events[pick(a, ARRAY_SIZE(events))] : border(a);
	return sizeof(*f) + f->nevents * (u32)sizeof(f->events[0]);
}

static void enable_cap(struct args *a, u8 *p)
{
	struct kvm_enable_cap *c = (void *)p;

	c->cap = (u32)(pick(a, 32) ? pick(a, 250) : border(a));
	for (u32 i = 0; i < 4; i++)
		c->args[i] = pick(a, 2) ? border(a) : 0;
	if (c->cap == KVM_CAP_SPLIT_IRQCHIP)
		c->args[0] = 24;
	if (!pick(a, 16))
		c->flags = (u32)border(a);
}

static void msi(struct args *a, u8 *p)
{
	struct kvm_msi *m = (void *)p;

	m->address_lo = 0xfee00000 | (u32)(random_next(&a->rng) & 0xff00c);
	m->data = (u32)random_next(&a->rng) & 0xc7ff;
	m->address_hi = (u32)(pick(a, 8) ? 0 : border(a));
	m->flags = (u32)(pick(a, 16) ? 0 : border(a));
}

static void irq_line(struct args *a, u8 *p)
{
	struct kvm_irq_level *l = (void *)p;

	l->irq = (u32)(pick(a, 16) ? pick(a, 26) : border(a));
	l->level = (u32)pick(a, 2);
}

static void interrupt(struct args *a, u8 *p)
{
	*(u32 *)(void *)p = (u32)(pick(a, 8) ? pick(a, 256) : border(a));
}

static void mp_state(struct args *a, u8 *p)
{
	*(u32 *)(void *)p = (u32)(pick(a, 4) ? 0 : border(a) & 0xf);
}

static u32 signal_mask(struct args *a, u8 *p)
{
	u64 set = pick(a, 2) ? border(a) : 0;

	*(u32 *)(void *)p = (u32)(pick(a, 16) ? 8 : border(a));
	set &= ~BIT64(KICK_SIGNAL - 1);
	memcpy(p + 4, &set, 8);
	return 12;
}

/* Structures with an address inside, which must be a good or a harmless one. */
static const struct {
	u32 code;
	u8 at;
} pointers[] = {
	{ (u32)KVM_GET_DIRTY_LOG, 8 },	  { (u32)KVM_CLEAR_DIRTY_LOG, 16 },
	{ (u32)KVM_SET_DEVICE_ATTR, 16 }, { (u32)KVM_GET_DEVICE_ATTR, 16 },
	{ (u32)KVM_HAS_DEVICE_ATTR, 16 }, { (u32)KVM_GET_ONE_REG, 8 },
	{ (u32)KVM_SET_ONE_REG, 8 },
};

static const struct {
	u32 set, get;
} partners[] = {
	{ (u32)KVM_SET_REGS, (u32)KVM_GET_REGS },
	{ (u32)KVM_SET_SREGS, (u32)KVM_GET_SREGS },
	{ (u32)KVM_SET_SREGS2, (u32)KVM_GET_SREGS2 },
	{ (u32)KVM_SET_FPU, (u32)KVM_GET_FPU },
	{ (u32)KVM_SET_LAPIC, (u32)KVM_GET_LAPIC },
	{ (u32)KVM_SET_XSAVE, (u32)KVM_GET_XSAVE },
	{ (u32)KVM_SET_XCRS, (u32)KVM_GET_XCRS },
	{ (u32)KVM_SET_IRQCHIP, (u32)KVM_GET_IRQCHIP },
	{ (u32)KVM_SET_DEBUGREGS, (u32)KVM_GET_DEBUGREGS },
	{ (u32)KVM_SET_VCPU_EVENTS, (u32)KVM_GET_VCPU_EVENTS },
	{ (u32)KVM_SET_PIT2, (u32)KVM_GET_PIT2 },
	{ (u32)KVM_SET_CLOCK, (u32)KVM_GET_CLOCK },
	{ (u32)KVM_SET_NESTED_STATE, (u32)KVM_GET_NESTED_STATE },
};

static u32 generic(struct args *a, u8 *p, const struct request *r, int fd)
{
	u32 n = _IOC_SIZE(r->code) ? _IOC_SIZE(r->code) : 256;

	if (r->how == HOW_RAW && n < 4096)
		n = 4096;
	background(a, p, n);
	for (u32 i = 0; i < ARRAY_SIZE(partners); i++)
		if (partners[i].set == r->code) {
			if (r->code == (u32)KVM_SET_IRQCHIP)
				p[0] = (u8)pick(a, 3);
			if (r->code == (u32)KVM_SET_NESTED_STATE)
				memcpy(p + 4, &(u32){ n }, 4);
			door_ioctl(fd, partners[i].get, (unsigned long)p);
		}
	scramble(a, p, n);
	for (u32 i = 0; i < ARRAY_SIZE(pointers); i++)
		if (pointers[i].code == r->code) {
			u64 where = address(a, a->buf);

			memcpy(p + pointers[i].at, &where, 8);
		}
	return n;
}

unsigned long make_arg(struct args *a, const struct request *r, int fd)
{
	u8 *tmp = a->buf, *end = a->buf + BUF_BYTES;
	u32 n = _IOC_SIZE(r->code);

	switch (r->how) {
	case HOW_NONE:
	case HOW_ZERO:
		return pick(a, 32) ? 0 : border(a);
	case HOW_VAL:
		return border(a);
	default:
		break;
	}
	/* Made at the front, then moved so that it ends where the memory ends. */
	tmp += 8192;
	memset(tmp, 0, n);
	switch (r->code) {
	case (u32)KVM_SET_USER_MEMORY_REGION:
	case KVM_SET_USER_MEMORY_REGION2:
		memset(tmp, 0, sizeof(struct kvm_userspace_memory_region2));
		memory_region(a, tmp);
		break;
	case (u32)KVM_IRQFD: irqfd(a, tmp); break;
	case (u32)KVM_IOEVENTFD: ioeventfd(a, tmp); break;
	case (u32)KVM_SET_GSI_ROUTING: n = routing(a, tmp); break;
	case (u32)KVM_GET_MSRS:
	case (u32)KVM_SET_MSRS: n = msrs(a, tmp); break;
	case (u32)KVM_GET_SUPPORTED_CPUID:
	case (u32)KVM_GET_EMULATED_CPUID:
	case (u32)KVM_SET_CPUID:
	case (u32)KVM_SET_CPUID2:
	case (u32)KVM_GET_CPUID2: n = cpuid(a, tmp, fd, r->code); break;
	case (u32)KVM_X86_SET_MSR_FILTER: msr_filter(a, tmp); break;
	case (u32)KVM_SET_PMU_EVENT_FILTER: n = pmu_filter(a, tmp); break;
	case (u32)KVM_ENABLE_CAP: enable_cap(a, tmp); break;
	case (u32)KVM_SIGNAL_MSI: msi(a, tmp); break;
	case (u32)KVM_IRQ_LINE:
	case (u32)KVM_IRQ_LINE_STATUS: irq_line(a, tmp); break;
	case (u32)KVM_INTERRUPT: interrupt(a, tmp); break;
	case (u32)KVM_SET_MP_STATE: mp_state(a, tmp); break;
	case (u32)KVM_SET_SIGNAL_MASK: n = signal_mask(a, tmp); break;
	default: n = generic(a, tmp, r, fd); break;
	}
	if (n > BUF_BYTES - 8192)
		n = BUF_BYTES - 8192;
	memmove(end - n, tmp, n);
	return address(a, end - n);
}
