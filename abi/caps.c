/* SPDX-License-Identifier: MIT */
/* abi/caps.c - KVM_CHECK_EXTENSION from the table in caps.h. */
#include "abi/caps.h"

#include <unistd.h>

#include "abi/abi.h"
#include "vm/vm.h"

static int cap_nr_vcpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > VM_MAX_VCPUS ? VM_MAX_VCPUS : (int)n;
}

int cap_check(struct vm *vm, unsigned long nr)
{
	switch (nr) {
#define X(name, number, value) \
	case number: \
		return value;
		KVM_CAPS(X)
#undef X
	}
	return 0;
}

const char *cap_name(unsigned long nr)
{
	switch (nr) {
#define X(name, number, value) \
	case number: \
		return #name;
		KVM_CAPS(X)
#undef X
	}
	return NULL;
}
