/* SPDX-License-Identifier: MIT */
/*
 * tests/door/novdso.c - a process without a vDSO, as valgrind leaves it: the engine starts, and
 * knows the time.
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static int must(int r, const char *what)
{
	if (r < 0) {
		printf("novdso: %s: %s\n", what, strerror(errno));
		exit(1);
	}
	return r;
}

int main(void)
{
	const char *node = getenv("STANDIN_NODE");
	unsigned long from, to, gone[4][2];
	struct kvm_clock_data one, two;
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	int n = 0, sys, vm, vcpu;

	while (maps && fgets(line, sizeof(line), maps))
		if ((strstr(line, "[vdso]") || strstr(line, "[vvar")) && n < 4 &&
		    sscanf(line, "%lx-%lx", &from, &to) == 2) {
			gone[n][0] = from;
			gone[n++][1] = to;
		}
	if (!n) {
		printf("novdso: there is none\n");
		return 1;
	}
	for (int i = 0; i < n; i++)
		must(munmap((void *)gone[i][0], gone[i][1] - gone[i][0]), "munmap");
	sys = must(open(node ? node : "/dev/kvm", O_RDWR), "open");
	vm = must(ioctl(sys, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	must(ioctl(vm, KVM_GET_CLOCK, &one), "KVM_GET_CLOCK");
	usleep(1000);
	must(ioctl(vm, KVM_GET_CLOCK, &two), "KVM_GET_CLOCK");
	printf("novdso: %s\n",
	       two.clock > one.clock && vcpu > vm ? "ok" : "the clock stands still");
	return 0;
}
