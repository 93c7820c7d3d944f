/* SPDX-License-Identifier: MIT */
/* The local APIC: registers, modes, priority, events, state. */
/* Run: build/tests/unit/test_irq_lapic [NAME...] */
#include "irq_rig.h"

#include <errno.h>

T(reset_values)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[1].l, *bsp = r->cpu[0].l;

	lapic_reset(bsp, false);
	lapic_reset(l, false);
	assert_int_equal(lapic_get_base(l), APIC_DEFAULT_BASE | APIC_BASE_EN);
	assert_int_equal(lapic_get_base(bsp), APIC_DEFAULT_BASE | APIC_BASE_EN | APIC_BASE_BSP);
	assert_int_equal(rig_read(l, APIC_ID), 1u << 24);
	assert_int_equal(rig_read(l, APIC_LVR), 0x00050014);
	assert_int_equal(rig_read(l, APIC_SPIV), 0xff);
	assert_int_equal(rig_read(l, APIC_DFR), 0xffffffff);
	assert_int_equal(rig_read(l, APIC_LVT0), LVT_MASKED);
	assert_int_equal(rig_read(l, APIC_LVT1), LVT_MASKED);
	/* quirk: virtual wire on the BSP */
	assert_int_equal(rig_read(bsp, APIC_LVT0), 0x700);
	assert_true(lapic_accepts_extint(bsp));
	assert_false(lapic_accepts_extint(l));
	r->set.disabled_quirks = KVM_X86_QUIRK_LINT0_REENABLED;
	lapic_reset(bsp, false);
	assert_int_equal(rig_read(bsp, APIC_LVT0), LVT_MASKED);
	rig_free(r);
}

T(init_keeps_id_and_mode)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[1].l;

	rig_write(l, APIC_ID, 9u << 24);
	lapic_reset(l, true);
	assert_int_equal(rig_read(l, APIC_ID), 9u << 24);
	lapic_reset(l, false);
	assert_int_equal(rig_read(l, APIC_ID), 1u << 24);
	rig_x2apic(l);
	lapic_reset(l, true);
	assert_true(lapic_x2apic(l));
	assert_int_equal(lapic_get(l, APIC_LDR), 2);
	rig_free(r);
}

T(priority)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	assert_int_equal(lapic_pending_vector(l), -1);
	assert_false(lapic_has_pending(l));
	assert_true(lapic_set_irq(l, 0x31, false));
	assert_true(lapic_set_irq(l, 0x52, false));
	assert_true(lapic_has_pending(l));
	assert_int_equal(lapic_pending_vector(l), 0x52);
	assert_int_equal(lapic_ack(l), 0x52);
	assert_int_equal(rig_read(l, APIC_PPR), 0x50);
	assert_int_equal(lapic_pending_vector(l), -1);
	lapic_set_irq(l, 0x5f, false);		/* same class: waits */
	assert_int_equal(lapic_pending_vector(l), -1);
	lapic_set_irq(l, 0x60, false);		/* higher class: nests */
	assert_int_equal(lapic_ack(l), 0x60);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(rig_read(l, APIC_PPR), 0x50);
	rig_write(l, APIC_EOI, 1234);		/* any value */
	assert_int_equal(rig_read(l, APIC_PPR), 0);
	assert_int_equal(lapic_ack(l), 0x5f);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(lapic_ack(l), 0x31);
	rig_write(l, APIC_EOI, 0);
	assert_int_equal(lapic_ack(l), -1);
	assert_false(lapic_has_pending(l));
	rig_clear(r);
	rig_write(l, APIC_EOI, 0);		/* nothing in service: no effect */
	assert_int_equal(rig_told(r, 0), 0);
	rig_free(r);
}

