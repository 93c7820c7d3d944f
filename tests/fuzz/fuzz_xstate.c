/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/fuzz_xstate.c - random images for KVM_SET_XSAVE and KVM_SET_XCRS, against a model of
 * KVM's rules (docs/kvm-abi.md 5.1): what is refused changes nothing; what is taken is what
 * KVM_GET_XSAVE shows, and what the guest's own XSAVE stores.
 */
/* Run: build/standin run -- build/tests/fuzz/fuzz_xstate --count 20000 --seed 1 */
#include <sys/ioctl.h>

#include "tests/fuzz/options.h"
#include "tests/guest/harness/harness.h"
#include "tests/random.h"

enum { LEGACY = 512, HEADER = 64, AREA = 4096, PKRU = 9, COMPONENTS = 10 };
enum { X87 = 1, SSE = 2, AVX = 4, AVX512 = 0xe0 };
#define MXCSR_INIT 0x1f80u

static u64 rng;

static u64 rnd(void)
{
	return random_next(&rng);
}

static u32 below(u32 n)
{
	return (u32)(rnd() % n);
}

/* -- what this host's areas look like -- */

static struct {
	u32 at, bytes;
} comp[COMPONENTS];
static u64 supported;
static u32 mxcsr_mask;

static u64 field(const u8 *p, u32 at)
{
	u64 v;

	memcpy(&v, p + at, 8);
	return v;
}

static void put(u8 *p, u32 at, u64 v)
{
	memcpy(p + at, &v, 8);
}

static void learn(struct guest *g)
{
	static u8 x[AREA];

	for (u32 i = 0; i < g->cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &g->cpuid->entries[i];

		if (e->function != 0xd)
			continue;
		if (e->index == 0)
			supported = e->eax;
		else if (e->index > 1 && e->index < COMPONENTS && !(e->ecx & 1)) {
			comp[e->index].at = e->ebx;
			comp[e->index].bytes = e->eax;
		}
	}
	vcpu_ioctl(cpu0(g), KVM_GET_XSAVE, x, "KVM_GET_XSAVE");
	memcpy(&mxcsr_mask, x + 28, 4);
}

/* -- images -- */

static void random_bytes(u8 *p, u32 n)
{
	for (u32 i = 0; i < n; i += 8) {
		u64 v = rnd();

		memcpy(p + i, &v, n - i < 8 ? n - i : 8);
	}
}

/* x87 registers that the processor stores as they were loaded. */
static void tame_x87(u8 *p)
{
	put(p, 0, 0x37f | (rnd() & 0x4700) << 16 | (rnd() & 0x3800) << 16 | (rnd() & 0xff) << 32);
	put(p, 8, 0);
	put(p, 16, 0);
	for (u32 i = 0; i < 8; i++)
		memset(p + 32 + 16 * i + 10, 0, 6);
}

static void make_image(u8 *p, bool *tame)
{
	memset(p, 0, AREA);
	random_bytes(p, LEGACY);
	for (u32 i = 2; i < COMPONENTS; i++)
		if (supported >> i & 1)
			random_bytes(p + comp[i].at, comp[i].bytes);
	*tame = below(4);
	if (*tame)
		tame_x87(p);
	/* MXCSR: any legal one with exceptions masked, or anything. */
	put(p, 24, (rnd() & mxcsr_mask) | MXCSR_INIT);
	if (!below(16))
		p[24 + below(4)] ^= (u8)(1u << below(8));
	put(p, LEGACY, rnd() & rnd() & supported);
	if (!below(3))
		put(p, LEGACY, supported);
	switch (below(24)) {
	case 0: put(p, LEGACY, rnd()); break;
	case 1: put(p, LEGACY, field(p, LEGACY) | 1ull << below(64)); break;
	case 2: put(p, LEGACY + 8, 1ull << below(64)); break;
	case 3: p[LEGACY + 16 + below(48)] = (u8)(1 + below(255)); break;
	}
}

