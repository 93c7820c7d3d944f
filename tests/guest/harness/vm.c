/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/vm.c - life cycle of a test's VM and plain access to its state. */
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"
#include "tests/guest/harness/tables.h"
#include "tests/guest/harness/who.h"

enum { GUARD = 1 << 20 };

u32 vcpu_ioctl(struct guest_cpu *c, unsigned long req, void *arg, const char *what)
{
	int r = ioctl(c->fd, req, arg);

	if (r < 0)
		test_die("%s: %s", what, strerror(errno));
	return (u32)r;
}

struct guest_cpu *guest_add_cpu(struct guest *g)
{
	struct guest_cpu *c = &g->cpu[g->ncpu];
	int size = ioctl(g->sys, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (g->ncpu >= (int)ARRAY_SIZE(g->cpu) || size < 4096)
		test_die("no further vCPU (mmap size %d)", size);
	c->g = g;
	c->index = g->ncpu;
	c->fd = ioctl(g->vm, KVM_CREATE_VCPU, (unsigned long)c->index);
	if (c->fd < 0)
		test_die("KVM_CREATE_VCPU: %s", strerror(errno));
	c->run_size = (u32)size;
	c->run = mmap(NULL, c->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED)
		test_die("mmap of kvm_run: %s", strerror(errno));
	vcpu_ioctl(c, KVM_SET_CPUID2, g->cpuid, "KVM_SET_CPUID2");
	g->ncpu++;
	cpu_setup(c);
	return c;
}

static void enable_cap(struct guest *g, u32 cap, u64 arg)
{
	struct kvm_enable_cap e = { .cap = cap, .args = { arg } };

	if (ioctl(g->vm, KVM_ENABLE_CAP, &e))
		test_die("capability %u with %llu: %s", cap, (unsigned long long)arg,
			 strerror(errno));
}

struct guest *guest_new_flags(enum mode m, u32 flags)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct kvm_userspace_memory_region slot = { .memory_size = G_RAM_SIZE };
	void *p;

	if (!g)
		test_die("no memory");
	g->mode = m;
	g->irqchip = flags & GUEST_IRQCHIP;
	g->sys = kvm_node_open();
	if (g->sys < 0)
		test_die("no KVM: %s", strerror(-g->sys));
	g->vm = ioctl(g->sys, KVM_CREATE_VM, 0);
	if (g->vm < 0)
		test_die("KVM_CREATE_VM: %s", strerror(errno));
	/* Unmapped memory on both sides: an access outside the slot cannot hide. */
	p = mmap(NULL, G_RAM_SIZE + 2 * GUARD, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		test_die("mmap: %s", strerror(errno));
	g->ram_map = p;
	g->ram = (u8 *)p + GUARD;
	if (mprotect(g->ram, G_RAM_SIZE, PROT_READ | PROT_WRITE))
		test_die("mprotect: %s", strerror(errno));
	slot.userspace_addr = (u64)(uintptr_t)g->ram;
	if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &slot))
		test_die("KVM_SET_USER_MEMORY_REGION: %s", strerror(errno));
	/* Intel's real mode needs a task page; without meaning elsewhere. */
	if (ioctl(g->vm, KVM_SET_TSS_ADDR, 0xfffbd000ul))
		test_die("KVM_SET_TSS_ADDR: %s", strerror(errno));
	if (g->irqchip && ioctl(g->vm, KVM_CREATE_IRQCHIP, 0))
		test_die("KVM_CREATE_IRQCHIP: %s", strerror(errno));
	if (flags & GUEST_SPLIT)
		enable_cap(g, KVM_CAP_SPLIT_IRQCHIP, 24);
	if (flags >> 8)
		enable_cap(g, KVM_CAP_X2APIC_API, flags >> 8);
	g->cpuid = kvm_supported_cpuid(g->sys);
	if (!g->cpuid)
		test_die("KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
	tables_build(g);
	guest_add_cpu(g);
	return g;
}

