/* SPDX-License-Identifier: MIT */
/* tests/unit/test_vcpu_msr.c - the MSR table, as user space and as the guest. */
/* Run: build/tests/unit/test_vcpu_msr [NAME...] */
#include "vcpu_rig.h"
#include "base/msrs.h"

#define NONCANONICAL 0x800000000000ull

T(table_is_sorted)
{
	u64 end = 0;

#define X(name, first, n, ...) \
	assert_true((u64)(first) >= end); \
	end = (u64)(first) + (n);
	MSRS(X)
#undef X
}

T(lists)
{
	u32 all[256], n = msr_index_list(NULL, 0), features = msr_feature_list(all, 256);
	u64 val;

	assert_true(n > 30 && n < 256);
	for (u32 i = 0; i < features; i++)
		assert_int_equal(msr_feature_get(all[i], &val), 0);
	assert_int_equal(msr_index_list(all, 256), n);
	assert_int_equal(msr_feature_get(0x10, &val), -EINVAL);
	rig_cpuid();
	vcpu_setup_mce(R.v, 10 | 1 << 8);
	/* What user space is told to save it can read and write back. */
	for (u32 i = 0; i < n; i++) {
		val = 1;
		if (all[i] == 0x6e0)
			continue;
		if (all[i] >= 0x4b564d00 && all[i] < 0x4b564e00)
			continue;	/* some need a LAPIC */
		if (vcpu_get_msr(R.v, all[i], &val) || vcpu_set_msr(R.v, all[i], val))
			fail_msg("MSR %x", all[i]);
	}
}

struct row {
	u32 msr;
	u64 val;
	bool host_ok, guest_ok;
};

static bool guest_write(u32 msr, u64 val)
{
	return msr_hook_write(R.v->c, msr, val) == CPU_OK;
}

T(validity)
{
	static const struct row rows[] = {
		{ 0xc0000082, 0xffff800000000000, true, true },
		{ 0xc0000082, NONCANONICAL, false, false },
		{ 0xc0000100, NONCANONICAL, false, false },
		{ 0xc0000101, 0x7fffffffffff, true, true },
		{ 0xc0000102, NONCANONICAL, false, false },
		{ 0x175, NONCANONICAL, true, true },
		{ 0x277, 0x0007040600070406, true, true },
		{ 0x277, 0x02, false, false },
		{ 0x277, 0x08, false, false },
		{ 0x2ff, 0xc06, true, true },
		{ 0x2ff, 0x1000, false, false },
		{ 0x2ff, 2, false, false },
		{ 0x250, 0x0606060606060606, true, true },
		{ 0x250, 0x0606060606060602, false, false },
		{ 0x200, 0x100006, true, true },
		{ 0x200, 0x100, false, false },
		{ 0x201, 0xfff00800, true, true },
		{ 0x201, 0x400, false, false },
		{ 0xfe, 0x508, true, false },
		{ 0xfe, 1, false, false },
		{ 0xc0010015, BIT64(18) | BIT64(24), true, true },
		{ 0xc0010015, BIT64(3) | BIT64(6) | BIT64(8), true, true },
		{ 0xc0010015, BIT64(0), false, false },
		{ 0xc0011029, 2, true, true },
		{ 0xc0011029, 4, false, false },
		{ 0x34, 5, true, false },
		{ 0x8b, 0x123, true, true },
		{ 0x48, 1, true, true },
		{ 0x48, 6, true, true },
		{ 0x48, 8, false, false },
		{ 0x10a, 3, true, false },
		{ 0xc0000103, ~0ull, true, true },
		{ 0x4b564d05, 1, true, true },
		{ 0x4b564d05, 2, false, false },
		{ 0x4b564d03, 2, false, false },
		{ 0x4b564d02, 0x10, false, false },
		{ 0x12345678, 0, false, false },
		{ 0xc0000080, EFER_SCE | EFER_NX, true, true },
		{ 0xc0000080, BIT64(40), false, false },
		{ 0xc0000080, EFER_SVME, true, true },
		/* SVM (docs/kvm-svm.md 4.12): with SVME on, SVMDIS is refused */
		{ 0xc0010114, 0x10, false, false },
		{ 0xc0010114, 0x20, false, false },
		{ 0xc0010114, 0x8, true, true },
		{ 0xc0010115, ~0ull, true, true },
		{ 0xc0010117, 0x5000, true, true },
		{ 0xc0010117, 0x5001, true, false },
		{ 0xc0010117, BIT64(48), true, false },
		{ 0xc0000104, BIT64(39), true, true },
		{ 0xc0000104, BIT64(40), false, false },
		{ 0xc0000080, EFER_SCE, true, true },
		/* once SVM is disabled it stays so */
		{ 0xc0010114, 0x10, true, true },
	};

	rig_cpuid();
	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		bool host = !vcpu_set_msr(R.v, rows[i].msr, rows[i].val);
		bool guest = guest_write(rows[i].msr, rows[i].val);

		if (host != rows[i].host_ok || guest != rows[i].guest_ok)
			fail_msg("MSR %x value %llx: user space %d, guest %d", rows[i].msr,
				 (unsigned long long)rows[i].val, host, guest);
	}
	/* APM2 15.30.1: SVME must stay clear then. */
	assert_false(guest_write(0xc0000080, EFER_SCE | EFER_SVME));
	assert_true(guest_write(0xc0000080, EFER_SCE));
}

