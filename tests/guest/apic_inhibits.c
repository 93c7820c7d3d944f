/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/apic_inhibits.c - a guest cannot tell whether its APIC is accelerated.
 *
 * A small interpreter in the guest carries out a random stream of APIC operations and logs every
 * register it reads and every interrupt it takes. The same stream runs with acceleration active
 * and with each reason against it (docs/kvm-apic.md 3.1); logs and final APIC states must be the
 * same. vCPU 0 runs, vCPU 1 is a target of IPIs, vCPUs 2 and 3 are there to cause the inhibits.
 */
/* Run: build/standin run -- build/tests/guest/guest_apic_inhibits [NAME...] */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/guest/harness/area.h"
#include "tests/guest/harness/harness.h"

enum { OPS = G_FREE, LOG = G_FREE + 0x100000, STUBS = G_FREE + 0x200000, LOG_MAX = 2000 };
enum op {
	OP_END, OP_WRITE, OP_READ, OP_WINDOW, OP_SET_CR8, OP_GET_CR8,
	OP_WAIT /* for an interrupt */, OP_X2WRITE, OP_X2READ,
};

/*
 * rsi: operations of 16 bytes (u32 op, u32 register, u64 value); rdi: the log of 16-byte pairs.
 * A handler logs 0x1000 + vector with PPR, and writes EOI unless the PIC sent the interrupt.
 */
#define INTERPRETER(apic_on) \
	"mov $0xfee00000, %ebp\n mov $0x400000, %esi\n mov $0x500000, %edi\n" apic_on \
	"1: mov (%rsi), %eax\n mov 4(%rsi), %ebx\n mov 8(%rsi), %r9\n add $16, %rsi\n" \
	"cmp $1, %eax\n je 11f\n cmp $2, %eax\n je 12f\n cmp $3, %eax\n je 13f\n" \
	"cmp $4, %eax\n je 14f\n cmp $5, %eax\n je 15f\n cmp $6, %eax\n je 16f\n" \
	"cmp $7, %eax\n je 17f\n cmp $8, %eax\n je 18f\n" DONE \
	"11: mov %r9d, (%rbp, %rbx)\n jmp 1b\n" \
	"12: mov (%rbp, %rbx), %eax\n 2: mov %rbx, (%rdi)\n mov %rax, 8(%rdi)\n add $16, %rdi\n" \
	" jmp 1b\n" \
	"13: sti\n nop\n nop\n nop\n cli\n jmp 1b\n" \
	"14: mov %r9, %cr8\n jmp 1b\n" \
	"15: mov %cr8, %rax\n mov $0x2000, %ebx\n jmp 2b\n" \
	"16: mov %rdi, %r9\n sti\n 3: pause\n cmp %rdi, %r9\n je 3b\n cli\n jmp 1b\n" \
	"17: mov %ebx, %ecx\n mov %r9d, %eax\n mov %r9, %rdx\n shr $32, %rdx\n wrmsr\n jmp 1b\n" \
	"18: mov %ebx, %ecx\n rdmsr\n shl $32, %rdx\n or %rdx, %rax\n jmp 2b\n"
CODE64(xapic, INTERPRETER("") "xapic_h: push %rax\n push %rbx\n mov 16(%rsp), %rax\n"
	"mov 0xa0(%rbp), %ebx\n add $0x1000, %eax\n mov %rax, (%rdi)\n mov %rbx, 8(%rdi)\n"
	" add $16, %rdi\n"
	"cmp $0x1030, %eax\n jb 1f\n movl $0, 0xb0(%rbp)\n"
	"1: pop %rbx\n pop %rax\n add $8, %rsp\n iretq\n");
CODE64(x2apic, INTERPRETER("mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n")
	"x2apic_h: push %rax\n push %rbx\n push %rcx\n push %rdx\n mov 32(%rsp), %rbx\n"
	"mov $0x80a, %ecx\n rdmsr\n add $0x1000, %ebx\n mov %rbx, (%rdi)\n mov %rax, 8(%rdi)\n"
	" add $16, %rdi\n"
	"cmp $0x1030, %ebx\n jb 1f\n xor %eax, %eax\n xor %edx, %edx\n mov $0x80b, %ecx\n wrmsr\n"
	"1: pop %rdx\n pop %rcx\n pop %rbx\n pop %rax\n add $8, %rsp\n iretq\n");