void guest_free(struct guest *g)
{
	for (int i = 0; i < g->ncpu; i++) {
		munmap(g->cpu[i].run, g->cpu[i].run_size);
		close(g->cpu[i].fd);
	}
	close(g->vm);
	close(g->sys);
	munmap(g->ram_map, G_RAM_SIZE + 2 * GUARD);
	free(g->cpuid);
	free(g);
}

struct guest *guest_with_code(enum mode m, const void *p, u32 n)
{
	struct guest *g = guest_new(m);

	guest_write(g, G_CODE, p, n);
	return g;
}

void guest_write(struct guest *g, u64 gpa, const void *p, u32 n)
{
	memcpy(g->ram + gpa, p, n);
}

void guest_grow(struct guest *g, u32 bytes)
{
	static const u8 piece[] = {
		0x49, 0xff, 0xc2,				/* inc %r10 */
		0x4c, 0x01, 0x14, 0x25, 0, 0, 1, 0,		/* add %r10, G_DATA */
		0xeb, G_UNIT_BYTES - 13,
	};

	for (u32 at = 0; at < bytes; at += G_UNIT_BYTES)
		memcpy(g->ram + G_FREE + at, piece, sizeof(piece));
	g->ram[G_FREE + bytes] = 0xc3;
}

bool guest_has(struct guest *g, u32 leaf, int reg, int bit)
{
	for (u32 i = 0; i < g->cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &g->cpuid->entries[i];

		if (e->function == leaf && e->index == 0)
			return (&e->eax)[reg] >> bit & 1;
	}
	return false;
}

bool guest_is_amd(struct guest *g)
{
	for (u32 i = 0; i < g->cpuid->nent; i++)
		if (g->cpuid->entries[i].function == 0)
			return g->cpuid->entries[i].ebx == 0x68747541;	/* "Auth" */
	return false;
}

struct kvm_regs cpu_regs(struct guest_cpu *c)
{
	struct kvm_regs r;

	vcpu_ioctl(c, KVM_GET_REGS, &r, "KVM_GET_REGS");
	return r;
}

void cpu_set_regs(struct guest_cpu *c, const struct kvm_regs *r)
{
	struct kvm_regs copy = *r;

	vcpu_ioctl(c, KVM_SET_REGS, &copy, "KVM_SET_REGS");
}

struct kvm_sregs cpu_sregs(struct guest_cpu *c)
{
	struct kvm_sregs s;

	vcpu_ioctl(c, KVM_GET_SREGS, &s, "KVM_GET_SREGS");
	return s;
}

void cpu_set_sregs(struct guest_cpu *c, const struct kvm_sregs *s)
{
	struct kvm_sregs copy = *s;

	vcpu_ioctl(c, KVM_SET_SREGS, &copy, "KVM_SET_SREGS");
}

union one_msr {
	struct kvm_msrs head;
	u8 space[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

static struct kvm_msr_entry *msr_entry(union one_msr *m)
{
	return (struct kvm_msr_entry *)(void *)(m->space + sizeof(struct kvm_msrs));
}

u64 cpu_msr(struct guest_cpu *c, u32 msr)
{
	union one_msr m = { .head.nmsrs = 1 };

	msr_entry(&m)->index = msr;
	if (vcpu_ioctl(c, KVM_GET_MSRS, &m, "KVM_GET_MSRS") != 1)
		test_die("MSR %#x cannot be read", msr);
	return msr_entry(&m)->data;
}

void cpu_set_msr(struct guest_cpu *c, u32 msr, u64 v)
{
	union one_msr m = { .head.nmsrs = 1 };

	msr_entry(&m)->index = msr;
	msr_entry(&m)->data = v;
	if (vcpu_ioctl(c, KVM_SET_MSRS, &m, "KVM_SET_MSRS") != 1)
		test_die("MSR %#x cannot be written", msr);
}
