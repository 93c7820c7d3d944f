/* SPDX-License-Identifier: MIT */
/*
 * shim/params.c - the parameters of the kernel modules kvm and kvm_amd.
 *
 * Programs read them below /sys/module to learn what KVM does here; KVM's own selftests
 * skip themselves when force_emulation_prefix cannot be read. The machine's own modules,
 * if it has any, say nothing about us, so these files are answered from a table.
 */
#include "shim/shim.h"

#include <string.h>

#include "abi/abi.h"

#define ROOT "/sys/module/"

/* X(module/parameters/name, contents) */
#define PARAMS(X) \
	X("kvm/parameters/eager_page_split", "N\n") \
	X("kvm/parameters/enable_pmu", "Y\n") \
	X("kvm/parameters/enable_vmware_backdoor", "N\n") \
	X("kvm/parameters/force_emulation_prefix", "0\n") \
	X("kvm/parameters/halt_poll_ns", number(abi_halt_poll_ns())) \
	X("kvm/parameters/halt_poll_ns_grow", "2\n") \
	X("kvm/parameters/halt_poll_ns_grow_start", "10000\n") \
	X("kvm/parameters/halt_poll_ns_shrink", "2\n") \
	X("kvm/parameters/ignore_msrs", "N\n") \
	X("kvm/parameters/kvmclock_periodic_sync", "Y\n") \
	X("kvm/parameters/nx_huge_pages", "never\n") \
	X("kvm/parameters/report_ignored_msrs", "Y\n") \
	X("kvm/parameters/tdp_mmu", "N\n") \
	X("kvm_amd/parameters/avic", abi_avic() ? "Y\n" : "N\n") \
	X("kvm_amd/parameters/lbrv", "1\n") \
	X("kvm_amd/parameters/nested", "1\n") \
	X("kvm_amd/parameters/npt", "Y\n") \
	X("kvm_amd/parameters/nrips", "1\n") \
	X("kvm_amd/parameters/sev", "N\n") \
	X("kvm_amd/parameters/sev_es", "N\n") \
	X("kvm_amd/parameters/vgif", "1\n") \
	X("kvm_amd/parameters/vls", "1\n") \
	X("kvm_amd/parameters/vnmi", "Y\n") \
	/* Programs go by the host's vendor: the same answer about paging on an Intel host. */ \
	X("kvm_intel/parameters/ept", "Y\n")

/* Until the thread asks for the next one. */
static const char *number(u32 n)
{
	static _Thread_local char text[16];

	snprintf(text, sizeof(text), "%u\n", n);
	return text;
}

static const char *text_of(const char *path)
{
#define X(name, text) \
	if (!strcmp(path, ROOT name)) \
		return text;
	PARAMS(X)
#undef X
	return NULL;
}

static int open_text(const char *text)
{
	size_t n = strlen(text);
	int fd = memfd_create("kvm-parameter", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (pwrite(fd, text, n, 0) != (ssize_t)n ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)) {
		close(fd);
		return -EIO;
	}
	return fd;
}

int shim_open_param(const char *path, int flags)
{
	const char *text;

	if (strncmp(path, ROOT "kvm", sizeof(ROOT "kvm") - 1))
		return -ENOSYS;
	text = text_of(path);
	if (!text)
		return -ENOSYS;
	return (flags & O_ACCMODE) == O_RDONLY ? open_text(text) : -EACCES;
}
