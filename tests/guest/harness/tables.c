/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/tables.c - descriptor, interrupt and page tables, and the start state. */
#include "tests/guest/harness/tables.h"

#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

const char *const mode_name[M_COUNT] = {
	"real", "16-bit protected", "32-bit protected", "32-bit paging", "PAE", "64-bit",
	"compatibility",
};

enum { PT_TOP = G_PT, PT_PDPT = G_PT + 0x1000, PT_PD = G_PT + 0x2000, PT_LEAF = G_PT + 0x3000 };

u64 gdt_desc(u32 base, u32 limit, u8 access, u8 flags)
{
	u64 lim = flags & 8 ? limit >> 12 : limit;

	return (lim & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)access << 40 |
	       (lim >> 16 & 0xf) << 48 | (u64)(flags & 0xf) << 52 | (u64)(base >> 24) << 56;
}

void guest_gdt(struct guest *g, u16 sel, u64 desc)
{
	*g64(g, G_GDT + (sel & ~7u)) = desc;
}

static bool is_long(const struct guest *g)
{
	return g->mode == M_LONG || g->mode == M_COMPAT;
}

void guest_gate(struct guest *g, u8 vec, u16 sel, u64 off, u8 type, u8 dpl, u8 ist)
{
	u32 size = is_long(g) ? 16 : 8;
	u64 gate = (off & 0xffff) | (u64)sel << 16 | (u64)(ist & 7) << 32 |
		   (u64)(0x80 | dpl << 5 | type) << 40 | (off >> 16 & 0xffff) << 48;

	*g64(g, G_IDT + vec * size) = gate;
	if (is_long(g))
		*g64(g, G_IDT + vec * size + 8) = off >> 32;
}

static void build_gdt(struct guest *g)
{
	u64 flat32 = gdt_desc(0, 0xffffffff, 0x9b, 0xc), data = gdt_desc(0, 0xffffffff, 0x93, 0xc);
	u8 tss_type = g->mode == M_PM16 ? 0x83 : 0x8b;

	guest_gdt(g, SEL_CODE32, flat32);
	guest_gdt(g, SEL_DATA, data);
	guest_gdt(g, SEL_CODE64, gdt_desc(0, 0xffffffff, 0x9b, 0xa));
	guest_gdt(g, SEL_DATA_B, data);
	guest_gdt(g, SEL_CODE16, gdt_desc(0, 0xffff, 0x9b, 0));
	guest_gdt(g, SEL_UCODE32, gdt_desc(0, 0xffffffff, 0xfb, 0xc));
	guest_gdt(g, SEL_UDATA, gdt_desc(0, 0xffffffff, 0xf3, 0xc));
	guest_gdt(g, SEL_UCODE64, gdt_desc(0, 0xffffffff, 0xfb, 0xa));
	guest_gdt(g, SEL_TSS, gdt_desc(G_TSS, 0x67, tss_type, 0));
	guest_gdt(g, SEL_DATA16, gdt_desc(0, 0xffff, 0x93, 0));
	guest_gdt(g, SEL_LDT, gdt_desc(G_LDT, 0xff, 0x82, 0));
	if (!is_long(g))
		guest_gdt(g, SEL_TSS2, gdt_desc(G_TSS2, 0x67, 0x89, 0));
}

static void build_idt(struct guest *g)
{
	static const u8 stub[4] = { 0xe6, PORT_EXC, 0xeb, 0xfc };	/* out; jmp to it */
	static const u8 iret[3][2] = { { 0xcf }, { 0xcf }, { 0x48, 0xcf } };

	for (u32 v = 0; v < 256; v++) {
		u64 at = G_STUBS + v * 16;

		guest_write(g, at, stub, sizeof(stub));
		switch (g->mode) {
		case M_REAL:
			*g32(g, v * 4) = (u32)at;	/* segment 0 */
			break;
		case M_PM16:
			guest_gate(g, (u8)v, SEL_CODE16, at, 6, 0, 0);
			break;
		case M_LONG: case M_COMPAT:
			guest_gate(g, (u8)v, SEL_CODE64, at, 0xe, 0, 0);
			break;
		default:
			guest_gate(g, (u8)v, SEL_CODE32, at, 0xe, 0, 0);
		}
	}
	if (g->mode >= M_PM32)
		*(g->ram + G_IDT + VEC_DONE3 * (is_long(g) ? 16 : 8) + 5) |= 0x60;	/* DPL 3 */
	for (u32 i = 0; i < 3; i++)
		guest_write(g, G_IRET + 16 * i, iret[i], 2);
}

