/* SPDX-License-Identifier: MIT */
/*
 * shim/shim.h - common ground of the interposed libc functions.
 *
 * Every exported name calls the next definition (dlsym RTLD_NEXT) for whatever is not
 * ours, so other preloaded libraries and the sanitizers keep working. Results of
 * abi/ become libc's convention in shim_ret() and nowhere else.
 */
#ifndef SHIM_SHIM_H
#define SHIM_SHIM_H

/* On x86-64 the 64-bit variants are the same functions; without this the headers rename
 * open to open64 and we could not define both. */
#undef _FILE_OFFSET_BITS

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/deferred.h"
#include "base/types.h"

#define EXPORT __attribute__((visibility("default")))

/* Declared nowhere by default. */
int creat64(const char *path, mode_t mode);
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
int __xstat(int ver, const char *path, struct stat *st);
int __xstat64(int ver, const char *path, struct stat64 *st);
int __lxstat(int ver, const char *path, struct stat *st);
int __lxstat64(int ver, const char *path, struct stat64 *st);
int __fxstatat(int ver, int dir, const char *path, struct stat *st, int flags);
int __fxstatat64(int ver, int dir, const char *path, struct stat64 *st, int flags);
int __fxstat(int ver, int fd, struct stat *st);
int __fxstat64(int ver, int fd, struct stat64 *st);
ssize_t __readlink_chk(const char *path, char *buf, size_t len, size_t size);
ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t len, size_t size);
int __xmknod(int ver, const char *path, mode_t mode, dev_t *dev);
int __xmknodat(int ver, int dir, const char *path, mode_t mode, dev_t *dev);
int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
__sighandler_t bsd_signal(int sig, __sighandler_t handler);
__sighandler_t sysv_signal(int sig, __sighandler_t handler);
__sighandler_t __sysv_signal(int sig, __sighandler_t handler);
__sighandler_t ssignal(int sig, __sighandler_t handler);
__sighandler_t sigset(int sig, __sighandler_t handler);
int sigignore(int sig);
char *__realpath_chk(const char *path, char *out, size_t len);
void closefrom(int from);
int close_range(unsigned int first, unsigned int last, int flags);
int ioctl(int fd, unsigned long request, ...);
int eventfd_write(int fd, u64 value);
char *realpath(const char *path, char *out);

/* The next definition of a libc function. */
#define SHIM_NEXT(X) \
	X(prctl) \
	X(open) X(open64) X(openat) X(openat64) X(fopen) X(fopen64) X(ioctl) X(close) \
	X(write) X(close_range) X(dup) X(dup2) X(dup3) X(fcntl) X(mmap) X(stat) X(stat64) X(lstat) \
	X(lstat64) X(fstatat) X(fstatat64) X(statx) X(__xstat) X(__xstat64) X(__lxstat) \
	X(__lxstat64) X(__fxstatat) X(__fxstatat64) X(access) X(faccessat) X(eaccess) \
	X(euidaccess) X(readlink) X(realpath) X(sigaction) X(siginterrupt) X(sendmsg) \
	X(sendmmsg) X(execve) X(execvpe) X(fexecve) X(execveat) X(posix_spawn) X(posix_spawnp) \
	X(system) X(popen) X(fstat) X(fstat64) X(__fxstat) X(__fxstat64) X(readlinkat) \
	X(pthread_sigmask) X(sigprocmask) X(freopen) X(freopen64) X(read) X(pread) X(pread64) \
	X(readv) X(preadv) X(preadv64) X(pwrite) X(pwrite64) X(writev) X(pwritev) X(pwritev64) \
	X(ftruncate) X(ftruncate64) X(fallocate) X(fallocate64) X(lseek) X(lseek64) \
	X(chmod) X(fchmod) X(fchmodat) X(chown) X(lchown) X(fchown) X(fchownat) X(utimensat) \
	X(futimens) X(utimes) X(lutimes) X(futimes) X(utime) X(mknod) X(mknodat) X(__xmknod) \
	X(__xmknodat) X(mkfifo) X(mkfifoat) X(mkdir) X(mkdirat) X(symlink) X(symlinkat) X(link) \
	X(linkat) X(getxattr) X(lgetxattr) X(fgetxattr) X(listxattr) X(llistxattr) X(flistxattr) \
	X(setxattr) X(lsetxattr) X(removexattr) X(lremovexattr) X(inotify_add_watch) X(readdir) \
	X(readdir64) X(closedir) X(rewinddir) X(seekdir) X(scandir) X(scandir64) X(scandirat) \
	X(scandirat64) X(glob) X(glob64) X(posix_spawn_file_actions_addopen)
enum shim_next {
#define X(n) NEXT_##n,
	SHIM_NEXT(X)
#undef X
	NEXT_COUNT
};
extern void *_Atomic shim_next_table[NEXT_COUNT];
void *shim_next_find(enum shim_next n);
static inline void *shim_next(enum shim_next n)
{
	void *p = atomic_load_explicit(&shim_next_table[n], memory_order_relaxed);

	return likely(p != NULL) ? p : shim_next_find(n);
}
#define NEXT(name) ((__typeof__(&name))shim_next(NEXT_##name))

/* -errno to libc's convention: the only place. */
static inline long shim_ret(long r)
{
	if (likely(r >= 0))
		return r;
	errno = (int)-r;
	return -1;
}

/*
 * Between these two this thread is inside one of our functions: the program's signal handlers wait
 * until it is out of the outermost one (base/deferred.h). The last leave may not return: a
 * handler that jumps away.
 */