static bool guest_read(u32 msr, u64 *val)
{
	return msr_hook_read(R.v->c, msr, val) == CPU_OK;
}

/* SPEC_CTRL needs IBRS, ARCH_CAPABILITIES its bit; user space may always read both. */
T(speculation_msrs_follow_cpuid)
{
	static const struct {
		u32 msr, leaf;
	} rows[] = { { 0x48, 0x80000008 }, { 0x10a, 7 } };
	struct kvm_cpuid_entry2 e[256];
	u64 v;

	for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
		u32 n = 256;

		rig_cpuid();
		assert_int_equal(vcpu_get_msr(R.v, rows[i].msr, &v), 0);
		if (rows[i].msr == 0x10a)	/* enhanced IBRS: no retpolines, please */
			assert_true(v & BIT64(1));
		assert_true(guest_read(rows[i].msr, &v));
		assert_int_equal(cpuid_supported(e, &n), 0);
		for (u32 k = 0; k < n; k++)
			if (e[k].function == rows[i].leaf)
				e[k].ebx = e[k].edx = 0;
		assert_int_equal(vcpu_set_cpuid2(R.v, e, n), 0);
		assert_false(guest_read(rows[i].msr, &v));
		assert_int_equal(vcpu_get_msr(R.v, rows[i].msr, &v), 0);
		/* QEMU writes 0 there whatever the CPU model has. */
		assert_int_equal(vcpu_set_msr(R.v, rows[i].msr, 0), 0);
	}
}

T(faults_are_gp)
{
	u64 val;

	assert_int_equal(msr_hook_read(R.v->c, 0x12345678, &val), CPU_FAULT);
	assert_int_equal(R.v->c->fault.vector, EXC_GP);
	assert_true(R.v->c->fault.has_error);
	assert_int_equal(R.v->c->fault.error, 0);
}

T(filter)
{
	u64 val;

	R.cfg.msr_filter = true;
	R.deny_msrs = true;
	assert_int_equal(msr_hook_read(R.v->c, 0x10, &val), CPU_FAULT);
	R.cfg.user_space_msr_mask = KVM_MSR_EXIT_REASON_FILTER;
	assert_int_equal(msr_hook_write(R.v->c, 0x10, 7), CPU_USER);
	assert_int_equal(R.v->run->exit_reason, KVM_EXIT_X86_WRMSR);
	assert_int_equal(R.v->run->msr.reason, KVM_MSR_EXIT_REASON_FILTER);
	assert_int_equal(R.v->run->msr.data, 7);
	/* User space's own access is not filtered. */
	assert_int_equal(vcpu_get_msr(R.v, 0x10, &val), 0);
}

