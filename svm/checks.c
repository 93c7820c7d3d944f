/* SPDX-License-Identifier: MIT */
/*
 * svm/checks.c - the rules a VMCB has to obey, one predicate each.
 *
 * bad_ID() is true when rule ID of SVM_RULES is violated; it then leaves the values for
 * the rule's text in *x and *a.
 */
#include <errno.h>

#include "engine/cpu.h"
#include "svm/checks.h"

struct subject {
	const struct svm_caps *k;
	const struct vmcb_control *ctl;
	const struct vmcb_save *save;
};

#define RULE(id) static inline bool bad_##id(const struct subject *s, u64 *x, u64 *a)

/* -- save area -- */

RULE(SVME)
{
	*x = s->save->efer;
	return !(*x & EFER_SVME);
}

RULE(CACHE)
{
	*x = s->save->cr0;
	return (*x & (CR0_NW | CR0_CD)) == CR0_NW;
}

RULE(CR0_HIGH)
{
	*x = s->save->cr0;
	return *x >> 32;
}

RULE(DR6_HIGH)
{
	*x = s->save->dr6;
	return *x >> 32;
}

RULE(DR7_HIGH)
{
	*x = s->save->dr7;
	return *x >> 32;
}

/* EFER.LMA takes no part: it follows from the other two. */
static inline bool long_mode(const struct subject *s)
{
	return (s->save->efer & EFER_LME) && (s->save->cr0 & CR0_PG);
}

RULE(LM_PAE)
{
	*x = s->save->cr4;
	return long_mode(s) && !(*x & CR4_PAE);
}

RULE(LM_PE)
{
	*x = s->save->cr0;
	return long_mode(s) && !(*x & CR0_PE);
}

static inline u64 beyond(const struct svm_caps *k, u64 pa)
{
	return pa & ~GENMASK64(k->maxphyaddr - 1, 0);
}

RULE(LM_CR3)
{
	*x = s->save->cr3;
	*a = beyond(s->k, *x);
	return long_mode(s) && *a;
}

/* CR3 is loaded whatever the paging mode; in long mode the rule above has spoken. */
RULE(CR3)
{
	*x = s->save->cr3;
	*a = beyond(s->k, *x);
	return !long_mode(s) && *a;
}

RULE(LM_CS)
{
	*x = s->save->cs.attrib;
	return long_mode(s) && (*x & SEG_L) && (*x & SEG_DB);
}

RULE(CR4_RESERVED)
{
	*x = s->save->cr4;
	*a = *x & s->k->cr4_reserved;
	return *a;
}

RULE(EFER_RESERVED)
{
	*x = s->save->efer;
	*a = *x & s->k->efer_reserved;
	return *a;
}

/* Memory types UC, WC, WT, WP, WB and UC- (APM2 7.8.1). */
#define PAT_TYPES (BIT(0) | BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7))

static bool bad_type(u64 pat, u64 *type)
{
	for (u32 i = 0; i < 64; i += 8) {
		*type = pat >> i & 0xff;
		if (*type > 7 || !(PAT_TYPES & BIT(*type)))
			return true;
	}
	return false;
}

bool svm_pat_valid(u64 pat)
{
	u64 type;

	return !bad_type(pat, &type);
}

RULE(G_PAT)
{
	*x = s->save->g_pat;
	return svm_separate_pat(s->k) && (s->ctl->misc_ctl & SVM_NP_ENABLE) && bad_type(*x, a);
}

/* -- control area -- */

RULE(VMRUN_INTERCEPT)
{
	*x = s->ctl->intercept[SVM_I_VMRUN / 32];
	return !vmcb_intercepts(s->ctl, SVM_I_VMRUN);
}

RULE(ASID)
{
	*x = s->ctl->asid;
	return !*x;
}

RULE(NCR3)
{
	*x = s->ctl->ncr3;
	*a = beyond(s->k, *x);
	return (s->ctl->misc_ctl & SVM_NP_ENABLE) && *a;
}

/* Whether or not anything is intercepted; the address's low 12 bits are gone already. */
static inline bool map_beyond(const struct subject *s, u64 pa, u64 size, u64 *a)
{
	*a = pa + size - 1;
	return beyond(s->k, pa) || beyond(s->k, *a);
}

RULE(MSRPM)
{
	*x = s->ctl->msrpm;
	return map_beyond(s, *x, SVM_MSRPM_SIZE, a);
}

RULE(IOPM)
{
	*x = s->ctl->iopm;
	return map_beyond(s, *x, SVM_IOPM_SIZE, a);
}

/* The manual names no check; an address that cannot exist must not reach the AVIC. */
RULE(AVIC_POINTER)
{
	const struct vmcb_control *ctl = s->ctl;
	const u64 page = ~0xfffull;

	*x = ctl->int_ctl;
	*a = beyond(s->k, ctl->avic_backing & page) ?: beyond(s->k, ctl->avic_logical & page) ?:
	     beyond(s->k, ctl->avic_physical & page);
	return (ctl->int_ctl & SVM_AVIC_ENABLE) && *a;
}

