/* SPDX-License-Identifier: MIT */
/*
 * vcpu/cpuid.c - the CPUID of one vCPU: storage, look-up, and what follows from it.
 *
 * Bits that follow the CPU's state (OSXSAVE, the APIC bit, save-area sizes) are made when
 * they are looked at, so that nobody has to report changes.
 */
#include <linux/kvm_para.h>

#include "engine/engine.h"
#include "engine/insns.h"
#include "engine/xstate.h"
#include "irq/lapic.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

#define ECX_OSXSAVE BIT(27)
#define ECX_PKU BIT(3)		/* of leaf 7 */
#define ECX_OSPKE BIT(4)
#define ECX_XSAVE BIT(26)
#define ECX_MONITOR BIT(3)
#define EDX_APIC BIT(9)

static int compare(const struct kvm_cpuid_entry2 *a, u32 leaf)
{
	return a->function < leaf ? -1 : a->function > leaf;
}

const struct kvm_cpuid_entry2 *cpuid_find(const struct vcpu *v, u32 leaf, u32 sub)
{
	const struct vcpu_cpuid *t = &v->p->cpuid;
	u32 lo = 0, hi = t->n;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (compare(&t->e[t->order[mid]], leaf) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < t->n; lo++) {
		const struct kvm_cpuid_entry2 *e = &t->e[t->order[lo]];

		if (e->function != leaf)
			break;
		if (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == sub)
			return e;
	}
	return NULL;
}

bool cpuid_has(const struct vcpu *v, enum cpuid_feature f)
{
	const struct cpuid_feature_row *row = &cpuid_feature_rows[f];
	const struct kvm_cpuid_entry2 *e = cpuid_find(v, row->leaf, row->sub);
	u32 r[4];

	if (!e)
		return false;
	r[CPUID_EAX] = e->eax;
	r[CPUID_EBX] = e->ebx;
	r[CPUID_ECX] = e->ecx;
	r[CPUID_EDX] = e->edx;
	return r[row->reg] & BIT(row->bit);
}

/* The state-dependent bits of one entry. */
static void dynamic(const struct vcpu *v, struct kvm_cpuid_entry2 *e)
{
	const struct cpu *c = v->c;

	switch (e->function) {
	case 1:
		e->ecx &= ~ECX_OSXSAVE;
		if ((e->ecx & ECX_XSAVE) && (c->cr4 & CR4_OSXSAVE))
			e->ecx |= ECX_OSXSAVE;
		e->edx &= ~EDX_APIC;
		/* KVM shows the bit whenever the APIC is enabled, whatever user space gave. */
		if (vcpu_get_apic_base((struct vcpu *)v) & APIC_BASE_EN)
			e->edx |= EDX_APIC;
		if (v->cfg->shared.disabled_quirks & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT) {
			e->ecx &= ~ECX_MONITOR;
			if (v->p->msr.misc_enable & BIT(18))
				e->ecx |= ECX_MONITOR;
		}
		break;
	case 7:
		if (e->index)
			break;
		e->ecx &= ~ECX_OSPKE;
		if ((e->ecx & ECX_PKU) && (c->cr4 & CR4_PKE))
			e->ecx |= ECX_OSPKE;
		break;
	case 0xd:
		if (e->index == 0)
			e->ebx = xstate_size(c->xcr0, false);
		else if (e->index == 1 && (e->eax & (BIT(1) | BIT(3))))
			e->ebx = xstate_size(c->xcr0, true);
		break;
	default:
		/* Nobody could kick a vCPU that halts without an exit. */
		if (e->function == v->p->cpuid.pv_leaf && e->function &&
		    v->cfg->disabled_exits & KVM_X86_DISABLE_EXITS_HLT)
			e->eax &= ~BIT(KVM_FEATURE_PV_UNHALT);
		break;
	}
}

/* CPUs of other makers than AMD answer an unknown leaf with their highest basic one. */
static const struct kvm_cpuid_entry2 *out_of_range(const struct vcpu *v, u32 leaf, u32 sub)
{
	const struct kvm_cpuid_entry2 *basic = cpuid_find(v, 0, 0), *class;

	if (!basic || v->p->cpuid.amd)
		return NULL;
	if (leaf >= 0x40000000 && leaf <= 0x4fffffff)
		class = cpuid_find(v, leaf & 0xffffff00, 0);
	else if (leaf >= 0xc0000000)
		class = cpuid_find(v, 0xc0000000, 0);
	else
		class = cpuid_find(v, leaf & 0x80000000, 0);
	if (class && leaf <= class->eax)
		return NULL;
	return cpuid_find(v, basic->eax, sub);
}