static void build_tss(struct guest *g)
{
	if (is_long(g)) {
		*g64(g, G_TSS + 4) = G_STACK;	/* RSP0 */
		*g64(g, G_TSS + 36) = G_IST1;
		*g16(g, G_TSS + 102) = 0x68;	/* no I/O bitmap: beyond the limit */
	} else if (g->mode == M_PM16) {
		*g16(g, G_TSS + 2) = G_STACK;
		*g16(g, G_TSS + 4) = SEL_DATA16;
	} else {
		*g32(g, G_TSS + 4) = G_STACK;
		*g16(g, G_TSS + 8) = SEL_DATA;
		*g16(g, G_TSS + 102) = 0x68;
	}
}

static void build_paging(struct guest *g)
{
	const u64 all = PTE_P | PTE_W | PTE_U;

	switch (g->mode) {
	case M_PG32:
		for (u32 i = 0; i < 1024; i++)
			*g32(g, PT_LEAF + 4 * i) = i << 12 | (u32)all;
		*g32(g, PT_TOP) = PT_LEAF | (u32)all;
		for (u32 i = 1; i < G_RAM_SIZE >> 22; i++)
			*g32(g, PT_TOP + 4 * i) = i << 22 | PTE_PS | (u32)all;
		*g32(g, PT_TOP + 4 * (G_MMIO >> 22)) = G_MMIO | PTE_PS | (u32)all;
		return;
	case M_PAE:
		*g64(g, PT_PDPT) = PT_PD | PTE_P;
		break;
	case M_LONG: case M_COMPAT:
		*g64(g, PT_TOP) = PT_PDPT | all;
		*g64(g, PT_PDPT) = PT_PD | all;
		break;
	default:
		return;
	}
	/* The first 4 MiB by 4 KiB pages, the rest by 2 MiB. */
	for (u64 i = 0; i < 1024; i++)
		*g64(g, PT_LEAF + 8 * i) = i << 12 | all;
	*g64(g, PT_PD) = PT_LEAF | all;
	*g64(g, PT_PD + 8) = (PT_LEAF + 0x1000) | all;
	for (u64 i = 2; i < G_RAM_SIZE >> 21; i++)
		*g64(g, PT_PD + 8 * i) = i << 21 | PTE_PS | all;
	*g64(g, PT_PD + 8 * (G_MMIO >> 21)) = G_MMIO | PTE_PS | all;
}

u64 *guest_pte(struct guest *g, u64 va)
{
	return g64(g, PT_LEAF + 8 * (va >> 12));
}

u32 *guest_pte32(struct guest *g, u64 va)
{
	return g32(g, PT_LEAF + 4 * (va >> 12));
}

void guest_map_apic(struct guest *g)
{
	/* 3..4 GiB: one more PDPT entry, one large page. */
	*g64(g, PT_PDPT + 8 * 3) = (G_PT + 0xf000) | 7;
	*g64(g, G_PT + 0xf000 + 8 * (0xfee00000ull >> 21 & 511)) = 0xfee00000 | 0x87;
}

void guest_map_ioapic(struct guest *g)
{
	*g64(g, G_PT + 0xf000 + 8 * (0xfec00000ull >> 21 & 511)) = 0xfec00000 | 0x87;
	for (u32 id = KVM_IRQCHIP_PIC_MASTER; id <= KVM_IRQCHIP_PIC_SLAVE; id++) {
		struct kvm_irqchip pic = { .chip_id = id, .chip.pic.imr = 0xff };

		if (g->irqchip && ioctl(g->vm, KVM_SET_IRQCHIP, &pic))
			test_die("KVM_SET_IRQCHIP of a PIC: %s", strerror(errno));
	}
}

