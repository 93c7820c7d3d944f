/* SPDX-License-Identifier: MIT */
/*
 * tests/run/pointers.c - bad pointers in calls that the preload object takes over: they fail as the
 * kernel lets them fail, and never in our code. Says what differs; silence and 0 are success.
 *
 * Each call runs in a child. What libc itself touches (fopen's mode, sigaction's action) is left
 * out: a program without us ends there too.
 */
/* Run: meson test -C build run-silent */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

int eaccess(const char *path, int mode);

static const char *node;
static char *edge;	/* the next byte cannot be touched; the three before it say "/n" */
static int wrong;

/* The child's errno: 0 if the call worked, 1000 + signal if it was killed. */
#define TRY(want, ...) \
	do { \
		pid_t pid_ = fork(); \
		int st_ = 0, got_; \
		if (!pid_) { \
			errno = 0; \
			_exit((long)(__VA_ARGS__) < 0 ? errno : 0); \
		} \
		waitpid(pid_, &st_, 0); \
		got_ = WIFSIGNALED(st_) ? 1000 + WTERMSIG(st_) : WEXITSTATUS(st_); \
		if (got_ != (want)) { \
			printf("%s: %d instead of %d\n", #__VA_ARGS__, got_, want); \
			wrong = 1; \
		} \
	} while (0)
#define FAULTS(...) TRY(EFAULT, __VA_ARGS__)

static void paths(const char *bad)
{
	struct timespec times[2] = { { 0 } };
	struct timeval tv[2] = { { 0 } };
	struct statx sx;
	struct stat st;
	char buf[64];
	int in = inotify_init1(0);

	FAULTS(open(bad, O_RDWR));
	FAULTS(open(bad, O_RDWR | O_CREAT, 0600));
	FAULTS(open(bad, O_PATH));
	FAULTS(open64(bad, O_RDWR));
	FAULTS(openat(AT_FDCWD, bad, O_RDWR));
	FAULTS(openat64(AT_FDCWD, bad, O_RDWR));
	FAULTS(creat(bad, 0600));
	FAULTS(fopen(bad, "r") ? 0 : -1);
	FAULTS(fopen(bad, "w") ? 0 : -1);
	FAULTS(fopen64(bad, "a") ? 0 : -1);
	FAULTS(stat(bad, &st));
	FAULTS(lstat(bad, &st));
	FAULTS(fstatat(AT_FDCWD, bad, &st, 0));
	FAULTS(statx(AT_FDCWD, bad, 0, STATX_BASIC_STATS, &sx));
	FAULTS(access(bad, R_OK));
	FAULTS(faccessat(AT_FDCWD, bad, R_OK, 0));
	FAULTS(eaccess(bad, R_OK));
	FAULTS(euidaccess(bad, R_OK));
	FAULTS(readlink(bad, buf, sizeof(buf)));
	FAULTS(readlinkat(AT_FDCWD, bad, buf, sizeof(buf)));
	FAULTS(chmod(bad, 0600));
	FAULTS(fchmodat(AT_FDCWD, bad, 0600, 0));
	FAULTS(chown(bad, 0, 0));
	FAULTS(lchown(bad, 0, 0));
	FAULTS(fchownat(AT_FDCWD, bad, 0, 0, 0));
	FAULTS(mknod(bad, S_IFIFO | 0600, 0));
	FAULTS(mknodat(AT_FDCWD, bad, S_IFIFO | 0600, 0));
	FAULTS(mkdir(bad, 0700));
	FAULTS(getxattr(bad, "user.x", buf, sizeof(buf)));
	FAULTS(lgetxattr(bad, "user.x", buf, sizeof(buf)));
	FAULTS(setxattr(bad, "user.x", buf, 1, 0));
	FAULTS(listxattr(bad, buf, sizeof(buf)));
	FAULTS(removexattr(bad, "user.x"));
	FAULTS(utimes(bad, tv));
	FAULTS(inotify_add_watch(in, bad, IN_OPEN));
	/* glibc: a missing path is EINVAL for these (for the first one until 2.36), and the second
	 * reads any other itself */
	if (bad || (utimensat(AT_FDCWD, bad, times, 0) < 0 && errno == EFAULT)) {
		FAULTS(utimensat(AT_FDCWD, bad, times, 0));
	} else {
		TRY(EINVAL, utimensat(AT_FDCWD, bad, times, 0));
	}
	if (!bad) {
		TRY(EINVAL, realpath(bad, NULL) ? 0 : -1);
	}
	FAULTS(syscall(SYS_open, bad, O_RDWR));
	FAULTS(syscall(SYS_openat, AT_FDCWD, bad, O_RDWR));
	FAULTS(syscall(SYS_stat, bad, &st));
	FAULTS(syscall(SYS_lstat, bad, &st));
	FAULTS(syscall(SYS_newfstatat, AT_FDCWD, bad, &st, 0));
	FAULTS(syscall(SYS_statx, AT_FDCWD, bad, 0, STATX_BASIC_STATS, &sx));
	FAULTS(syscall(SYS_access, bad, R_OK));
	FAULTS(syscall(SYS_faccessat2, AT_FDCWD, bad, R_OK, AT_EACCESS));
	FAULTS(syscall(SYS_readlink, bad, buf, sizeof(buf)));
	FAULTS(syscall(SYS_openat2, AT_FDCWD, bad, &(struct open_how){ 0 },
		       sizeof(struct open_how)));
	close(in);
}

/* About the node itself, which only we know. */
static void buffers(void *bad)
{
	FAULTS(stat(node, bad));
	FAULTS(lstat(node, bad));
	FAULTS(fstatat(AT_FDCWD, node, bad, 0));
	FAULTS(statx(AT_FDCWD, node, 0, STATX_BASIC_STATS, bad));
	FAULTS(fstat(open(node, O_RDWR), bad));
	FAULTS(fstat(open(node, O_PATH), bad));
	FAULTS(syscall(SYS_stat, node, bad));
	FAULTS(syscall(SYS_newfstatat, AT_FDCWD, node, bad, 0));
	FAULTS(syscall(SYS_statx, AT_FDCWD, node, 0, STATX_BASIC_STATS, bad));
	FAULTS(syscall(SYS_openat2, AT_FDCWD, node, bad, sizeof(struct open_how)));
	FAULTS(syscall(SYS_openat2, AT_FDCWD, "/none", bad, sizeof(struct open_how)));
	FAULTS(write(eventfd(0, 0), bad, 8));
}

static void filters(void *bad)
{
	struct sock_fprog prog = { .len = 1, .filter = bad };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	FAULTS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, bad));
	TRY(bad ? EFAULT : EINVAL, prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
	FAULTS(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, bad));
	TRY(bad ? EFAULT : EINVAL, syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog));
}

