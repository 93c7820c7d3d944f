/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/fuzz_smram.c - random save-state areas, and RSM.
 *
 * Right is: what RSM does is a shutdown, or a state that KVM_GET_SREGS shows and KVM_SET_SREGS
 * would take; out of SMM either way, and out of guest mode after a shutdown. Then the guest runs
 * for a moment, from whatever it is in. Every third area says that the SMI came in a nested
 * guest, of a VMCB that is random here and there as well.
 */
/* Run: build/standin run -- build/tests/fuzz/fuzz_smram --seconds 20 */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/fuzz/code.h"
#include "tests/fuzz/driver.h"
#include "tests/fuzz/moment.h"
#include "tests/guest/harness/smm.h"
#include "tests/guest/harness/svm.h"

enum { CASES_PER_VM = 64, EXITS = 6, AREA = 0xfe00, BYTES = 512 };

CODE64(l2, "out %al, $0x50\n nop\n vmmcall");
CODE16(handler, "out %al, $0x51\n rsm");

struct world {
	struct svm_guest s;
	struct smm m;
	u8 area[2][BYTES];	/* as an SMI has written it: out of L1, out of L2 */
	struct vmcb vmcb;
	u8 host[BYTES];
};

/* The vCPU's state from before, so that one vCPU serves many cases. */
static void to_handler(struct world *w)
{
	struct kvm_nested_state n = { .format = KVM_STATE_NESTED_FORMAT_SVM, .size = sizeof(n),
				      .flags = KVM_STATE_NESTED_GIF_SET };
	struct kvm_vcpu_events e = smm_events(w->s.c);
	struct stop st;

	vcpu_ioctl(w->s.c, KVM_SET_NESTED_STATE, &n, "KVM_SET_NESTED_STATE");
	e.smi.smm = e.smi.pending = 0;
	e.nmi.masked = e.nmi.pending = e.nmi.injected = 0;
	e.exception.injected = e.exception.pending = e.interrupt.injected = 0;
	vcpu_ioctl(w->s.c, KVM_SET_VCPU_EVENTS, &e, "KVM_SET_VCPU_EVENTS");
	cpu_setup(w->s.c);
	cpu_set_msr(w->s.c, 0x9e, G_SMBASE);
	smm_smi(w->s.c);
	/* Stores of the case before to what is no memory come first. */
	do
		st = cpu_run(w->s.c);
	while (st.kind == ST_MMIO && st.write);
	if (st.kind != ST_OUT || st.port != 0x51)
		test_die("no handler: %s", stop_text(&st));
	cpu_complete(w->s.c);
}

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct stop st;

	w->s = svm_new(M_LONG, 0, l2_b, LEN(l2));
	w->m = smm_attach(w->s.g);
	smm_handler(&w->m, handler);
	st = svm_run(&w->s);
	if (st.kind != ST_OUT || st.port != 0x50)
		test_die("no L2: %s", stop_text(&st));
	smm_smi(w->s.c);
	st = cpu_run(w->s.c);
	memcpy(w->area[1], w->m.smram + AREA, BYTES);
	memcpy(&w->vmcb, w->s.vmcb, sizeof(w->vmcb));
	memcpy(w->host, w->s.g->ram + G_HSAVE + 0x400, BYTES);
	to_handler(w);
	memcpy(w->area[0], w->m.smram + AREA, BYTES);
	return w;
}

static void world_free(struct world *w)
{
	smm_free(&w->m);
	free(w);
}

static u64 odd(u64 *rng)
{
	u64 r = random_next(rng);

	switch (r % 6) {
	case 0: return r;
	case 1: return 1ull << (r >> 8 & 63);
	case 2: return r >> 8 & 0xffff;
	case 3: return 0;
	case 4: return ~0ull;
	default: return r >> 8 & 0xffffff;
	}
}

static void scramble(u8 *p, u32 bytes, u32 changes, u64 *rng)
{
	while (changes--) {
		u32 at = (u32)(random_next(rng) % (bytes / 2)) * 2, n = 2u << random_next(rng) % 3;
		u64 v = odd(rng), old = 0;

		if (at + n > bytes)
			continue;
		memcpy(&old, p + at, n);
		if (random_next(rng) & 1)
			v = old ^ 1ull << random_next(rng) % (8 * n);
		memcpy(p + at, &v, n);
	}
}

/* What KVM_SET_SREGS would refuse: such a state no CPU has. */
static const char *impossible(const struct kvm_sregs *s)
{
	bool lma = s->efer & 0x400;

	if (lma != ((s->efer & 0x100) && (s->cr0 >> 31 & 1)))
		return "EFER.LMA is not LME and CR0.PG";
	if (lma && !(s->cr4 & 0x20))
		return "long mode without PAE";
	if ((s->cr0 >> 31 & 1) && !(s->cr0 & 1))
		return "paging without protection";
	if ((s->cr0 & 3u << 29) == 1u << 29 || s->cr0 >> 32)
		return "CR0";
	if (lma && s->cs.l && s->cs.db)
		return "CS.L and CS.D";
	return NULL;
}

