/* SPDX-License-Identifier: MIT */
/*
 * door/filter.c - which system calls come to us, and the program's own filters.
 *
 * Our filter traps a list of calls by number where the instruction lies in the program's text: the
 * addresses where we put programs, and the first 4 GiB, where programs that cannot be moved are. A
 * filter outlives exec. By the addresses, one that goes on without us is not concerned.
 *
 * A filter of the program's is put behind a prefix that allows whatever our own text calls. The
 * kernel takes the strongest of all answers, and a trap hides what is weaker (errno, notification,
 * trace): so calls that we only look at are made again from a page that no filter of ours knows
 * (door_pass_call()), where the program's is asked.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "door/door.h"

_Atomic bool filter_program_has;
bool filter_no_privileges;

/* Trapped from the start, whatever the arguments. */
#define ALWAYS(X) \
	X(open) X(creat) X(openat) X(openat2) \
	X(stat) X(lstat) X(newfstatat) X(statx) X(access) X(faccessat) X(faccessat2) \
	X(readlink) X(readlinkat) X(mknod) X(mknodat) X(chmod) X(fchmodat) X(chown) X(lchown) \
	X(fchownat) X(getxattr) X(lgetxattr) X(setxattr) X(lsetxattr) X(listxattr) X(llistxattr) \
	X(rt_sigaction) X(rt_sigprocmask) X(sigaltstack) \
	X(clone) X(clone3) X(fork) X(vfork) X(exit) X(execve) X(execveat) X(seccomp)
/* From the first descriptor of ours on, or before the first filter of the program's: given to all
 * threads afterwards, ours would take the program's along. */
#define DESCRIPTORS(X) \
	X(close) X(close_range) X(dup) X(dup2) X(dup3) X(fstat) X(sendmsg) X(sendmmsg)

#define DATA(field) ((u32)offsetof(struct seccomp_data, field))
#define ARG(n) ((u32)(offsetof(struct seccomp_data, args) + 8 * (n)))
#define LD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define AND(k) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, k)
#define IF_EQ(k, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, then, otherwise)
#define IF_GE(k, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, k, then, otherwise)
#define RET(k) BPF_STMT(BPF_RET | BPF_K, k)

enum { MAX_INSNS = 96, PREFIX = 4 };

struct program {
	struct sock_filter insn[MAX_INSNS];
	u16 n;
};

/* Jumps to the end are written as these and resolved when the end is known. */
enum { TO_CHECK = 254, TO_ALLOW = 255 };

static void put(struct program *p, struct sock_filter f)
{
	p->insn[p->n++] = f;
}

static void on_number(struct program *p, u32 nr)
{
	put(p, (struct sock_filter)IF_EQ(nr, TO_CHECK, 0));
}

static void finish(struct program *p, u32 first, u32 end)
{
	u16 check, allow;

	put(p, (struct sock_filter)RET(SECCOMP_RET_ALLOW));
	allow = p->n - 1u;
	check = p->n;
	put(p, (struct sock_filter)LD(DATA(instruction_pointer) + 4));
	put(p, (struct sock_filter)IF_EQ(0, 5, 0));
	put(p, (struct sock_filter)IF_GE(PROGRAM_HI_FIRST, 0, 1));
	put(p, (struct sock_filter)IF_GE(PROGRAM_HI_END, 0, 3));
	/* A program that is linked to some other place. */
	put(p, (struct sock_filter)IF_GE(first, 0, 1));
	put(p, (struct sock_filter)IF_GE(end, 0, 1));
	put(p, (struct sock_filter)RET(SECCOMP_RET_ALLOW));
	put(p, (struct sock_filter)RET(SECCOMP_RET_TRAP | DOOR_TRAP_DATA));
	for (u16 i = 0; i < check; i++) {
		struct sock_filter *f = &p->insn[i];

		if (BPF_CLASS(f->code) != BPF_JMP)
			continue;
		if (f->jt >= TO_CHECK)
			f->jt = (u8)((f->jt == TO_CHECK ? check : allow) - i - 1);
		if (f->jf >= TO_CHECK)
			f->jf = (u8)((f->jf == TO_CHECK ? check : allow) - i - 1);
	}
}