LABEL(xapic_h);
LABEL(x2apic_h);

struct op_entry {
	u32 op, reg;
	u64 val;
};
struct log_entry {
	u64 what, val;
};

static u64 seed;
static u32 rnd(u32 below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (u32)(seed >> 33) % below;
}

static const u32 readable[] = { 0x20, 0x30, 0x80, 0xa0, 0xd0, 0xf0, 0x100, 0x120, 0x140, 0x160,
				0x170,
				0x180, 0x1a0, 0x200, 0x220, 0x230, 0x240, 0x260, 0x270, 0x280,
				0x300, 0x320, 0x350, 0x360, 0x370, 0x380, 0x3e0 };

/* An interrupt command that stays inside the VM's first two vCPUs. */
static u64 random_icr(bool x2)
{
	static const u32 modes[] = { 0, 0, 0, 0, 0x100 };
	u32 vec = rnd(20) ? 0x40 + rnd(0xb0) : rnd(0x10);
	u32 shorthand = rnd(3) == 0 ? 0 : 1 + rnd(3);
	u64 dest = shorthand ? 0 : rnd(2);

	return vec | (shorthand == 1 ? 0 : modes[rnd(ARRAY_SIZE(modes))]) | 0x4000 |
	       (u64)shorthand << 18 | dest << (x2 ? 32 : 56);
}

static u32 make_ops(struct op_entry *o, u32 n, bool x2)
{
	u32 k = 0;
	const enum op w = x2 ? OP_X2WRITE : OP_WRITE, r = x2 ? OP_X2READ : OP_READ;
#define REG(x) (x2 ? 0x800 + (x) / 16 : (u32)(x))
#define PUT(op_, reg_, val_) o[k++] = (struct op_entry){ op_, reg_, val_ }

	PUT(w, REG(0xf0), 0x1ff);
	while (k < n) {
		switch (rnd(14)) {
		case 0: case 1: case 2: {
			u64 icr = random_icr(x2);

			if (!x2)
				PUT(OP_WRITE, 0x310, icr >> 32);
			PUT(w, REG(0x300), x2 ? icr : (u32)icr);
			break;
		}
		case 3:
			if (x2)
				PUT(w, 0x83f, 0x40 + rnd(0xb0));
			break;
		case 4:
			PUT(w, REG(0x80), rnd(256));
			break;
		case 5:
			PUT(OP_SET_CR8, 0, rnd(16));
			break;
		case 6:
			PUT(OP_GET_CR8, 0, 0);
			break;
		case 7:	/* SDM3 11.5.4: one shot, bus clock / 1; nothing else is pending */
			PUT(w, REG(0x80), 0);
			PUT(OP_WINDOW, 0, 0);
			PUT(w, REG(0x3e0), 0xb);
			PUT(w, REG(0x320), 0x40 + rnd(0xb0));
			PUT(w, REG(0x380), 1);
			PUT(OP_WAIT, 0, 0);
			break;
		case 8:
			PUT(w, REG(0x360 + 16 * rnd(2)),
			    (rnd(2) ? 0x10000u : 0) | (0x40 + rnd(0xb0)));
			break;
		case 9:
			PUT(w, REG(0x80), 0);
			PUT(OP_WINDOW, 0, 0);
			break;
		case 10:
			PUT(w, REG(0x280), 0);
			break;
		default: {
			u32 reg = readable[rnd(ARRAY_SIZE(readable))];

			PUT(r, REG(reg), 0);
		}
		}
	}
	PUT(w, REG(0x80), 0);
	PUT(OP_WINDOW, 0, 0);
	for (u32 i = 0; i < ARRAY_SIZE(readable); i++)
		PUT(r, REG(readable[i]), 0);
	PUT(OP_END, 0, 0);
	return k;
}

/* -- the reasons -- */

struct setup {
	const char *name;
	u32 bit;		/* of the inhibit mask; 0 = must be active */
	const char *hardware;	/* STANDIN_AVIC */
	void (*before)(struct guest *g);	/* all vCPUs exist, nothing has run */
};