static const char *after_rsm(struct world *w, const struct stop *st)
{
	struct kvm_nested_state n = { .size = sizeof(n) };
	struct kvm_sregs s = cpu_sregs(w->s.c);
	struct kvm_vcpu_events e = smm_events(w->s.c);

	/* A step is reported, or what came before it could be. */
	if (st->kind != ST_SHUTDOWN && st->kind != ST_DEBUG)
		return NULL;
	if (e.smi.smm)
		return "still in SMM";
	if (st->kind == ST_DEBUG)
		return impossible(&s);
	/* Behind a MOV SS that the area says there was, the step comes one instruction later. */
	if (smm_get(&w->m, 0xfecb, 1) & 1)
		return NULL;
	if (ioctl(w->s.c->fd, KVM_GET_NESTED_STATE, &n) || n.flags & KVM_STATE_NESTED_GUEST_MODE)
		return "guest mode in shutdown";
	return NULL;
}

static bool one_case(struct world *w, u64 seed, bool loud)
{
	u64 rng = seed * 0x9e3779b97f4a7c15ull;
	struct guest_cpu *c = w->s.c;
	struct kvm_guest_debug step = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	const char *why = NULL;
	struct stop st = { .kind = ST_OTHER };
	bool nested;

	atomic_store_explicit(&fuzz->seed, seed, memory_order_relaxed);
	random_next(&rng);
	nested = random_next(&rng) % 3 == 0;
	memcpy(w->s.vmcb, &w->vmcb, sizeof(w->vmcb));
	memcpy(w->s.g->ram + G_HSAVE + 0x400, w->host, BYTES);
	to_handler(w);
	memcpy(w->m.smram + AREA, w->area[nested], BYTES);
	scramble(w->m.smram + AREA, BYTES, (u32)(random_next(&rng) % 12), &rng);
	if (nested && random_next(&rng) % 2)
		scramble((u8 *)w->s.vmcb, 0x680, (u32)(random_next(&rng) % 4), &rng);
	if (nested && random_next(&rng) % 4 == 0)
		scramble(w->s.g->ram + G_HSAVE + 0x400, BYTES, 2, &rng);
	vcpu_ioctl(c, KVM_SET_GUEST_DEBUG, &step, "KVM_SET_GUEST_DEBUG");
	moment_begin(c);
	for (u32 i = 0; i < EXITS && !why; i++) {
		st = moment_run(c, loud);
		if (i == 0)
			why = after_rsm(w, &st);
		if (i == 1) {
			step.control = 0;
			vcpu_ioctl(c, KVM_SET_GUEST_DEBUG, &step, "KVM_SET_GUEST_DEBUG");
		}
		if (st.kind == ST_ERROR && st.err != EFAULT)
			why = "KVM_RUN failed";
		if (st.kind == ST_SHUTDOWN || st.kind == ST_INTERNAL || st.kind == ST_INTR ||
		    st.kind == ST_ERROR)
			break;
	}
	moment_end(c);
	step.control = 0;
	vcpu_ioctl(c, KVM_SET_GUEST_DEBUG, &step, "KVM_SET_GUEST_DEBUG");
	atomic_fetch_add_explicit(&fuzz->done, 1, memory_order_relaxed);
	if (!why)
		return true;
	printf("# seed %llu: %s: %s\n", (unsigned long long)seed, why, stop_text(&st));
	return false;
}

static const char *kind(u64 seed)
{
	return "SMRAM";
}

static bool cases(u64 seed, double end)
{
	struct world *w = NULL;
	bool ok = true;

	for (; ok && fuzz_now() < end; seed++) {
		/* RAM has been written over, or the tables are gone. */
		if (w && seed % CASES_PER_VM == 0) {
			world_free(w);
			w = NULL;
		}
		if (!w)
			w = world_new();
		ok = one_case(w, seed, false);
	}
	return ok;
}

/* With what came before it in its VM. */
static bool single(u64 seed)
{
	struct world *w = world_new();

	for (u64 k = seed / CASES_PER_VM * CASES_PER_VM; k < seed; k++)
		if (!one_case(w, k, false))
			return false;
	return one_case(w, seed, true);
}

int main(int argc, char **argv)
{
	static const struct fuzzer f = {
		.title = "random save-state areas", .hang_s = 20, .kind = kind, .cases = cases,
		.one = single, .report = moment_report,
	};

	return fuzz_main(&f, argc, argv);
}
