/* SPDX-License-Identifier: MIT */
/*
 * The AVIC model as the hardware of a guest hypervisor: tables and pages in "guest memory" at
 * addresses that are not pointers. APM2 15.29 and docs/kvm-apic.md 3.5-3.9, one test a rule.
 */
/* Run: build/tests/unit/test_irq_avic [NAME...] */
#include "irq_rig.h"

#include <errno.h>

#include "irq/apic_page.h"
#include "irq/avic.h"

#define PAGES 24
#define PHYS_TABLE 0x100000ull		/* pages 0-7 of memory */
#define LOGICAL_TABLE 0x108000ull	/* page 8 */
#define BACKING(n) (0x109000ull + (u64)(n) * 0x1000)
#define CPUS 4

static struct memory {
	u8 page[PAGES][4096] __attribute__((aligned(4096)));
	u32 doorbells[4096];
	bool hole;		/* the page of CPU 2 is not there */
} mem;

static void *mem_page(void *arg, u64 pa)
{
	struct memory *m = arg;
	u64 n = (pa - PHYS_TABLE) >> 12;

	if (pa < PHYS_TABLE || n >= PAGES || (m->hole && pa == BACKING(2)))
		return NULL;
	return m->page[n];
}

static void mem_doorbell(void *arg, u32 id)
{
	struct memory *m = arg;

	m->doorbells[id]++;
}

static const struct avic_ops mem_ops = { .page = mem_page, .doorbell = mem_doorbell };

static u8 *backing(u32 n)
{
	return mem_page(&mem, BACKING(n));
}

static u64 *entry(u32 index)
{
	return (u64 *)(void *)mem.page[0] + index;
}

static u32 *logical(u32 index)
{
	return (u32 *)(void *)mem.page[8] + index;
}

/* Four CPUs with ids 0-3, all running, on host CPUs 0x40-0x43. */
static struct avic_hw machine(u32 max_index, bool x2apic)
{
	struct avic_hw hw = {
		.phys_table = PHYS_TABLE, .logical_table = LOGICAL_TABLE, .max_index = max_index,
		.x2apic = x2apic, .ops = &mem_ops, .arg = &mem,
	};

	memset(&mem, 0, sizeof(mem));
	for (u32 i = 0; i < CPUS; i++) {
		*entry(i) = AVIC_PHYS_VALID | AVIC_PHYS_RUNNING | BACKING(i) | (0x40 + i);
		*logical(i) = AVIC_LOGICAL_VALID | i;
		apic_put(backing(i), APIC_DFR, DFR_FLAT);
	}
	hw.page = backing(0);
	return hw;
}

static struct avic_hw xavic(void)
{
	return machine(0xfe, false);
}

static u32 requested(u8 vector)
{
	u32 mask = 0;

	for (u32 i = 0; i < CPUS; i++)
		mask |= (u32)apic_test(mem.page[9 + i], APIC_IRR, vector) << i;
	return mask;
}

static struct avic_exit ipi(struct avic_hw *hw, u32 dest, u32 icr)
{
	struct avic_exit x = { 0 };

	int r;

	if (!hw->x2apic) {
		assert_int_equal(avic_write(hw, APIC_ICR2, dest << 24, &x), AVIC_DONE);
		r = avic_write(hw, APIC_ICR, icr, &x);
	} else {
		r = avic_msr_write(hw, 0x830, (u64)dest << 32 | icr, &x);
	}
	assert_int_equal(r, x.code ? AVIC_TRAP : AVIC_DONE);
	return x;
}

/* -- registers (3.6) -- */

T(reads_of_all_but_apr_and_tmcct_are_accelerated)
{
	static const u32 fault[] = { 0x90, 0x390, 0xb0, 0x10, 0x2f0, 0x3f0, 0x400, 0xff0 };
	static const u32 accel[] = {
		0x20, 0x30, 0x80, 0xa0, 0xc0, 0xd0, 0xe0, 0xf0, 0x100, 0x170, 0x180, 0x1f0, 0x200,
		0x270, 0x280, 0x300, 0x310, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0,
	};
	struct avic_hw hw = xavic();
	struct avic_exit x;
	u32 v;

	for (u32 i = 0; i < ARRAY_SIZE(accel); i++) {
		apic_put(hw.page, accel[i], 0x1000 + i);
		assert_int_equal(avic_read(&hw, accel[i], &v, &x), AVIC_DONE);
		assert_int_equal(v, 0x1000 + i);
	}
	for (u32 i = 0; i < ARRAY_SIZE(fault); i++) {
		assert_int_equal(avic_read(&hw, fault[i], &v, &x), AVIC_FAULT);
		assert_int_equal(x.code, 0x402);
		assert_int_equal(x.info1, fault[i] & 0xff0);
		assert_int_equal(x.info2, 0);
	}
}

