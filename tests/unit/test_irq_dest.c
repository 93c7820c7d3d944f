/* SPDX-License-Identifier: MIT */
/* Who receives a message: physical, logical, broadcast, shorthand, lowest priority. */
/* Run: build/tests/unit/test_irq_dest [NAME...] */
#include "irq_rig.h"

#include <errno.h>

/* Send and return the set of receivers; *ret: the bus's answer. */
static u32 send(struct rig *r, struct apic_msg m, struct lapic *src, int *ret)
{
	u32 got = 0;

	m.level = 1;
	if (!m.vector)
		m.vector = 0x55;
	for (u32 i = 0; i < r->n; i++)
		lapic_put(r->cpu[i].l, APIC_IRR + m.vector / 32 * 16, 0);
	*ret = apic_deliver(r->chip, &m, src);
	for (u32 i = 0; i < r->n; i++)
		if (lapic_test(r->cpu[i].l, APIC_IRR, m.vector))
			got |= BIT(i);
	return got;
}

static void expect(struct rig *r, struct apic_msg m, struct lapic *src, u32 who, int want)
{
	int ret;

	assert_int_equal(send(r, m, src, &ret), who);
	assert_int_equal(ret, want);
}

#define MSG(...) ((struct apic_msg){ __VA_ARGS__ })

T(physical)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);

	expect(r, MSG(.dest = 2), NULL, 4, 1);
	expect(r, MSG(.dest = 7), NULL, 0, 0);		/* nobody has this id */
	expect(r, MSG(.dest = 0xff), NULL, 15, 4);
	expect(r, MSG(.dest = 0xff, .delivery = APIC_LOWEST), NULL, 15, 4);
	rig_write(r->cpu[2].l, APIC_SPIV, 0xff);
	expect(r, MSG(.dest = 2), NULL, 0, 0);
	lapic_set_base(r->cpu[3].l, APIC_DEFAULT_BASE, false);
	expect(r, MSG(.dest = 3), NULL, 0, 0);
	expect(r, MSG(.dest = 0xff), NULL, 3, 2);
	rig_free(r);
}

T(shorthands)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);
	struct lapic *src = r->cpu[1].l;

	expect(r, MSG(.shorthand = APIC_TO_SELF, .dest = 3), src, 2, 1);
	expect(r, MSG(.shorthand = APIC_TO_ALL, .dest = 3), src, 15, 4);
	expect(r, MSG(.shorthand = APIC_TO_OTHERS, .dest = 3), src, 13, 3);
	rig_free(r);
}

T(logical_flat)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);

	for (u32 i = 0; i < 4; i++)
		rig_write(r->cpu[i].l, APIC_LDR, 1u << (24 + i));
	assert_int_equal(atomic_load(&r->chip->map)->logical, LOGICAL_FLAT);
	expect(r, MSG(.dest = 5, .dest_logical = 1), NULL, 5, 2);
	expect(r, MSG(.dest = 0x10, .dest_logical = 1), NULL, 0, 0);
	expect(r, MSG(.dest = 0xff, .dest_logical = 1), NULL, 15, 4);
	rig_free(r);
}

T(logical_flat_aliased)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);

	for (u32 i = 0; i < 4; i++)
		rig_write(r->cpu[i].l, APIC_LDR, 3u << 24);
	assert_int_equal(atomic_load(&r->chip->map)->logical, LOGICAL_MIXED);
	assert_true(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_LOGICAL_ID_ALIASED));
	expect(r, MSG(.dest = 2, .dest_logical = 1), NULL, 15, 4);
	expect(r, MSG(.dest = 4, .dest_logical = 1), NULL, 0, -1);	/* asked, nobody */
	for (u32 i = 0; i < 4; i++)
		rig_write(r->cpu[i].l, APIC_LDR, 1u << (24 + i));
	assert_false(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_LOGICAL_ID_ALIASED));
	rig_free(r);
}

T(logical_cluster)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 6);

	for (u32 i = 0; i < 6; i++) {
		rig_write(r->cpu[i].l, APIC_DFR, 0x0fffffff);
		rig_write(r->cpu[i].l, APIC_LDR, (i / 3) << 28 | 1u << (24 + i % 3));
	}
	assert_int_equal(atomic_load(&r->chip->map)->logical, LOGICAL_CLUSTER);
	expect(r, MSG(.dest = 0x05, .dest_logical = 1), NULL, 0x05, 2);
	expect(r, MSG(.dest = 0x16, .dest_logical = 1), NULL, 0x30, 2);
	expect(r, MSG(.dest = 0x2f, .dest_logical = 1), NULL, 0, 0);
	expect(r, MSG(.dest = 0xff, .dest_logical = 1), NULL, 0x3f, 6);
	rig_free(r);
}

