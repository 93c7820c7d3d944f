/* SPDX-License-Identifier: MIT */
/*
 * vcpu/hyperv_call.c - Hyper-V's hypercalls (TLFS 3): TLB flushes and IPIs for sets of processors,
 * events, and what user space answers.
 */
#include <sched.h>

#include "irq/lapic.h"
#include "mmu/nested.h"
#include "vcpu/hyperv_priv.h"
#include "vcpu/vcpu_priv.h"

/* TLFS 3.12 */
enum {
	HV_SUCCESS = 0, HV_INVALID_CODE = 2, HV_INVALID_INPUT = 3, HV_INVALID_ALIGNMENT = 4,
	HV_INVALID_PARAMETER = 5, HV_ACCESS_DENIED = 6, HV_DENIED = 8, HV_INVALID_PORT = 17,
	HV_TO_USER = -1,	/* not a status: user space answers */
};

struct call {
	u64 control;		/* TLFS 3.7 */
	u64 in, out;		/* addresses, or with `fast` the first 16 bytes of input */
	u16 code, var, reps, rep_start;
	bool fast;
	u64 xmm[12];		/* the rest of a fast call's input */
	/* Where the variable part is read on: words of xmm[], or bytes behind `in`. */
	u32 pos;
};

#define CALL_RESERVED (GENMASK64(31, 27) | GENMASK64(47, 44) | GENMASK64(63, 60))
#define BANKS 64

/*
 * X(name, code, function, access bit, how)
 * how: R with repetitions, V with a variable header, X takes XMM input, P has 16 bytes at most.
 */
enum { CALL_R = 1, CALL_V = 2, CALL_X = 4 };
#define HYPERV_CALLS(X) \
	X(FLUSH_SPACE,		0x02, flush,		HINT_REMOTE_FLUSH,	CALL_X) \
	X(FLUSH_LIST,		0x03, flush,		HINT_REMOTE_FLUSH,	CALL_X | CALL_R) \
	X(LONG_SPIN,		0x08, long_spin,	COUNT,			0) \
	X(SEND_IPI,		0x0b, send_ipi,		HINT_CLUSTER_IPI,	0) \
	X(FLUSH_SPACE_EX,	0x13, flush,		HINT_REMOTE_FLUSH,	CALL_X | CALL_V) \
	X(FLUSH_LIST_EX,	0x14, flush,		HINT_REMOTE_FLUSH, \
	  CALL_X | CALL_V | CALL_R) \
	X(SEND_IPI_EX,		0x15, send_ipi,		HINT_CLUSTER_IPI,	CALL_X | CALL_V) \
	X(POST_MESSAGE,		0x5c, post_message,	POST_MESSAGES,		0) \
	X(SIGNAL_EVENT,		0x5d, signal_event,	SIGNAL_EVENTS,		0) \
	X(POST_DEBUG,		0x69, debug_data,	DEBUGGING,		0) \
	X(RETRIEVE_DEBUG,	0x6a, debug_data,	DEBUGGING,		0) \
	X(RESET_DEBUG,		0x6b, debug_reset,	DEBUGGING,		0)
#define EXTENDED_FIRST 0x8001
#define EXTENDED_LAST 0x8041

enum {
#define X(name, code, ...) CALL_##name = code,
	HYPERV_CALLS(X)
#undef X
};

bool hyperv_call_enabled(const struct vcpu *v)
{
	return v->p->hv.on && v->cfg->hv &&
	       atomic_load_explicit(&v->cfg->hv->os_id, memory_order_relaxed);
}

/* `n` words of the variable input, of which the first `keep` are wanted. */
static int input(struct vcpu *v, struct call *k, u32 n, u32 keep, u64 *out)
{
	u32 m = n < keep ? n : keep;

	if (!k->fast)
		return phys_read(v->phys, k->in + k->pos, out, m * 8) ? HV_INVALID_INPUT : 0;
	/* A set of all processors may have banks, which nobody reads: pos can be anywhere. */
	if (k->pos > ARRAY_SIZE(k->xmm) || n > ARRAY_SIZE(k->xmm) - k->pos)
		return HV_INVALID_INPUT;
	for (u32 i = 0; i < m; i++)
		out[i] = k->xmm[k->pos + i];
	return 0;
}

/* -- sets of virtual processors (TLFS 7.8.7.3) -- */

struct vp_set {
	bool all;
	u64 valid;
	u64 bank[BANKS];
};

static bool in_set(const struct vp_set *s, u32 vp)
{
	u32 b = vp / 64, at;

	if (s->all)
		return true;
	if (b >= BANKS || !(s->valid >> b & 1))
		return false;
	at = (u32)__builtin_popcountll(s->valid & (BIT64(b) - 1));
	return s->bank[at] >> (vp % 64) & 1;
}

