/* SPDX-License-Identifier: MIT */
/* cpu/smram.c - registers to and from the save-state area of SMM (APM2 10.2.3, 10.3.3). */
#include "cpu/smram.h"

#include "base/mem.h"
#include "cpu/exec_priv.h"
#include "mmu/mmu.h"

static void put(u8 *map, u32 at, u32 bytes, u64 v)
{
	cpu_copy(map + (at - SMRAM_AT), &v, bytes);
}

static u64 get(const u8 *map, u32 at, u32 bytes)
{
	u64 v = 0;

	cpu_copy(&v, map + (at - SMRAM_AT), bytes);
	return v;
}

/* Attributes as bits 55:40 of a descriptor, those of the limit zero. */
static u64 attr_out(u16 a)
{
	return (a & 0xffu) | (a & 0xf00u) << 4;
}

static u16 attr_in(u64 v)
{
	return (u16)((v & 0xff) | (v >> 4 & 0xf00));
}

#define FIELD(at, bytes, field) put(map, at, bytes, s->field);
#define SEG(at, r) \
	put(map, at, 2, s->seg[r].sel); \
	put(map, at + 2, 2, attr_out(s->seg[r].attr)); \
	put(map, at + 4, 4, s->seg[r].limit); \
	put(map, at + 8, 8, s->seg[r].base);
#define DTR(at, field) \
	put(map, at + 4, 4, s->field.limit); \
	put(map, at + 8, 8, s->field.base);
#define SEG32(at, r, sel_at) \
	put(map, at, 4, attr_out(s->seg[r].attr) << 8); \
	put(map, at + 4, 4, s->seg[r].limit); \
	put(map, at + 8, 4, s->seg[r].base); \
	put(map, sel_at, 4, s->seg[r].sel);
#define DTR32(at, field) \
	put(map, at + 4, 4, s->field.limit); \
	put(map, at + 8, 4, s->field.base);

void smram_encode(const struct smram *s, bool lm, u8 map[SMRAM_BYTES])
{
	cpu_zero(map, SMRAM_BYTES);
	if (lm) {
		SMRAM_64(FIELD, SEG, DTR)
	} else {
		SMRAM_32(FIELD, SEG32, DTR32)
	}
}
#undef FIELD
#undef SEG
#undef DTR
#undef SEG32
#undef DTR32

/* A register has 16 bits of limit, as everywhere in KVM's interface. */
static struct cpu_dtr dtr_in(const u8 *map, u32 limit_at, u32 base_at, u32 base_bytes)
{
	return (struct cpu_dtr){ .limit = (u16)get(map, limit_at, 4),
				 .base = get(map, base_at, base_bytes) };
}

#define FIELD(at, bytes, field) s->field = (__typeof__(s->field))get(map, at, bytes);
#define SEG(at, r) \
	s->seg[r].sel = (u16)get(map, at, 2); \
	s->seg[r].attr = attr_in(get(map, at + 2, 2)); \
	s->seg[r].limit = (u32)get(map, at + 4, 4); \
	s->seg[r].base = get(map, at + 8, 8);
#define DTR(at, field) s->field = dtr_in(map, at + 4, at + 8, 8);
#define SEG32(at, r, sel_at) \
	s->seg[r].sel = (u16)get(map, sel_at, 4); \
	s->seg[r].attr = attr_in(get(map, at, 4) >> 8); \
	s->seg[r].limit = (u32)get(map, at + 4, 4); \
	s->seg[r].base = get(map, at + 8, 4);
#define DTR32(at, field) s->field = dtr_in(map, at + 4, at + 8, 4);

void smram_decode(struct smram *s, bool lm, const u8 map[SMRAM_BYTES])
{
	cpu_zero(s, sizeof(*s));
	if (lm) {
		SMRAM_64(FIELD, SEG, DTR)
	} else {
		SMRAM_32(FIELD, SEG32, DTR32)
	}
}

