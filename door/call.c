/* SPDX-License-Identifier: MIT */
/* door/call.c - a trapped call goes to whom it concerns. */
#include "door/door.h"

#include <sys/mman.h>
#include <sys/syscall.h>

static void args_of(const struct kucontext *uc, u64 a[6])
{
	static const u8 reg[6] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };

	for (int i = 0; i < 6; i++)
		a[i] = (u64)uc->gregs[reg[i]];
}

long door_call(struct door_thread *t, struct kucontext *uc, u64 *fs)
{
	long nr = uc->gregs[REG_RAX];
	u64 a[6];

	args_of(uc, a);
	switch (nr) {
	case SYS_rt_sigaction:
		return signal_action(t, a);
	case SYS_rt_sigprocmask:
		return signal_mask(t, uc, a);
	case SYS_sigaltstack:
		return signal_stack(t, uc, a);
	case SYS_clone:
	case SYS_clone3:
	case SYS_fork:
	case SYS_vfork:
		return thread_clone(t, uc, fs, nr, a);
	case SYS_exit:
		thread_exit(t, (long)a[0]);
	case SYS_execve:
	case SYS_execveat:
		return exec_call(t, nr, a);
	case SYS_seccomp:
	case SYS_prctl:
		return filter_program(t, nr, a);
	case SYS_ioctl:
	case SYS_mmap:
	case SYS_close:
	case SYS_close_range:
	case SYS_dup:
	case SYS_dup2:
	case SYS_dup3:
	case SYS_fcntl:
	case SYS_fstat:
	case SYS_write:
	case SYS_sendmsg:
	case SYS_sendmmsg:
		return fd_call(t, nr, a);
	}
	return file_call(t, nr, a);
}