/* KVM's rules. */
static bool image_legal(const u8 *p, u64 host)
{
	u64 bv = field(p, LEGACY);

	if (bv & ~host || field(p, LEGACY + 8))
		return false;
	for (u32 i = 16; i < HEADER; i++)
		if (p[LEGACY + i])
			return false;
	return !(bv & (X87 | SSE | AVX)) || !((u32)field(p, 24) & ~mxcsr_mask);
}

/* The state that an image stands for, every component written out. Without its bit PKRU stays what
 * it was: it has four bytes that count. */
static void expand(u8 *out, const u8 *p, const u8 *pkru)
{
	u64 bv = field(p, LEGACY);
	u32 mxcsr = bv & (SSE | AVX) ? (u32)field(p, 24) : MXCSR_INIT;

	memset(out, 0, AREA);
	if (bv & X87) {
		memcpy(out, p, 24);
		memcpy(out + 32, p + 32, 128);
	} else {
		put(out, 0, 0x37f);
	}
	memcpy(out + 24, &mxcsr, 4);
	if (bv & SSE)
		memcpy(out + 160, p + 160, 256);
	for (u32 i = 2; i < COMPONENTS; i++)
		if (bv >> i & 1)
			memcpy(out + comp[i].at, p + comp[i].at, i == PKRU ? 4 : comp[i].bytes);
	if (!(bv >> PKRU & 1) && supported >> PKRU & 1 && pkru)
		memcpy(out + comp[PKRU].at, pkru + comp[PKRU].at, 4);
}

/* Where two expanded states differ, of the components in `which`; -1: nowhere. pointers: those of
 * x87 count. */
static int difference(const u8 *a, const u8 *b, u64 which, bool pointers)
{
	for (u32 i = 0; i < LEGACY; i++) {
		u64 of = i >= 24 && i < 28 ? SSE | AVX : i < 160 ? X87 : SSE;

		if ((i >= 28 && i < 32) || i >= 416 || !(which & of) ||
		    (!pointers && i >= 6 && i < 24))
			continue;
		if (a[i] != b[i])
			return (int)i;
	}
	for (u32 c = 2; c < COMPONENTS; c++)
		for (u32 i = 0; which >> c & 1 && i < comp[c].bytes; i++)
			if (a[comp[c].at + i] != b[comp[c].at + i])
				return (int)(comp[c].at + i);
	return -1;
}

/* -- cases -- */

CODE64(store, "mov $-1, %eax\n mov $-1, %edx\n xsave64 (%rdi)\n xor %ecx, %ecx\n xgetbv" DONE);

static u32 bad, refused, taken, runs;

static void complain(u64 at, const char *what, int offset)
{
	printf("# case %llu: %s, byte %d\n", (unsigned long long)at, what, offset);
	bad++;
}

static bool xcr0_legal(u64 v)
{
	if (v & ~supported || !(v & X87) || (v & AVX && !(v & SSE)))
		return false;
	return !(v & AVX512) || ((v & AVX512) == AVX512 && v & AVX);
}

static void case_xcrs(struct guest *g, u64 at, u64 *xcr0)
{
	struct kvm_xcrs x = { .nr_xcrs = below(8) ? 1 : below(20),
			      .flags = below(16) ? 0 : below(3) };
	bool legal = x.nr_xcrs <= KVM_MAX_XCRS && !x.flags;
	u64 want = *xcr0;
	int r;

	for (u32 i = 0; i < KVM_MAX_XCRS; i++) {
		x.xcrs[i].xcr = below(8) ? 0 : below(3);
		x.xcrs[i].value = below(4) ? (rnd() & supported) | 1 : rnd();
	}
	for (u32 i = 0; legal && i < x.nr_xcrs; i++)
		if (!x.xcrs[i].xcr) {
			legal = xcr0_legal(x.xcrs[i].value);
			if (legal)
				want = x.xcrs[i].value;
			break;
		}
	r = ioctl(cpu0(g)->fd, KVM_SET_XCRS, &x) ? errno : 0;
	if (r != (legal ? 0 : EINVAL))
		complain(at, "KVM_SET_XCRS", r);
	ioctl(cpu0(g)->fd, KVM_GET_XCRS, &x);
	if (x.nr_xcrs != 1 || x.xcrs[0].value != want)
		complain(at, "KVM_GET_XCRS", (int)x.xcrs[0].value);
	*xcr0 = want;
}

