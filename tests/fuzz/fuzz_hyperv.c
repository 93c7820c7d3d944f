/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/fuzz_hyperv.c - random hypercalls of L1 and of L2, random pages and MSRs of Hyper-V's
 * interface, against a model of KVM's rules (docs/kvm-abi.md 6.8): the status, whose call it is,
 * and which memory may change.
 */
/* Run: build/standin run -- build/tests/fuzz/fuzz_hyperv --count 20000 --seed 1 */
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/fuzz/options.h"
#include "tests/guest/harness/svm.h"
#include "tests/random.h"

enum { CALL_BYTES = 4, XMM_HALVES = 12, BANKS_READ = 16, LIST_MAX = 15 };
enum {
	STATUS_CODE = 2,
	STATUS_INPUT = 3,
	STATUS_ALIGN = 4,
	STATUS_PARAMETER = 5,
	STATUS_DENIED = 8
};
enum { USER = 0x100 };	/* not a status: user space is asked */

#define MSR_OS_ID 0x40000000
#define MSR_ASSIST 0x40000073
#define MSR_EFER 0xc0000080
#define CONNECTION 5		/* has an eventfd */

/* What the cases may touch; nothing else of it changes behind a case's back. */
#define AREA G_SVM_DATA
#define AREA_PAGES 16u
#define AREA_BYTES (AREA_PAGES << 12)

static u64 rng;

static u64 rnd(void)
{
	return random_next(&rng);
}

static u32 below(u32 n)
{
	return (u32)(rnd() % n);
}

static u32 bad, in_l2, users, taken, refused, traps, writes;
static u8 copy[AREA_BYTES];
static struct svm_guest s;

static void complain(u64 at, const char *what, u64 got, u64 want)
{
	printf("# case %llu: %s: %#llx, expected %#llx\n", (unsigned long long)at, what,
	       (unsigned long long)got, (unsigned long long)want);
	bad++;
}

/* -- a call and the model of it -- */

struct call {
	u64 control, in, out;
	u64 xmm[XMM_HALVES];
	bool l2;
	/* parts of the control word */
	u32 code, var, reps, start;
	bool fast;
};

static u64 some_address(void)
{
	u64 page = AREA + ((u64)below(AREA_PAGES) << 12);

	switch (below(10)) {
	case 0: return rnd();
	case 1: return page + 0x1000 - below(64);
	case 2: return G_RAM_SIZE - below(64);
	case 3: return below(2) ? 0x40000000 : 0xfee00000 + below(4096);
	default: return page + below(0x200) * 8;
	}
}

/* Small numbers, sets and vectors: what calls are made of. */
static u64 some_word(void)
{
	switch (below(8)) {
	case 0: return rnd();
	case 1: return BIT64(below(64));
	case 2: return rnd() & rnd() & rnd();
	case 3: return 16 + below(240);
	default: return below(4);
	}
}

static struct call make_call(void)
{
	static const u16 codes[] = { 2,	   3,	 8,    0xb,    0x13,   0x14,   0x15,   2,
				     3,	   0x13, 0x14, 0x5c,   0x5d,   0x69,   0x6a,   0x6b,
				     0,	   0x8001, 0x8041, 0x8042, 0x8000, 0xffff };
	struct call k = { .code = codes[below(ARRAY_SIZE(codes))], .fast = below(2) };