T(tpr_and_cr8)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	lapic_set_irq(l, 0x45, false);
	rig_write(l, APIC_TPR, 0x4f);
	assert_int_equal(lapic_get_tpr(l), 4);
	assert_int_equal(rig_read(l, APIC_PPR), 0x4f);
	assert_int_equal(lapic_pending_vector(l), -1);
	rig_clear(r);
	lapic_set_tpr(l, 3);
	assert_int_equal(rig_read(l, APIC_TPR), 0x30);
	assert_int_equal(rig_told(r, 0), 1);
	assert_int_equal(lapic_ack(l), 0x45);
	lapic_set_tpr(l, 4);			/* equal classes: TPR shows */
	assert_int_equal(rig_read(l, APIC_PPR), 0x40);
	lapic_set_tpr(l, 15);
	assert_int_equal(rig_read(l, APIC_PPR), 0xf0);
	rig_free(r);
}

T(vectors_below_16_never_inject)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);

	lapic_set_irq(r->cpu[0].l, 15, false);
	assert_int_equal(lapic_pending_vector(r->cpu[0].l), -1);
	rig_free(r);
}

T(tmr_follows_the_last_message)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	lapic_set_irq(l, 0x91, true);
	assert_true(lapic_test(l, APIC_TMR, 0x91));
	assert_int_equal(rig_read(l, APIC_TMR + 4 * 16), 1u << 17);
	lapic_set_irq(l, 0x91, false);
	assert_false(lapic_test(l, APIC_TMR, 0x91));
	rig_free(r);
}

T(software_disable)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_write(l, APIC_LVTERR, 0x33);
	assert_int_equal(rig_read(l, APIC_LVTERR), 0x33);
	lapic_set_irq(l, 0x40, false);
	rig_write(l, APIC_SPIV, 0xff);
	assert_int_equal(rig_read(l, APIC_LVTERR), 0x33 | LVT_MASKED);
	rig_write(l, APIC_LVTERR, 0x34);	/* cannot be unmasked now */
	assert_int_equal(rig_read(l, APIC_LVTERR), 0x34 | LVT_MASKED);
	assert_false(lapic_set_irq(l, 0x50, false));
	assert_int_equal(lapic_ack(l), 0x40);	/* what was accepted stays */
	rig_free(r);
}

T(mmio_rules)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;
	u64 v = ~0ull;
	u8 b;

	rig_write(l, APIC_LDR, 0x12345678);
	assert_int_equal(rig_read(l, APIC_LDR), 0x12000000);
	assert_int_equal(lapic_mmio_read(l, APIC_LDR + 3, &b, 1), 0);
	assert_int_equal(b, 0x12);
	assert_int_equal(lapic_mmio_read(l, APIC_LDR, &v, 8), 0);	/* too wide */
	assert_int_equal(v, 0);
	b = 0x55;
	assert_int_equal(lapic_mmio_write(l, APIC_TPR, &b, 1), 0);	/* ignored */
	assert_int_equal(rig_read(l, APIC_TPR), 0);
	v = 0x55;
	assert_int_equal(lapic_mmio_write(l, APIC_TPR, &v, 8), 0);
	assert_int_equal(lapic_mmio_write(l, APIC_TPR + 4, &v, 4), 0);
	assert_int_equal(rig_read(l, APIC_TPR), 0);
	rig_write(l, APIC_LVR, 0);					/* read-only */
	assert_int_equal(rig_read(l, APIC_LVR), 0x00050014);
	rig_write(l, APIC_LVT0, 0xffffffff);
	assert_int_equal(rig_read(l, APIC_LVT0), 0x1f7ff);
	rig_write(l, APIC_LVTERR, 0xffffffff);
	assert_int_equal(rig_read(l, APIC_LVTERR), 0x110ff);
	rig_write(l, APIC_DFR, 0);
	assert_int_equal(rig_read(l, APIC_DFR), 0x0fffffff);
	rig_write(l, APIC_SPIV, 0xffffffff);
	assert_int_equal(rig_read(l, APIC_SPIV), 0x3ff);
	rig_write(l, APIC_TDCR, 0xff);
	assert_int_equal(rig_read(l, APIC_TDCR), 0xb);
	assert_int_equal(rig_read(l, APIC_EOI), 0);
	assert_int_equal(rig_read(l, APIC_LVT_CMCI), 0);
	assert_int_equal(rig_read(l, 0xff0), 0);
	lapic_set_features(l, LAPIC_HAS_CMCI, 48);
	assert_int_equal(rig_read(l, APIC_LVR), 0x00060014);
	assert_int_equal(rig_read(l, APIC_LVT_CMCI), LVT_MASKED);
	rig_free(r);
}

