/* SPDX-License-Identifier: MIT */
/*
 * vcpu/debug.c - KVM_SET_GUEST_DEBUG and the guest's own breakpoint registers.
 *
 * While any breakpoint is armed the CPU runs one instruction at a time; the MMU looks at
 * every access of a watched page (mmu_set_watch). That is slow and exact; nothing is
 * paid when no breakpoint is armed.
 */
#include "irq/apicv.h"
#include "mmu/mmu.h"
#include "vcpu/vcpu_priv.h"


#define CONTROL_VALID (KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP | \
		       KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP | \
		       KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP | KVM_GUESTDBG_BLOCKIRQ)

static bool user_hw(const struct vcpu *v)
{
	return v->p->dbg.control & KVM_GUESTDBG_USE_HW_BP;
}

static u64 effective_dr7(const struct vcpu *v)
{
	return user_hw(v) ? v->p->dbg.dr7 : v->c->dr7;
}

bool debug_wants_step(const struct vcpu *v)
{
	return v->p->dbg.watching || (v->p->dbg.control & KVM_GUESTDBG_SINGLESTEP);
}

void debug_update(struct vcpu *v)
{
	struct vcpu_debug *d = &v->p->dbg;
	u64 dr7 = effective_dr7(v);

	if (likely(!d->stale))
		return;
	d->stale = false;
	d->watching = dr7 & DR7_ENABLES;
	mmu_set_watch(v->c, user_hw(v) ? d->dr : v->c->dr, (u32)dr7);
}

/* #DB behind an instruction. step: the debugger outside wants to see each. */
static enum cpu_result debug_trap(struct vcpu *v, bool step, bool tf)
{
	struct vcpu_debug *d = &v->p->dbg;
	u64 hit = v->c->watch_hit;

	v->c->watch_hit = 0;
	if (step)
		return exit_debug(v, EXC_DB, vcpu_linear_rip(v),
				  DR6_FIXED | DR6_BS | (user_hw(v) ? hit : 0), effective_dr7(v));
	if (hit && user_hw(v))
		return exit_debug(v, EXC_DB, vcpu_linear_rip(v), DR6_FIXED | hit, d->dr7);
	if (!tf && !hit)
		return CPU_OK;
	struct cpu_fault f = { .vector = EXC_DB, .payload = hit | (tf ? DR6_BS : 0) };

	return vcpu_settle(v, vcpu_deliver_trap(v, &f));
}

bool debug_at_breakpoint(struct vcpu *v, enum cpu_result *r)
{
	u64 dr7 = effective_dr7(v), pc = vcpu_linear_rip(v), hit = 0;

	/* Also without GIF: APM2 15.17 discards it then, but KVM does not (its errata document says
	 * so), and what runs on KVM has breakpoints at VMRUN. */
	if (v->c->rflags & FL_RF)
		return false;
	for (u32 i = 0; i < 4; i++) {
		u64 at = user_hw(v) ? v->p->dbg.dr[i] : v->c->dr[i];

		if ((dr7 >> (2 * i) & 3) && !(dr7 >> (16 + 4 * i) & 3) && at == pc)
			hit |= BIT64(i);
	}
	if (!hit)
		return false;
	/* What MOV SS has held back is told by the same #DB: a second one, inside its handler,
	 * would be on the same stack (APM2 13.1.2). */
	hit |= v->c->watch_hit;
	v->c->watch_hit = 0;
	if (user_hw(v)) {
		*r = exit_debug(v, EXC_DB, pc, DR6_FIXED | hit, dr7);
		return true;
	}
	struct cpu_fault f = { .vector = EXC_DB, .payload = hit };

	*r = vcpu_settle(v, vcpu_deliver_fault(v, &f));
	return true;
}

/*
 * Between two instructions: a trap that could not be delivered where it arose. The one behind MOV
 * SS had an exception; an event's frame lies on a watched address; the instruction had to finish in
 * user space.
 */
bool debug_pending(struct vcpu *v, enum cpu_result *r)
{
	struct vcpu_debug *d = &v->p->dbg;
	bool step = d->step_owed, tf = d->tf_owed;

	if (v->c->shadow_ss)
		return false;
	d->step_owed = d->tf_owed = false;
	if (step || v->c->watch_hit || tf)
		*r = debug_trap(v, step, tf);
	else
		return false;
	return true;
}

enum cpu_result debug_stepped(struct vcpu *v, bool tf)
{
	/* APM2 13.1.6.2: TF then stops behind branches only. */
	if (unlikely(v->c->debugctl & DEBUGCTL_BTF))
		tf = tf && v->c->branched;
	return debug_trap(v, v->p->dbg.control & KVM_GUESTDBG_SINGLESTEP, tf);
}

/*
 * The engine was left in the middle or at the end of an instruction. One that is to run again hits
 * its breakpoints again; one that has retired with writes for user space is stepped behind them.
 * HLT and what vcpu_retire() completes see to themselves.
 */
