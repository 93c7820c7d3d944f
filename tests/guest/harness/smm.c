/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/smm.c - see smm.h. */
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "tests/guest/harness/smm.h"

#define MSR_SMBASE 0x9e

static void set_slot(struct smm *m, u32 slot, u32 flags, u64 gpa, u64 size, u8 *at)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (u64)(uintptr_t)at,
	};

	if (ioctl(m->g->vm, KVM_SET_USER_MEMORY_REGION, &r))
		test_die("slot %#x at %#llx: %s", slot, (unsigned long long)gpa, strerror(errno));
}

void smm_slot(struct smm *m, u32 slot, u64 gpa, u64 size, u8 *at)
{
	set_slot(m, 1 << 16 | slot, 0, gpa, size, at);
}

void smm_log(struct smm *m, bool on)
{
	u32 flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0;

	set_slot(m, 0, flags, 0, G_RAM_SIZE, m->g->ram);
	set_slot(m, 1 << 16, flags, 0, G_RAM_SIZE, m->g->ram);
}

struct smm smm_attach(struct guest *g)
{
	struct smm m = { .g = g, .base = G_SMBASE };

	if (ioctl(m.g->sys, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM) <= 0)
		test_skip("no SMM");
	m.c = cpu0(m.g);
	m.smram = mmap(NULL, SMRAM_ALL, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m.smram == MAP_FAILED)
		test_die("mmap: %s", strerror(errno));
	smm_slot(&m, 0, 0, G_RAM_SIZE, m.g->ram);
	smm_slot(&m, 1, G_SMBASE, SMRAM_ALL, m.smram);
	cpu_set_msr(m.c, MSR_SMBASE, G_SMBASE);
	return m;
}

struct smm smm_new_flags(enum mode mode, u32 flags)
{
	return smm_attach(guest_new_flags(mode, flags));
}

struct smm smm_with_code(enum mode mode, const u8 *code, u32 n, const u8 *handler, u32 hn)
{
	struct smm m = smm_new(mode);

	guest_write(m.g, G_CODE, code, n);
	memcpy(m.smram + 0x8000, handler, hn);
	return m;
}

void smm_free(struct smm *m)
{
	guest_free(m->g);
	munmap(m->smram, SMRAM_ALL);
}

void smm_move(struct smm *m, u64 base)
{
	smm_slot(m, 0, 0, 0, NULL);
	smm_slot(m, 1, base, SMRAM_ALL, m->smram);
	cpu_set_msr(m->c, MSR_SMBASE, base);
	m->base = base;
}

void smm_smi(struct guest_cpu *c)
{
	vcpu_ioctl(c, KVM_SMI, NULL, "KVM_SMI");
}

struct kvm_vcpu_events smm_events(struct guest_cpu *c)
{
	struct kvm_vcpu_events e;

	vcpu_ioctl(c, KVM_GET_VCPU_EVENTS, &e, "KVM_GET_VCPU_EVENTS");
	return e;
}

void smm_cpuid_clear(struct smm *m, u32 leaf, int reg, int bit)
{
	struct kvm_cpuid2 *k = m->g->cpuid;

	for (u32 i = 0; i < k->nent; i++)
		if (k->entries[i].function == leaf)
			(&k->entries[i].eax)[reg] &= ~(1u << bit);
	vcpu_ioctl(m->c, KVM_SET_CPUID2, k, "KVM_SET_CPUID2");
}

u64 smm_get(const struct smm *m, u32 at, u32 bytes)
{
	u64 v = 0;

	memcpy(&v, m->smram + at, bytes);
	return v;
}

void smm_put(struct smm *m, u32 at, u32 bytes, u64 v)
{
	memcpy(m->smram + at, &v, bytes);
}