static void one(struct guest *g, u64 at, u64 host)
{
	static u8 in[AREA], before[AREA], after[AREA], want[AREA], seen[AREA];
	struct guest_cpu *c = cpu0(g);
	static u64 xcr0 = 1;
	u64 bv;
	bool tame, legal;
	struct stop s;
	int r, d;

	for (u32 i = below(3); i; i--)
		case_xcrs(g, at, &xcr0);
	make_image(in, &tame);
	legal = image_legal(in, host);
	vcpu_ioctl(c, KVM_GET_XSAVE, before, "KVM_GET_XSAVE");
	r = ioctl(c->fd, KVM_SET_XSAVE, in) ? errno : 0;
	vcpu_ioctl(c, KVM_GET_XSAVE, after, "KVM_GET_XSAVE");
	if (r != (legal ? 0 : EINVAL)) {
		complain(at, "KVM_SET_XSAVE's errno", r);
		return;
	}
	if (!legal) {
		refused++;
		if (memcmp(before, after, AREA))
			complain(at, "a refused image has changed something", 0);
		return;
	}
	taken++;
	expand(want, in, before);
	expand(seen, after, NULL);
	d = difference(want, seen, supported, true);
	if (d >= 0) {
		complain(at, "KVM_GET_XSAVE is not what was set", d);
		return;
	}
	if (below(2))
		return;
	runs++;
	case_xcrs(g, at, &xcr0);
	memset(g->ram + G_DATA, 0, AREA);
	WITH_SREGS(c, sr)
		sr.cr4 |= 1u << 18;
	WITH_REGS(c, regs) {
		regs.rip = G_CODE;
		regs.rdi = G_DATA;
		regs.rflags = 2;
	}
	s = run(g);
	if (s.kind != ST_DONE || s.r.rax != (xcr0 & 0xffffffff)) {
		printf("# %s\n", stop_text(&s));
		complain(at, "the guest's XSAVE did not end", 0);
		return;
	}
	/* The guest's own image, of what its XCR0 has: MXCSR comes with SSE or AVX. */
	memcpy(in, g->ram + G_DATA, AREA);
	bv = field(in, LEGACY);
	if (bv & ~xcr0)
		complain(at, "XSTATE_BV has what XCR0 has not", (int)bv);
	expand(seen, in, NULL);
	if (xcr0 & (SSE | AVX))
		memcpy(seen + 24, in + 24, 4);
	d = difference(want, seen, tame ? xcr0 : xcr0 & ~(u64)X87, false);
	if (d >= 0)
		complain(at, "the guest's XSAVE stores something else", d);
	vcpu_ioctl(c, KVM_GET_XSAVE, after, "KVM_GET_XSAVE");
	expand(seen, after, NULL);
	d = difference(want, seen, tame ? supported : supported & ~(u64)X87, false);
	if (d >= 0)
		complain(at, "KVM_GET_XSAVE behind the run", d);
}

int main(int argc, char **argv)
{
	u64 count = 20000, seed = 1, host;
	struct guest *g;

	if (!fuzz_options(argc, argv, &count, &seed))
		return 2;
	printf("TAP version 13\n1..1\n");
	g = guest_with(M_LONG, store);
	if (!guest_has(g, 1, 2, 26)) {
		printf("ok 1 # SKIP no XSAVE\n");
		return 0;
	}
	learn(g);
	host = supported;
	for (u64 i = 0; i < count && bad < 8; i++) {
		rng = seed + i;
		one(g, seed + i, host);
	}
	printf("# %u taken, %u refused, %u runs\n", taken, refused, runs);
	printf("%s 1 - xstate: random images, KVM's rules, and what the guest has, seed %llu\n",
	       bad ? "not ok" : "ok", (unsigned long long)seed);
	guest_free(g);
	return bad != 0;
}
