/* SPDX-License-Identifier: MIT */
/*
 * engine/apic.c - short cuts from translated code to the local APIC: a C function is called
 * with the caller-saved registers put aside, and the unit goes on behind it.
 *
 * The APIC's page is a device: its accesses fail the software TLB check like all others
 * and run alone in C. An access that has done so is given a stub of its own, to which
 * its failed check then leads: it asks cpu_apic_ops.store or load first. WRMSR and RDMSR of
 * the x2APIC and MOV CR8 ask where they stand. Whatever is refused takes the old way.
 */
#include "engine/emit.h"

#define APIC_STUB_MAX 160	/* bytes of one access's stub */

/* The registers that a C function may change. RCX and RSI are scratch in translated code. */
static const u8 saved[] = { H_RDI, H_RDX, H_R8, H_R9, H_R10, H_R11 };

/*
 * A subroutine for translated code: call *fn(c, rcx, rsi), or with `pair` fn(c, rcx, rdx:rax).
 * Afterwards the upper half of the result is in rcx, the lower in rsi; nothing else and no
 * flag has changed.
 */
u8 *emit_call(struct translator *t, const void *fn, bool pair)
{
	struct engine *e = t->e;
	u8 *start = rx_of(t, t->p);

	st_abs(t, H_RAX, &e->apic_rax);
	emit_flags_to_ax(t);
	op_abs(t, false, OP_STORE, H_RAX, &e->apic_flags);
	for (u32 i = 0; i < ARRAY_SIZE(saved); i++)
		st_abs(t, saved[i], &e->apic_saved[i]);
	if (pair) {
		ld_abs32(t, H_RAX, &e->apic_rax);
		shift_ri(t, SHIFT_L, true, H_RDX, 32);
		op_rr(t, true, OP_OR, H_RDX, H_RAX);
	} else {
		mov_rr(t, H_RDX, H_RSI);
	}
	mov_rr(t, H_RSI, H_RCX);
	mov_ri(t, H_RDI, lo32(e->c));
	/* By a register that C gives back: RSP is wanted at once afterwards. */
	st_abs(t, H_RBX, &e->call_rbx);
	mov_rr(t, H_RBX, H_RSP);
	alu_ri8(t, ALU_AND, true, H_RSP, -16);
	call_abs(t, fn);
	mov_rr(t, H_RSP, H_RBX);
	ld_abs(t, H_RBX, &e->call_rbx);
	mov_rr32(t, H_RSI, H_RAX);
	mov_rr(t, H_RCX, H_RAX);
	shift_ri(t, SHIFT_R, true, H_RCX, 32);
	for (u32 i = 0; i < ARRAY_SIZE(saved); i++)
		ld_abs(t, saved[i], &e->apic_saved[i]);
	ld_abs32(t, H_RAX, &e->apic_flags);
	emit_flags_from_ax(t);
	ld_abs(t, H_RAX, &e->apic_rax);
	ret(t);
	return start;
}

void apic_stubs(struct translator *t)
{
	struct engine *e = t->e;

	e->stub_apic_store = emit_call(t, &e->apic_fn.store, false);
	e->stub_apic_load = emit_call(t, &e->apic_fn.load, false);
	e->stub_apic_wrmsr = emit_call(t, &e->apic_fn.wrmsr, true);
	e->stub_apic_rdmsr = emit_call(t, &e->apic_fn.rdmsr, false);
	e->stub_apic_set_tpr = emit_call(t, &e->apic_fn.set_tpr, false);
	e->stub_apic_get_tpr = emit_call(t, &e->apic_fn.get_tpr, false);
	e->stub_sti = emit_call(t, &e->near.sti, false);
}

static u64 refuse(struct cpu *c, u64 a, u64 b)
{
	return cpu_short_cut(CPU_SLOW, 0);
}

void apic_refuse_all(struct engine *e)
{
	e->apic_fn = (struct cpu_apic_ops){ refuse, refuse, refuse, refuse, refuse, refuse };
}

void engine_set_apic(struct cpu *c, const struct cpu_apic_ops *ops)
{
	c->engine->apic_fn = *ops;
}

void call_rx(struct translator *t, const u8 *rx)
{
	set_rel32(call32(t), codemem_rw(&t->e->mem, rx));
}

/* By rcx: CPU_OK falls through behind what is emitted here, CPU_SLOW leaves with `slow`, CPU_POLL
 * with `poll`. */
static void emit_outcome(struct translator *t, const struct record *slow, const struct record *poll)
{
	u8 *done, *refused;

	done = jrcxz(t);
	lea(t, false, H_RCX, H_RCX, -1, 1, -CPU_SLOW);
	refused = jrcxz(t);
	mov_ri(t, H_RCX, (u64)(uintptr_t)poll);
	jmp_rx(t, t->e->stub_exit);
	jump_here(t, refused);
	mov_ri(t, H_RCX, (u64)(uintptr_t)slow);
	jmp_rx(t, t->e->stub_exit);
	jump_here(t, done);
}

/* -- the MMIO page -- */

/* MOV between memory and a 32-bit register, or of an immediate. */
bool apic_insn(const struct insn *in)
{
	return in->map == 0 && in->has_mem && in->opsize == 4 && !(in->prefixes & PFX_LOCK) &&
	       (in->opcode == 0x89 || in->opcode == 0x8b || in->opcode == 0xc7);
}

bool apic_page_hit(const struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx)
{
	return cpu_io_page(c, gva, acc, idx, c->apic_page);
}

