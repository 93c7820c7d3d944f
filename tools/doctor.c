/* SPDX-License-Identifier: MIT */
/*
 * tools/doctor.c - standin doctor: would the real /dev/kvm work here, and can
 * standin run. Looks only; opens the real node with --try alone.
 */
#include "tools/standin.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define LOW_TOP 0x80000000ul
#define LOW_NEED (64ul << 20)

static bool failed;

static void line(const char *verdict, const char *what, const char *detail)
{
	printf("  %-5s %-28s %s\n", verdict, what, detail);
}

static void need(bool ok, const char *what, const char *detail)
{
	line(ok ? "ok" : "FAIL", what, detail);
	failed |= !ok;
}

static void wish(bool ok, const char *what, const char *detail)
{
	line(ok ? "ok" : "warn", what, detail);
}

/* -- the real one -- */

static void real_try(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm;

	if (fd < 0) {
		line("no", "open", strerror(errno));
		return;
	}
	vm = ioctl(fd, KVM_CREATE_VM, 0);
	line(vm < 0 ? "no" : "ok", "KVM_CREATE_VM", vm < 0 ? strerror(errno) : "a VM can be made");
	if (vm >= 0)
		close(vm);
	close(fd);
}

static void real_kvm(bool try_it)
{
	static const char *const modules[] = { "kvm_intel", "kvm_amd", "kvm_pvm" };
	u32 a, b, c, d;
	struct stat st;
	char path[64];
	bool virt, module = false;

	printf("real /dev/kvm:\n");
	__cpuid(1, a, b, c, d);
	virt = c & BIT(5);	/* VMX */
	if (c & BIT(31))
		line("note", "this is a virtual machine", "nested virtualization must be on outside");
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		virt |= c & BIT(2);	/* SVM */
	line(virt ? "ok" : "no", "VT-x or AMD-V", virt ? "the CPU offers it" :
	     "the CPU offers neither");
	for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
		snprintf(path, sizeof(path), "/sys/module/%s", modules[i]);
		if (!access(path, F_OK)) {
			line("ok", modules[i], "module is loaded");
			module = true;
		}
	}
	if (!module)
		line("no", "kvm module", "none is loaded");
	if (stat("/dev/kvm", &st))
		line("no", "node", strerror(errno));
	else if (access("/dev/kvm", R_OK | W_OK))
		line("no", "node", "exists, but you may not read and write it");
	else
		line("ok", "node", "exists and you may use it");
	if (try_it)
		real_try();
}

/* -- ours -- */

static u64 xcr0(void)
{
	u32 a, d;

	__asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (u64)d << 32 | a;
}

static void cpu_features(void)
{
	u32 a, b, c, d, a7 = 0, b7 = 0, c7 = 0, d7 = 0;
	char missing[128] = "";
	bool os_avx;

	__cpuid(1, a, b, c, d);
	__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7);
	os_avx = (c & bit_OSXSAVE) && (xcr0() & 6) == 6;
#define WANT(cond, name) \
	do { \
		if (!(cond)) \
			strcat(missing, " " name); \
	} while (0)
	WANT(c & bit_CMPXCHG16B, "CMPXCHG16B");
	WANT(c & bit_SSE4_2, "SSE4.2");
	WANT(c & bit_XSAVE, "XSAVE");
	WANT((c & bit_AVX) && os_avx, "AVX");
	WANT((b7 & bit_AVX2) && os_avx, "AVX2");
	WANT(b7 & bit_BMI, "BMI1");
	WANT(b7 & bit_BMI2, "BMI2");
#undef WANT
	need(!*missing, "CPU features", *missing ? missing : "x86-64-v3 and XSAVE");
}

static bool low_memory(void)
{
	for (u64 at = 0x10000; at + LOW_NEED <= LOW_TOP; at += 1ul << 20) {
		void *want = (void *)(uintptr_t)at;
		void *p = mmap(want, LOW_NEED, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE,
			       -1, 0);

		if (p == MAP_FAILED)
			continue;
		munmap(p, LOW_NEED);
		if (p == want)
			return true;
	}
	return false;
}