T(mmio_hole)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[0].l, *off = r->cpu[1].l;
	u32 v = 0;

	rig_x2apic(l);
	assert_int_equal(lapic_set_base(off, APIC_DEFAULT_BASE, false), 0);
	assert_int_equal(rig_read(l, APIC_ID), 0xffffffff);
	assert_int_equal(rig_read(off, APIC_ID), 0xffffffff);
	rig_write(l, APIC_TPR, 0x50);
	assert_int_equal(lapic_get_tpr(l), 0);
	r->set.disabled_quirks = KVM_X86_QUIRK_LAPIC_MMIO_HOLE;
	assert_int_equal(lapic_mmio_read(l, APIC_ID, &v, 4), -ENOENT);
	assert_int_equal(lapic_mmio_write(off, APIC_ID, &v, 4), -ENOENT);
	rig_free(r);
}

T(base_transitions)
{
	static const u64 off = APIC_DEFAULT_BASE, x = off | APIC_BASE_EN, x2 = x | APIC_BASE_EXTD,
			 bad = off | APIC_BASE_EXTD;
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;
	static const struct { u64 from, to; int guest, host; } t[] = {
		{ off, off, 0, 0 }, { off, x, 0, 0 }, { off, x2, -EINVAL, 0 },
		{ x, off, 0, 0 }, { x, x, 0, 0 }, { x, x2, 0, 0 },
		{ x2, off, 0, 0 }, { x2, x, -EINVAL, 0 }, { x2, x2, 0, 0 },
		{ off, bad, -EINVAL, -EINVAL }, { x, bad, -EINVAL, -EINVAL },
		{ x2, bad, -EINVAL, -EINVAL }, { x, x | 1, -EINVAL, -EINVAL },
		{ x, x | BIT64(9), -EINVAL, -EINVAL }, { x, x | BIT64(48), -EINVAL, -EINVAL },
	};

	for (u32 i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(lapic_set_base(l, t[i].from, true), 0);
		assert_int_equal(lapic_set_base(l, t[i].to, false), t[i].guest);
		assert_int_equal(lapic_set_base(l, t[i].from, true), 0);
		assert_int_equal(lapic_set_base(l, t[i].to, true), t[i].host);
	}
	assert_int_equal(lapic_set_base(l, x, true), 0);
	lapic_set_features(l, 0, 48);
	assert_int_equal(lapic_set_base(l, x2, true), -EINVAL);
	/* moving the page: legal, but no acceleration ever after */
	assert_int_equal(lapic_set_base(l, 0x12345000 | APIC_BASE_EN, false), 0);
	assert_true(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_APIC_BASE_MODIFIED));
	assert_int_equal(lapic_set_base(l, x, false), 0);
	assert_true(apicv_inhibits(r->chip) & BIT(APICV_INHIBIT_APIC_BASE_MODIFIED));
	rig_free(r);
}

/* KVM compares before it checks, so that user space can give back what it has got whatever has
 * become of the CPUID since. */
T(writing_the_base_it_has_is_always_allowed)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_x2apic(l);
	lapic_set_features(l, 0, 36);
	assert_int_equal(lapic_set_base(l, lapic_get_base(l), true), 0);
	assert_int_equal(lapic_set_base(l, lapic_get_base(l) ^ APIC_BASE_BSP, true), -EINVAL);
	rig_free(r);
}