T(writes_that_trap_are_stored_first)
{
	static const u32 trap[] = {
		0x20, 0xc0, 0xd0, 0xe0, 0xf0, 0x280, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370,
		0x380, 0x3e0,
	};
	struct avic_hw hw = xavic();
	struct avic_exit x;

	for (u32 i = 0; i < ARRAY_SIZE(trap); i++) {
		assert_int_equal(avic_write(&hw, trap[i], 0xabcd0000 + i, &x), AVIC_TRAP);
		assert_int_equal(x.code, 0x402);
		assert_int_equal(x.info1, trap[i] | BIT64(32));
		assert_int_equal(apic_get(hw.page, trap[i]), 0xabcd0000 + i);
	}
}

T(other_writes_fault_and_store_nothing)
{
	static const u32 fault[] = {
		0x30, 0x90, 0xa0, 0x100, 0x170, 0x180, 0x200, 0x270, 0x390, 0x10, 0x3f0, 0x2f0,
		0x400,
	};
	struct avic_hw hw = xavic();
	struct avic_exit x;

	for (u32 i = 0; i < ARRAY_SIZE(fault); i++) {
		assert_int_equal(avic_write(&hw, fault[i], ~0u, &x), AVIC_FAULT);
		assert_int_equal(x.info1, (fault[i] & 0xff0) | BIT64(32));
		assert_int_equal(apic_get(hw.page, fault[i]), 0);
	}
}

T(tpr_is_accelerated_and_moves_ppr)
{
	struct avic_hw hw = xavic();
	struct avic_exit x;

	apic_post(hw.page, 0x55, false);
	assert_int_equal(avic_pending(&hw), 0x55);
	assert_int_equal(avic_write(&hw, APIC_TPR, 0x50, &x), AVIC_DONE);
	assert_int_equal(apic_get(hw.page, APIC_PPR), 0x50);
	assert_int_equal(avic_pending(&hw), -1);
	assert_int_equal(avic_write(&hw, APIC_TPR, 0x4f, &x), AVIC_DONE);
	assert_int_equal(avic_take(&hw), 0x55);
	assert_int_equal(apic_get(hw.page, APIC_PPR), 0x50);
	assert_true(apic_test(hw.page, APIC_ISR, 0x55));
	assert_false(apic_test(hw.page, APIC_IRR, 0x55));
}

T(eoi_of_an_edge_vector_is_accelerated)
{
	struct avic_hw hw = xavic();
	struct avic_exit x;

	assert_int_equal(avic_write(&hw, APIC_EOI, 0, &x), AVIC_DONE);	/* none in service */
	apic_post(hw.page, 0x41, false);
	assert_int_equal(avic_take(&hw), 0x41);
	assert_int_equal(avic_write(&hw, APIC_EOI, 77, &x), AVIC_DONE);
	assert_int_equal(apic_highest(hw.page, APIC_ISR), -1);
	assert_int_equal(apic_get(hw.page, APIC_PPR), 0);
}

T(eoi_of_a_level_vector_traps_with_the_vector_and_isr_kept)
{
	struct avic_hw hw = xavic();
	struct avic_exit x;

	apic_post(hw.page, 0x9a, true);
	assert_int_equal(avic_take(&hw), 0x9a);
	assert_int_equal(avic_write(&hw, APIC_EOI, 0, &x), AVIC_TRAP);
	assert_int_equal(x.code, 0x402);
	assert_int_equal(x.info1, 0xb0 | BIT64(32));
	assert_int_equal(x.info2, 0x9a);
	assert_true(apic_test(hw.page, APIC_ISR, 0x9a));
}

/* -- IPIs (3.7) -- */

T(fixed_ipi_to_a_running_cpu_rings_its_doorbell)
{
	struct avic_hw hw = xavic();

	assert_int_equal(ipi(&hw, 2, 0x4061).code, 0);
	assert_int_equal(requested(0x61), BIT(2));
	assert_int_equal(mem.doorbells[0x42], 1);
	assert_int_equal(apic_get(hw.page, APIC_ICR), 0x4061);
	assert_int_equal(apic_get(hw.page, APIC_ICR2), 2u << 24);
}

T(not_running_sets_irr_then_exits_with_the_index)
{
	struct avic_hw hw = xavic();
	struct avic_exit x;

	*entry(2) &= ~AVIC_PHYS_RUNNING;
	x = ipi(&hw, 2, 0x4061);
	assert_int_equal(x.code, 0x401);
	assert_int_equal(x.info1, 2ull << 56 | 0x4061);
	assert_int_equal(x.info2, (u64)AVIC_IPI_NOT_RUNNING << 32 | 2);
	assert_int_equal(AVIC_IPI_NOT_RUNNING, 1);
	assert_int_equal(requested(0x61), BIT(2));
	assert_int_equal(mem.doorbells[0x42], 0);
}