	if (!below(4))
		k.var = below(2) ? below(4) : below(0x400);
	if (k.code == 3 || k.code == 0x14 || !below(6))
		k.reps = below(3) ? below(17) : below(0x1000);
	if (!below(24))
		k.start = below(0x1000);
	for (u32 i = 0; i < XMM_HALVES; i++)
		k.xmm[i] = some_word();
	k.in = k.fast && below(4) ? some_word() : some_address();
	k.out = k.fast && below(4) ? some_word() : some_address();
	if (k.code == 0x5d && below(2))
		k.in = CONNECTION + below(2);
	/* Mostly as many banks as the set says. */
	if ((k.code == 0x13 || k.code == 0x14 || k.code == 0x15) && below(4)) {
		u32 at = k.code == 0x15 ? 16 : 24;
		u64 set = k.code == 0x15 ? k.xmm[0] : k.xmm[1];

		if (!k.fast && k.in >= AREA && k.in + 32 <= AREA + AREA_BYTES)
			set = *g64(s.g, k.in + at);
		k.var = (u32)__builtin_popcountll(set);
	}
	k.control = k.code | (u64)k.fast << 16 | (u64)k.var << 17 | (u64)k.reps << 32 |
		    (u64)k.start << 48;
	if (!below(32))
		k.control |= BIT64(below(2)   ? 27 + below(5)
				   : below(2) ? 44 + below(4)
					      : 60 + below(4));
	return k;
}

/* The input as the call sees it; false: no memory. In L2 nested paging has the first GiB, and the
 * APIC. */
static bool read_input(const struct call *k, u64 off, u64 *to, u32 words)
{
	u64 gpa = k->in + off;

	if (k->l2 && k->in >> 30 && k->in >> 21 != 0xfee00000 >> 21)
		return false;
	if (gpa > G_RAM_SIZE || gpa + words * 8 > G_RAM_SIZE || gpa + words * 8 < gpa)
		return !words;
	memcpy(to, s.g->ram + gpa, words * 8);
	return true;
}

static u32 read_more(const struct call *k, u32 pos, u32 n, u32 cap)
{
	u64 words[64];

	if (k->fast)
		return (int)n > XMM_HALVES - (int)pos ? STATUS_INPUT : 0;
	return read_input(k, pos, words, n < cap ? n : cap) ? 0 : STATUS_INPUT;
}

static u32 model_flush(const struct call *k, bool ex, bool list)
{
	u64 w[4] = { k->in, k->out, k->xmm[0], k->xmm[1] };
	u32 pos = k->fast ? (ex ? 2 : 1) : ex ? 32 : 24;

	if ((!ex && k->var) || (list ? !k->reps || k->start : k->reps || k->start))
		return STATUS_INPUT;
	if (!k->fast && !read_input(k, 0, w, ex ? 4 : 3))
		return STATUS_INPUT;
	if (ex) {
		if (k->var != (u32)__builtin_popcountll(w[3]))
			return STATUS_INPUT;
		if (!w[2] && !k->var)
			return 0;
		if (!w[2] && read_more(k, pos, k->var, BANKS_READ))
			return STATUS_INPUT;
		pos += k->fast ? k->var : k->var * 8;
	}
	return list && k->reps <= LIST_MAX ? read_more(k, pos, k->reps, k->reps) : 0;
}

static u32 model_ipi(const struct call *k, bool ex)
{
	u64 w[3] = { k->in, k->out, k->xmm[0] };
	u32 vector;

	if ((!ex && k->var) || k->reps || k->start)
		return STATUS_INPUT;
	if (k->fast ? !ex && k->in >> 32 : !read_input(k, 0, w, ex ? 3 : 2))
		return STATUS_INPUT;
	vector = (u32)w[0];
	if (ex) {
		if (k->var != (u32)__builtin_popcountll(w[2]))
			return STATUS_INPUT;
		if (w[1] != 1 && !k->var)
			return 0;
		if (w[1] != 1 && read_more(k, k->fast ? 1 : 24, k->var, BANKS_READ))
			return STATUS_INPUT;
	}
	return vector < 16 || vector > 255 ? STATUS_INPUT : 0;
}

static u32 model_event(const struct call *k)
{
	u64 id = k->in;

	if (k->reps || k->start || k->var)
		return STATUS_INPUT;
	if (k->code == 0x5c)
		return USER;
	if (!k->fast && (k->in & 7 || !read_input(k, 0, &id, 1)))
		return STATUS_ALIGN;
	if (id & 0xffff00000000)
		return USER;
	if (id & ~0xffffffull)
		return STATUS_INPUT;
	return id == CONNECTION ? 0 : USER;
}

