/* SPDX-License-Identifier: MIT */
/*
 * vcpu/fpu.c - KVM_GET/SET_FPU, XSAVE, XCRS.
 *
 * c->xsave is an XSAVE image in standard form (SDM1 13.4). A component whose bit in
 * XSTATE_BV is clear is in its initial state whatever the bytes say, so readers get
 * the initial values and partial writers write them first.
 */
#include "engine/xstate.h"
#include "vcpu/vcpu_priv.h"


struct fxsave {
	u16 fcw, fsw;
	u8 ftw, pad;
	u16 fop;
	u64 fip, fdp;
	u32 mxcsr, mxcsr_mask;
	u8 st[8][16];
	u8 xmm[16][16];
	u8 software[96];
};
_Static_assert(offsetof(struct fxsave, mxcsr) == XSAVE_MXCSR &&
		       offsetof(struct fxsave, st) == XSAVE_ST &&
		       offsetof(struct fxsave, xmm) == XSAVE_XMM &&
		       offsetof(struct fxsave, software) == XSAVE_SOFTWARE,
	       "two views of one area");

static u64 *bv(struct cpu *c)
{
	return (u64 *)(c->xsave + XSAVE_BV);
}

/* Make the bytes of components in their initial state say so. */
static void canonical(struct cpu *c)
{
	struct fxsave *f = (struct fxsave *)c->xsave;
	u64 have = *bv(c);

	if (!(have & XSTATE_X87)) {
		cpu_zero(f, XSAVE_MXCSR);
		f->fcw = FCW_INIT;
		cpu_zero(f->st, sizeof(f->st));
	}
	if (!(have & XSTATE_SSE)) {
		cpu_zero(f->xmm, sizeof(f->xmm));
		/* XSAVE stores MXCSR whatever XSTATE_BV says; zero: never stored. */
		if (!f->mxcsr)
			f->mxcsr = MXCSR_INIT;
	}
	for (u32 i = XSTATE_AVX_BIT; i <= XSTATE_HI16_ZMM_BIT; i++)
		if (xcr0_host_supported() & ~have & BIT64(i))
			cpu_zero(c->xsave + xstate_offset(i), xstate_bytes(i));
	f->mxcsr_mask = xstate_mxcsr_mask();
}

/* MXCSR is not part of it, in either direction: KVM leaves it out. */
int vcpu_get_fpu(struct vcpu *v, struct kvm_fpu *k)
{
	const struct fxsave *f = (const struct fxsave *)v->c->xsave;

	engine_fpu_save(v->c);
	canonical(v->c);
	engine_x87_pointers(v->c);
	cpu_zero(k, sizeof(*k));
	cpu_copy(k->fpr, f->st, sizeof(k->fpr));
	k->fcw = f->fcw;
	k->fsw = f->fsw;
	k->ftwx = f->ftw;
	k->last_opcode = f->fop;
	k->last_ip = f->fip;
	k->last_dp = f->fdp;
	cpu_copy(k->xmm, f->xmm, sizeof(k->xmm));
	return 0;
}

int vcpu_set_fpu(struct vcpu *v, const struct kvm_fpu *k)
{
	struct fxsave *f = (struct fxsave *)v->c->xsave;

	engine_fpu_save(v->c);
	canonical(v->c);
	cpu_copy(f->st, k->fpr, sizeof(k->fpr));
	f->fcw = k->fcw;
	f->fsw = k->fsw;
	f->ftw = k->ftwx;
	f->fop = k->last_opcode;
	f->fip = k->last_ip;
	f->fdp = k->last_dp;
	cpu_copy(f->xmm, k->xmm, sizeof(k->xmm));
	*bv(v->c) |= XSTATE_X87 | XSTATE_SSE;
	return 0;
}

