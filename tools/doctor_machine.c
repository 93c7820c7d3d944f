/* SPDX-License-Identifier: MIT */
/* tools/doctor_machine.c - what standin needs of the machine, and what may stand in its way. */
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/doctor.h"

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#define LOW_TOP 0x80000000ul
#define LOW_NEED (64ul << 20)

/* The first line of a small file, without its end. False: there is none. */
static bool read_line(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	if (fd >= 0)
		close(fd);
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return n > 0;
}

/* NAME's value in a file of lines "NAME<separator>value". */
static bool read_field(const char *path, const char *name, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	size_t n = strlen(name);
	bool found = false;
	char line[4096];

	while (f && !found && fgets(line, sizeof(line), f)) {
		const char *p = line + n;

		if (strncmp(line, name, n) || !strchr(" \t:=", *p))
			continue;
		p += strspn(p, " \t:=\"");
		snprintf(buf, size, "%.*s", (int)strcspn(p, "\"\n"), p);
		found = true;
	}
	if (f)
		fclose(f);
	return found;
}

/* -- the processor -- */

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
	if (*missing)
		fact(FACT_FAIL, SECTION_STANDIN, "CPU features", "missing:%s", missing);
	else
		fact(FACT_OK, SECTION_STANDIN, "CPU features", "x86-64-v3 and XSAVE");
}

/* Asked for and given back at once: this is the only way to learn it. */
static void cpuid_faulting(void)
{
	bool can = !syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);

	if (can)
		syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
	fact(can ? FACT_OK : FACT_WARN, SECTION_STANDIN, "CPUID faulting", "%s",
	     can ? "programs that look for VT-x or AMD-V themselves find it"
		 : "not here: CPUID is answered in the text of programs that are not too big "
		   "(docs/doors.md)");
}

/* May a process of ours be traced, and stopped before its system calls, as direct/stub.c does? */
static void direct_execution(void)
{
	int pid = fork(), st = 0, err = 0;

	if (!pid) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(errno);
		raise(SIGSTOP);
		for (;;)
			syscall(SYS_getppid);
	}
	if (pid < 0 || waitpid(pid, &st, __WALL) != pid)
		err = errno;
	else if (WIFEXITED(st))
		err = WEXITSTATUS(st);
	else if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
			(void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)) ||
		 ptrace(PTRACE_SYSEMU, pid, NULL, NULL) || waitpid(pid, &st, __WALL) != pid)
		err = errno;
	else if (!WIFSTOPPED(st) || WSTOPSIG(st) != (SIGTRAP | 0x80))
		err = ENOSYS;
	if (pid > 0 && !WIFEXITED(st)) {
		kill(pid, SIGKILL);
		waitpid(pid, &st, __WALL);
	}
	if (err)
		fact(FACT_NOTE, SECTION_STANDIN, "direct execution",
		     "not possible (ptrace: %s): user code of guests is always translated",
		     strerror(err));
	else
		fact(FACT_OK, SECTION_STANDIN, "direct execution",
		     "possible (STANDIN_DIRECT=1, docs/direct-execution.md)");
}

/* -- memory -- */

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
	int err = errno;

	if (fd < 0) {
		fact(FACT_FAIL, SECTION_STANDIN, "memfd_create", "%s", strerror(err));
		return;
	}
	if (!ftruncate(fd, 4096)) {
		w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		x = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
		err = errno;
	}
	if (w != MAP_FAILED && x != MAP_FAILED)
		fact(FACT_OK, SECTION_STANDIN, "executable memory",
		     "a memfd may be mapped executable");
	else
		fact(FACT_FAIL, SECTION_STANDIN, "executable memory",
		     "a memfd cannot be mapped executable: %s%s", strerror(err),
		     err == EACCES || err == EPERM
			     ? " (vm.memfd_noexec, SELinux's execmem, or a sandbox)"
			     : "");
	if (w != MAP_FAILED)
		munmap(w, 4096);
	if (x != MAP_FAILED)
		munmap(x, 4096);
	close(fd);
}

static void overcommit(void)
{
	char text[32];

	if (!read_line("/proc/sys/vm/overcommit_memory", text, sizeof(text)))
		return;
	fact(atoi(text) == 2 ? FACT_WARN : FACT_OK, SECTION_STANDIN, "vm.overcommit_memory", "%s",
	     atoi(text) == 2 ? "2: guest memory counts in full"
			     : "memory is committed as it is used");
	if (read_line("/proc/sys/vm/max_map_count", text, sizeof(text)))
		fact(atol(text) >= 65530 ? FACT_OK : FACT_WARN, SECTION_STANDIN, "vm.max_map_count",
		     "%s", text);
}

/* -- limits -- */

static const struct {
	int resource;
	const char *name;
	rlim_t enough;
	const char *else_what;
} limits[] = {
	{ RLIMIT_NOFILE, "RLIMIT_NOFILE", 256, "a VM has a descriptor, and each vCPU one" },
	{ RLIMIT_AS, "RLIMIT_AS", 64ull << 30,
	  "a vCPU wants 360 MiB of addresses, and does with 30" },
	{ RLIMIT_FSIZE, "RLIMIT_FSIZE", 512ull << 20, "code memory is a file of some 100 MiB" },
	{ RLIMIT_NPROC, "RLIMIT_NPROC", 64, "a VM has threads of its own" },
	{ RLIMIT_STACK, "RLIMIT_STACK", 256 << 10, "threads need a stack" },
};