/* Banks beyond the highest VP index there can be are not even read. */
static int read_banks(struct vcpu *v, struct call *k, struct vp_set *s)
{
	if (k->var > BANKS)
		return HV_INVALID_INPUT;
	return input(v, k, k->var, (HYPERV_MAX_VPS + 63) / 64, s->bank);
}

/* L2 names its own processors, by what L1 has told us of them (TLFS, nested virtualization). */
static bool is_wanted(const struct vcpu *v, const struct vcpu *t, const struct vp_set *s)
{
	if (!v->c->in_l2)
		return in_set(s, atomic_load_explicit(&t->p->hv.vp_index, memory_order_relaxed));
	return atomic_load(&t->p->hv.l2_vm) == atomic_load(&v->p->hv.l2_vm) &&
	       in_set(s, atomic_load(&t->p->hv.l2_vp));
}

#define for_each_in_set(v, s, i, t) \
	for (u32 i = 0; ((t) = (v)->vm_ops->vcpu_at((v)->vm, i)) != NULL; i++) \
		if (is_wanted(v, t, s))

/* -- the calls -- */

#define FLUSH_ALL_PROCESSORS 1
#define SET_SPARSE_4K 0
#define SET_ALL 1
#define FLUSH_ENTRIES_MAX 15

/* Addresses in the list are not looked at: our TLB is refilled faster than it is searched. */
static int flush(struct vcpu *v, struct call *k, u64 *result)
{
	bool ex = k->code == CALL_FLUSH_SPACE_EX || k->code == CALL_FLUSH_LIST_EX;
	bool list = k->code == CALL_FLUSH_LIST || k->code == CALL_FLUSH_LIST_EX;
	u64 w[4], entries[FLUSH_ENTRIES_MAX];
	struct vp_set s;
	struct vcpu *t;

	/* L2's input is where L1 has mapped it. */
	if (!k->fast && v->c->in_l2) {
		struct cpu_fault saved = v->c->fault;

		if (mmu_nested_translate(v->c, k->in, MEM_R, &k->in)) {
			v->c->fault = saved;
			return HV_INVALID_INPUT;
		}
	}
	/* address space, flags, then a mask; or format, valid banks, banks */
	if (k->fast) {
		w[0] = k->in;
		w[1] = k->out;
		w[2] = k->xmm[0];
		w[3] = k->xmm[1];
		k->pos = ex ? 2 : 1;
	} else {
		k->pos = ex ? 32 : 24;
		if (phys_read(v->phys, k->in, w, k->pos))
			return HV_INVALID_INPUT;
	}
	if (ex) {
		s.valid = w[3];
		s.all = w[2] != SET_SPARSE_4K;
		if (k->var != __builtin_popcountll(s.valid))
			return HV_INVALID_INPUT;
		if (!s.all && !k->var)
			goto done;
		if (!s.all && read_banks(v, k, &s))
			return HV_INVALID_INPUT;
		k->pos += k->fast ? k->var : k->var * 8u;
	} else {
		s.valid = 1;
		s.bank[0] = w[2];
		/* Server 2012 leaves mask and flag zero and means all. */
		s.all = (w[1] & FLUSH_ALL_PROCESSORS) || !w[2];
	}
	if (list && k->reps <= FLUSH_ENTRIES_MAX && input(v, k, k->reps, k->reps, entries))
		return HV_INVALID_INPUT;
	for_each_in_set(v, &s, i, t) {
		vcpu_count(v, tlb_flush);
		vcpu_request_wait(t, VREQ_GUEST_TLB);
	}
done:
	*result |= (u64)k->reps << 32;
	return HV_SUCCESS;
}

static int send_ipi(struct vcpu *v, struct call *k, u64 *result)
{
	bool ex = k->code == CALL_SEND_IPI_EX;
	u64 w[3];
	struct vp_set s;
	struct vcpu *t;

	if (!v->lapic)
		return HV_INVALID_INPUT;
	/* vector (32 bits), then a mask; or format, valid banks, banks */
	if (k->fast) {
		if (!ex && k->in >> 32)
			return HV_INVALID_INPUT;
		w[0] = k->in;
		w[1] = k->out;
		w[2] = k->xmm[0];
		k->pos = 1;
	} else {
		k->pos = ex ? 24 : 16;
		if (phys_read(v->phys, k->in, w, k->pos))
			return HV_INVALID_INPUT;
	}
	if (ex) {
		s.valid = w[2];
		s.all = w[1] == SET_ALL;
		if (k->var != __builtin_popcountll(s.valid))
			return HV_INVALID_INPUT;
		if (!s.all && !k->var)
			return HV_SUCCESS;
		if (!s.all && read_banks(v, k, &s))
			return HV_INVALID_INPUT;
	} else {
		s.all = false;
		s.valid = 1;
		s.bank[0] = w[1];
	}
	if ((u32)w[0] < 16 || (u32)w[0] > 255)
		return HV_INVALID_INPUT;
	for_each_in_set(v, &s, i, t) if (t->lapic) lapic_set_irq(t->lapic, (u8)w[0], false);
	return HV_SUCCESS;
}

