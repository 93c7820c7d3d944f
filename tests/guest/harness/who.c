/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/who.c - which KVM a test talks to. */
#include "tests/guest/harness/who.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A real /dev/kvm is opened on request only: fuzzers and rules are rough with kernels. */
int kvm_node_open(void)
{
	const char *node = getenv("KVM_NODE");
	int fd;

	if (!node && dlsym(RTLD_DEFAULT, "standin_preload_version"))
		node = "/dev/kvm";
	if (!node) {
		fprintf(stderr, "set KVM_NODE to the node to be tested\n");
		return -ENOENT;
	}
	fd = open(node, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

struct kvm_cpuid2 *kvm_supported_cpuid(int sys)
{
	for (__u32 n = 64; n <= 4096; n *= 2) {
		struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + n * sizeof(c->entries[0]));

		if (!c)
			return NULL;
		c->nent = n;
		if (!ioctl(sys, KVM_GET_SUPPORTED_CPUID, c))
			return c;
		free(c);
		if (errno != E2BIG)
			return NULL;
	}
	return NULL;
}

int who_answers(FILE *f)
{
	int sys = kvm_node_open();
	struct kvm_cpuid2 *c;
	char vendor[13] = "", model[49] = "", pv[13] = "";

	if (sys < 0) {
		fprintf(f, "no KVM: %s\n", strerror(-sys));
		return 1;
	}
	c = kvm_supported_cpuid(sys);
	for (__u32 i = 0; c && i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];

		if (e->function == 0) {
			memcpy(vendor, &e->ebx, 4);
			memcpy(vendor + 4, &e->edx, 4);
			memcpy(vendor + 8, &e->ecx, 4);
		} else if (e->function >= 0x80000002 && e->function <= 0x80000004) {
			memcpy(model + 16 * (e->function - 0x80000002), &e->eax, 16);
		} else if (e->function == 0x40000000) {
			memcpy(pv, &e->ebx, 12);
		}
	}
	fprintf(f, "api %d, vendor \"%s\", model \"%s\", hypervisor \"%s\"\n",
		ioctl(sys, KVM_GET_API_VERSION, 0), vendor, model, pv);
	free(c);
	close(sys);
	return 0;
}