static void programs(char *bad)
{
	char *args[] = { "sh", "-c", "true", NULL }, *bad_list[] = { "sh", bad, NULL };
	pid_t pid;

	FAULTS(execv(bad, args));
	FAULTS(execve(bad, args, environ));
	if (bad)
		FAULTS(execve("/bin/sh", args, bad_list + 1));
	FAULTS(execve("/bin/sh", (char **)(bad ? bad : (char *)8), environ));
	FAULTS(execve("/bin/sh", args, (char **)(bad ? bad : (char *)8)));
	FAULTS(fexecve(open("/bin/sh", O_RDONLY), args, (char **)(bad ? bad : (char *)8)));
	FAULTS(execveat(AT_FDCWD, bad, args, environ, 0));
	FAULTS(syscall(SYS_execve, bad, args, environ));
	FAULTS(syscall(SYS_execveat, AT_FDCWD, bad, args, environ, 0));
	FAULTS(posix_spawn(&pid, bad, NULL, NULL, args, environ) == EFAULT ? (errno = EFAULT, -1)
									   : 0);
	FAULTS(posix_spawn(&pid, "/bin/sh", NULL, NULL, args, (char **)(bad ? bad : (char *)8)) ==
			       EFAULT
		       ? (errno = EFAULT, -1)
		       : 0);
}