static int long_spin(struct vcpu *v, struct call *k, u64 *result)
{
	sched_yield();
	return HV_SUCCESS;
}

static int post_message(struct vcpu *v, struct call *k, u64 *result)
{
	return v->p->hv.synic ? HV_TO_USER : HV_INVALID_INPUT;
}

static int signal_event(struct vcpu *v, struct call *k, u64 *result)
{
	u64 id = k->in;

	if (!k->fast) {
		if (k->in & 7 || phys_read(v->phys, k->in, &id, 8))
			return HV_INVALID_ALIGNMENT;
		k->in = id;
	}
	/* Connection, flag number (not used by anybody), reserved. */
	if (!(id & 0xffff00000000)) {
		if (id & ~(u64)KVM_HYPERV_CONN_ID_MASK)
			return HV_INVALID_INPUT;
		if (v->vm_ops->hyperv_signal && v->vm_ops->hyperv_signal(v->vm, (u32)id))
			return HV_SUCCESS;
	}
	return post_message(v, k, result);
}

static int debug_reset(struct vcpu *v, struct call *k, u64 *result)
{
	if (!v->p->hv.syndbg)
		return HV_INVALID_CODE;
	return v->cfg->hv->syndbg_options & 4 /* by hypercalls */ ? HV_TO_USER : HV_DENIED;
}

static int debug_data(struct vcpu *v, struct call *k, u64 *result)
{
	return k->fast ? HV_INVALID_PARAMETER : debug_reset(v, k, result);
}

static int extended(struct vcpu *v, struct call *k, u64 *result)
{
	return k->fast ? HV_INVALID_PARAMETER : HV_TO_USER;
}

/* -- dispatch -- */

static const struct call_row {
	u16 code;
	u8 how;
	enum hyperv_bit access;
	int (*fn)(struct vcpu *v, struct call *k, u64 *result);
} calls[] = {
#define X(name, c, f, a, h) { .code = c, .fn = f, .access = HVB_##a, .how = h },
	HYPERV_CALLS(X)
#undef X
};

static const struct call_row *find(u16 code)
{
	static const struct call_row ext = { .fn = extended, .access = HVB_EXTENDED_CALLS,
					     .how = CALL_R | CALL_V };

	for (u32 i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].code == code)
			return &calls[i];
	return code >= EXTENDED_FIRST && code <= EXTENDED_LAST ? &ext : NULL;
}

static bool may(const struct vcpu *v, const struct call_row *r)
{
	const struct hyperv_vcpu *h = &v->p->hv;

	if (!h->enforce)
		return true;
	/* CPUID says how often to spin before: never, or not at all, is no. */
	if (r->code == CALL_LONG_SPIN)
		return h->cpuid[HV_HINT_EBX] && h->cpuid[HV_HINT_EBX] != ~0u;
	/* Without a debugger the code is unknown, not denied. */
	if (r->access == HVB_DEBUGGING && !h->syndbg)
		return true;
	return hyperv_has(v, r->access) && (!(r->how & CALL_V) || r->access == HVB_EXTENDED_CALLS ||
					    hyperv_has(v, HVB_HINT_EX_MASKS));
}

/* The shape of a call: which parts of the control word it may use. */
static bool shape_ok(const struct call_row *r, const struct call *k)
{
	bool rep = k->reps || k->rep_start;

	if (r->fn == extended)
		return true;
	if (k->var && !(r->how & CALL_V) && r->access != HVB_DEBUGGING)
		return false;
	if (r->how & CALL_R)
		return k->reps && !k->rep_start;
	return !rep || r->access == HVB_DEBUGGING;
}

static void set_result(struct vcpu *v, u64 val)
{
	struct cpu *c = v->c;

	if (cpu_in_64(c)) {
		c->gpr[R_RAX] = val;
		return;
	}
	c->gpr[R_RAX] = (u32)val;
	c->gpr[R_RDX] = val >> 32;
}

static void read_xmm(struct vcpu *v, struct call *k)
{
	const u8 *x = v->c->xsave;
	bool init = !(*(const u64 *)(const void *)(x + 512) & 2);

	cpu_zero(k->xmm, sizeof(k->xmm));
	if (!init)
		cpu_copy(k->xmm, x + 160, sizeof(k->xmm));
}

static enum cpu_result to_user(struct vcpu *v, const struct call *k, const struct insn *in)
{
	struct kvm_run *run = v->run;

