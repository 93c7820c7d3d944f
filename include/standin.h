/* SPDX-License-Identifier: MIT */
/*
 * standin.h - the x86 KVM API as functions.
 *
 * What ioctl(2) on /dev/kvm does, without /dev/kvm: the request codes, structures, values and
 * orders are those of <linux/kvm.h>, the errors are KVM's own. A program links libstandin; no
 * preloaded object and no device node is involved, and nothing of libc is interposed.
 *
 *	pkg-config --cflags --libs standin
 *
 * Results. Functions that return int or long give a value >= 0, or a negative errno (-EINVAL).
 * errno itself is not touched. Nothing here ends the process.
 *
 * Handles. A handle is an int >= 0 and stands for the system (what open("/dev/kvm") gives), a VM
 * or a vCPU. Its number is that of a file descriptor which the library owns: it never equals one
 * of the program's, is close-on-exec, and must be closed by standin_close(), not by close(2).
 * A VM lives until its handle and those of all its vCPUs are closed. The descriptor that
 * KVM_GET_STATS_FD returns is an ordinary one: read(2) it, close(2) it.
 *
 * Threads. Every function may be called by any thread at any time, unless it says otherwise.
 * KVM_RUN runs the guest on the calling thread. A request on a vCPU waits while another thread
 * is inside a request on the same vCPU, KVM_RUN included. Closing a handle that another thread
 * is using is safe: the object goes when the last user is out.
 *
 * Fork. A child inherits the descriptors, not the machines: there every request on a VM or vCPU
 * is -EIO, as with KVM. Only standin_close() is of use.
 *
 * Signals. Guest code raises SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGTRAP on its thread, and a bad
 * argument pointer raises SIGSEGV (the request is then -EFAULT). The first standin_open() installs
 * handlers for the five, which pass on what is not the library's to the handler that was there
 * before. A program that sets a handler of its own afterwards, or asks for
 * STANDIN_OWN_SIGNALS, must call standin_signal() from it. Those signals are unblocked on every
 * thread that makes a request.
 * In KVM a signal ends KVM_RUN with EINTR. A library cannot see a program's signals: a handler
 * that is to have that effect calls standin_interrupt(), or sets kvm_run.immediate_exit before
 * it returns and then calls it.
 */
#ifndef STANDIN_H
#define STANDIN_H

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this header; standin_version() is that of the library. 0xMMmmpp. */
#define STANDIN_VERSION_NUMBER 0x000200u
unsigned int standin_version(void);

/* For standin_open(): install no signal handlers, the program calls standin_signal(). */
#define STANDIN_OWN_SIGNALS 1u

/*
 * A new system handle. flags: 0 or STANDIN_OWN_SIGNALS (counts in the first call of the process
 * only). -EINVAL: an unknown flag. -ENOTSUP: the processor lacks AVX2 or BMI2. -EMFILE, -ENFILE,
 * -ENOMEM: out of descriptors or memory.
 */
int standin_open(unsigned int flags);

/*
 * One request. arg: the value, or the address of the structure, as ioctl(2) takes it.
 * KVM_CREATE_VM on the system and KVM_CREATE_VCPU on a VM return new handles.
 * -EBADF: not a handle. -EIO: a VM or vCPU of the process before fork. -EFAULT: a bad address.
 * Others: KVM's; an unknown request is -EINVAL on the system and on a vCPU, -ENOTTY on a VM.
 */
long standin_ioctl(int handle, unsigned long request, unsigned long arg);

/* The same for requests that take an address. */
static inline long standin_ioctl_ptr(int handle, unsigned long request, void *arg)
{
	return standin_ioctl(handle, request, (unsigned long)(uintptr_t)arg);
}

/*
 * Map `bytes` bytes (> 0) of a vCPU from `offset` (bytes, a multiple of 4096) on, for reading and
 * writing: struct kvm_run at 0, the data of KVM_EXIT_IO behind it, the coalesced ring. All of it
 * is KVM_GET_VCPU_MMAP_SIZE bytes long. The address goes to *out. Undone by munmap(2); the
 * memory stays valid when the handle is closed.
 * -EBADF: not a handle. -EINVAL: not a vCPU, a length of 0, a bad offset. -ENOMEM.
 */
int standin_mmap(int handle, size_t bytes, uint64_t offset, void **out);

/* Another handle for the same object. -EBADF, -EMFILE. */
int standin_dup(int handle);

/* Close a handle; the number is free for others. -EBADF: not a handle. */
int standin_close(int handle);

/*
 * KVM_RUN on the calling thread, if it is in one, returns -EINTR (exit_reason KVM_EXIT_INTR) as
 * soon as the guest is at an instruction boundary. Async-signal-safe: meant for signal handlers.
 * Outside KVM_RUN it does nothing; set kvm_run.immediate_exit too if the signal may come then.
 */
void standin_interrupt(void);

/*
 * The same for the KVM_RUN that any thread is in on this vCPU, from any thread: no signal is
 * needed. If there is none nothing happens, and the next one is not ended either: set
 * kvm_run.immediate_exit first, then call this. -EBADF, -EINVAL: not a vCPU, -EIO: after fork.
 */
int standin_kick(int vcpu);

/*
 * From a handler of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP with SA_SIGINFO: 1 when the
 * signal was the library's (the handler returns at once), 0 when it is the program's.
 * ucontext may have been changed. Async-signal-safe.
 */
int standin_signal(int sig, void *siginfo, void *ucontext);

#ifdef __cplusplus
}
#endif

#endif