/* SDM3 table 11-6, every address: what may be read, written, or neither. */
T(every_x2apic_address)
{
	static const char rights[64] = {
		[0x02] = 'r', [0x03] = 'r', [0x08] = 'b', [0x0a] = 'r', [0x0b] = 'w', [0x0d] = 'r',
		[0x0f] = 'b', [0x10 ... 0x27] = 'r', [0x28] = 'b', [0x30] = 'b',
		[0x32 ... 0x38] = 'b', [0x39] = 'r', [0x3e] = 'b', [0x3f] = 'w',
	};
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	for (int x2 = 0; x2 < 2; x2++) {
		for (u32 i = 0; i < 256; i++) {
			char c = x2 && i < 64 ? rights[i] : 0;
			u64 v;

			assert_int_equal(lapic_msr_read(l, 0x800 + i, &v),
					 c == 'r' || c == 'b' ? 0 : -EINVAL);
			assert_int_equal(lapic_msr_write(l, 0x800 + i, 0),
					 c == 'w' || c == 'b' ? 0 : -EINVAL);
			if (i != 0x30)	/* the one with 64 bits */
				assert_int_equal(lapic_msr_write(l, 0x800 + i, ~0ull), -EINVAL);
		}
		rig_x2apic(l);
	}
	/* The CMCI entry is there with MCG_CAP.10 only. */
	assert_int_equal(lapic_msr_write(l, 0x82f, 0), -EINVAL);
	lapic_set_features(l, LAPIC_HAS_X2APIC | LAPIC_HAS_CMCI, 48);
	assert_int_equal(lapic_msr_write(l, 0x82f, 0x10000), 0);
	rig_free(r);
}

T(x2apic_msrs)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 4);
	struct lapic *l = r->cpu[3].l;
	u64 v;
	static const u16 unreadable[] = {
		0x800, 0x801, 0x804, 0x809, 0x80b, 0x80c, 0x80e, 0x82f, 0x831, 0x83a, 0x83f,
		0x840, 0x8ff,
	};
	static const u16 unwritable[] = {
		0x802, 0x803, 0x80a, 0x80d, 0x80e, 0x810, 0x827, 0x82f, 0x831, 0x839, 0x8ff,
	};

	assert_int_equal(lapic_msr_read(l, 0x802, &v), -EINVAL);	/* xAPIC mode */
	rig_x2apic(l);
	assert_int_equal(lapic_msr_read(l, 0x802, &v), 0);
	assert_int_equal(v, 3);
	assert_int_equal(lapic_msr_read(l, 0x80d, &v), 0);
	assert_int_equal(v, 8);
	for (u32 i = 0; i < ARRAY_SIZE(unreadable); i++)
		assert_int_equal(lapic_msr_read(l, unreadable[i], &v), -EINVAL);
	for (u32 i = 0; i < ARRAY_SIZE(unwritable); i++)
		assert_int_equal(lapic_msr_write(l, unwritable[i], 0), -EINVAL);
	assert_int_equal(lapic_msr_write(l, 0x808, 0x30), 0);
	assert_int_equal(lapic_get_tpr(l), 3);
	assert_int_equal(lapic_msr_write(l, 0x808, 1ull << 32), -EINVAL);
	assert_int_equal(lapic_msr_write(l, 0x80b, 5), 0);	/* EOI: low half not checked */
	assert_int_equal(lapic_msr_write(l, 0x80b, 1ull << 32), -EINVAL);
	assert_int_equal(lapic_msr_write(l, 0x828, 1), -EINVAL);	/* ESR */
	assert_int_equal(lapic_msr_write(l, 0x828, 0), 0);
	assert_int_equal(lapic_msr_write(l, 0x83f, 0x100), -EINVAL);
	assert_int_equal(lapic_msr_write(l, 0x83f, 0x77), 0);
	assert_true(lapic_test(l, APIC_IRR, 0x77));
	for (u32 bit = 0; bit < 32; bit++) {
		bool bad = bit == 13 || bit == 16 || bit == 17 || bit >= 20;

		if (bit >= 8 && bit <= 10)
			continue;
		assert_int_equal(lapic_msr_write(l, 0x830, 0xffff00000000ull | BIT64(bit)),
				 bad ? -EINVAL : 0);
	}
	assert_int_equal(lapic_msr_write(l, 0x830, 0x200001000ull | 0x40), 0);
	assert_int_equal(lapic_msr_read(l, 0x830, &v), 0);
	assert_int_equal(v, 0x200000040ull);			/* BUSY reads 0 */
	assert_true(lapic_test(r->cpu[2].l, APIC_IRR, 0x40));
	rig_free(r);
}