static u64 rip_after(const struct record *r, const struct insn *in)
{
	u64 v = record_rip(r) + in->len;

	return (r->unit->mode & MODE_SIZE) == MODE_SIZE64 ? v : (u32)v;
}

/* The check of access r, which is of the APIC's page, leads to a stub of its own from now on. */
void apic_patch(struct engine *e, struct rec_tlb *r, u64 gva)
{
	struct translator *t = e->tr;
	struct unit *u = r->r.unit;
	const struct insn *in = record_insn(e, &r->r);
	bool write = r->r.write;
	struct record *poll;
	u8 *stub;

	t->rip_operand = false;
	if (e->mem.cold_end - e->mem.cold < APIC_STUB_MAX || u->dead || !in)
		return;
	/* Its address would have to be made with a segment's base again. */
	if (r->flagless && !r->r.site_const && (r->seg == S_FS || r->seg == S_GS))
		return;
	t->u = u;
	t->mode = u->mode;
	t->oom = false;
	poll = new_record(t, REC_POLL, rip_after(&r->r, in));
	if (!poll)
		return;
	u->fixed = true;
	t->p = codemem_rw(&e->mem, e->mem.cold);
	stub = t->p;
	if (r->r.site_flags)
		emit_flags_restore(t);
	if (r->r.site_const) {
		mov_ri(t, H_RCX, gva);
	} else if (r->flagless) {
		const struct access a = {
			.base = r->base, .index = r->index, .scale = r->scale, .seg = r->seg,
			.addrsize = r->addrsize, .bitreg = INSN_NOREG, .disp = r->disp,
		};

		emit_ea_plain(t, &a);
	} else {
		struct tlb *tlb = &e->c->tlb[mode_idx(t->mode)];

		/* The check has taken the tag from the address: add it again. */
		op_mem(t, true, OP_LOAD, H_RSI, H_RSI,
		       (s32)lo32(write ? &tlb->w->tag : &tlb->r->tag));
		lea(t, true, H_RCX, H_RCX, H_RSI, 1, 0);
	}
	if (in->opcode == 0xc7) {
		mov_ri(t, H_RSI, (u32)in->imm);
	} else if (write) {
		int h = hreg(in->reg);

		if (h >= 0)
			mov_rr32(t, H_RSI, (u32)h);
		else
			ld_abs32(t, H_RSI, greg_mem(t, in->reg));
	}
	call_rx(t, write ? e->stub_apic_store : e->stub_apic_load);
	emit_outcome(t, &r->r, poll);
	if (!write)
		store_greg(t, in->reg, H_RSI, 4);
	jmp_rx(t, codemem_at(&e->mem, r->behind));
	e->mem.cold = rx_of(t, t->p);
	set_rel32(e->mem.rw + r->patch, stub);
	r->patch = 0;
}

/* -- MSRs and CR8, in line -- */

/* Which short cut an instruction that is otherwise left to C may try first. */
u8 apic_class(const struct translator *t, const struct insn *in, ZydisMnemonic m)
{
	/* In L2 the APIC is never accelerated by L0, and L1 may want the instruction. */
	if (!(t->mode & MODE_CPL0) || (t->mode & ~MODE_CPU & ~MODE_NOGROUP) ||
	    mode_idx(t->mode) >= MMU_L2 || (in->prefixes & PFX_LOCK))
		return CL_EXEC;
	switch (m) {
	case ZYDIS_MNEMONIC_WRMSR:
		return CL_WRMSR;
	case ZYDIS_MNEMONIC_RDMSR:
		return CL_RDMSR;
	case ZYDIS_MNEMONIC_MOV:
		if (!t64(t) || in->map != 1 || in->reg != 8)
			return CL_EXEC;
		return in->opcode == 0x22 ? CL_SET_CR8 : in->opcode == 0x20 ? CL_GET_CR8 : CL_EXEC;
	default:
		return CL_EXEC;
	}
}

void emit_apic(struct translator *t, const struct di *d)
{
	struct engine *e = t->e;
	struct record *slow = new_record(t, REC_EXEC, d->rip);
	struct record *poll =
		new_record(t, REC_POLL, t64(t) ? d->rip + d->in.len : (u32)(d->rip + d->in.len));

	if (!slow || !poll)
		return;
	t->u->served |= d == t->d;
	slow->insn = keep_insn(t, d);
	if (!slow->insn)
		return;
	switch (d->cls) {
	case CL_WRMSR:
		mov_rr32(t, H_RCX, engine_hreg[R_RCX]);
		call_rx(t, e->stub_apic_wrmsr);
		emit_outcome(t, slow, poll);
		break;
	case CL_RDMSR:
		mov_rr32(t, H_RCX, engine_hreg[R_RCX]);
		call_rx(t, e->stub_apic_rdmsr);
		emit_outcome(t, slow, poll);
		mov_rr32(t, H_RAX, H_RSI);
		mov_ri(t, H_RDX, 0);
		break;
	case CL_SET_CR8:
		mov_rr(t, H_RCX, (u32)load_greg(t, d->in.rm, H_RCX));
		call_rx(t, e->stub_apic_set_tpr);
		emit_outcome(t, slow, poll);
		break;
	default:
		call_rx(t, e->stub_apic_get_tpr);
		emit_outcome(t, slow, poll);
		store_greg(t, d->in.rm, H_RSI, 4);
		break;
	}
}
