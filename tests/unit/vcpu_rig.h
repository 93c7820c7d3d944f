/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/vcpu_rig.h - one vCPU with 1 MiB of memory at guest-physical 0, the real
 * engine, and a VM that records what it is asked. Included by one test program each.
 */
#ifndef VCPU_RIG_H
#define VCPU_RIG_H

#include "tests/unit/memory.h"

#include <unistd.h>

#include "mmu/mmu.h"
#include "vcpu/cpuid.h"
#include "vcpu/vcpu_priv.h"

#define RAM_SIZE (1u << 20)
#define DEVICE_GPA 0xd0000000ull	/* the VM takes reads and writes here */

static struct {
	struct vcpu *v;
	struct vcpu_vm_config cfg;
	struct hyperv_vm hv;
	struct vcpu_tsc_sync sync;
	struct phys phys;
	struct phys_slot slot;
	u8 *ram;
	int fd;
	u32 device_reads, device_writes;
	u64 device_value;
	bool deny_msrs;
} R;

static int rig_mmio_read(void *vm, struct vcpu *v, u64 gpa, void *buf, u32 len)
{
	if (gpa >> 12 != DEVICE_GPA >> 12)
		return -ENOENT;
	R.device_reads++;
	memcpy(buf, &R.device_value, len);
	return 0;
}

static int rig_mmio_write(void *vm, struct vcpu *v, u64 gpa, const void *buf, u32 len)
{
	if (gpa >> 12 != DEVICE_GPA >> 12)
		return -ENOENT;
	R.device_writes++;
	R.device_value = 0;
	memcpy(&R.device_value, buf, len);
	return 0;
}

static int rig_pio_read(void *vm, struct vcpu *v, u16 port, void *buf, u32 size)
{
	if (port != 0x71)
		return -ENOENT;
	memset(buf, 0x5a, size);
	return 0;
}

static int rig_pio_write(void *vm, struct vcpu *v, u16 port, const void *buf, u32 size)
{
	if (port != 0x70)
		return -ENOENT;
	R.device_writes++;
	return 0;
}

static u64 rig_clock(void *vm)
{
	return 1000;
}

static bool rig_msr_allowed(void *vm, u32 msr, bool write)
{
	return !R.deny_msrs;
}

static const struct vcpu_vm_ops rig_ops = {
	.mmio_read = rig_mmio_read, .mmio_write = rig_mmio_write,
	.pio_read = rig_pio_read, .pio_write = rig_pio_write,
	.clock_ns = rig_clock, .msr_allowed = rig_msr_allowed,
};

static void rig_code_page(void *o, u32 as, u64 gpa, u32 by)
{
}
static void rig_code_written(void *o, u64 gpa, u32 len, u32 by)
{
}
static const struct phys_ops rig_phys_ops = {
	.code_page = rig_code_page, .code_written = rig_code_written,
};

static int rig_setup(void **state)
{
	memset(&R, 0, sizeof(R));
	R.slot = memory_slot(0, RAM_SIZE, 0);
	R.ram = R.slot.hva;
	R.fd = memfd_create("run", 0);
	if (R.fd < 0 || ftruncate(R.fd, 3 * 4096))
		return -1;
	R.phys.ops = &rig_phys_ops;
	atomic_store(&R.phys.map, phys_map_new(&R.slot, 1));
	R.cfg.tsc_sync = &R.sync;
	hyperv_vm_init(&R.hv);
	R.cfg.hv = &R.hv;
	return vcpu_create(&R.v, 0, 0, R.fd, &R, &rig_ops, &R.cfg, &R.phys, NULL);
}

static int rig_teardown(void **state)
{
	vcpu_destroy(R.v);
	hyperv_vm_destroy(&R.hv);
	phys_map_free(atomic_load(&R.phys.map));
	memory_free(&R.slot);
	close(R.fd);
	return 0;
}

/* Real-mode code at 0:1000h, stack at 0:8000h. */
static inline void rig_code(const void *code, u32 len)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = 0x1000, .rsp = 0x8000, .rflags = 2 };

	memcpy(R.ram + 0x1000, code, len);
	vcpu_get_sregs(R.v, &s);
	s.cs.base = 0;
	s.cs.selector = 0;
	assert_int_equal(vcpu_set_sregs(R.v, &s), 0);
	assert_int_equal(vcpu_set_regs(R.v, &r), 0);
}

/* All CPUID we have. */
static inline void rig_cpuid(void)
{
	struct kvm_cpuid_entry2 e[256];
	u32 n = 256;

	assert_int_equal(cpuid_supported(e, &n), 0);
	assert_int_equal(vcpu_set_cpuid2(R.v, e, n), 0);
}

/* Flat 32-bit protected mode without paging, code at 1000h. */
static inline void rig_code32(const void *code, u32 len)
{
	struct kvm_segment cs = { .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1,
				  .db = 1, .s = 1, .g = 1 };
	struct kvm_sregs s;

	rig_code(code, len);
	vcpu_get_sregs(R.v, &s);
	s.cs = cs;
	cs.type = 3;
	cs.selector = 16;
	s.ds = s.es = s.fs = s.gs = s.ss = cs;
	s.cr0 |= 1;
	assert_int_equal(vcpu_set_sregs(R.v, &s), 0);
}

static inline u64 rig_rip(void)
{
	struct kvm_regs r;

	vcpu_get_regs(R.v, &r);
	return r.rip;
}

#endif