static struct kvm_lapic_state get_lapic(struct guest_cpu *c)
{
	struct kvm_lapic_state s;

	vcpu_ioctl(c, KVM_GET_LAPIC, &s, "KVM_GET_LAPIC");
	return s;
}

static void put32(struct kvm_lapic_state *s, u32 reg, u32 v)
{
	memcpy(s->regs + reg, &v, 4);
}

static void set_reg(struct guest_cpu *c, u32 reg, u32 v)
{
	struct kvm_lapic_state s = get_lapic(c);

	put32(&s, 0xf0, 0x1ff);
	put32(&s, reg, v);
	vcpu_ioctl(c, KVM_SET_LAPIC, &s, "KVM_SET_LAPIC");
}

static void nothing(struct guest *g)
{
}
static void move_base(struct guest *g)
{
	WITH_SREGS(&g->cpu[2], s)
		s.apic_base = 0xfee10000 | 1 << 11;
}
static void change_id(struct guest *g) { set_reg(&g->cpu[2], 0x20, 9u << 24); }
static void alias_id(struct guest *g) { set_reg(&g->cpu[2], 0x20, 3u << 24); }
static void two_bits(struct guest *g) { set_reg(&g->cpu[2], 0xd0, 0xc0u << 24); }
static void reinject(struct guest *g)
{
	struct kvm_pit_config pit = { 0 };

	if (ioctl(g->vm, KVM_CREATE_PIT2, &pit))
		test_die("KVM_CREATE_PIT2: %s", strerror(errno));
}
static void reinject_off(struct guest *g)
{
	struct kvm_reinject_control r = { .pit_reinject = 0 };

	reinject(g);
	if (ioctl(g->vm, KVM_REINJECT_CONTROL, &r))
		test_die("KVM_REINJECT_CONTROL: %s", strerror(errno));
}
static void block_irq(struct guest *g)
{
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ };

	vcpu_ioctl(&g->cpu[2], KVM_SET_GUEST_DEBUG, &d, "KVM_SET_GUEST_DEBUG");
}
static void big_id(struct guest *g)
{
	int fd = ioctl(g->vm, KVM_CREATE_VCPU, 300ul);

	if (fd < 0)
		test_die("KVM_CREATE_VCPU 300: %s", strerror(errno));
}
/* The PIC has something for vCPU 0 before it opens for interrupts. */
static void extint(struct guest *g)
{
	struct kvm_irqchip pic = { .chip_id = KVM_IRQCHIP_PIC_MASTER,
				   .chip.pic = { .irq_base = 0x20, .imr = 0xfd, .init4 = 1 } };
	struct kvm_irq_level l = { .irq = 1, .level = 1 };

	if (ioctl(g->vm, KVM_SET_IRQCHIP, &pic) || ioctl(g->vm, KVM_IRQ_LINE, &l))
		test_die("a PIC interrupt: %s", strerror(errno));
}

static const struct setup setups[] = {
	{ "active", 0, "x2avic-ext", nothing },
	{ "DISABLED", BIT(0), "none", nothing },
	{ "BLOCKIRQ", BIT(3), "x2avic-ext", block_irq },
	{ "PHYSICAL_ID_ALIASED", BIT(4), "x2avic-ext", alias_id },
	{ "APIC_ID_MODIFIED", BIT(5), "x2avic-ext", change_id },
	{ "APIC_BASE_MODIFIED", BIT(6), "x2avic-ext", move_base },
	{ "IRQWIN", 0, "x2avic-ext", extint },	/* comes and goes while it runs */
	{ "PIT_REINJ", BIT(9), "x2avic-ext", reinject },
	{ "PIT without reinjection", 0, "x2avic-ext", reinject_off },
	{ "LOGICAL_ID_ALIASED", BIT(11), "x2avic-ext", two_bits },
	{ "PHYSICAL_ID_TOO_BIG", BIT(12), "avic", big_id },
	{ "AVIC without x2AVIC", 0, "avic", nothing },
};

/* -- one run -- */

struct result {
	u32 n;
	struct log_entry log[LOG_MAX];
	struct kvm_lapic_state apic[2];
	u32 inhibits;
	bool known;	/* inhibits is */
};