T(invalid_type_is_id_0_and_nothing_is_sent)
{
	static const u32 icr[] = {
		0x4161, 0x4261, 0x4461, 0x4561, 0x4661, 0x4761, 0xc061, 0x5061 /* busy */,
	};
	struct avic_hw hw = xavic();

	for (u32 i = 0; i < ARRAY_SIZE(icr); i++) {
		struct avic_exit x = ipi(&hw, 1, icr[i]);

		assert_int_equal(x.code, 0x401);
		assert_int_equal(x.info2 >> 32, 0);
		assert_int_equal((u32)x.info1, icr[i]);
		assert_int_equal(requested(0x61), 0);
	}
}

T(invalid_target_is_id_2)
{
	struct avic_hw hw = xavic();
	struct avic_exit x;

	x = ipi(&hw, 7, 0x4061);		/* no such entry */
	assert_int_equal(x.info2, 2ull << 32 | 7);
	hw.max_index = 1;
	x = ipi(&hw, 2, 0x4061);		/* beyond the table */
	assert_int_equal(x.info2, 2ull << 32 | 2);
	assert_int_equal(requested(0x61), 0);
}

T(invalid_backing_page_is_id_3)
{
	struct avic_hw hw = xavic();
	struct avic_exit x;

	mem.hole = true;
	x = ipi(&hw, 2, 0x4061);
	assert_int_equal(x.info2, 3ull << 32 | 2);
}

T(vector_below_16_is_id_4)
{
	struct avic_hw hw = xavic();
	struct avic_exit x = ipi(&hw, 1, 0x400f);

	assert_int_equal(x.info2 >> 32, 4);
	assert_int_equal(requested(15), 0);
}

T(shorthands_and_broadcast_skip_invalid_entries)
{
	struct avic_hw hw = xavic();

	*entry(3) &= ~AVIC_PHYS_VALID;
	assert_int_equal(ipi(&hw, 9, 0x40061 | 0x4000).code, 0);	/* self */
	assert_int_equal(requested(0x61), BIT(0));
	assert_int_equal(ipi(&hw, 9, 0x80062 | 0x4000).code, 0);	/* all */
	assert_int_equal(requested(0x62), 7);
	assert_int_equal(ipi(&hw, 9, 0xc0063 | 0x4000).code, 0);	/* others */
	assert_int_equal(requested(0x63), 6);
	assert_int_equal(ipi(&hw, 0xff, 0x4064).code, 0);
	assert_int_equal(requested(0x64), 7);
	assert_int_equal(ipi(&hw, 0xff, 0x4865).code, 0);		/* logical, too */
	assert_int_equal(requested(0x65), 7);
}

T(flat_index_is_the_bit_number)
{
	struct avic_hw hw = xavic();
	struct avic_exit x;

	assert_int_equal(ipi(&hw, 0x0a, 0x4861).code, 0);
	assert_int_equal(requested(0x61), 0xa);
	/* A missing one: software sends it all, so nothing was sent. */
	x = ipi(&hw, 0x12, 0x4862);
	assert_int_equal(x.info2, 2ull << 32 | 4);
	assert_int_equal(requested(0x62), 0);
}

T(cluster_index_is_four_times_the_cluster_plus_the_bit)
{
	struct avic_hw hw = xavic();

	apic_put(hw.page, APIC_DFR, DFR_CLUSTER);
	*logical(9) = AVIC_LOGICAL_VALID | 3;	/* cluster 2, bit 1 */
	*logical(10) = AVIC_LOGICAL_VALID | 1;
	assert_int_equal(ipi(&hw, 0x26, 0x4861).code, 0);
	assert_int_equal(requested(0x61), BIT(3) | BIT(1));
	assert_int_equal(ipi(&hw, 0xf1, 0x4861).info2 >> 32, 2);	/* no cluster 15 */
}

T(tables_may_span_pages)
{
	struct avic_hw hw = machine(0xfff, true);
	struct avic_exit x;

	/* id 600 is in the second page of the table */
	((u64 *)(void *)mem.page[1])[600 - 512] =
		AVIC_PHYS_VALID | AVIC_PHYS_RUNNING | BACKING(3) | 0xabc;
	assert_int_equal(ipi(&hw, 600, 0x4061).code, 0);
	assert_int_equal(requested(0x61), BIT(3));
	assert_int_equal(mem.doorbells[0xabc], 1);
	x = ipi(&hw, 0x1234567, 0x4061);
	assert_int_equal(x.info1, 0x1234567ull << 32 | 0x4061);
	assert_int_equal(x.info2, 2ull << 32 | 0x1234567);
}

/* -- x2AVIC (3.9) -- */