static u32 model(const struct call *k)
{
	if (k->control & (0xf8000000 | 0xf00000000000 | 0xf000000000000000))
		return STATUS_INPUT;
	switch (k->code) {
	case 0x02: return model_flush(k, false, false);
	case 0x03: return model_flush(k, false, true);
	case 0x13: return model_flush(k, true, false);
	case 0x14: return model_flush(k, true, true);
	case 0x08: return k->reps || k->start || k->var ? STATUS_INPUT : 0;
	case 0x0b: return model_ipi(k, false);
	case 0x15: return model_ipi(k, true);
	case 0x5c: case 0x5d: return model_event(k);
	case 0x69: case 0x6a:
		return k->fast ? STATUS_PARAMETER : STATUS_DENIED;
	case 0x6b: return STATUS_DENIED;
	}
	if (k->code < 0x8001 || k->code > 0x8041)
		return STATUS_CODE;
	return k->fast ? STATUS_PARAMETER : USER;
}

static bool is_flush(u32 code)
{
	return code == 2 || code == 3 || code == 0x13 || code == 0x14;
}

/* -- running -- */

CODE64(call, "vmmcall\n call_next:" DONE);
LABEL(call_next);
CODE64(l2_call, "vmmcall\n l2_next: out %al, $0x10\n");
LABEL(l2_next);
CODE64(write, "wrmsr" DONE);

static void set_xmm(const u64 *xmm)
{
	struct kvm_fpu f = { .fcw = 0x37f };

	memcpy(f.xmm, xmm, XMM_HALVES * 8);
	vcpu_ioctl(s.c, KVM_SET_FPU, &f, "KVM_SET_FPU");
}

/* The area is random, then remembered. */
static void scatter(void)
{
	for (u32 i = 0; i < 64; i++)
		*g64(s.g, AREA + ((u64)below(AREA_BYTES) & ~7ull)) = some_word();
}

static void remember(void)
{
	memcpy(copy, s.g->ram + AREA, AREA_BYTES);
}

/* Nothing but the page at `except` has changed. */
static void unchanged(u64 at, u64 except)
{
	for (u32 i = 0; i < AREA_PAGES; i++) {
		u64 gpa = AREA + (i << 12);

		if (gpa == except || !memcmp(copy + (i << 12), s.g->ram + gpa, 4096))
			continue;
		complain(at, "memory has changed, page", gpa, except);
	}
}

/* L1 as it starts. */
static void set_up(void)
{
	cpu_setup(s.c);
	cpu_set_msr(s.c, MSR_EFER, cpu_msr(s.c, MSR_EFER) | BIT64(12));
}

static void reset_l1(u64 rip)
{
	WITH_REGS(s.c, r) {
		memset(&r, 0, sizeof(r));
		r.rip = rip;
		r.rflags = 2;
		r.rsp = G_STACK;
	}
}

static void case_l1(u64 at)
{
	struct call k = make_call();
	u32 want = model(&k);
	struct stop st;

	remember();
	set_xmm(k.xmm);
	reset_l1(G_CODE + 0x800);
	WITH_REGS(s.c, r) {
		r.rcx = k.control;
		r.rdx = k.in;
		r.r8 = k.out;
	}
	st = svm_run(&s);
	if (want == USER) {
		struct kvm_run *run = s.c->run;
		u64 answer = rnd();

		users++;
		if (st.kind != ST_OTHER || run->exit_reason != KVM_EXIT_HYPERV ||
		    run->hyperv.type != KVM_EXIT_HYPERV_HCALL ||
		    run->hyperv.u.hcall.input != k.control) {
			printf("# %s\n", stop_text(&st));
			complain(at, "user space is not asked, code", k.code, want);
			return;
		}
		run->hyperv.u.hcall.result = answer;
		st = svm_run(&s);
		if (st.kind != ST_DONE || st.r.rax != answer)
			complain(at, "user space's answer", st.r.rax, answer);
	} else {
		u64 result = want ? want : is_flush(k.code) ? (u64)k.reps << 32 : 0;

		*(want ? &refused : &taken) += 1;
		if (st.kind != ST_DONE || st.r.rax != result) {
			printf("# %s, control %#llx in %#llx\n", stop_text(&st),
			       (unsigned long long)k.control, (unsigned long long)k.in);
			complain(at, "the status", st.r.rax, result);
		}
	}
	unchanged(at, 0);
}

