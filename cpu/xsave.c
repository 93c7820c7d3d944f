/* SPDX-License-Identifier: MIT */
/*
 * cpu/xsave.c - FXSAVE, FXRSTOR, the XSAVE family, XGETBV, XSETBV.
 *
 * engine_fpu_save() leaves the guest's state in c->xsave in the standard XSAVE
 * form (APM2 11.5.2, engine/xstate.h). The instructions convert between that and guest memory.
 */
#include <Zydis/Zydis.h>

#include "base/mem.h"
#include "cpu/access.h"
#include "cpu/sys.h"
#include "engine/engine.h"
#include "engine/xstate.h"
#include "mmu/mmu.h"

enum { X87 = XSTATE_X87, SSE = XSTATE_SSE, AVX = XSTATE_AVX };
#define XCOMP_COMPACT BIT64(63)

struct header {
	u64 bv, comp;
	u64 rsvd[6];
};

/* Everything one instruction works with. */
struct xs {
	struct cpu *c;
	const struct insn *in;
	u64 ea;
	bool wide;		/* the 64-bit form: FIP and FDP in full */
	bool m64;		/* 64-bit mode: 16 registers (or 32), else 8 */
	u32 xmm_bytes;
	bool stored;		/* the first store has been made */
};

static struct header *own_header(struct cpu *c)
{
	return (struct header *)(c->xsave + XSAVE_BV);
}

static u32 own32(const struct cpu *c, u32 off)
{
	return *(const u32 *)(c->xsave + off);
}

/* How much of a component beyond the header is looked at: outside 64-bit mode, of eight registers
 * (SDM1 13.5). */
static u32 used_bytes(u32 bit, bool m64)
{
	switch (bit) {
	case XSTATE_OPMASK_BIT: case XSTATE_PKRU_BIT: return xstate_bytes(bit);
	case XSTATE_HI16_ZMM_BIT: return m64 ? xstate_bytes(bit) : 0;
	default:
		return m64 ? xstate_bytes(bit) : xstate_bytes(bit) / 2;
	}
}

#define EACH_EXTENDED(i, set) \
	for (u32 i = XSTATE_AVX_BIT; i <= XSTATE_LAST; i++) \
		if ((set) >> i & 1)

void cpu_set_pkru(struct cpu *c, u32 v)
{
	if (c->pkru == v)
		return;
	c->pkru = v;
	mmu_keys_changed(c);
}

/* Give components that are in their initial state the contents of it: only the bit
 * in XSTATE_BV says so until then. */
