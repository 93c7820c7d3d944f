/* SPDX-License-Identifier: MIT */
/* tests/abi/machine.c - the little machine the rules run on. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>

#include "tests/abi/abi.h"

struct machine m;

int node(void)
{
	const char *path = getenv("KVM_NODE");

	if (!path)
		path = getenv("STANDIN_NODE");
	/* A real kernel on request only, or where standin answers for it. */
	if (!path && dlsym(RTLD_DEFAULT, "standin_preload_version"))
		path = "/dev/kvm";
	if (!path) {
		errno = ENOENT;
		return -1;
	}
	return open(path, O_RDWR | O_CLOEXEC);
}

int new_vm(void)
{
	int sys = node(), vm;

	MUST(sys >= 0);
	vm = ioctl(sys, KVM_CREATE_VM, 0);
	MUST(vm >= 0);
	close(sys);
	return vm;
}

struct kvm_run *map_run(int cpu)
{
	void *p = mmap(NULL, (size_t)ioctl(m.sys, KVM_GET_VCPU_MMAP_SIZE, 0),
		       PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);

	MUST(p != MAP_FAILED);
	return p;
}

void machine(int flags)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	m.sys = node();
	MUST(m.sys >= 0);
	m.vm = ioctl(m.sys, KVM_CREATE_VM, 0);
	MUST(m.vm >= 0);
	m.cpu = -1;
	MUST(!ioctl(m.vm, KVM_SET_TSS_ADDR, 0xfffbd000ul));
	if (flags & M_IRQCHIP)
		MUST(!ioctl(m.vm, KVM_CREATE_IRQCHIP, 0));
	if (flags & M_SPLIT)
		MUST(!ioctl(m.vm, KVM_ENABLE_CAP, &split));
	if (!(flags & M_NO_RAM)) {
		m.ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		MUST(m.ram != MAP_FAILED);
		MUST(!slot(m.vm, 0, 0, 0, RAM, m.ram));
	}
	if (flags & M_NO_CPU)
		return;
	m.cpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
	MUST(m.cpu >= 0);
	m.run = map_run(m.cpu);
	if (flags & M_CPUID)
		MUST(!set_cpuid(m.cpu));
}

void load(const void *code, size_t n)
{
	struct kvm_regs r = { .rip = CODE, .rflags = 2, .rsp = 0x8000 };
	struct kvm_sregs s = sregs();

	memcpy(m.ram + CODE, code, n);
	s.cs.base = s.cs.selector = 0;
	MUST(!ioctl(m.cpu, KVM_SET_SREGS, &s));
	set_regs(&r);
}

long run(void)
{
	long r = done(ioctl(m.cpu, KVM_RUN, 0));

	return r ? r : (long)m.run->exit_reason;
}

struct kvm_regs regs(void)
{
	struct kvm_regs r;

	MUST(!ioctl(m.cpu, KVM_GET_REGS, &r));
	return r;
}

void set_regs(const struct kvm_regs *r)
{
	MUST(!ioctl(m.cpu, KVM_SET_REGS, r));
}

struct kvm_sregs sregs(void)
{
	struct kvm_sregs s;

	MUST(!ioctl(m.cpu, KVM_GET_SREGS, &s));
	return s;
}

int slot(int vm, u32 id, u32 flags, u64 gpa, u64 size, void *hva)
{
	struct kvm_userspace_memory_region r = {
		.slot = id, .flags = flags, .guest_phys_addr = gpa, .memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r);
}

int enable4(int fd, u32 cap, u32 flags, u64 arg)
{
	struct kvm_enable_cap c = { .cap = cap, .flags = flags, .args = { arg } };

	return ioctl(fd, KVM_ENABLE_CAP, &c);
}

int enable(int fd, u32 cap, u64 arg)
{
	return enable4(fd, cap, 0, arg);
}

long cap(int fd, unsigned long nr)
{
	return done(ioctl(fd, KVM_CHECK_EXTENSION, nr));
}

struct one_msr {
	struct kvm_msrs h;
	struct kvm_msr_entry e;
};

int get_msr(int cpu, u32 index, u64 *val)
{
	struct one_msr o = { .h.nmsrs = 1, .e.index = index };
	int r = ioctl(cpu, KVM_GET_MSRS, &o);

	*val = o.e.data;
	return r;
}

int set_msr(int cpu, u32 index, u64 val)
{
	struct one_msr o = { .h.nmsrs = 1, .e = { .index = index, .data = val } };

	return ioctl(cpu, KVM_SET_MSRS, &o);
}

static struct kvm_cpuid2 *supported(void)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + 256 * sizeof(c->entries[0]));

	MUST(c);
	c->nent = 256;
	MUST(!ioctl(m.sys, KVM_GET_SUPPORTED_CPUID, c));
	return c;
}

int set_cpuid(int cpu)
{
	struct kvm_cpuid2 *c = supported();
	int r = ioctl(cpu, KVM_SET_CPUID2, c);

	free(c);
	return r;
}

bool is_amd_guest(void)
{
	struct kvm_cpuid2 *c = supported();
	bool amd = false;

	for (u32 i = 0; i < c->nent; i++)
		if (!c->entries[i].function)
			amd = c->entries[i].ebx == 0x68747541;
	free(c);
	return amd;
}

/* Page tables at 0x10000: 2 MiB pages, the first GiB. */
int enter64(void)
{
	u64 *pml4 = (u64 *)(void *)(m.ram + 0x10000), *pdpt = pml4 + 512, *pd = pdpt + 512;
	struct kvm_sregs s = sregs();

	pml4[0] = 0x11003;
	pdpt[0] = 0x12003;
	for (u64 i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x83;
	s.cr3 = 0x10000;
	s.cr4 |= 0x620;			/* PAE, OSFXSR, OSXMMEXCPT */
	s.cr0 = 0x80000033;
	s.efer |= 0x500;
	s.cs = (struct kvm_segment){ .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1,
				     .g = 1,
				     .limit = 0xffffffff };
	s.ds = s.es = s.ss = s.fs = s.gs = (struct kvm_segment){
		.selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
		.limit = 0xffffffff };
	return ioctl(m.cpu, KVM_SET_SREGS, &s);
}