T(mixed_models)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);

	rig_write(r->cpu[0].l, APIC_LDR, 1u << 24);
	rig_write(r->cpu[1].l, APIC_DFR, 0x0fffffff);
	rig_write(r->cpu[1].l, APIC_LDR, 0x21u << 24);
	assert_int_equal(atomic_load(&r->chip->map)->logical, LOGICAL_MIXED);
	expect(r, MSG(.dest = 0x21, .dest_logical = 1), NULL, 3, 2);
	expect(r, MSG(.dest = 0x20, .dest_logical = 1), NULL, 0, -1);
	rig_free(r);
}

T(logical_x2apic)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);
	struct lapic *far;
	int ret;

	rig_set_x2apic_api(r->chip, true, true);
	far = lapic_create(r->chip, NULL, 0x123, false);
	assert_non_null(far);
	lapic_set_features(far, LAPIC_HAS_X2APIC, 48);
	lapic_reg_write(far, APIC_SPIV, 0x1ff);
	for (u32 i = 0; i < 4; i++)
		rig_x2apic(r->cpu[i].l);
	rig_x2apic(far);
	assert_int_equal(atomic_load(&r->chip->map)->logical, LOGICAL_X2APIC);
	expect(r, MSG(.dest = 0x0a, .dest_logical = 1), NULL, 0x0a, 2);
	expect(r, MSG(.dest = 0x120008, .dest_logical = 1), NULL, 0, 1);
	assert_true(lapic_test(far, APIC_IRR, 0x55));
	expect(r, MSG(.dest = 0x12fff0, .dest_logical = 1), NULL, 0, 0);
	expect(r, MSG(.dest = 0x130001, .dest_logical = 1), NULL, 0, 0);
	expect(r, MSG(.dest = 0x123), NULL, 0, 1);
	expect(r, MSG(.dest = 0xffffffff), r->cpu[0].l, 15, 5);
	/* with the quirk off, 0xff is an ordinary id for x2APICs */
	expect(r, MSG(.dest = 0xff), NULL, 0, 0);
	rig_set_x2apic_api(r->chip, true, false);
	expect(r, MSG(.dest = 0xff), NULL, 15, 5);
	expect(r, MSG(.dest = 0xff), r->cpu[0].l, 0, 0);	/* but not for IPIs */
	send(r, MSG(.dest = 0x00ff, .dest_logical = 1), r->cpu[0].l, &ret);
	assert_int_equal(ret, 4);
	lapic_destroy(far);
	rig_free(r);
}

T(big_id_in_xapic_mode)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *far;

	rig_set_x2apic_api(r->chip, true, true);
	far = lapic_create(r->chip, NULL, 0x101, false);
	lapic_reg_write(far, APIC_SPIV, 0x1ff);
	/* truncated id 1 yields to vCPU 1; the whole id works */
	expect(r, MSG(.dest = 1), NULL, 2, 1);
	assert_false(lapic_test(far, APIC_IRR, 0x55));
	expect(r, MSG(.dest = 0x101), NULL, 0, 1);
	assert_true(lapic_test(far, APIC_IRR, 0x55));
	lapic_destroy(far);
	/* without 32-bit ids both answer to 1 */
	rig_set_x2apic_api(r->chip, false, false);
	far = lapic_create(r->chip, NULL, 0x101, false);
	lapic_reg_write(far, APIC_SPIV, 0x1ff);
	assert_true(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_PHYSICAL_ID_ALIASED));
	expect(r, MSG(.dest = 1), NULL, 2, 2);
	assert_true(lapic_test(far, APIC_IRR, 0x55));
	lapic_destroy(far);
	rig_free(r);
}

T(changed_xapic_id)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	u32 inhibit;

	rig_write(r->cpu[1].l, APIC_ID, 9u << 24);
	inhibit = apicv_inhibits(r->chip);
	assert_true(inhibit & BIT(APICV_INHIBIT_APIC_ID_MODIFIED));
	assert_false(inhibit & BIT(APICV_INHIBIT_PHYSICAL_ID_ALIASED));
	expect(r, MSG(.dest = 9), NULL, 2, 1);
	rig_write(r->cpu[1].l, APIC_ID, 0);
	assert_true(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_PHYSICAL_ID_ALIASED));
	expect(r, MSG(.dest = 0), NULL, 3, 2);
	expect(r, MSG(.dest = 9), NULL, 0, -1);
	rig_write(r->cpu[1].l, APIC_ID, 1u << 24);
	assert_int_equal(apicv_inhibits(r->chip) & ~BIT(APICV_INHIBIT_DISABLED), 0);
	rig_free(r);
}