	run->exit_reason = KVM_EXIT_HYPERV;
	run->hyperv.type = KVM_EXIT_HYPERV_HCALL;
	run->hyperv.u.hcall.input = k->control;
	run->hyperv.u.hcall.result = 0;
	run->hyperv.u.hcall.params[0] = k->in;
	run->hyperv.u.hcall.params[1] = k->out;
	vcpu_pend(v, PEND_HYPERV_CALL, in);
	return CPU_USER;
}

/* The partition assist page: does L1 want to hear of L2's flushes? */
static int after_l2(struct vcpu *v, u64 *result)
{
	u32 locks;

	if (phys_read(v->phys, svm_control(v->c)->hv_assist, &locks, sizeof(locks))) {
		*result = 0;
		return HV_INVALID_INPUT;
	}
	v->p->hv.l2_trap = locks;
	return HV_SUCCESS;
}

/* Vector state is saved; the caller has seen to VMCALL and VMMCALL. */
enum cpu_result hyperv_call(struct vcpu *v, const struct insn *in)
{
	struct cpu *c = v->c;
	const struct call_row *r;
	struct call k = { 0 };
	u64 result = 0;
	int status;

	if (c->cpl || !(c->cr0 & CR0_PE) || c->rflags & FL_VM)
		return cpu_raise(c, EXC_UD);
	if (cpu_in_64(c)) {
		k.control = c->gpr[R_RCX];
		k.in = c->gpr[R_RDX];
		k.out = c->gpr[R_R8];
	} else {
		k.control = c->gpr[R_RDX] << 32 | (u32)c->gpr[R_RAX];
		k.in = c->gpr[R_RBX] << 32 | (u32)c->gpr[R_RCX];
		k.out = c->gpr[R_RDI] << 32 | (u32)c->gpr[R_RSI];
	}
	k.code = (u16)k.control;
	k.fast = k.control >> 16 & 1;
	k.var = k.control >> 17 & 0x3ff;
	k.reps = k.control >> 32 & 0xfff;
	k.rep_start = k.control >> 48 & 0xfff;
	r = find(k.code);
	if (r && !may(v, r)) {
		status = HV_ACCESS_DENIED;
	} else if (k.control & CALL_RESERVED) {
		status = HV_INVALID_INPUT;
	} else if (!r) {
		status = HV_INVALID_CODE;
	} else {
		if (k.fast && r->how & CALL_X) {
			if (!hyperv_may(v, HVB_XMM_INPUT))
				return cpu_raise(c, EXC_UD);
			read_xmm(v, &k);
		}
		status = shape_ok(r, &k) ? r->fn(v, &k, &result) : HV_INVALID_INPUT;
	}
	if (status == HV_TO_USER)
		return to_user(v, &k, in);
	vcpu_count(v, hypercalls);
	if (unlikely(c->in_l2) && !status)
		status = after_l2(v, &result);
	set_result(v, result | (u64)status);
	insn_retire(c, in);
	return CPU_OK;
}

/* -- L2's flushes, which L1 may leave to L0 (TLFS, nested virtualization) -- */

/* struct hv_vp_assist_page */
#define ASSIST_NESTED_CONTROL 32
#define NESTED_DIRECT_CALLS BIT(0)

void hyperv_l2_entered(struct vcpu *v)
{
	const struct vmcb_control *ctl = svm_control(v->c);
	struct hyperv_vcpu *h = &v->p->hv;
	u32 control;

	atomic_store(&h->l2_vm, ctl->hv_vm_id);
	atomic_store(&h->l2_vp, ctl->hv_vp_id);
	h->l2_direct = (ctl->hv_control & SVM_HV_DIRECT_FLUSH) && h->assist & HV_ENABLE &&
		       !phys_read(v->phys, (h->assist & PAGE_MASK) + ASSIST_NESTED_CONTROL,
				  &control, sizeof(control)) &&
		       control & NESTED_DIRECT_CALLS;
}

enum svm_hv_call hyperv_l2_call(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	struct vcpu *v = c->owner;
	u64 rip = c->rip;
	const struct call_row *r;

	if (!v->p->hv.l2_direct || !hyperv_has(v, HVB_NEST_DIRECT_FLUSH) || !hyperv_call_enabled(v))
		return SVM_HV_NOT_OURS;
	r = find((u16)(cpu_in_64(c) ? c->gpr[R_RCX] : c->gpr[R_RAX]));
	if (!r || r->fn != flush)
		return SVM_HV_NOT_OURS;
	engine_fpu_save(c);
	v->p->hv.l2_trap = false;
	*res = hyperv_call(v, in);
	return *res == CPU_OK && c->rip != rip && v->p->hv.l2_trap ? SVM_HV_TRAP : SVM_HV_DONE;
}

void hyperv_call_complete(struct vcpu *v)
{
	set_result(v, v->run->hyperv.u.hcall.result);
}
