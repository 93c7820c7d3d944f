/* SPDX-License-Identifier: MIT */
/*
 * vcpu/fault_report.c - why a guest ended: the exceptions that led to a shutdown, the IDT entries
 * that could not be used, and the state, as lines of the log (docs/troubleshooting.md).
 *
 * KVM tells a VMM no more than KVM_EXIT_SHUTDOWN; what led there is gone then.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/user_exits.h"
#include "mmu/mmu.h"
#include "vcpu/vcpu_priv.h"

enum { MAX_BYTES = 16, LINE = 3 * MAX_BYTES + 24 };

void fault_chain_add(struct vcpu *v, bool first, const struct cpu_event *e,
		     const struct cpu_fault *f)
{
	struct fault_chain *ch = &v->p->chain;

	if (first)
		ch->n = 0;
	if (ch->n < FAULT_CHAIN_MAX)
		ch->e[ch->n++] = *e;
	ch->last = *f;
}

/* "#PF (page fault)"; interrupts by number. */
static const char *event_name(char *buf, size_t size, u8 kind, u8 vector)
{
	static const struct {
		u8 vector;
		const char *name;
	} names[] = {
#define X(name, vector, error, class, need, what) { vector, "#" #name " (" what ")" },
		CPU_EXCEPTIONS(X)
#undef X
	};

	for (size_t i = 0; kind != EV_INTR && kind != EV_SOFT_INT && i < ARRAY_SIZE(names); i++)
		if (names[i].vector == vector)
			return names[i].name;
	snprintf(buf, size,
		 kind == EV_NMI	       ? "NMI"
		 : kind == EV_SOFT_INT ? "INT %u"
				       : "interrupt %u",
		 vector);
	return buf;
}

static const char *error_text(char *buf, size_t size, bool has_error, u32 error, u8 vector,
			      u64 payload)
{
	int n = has_error ? snprintf(buf, size, ", error code %#x", error) : 0;

	if (!n)
		buf[0] = 0;
	if (vector == EXC_PF)
		snprintf(buf + n, size - (size_t)n, ", address %#llx", (unsigned long long)payload);
	return buf;
}

/* What is at a linear address, as far as it is there: "0f 0b", "not mapped". */
static const char *bytes_at(struct vcpu *v, char *buf, u64 at, u32 count)
{
	u32 n = 0;

	strcpy(buf, "not mapped");
	for (; n < count && n < MAX_BYTES; n++) {
		u64 gpa;
		u8 b;

		if (!mmu_peek(v->c, at + n, &gpa))
			break;
		if (phys_read(v->c->phys, gpa, &b, 1)) {
			if (!n)
				strcpy(buf, "not memory");
			break;
		}
		sprintf(buf + (n ? 3 * n - 1 : 0), n ? " %02x" : "%02x", b);
	}
	return buf;
}

/* The gate that e should have gone through. */
static void log_gate(struct vcpu *v, const struct cpu_event *e)
{
	const struct cpu *c = v->c;
	u32 size = c->efer & EFER_LMA ? 16 : c->cr0 & CR0_PE ? 8 : 4, at = e->vector * size;
	char text[LINE];

	if (at + size - 1 > c->idtr.limit)
		log_info("vcpu%u:    its gate at IDT + %#x lies beyond the limit %#x", v->id, at,
			 c->idtr.limit);
	else
		log_info("vcpu%u:    its gate at %#llx: %s", v->id,
			 (unsigned long long)(c->idtr.base + at),
			 bytes_at(v, text, c->idtr.base + at, size));
}

static void log_chain(struct vcpu *v)
{
	const struct fault_chain *ch = &v->p->chain;
	char name[32], error[64];

	for (u32 i = 0; i < ch->n; i++) {
		const struct cpu_event *e = &ch->e[i];

		log_info("vcpu%u: %u. %s%s: cannot be delivered", v->id, i + 1,
			 event_name(name, sizeof(name), e->kind, e->vector),
			 error_text(error, sizeof(error), e->has_error, e->error, e->vector,
				    e->payload));
		log_gate(v, e);
	}
	if (ch->n)
		log_info("vcpu%u: %u. %s%s: shutdown", v->id, ch->n + 1,
			 event_name(name, sizeof(name), EV_EXCEPTION, ch->last.vector),
			 error_text(error, sizeof(error), ch->last.has_error, ch->last.error,
				    ch->last.vector, ch->last.payload));
	else
		log_info("vcpu%u: no exception led there: it was asked for", v->id);
}

/* Oldest first. */
static void log_past(struct vcpu *v)
{
	const struct past *p = &v->p->past;
	char name[40], error[64], times[24];

	for (u32 i = p->n > PAST_EVENTS ? p->n - PAST_EVENTS : 0; i < p->n; i++) {
		const struct past_event *e = &p->e[i % PAST_EVENTS];
		const char *what = name;

		times[0] = error[0] = 0;
		if (e->times > 1)
			snprintf(times, sizeof(times), ", %u times", e->times);
		if (e->kind == PAST_EXIT) {
			snprintf(name, sizeof(name), "exit KVM_EXIT_%s", user_exit_name(e->error));
		} else {
			what = event_name(name, sizeof(name), e->kind, e->vector);
			error_text(error, sizeof(error), e->has_error, e->error,
				   e->kind == EV_EXCEPTION ? e->vector : 0, e->payload);
		}
		log_info("vcpu%u: before: %s%s at rip %#llx%s", v->id, what, error,
			 (unsigned long long)e->rip, times);
	}
}

static void log_state(struct vcpu *v)
{
	const struct cpu *c = v->c;
	typedef unsigned long long ull;

	log_info("vcpu%u: cr0 %#llx cr2 %#llx cr3 %#llx cr4 %#llx efer %#llx", v->id, (ull)c->cr0,
		 (ull)c->cr2, (ull)c->cr3, (ull)c->cr4, (ull)c->efer);
	log_info("vcpu%u: idt %#llx/%#x gdt %#llx/%#x tr %#x cs %#x ss %#x rsp %#llx rflags %#llx",
		 v->id, (ull)c->idtr.base, c->idtr.limit, (ull)c->gdtr.base, c->gdtr.limit,
		 c->seg[S_TR].sel, c->seg[S_CS].sel, c->seg[S_SS].sel, (ull)c->gpr[R_RSP],
		 (ull)c->rflags);
	if (c->in_l2)
		log_info("vcpu%u: in L2, whose VMCB is at %#llx; the state is L2's", v->id,
			 (ull)svm_vmcb_pa(c));
}

void fault_report(struct vcpu *v, const char *what, bool chain)
{
	char text[LINE];

	if (likely(log_threshold < LOG_info)) {
		v->p->chain.n = 0;
		return;
	}
	engine_fpu_save(v->c);
	log_info("vcpu%u: %s at rip %#llx, cpl %u, code %s", v->id, what,
		 (unsigned long long)v->c->rip, v->c->cpl,
		 bytes_at(v, text, vcpu_linear_rip(v), MAX_BYTES));
	if (chain)
		log_chain(v);
	v->p->chain.n = 0;
	log_past(v);
	log_state(v);
}