static void init_component(struct cpu *c, u32 what, bool m64)
{
	if (what & X87) {
		cpu_zero(c->xsave, XSAVE_MXCSR);
		cpu_zero(c->xsave + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
		*(u16 *)c->xsave = FCW_INIT;
	}
	if (what & SSE)
		cpu_zero(c->xsave + XSAVE_XMM, m64 ? 256 : 128);
	EACH_EXTENDED(i, what)
	cpu_zero(c->xsave + xstate_offset(i), used_bytes(i, m64));
}

/* Take the state out of the registers. Returns what is not in its initial state. */
static u32 take_state(struct cpu *c)
{
	struct header *h = own_header(c);
	u32 in_use;

	engine_fpu_save(c);
	engine_x87_pointers(c);
	in_use = (u32)h->bv & XSTATE_ALL & ~(u32)XSTATE_PKRU;
	if (unlikely(c->pkru)) {
		in_use |= XSTATE_PKRU;
		cpu_copy(c->xsave + xstate_offset(XSTATE_PKRU_BIT), &c->pkru, sizeof(c->pkru));
		cpu_zero(c->xsave + xstate_offset(XSTATE_PKRU_BIT) + 4, 4);
	}
	init_component(c, ~in_use & (u32)xcr0_host_supported(), true);
	return in_use;
}

/* -- pieces of guest memory -- */

static enum cpu_result put(struct xs *x, u32 off, const void *buf, u32 len)
{
	x->stored = true;
	return cpu_write(x->c, x->in->seg, x->ea + off, buf, len);
}

static enum cpu_result get(struct xs *x, u32 off, void *buf, u32 len)
{
	return cpu_read(x->c, x->in->seg, x->ea + off, buf, len);
}

/* A store goes on after CPU_DONE (queued) and stops at a fault only. */
static void keep(enum cpu_result *ret, enum cpu_result r)
{
	if (r == CPU_FAULT || *ret == CPU_OK)
		*ret = r;
}

/* The 24 bytes before MXCSR. The short form has selectors, which long-mode CPUs
 * save as 0, and 32-bit offsets (APM2 11.4.4). */
static void x87_head(const struct xs *x, u8 out[24])
{
	cpu_copy(out, x->c->xsave, 24);
	if (!x->wide) {
		*(u32 *)(out + 12) = 0;
		*(u32 *)(out + 20) = 0;
	}
}

static enum cpu_result put_x87(struct xs *x)
{
	u8 head[24];
	enum cpu_result ret = CPU_OK;

	x87_head(x, head);
	keep(&ret, put(x, 0, head, 24));
	keep(&ret, put(x, XSAVE_ST, x->c->xsave + XSAVE_ST, XSAVE_XMM - XSAVE_ST));
	return ret;
}

static enum cpu_result put_mxcsr(struct xs *x)
{
	u32 v[2] = { own32(x->c, XSAVE_MXCSR), xstate_mxcsr_mask() };

	return put(x, XSAVE_MXCSR, v, 8);
}

static void take_x87_head(struct xs *x, const u8 in[24])
{
	u8 *d = x->c->xsave;

	cpu_copy(d, in, 24);
	if (!x->wide) {
		*(u32 *)(d + 12) = 0;
		*(u32 *)(d + 20) = 0;
	}
}

/* FXSAVE and FXRSTOR have #AC too: for what is not even a multiple of four, as measured on AMD. */
static enum cpu_result check_aligned(struct xs *x, u32 align, u32 len, bool write)
{
	u64 lin;
	enum cpu_result r = cpu_linear(x->c, x->in->seg, x->ea, len, write, &lin);

	if (!r && align == 16)
		r = cpu_align(x->c, lin, 3);
	if (r)
		return r;
	if (lin & (align - 1))
		return cpu_raise_err(x->c, EXC_GP, 0);
	return CPU_OK;
}

/* -- FXSAVE, FXRSTOR -- */

/* APM2 11.4.4.1: fast form, in 64-bit mode at CPL 0. */
static bool fast_fx(const struct cpu *c)
{
	return (c->efer & EFER_FFXSR) && cpu_in_64(c) && c->cpl == 0;
}

static enum cpu_result fxsave(struct xs *x)
{
	struct cpu *c = x->c;
	enum cpu_result ret = check_aligned(x, 16, XSTATE_LEGACY_BYTES, true);

	if (!ret)
		ret = cpu_probe_w(c, x->in->seg, x->ea, XSTATE_LEGACY_BYTES);
	if (ret)
		return ret;
	take_state(c);
	keep(&ret, put_x87(x));
	keep(&ret, put_mxcsr(x));
	if (!fast_fx(c))
		keep(&ret, put(x, XSAVE_XMM, c->xsave + XSAVE_XMM, x->xmm_bytes));
	return ret;
}

static enum cpu_result fxrstor(struct xs *x)
{
	struct cpu *c = x->c;
	u8 img[XSAVE_XMM + 256] __attribute__((aligned(8)));
	enum cpu_result r = check_aligned(x, 16, XSTATE_LEGACY_BYTES, false);

	if (!r)
		r = get(x, 0, img, XSAVE_XMM + x->xmm_bytes);
	if (r)
		return r;
	if (*(u32 *)(img + XSAVE_MXCSR) & ~xstate_mxcsr_mask())
		return cpu_raise_err(c, EXC_GP, 0);
	take_state(c);
	take_x87_head(x, img);
	*(u32 *)(c->xsave + XSAVE_MXCSR) = *(u32 *)(img + XSAVE_MXCSR);
	cpu_copy(c->xsave + XSAVE_ST, img + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	if (!fast_fx(c))
		cpu_copy(c->xsave + XSAVE_XMM, img + XSAVE_XMM, x->xmm_bytes);
	own_header(c)->bv |= X87 | SSE;
	return CPU_OK;
}

/* -- the XSAVE family -- */

static u32 requested(const struct cpu *c)
{
	u64 mask = (u32)c->gpr[R_RAX] | c->gpr[R_RDX] << 32;

	return (u32)(mask & c->xcr0) & XSTATE_ALL;
}

/* opt: components in their initial state are only marked. compact: XSAVEC. */
static enum cpu_result xsave(struct xs *x, bool opt, bool compact)
{
	struct cpu *c = x->c;
	u32 rfbm = requested(c);
	u32 write, in_use;
	struct header h = { 0 };
	u32 size = xstate_size(rfbm, compact);
	enum cpu_result ret = check_aligned(x, 64, size, true);

	if (!ret)
		ret = cpu_probe_w(c, x->in->seg, x->ea, size);
	if (!ret && !compact)
		ret = get(x, XSAVE_BV, &h.bv, 8);
	if (ret)
		return ret;
	in_use = take_state(c);
	/* XSAVEC saves MXCSR as part of SSE (SDM1 13.10). */
	if (compact && own32(c, XSAVE_MXCSR) != MXCSR_INIT)
		in_use |= SSE;
	write = opt || compact ? rfbm & in_use : rfbm;
	if (write & X87)
		keep(&ret, put_x87(x));
	if (compact ? write & SSE : rfbm & (SSE | AVX))
		keep(&ret, put_mxcsr(x));
	if (write & SSE)
		keep(&ret, put(x, XSAVE_XMM, c->xsave + XSAVE_XMM, x->xmm_bytes));
	EACH_EXTENDED(i, write) {
		u32 n = used_bytes(i, x->m64);

		if (n)
			keep(&ret, put(x, compact ? xstate_compact_offset(rfbm, i)
				       : xstate_offset(i),
				       c->xsave + xstate_offset(i), n));
	}
	h.bv = (compact ? 0 : h.bv & ~(u64)rfbm) | (rfbm & in_use);
	h.comp = rfbm | XCOMP_COMPACT;
	keep(&ret, put(x, XSAVE_BV, &h, compact ? 16 : 8));
	return ret;
}

/* Header rules of SDM1 13.8 / APM4 XRSTOR. */
static bool header_valid(const struct cpu *c, const struct header *h)
{
	u64 rest = 0;

	for (u32 i = 0; i < ARRAY_SIZE(h->rsvd); i++)
		rest |= h->rsvd[i];
	if (h->comp & XCOMP_COMPACT)
		return !rest && !(h->comp & ~XCOMP_COMPACT & ~c->xcr0) && !(h->bv & ~h->comp);
	/* Standard form: bytes 23:8 only. */
	return !h->comp && !h->rsvd[0] && !(h->bv & ~c->xcr0);
}

/* system: XRSTORS, which knows the compacted form only. */
static enum cpu_result xrstor(struct xs *x, bool system)
{
	struct cpu *c = x->c;
	u8 img[XSAVE_XMM + 256] __attribute__((aligned(8)));
	u8 ext[CPU_XSAVE_SIZE - XSTATE_EXTENDED];	/* as in c->xsave */
	struct header h;
	u32 rfbm = requested(c);
	u32 load, init;
	bool compact, mxcsr;
	u32 mxcsr_val;
	enum cpu_result r = check_aligned(x, 64, XSTATE_EXTENDED, false);

	if (!r)
		r = get(x, XSAVE_BV, &h, sizeof(h));
	if (r)
		return r;
	if (!header_valid(c, &h) || (system && !(h.comp & XCOMP_COMPACT)))
		return cpu_raise_err(c, EXC_GP, 0);
	compact = h.comp & XCOMP_COMPACT;
	if (!x->m64)
		rfbm &= ~(u32)XSTATE_HI16_ZMM;
	load = rfbm & (u32)h.bv;
	init = rfbm & ~load;
	/* Standard form: MXCSR comes from memory whatever XSTATE_BV says. */
	mxcsr = compact ? load & SSE : rfbm & (SSE | AVX);
	mxcsr_val = MXCSR_INIT;
	if (load & X87) {
		r = get(x, 0, img, 24);
		if (!r)
			r = get(x, XSAVE_ST, img + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	}
	if (!r && mxcsr)
		r = get(x, XSAVE_MXCSR, &mxcsr_val, 4);
	if (!r && (load & SSE))
		r = get(x, XSAVE_XMM, img + XSAVE_XMM, x->xmm_bytes);
	EACH_EXTENDED(i, load)
	if (!r)
		r = get(x, compact ? xstate_compact_offset(h.comp, i) : xstate_offset(i),
			ext + xstate_offset(i) - XSTATE_EXTENDED, used_bytes(i, x->m64));
	if (r)
		return r;
	if (mxcsr_val & ~xstate_mxcsr_mask())
		return cpu_raise_err(c, EXC_GP, 0);

	take_state(c);
	if (load & X87) {
		take_x87_head(x, img);
		cpu_copy(c->xsave + XSAVE_ST, img + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	}
	if (load & SSE)
		cpu_copy(c->xsave + XSAVE_XMM, img + XSAVE_XMM, x->xmm_bytes);
	EACH_EXTENDED(i, load)
	cpu_copy(c->xsave + xstate_offset(i), ext + xstate_offset(i) - XSTATE_EXTENDED,
		 used_bytes(i, x->m64));
	init_component(c, init, x->m64);
	if (compact ? rfbm & SSE : rfbm & (SSE | AVX))
		*(u32 *)(c->xsave + XSAVE_MXCSR) = mxcsr_val;
	if (load & XSTATE_PKRU)
		cpu_set_pkru(c, own32(c, xstate_offset(XSTATE_PKRU_BIT)));
	else if (init & XSTATE_PKRU)
		cpu_set_pkru(c, 0);
	own_header(c)->bv |= load & ~(u64)XSTATE_PKRU;
	/* Registers 8-15 outlive an init outside 64-bit mode. */
	own_header(c)->bv &= ~(u64)(x->m64 ? init : init & (X87 | XSTATE_OPMASK));
	return CPU_OK;
}

/* -- XCR0 -- */

static enum cpu_result xgetbv(struct cpu *c, const struct insn *in)
{
	u64 v;

	switch ((u32)c->gpr[R_RCX]) {
	case 0:
		v = c->xcr0;
		break;
	case 1:	/* components of XCR0 that are in use (SDM1 13.3), with CPUID's XGETBV1 */
		if (!c->has_xgetbv1)
			return cpu_raise_err(c, EXC_GP, 0);
		v = c->xcr0 & take_state(c);
		break;
	default:
		return cpu_raise_err(c, EXC_GP, 0);
	}
	insn_set_reg(c, R_RAX, 4, (u32)v);
	insn_set_reg(c, R_RDX, 4, v >> 32);
	insn_retire(c, in);
	return CPU_OK;
}

static enum cpu_result xsetbv(struct cpu *c, const struct insn *in)
{
	enum cpu_result r;

	if (c->cpl || (u32)c->gpr[R_RCX])
		return cpu_raise_err(c, EXC_GP, 0);
	/* The registers were loaded under the old mask. */
	engine_fpu_save(c);
	r = cpu_set_xcr0(c, (u32)c->gpr[R_RAX] | c->gpr[R_RDX] << 32);
	if (r == CPU_OK)
		insn_retire(c, in);
	return r;
}

static enum cpu_result xsave_plain(struct xs *x) { return xsave(x, false, false); }
static enum cpu_result xsave_opt(struct xs *x) { return xsave(x, true, false); }
static enum cpu_result xsave_compact(struct xs *x) { return xsave(x, false, true); }
static enum cpu_result xrstor_user(struct xs *x) { return xrstor(x, false); }
static enum cpu_result xrstor_system(struct xs *x) { return xrstor(x, true); }

/* IA32_XSS is 0: no supervisor state there is. */
#define FORMS(F) \
	F(FXSAVE, true, fxsave) F(FXRSTOR, true, fxrstor) \
	F(XSAVE, false, xsave_plain) F(XSAVEOPT, false, xsave_opt) \
	F(XSAVEC, false, xsave_compact) F(XRSTOR, false, xrstor_user) \
	F(XSAVES, false, xsave_compact) F(XRSTORS, false, xrstor_system)

static const struct form {
	u16 mnemonic;
	bool fx, wide;
	enum cpu_result (*run)(struct xs *x);
} forms[] = {
#define F(name, fx, fn) \
	{ ZYDIS_MNEMONIC_##name, fx, false, fn }, { ZYDIS_MNEMONIC_##name##64, fx, true, fn },
	FORMS(F)
#undef F
};

enum cpu_result cpu_exec_xsave(struct cpu *c, const struct insn *in)
{
	bool xcr = in->mnemonic == ZYDIS_MNEMONIC_XGETBV || in->mnemonic == ZYDIS_MNEMONIC_XSETBV;
	bool m64 = cpu_in_64(c);
	struct xs x = { .c = c, .in = in, .m64 = m64, .xmm_bytes = m64 ? 256 : 128 };
	const struct form *f = forms;
	enum cpu_result r;

	while (f < forms + ARRAY_SIZE(forms) && f->mnemonic != in->mnemonic)
		f++;
	if ((f == forms + ARRAY_SIZE(forms) && !xcr) || (in->prefixes & PFX_LOCK))
		return cpu_raise(c, EXC_UD);
	if ((xcr || !f->fx) && !(c->cr4 & CR4_OSXSAVE))
		return cpu_raise(c, EXC_UD);
	if (xcr)
		return in->mnemonic == ZYDIS_MNEMONIC_XGETBV ? xgetbv(c, in) : xsetbv(c, in);
	if (c->cpl && (f->run == xrstor_system || in->mnemonic == ZYDIS_MNEMONIC_XSAVES ||
		       in->mnemonic == ZYDIS_MNEMONIC_XSAVES64))
		return cpu_raise_err(c, EXC_GP, 0);
	if (c->cr0 & (f->fx ? CR0_EM | CR0_TS : CR0_TS))
		return cpu_raise(c, EXC_NM);
	x.wide = f->wide;
	x.ea = insn_ea(c, in);
	r = f->run(&x);
	/* A queued store is done as far as the guest can see. */
	if (r == CPU_OK || (r == CPU_DONE && x.stored))
		insn_retire(c, in);
	return r;
}