void smram_take(const struct cpu *c, struct smram *s)
{
	cpu_zero(s, sizeof(*s));
	cpu_copy(s->gpr, c->gpr, sizeof(s->gpr));
	cpu_copy(s->seg, c->seg, sizeof(s->seg));
	for (u32 i = 0; i < S_COUNT; i++) {
		/* As KVM_GET_SREGS has them. */
		s->seg[i].attr &= (u16)~SEG_G;
		if (s->seg[i].limit > 0xfffff)
			s->seg[i].attr |= SEG_G;
	}
	s->seg[S_SS].attr &= (u16)~SEG_DPL;
	s->seg[S_SS].attr |= (u16)(c->cpl << SEG_DPL_SHIFT);
	s->gdtr = c->gdtr;
	s->idtr = c->idtr;
	s->rip = c->rip;
	s->rflags = c->rflags;
	s->dr6 = c->dr6;
	s->dr7 = c->dr7;
	s->cr0 = c->cr0;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->efer = c->efer;
	s->shadow = (c->shadow_ss ? SMRAM_SHADOW_SS : 0) | (c->shadow_sti ? SMRAM_SHADOW_STI : 0);
}

/* Real mode, with nothing of long mode: from here control registers are loaded one after the
 * other. */
static void real_mode(struct cpu *c)
{
	c->cr0 &= ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
	c->cr4 = 0;
	c->efer = 0;
	c->cpl = 0;
	c->shadow_sti = c->shadow_ss = c->shadow_left = 0;
	cpu_mode_changed(c);
	mmu_flush_all(c);
}

void cpu_enter_smm(struct cpu *c, u64 smbase)
{
	/* Flat, 16 bits, with limits of 4 GiB. CS is a data segment, as KVM has it. */
	const struct cpu_seg flat = { .limit = 0xffffffff,
				      .attr = SEG_P | SEG_S | SEG_RW | SEG_ACCESSED | SEG_G };

	for (u32 i = S_ES; i <= S_GS; i++)
		c->seg[i] = flat;
	c->seg[S_CS].base = smbase;
	c->seg[S_CS].sel = (u16)(smbase >> 4);
	/* No handler's table: the first interrupt before LIDT is a shutdown. */
	c->idtr = (struct cpu_dtr){ 0 };
	c->rip = SMM_ENTRY;
	c->rflags = FL_FIXED;
	cpu_set_dr7(c, DR7_FIXED);
	real_mode(c);
}

static bool load_control(struct cpu *c, const struct smram *s)
{
	u64 pcid = s->cr4 & CR4_PCIDE ? s->cr3 & 0xfff : 0;

	/* Only long mode can have PCIDs, and PCID 0 when they are switched on. */
	if (cpu_set_cr3(c, s->cr3 & ~pcid) || cpu_set_cr4(c, s->cr4 & ~CR4_PCIDE) ||
	    cpu_set_cr0(c, s->cr0))
		return false;
	if (!(s->cr4 & CR4_PCIDE))
		return true;
	return !cpu_set_cr4(c, s->cr4) && (!pcid || !cpu_set_cr3(c, s->cr3));
}

/* What no CPU can be in: VMRUN's rules (APM2 15.5.1), and a virtual-8086 mode of long mode. */
static bool possible(const struct cpu *c)
{
	if (!(c->efer & EFER_LMA))
		return true;
	return !(c->rflags & FL_VM) && (c->seg[S_CS].attr & (SEG_L | SEG_DB)) != (SEG_L | SEG_DB);
}

bool cpu_leave_smm(struct cpu *c, const struct smram *s, bool lm)
{
	real_mode(c);
	c->seg[S_CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_RW | SEG_ACCESSED;
	for (u32 i = 0; i < (lm ? 16 : 8); i++)
		c->gpr[i] = s->gpr[i];
	c->rip = s->rip;
	c->rflags = (s->rflags & FL_DEFINED) | FL_FIXED;
	if ((s->dr6 | s->dr7) >> 32)
		return false;
	c->dr6 = (s->dr6 & DR6_WRITABLE) | DR6_FIXED;
	cpu_set_dr7(c, (s->dr7 & DR7_WRITABLE) | DR7_FIXED);
	if (lm && cpu_set_efer(c, s->efer & ~EFER_LMA))
		return false;
	c->gdtr = s->gdtr;
	c->idtr = s->idtr;
	if (!load_control(c, s))
		return false;
	/* Not checked: whatever they say is what the CPU goes on with. */
	cpu_copy(c->seg, s->seg, sizeof(c->seg));
	if (!(c->cr0 & CR0_PE))
		c->cpl = 0;
	else
		c->cpl = c->rflags & FL_VM ? 3 : (c->seg[S_SS].attr & SEG_DPL) >> SEG_DPL_SHIFT;
	c->shadow_ss = !!(s->shadow & SMRAM_SHADOW_SS);
	c->shadow_sti = !!(s->shadow & SMRAM_SHADOW_STI);
	cpu_mode_changed(c);
	return possible(c);
}