static void begin(struct program *p)
{
	p->n = 0;
	put(p, (struct sock_filter)LD(DATA(arch)));
	put(p, (struct sock_filter)IF_EQ(AUDIT_ARCH_X86_64, 0, TO_ALLOW));
	put(p, (struct sock_filter)LD(DATA(nr)));
}

/* Without CAP_SYS_ADMIN a filter asks for no_new_privs. */
static int install(struct program *p, u32 flags)
{
	struct sock_fprog prog = { p->n, p->insn };
	long r = RAW(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);

	if (r == -EACCES && !RAW(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) {
		filter_no_privileges = true;
		r = RAW(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
	}
	return (int)r;
}

int filter_install(u64 first, u64 end)
{
	struct program p;

	begin(&p);
#define X(name) on_number(&p, SYS_##name);
	ALWAYS(X)
#undef X
	put(&p, (struct sock_filter)IF_EQ(SYS_ioctl, 0, 4));
	put(&p, (struct sock_filter)LD(ARG(1)));
	put(&p, (struct sock_filter)AND(0xff00));
	put(&p, (struct sock_filter)IF_EQ(KVMIO << 8, TO_CHECK, TO_ALLOW));
	put(&p, (struct sock_filter)LD(DATA(nr)));
	/* Mappings of files. */
	put(&p, (struct sock_filter)IF_EQ(SYS_mmap, 0, 4));
	put(&p, (struct sock_filter)LD(ARG(3)));
	put(&p, (struct sock_filter)AND(MAP_ANONYMOUS));
	put(&p, (struct sock_filter)IF_EQ(0, TO_CHECK, TO_ALLOW));
	put(&p, (struct sock_filter)LD(DATA(nr)));
	put(&p, (struct sock_filter)IF_EQ(SYS_prctl, 0, 4));
	put(&p, (struct sock_filter)LD(ARG(0)));
	put(&p, (struct sock_filter)IF_EQ(PR_SET_SECCOMP, TO_CHECK, 0));
	put(&p, (struct sock_filter)IF_EQ(PR_GET_SECCOMP, TO_CHECK, TO_ALLOW));
	put(&p, (struct sock_filter)LD(DATA(nr)));
	finish(&p, (u32)(first >> 32), (u32)(end >> 32) + (end > first));
	return install(&p, 0);
}

/* For all threads; where one of them has filters that the others do not have, for this one. */
int filter_install_fds(void)
{
	struct program p;
	int r;

	begin(&p);
#define X(name) on_number(&p, SYS_##name);
	DESCRIPTORS(X)
#undef X
	/* What an eventfd is written with. */
	put(&p, (struct sock_filter)IF_EQ(SYS_write, 0, 3));
	put(&p, (struct sock_filter)LD(ARG(2)));
	put(&p, (struct sock_filter)IF_EQ(8, TO_CHECK, TO_ALLOW));
	put(&p, (struct sock_filter)LD(DATA(nr)));
	/* Unknown ioctls of a KVM descriptor have errors of their own; those of terminals and
	 * sockets are many, and a memfd answers the generic ones among them. */
	put(&p, (struct sock_filter)IF_EQ(SYS_ioctl, 0, 5));
	put(&p, (struct sock_filter)LD(ARG(1)));
	put(&p, (struct sock_filter)AND(0xff00));
	put(&p, (struct sock_filter)IF_EQ(0x5400, TO_ALLOW, 0));
	put(&p, (struct sock_filter)IF_EQ(0x8900, TO_ALLOW, TO_CHECK));
	put(&p, (struct sock_filter)LD(DATA(nr)));
	put(&p, (struct sock_filter)IF_EQ(SYS_fcntl, 0, 3));
	put(&p, (struct sock_filter)LD(ARG(1)));
	put(&p, (struct sock_filter)IF_EQ(0 /* F_DUPFD */, TO_CHECK, 0));
	put(&p, (struct sock_filter)IF_EQ(1030 /* F_DUPFD_CLOEXEC */, TO_CHECK, TO_ALLOW));
	finish(&p, ~0u, ~0u);
	r = install(&p, SECCOMP_FILTER_FLAG_TSYNC);
	if (r > 0)
		r = install(&p, 0);
	return r;
}

/* -- the program's -- */

static const struct sock_filter prefix[PREFIX] = {
	LD(DATA(instruction_pointer) + 4),
	IF_EQ(DOOR_HI, 0, 1),
	RET(SECCOMP_RET_ALLOW),
	BPF_STMT(BPF_LD | BPF_IMM, 0),		/* as every filter begins */
};

static long set_filter(struct door_thread *t, long nr, const u64 a[6], u64 user)
{
	struct sock_fprog given, prog;
	struct sock_filter *f;
	u64 b[6];
	long r;

	if (user_get(&given, user_ptr(user), sizeof(given)))
		return -EFAULT;
	if (!given.len || given.len > BPF_MAXINSNS)
		return -EINVAL;
	if (given.len + PREFIX > BPF_MAXINSNS) {
		log_error("a seccomp filter of %u instructions is too long to be put behind ours",
			  given.len);
		return -ENOMEM;
	}
	f = malloc((given.len + (size_t)PREFIX) * sizeof(*f));
	if (!f)
		return -ENOMEM;
	memcpy(f, prefix, sizeof(prefix));
	if (user_get(f + PREFIX, given.filter, given.len * sizeof(*f))) {
		free(f);
		return -EFAULT;
	}
	prog = (struct sock_fprog){ (u16)(given.len + PREFIX), f };
	memcpy(b, a, sizeof(b));
	b[2] = (u64)(uintptr_t)&prog;
	/* Before, for the other threads that TSYNC gives it to. */
	atomic_store(&filter_program_has, true);
	r = door_pass_now(t, nr, b);
	free(f);
	return r;
}

/* Mode 1 as a filter: only the four calls that it allows, the rest ends the thread. */
static long set_strict(struct door_thread *t)
{
	struct sock_filter f[] = {
		LD(DATA(nr)),
		IF_EQ(SYS_read, 4, 0),
		IF_EQ(SYS_write, 3, 0),
		IF_EQ(SYS_exit, 2, 0),
		IF_EQ(SYS_rt_sigreturn, 1, 0),
		RET(SECCOMP_RET_KILL_THREAD),
		RET(SECCOMP_RET_ALLOW),
	}, whole[PREFIX + ARRAY_SIZE(f)];
	struct sock_fprog prog = { ARRAY_SIZE(whole), whole };

	memcpy(whole, prefix, sizeof(prefix));
	memcpy(whole + PREFIX, f, sizeof(f));
	atomic_store(&filter_program_has, true);
	RAW(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return PASS(t, SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

long filter_program(struct door_thread *t, long nr, const u64 a[6])
{
	if (nr == SYS_seccomp || a[0] == PR_SET_SECCOMP)
		fd_watch();
	if (nr == SYS_seccomp) {
		if (a[0] == SECCOMP_SET_MODE_FILTER)
			return set_filter(t, nr, a, a[2]);
		if (a[0] == SECCOMP_SET_MODE_STRICT && !a[1] && !a[2])
			return set_strict(t);
	} else if (a[0] == PR_SET_SECCOMP) {
		if (a[1] == SECCOMP_MODE_FILTER)
			return set_filter(t, nr, a, a[2]);
		if (a[1] == SECCOMP_MODE_STRICT)
			return set_strict(t);
	} else if (a[0] == PR_GET_SECCOMP && !atomic_load(&filter_program_has)) {
		return 0;
	}
	return door_pass_now(t, nr, a);
}