static void look_up(const struct vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(v, leaf, sub);
	struct kvm_cpuid_entry2 t;

	if (!e)
		e = out_of_range(v, leaf, sub);
	out[0] = out[1] = out[2] = out[3] = 0;
	if (e) {
		t = *e;
		dynamic(v, &t);
		if (unlikely(leaf == 0x80000007) && hyperv_hides_invariant_tsc(v))
			t.edx &= ~BIT(8);
		out[CPUID_EAX] = t.eax;
		out[CPUID_EBX] = t.ebx;
		out[CPUID_ECX] = t.ecx;
		out[CPUID_EDX] = t.edx;
		return;
	}
	/* SDM2 CPUID: levels past the last still say the level asked for and the x2APIC id. */
	if (leaf == 0xb || leaf == 0x1f) {
		e = cpuid_find(v, leaf, 0);
		if (e) {
			out[CPUID_ECX] = sub & 0xff;
			out[CPUID_EDX] = e->edx;
		}
	}
}

void cpuid_hook(struct cpu *c, u32 leaf, u32 sub, u32 out[4])
{
	const struct vcpu *v = c->owner;

	look_up(v, leaf, sub, out);
	vcpu_trace(kvm_cpuid, v, leaf, out[CPUID_EAX], out[CPUID_EBX], out[CPUID_ECX],
		   out[CPUID_EDX]);
}

/*
 * Hypervisors' leaves stand in blocks of 0x100 from 0x40000000, each with its signature in the
 * first: with Hyper-V's at the front, KVM's are behind. The leaf with the feature bits, 0 = none.
 */
static u32 pv_leaf(const struct vcpu *v)
{
	for (u32 base = 0x40000000; base < 0x40010000; base += 0x100) {
		const struct kvm_cpuid_entry2 *e = cpuid_find(v, base, 0);

		if (e && e->ebx == 0x4b4d564b && e->ecx == 0x564b4d56 && e->edx == 0x4d)
			return base | 1;
	}
	return 0;
}

/*
 * The instructions that this guest does not have. A CPUID that describes no CPU (none was set, or
 * one without features) hides only what KVM itself intercepts: its processor would execute the rest
 * (docs/instructions.md).
 */
static u64 missing_insns(const struct vcpu *v)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(v, 1, 0);
	u64 missing = 0;