T(lvt_delivery)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	assert_false(lapic_deliver_lvt(l, LVT_LINT1));		/* masked */
	rig_write(l, APIC_LVT1, 0x400);
	assert_true(lapic_deliver_lvt(l, LVT_LINT1));
	assert_int_equal(lapic_take_events(l, ~0u, NULL), LAPIC_EV_NMI);
	rig_write(l, APIC_LVTPC, 0x44);
	assert_true(lapic_deliver_lvt(l, LVT_PERF));
	assert_int_equal(rig_read(l, APIC_LVTPC), 0x44);	/* AMD's; Intel's: */
	lapic_set_features(l, LAPIC_MASKS_LVTPC, 52);
	assert_true(lapic_deliver_lvt(l, LVT_PERF));
	assert_int_equal(rig_read(l, APIC_LVTPC), 0x44 | LVT_MASKED);
	assert_false(lapic_deliver_lvt(l, LVT_PERF));
	rig_write(l, APIC_LVT1, 0x8055);			/* level */
	assert_true(lapic_deliver_lvt(l, LVT_LINT1));
	assert_true(lapic_test(l, APIC_TMR, 0x55));
	assert_false(lapic_deliver_lvt(l, LVT_CMCI));
	rig_free(r);
}

T(events)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 2);
	struct lapic *l = r->cpu[1].l, *src = r->cpu[0].l;
	u8 vec = 0;

	rig_write(src, APIC_ICR2, 1u << 24);
	rig_write(src, APIC_ICR, 0x4612);	/* SIPI */
	assert_int_equal(lapic_peek_events(l), LAPIC_EV_SIPI);
	rig_write(src, APIC_ICR, 0x4500);	/* INIT voids it */
	assert_int_equal(lapic_peek_events(l), LAPIC_EV_INIT);
	rig_write(src, APIC_ICR, 0x8500);	/* de-assert: nothing */
	assert_int_equal(lapic_peek_events(l), LAPIC_EV_INIT);
	rig_write(src, APIC_ICR, 0x469a);
	assert_int_equal(lapic_take_events(l, LAPIC_EV_INIT, &vec), LAPIC_EV_INIT);
	assert_int_equal(vec, 0);
	assert_int_equal(lapic_take_events(l, ~0u, &vec), LAPIC_EV_SIPI);
	assert_int_equal(vec, 0x9a);
	assert_int_equal(lapic_take_events(l, ~0u, &vec), 0);
	rig_write(src, APIC_ICR, 0x4400);	/* three NMIs are two */
	rig_write(src, APIC_ICR, 0x4400);
	rig_write(src, APIC_ICR, 0x4400);
	assert_int_equal(r->cpu[1].wakes[IRQ_WAKE_NMI], 3);
	assert_int_equal(lapic_take_events(l, ~0u, NULL), LAPIC_EV_NMI | LAPIC_EV_NMI2);
	rig_write(src, APIC_ICR, 0x4200);
	assert_int_equal(lapic_take_events(l, ~0u, NULL), LAPIC_EV_SMI);
	rig_write(src, APIC_ICR, 0x4300);
	assert_int_equal(lapic_take_events(l, ~0u, NULL), LAPIC_EV_UNHALT);
	/* a software-disabled APIC still takes these */
	rig_write(l, APIC_SPIV, 0xff);
	rig_write(src, APIC_ICR, 0x4500);
	assert_int_equal(lapic_take_events(l, ~0u, NULL), LAPIC_EV_INIT);
	rig_free(r);
}