static void build_stubs(struct guest *g, u64 handler)
{
	for (u32 v = 0x20; v < 256; v++) {
		u64 at = STUBS + v * 16;
		s32 rel = (s32)(handler - (at + 10));
		u8 code[10] = { 0x68, (u8)v, 0, 0, 0, 0xe9 };	/* push vector; jmp */

		memcpy(code + 6, &rel, 4);
		guest_write(g, at, code, sizeof(code));
		guest_gate(g, (u8)v, SEL_CODE64, at, 0xe, 0, 0);
	}
}

static void one(const struct setup *how, const struct op_entry *ops, u32 n, bool x2,
		struct result *r)
{
	struct guest *g;
	struct stop s;

	setenv("STANDIN_AVIC", how->hardware, 1);
	g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	for (u32 i = 1; i < 4; i++)
		guest_add_cpu(g);
	set_reg(&g->cpu[1], 0xf0, 0x1ff);
	set_reg(&g->cpu[2], 0xf0, 0x1ff);	/* takes part in arbitration, whatever follows */
	how->before(g);
	guest_map_apic(g);
	if (x2)
		guest_load(g, G_CODE, x2apic);
	else
		guest_load(g, G_CODE, xapic);
	build_stubs(g, x2 ? AT(x2apic, x2apic_h) : AT(xapic, xapic_h));
	guest_write(g, OPS, ops, n * (u32)sizeof(*ops));
	s = RUN_TO(g, ST_DONE);
	r->known = area_inhibits(&r->inhibits);
	r->n = 0;
	for (u64 at = LOG; at < s.r.rdi && r->n < LOG_MAX; at += 16) {
		struct log_entry e = { *g64(g, at), *g64(g, at + 8) };

		if (e.what < 0x1000 || e.what >= 0x1030 || how->before != extint)
			r->log[r->n++] = e;
	}
	for (u32 i = 0; i < 2; i++)
		r->apic[i] = get_lapic(&g->cpu[i]);
	guest_free(g);
}

static void differ(const struct setup *how, const struct result *a, const struct result *b)
{
	u32 n = a->n < b->n ? a->n : b->n;

	for (u32 i = 0; i < n; i++)
		if (a->log[i].what != b->log[i].what || a->log[i].val != b->log[i].val) {
			test_fail(__FILE__, __LINE__,
				  "%s: entry %u is %#llx = %#llx, active: "
				  "%#llx = %#llx",
				  how->name, i, (unsigned long long)b->log[i].what,
				  (unsigned long long)b->log[i].val,
				  (unsigned long long)a->log[i].what,
				  (unsigned long long)a->log[i].val);
			return;
		}
	CHECK_EQ(b->n, a->n);
	for (u32 cpu = 0; cpu < 2; cpu++)
		for (u32 reg = 0; reg < 0x400; reg += 16)
			if (reg != 0x390 &&
			    memcmp(a->apic[cpu].regs + reg, b->apic[cpu].regs + reg, 4))
				test_fail(__FILE__, __LINE__, "%s: vCPU %u register %#x differs",
					  how->name, cpu, reg);
}

static void compare(bool x2, u32 streams)
{
	static struct result base, other;
	static struct op_entry ops[400];

	for (u32 i = 0; i < streams; i++) {
		u32 n;

		seed = i * 7919 + x2;
		n = make_ops(ops, 200, x2);
		one(&setups[0], ops, n, x2, &base);
		if (base.known)
			CHECK_EQ(base.inhibits, 0);
		for (u32 k = 1; k < ARRAY_SIZE(setups); k++) {
			const struct setup *how = &setups[k];

			/* A vCPU in x2APIC mode has no id to change and a logical id of its own. */
			one(how, ops, n, x2, &other);
			if (other.known && how->bit)
				CHECK_EQ(other.inhibits & how->bit, how->bit);
			differ(how, &base, &other);
		}
	}
}

T(xapic, "xAPIC: same log and state with AVIC active and with every inhibit")
{
	compare(false, 12);
}
T(x2apic, "x2APIC: same log and state with AVIC active and with every inhibit")
{
	compare(true, 12);
}