int vcpu_get_xsave(struct vcpu *v, void *buf, u32 size)
{
	struct cpu *c = v->c;
	u32 n = CPU_XSAVE_SIZE < size ? CPU_XSAVE_SIZE : size;
	u8 *p = buf;
	u64 have;

	if (size < XSTATE_EXTENDED)
		return -EINVAL;
	engine_fpu_save(c);
	canonical(c);
	engine_x87_pointers(c);
	cpu_copy(buf, c->xsave, n);
	cpu_zero((u8 *)buf + n, size - n);
	/* Software bytes of the legacy area and the header's tail are not state. */
	cpu_zero(p + XSAVE_SOFTWARE, XSTATE_LEGACY_BYTES - XSAVE_SOFTWARE);
	cpu_zero(p + XSAVE_XCOMP_BV, XSTATE_EXTENDED - XSAVE_XCOMP_BV);
	/* MXCSR is SSE's in the compacted form, which Linux has: readers ask that bit. */
	have = *bv(c) | (((const struct fxsave *)buf)->mxcsr != MXCSR_INIT ? XSTATE_SSE : 0);
	have |= c->pkru ? XSTATE_PKRU : 0;
	have &= c->xcr0_supported | XSTATE_X87 | XSTATE_SSE;
	for (u32 i = XSTATE_AVX_BIT; i <= XSTATE_HI16_ZMM_BIT; i++)
		if (xcr0_host_supported() & ~have & BIT64(i) &&
		    xstate_offset(i) + xstate_bytes(i) <= n)
			cpu_zero(p + xstate_offset(i), xstate_bytes(i));
	if (xcr0_host_supported() & XSTATE_PKRU) {
		u64 pkru = have & XSTATE_PKRU ? c->pkru : 0;

		cpu_copy(p + xstate_offset(XSTATE_PKRU_BIT), &pkru, sizeof(pkru));
	}
	cpu_copy(p + XSAVE_BV, &have, sizeof(have));
	return 0;
}

int vcpu_set_xsave(struct vcpu *v, const void *buf, u32 size)
{
	struct cpu *c = v->c;
	const u8 *p = buf;
	u64 in, xcomp;
	u32 mxcsr;

	if (size < XSTATE_EXTENDED)
		return -EINVAL;
	cpu_copy(&in, p + XSAVE_BV, 8);
	cpu_copy(&xcomp, p + XSAVE_XCOMP_BV, 8);
	cpu_copy(&mxcsr, p + XSAVE_MXCSR, 4);
	if ((in & ~xcr0_host_supported()) || xcomp)
		return -EINVAL;
	/* x87's part reaches over it. */
	if ((in & (XSTATE_X87 | XSTATE_SSE | XSTATE_AVX)) && (mxcsr & ~xstate_mxcsr_mask()))
		return -EINVAL;
	for (u32 i = XSAVE_RESERVED; i < XSTATE_EXTENDED; i++)
		if (p[i])
			return -EINVAL;
	engine_fpu_save(c);
	cpu_copy(c->xsave, p, size < CPU_XSAVE_SIZE ? size : CPU_XSAVE_SIZE);
	cpu_zero(c->xsave + XSAVE_SOFTWARE, XSTATE_LEGACY_BYTES - XSAVE_SOFTWARE);
	/* Without its bit KVM leaves PKRU as it is, unlike other components. */
	if (in & XSTATE_PKRU) {
		u32 pkru;

		cpu_copy(&pkru, p + xstate_offset(XSTATE_PKRU_BIT), sizeof(pkru));
		cpu_set_pkru(c, pkru);
		*bv(c) &= ~(u64)XSTATE_PKRU;
	}
	if (!(in & (XSTATE_SSE | XSTATE_AVX)))
		mxcsr = MXCSR_INIT;
	cpu_copy(c->xsave + XSAVE_MXCSR, &mxcsr, 4);
	canonical(c);
	return 0;
}

int vcpu_get_xcrs(struct vcpu *v, struct kvm_xcrs *x)
{
	cpu_zero(x, sizeof(*x));
	x->nr_xcrs = 1;
	x->xcrs[0].value = v->c->xcr0;
	return 0;
}

int vcpu_set_xcrs(struct vcpu *v, const struct kvm_xcrs *x)
{
	struct cpu *c = v->c;

	/* Whether the guest's CPUID has XSAVE does not matter (QEMU sets 1 always). */
	if (x->nr_xcrs > KVM_MAX_XCRS || x->flags)
		return -EINVAL;
	for (u32 i = 0; i < x->nr_xcrs; i++) {
		if (x->xcrs[i].xcr)
			continue;
		if (!xcr0_valid(x->xcrs[i].value, c->xcr0_supported))
			return -EINVAL;
		if (c->xcr0 != x->xcrs[i].value) {
			/* The registers were loaded under the old mask. */
			engine_fpu_save(c);
			c->xcr0 = x->xcrs[i].value;
			cpu_mode_changed(c);
			cpuid_update_dynamic(v);
		}
		break;
	}
	return 0;
}