extern _Thread_local u32 shim_busy __attribute__((tls_model("initial-exec")));
extern _Thread_local struct deferred shim_deferred __attribute__((tls_model("initial-exec")));

static inline void shim_enter(void)
{
	if (unlikely(atomic_load_explicit(&shim_deferred.n, memory_order_relaxed)) && !shim_busy)
		deferred_again(&shim_deferred);
	shim_busy++;
	atomic_signal_fence(memory_order_seq_cst);
}

static inline void shim_leave(void)
{
	atomic_signal_fence(memory_order_seq_cst);
	shim_busy--;
	atomic_signal_fence(memory_order_seq_cst);
	if (unlikely(atomic_load_explicit(&shim_deferred.n, memory_order_relaxed)) && !shim_busy)
		deferred_run(&shim_deferred);
}

/* -- safe.c: addresses that the program gave; none of these can fault -- */
bool shim_can_read(const void *p, size_t n);
bool shim_can_write(void *p, size_t n);	/* changes p: for buffers that are written then */
/* Its length; -EFAULT, or -ENAMETOOLONG: no end within max bytes. */
ssize_t shim_string(const char *s, size_t max);
bool shim_path(const char *path);	/* a string that the kernel takes for a path */
/* How many entries an argv or envp has, all of them readable strings (NULL: 0), or -EFAULT. */
ssize_t shim_list(char *const *list);

/* -- node.c -- */
void shim_node_init(void);
const char *shim_node(void);
bool shim_node_is_default(void);
/* Is path, which can be read, the file of that absolute name, by whatever spelling? */
bool shim_is_file(int dir, const char *path, const char *name);
/* ... the node we stand in for? */
bool shim_is_node_read(int dir, const char *path);
/* A symbolic link to the node, which does not exist. path can be read. */
bool shim_leads_to_node(int dir, const char *path);
/* After a call of the kernel about path, with errno if it has failed: was that about the node? A
 * real one may exist, with other rights. Keeps errno. follow: the call follows links. */
bool shim_was_node(bool failed, int dir, const char *path, bool follow);
bool shim_is_device(const struct stat *st);	/* the real node, or what was made with its
						 * number */
/* A descriptor of the node, opened by us in whatever process. */
bool shim_is_node_fd(int fd);

int shim_open_node(int flags);		/* fd or -errno; starts nothing */
/* Reads and writes of KVM's descriptors: the errno, 0: fd is none. at_offset: pread and the
 * like. */
int shim_refusal(int fd, bool at_offset);

/* -- pathfd.c -- */
int shim_open_path(int flags);
bool shim_is_path_fd(int fd, const struct stat *st);	/* st: what the kernel says of it */
bool shim_is_path_fd_link(const char *path, const struct stat *st);
void shim_path_fd_opened(int fd, const struct stat *st);	/* fd is something else now */
void shim_path_fd_copied(int from, int to);
struct open_how;
long shim_openat2(int dir, const char *path, const struct open_how *how, size_t size);
/* Before the first request of any kind: 0 or -errno. Idempotent. */
int shim_engine_start(void);
/* A parameter of a KVM module below /sys/module: fd, -errno, or -ENOSYS when the path is none. path
 * can be read. */
int shim_open_param(const char *path, int flags);
/* /proc/cpuinfo with the flag of virtualization: fd, or -ENOSYS: not that file, or not needed. path
 * can be read. */
int shim_open_cpuinfo(int dir, const char *path, int flags);

void shim_exec_init(void);

/* -- chosen.c: which programs are put on standin; written by the constructor only -- */
extern bool shim_off;		/* STANDIN_OFF: nothing of the program's is touched, nor its
				 * children's */
extern bool shim_passive;	/* off, or not one of those that were asked for: its children may
				 * be */
void shim_chosen_init(void);
bool shim_wanted(const char *path);	/* by its name; path can be read */

/* -- confine.c: a seccomp filter is about to be installed. Arguments of seccomp(2), prctl(2). -- */
void shim_confine(unsigned int mode, const void *filter);
void shim_confine_prctl(int option, unsigned long mode, const void *filter);

/* -- cpuid.c: CPUID faulting; the last two are its parts, for tests -- */
void shim_cpuid_init(void);
int shim_cpuid_signal(void);	/* which one it comes as; 0: it does not */
/* From the SIGSEGV handler: true when it was a CPUID instruction, which has been answered. */
bool shim_cpuid_fault(int sig, const siginfo_t *info, void *ucontext);
bool shim_cpuid_is(const u8 *insn);
/* -- cpuid_text.c -- */
u32 shim_cpuid_text_patch(void);	/* the program's own CPUID instructions by UD2: how many */
bool shim_cpuid_text_is(u64 rip);	/* one of those */
/* Is `at` the beginning of an instruction? What is known are the bytes from start to end, not where
 * its function begins. */
bool shim_cpuid_text_likely(u64 start, u64 at, u64 end);
void shim_cpuid_answer(u32 leaf, const u32 leaf0[4], u32 r[4]);

long shim_raw_syscall2(long nr, long a, long b);	/* -errno */

/* The five signals that translated code may raise belong to us from the first use of the
 * node on; the program's own handlers are called behind ours. */
void shim_signals_init(void);
void shim_signals_start(void);
void shim_signals_take(int sig);	/* put the trampoline in place */
/* Faults must be deliverable on a thread that makes requests. */
void shim_thread_ready(void);

#endif