static void lists(void)
{
	char *args[] = { "true", NULL };
	/* No environment at all is fine, and so are no arguments. */
	TRY(0, execve("/bin/true", args, NULL));
	TRY(0, execve("/bin/true", NULL, NULL));
}

static void messages(void *bad)
{
	int s[2], kvm = open(node, O_RDWR), vm = ioctl(kvm, KVM_CREATE_VM, 0);
	struct iovec io = { "x", 1 };
	struct msghdr m = { .msg_iov = &io,
			    .msg_iovlen = 1,
			    .msg_control = bad,
			    .msg_controllen = 64 };

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) || vm < 0) {
		wrong = 1;
		return;
	}
	FAULTS(sendmsg(s[0], &m, 0));
	FAULTS(sendmsg(s[0], bad, 0));
	FAULTS(sendmmsg(s[0], bad, 1, 0));
	close(vm);
	close(kvm);
	close(s[0]);
	close(s[1]);
}

/* Every ioctl that has an argument in memory. Those which read or write nothing do not care. */
static void ioctls(uintptr_t bad)
{
	int kvm = open(node, O_RDWR), vm = ioctl(kvm, KVM_CREATE_VM, 0);
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0), fds[] = { kvm, vm, vcpu };

	wrong = 0;
	if (vcpu < 0)
		_exit(1);
	for (int i = 0; i < 3; i++)
		for (unsigned nr = 0; nr < 256; nr++)
			for (unsigned dir = 0; dir < 4; dir++)
				for (unsigned size = 0; size <= 4096; size = size ? size * 2 : 1) {
					/* A vCPU without memory may run for ever. */
					if (nr == 0x80)
						continue;
					ioctl(fds[i], _IOC(dir, KVMIO, nr, size), bad);
				}
	errno = 0;
	if (ioctl(vcpu, KVM_GET_REGS, bad) != -1 || errno != EFAULT ||
	    ioctl(vcpu, KVM_SET_SREGS, bad) != -1 || errno != EFAULT ||
	    ioctl(vm, KVM_IRQFD, bad) != -1 || errno != EFAULT ||
	    ioctl(kvm, KVM_GET_MSR_INDEX_LIST, bad) != -1 || errno != EFAULT) {
		printf("ioctl with %#lx: errno %d\n", (long)bad, errno);
		wrong = 1;
	}
	_exit(wrong);
}

int main(void)
{
	char *map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uintptr_t bad[] = { 0, 8, (uintptr_t)map + 4096, 1ull << 47, 1ull << 63, ~0ull - 15 };
	struct rlimit no_core = { 0, 0 };
	struct stat st;

	node = getenv("STANDIN_NODE");
	if (!node)
		node = "/dev/kvm";
	setvbuf(stdout, NULL, _IONBF, 0);
	setrlimit(RLIMIT_CORE, &no_core);
	mprotect(map + 4096, 4096, PROT_NONE);
	edge = map + 4096;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int st_ = 0;
		pid_t pid;

		paths((char *)bad[i]);
		buffers((void *)bad[i]);
		programs((char *)bad[i]);
		filters((void *)bad[i]);
		/* no control data, with a length: EFAULT only if there is an address */
		if (bad[i])
			messages((void *)bad[i]);
		pid = fork();
		if (!pid)
			ioctls(bad[i]);
		waitpid(pid, &st_, 0);
		if (st_) {
			printf("ioctls with %#lx: status %#x\n", (long)bad[i], st_);
			wrong = 1;
		}
	}
	lists();
	/* A path that ends at the end of what can be read is none of these, one without end is. */
	memcpy(edge - 3, "/n", 3);
	TRY(ENOENT, open(edge - 3, O_RDONLY));
	TRY(ENOENT, stat(edge - 3, &st));
	edge[-1] = 'n';
	FAULTS(open(edge - 3, O_RDONLY));
	FAULTS(stat(edge - 3, &st));
	memset(map, 'k', 4096);
	FAULTS(open(map + 1, O_RDONLY));
	TRY(ENAMETOOLONG, open(map, O_RDONLY));
	return wrong;
}