void debug_left(struct vcpu *v, enum cpu_result why, bool moved, bool tf, u64 held)
{
	struct vcpu_debug *d = &v->p->dbg;
	const struct vcpu_mmio *m = &v->p->mmio;
	/* OUTS, and OUT to port 0x7e: user space has only to see it. */
	bool out = why == CPU_USER && v->p->pend == PEND_NONE && v->run->exit_reason == KVM_EXIT_IO;

	if (out || m->written < m->writes) {
		d->step_owed = d->control & KVM_GUESTDBG_SINGLESTEP;
		d->tf_owed = tf;
	} else if (!moved) {
		v->c->watch_hit = held;
	}
}

/* HLT has retired and is stepped over like any other instruction: the trap ends the halt, and comes
 * before the interrupt that would have (SDM3 6.9). */
enum cpu_result debug_halted(struct vcpu *v)
{
	struct cpu *c = v->c;
	bool step = v->p->dbg.control & KVM_GUESTDBG_SINGLESTEP;
	u64 hit = c->watch_hit;

	if (likely(!step && !hit && !(c->rflags & FL_TF)))
		return CPU_OK;
	c->watch_hit = 0;
	if (step || (hit && user_hw(v)))
		return exit_debug(v, EXC_DB, vcpu_linear_rip(v),
				  DR6_FIXED | (step ? DR6_BS : 0) | (user_hw(v) ? hit : 0),
				  effective_dr7(v));
	vcpu_queue_exception(v, &(struct cpu_fault){
		.vector = EXC_DB, .payload = hit | (c->rflags & FL_TF ? DR6_BS : 0) });
	return CPU_OK;
}

enum cpu_result debug_exec(struct cpu *c, const struct insn *in)
{
	struct vcpu *v = c->owner;
	const struct vcpu_debug *d = &v->p->dbg;

	if (user_hw(v) && (d->dr7 & DR7_GD) && in->map == 1 &&
	    (in->opcode == 0x21 || in->opcode == 0x23))
		return exit_debug(v, EXC_DB, vcpu_linear_rip(v), DR6_FIXED | DR6_BD, c->dr7);
	return CPU_OK;
}

/* INT3 or INT1 with RIP still at it. */
enum cpu_result debug_breakpoint(struct cpu *c, u8 vector)
{
	struct vcpu *v = c->owner;

	/* What MOV SS has held back is told by the same #DB. */
	if (unlikely(c->watch_hit) && vector == EXC_DB && !user_hw(v)) {
		c->dr6 = (c->dr6 & ~0xfull) | c->watch_hit;
		c->watch_hit = 0;
	}
	if (vector != EXC_BP || !(v->p->dbg.control & KVM_GUESTDBG_USE_SW_BP))
		return CPU_OK;
	return exit_debug(v, EXC_BP, vcpu_linear_rip(v), c->dr6, c->dr7);
}

int vcpu_set_guest_debug(struct vcpu *v, const struct kvm_guest_debug *g)
{
	struct vcpu_debug *d = &v->p->dbg;

	if (g->control & ~CONTROL_VALID)
		return -EINVAL;
	if (g->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)) {
		struct cpu_fault f = { .vector = EXC_BP };

		/* One that is being delivered already does not count. */
		if (v->p->ev.exc.pending || v->p->ev.triple_fault)
			return -EBUSY;
		if (g->control & KVM_GUESTDBG_INJECT_DB)
			f.vector = EXC_DB;
		vcpu_queue_exception(v, &f);
	}
	d->control = g->control & KVM_GUESTDBG_ENABLE ? g->control : 0;
	d->control &= ~(KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP);
	/* Nobody wants to hear of a step any more. */
	if (!(d->control & KVM_GUESTDBG_SINGLESTEP))
		d->step_owed = false;
	if (user_hw(v)) {
		for (u32 i = 0; i < 4; i++)
			d->dr[i] = g->arch.debugreg[i];
		d->dr7 = g->arch.debugreg[7];
	} else {
		d->dr7 = 0;
	}
	d->stale = true;
	v->c->watch_hit = 0;
	if (v->lapic)
		apicv_vcpu_reason(v->lapic, APICV_INHIBIT_BLOCKIRQ,
				  d->control & KVM_GUESTDBG_BLOCKIRQ);
	return 0;
}

int vcpu_get_debugregs(struct vcpu *v, struct kvm_debugregs *d)
{
	*d = (struct kvm_debugregs){ .dr6 = v->c->dr6, .dr7 = v->c->dr7 };
	for (u32 i = 0; i < 4; i++)
		d->db[i] = v->c->dr[i];
	return 0;
}

int vcpu_set_debugregs(struct vcpu *v, const struct kvm_debugregs *d)
{
	if (d->flags || d->dr6 >> 32 || d->dr7 >> 32)
		return -EINVAL;
	for (u32 i = 0; i < 4; i++)
		v->c->dr[i] = d->db[i];
	v->c->dr6 = d->dr6;
	v->c->dr7 = d->dr7;
	v->p->dbg.stale = true;
	return 0;
}