static u64 rd(u32 msr)
{
	u64 val = 0;

	assert_int_equal(vcpu_get_msr(R.v, msr, &val), 0);
	return val;
}

#define NEAR(a, b) assert_in_range((a) - (b), 0, 500000000)

T(tsc_and_adjust)
{
	rig_cpuid();
	/* The guest's write moves TSC_ADJUST; user space's does not. */
	u64 before = rd(0x10);

	assert_true(guest_write(0x3b, 1ull << 40));
	NEAR(rd(0x10), before + (1ull << 40));
	assert_int_equal(vcpu_set_msr(R.v, 0x3b, 0), 0);
	NEAR(rd(0x10), before + (1ull << 40));
	assert_true(guest_write(0x10, 1ull << 50));
	NEAR(rd(0x10), 1ull << 50);
	assert_true(rd(0x3b) != 0);
	assert_int_equal(vcpu_set_msr(R.v, 0x3b, 0), 0);
	assert_int_equal(vcpu_set_msr(R.v, 0x10, 1ull << 52), 0);
	NEAR(rd(0x10), 1ull << 52);
	assert_int_equal(rd(0x3b), 0);
}

T(tsc_writes_synchronise)
{
	u64 off, off2;

	vcpu_set_msr(R.v, 0x10, 1ull << 40);
	vcpu_get_tsc_offset(R.v, &off);
	/* What a second vCPU would be given a moment later. */
	vcpu_set_msr(R.v, 0x10, (1ull << 40) + 1000);
	vcpu_get_tsc_offset(R.v, &off2);
	assert_true(off == off2);
	vcpu_set_msr(R.v, 0x10, 0);
	vcpu_get_tsc_offset(R.v, &off2);
	assert_true(off == off2);
	vcpu_set_msr(R.v, 0x10, 1ull << 55);
	vcpu_get_tsc_offset(R.v, &off2);
	assert_true(off != off2);
}

T(tsc_scaling)
{
	u32 host = tsc_host_khz();

	assert_true(host > 100000);
	assert_int_equal(vcpu_set_tsc_khz(R.v, 0x7fffffff), -EINVAL);
	assert_int_equal(vcpu_set_tsc_khz(R.v, host / 2), 0);
	assert_int_equal(vcpu_get_tsc_khz(R.v), host / 2);
	assert_in_range(R.v->c->tsc_ratio, (1ull << 31) - 4096, (1ull << 31) + 4096);
	assert_int_equal(vcpu_set_tsc_khz(R.v, 0), 0);
	assert_true(R.v->c->tsc_ratio == 1ull << 32);
}

T(machine_check)
{
	struct kvm_x86_mce m = { .bank = 32, .status = 1ull << 63 };

	assert_int_equal(vcpu_setup_mce(R.v, 0), -EINVAL);
	assert_int_equal(vcpu_setup_mce(R.v, 33), -EINVAL);
	assert_int_equal(vcpu_setup_mce(R.v, 10 | 1ull << 40), -EINVAL);
	assert_int_equal(vcpu_set_mce(R.v, &m), -EINVAL);	/* a new vCPU has 32 banks */
	m.bank = 1;
	assert_int_equal(vcpu_setup_mce(R.v, 10 | 1 << 8), 0);
	assert_int_equal(rd(0x179), 10 | 1 << 8);
	assert_int_equal(rd(0x400), ~0ull);
	assert_int_equal(vcpu_set_mce(R.v, &m), 0);
	assert_true(rd(0x405) == 1ull << 63);
	assert_false(guest_write(0x405, 1));
	assert_true(guest_write(0x405, 0));
	assert_true(guest_write(0xc0010015, BIT64(18)));
	assert_true(guest_write(0x405, 1));
	assert_false(guest_write(0x400 + 4 * 10, 0));
}

