/* SPDX-License-Identifier: MIT */
/*
 * tests/run/descriptors.c - what a descriptor of the node costs, and what else than ioctl can be
 * done with KVM's descriptors. Says what is wrong; silence and 0 are success.
 */
/* Run: meson test -C build run-silent */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <dirent.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static const char *node;
static int entries(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2;
}

/* The kernel's handlers, past every view that is made of them. */
static int default_handlers(void)
{
	const int all[] = { SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	unsigned long act[4];

	for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (syscall(SYS_rt_sigaction, all[i], NULL, act, 8) || act[0])
			return 0;
	return 1;
}

static void opening_starts_nothing(void)
{
	struct stat st;
	char link[64], name[64];
	int fd, again;

	fd = open(node, O_RDWR);
	CHECK(fd >= 0 && !fstat(fd, &st) && is_node(&st) && (st.st_mode & 0777) == 0666);
	close(fd);
	CHECK(default_handlers());
	CHECK(entries("/proc/self/task") == 1);

	fd = open(node, O_PATH | O_NOFOLLOW);
	CHECK(fd >= 0 && !fstat(fd, &st) && is_node(&st));
	CHECK(fcntl(fd, F_GETFL) & O_PATH);
	CHECK(!fstatat(fd, "", &st, AT_EMPTY_PATH) && is_node(&st));
	FAILS(EBADF, ioctl(fd, KVM_GET_API_VERSION, 0));
	again = dup(fd);
	CHECK(!fstat(again, &st) && is_node(&st));
	close(again);
	CHECK(default_handlers());
	CHECK(entries("/proc/self/task") == 1);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	again = open(name, O_RDWR);
	CHECK(ioctl(again, KVM_GET_API_VERSION, 0) == 12);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", again);
	CHECK(readlink(name, link, sizeof(link)) == (ssize_t)strlen(node) &&
	      !memcmp(link, node, strlen(node)));
	close(again);
	/* The number belongs to somebody else now. */
	close(fd);
	again = open("/dev/null", O_RDWR);
	CHECK(again == fd && !fstat(fd, &st) && !is_node(&st));
	close(again);
}

#define ALLOW(nr) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (nr), 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* A file server that walks over the node: killed for everything that it does not do itself. */
static void helper(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_openat), ALLOW(SYS_newfstatat), ALLOW(SYS_fstat), ALLOW(SYS_close),
		ALLOW(SYS_fcntl), ALLOW(SYS_rt_sigprocmask), ALLOW(SYS_exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };
	const char *base = strrchr(node, '/') + 1;
	struct rlimit no_core = { 0, 0 };
	struct stat st;
	int dir, fd;

	setrlimit(RLIMIT_CORE, &no_core);
	dir = open("/dev", O_PATH | O_DIRECTORY);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(77);
	fd = openat(dir, base, O_PATH | O_NOFOLLOW);
	if (fd < 0 || fstatat(fd, "", &st, AT_EMPTY_PATH) || !is_node(&st) || close(fd))
		_exit(1);
	if (fstatat(dir, base, &st, AT_SYMLINK_NOFOLLOW) || !is_node(&st))
		_exit(2);
	_exit(0);
}

static void helpers_are_not_killed(void)
{
	pid_t pid = fork();
	int st = 0;

	if (!pid)
		helper();
	waitpid(pid, &st, 0);
	CHECK(st == 0 || WEXITSTATUS(st) == 77);
	if (st)
		printf("status %#x\n", st);
}

static void nothing_but_ioctl(int fd, int at)
{
	char buf[8] = { 0 };
	struct iovec v = { buf, 8 };

	FAILS(EINVAL, read(fd, buf, 8));
	FAILS(EINVAL, write(fd, buf, 8));
	FAILS(EINVAL, readv(fd, &v, 1));
	FAILS(EINVAL, writev(fd, &v, 1));
	FAILS(at, pread(fd, buf, 8, 0));
	FAILS(at, pwrite(fd, buf, 8, 0));
	FAILS(at, preadv(fd, &v, 1, 0));
	FAILS(at, pwritev(fd, &v, 1, 0));
	FAILS(EINVAL, ftruncate(fd, 0));
	FAILS(EINVAL, ftruncate(fd, 1 << 20));
	FAILS(ENODEV, fallocate(fd, 0, 0, 4096));
	FAILS(ENODEV, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	CHECK(lseek(fd, 8, SEEK_SET) == 0);
	/* What a program could do past libc. */
	CHECK(syscall(SYS_ftruncate, fd, 1 << 20) == -1);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == -1);
}

static void receive(int s)
{
	char c, b[64];
	struct iovec i = { &c, 1 };
	struct msghdr m = { .msg_iov = &i,
			    .msg_iovlen = 1,
			    .msg_control = b,
			    .msg_controllen = 64 };
	void *run;
	int fd;

	wrong = 0;
	CHECK(recvmsg(s, &m, 0) == 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	/* Before anything else has been done with it, too. */
	run = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(run != MAP_FAILED);
	FAILS(EIO, ioctl(fd, KVM_RUN, 0));
	run = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(run != MAP_FAILED && ((struct kvm_run *)run)->immediate_exit == 77);
	fflush(stdout);
	_exit(wrong);
}

/* A vCPU's descriptor in another process: its page can be mapped, as KVM's can, and that is all. */
static void elsewhere(int vcpu, struct kvm_run *run, const char *self)
{
	char c = 'x', b[64] = { 0 }, number[16];
	struct iovec i = { &c, 1 };
	struct msghdr m = { .msg_iov = &i, .msg_iovlen = 1, .msg_control = b,
			    .msg_controllen = CMSG_SPACE(sizeof(int)) };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int s[2], st = 0;
	pid_t pid;

	run->immediate_exit = 77;
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	fflush(stdout);
	pid = fork();
	if (!pid)
		receive(s[1]);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &vcpu, sizeof(int));
	CHECK(sendmsg(s[0], &m, 0) == 1);
	waitpid(pid, &st, 0);
	CHECK(!st);
	pid = fork();
	if (!pid) {
		fcntl(vcpu, F_SETFD, 0);
		snprintf(number, sizeof(number), "%d", vcpu);
		execl(self, self, "vcpu", number, NULL);
		_exit(3);
	}
	waitpid(pid, &st, 0);
	CHECK(!st);
}

static int by_exec(int fd)
{
	void *run;

	FAILS(EIO, ioctl(fd, KVM_RUN, 0));
	run = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(run != MAP_FAILED && ((struct kvm_run *)run)->immediate_exit == 77);
	return wrong;
}

int main(int argc, char **argv)
{
	int kvm, vm, vcpu;
	void *run;

	node = getenv("STANDIN_NODE");
	if (!node)
		node = "/dev/kvm";
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3)
		return by_exec(atoi(argv[2]));
	opening_starts_nothing();
	helpers_are_not_killed();
	kvm = open(node, O_RDWR | O_CLOEXEC);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	CHECK(vcpu >= 0);
	nothing_but_ioctl(kvm, EINVAL);
	nothing_but_ioctl(vm, ESPIPE);
	nothing_but_ioctl(vcpu, ESPIPE);
	CHECK(syscall(SYS_ftruncate, vcpu, 0) == -1);
	run = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	CHECK(run != MAP_FAILED);
	elsewhere(vcpu, run, argv[0]);
	return wrong;
}