RULE(VNMI_INTERCEPT)
{
	*x = s->ctl->int_ctl;
	return (*x & SVM_V_NMI_ENABLE) && !vmcb_intercepts(s->ctl, SVM_I_NMI);
}

#define EVENT_TYPES (BIT(SVM_EVENT_INTR) | BIT(SVM_EVENT_NMI) | BIT(SVM_EVENT_EXC) | \
		     BIT(SVM_EVENT_SOFT))

RULE(EVENT_TYPE)
{
	*x = s->ctl->event_inj;
	return (*x & SVM_EVENT_VALID) && !(EVENT_TYPES & BIT(svm_event_type((u32)*x)));
}

RULE(EVENT_VECTOR)
{
	u32 vector;

	*x = s->ctl->event_inj;
	vector = *x & SVM_EVENT_VECTOR;
	if (!(*x & SVM_EVENT_VALID) || svm_event_type((u32)*x) != SVM_EVENT_EXC)
		return false;
	return vector > 31 || !(s->k->exceptions & BIT(vector));
}

/* -- the table -- */

static const struct {
	const char *name, *field, *section, *text;
	u16 offset;
} rules[] = {
#define X(id, who, where, field_, section_, text_) \
	[SVM_RULE_##id] = { .name = #id, .field = field_, .section = section_, .text = text_, \
			    .offset = offsetof(struct vmcb, where) },
	SVM_RULES(X)
#undef X
};

int svm_refuse(struct svm_refusal *why, enum svm_rule rule, u64 value, u64 aux)
{
	if (why)
		*why = (struct svm_refusal){
			.rule = rule, .name = rules[rule].name, .field = rules[rule].field,
			.offset = rules[rule].offset, .value = value, .aux = aux,
			.text = rules[rule].text, .section = rules[rule].section,
		};
	return -EINVAL;
}

/* The first broken rule of one stage. */
#define TEST(id) \
	if (unlikely(bad_##id(&s, &x, &a))) \
		return svm_refuse(why, SVM_RULE_##id, x, a);
#define SKIP(id)
#define X(id, stage, ...) stage(id)

#define SAVE SKIP
#define CONTROL TEST
#define LATE SKIP
#define CALLER SKIP
int svm_check_control(const struct svm_caps *k, const struct vmcb_control *ctl,
		      struct svm_refusal *why)
{
	const struct subject s = { .k = k, .ctl = ctl };
	u64 x = 0, a = 0;

	SVM_RULES(X)
	return 0;
}
#undef SAVE
#undef CONTROL

#define SAVE TEST
#define CONTROL SKIP
int svm_check_save(const struct svm_caps *k, const struct vmcb_control *ctl,
		   const struct vmcb_save *save, struct svm_refusal *why)
{
	const struct subject s = { .k = k, .ctl = ctl, .save = save };
	u64 x = 0, a = 0;

	SVM_RULES(X)
	return 0;
}
#undef SAVE
#undef LATE

#define SAVE SKIP
#define LATE TEST
int svm_check_late(const struct svm_caps *k, const struct vmcb_save *save, struct svm_refusal *why)
{
	const struct subject s = { .k = k, .save = save };
	u64 x = 0, a = 0;

	SVM_RULES(X)
	return 0;
}
#undef SAVE
#undef CONTROL
#undef LATE
#undef TEST

#define SAVE TEST
#define CONTROL TEST
#define LATE TEST
#define TEST(id) \
	if (bad_##id(&s, &x, &a)) { \
		svm_refuse(&why, SVM_RULE_##id, x, a); \
		visit(arg, &why); \
		n++; \
	}
u32 svm_check_all(const struct svm_caps *k, const struct vmcb *vmcb,
		  void (*visit)(void *arg, const struct svm_refusal *why), void *arg)
{
	struct vmcb_control ctl;
	const struct subject s = { .k = k, .ctl = &ctl, .save = &vmcb->save };
	struct svm_refusal why;
	u64 x = 0, a = 0;
	u32 n = 0;

	svm_sanitize(k, &ctl, &vmcb->control);
	SVM_RULES(X)
	return n;
}
#undef X

/* -- what the CPU has -- */

void svm_caps_features(struct svm_caps *k, u64 features)
{
	k->features = features;
	k->exceptions = exc_mask_of(EXC_ALWAYS);
	if (svm_has(k, SVM_FEAT_SHSTK))
		k->exceptions |= exc_mask_of(EXC_SHSTK);
	if (svm_has(k, SVM_FEAT_SEV_ES))
		k->exceptions |= exc_mask_of(EXC_SEV_ES);
}
/* A feature that a new exception needs has to be looked up above. */
_Static_assert(EXC_NEEDS == 3, "svm_caps_features() knows every enum exc_need");

void svm_caps_set(struct svm_caps *k, bool (*has)(const void *arg, enum cpuid_feature f),
		  const void *arg)
{
	u64 f = 0;

#define X(name, option, bit) \
	f |= has(arg, CPUID_F_##bit) ? BIT64(SVM_FEAT_##name) : 0;
	SVM_FEATURES(X)
#undef X
	svm_caps_features(k, f);
}