/* The bits that say what is not there cannot be changed, EMON's change is ignored. */
T(misc_enable_rights)
{
	u64 reset = rd(0x1a0);

	rig_cpuid();
	assert_true(reset == (BIT64(11) | BIT64(12)));
	assert_true(guest_write(0x1a0, reset | 1));
	assert_true(rd(0x1a0) == (reset | 1));
	assert_false(guest_write(0x1a0, 1));
	assert_false(guest_write(0x1a0, BIT64(11) | 1));
	assert_true(guest_write(0x1a0, 0x400c50809 | reset | BIT64(7)));
	assert_true(rd(0x1a0) == (0x400c50809 | reset));
	assert_int_equal(vcpu_set_msr(R.v, 0x1a0, BIT64(7)), 0);
	assert_true(guest_write(0x1a0, 0));
	assert_true(rd(0x1a0) == BIT64(7));
}

/* An MCi_CTL is all or nothing, also for user space; old systems leave out one of two bits. */
T(mci_ctl_is_all_or_nothing)
{
	static const u64 good[] = { 0, ~0ull, ~BIT64(10), ~1ull, ~(BIT64(10) | 1) };
	static const u64 bad[] = { 1, 0xaaaaaaaaaaaaaaaa, ~BIT64(1), ~BIT64(63) };

	rig_cpuid();
	vcpu_setup_mce(R.v, 10 | 1 << 8);
	for (u32 i = 0; i < ARRAY_SIZE(good); i++) {
		assert_true(guest_write(0x408, good[i]));
		assert_true(rd(0x408) == good[i]);
		assert_int_equal(vcpu_set_msr(R.v, 0x408, good[i]), 0);
	}
	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(guest_write(0x408, bad[i]));
		assert_int_equal(vcpu_set_msr(R.v, 0x408, bad[i]), -EINVAL);
	}
}

/* The maker that CPUID names decides what some MSRs keep. */
static void set_vendor(const char *name)
{
	struct kvm_cpuid_entry2 e[256];
	u32 n = 256;

	assert_int_equal(cpuid_supported(e, &n), 0);
	for (u32 i = 0; i < n; i++) {
		if (e[i].function != 0 && e[i].function != 0x80000000)
			continue;
		memcpy(&e[i].ebx, name, 4);
		memcpy(&e[i].edx, name + 4, 4);
		memcpy(&e[i].ecx, name + 8, 4);
	}
	assert_int_equal(vcpu_set_cpuid2(R.v, e, n), 0);
}

T(what_the_maker_decides)
{
	const u64 addr = 0x123456789abc;

	set_vendor("AuthenticAMD");
	vcpu_setup_mce(R.v, 1);
	for (u32 msr = 0x175; msr <= 0x176; msr++) {
		assert_true(guest_write(msr, addr));
		assert_true(rd(msr) == (u32)addr);
		assert_int_equal(vcpu_set_msr(R.v, msr, NONCANONICAL | 5), 0);
		assert_true(rd(msr) == 5);
	}
	assert_true(guest_write(0xc0000103, addr));
	assert_true(rd(0xc0000103) == (u32)addr);
	assert_true(guest_write(0xc0010015, BIT64(18)));
	assert_true(guest_write(0x401, 1));
	set_vendor("GenuineIntel");
	for (u32 msr = 0x175; msr <= 0x176; msr++) {
		assert_true(guest_write(msr, addr));
		assert_true(rd(msr) == addr);
		assert_true(guest_write(msr, NONCANONICAL));
		assert_true(rd(msr) == 0xffff800000000000);
	}
	assert_false(guest_write(0xc0000103, addr));
	assert_int_equal(vcpu_set_msr(R.v, 0xc0000103, addr), -EINVAL);
	assert_true(guest_write(0xc0000103, 7));
	assert_false(guest_write(0x401, 1));	/* HWCR is AMD's */
}