T(lowest_priority)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);
	u32 all = 0;
	int ret;

	for (u32 i = 0; i < 4; i++)
		rig_write(r->cpu[i].l, APIC_LDR, 1u << (24 + i));
	for (u32 v = 0x40; v < 0x48; v++) {
		u32 got = send(r,
			       MSG(.dest = 0x0b, .dest_logical = 1, .vector = (u8)v,
				   .delivery = APIC_LOWEST),
			       NULL, &ret);

		assert_int_equal(ret, 1);
		assert_int_equal(__builtin_popcount(got), 1);
		assert_int_equal(got & ~0xbu, 0);
		all |= got;
	}
	assert_int_equal(all, 0xb);	/* spread by vector */
	/* a redirection hint does the same to a fixed message */
	send(r, MSG(.dest = 0x0b, .dest_logical = 1, .redirect_hint = true), NULL, &ret);
	assert_int_equal(ret, 1);
	/* software-disabled APICs are no candidates */
	for (u32 i = 1; i < 4; i++)
		rig_write(r->cpu[i].l, APIC_SPIV, 0xff);
	for (u32 v = 0x40; v < 0x44; v++)
		expect(r,
		       MSG(.dest = 0xff, .dest_logical = 1, .vector = (u8)v,
			   .delivery = APIC_LOWEST),
		       NULL, 1, 1);
	/* the same when each APIC has to be asked */
	rig_write(r->cpu[0].l, APIC_LDR, 3u << 24);
	expect(r, MSG(.dest = 0x0b, .dest_logical = 1, .delivery = APIC_LOWEST), NULL, 1, 1);
	rig_free(r);
}

T(level_deassert_is_nothing)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct apic_msg m = { .vector = 0x50, .trigger_level = 1, .level = 0 };

	assert_int_equal(apic_deliver(r->chip, &m, NULL), 0);
	assert_false(lapic_test(r->cpu[0].l, APIC_IRR, 0x50));
	rig_free(r);
}

T(xapic_icr)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_ICR2, 0x02ffffff);
	/* A CPU with AVIC keeps the reserved bits. */
	assert_int_equal(rig_read(l, APIC_ICR2), rig_kind ? 0x02ffffff : 0x02000000);
	rig_write(l, APIC_ICR, 0x4041 | ICR_BUSY);
	assert_int_equal(rig_read(l, APIC_ICR), 0x4041);
	assert_true(lapic_test(r->cpu[2].l, APIC_IRR, 0x41));
	rig_free(r);
}

T(pv_ipi)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 6);

	assert_int_equal(apic_send_pv_ipi(r->chip, 0x15, 0, 1, 0x4070, 64), 3);
	assert_true(lapic_test(r->cpu[1].l, APIC_IRR, 0x70));
	assert_false(lapic_test(r->cpu[2].l, APIC_IRR, 0x70));
	assert_true(lapic_test(r->cpu[3].l, APIC_IRR, 0x70));
	assert_true(lapic_test(r->cpu[5].l, APIC_IRR, 0x70));
	assert_int_equal(apic_send_pv_ipi(r->chip, 0, 1, 0xffffffff, 0x4070, 64), 0);
	assert_int_equal(apic_send_pv_ipi(r->chip, 1, 0, 0, 0x4070 | ICR_LOGICAL, 64), -EINVAL);
	assert_int_equal(apic_send_pv_ipi(r->chip, 1, 0, 0, 0x44070, 64), -EINVAL);
	rig_write(r->cpu[0].l, APIC_ID, 1u << 24);
	assert_int_equal(apic_send_pv_ipi(r->chip, 1, 0, 0, 0x4070, 64), -EOPNOTSUPP);
	assert_ptr_equal(apic_find_vcpu(r->chip, 3), &r->cpu[3]);
	assert_null(apic_find_vcpu(r->chip, 99));
	rig_free(r);
}

T(id_too_big_for_avic)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 0);
	struct lapic *ok, *big;

	irqchip_set_avic(r->chip, AVIC_KIND_X2AVIC);
	ok = lapic_create(r->chip, NULL, 0x1ff, false);
	assert_non_null(ok);
	assert_false(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_PHYSICAL_ID_TOO_BIG));
	big = lapic_create(r->chip, NULL, 600, false);
	assert_non_null(big);
	assert_true(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_PHYSICAL_ID_TOO_BIG));
	assert_string_equal(apicv_inhibit_name(APICV_INHIBIT_PHYSICAL_ID_TOO_BIG),
			    "PHYSICAL_ID_TOO_BIG");
	lapic_destroy(big);
	lapic_destroy(ok);
	rig_free(r);
}

RIG_BOTH_KINDS