static void case_l2(u64 at)
{
	u64 os = below(16) ? 1 : 0, assist = AREA + 0x1000, partition = AREA + 0x2000;
	bool page = below(16), allowed = below(8), wanted = below(8), memory = below(12);
	struct call k = make_call();
	struct kvm_vcpu_events ev = { 0 };
	struct stop st;
	u32 want, locks;
	bool direct;
	u64 result;

	in_l2++;
	k.l2 = true;
	cpu_set_msr(s.c, MSR_OS_ID, os);
	cpu_set_msr(s.c, MSR_ASSIST, page ? assist | 1 : 0);
	svm_rewind(&s);
	svm_npt(&s);
	s.ctl->hv_control = (u32)rnd() & ~3u;
	if (wanted)
		s.ctl->hv_control |= SVM_HV_DIRECT_FLUSH;
	s.ctl->hv_vm_id = below(3);
	s.ctl->hv_vp_id = below(70);
	s.ctl->hv_assist = memory ? partition + below(512) * 8 : some_address() | BIT64(40);
	*g32(s.g, assist + 32) = (u32)rnd() & ~1u;
	if (allowed)
		*g32(s.g, assist + 32) |= 1;
	*g32(s.g, memory ? s.ctl->hv_assist : partition) = locks = below(2) ? 0 : (u32)rnd();
	want = model(&k);
	direct = os && page && allowed && wanted && is_flush(k.code);
	if (direct && !want && !memory)
		want = STATUS_INPUT;
	remember();
	set_xmm(k.xmm);
	reset_l1(G_CODE);
	WITH_REGS(s.c, r) {
		r.rax = G_VMCB;
		r.rcx = k.control;
		r.rdx = k.in;
		r.r8 = k.out;
	}
	st = svm_run(&s);
	result = want ? want : (u64)k.reps << 32;
	if (!direct) {
		if (st.kind != ST_OUT || st.port != PORT_L1 ||
		    s.ctl->exit_code != SVM_EXIT_VMMCALL || s.save->rip != G_L2)
			complain(at, "L1's call, exit", s.ctl->exit_code, SVM_EXIT_VMMCALL);
	} else if (!want && locks) {
		traps++;
		if (st.kind != ST_OUT || st.port != PORT_L1 || s.ctl->exit_code != 0xf0000000 ||
		    s.ctl->exit_info_1 != 1 || s.save->rip != AT_L2(l2_call, l2_next) ||
		    s.save->rax != result)
			complain(at, "the synthetic exit", s.ctl->exit_code, 0xf0000000);
	} else if (st.kind != ST_OUT || st.port != 0x10 || st.r.rax != result) {
		printf("# %s, control %#llx in %#llx\n", stop_text(&st),
		       (unsigned long long)k.control, (unsigned long long)k.in);
		complain(at, "the status in L2", st.r.rax, result);
	}
	*(want ? &refused : &taken) += direct;
	unchanged(at, 0);
	/* Out of L2, wherever it stopped. */
	if (st.kind == ST_OUT && st.port == 0x10) {
		cpu_complete(s.c);
		cpu_set_msr(s.c, MSR_EFER, cpu_msr(s.c, MSR_EFER) & ~BIT64(12));
		set_up();
	}
	vcpu_ioctl(s.c, KVM_SET_VCPU_EVENTS, &ev, "KVM_SET_VCPU_EVENTS");
	cpu_set_msr(s.c, MSR_OS_ID, 1);
}