/* What KVM tells as a feature MSR a new vCPU has as well, for old programs' sake; but not what
 * changes how the CPU works, and with the quirk off nothing. */
T(feature_msrs_at_creation)
{
	assert_true(rd(0x8b) == 0x01000065);
	assert_true(rd(0xce) == BIT64(31));
	assert_true(rd(0xc0011029) == 0);
	assert_int_equal(vcpu_set_msr(R.v, 0xc0011029, 2), 0);
	R.cfg.shared.disabled_quirks = QUIRK_STUFF_FEATURE_MSRS;
	msr_reset(R.v);
	assert_true(rd(0x8b) == 0);
	assert_true(rd(0xce) == 0);
}

/* Also where user space is the APIC: the rules are the CPU's (SDM3 figure 11-27). */
T(apic_base_transitions)
{
	const u64 base = 0xfee00100, en = BIT64(11), x2 = BIT64(10);

	rig_cpuid();
	assert_true(rd(0x1b) == (base | en));
	assert_false(guest_write(0x1b, base | x2));
	assert_true(guest_write(0x1b, base | en | x2));
	assert_false(guest_write(0x1b, base | en));
	assert_int_equal(vcpu_set_msr(R.v, 0x1b, base | en), 0);	/* user space may */
	assert_true(guest_write(0x1b, base));
	assert_false(guest_write(0x1b, base | en | x2));
	assert_true(guest_write(0x1b, base | en));
	assert_false(guest_write(0x1b, base | en | 1));
}

T(kvmclock_page)
{
	struct {
		u32 version, pad;
		u64 tsc, ns;
		u32 mul;
		s8 shift;
		u8 flags;
	} *t = (void *)(R.ram + 0x5000);
	u64 val = 0x5001;
	u32 *wall = (u32 *)(R.ram + 0x6000);
	u64 ns;

	assert_int_equal(vcpu_kvmclock_ctrl(R.v), -EINVAL);
	assert_int_equal(vcpu_set_msr(R.v, 0x4b564d01, val), 0);
	/* User space's write does not touch memory while the vCPU stands still. */
	assert_int_equal(t->version, 0);
	assert_true(atomic_load(&R.v->requests) & BIT64(VREQ_CLOCK_UPDATE));
	kvmclock_update(R.v);
	assert_int_equal(t->version & 1, 0);
	assert_true(t->version > 0);
	assert_int_equal(t->ns, 1000);
	/* One second of ticks is one second. */
	ns = (u64)tsc_host_khz() * 1000;
	ns = t->shift < 0 ? ns >> -t->shift : ns << t->shift;
	ns = (u64)(((u128)ns * t->mul) >> 32);
	assert_in_range(ns, 999999990, 1000000010);
	assert_int_equal(t->flags & 2, 0);
	assert_int_equal(vcpu_kvmclock_ctrl(R.v), 0);
	kvmclock_update(R.v);
	assert_int_equal(t->flags & 2, 2);
	/* The guest's own write does, at once. */
	t->version = 0;
	assert_true(guest_write(0x4b564d01, val));
	assert_true(t->version > 0);
	vcpu_set_msr(R.v, 0x4b564d00, 0x6000);
	assert_int_equal(wall[0], 2);
	assert_true(wall[1] > 1600000000);
}

T(enforced_features)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = { 1 } };

	assert_int_equal(vcpu_set_msr(R.v, 0x4b564d05, 1), 0);
	assert_int_equal(vcpu_enable_cap(R.v, &cap), 0);
	assert_int_equal(vcpu_set_msr(R.v, 0x4b564d05, 1), -EINVAL);
	rig_cpuid();
	assert_int_equal(vcpu_set_msr(R.v, 0x4b564d05, 1), 0);
	cap.flags = 1;
	assert_int_equal(vcpu_enable_cap(R.v, &cap), -EINVAL);
}

T_EACH(rig_setup, rig_teardown);
