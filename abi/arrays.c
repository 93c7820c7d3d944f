/* SPDX-License-Identifier: MIT */
/* abi/arrays.c - see arrays.h. */
#include "abi/arrays.h"

#include <errno.h>
#include <linux/kvm.h>

#include "base/user.h"

long msrs_io(void *user, msr_fn *fn, void *o, bool writeback)
{
	struct kvm_msr_entry e[MSR_IO_MAX];
	struct kvm_msrs hdr;
	u8 *array = (u8 *)user + sizeof(hdr);
	u32 i;

	if (user_get(&hdr, user, sizeof(hdr)))
		return -EFAULT;
	if (hdr.nmsrs >= MSR_IO_MAX)
		return -E2BIG;
	if (user_get(e, array, hdr.nmsrs * sizeof(e[0])))
		return -EFAULT;
	for (i = 0; i < hdr.nmsrs; i++) {
		u64 v = e[i].data;

		if (fn(o, e[i].index, &v))
			break;
		e[i].data = v;
	}
	if (writeback && user_put(array, e, hdr.nmsrs * sizeof(e[0])))
		return -EFAULT;
	return i;
}

long cpuid_put(void *user, struct kvm_cpuid2 *hdr, const struct kvm_cpuid_entry2 *e, u32 n)
{
	hdr->nent = n;
	if (user_put((u8 *)user + sizeof(*hdr), e, n * sizeof(*e)))
		return -EFAULT;
	return user_put(user, hdr, sizeof(*hdr));
}