#define X(name)						\
	if (!cpuid_has(v, CPUID_F_##name))		\
		missing |= NEED(name);
	INSN_FEATURES(X)
#undef X
	return e && e->edx & ~EDX_APIC ? missing : missing & INSN_F_TRAPPED;
}

/* Fill in what other layers read from struct cpu. */
static void derive(struct vcpu *v)
{
	const struct kvm_cpuid_entry2 *e;
	struct cpu *c = v->c;
	u64 cr4, efer;

#define HAS(f) cpuid_has(v, CPUID_F_##f)
	c->has_nx = HAS(NX);
	c->has_1g_pages = HAS(GBPAGES);
	c->has_pcid = HAS(PCID);
	c->has_smep = HAS(SMEP);
	c->has_smap = HAS(SMAP);
	c->has_umip = HAS(UMIP);
	c->null_clears_base = HAS(NULL_SEL_CLR_BASE);
	c->has_fsgsbase = HAS(FSGSBASE);
	c->has_tsc_aux = HAS(RDTSCP) || HAS(RDPID);
	c->has_xsave = HAS(XSAVE);
	c->has_xgetbv1 = HAS(XGETBV1);
	c->has_lm = HAS(LM);
	c->has_syscall = HAS(SYSCALL);
	engine_cpuid_changed(c, missing_insns(v));

	cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE |
	      CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	cr4 |= (c->has_umip ? CR4_UMIP : 0) | (c->has_fsgsbase ? CR4_FSGSBASE : 0) |
	       (c->has_pcid ? CR4_PCIDE : 0) | (c->has_xsave ? CR4_OSXSAVE : 0) |
	       (c->has_smep ? CR4_SMEP : 0) | (c->has_smap ? CR4_SMAP : 0) |
	       (HAS(LA57) ? CR4_LA57 : 0) | (HAS(PKU) ? CR4_PKE : 0);
	c->cr4_reserved = ~cr4;
	efer = EFER_SCE | (HAS(FXSR_OPT) ? EFER_FFXSR : 0) | (c->has_lm ? EFER_LME | EFER_LMA : 0) |
	       (c->has_nx ? EFER_NX : 0) | (HAS(AUTO_IBRS) ? BIT64(21) : 0) |
	       (HAS(SVM) ? EFER_SVME : 0);
	c->efer_reserved = ~efer;
#undef HAS

	e = cpuid_find(v, 0xd, 0);
	c->xcr0_supported = e ? (e->eax | (u64)e->edx << 32) & xcr0_host_supported() : 1;
	c->maxphyaddr = 36;	/* KVM's guess when nothing is said */
	e = cpuid_find(v, 0x80000008, 0);
	if (e && e->eax & 0xff)
		c->maxphyaddr = (u8)((e->eax & 0xff) < 52 ? e->eax & 0xff : 52);

	e = cpuid_find(v, 0, 0);
	v->p->cpuid.amd = !e || (e->ebx == 0x68747541 && e->edx == 0x69746e65) ||
			  (e->ebx == 0x6f677948); /* "Auth...", "Hygo..." */
	c->sysenter_in_lm = !v->p->cpuid.amd;
	v->p->cpuid.pv_leaf = pv_leaf(v);
	e = v->p->cpuid.pv_leaf ? cpuid_find(v, v->p->cpuid.pv_leaf, 0) : NULL;
	v->p->cpuid.pv_features = e ? e->eax : 0;
	hyperv_cpuid_changed(v);
	nested_caps(v);
	pmu_refresh(v);
}

void cpuid_update_dynamic(struct vcpu *v)
{
	struct vcpu_cpuid *t = &v->p->cpuid;
	u32 features = 0;

	for (u32 i = 0; i < t->n; i++)
		dynamic(v, &t->e[i]);
	if (!v->lapic)
		return;
	if (cpuid_has(v, CPUID_F_X2APIC))
		features |= LAPIC_HAS_X2APIC;
	if (cpuid_has(v, CPUID_F_TSC_DEADLINE))
		features |= LAPIC_HAS_TSC_DEADLINE;
	if (v->p->msr.mcg_cap & BIT64(10))
		features |= LAPIC_HAS_CMCI;
	if (!t->amd)
		features |= LAPIC_MASKS_LVTPC;
	if (features == t->apic_features && t->apic_lapic == v->lapic)
		return;
	t->apic_features = features;
	t->apic_lapic = v->lapic;
	lapic_set_features(v->lapic, features, v->c->maxphyaddr);
}

static bool same(const struct kvm_cpuid_entry2 *a, const struct kvm_cpuid_entry2 *b)
{
	return a->function == b->function && a->index == b->index && a->flags == b->flags &&
	       a->eax == b->eax && a->ebx == b->ebx && a->ecx == b->ecx && a->edx == b->edx;
}

int vcpu_set_cpuid2(struct vcpu *v, const struct kvm_cpuid_entry2 *e, u32 n)
{
	struct vcpu_cpuid *t = &v->p->cpuid;

	if (n > CPUID_MAX)
		return -E2BIG;
	if (vcpu_frozen(v)) {	/* the same again is all that is allowed */
		cpuid_update_dynamic(v);
		if (n != t->n)
			return -EINVAL;
		for (u32 i = 0; i < n; i++) {
			struct kvm_cpuid_entry2 x = e[i];

			dynamic(v, &x);
			if (!same(&x, &t->e[i]))
				return -EINVAL;
		}
		return 0;
	}
	for (u32 i = 0; i < n; i++) {
		u32 bits = e[i].eax >> 8 & 0xff;

		if (e[i].function == 0x80000008 && bits && bits != 48 && bits != 57)
			return -EINVAL;
	}
	for (u32 i = 0; i < n; i++) {
		u32 j = i;

		t->e[i] = e[i];
		/* Stable: of several entries for a leaf the first one given wins. */
		for (; j > 0 && t->e[t->order[j - 1]].function > e[i].function; j--)
			t->order[j] = t->order[j - 1];
		t->order[j] = (u16)i;
	}
	t->n = n;
	derive(v);
	t->apic_lapic = NULL;	/* tell it again: the address width may be another one */
	cpuid_update_dynamic(v);
	return 0;
}

/* A new vCPU: no CPUID yet. */
void cpuid_init(struct vcpu *v)
{
	derive(v);
}

int vcpu_get_cpuid2(struct vcpu *v, struct kvm_cpuid_entry2 *e, u32 *n)
{
	struct vcpu_cpuid *t = &v->p->cpuid;

	if (*n < t->n)
		return -E2BIG;
	cpuid_update_dynamic(v);
	for (u32 i = 0; i < t->n; i++)
		e[i] = t->e[i];
	*n = t->n;
	return 0;
}