static void resource_limits(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		struct rlimit rl;

		if (getrlimit(limits[i].resource, &rl))
			continue;
		if (rl.rlim_cur == RLIM_INFINITY)
			fact(FACT_OK, SECTION_STANDIN, limits[i].name, "unlimited");
		else
			fact(rl.rlim_cur >= limits[i].enough ? FACT_OK : FACT_WARN, SECTION_STANDIN,
			     limits[i].name, "%llu%s%s", (unsigned long long)rl.rlim_cur,
			     rl.rlim_cur >= limits[i].enough ? "" : ": ",
			     rl.rlim_cur >= limits[i].enough ? "" : limits[i].else_what);
	}
}

static void descriptors(void)
{
	char closed[32] = "";

	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			sprintf(closed + strlen(closed), " %d", fd);
	if (*closed)
		fact(FACT_WARN, SECTION_STANDIN, "descriptors", "closed:%s", closed);
}

/* -- what surrounds us -- */

static void seccomp(void)
{
	char mode[16] = "", filters[16] = "", nnp[16] = "";

	if (!read_field("/proc/self/status", "Seccomp", mode, sizeof(mode))) {
		fact(FACT_NOTE, SECTION_MACHINE, "seccomp",
		     "unknown: /proc/self/status does not say");
		return;
	}
	read_field("/proc/self/status", "Seccomp_filters", filters, sizeof(filters));
	read_field("/proc/self/status", "NoNewPrivs", nnp, sizeof(nnp));
	fact(atoi(mode) == 1 ? FACT_FAIL : FACT_NOTE, SECTION_MACHINE, "seccomp", "%s%s%s%s",
	     atoi(mode) == 2 ? "filtered"
	     : atoi(mode)    ? "strict"
			     : "none",
	     *filters ? ", filters: " : "", filters, atoi(nnp) ? ", no new privileges" : "");
}

static void container(void)
{
	static const char *const marks[][2] = {
		{ "/.dockerenv", "Docker" }, { "/run/.containerenv", "Podman" },
		{ "/run/systemd/container", "systemd-nspawn or another" },
		{ "/var/run/secrets/kubernetes.io", "Kubernetes" },
	};
	const char *env = getenv("container");
	char text[256], kinds[128] = "";
	u32 a, b, c, d;

	for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
		if (!access(marks[i][0], F_OK))
			snprintf(kinds + strlen(kinds), sizeof(kinds) - strlen(kinds), "%s%s",
				 *kinds ? ", " : "", marks[i][1]);
	if (env && *env)
		snprintf(kinds + strlen(kinds), sizeof(kinds) - strlen(kinds), "%s%.20s",
			 *kinds ? ", " : "", env);
	if (read_line("/proc/version", text, sizeof(text)) && strstr(text, "gVisor"))
		snprintf(kinds + strlen(kinds), sizeof(kinds) - strlen(kinds), "%sgVisor",
			 *kinds ? ", " : "");
	fact(FACT_NOTE, SECTION_MACHINE, "container", "%s", *kinds ? kinds : "no sign of one");
	__cpuid(1, a, b, c, d);
	fact(FACT_NOTE, SECTION_MACHINE, "virtual machine", "%s", c & BIT(31) ? "yes" : "no");
	if (read_line("/sys/fs/cgroup/memory.max", text, sizeof(text)))
		fact(FACT_NOTE, SECTION_MACHINE, "cgroup memory.max", "%s", text);
	if (read_line("/sys/fs/cgroup/pids.max", text, sizeof(text)))
		fact(strcmp(text, "max") && atol(text) < 64 ? FACT_WARN : FACT_NOTE,
		     SECTION_MACHINE, "cgroup pids.max", "%s", text);
	if (read_line("/sys/fs/cgroup/cpu.max", text, sizeof(text)))
		fact(FACT_NOTE, SECTION_MACHINE, "cgroup cpu.max", "%s", text);
	if (read_line("/proc/self/attr/current", text, sizeof(text)))
		fact(FACT_NOTE, SECTION_MACHINE, "security label", "%.100s", text);
}

/* Nothing here names the machine, its user or what it is used for. */
static void versions(void)
{
	char text[256];
	struct utsname u;

	if (read_field("/etc/os-release", "PRETTY_NAME", text, sizeof(text)))
		fact(FACT_NOTE, SECTION_MACHINE, "system", "%s", text);
	if (!uname(&u))
		fact(FACT_NOTE, SECTION_MACHINE, "kernel", "%s %s", u.release, u.machine);
	fact(FACT_NOTE, SECTION_MACHINE, "glibc", "%s", gnu_get_libc_version());
	if (read_field("/proc/cpuinfo", "model name", text, sizeof(text)))
		fact(FACT_NOTE, SECTION_MACHINE, "processor", "%s", text);
	fact(FACT_NOTE, SECTION_MACHINE, "CPUs", "%ld of %ld", sysconf(_SC_NPROCESSORS_ONLN),
	     sysconf(_SC_NPROCESSORS_CONF));
	if (read_field("/proc/meminfo", "MemTotal", text, sizeof(text)))
		fact(FACT_NOTE, SECTION_MACHINE, "memory", "%s", text);
}

void doctor_machine(void)
{
	cpu_features();
	code_cache();
	if (low_memory())
		fact(FACT_OK, SECTION_STANDIN, "addresses below 2 GiB", "64 MiB in one piece");
	else
		fact(FACT_FAIL, SECTION_STANDIN, "addresses below 2 GiB",
		     "no 64 MiB in one piece are free");
	cpuid_faulting();
	direct_execution();
	overcommit();
	resource_limits();
	descriptors();
	versions();
	container();
	seccomp();
}
