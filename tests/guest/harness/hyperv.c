/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/hyperv.c - a vCPU that shows Hyper-V's interface. */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

void cpu_hyperv(struct guest_cpu *c, void (*change)(struct kvm_cpuid_entry2 *e))
{
	struct kvm_cpuid2 *all = calloc(1, sizeof(*all) + 256 * sizeof(all->entries[0]));
	struct kvm_cpuid2 *hv = calloc(1, sizeof(*hv) + 32 * sizeof(hv->entries[0]));
	u32 n = 0;

	hv->nent = 32;
	if (ioctl(c->fd, KVM_GET_SUPPORTED_HV_CPUID, hv))
		test_skip("no Hyper-V: %s", strerror(errno));
	for (u32 i = 0; i < c->g->cpuid->nent; i++)
		if (c->g->cpuid->entries[i].function >> 8 != 0x400000)
			all->entries[n++] = c->g->cpuid->entries[i];
	for (u32 i = 0; i < hv->nent; i++) {
		all->entries[n] = hv->entries[i];
		if (change)
			change(&all->entries[n]);
		n++;
	}
	all->nent = n;
	if (ioctl(c->fd, KVM_SET_CPUID2, all))
		test_die("KVM_SET_CPUID2: %s", strerror(errno));
	free(all);
	free(hv);
}