/* The code cache: one memfd, mapped writable and mapped executable. */
static void code_cache(void)
{
	int fd = memfd_create("standin-doctor", MFD_CLOEXEC);
	void *w = MAP_FAILED, *x = MAP_FAILED;

	need(fd >= 0, "memfd_create", fd >= 0 ? "works" : strerror(errno));
	if (fd < 0)
		return;
	if (!ftruncate(fd, 4096)) {
		w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		x = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	}
	need(w != MAP_FAILED && x != MAP_FAILED, "executable memory",
	     x != MAP_FAILED ? "a memfd may be mapped executable" : strerror(errno));
	if (w != MAP_FAILED)
		munmap(w, 4096);
	if (x != MAP_FAILED)
		munmap(x, 4096);
	close(fd);
}

static bool uffd(void)
{
	long fd = syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);

	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

/* Asked for and given back at once: this is the only way to learn it. */
static void cpuid_faulting(void)
{
	bool can = !syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);

	if (can)
		syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
	wish(can, "CPUID faulting", can ?
	     "programs that look for VT-x or AMD-V themselves find it" :
	     "not here: programs that look for VT-x or AMD-V themselves may refuse");
}

static long read_number(const char *path)
{
	FILE *f = fopen(path, "re");
	long v = -1;

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &v) != 1)
		v = -1;
	fclose(f);
	return v;
}

static void limits(void)
{
	struct rlimit rl;
	char text[64];
	long v;

	if (!getrlimit(RLIMIT_AS, &rl))
		wish(rl.rlim_cur == RLIM_INFINITY, "RLIMIT_AS", rl.rlim_cur == RLIM_INFINITY ?
		     "unlimited" : "address space is limited: big guests will not fit");
	v = read_number("/proc/sys/vm/max_map_count");
	snprintf(text, sizeof(text), "%ld", v);
	wish(v < 0 || v >= 65530, "vm.max_map_count", text);
	v = read_number("/proc/sys/vm/overcommit_memory");
	wish(v != 2, "vm.overcommit_memory", v == 2 ?
	     "2: guest memory counts in full" : "memory is committed as it is used");
}

static void preload(void)
{
	const char *p = preload_path();

	need(p != NULL, "preload object", p ? p : "missing");
}

enum { DOCTOR_TRY = CLI_LONG(0) };
static const struct cli_option doctor_options[] = {
	{ DOCTOR_TRY, "try", NULL, "open /dev/kvm and create a VM, if there is one" },
	{ 0 },
};

static int doctor_fn(const struct verb *v, int argc, char **argv)
{
	bool try_it = false;
	struct cli c;
	int id;

	cli_begin(&c, v, argc, argv);
	while ((id = cli_next(&c)) > 0)
		try_it |= id == DOCTOR_TRY;
	if (id != CLI_END)
		return cli_status(id);
	if (c.at < argc)
		return cli_error(v, "'%s' is not expected", argv[c.at]);
	real_kvm(try_it);
	printf("standin:\n");
	preload();
	cpu_features();
	code_cache();
	need(low_memory(), "address space below 2 GiB", "64 MiB in one piece");
	wish(uffd(), "userfaultfd", "present; not used yet");
	cpuid_faulting();
	limits();
	printf("%s\n", failed ? "standin cannot run here." : "standin can run here.");
	return failed ? 1 : 0;
}

const struct verb verb_doctor = {
	.name = "doctor", .args = "[OPTION...]", .what = "can this host run guests, and why not",
	.fn = doctor_fn, .options = doctor_options,
	.more = "Exit status: 0 standin can run here, 1 it cannot, 2 wrong usage.\n",
	.example = "  standin doctor\n",
};