/* A page is set up by the guest's WRMSR: nothing but that page changes. */
static void case_msr(u64 at)
{
	static const u32 msrs[] = { 0x40000001, 0x40000021, 0x40000073, 0x40000082, 0x40000083,
				    0x40000080, 0x40000090, 0x40000100, 0x40000106, 0x400000f1,
				    0x400000f5, 0x400000ff, 0x40000118, 0x40000002, 0x40000020 };
	u32 msr = msrs[below(ARRAY_SIZE(msrs))], left = 6;
	u64 v = below(8) ? AREA + ((u64)below(AREA_PAGES) << 12) : rnd();
	struct stop st;

	v |= below(4) ? 1 : below(0x1000);
	/* What is outside the area is not looked at, and must not be code or tables. */
	if ((v & ~0xfffull) < AREA)
		v = 0;
	writes++;
	remember();
	reset_l1(G_CODE + 0x900);
	WITH_REGS(s.c, r) {
		r.rcx = msr;
		r.rax = (u32)v;
		r.rdx = v >> 32;
	}
	do
		st = svm_run(&s);
	while (st.kind == ST_OTHER && s.c->run->exit_reason == KVM_EXIT_HYPERV && --left);
	if (st.kind == ST_EXC && st.vec == 13)
		set_up();
	else if (st.kind != ST_DONE)
		complain(at, "WRMSR", msr, 0);
	unchanged(at, (msr == 0x40000001 || (msr >= 0x40000021 && msr <= 0x40000083)) && v & 1 &&
				      st.kind == ST_DONE
			      ? v & ~0xfffull
			      : 0);
	/* As it was: pages that change by themselves would be in the way. */
	cpu_set_msr(s.c, 0x40000021, 0);
	cpu_set_msr(s.c, MSR_ASSIST, 0);
	cpu_set_msr(s.c, 0x400000ff, 0);
}

static void start(void)
{
	struct kvm_hyperv_eventfd e = { .conn_id = CONNECTION };
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HYPERV_SYNIC };

	s = svm_new(M_LONG, GUEST_IRQCHIP, l2_call_b, LEN(l2_call));
	guest_load(s.g, G_CODE + 0x800, call);
	guest_load(s.g, G_CODE + 0x900, write);
	cpu_hyperv(s.c, NULL);
	cpu_set_msr(s.c, MSR_OS_ID, 1);
	vcpu_ioctl(s.c, KVM_ENABLE_CAP, &cap, "KVM_CAP_HYPERV_SYNIC");
	guest_add_cpu(s.g);
	e.fd = eventfd(0, EFD_NONBLOCK);
	if (e.fd < 0 || ioctl(s.g->vm, KVM_HYPERV_EVENTFD, &e))
		test_die("KVM_HYPERV_EVENTFD: %s", strerror(errno));
	close(e.fd);
}

int main(int argc, char **argv)
{
	u64 count = 20000, seed = 1;

	if (!fuzz_options(argc, argv, &count, &seed))
		return 2;
	printf("TAP version 13\n1..1\n");
	start();
	for (u64 i = 0; i < count && bad < 8; i++) {
		/* A machine's memory is random by what earlier cases of its thousand have left. */
		if (i % 1000 == 0 && i) {
			guest_free(s.g);
			start();
		}
		rng = seed + i;
		scatter();
		switch (below(8)) {
		case 0: case 1: case 2: case 3:
			case_l1(seed + i);
			break;
		case 4: case 5: case 6:
			case_l2(seed + i);
			break;
		default:
			case_msr(seed + i);
		}
	}
	printf("# %u taken, %u refused, %u for user space; %u in L2, %u traps; %u MSRs\n", taken,
	       refused, users, in_l2, traps, writes);
	printf("%s 1 - Hyper-V: random calls of L1 and L2, pages and MSRs, seed %llu\n",
	       bad ? "not ok" : "ok", (unsigned long long)seed);
	guest_free(s.g);
	return bad != 0;
}