struct guest *guest_apic_code(const void *p, u32 n)
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);

	guest_write(g, G_CODE, p, n);
	guest_map_apic(g);
	return g;
}

struct guest *guest_with_apic(const void *p, u32 n, u8 vec, u64 handler)
{
	struct guest *g = guest_apic_code(p, n);

	guest_handler(g, vec, handler);
	return g;
}

void tables_build(struct guest *g)
{
	build_gdt(g);
	build_idt(g);
	build_tss(g);
	build_paging(g);
}

struct kvm_segment seg_flat(u16 sel, u8 type, u8 dpl, int bits)
{
	return (struct kvm_segment){
		.limit = bits == 16 ? 0xffff : 0xffffffff, .selector = sel, .type = type,
		.present = 1, .dpl = dpl, .db = bits == 32, .s = 1, .l = bits == 64,
		.g = bits != 16,
	};
}

static void set_data(struct kvm_sregs *s, const struct kvm_segment *d)
{
	s->ds = s->es = s->fs = s->gs = s->ss = *d;
}

void cpu_setup(struct guest_cpu *c)
{
	struct kvm_sregs s = cpu_sregs(c);
	struct kvm_regs r = { .rip = G_CODE,
			      .rsp = G_STACK - 0x200ull * (u32)c->index,
			      .rflags = 2 };
	struct kvm_segment data = seg_flat(SEL_DATA, 3, 0, 32);
	enum mode m = c->g->mode;

	s.cr0 = 0x20 | (m >= M_PM16) | (m >= M_PG32 ? 0x80000000 : 0) | 0x10 | 2 /* MP */;
	s.cr4 = 0x600;	/* OSFXSR OSXMMEXCPT */
	s.efer = 0;
	s.cr3 = m == M_PAE ? PT_PDPT : m >= M_PG32 ? PT_TOP : 0;
	if (m == M_PG32)
		s.cr4 |= 0x10;
	if (m >= M_PAE)
		s.cr4 |= 0x20;
	if (m == M_LONG || m == M_COMPAT)
		s.efer = 0x500;
	s.gdt.base = G_GDT;
	s.gdt.limit = GDT_BYTES - 1;
	s.idt.base = m == M_REAL ? 0 : G_IDT;
	s.idt.limit = m == M_REAL ? 0x3ff : m >= M_LONG ? 0xfff : 0x7ff;
	switch (m) {
	case M_REAL:
		s.cs = seg_flat(0, 0xb, 0, 16);
		data = seg_flat(0, 3, 0, 16);
		break;
	case M_PM16:
		s.cs = seg_flat(SEL_CODE16, 0xb, 0, 16);
		data = seg_flat(SEL_DATA16, 3, 0, 16);
		break;
	case M_LONG:
		s.cs = seg_flat(SEL_CODE64, 0xb, 0, 64);
		break;
	default:
		s.cs = seg_flat(SEL_CODE32, 0xb, 0, 32);
	}
	set_data(&s, &data);
	s.tr = (struct kvm_segment){
		.base = G_TSS, .limit = 0x67, .selector = SEL_TSS, .present = 1,
		.type = m == M_PM16 ? 3 : 11,
	};
	s.ldt = (struct kvm_segment){ .unusable = 1 };
	cpu_set_sregs(c, &s);
	cpu_set_regs(c, &r);
}

void cpu_ring3(struct guest_cpu *c, u64 rip)
{
	struct kvm_segment d = seg_flat(SEL_UDATA, 3, 3, 32);

	if (c->g->mode != M_LONG && need_stack_switch32)
		need_stack_switch32();
	WITH_SREGS(c, s) {
		if (c->g->mode == M_LONG)
			s.cs = seg_flat(SEL_UCODE64, 0xb, 3, 64);
		else
			s.cs = seg_flat(SEL_UCODE32, 0xb, 3, 32);
		set_data(&s, &d);
	}
	WITH_REGS(c, r) {
		r.rip = rip;
		r.rsp = G_STACK3;
	}
}