T(state_round_trip)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 3);
	struct lapic *a = r->cpu[0].l, *b = r->cpu[2].l;
	u8 s[LAPIC_STATE_SIZE], t[LAPIC_STATE_SIZE];
	u32 v = 0xff;

	rig_write(a, APIC_TPR, 0x20);
	rig_write(a, APIC_LVT1, 0x400);
	lapic_set_irq(a, 0x61, true);
	assert_int_equal(lapic_ack(a), 0x61);
	lapic_set_irq(a, 0x81, false);
	assert_int_equal(lapic_get_state(a, s, false), 0);
	memcpy(s + APIC_LVR, &v, 4);		/* not user space's to choose */
	assert_int_equal(lapic_set_state(b, s, false), 0);
	assert_int_equal(lapic_get_state(b, t, false), 0);
	v = 0x00050014;
	memcpy(s + APIC_LVR, &v, 4);
	assert_memory_equal(s, t, sizeof(s));
	assert_int_equal(lapic_ack(b), 0x81);
	rig_free(r);
}

T(state_x2apic_ids)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 3);
	struct lapic *l = r->cpu[2].l;
	u8 s[LAPIC_STATE_SIZE];
	u32 id, ldr;

	rig_x2apic(l);
	assert_int_equal(lapic_msr_write(l, 0x830, 0x1500000040ull), 0);
	assert_int_equal(lapic_get_state(l, s, false), 0);
	memcpy(&id, s + APIC_ID, 4);
	assert_int_equal(id, 2u << 24);
	memcpy(&id, s + APIC_ICR2, 4);
	assert_int_equal(id, 0x15);
	assert_int_equal(lapic_get_state(l, s, true), 0);
	memcpy(&id, s + APIC_ID, 4);
	assert_int_equal(id, 2);
	assert_int_equal(lapic_set_state(l, s, true), 0);
	id = 2u << 24;
	memcpy(s + APIC_ID, &id, 4);
	memset(s + APIC_LDR, 0, 4);
	assert_int_equal(lapic_set_state(l, s, true), -EINVAL);
	assert_int_equal(lapic_set_state(l, s, false), 0);
	assert_int_equal(lapic_get(l, APIC_ID), 2);
	ldr = lapic_get(l, APIC_LDR);
	assert_int_equal(ldr, 4);
	rig_free(r);
}

T(pv_eoi)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct lapic *l = r->cpu[0].l;

	rig_rte(r, 3, 0x44 | RTE_LEVEL, 0);
	assert_false(lapic_pv_eoi_ok(l));
	lapic_set_irq(l, 0x51, false);
	lapic_ack(l);
	/* Not while EOIs are accelerated. */
	assert_int_equal(lapic_pv_eoi_ok(l), !apicv_active(l));
	lapic_set_irq(l, 0x61, false);
	assert_false(lapic_pv_eoi_ok(l));	/* another is pending */
	lapic_ack(l);
	assert_false(lapic_pv_eoi_ok(l));	/* nested */
	lapic_eoi(l);
	lapic_eoi(l);
	lapic_set_irq(l, 0x44, true);
	lapic_ack(l);
	assert_false(lapic_pv_eoi_ok(l));	/* the I/O APIC must hear of it */
	rig_free(r);
}

T(vcpu_known_later)
{
	struct rig *r = rig_new(IRQCHIP_FULL, 1);
	struct rig_cpu c = { 0 };

	c.l = lapic_create(r->chip, NULL, 5, false);
	assert_non_null(c.l);
	assert_null(lapic_create(r->chip, NULL, 5, false));	/* id taken */
	lapic_reg_write(c.l, APIC_SPIV, 0x1ff);
	assert_true(lapic_set_irq(c.l, 0x30, false));
	lapic_set_vcpu(c.l, &c);
	assert_int_equal(c.wakes[IRQ_WAKE_EVENT], 1);
	assert_int_equal(c.wakes[IRQ_WAKE_SCAN], 1);
	lapic_destroy(c.l);
	rig_free(r);
}

RIG_BOTH_KINDS