T(x2avic_derives_logical_ids)
{
	struct avic_hw hw = machine(0x1ff, true);

	memset(mem.page[8], 0, 4096);		/* the logical table is not used */
	assert_int_equal(ipi(&hw, 0x00006, 0x4861).code, 0);
	assert_int_equal(requested(0x61), 6);
	*entry(0x25) = AVIC_PHYS_VALID | AVIC_PHYS_RUNNING | BACKING(3) | 9;
	assert_int_equal(ipi(&hw, 0x20020, 0x4862).code, 0);
	assert_int_equal(requested(0x62), BIT(3));
	assert_int_equal(ipi(&hw, 0xffffffff, 0x4063).code, 0);
	assert_int_equal(requested(0x63), 0xf);
	assert_int_equal(ipi(&hw, 0xff, 0x4064).info2 >> 32, 2);	/* just an id */
}

T(x2avic_checks_what_it_carries_out)
{
	struct avic_hw hw = machine(0x1ff, true);
	struct avic_exit x;
	u64 v;

	assert_int_equal(avic_msr_write(&hw, 0x808, 0x100, &x), -EINVAL);
	assert_int_equal(avic_msr_write(&hw, 0x808, 0x20, &x), AVIC_DONE);
	assert_int_equal(avic_msr_read(&hw, 0x808, &v, &x), AVIC_DONE);
	assert_int_equal(v, 0x20);
	assert_int_equal(avic_msr_write(&hw, 0x80b, 1, &x), -EINVAL);
	assert_int_equal(avic_msr_write(&hw, 0x80b, 0, &x), AVIC_DONE);
	assert_int_equal(avic_msr_write(&hw, 0x83f, 0x100, &x), -EINVAL);
	assert_int_equal(avic_msr_write(&hw, 0x83f, 0x44, &x), AVIC_DONE);
	assert_int_equal(requested(0x44), 1);
	assert_int_equal(avic_msr_write(&hw, 0x830, BIT(13), &x), -EINVAL);
	assert_int_equal(avic_msr_write(&hw, 0x830, BIT(20), &x), -EINVAL);
	/* The 64-bit ICR is kept in two registers. */
	assert_int_equal(avic_msr_write(&hw, 0x830, 3ull << 32 | 0x4061, &x), AVIC_DONE);
	assert_int_equal(apic_get(hw.page, APIC_ICR), 0x4061);
	assert_int_equal(apic_get(hw.page, APIC_ICR2), 3);
	assert_int_equal(avic_msr_read(&hw, 0x830, &v, &x), AVIC_DONE);
	assert_int_equal(v, 3ull << 32 | 0x4061);
	assert_int_equal(avic_msr_read(&hw, 0x839, &v, &x), AVIC_FAULT);	/* TMCCT */
	assert_int_equal(avic_msr_read(&hw, 0x831, &v, &x), AVIC_FAULT);	/* no such MSR */
	assert_int_equal(avic_msr_read(&hw, 0x8ff, &v, &x), AVIC_FAULT);
	assert_int_equal(avic_msr_write(&hw, 0x831, 0, &x), AVIC_FAULT);
}

T(limits_of_the_kinds)
{
	assert_int_equal(avic_kind_max_id(AVIC_KIND_NONE), 0);
	assert_int_equal(avic_kind_max_id(AVIC_KIND_AVIC), 254);
	assert_int_equal(avic_kind_max_id(AVIC_KIND_X2AVIC), 511);
	assert_int_equal(avic_kind_max_id(AVIC_KIND_X2AVIC_EXT), 4095);
	assert_string_equal(avic_ipi_failure_name(1), "NOT_RUNNING");
	assert_string_equal(avic_ipi_failure_name(5), "?");
}

/* Whatever is in the tables: bounded work, an exit or done, no access outside memory. */
T(garbage_in_the_tables_is_harmless)
{
	u64 seed = 88172645463325252ull;

	for (u32 i = 0; i < 20000; i++) {
		struct avic_hw hw = machine(i % 2 ? 0x1ff : 0xfe, i % 2);
		struct avic_exit x = { 0 };

		for (u32 k = 0; k < 600; k += 1 + (u32)(seed % 7)) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			mem.page[k / 512][k % 512 * 8] = (u8)seed;
			*entry(k % 4) = seed;
			*logical(k) = (u32)(seed >> 20);
		}
		hw.page = mem.page[9];
		if (i % 3)
			hw.phys_table = seed & AVIC_PHYS_PAGE;
		avic_ipi(&hw, (u32)(seed >> 8), (u32)(seed >> 30), &x);
		avic_write(&hw, (u32)seed & 0xffff, (u32)(seed >> 16), &x);
		avic_msr_write(&hw, 0x800 + (seed & 0xff), seed >> 24, &x);
	}
}
