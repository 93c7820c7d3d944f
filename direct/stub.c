/* SPDX-License-Identifier: MIT */
/*
 * direct/stub.c - the process in which user code of the guest runs: its start, its stops, its end.
 *
 * It begins as a program of one page (a memfd), inherits nothing but the descriptors that it needs,
 * and is traced by the vCPU's thread from its first instruction on. User code runs under
 * PTRACE_SYSEMU only: a system call, wherever it is made, and a signal, whatever it is, stop the
 * process before anything comes of them, and that it stands still is what the host's kernel says.
 * Only while our own code runs, with registers from us and a list that the process cannot write,
 * are system calls made. If the VMM ends so does it (PTRACE_O_EXITKILL).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "direct/direct_priv.h"

#include <elf.h>	/* has macros of names that engine/cpu.h declares */

/* In Linux's struct user, whose header has names of ours: behind registers, FPU and what a core
 * needs. */
#define DEBUGREG(n) (848 + 8 * (u64)(n))
#define SYSCALL_STOP (SIGTRAP | 0x80)	/* PTRACE_O_TRACESYSGOOD */

_Atomic u64 direct_stub_base;
/* One at a time: program_fd, the stack of spawn(). */
static pthread_mutex_t births = PTHREAD_MUTEX_INITIALIZER;
static int program_fd = -1;
/* Ended, but only the thread that traced them could see them off, or its end. Under the lock
 * `births`. */
static int orphans[64];

/* Where the stub's pages lie is left to chance, far from where Linux puts things: so programs do
 * not come upon them. */
static u64 choose_base(void)
{
	u64 r = 0;

	RAW(SYS_getrandom, &r, sizeof(r), 0);
	return 0x100000000000ull + (r & GENMASK64(45, 12));
}

static int program(u64 base)
{
	struct {
		Elf64_Ehdr e;
		Elf64_Phdr p[2];
	} h = { 0 };
	u8 page[PAGE_SIZE] = { 0 };
	u64 len = (u64)(direct_stub_end - direct_stub_code);
	int fd = memfd_create("standin-stub", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	memcpy(h.e.e_ident, ELFMAG, SELFMAG);
	h.e.e_ident[EI_CLASS] = ELFCLASS64;
	h.e.e_ident[EI_DATA] = ELFDATA2LSB;
	h.e.e_ident[EI_VERSION] = EV_CURRENT;
	h.e.e_type = ET_EXEC;
	h.e.e_machine = EM_X86_64;
	h.e.e_version = EV_CURRENT;
	h.e.e_entry = base + STUB_CODE_AT;
	h.e.e_phoff = offsetof(__typeof__(h), p);
	h.e.e_ehsize = sizeof(h.e);
	h.e.e_phentsize = sizeof(h.p[0]);
	h.e.e_phnum = 2;
	h.p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = base,
			       .p_paddr = base, .p_filesz = PAGE_SIZE, .p_memsz = PAGE_SIZE,
			       .p_align = PAGE_SIZE };
	h.p[1] = (Elf64_Phdr){ .p_type = PT_GNU_STACK, .p_flags = PF_R | PF_W };
	memcpy(page, &h, sizeof(h));
	memcpy(page + STUB_CODE_AT, direct_stub_code, len);
	if (sys_write(fd, page, sizeof(page)) != (long)sizeof(page)) {
		sys_close(fd);
		return -1;
	}
	return fd;
}

struct birth {
	int orders, exec;
	u32 n_ram;
	int err;
};

/* Runs in our memory, with descriptors of its own, until it executes the program. */
static int child(void *arg)
{
	struct birth *b = arg;
	static const char none[] = "";
	char *const no[] = { NULL };
	int at = 700, top = STUB_FD_RAM + (int)b->n_ram;
	u64 no_signals = 0;

	/* Out of the way first: the numbers that are wanted may be taken by others of them. */
	long orders = RAW(SYS_fcntl, b->orders, F_DUPFD, at),
	     exec = RAW(SYS_fcntl, b->exec, F_DUPFD, at);
	long ram[RAM_MAX];

	for (u32 i = 0; i < b->n_ram; i++)
		ram[i] = direct_ram[i].fd < 0 ? -1 : RAW(SYS_fcntl, direct_ram[i].fd, F_DUPFD, at);
	RAW(SYS_close_range, 0u, (unsigned)at - 1, 0u);
	RAW(SYS_dup3, orders, STUB_FD_ORDERS, 0);
	for (u32 i = 0; i < b->n_ram; i++)
		if (ram[i] >= 0)
			RAW(SYS_dup3, ram[i], STUB_FD_RAM + (int)i, 0);
	RAW(SYS_dup3, exec, top, O_CLOEXEC);
	RAW(SYS_close_range, (unsigned)top + 1, ~0u, 0u);
	RAW(SYS_setsid);
	RAW(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	b->err = (int)RAW(SYS_ptrace, PTRACE_TRACEME);
	if (!b->err) {
		/* Nobody knows its number yet; and the stop behind execve is a signal. */
		RAW(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, NULL, 8);
		b->err = (int)RAW(SYS_execveat, top, none, no, no, AT_EMPTY_PATH);
	}
	RAW(SYS_exit, 127);
	return 0;
}

static long trace(const struct stub *s, int what, u64 addr, const void *data)
{
	return RAW(SYS_ptrace, what, s->pid, addr, data);
}

static bool lost(struct stub *s)
{
	s->broken = s->gone = true;
	s->why = STUB_LOST;
	return false;
}

/* Wait until it stops, and say by which signal; 0: it is no more. Its number stays taken until
 * stub_free(): others may be about to send it a signal (cpu.away). */
static u32 stop_of(struct stub *s)
{
	for (;;) {
		siginfo_t si = { 0 };
		long r = RAW(SYS_waitid, P_PID, s->pid, &si, WEXITED | WSTOPPED | WNOWAIT | __WALL,
			     NULL);

		if (!r && (si.si_code == CLD_TRAPPED || si.si_code == CLD_STOPPED))
			return (u32)si.si_status;
		if (r != -EINTR)
			return 0;
		/* A wait() of the VMM for any child may have taken it: but only what has stopped
		 * can be asked. */
		if (!trace(s, PTRACE_GETSIGINFO, 0, &si))
			return (u32)(si.si_signo == SIGTRAP ? si.si_code & 0xffff : si.si_signo);
	}
}

#define EXIT_STOP (SIGTRAP | PTRACE_EVENT_EXIT << 8)

/* Make it run our code at `at` until that stops. s->regs stay the user code's. */
static bool inject(struct stub *s, struct stub_regs *r, u64 at)
{
	r->rip = at;
	r->cs = USER_CS;
	r->ss = USER_DS;
	r->eflags = 0x202;
	r->orig_rax = ~0ull;
	s->regs_wait = true;
	s->injected++;
	if (trace(s, PTRACE_SETREGS, 0, r))
		return lost(s);
	for (;;) {
		u32 sig;

		if (trace(s, PTRACE_CONT, 0, NULL))
			return lost(s);
		sig = stop_of(s);
		if (!sig)
			return lost(s);
		if (sig == EXIT_STOP) {
			s->broken = s->gone = true;
			s->why = STUB_ENDS;
			return false;
		}
		if (sig == SIGTRAP)
			break;
		/* Somebody calls it back, or sends it something else: who did sees the vCPU before
		 * user code goes on. */
	}
	return !trace(s, PTRACE_GETREGS, 0, r) || lost(s);
}

bool stub_flush(struct stub *s)
{
	u64 base = atomic_load(&direct_stub_base);
	struct stub_regs r = { 0 };
	u32 n = s->n;

	if (s->broken)
		return false;
	if (!n)
		return true;
	s->n = 0;
	r.rbx = n;
	r.r13 = base + STUB_ORDERS;
	if (!inject(s, &r, base + STUB_CODE_AT + (u64)(direct_stub_loop - direct_stub_code)))
		return false;
	if (r.rbx || r.rip != base + STUB_CODE_AT + (u64)(direct_stub_done - direct_stub_code)) {
		log_warn("direct: order %lu failed: %ld", (unsigned long)(n - r.rbx), (long)r.rax);
		s->broken = true;
		return false;
	}
	return true;
}

bool stub_order(struct stub *s, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	if (s->n == STUB_ORDERS_MAX && !stub_flush(s))
		return false;
	s->orders->op[s->n++] = (struct order){ .nr = nr, .arg = { a, b, c, d, e, f } };
	return true;
}

bool stub_vectors(struct stub *s)
{
	struct iovec v = { s->x, s->x_size };

	if (!s->x_known && trace(s, PTRACE_GETREGSET, NT_X86_XSTATE, &v))
		return lost(s);
	s->x_known = true;
	return true;
}

bool stub_breaks(struct stub *s, const u64 at[SPOTS])
{
	u64 dr7 = 0;

	/* A place that is not used any more keeps its address. */
	for (u32 i = 0; i < SPOTS; i++) {
		if (!at[i])
			continue;
		if (trace(s, PTRACE_POKEUSER, DEBUGREG(i), (void *)(uintptr_t)at[i]))
			return false;
		dr7 |= BIT64(2 * i);
	}
	return !trace(s, PTRACE_POKEUSER, DEBUGREG(7), (void *)(uintptr_t)dr7);
}

bool stub_run(struct stub *s)
{
	struct iovec v = { s->x, s->x_size };
	siginfo_t si;
	u32 sig;

	if (!stub_flush(s))
		return false;
	s->regs.orig_rax = ~0ull;
	if (s->regs_wait && trace(s, PTRACE_SETREGS, 0, &s->regs)) {
		/* Bases that a process of the host cannot have. */
		s->broken = true;
		return false;
	}
	if (s->x_known && s->x_wait && trace(s, PTRACE_SETREGSET, NT_X86_XSTATE, &v)) {
		s->broken = true;
		return false;
	}
	if (trace(s, PTRACE_SYSEMU, 0, NULL))
		return lost(s);
	s->regs_wait = s->x_wait = s->x_known = false;
	sig = stop_of(s);
	if (!sig || trace(s, PTRACE_GETREGS, 0, &s->regs))
		return lost(s);
	if (sig == SYSCALL_STOP) {
		s->why = STUB_SYSCALL;
		s->regs.rax = s->regs.orig_rax;
		s->regs_wait = true;
		return true;
	}
	if (sig == EXIT_STOP) {
		s->broken = s->gone = true;
		s->why = STUB_ENDS;
		return stub_vectors(s);
	}
	if (trace(s, PTRACE_GETSIGINFO, 0, &si))
		return lost(s);
	s->why = STUB_SIGNAL;
	s->sig = sig;
	s->code = si.si_code;
	s->addr = (u64)(uintptr_t)si.si_addr;
	return true;
}

struct start_data {
	u64 no_signals;
	struct rlimit none;
	struct sock_fprog prog;
	struct sock_filter filter[24];
};

/* The second lock behind PTRACE_SYSEMU: what our code calls, from its page. */
static u32 write_filter(struct sock_filter *f, u64 base)
{
	static const u32 allowed[] = { SYS_mmap, SYS_munmap };
	const u8 n = ARRAY_SIZE(allowed);
	u32 k = 0;
#define LD(field) ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, field))
#define UNLESS(v, skip) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, 0, skip))
#define IF(v, skip) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, skip, 0))
	f[k++] = LD(offsetof(struct seccomp_data, arch));
	f[k++] = UNLESS(AUDIT_ARCH_X86_64, (u8)(6 + n));
	f[k++] = LD(offsetof(struct seccomp_data, instruction_pointer) + 4);
	f[k++] = UNLESS((u32)(base >> 32), (u8)(4 + n));
	f[k++] = LD(offsetof(struct seccomp_data, instruction_pointer));
	f[k++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfffff000);
	f[k++] = UNLESS((u32)base, (u8)(1 + n));
	f[k++] = LD(offsetof(struct seccomp_data, nr));
	for (u32 i = 0; i < n; i++)
		f[k++] = IF(allowed[i], (u8)(n - i));
	f[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	f[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return k;
}

static bool start(struct stub *s)
{
	u64 base = atomic_load(&direct_stub_base);
	struct start_data *d = (void *)s->orders->data;
	u64 at = base + STUB_ORDERS + offsetof(struct orders, data);
	struct stub_regs r = { 0 };
	struct iovec v = { s->x, sizeof(s->x) };
#define AT(field) (at + offsetof(struct start_data, field))

	if (stop_of(s) != SIGTRAP ||
	    trace(s, PTRACE_SETOPTIONS, 0,
		  (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXIT)) ||
	    trace(s, PTRACE_GETREGSET, NT_X86_XSTATE, &v) || v.iov_len >= sizeof(s->x))
		return false;
	s->x_size = (u32)v.iov_len;
	r.rax = SYS_mmap;
	r.rdi = base + STUB_ORDERS;
	r.rsi = STUB_SHARED;
	r.rdx = PROT_READ;
	r.r10 = MAP_SHARED | MAP_FIXED;
	r.r8 = STUB_FD_ORDERS;
	if (!inject(s, &r, base + STUB_CODE_AT) || r.rax != base + STUB_ORDERS)
		return false;
	d->prog.len = (unsigned short)write_filter(d->filter, base);
	d->prog.filter = (void *)AT(filter);
	stub_order(s, SYS_close, STUB_FD_ORDERS, 0, 0, 0, 0, 0);
	stub_order(s, SYS_munmap, 0, base, 0, 0, 0, 0);
	stub_order(s, SYS_munmap, base + STUB_SIZE, USER_TOP - base - STUB_SIZE, 0, 0, 0, 0);
	stub_order(s, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
	stub_order(s, SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0, 0);
	stub_order(s, SYS_setrlimit, RLIMIT_CORE, AT(none), 0, 0, 0, 0);
	stub_order(s, SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, AT(prog), 0, 0, 0);
	return stub_flush(s);
}

/* Under the lock. */
static void see_off(void)
{
	for (u32 i = 0; i < ARRAY_SIZE(orphans); i++)
		if (orphans[i] && RAW(SYS_waitid, P_PID, orphans[i], NULL,
				      WEXITED | WNOHANG | __WALL, NULL) == -ECHILD)
			orphans[i] = 0;
}

static void end(const struct stub *s)
{
	siginfo_t si = { 0 };

	RAW(SYS_kill, s->pid, SIGKILL);
	if (s->owner == sys_gettid()) {
		/* It stops once more where it ends (PTRACE_O_TRACEEXIT). */
		while (!RAW(SYS_waitid, P_PID, s->pid, &si, WEXITED | WSTOPPED | __WALL, NULL) &&
		       (si.si_code == CLD_TRAPPED || si.si_code == CLD_STOPPED))
			trace(s, PTRACE_CONT, 0, NULL);
		return;
	}
	pthread_mutex_lock(&births);
	for (u32 i = 0; i < ARRAY_SIZE(orphans); i++)
		if (!orphans[i]) {
			orphans[i] = s->pid;
			break;
		}
	see_off();
	pthread_mutex_unlock(&births);
}

void stub_free(struct stub *s)
{
	if (!s)
		return;
	if (s->pid > 0)
		end(s);
	if (s->shared)
		munmap(s->shared, STUB_SHARED);
	free(s);
}

static pid_t spawn(struct birth *b)
{
	static u8 stack[16384] __attribute__((aligned(16)));
	u64 all = ~0ull, old = 0;
	pid_t pid = -1;

	pthread_mutex_lock(&births);
	see_off();
	if (program_fd < 0) {
		u64 base = choose_base();

		program_fd = program(base);
		atomic_store(&direct_stub_base, base);
	}
	b->exec = program_fd;
	if (b->exec >= 0) {
		/* No handler of ours may run there. It sends no signal when it ends. */
		sys_sigmask(SIG_SETMASK, &all, &old);
		pid = clone(child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK, b);
		sys_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_mutex_unlock(&births);
	return pid;
}

/* Each stop would be a SIGCHLD to a program that has a handler and did not say SA_NOCLDSTOP. */
static bool sigchld_heard(void)
{
	struct {
		void (*handler)(int);
		u64 flags, restorer, mask;
	} a = { 0 };

	return !RAW(SYS_rt_sigaction, SIGCHLD, NULL, &a, 8) && a.handler != SIG_DFL &&
	       a.handler != SIG_IGN && !(a.flags & SA_NOCLDSTOP);
}

struct stub *stub_new(bool warn)
{
	struct stub *s;
	struct birth b = { .n_ram = atomic_load(&direct_ram_n), .orders = -1 };
	void *p;

	if (sigchld_heard()) {
		log_info("direct: no stub: it handles SIGCHLD without SA_NOCLDSTOP");
		return NULL;
	}
	s = aligned_alloc(64, (sizeof(*s) + 63) & ~63ul);
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->pid = s->cpu = -1;
	s->owner = sys_gettid();
	b.orders = memfd_create("standin-direct", MFD_CLOEXEC);
	if (b.orders < 0 || sys_resize(b.orders, STUB_SHARED))
		goto fail;
	p = sys_map_file(b.orders, STUB_SHARED, 0);
	if (sys_map_error(p))
		goto fail;
	s->shared = p;
	s->orders = p;
	s->pid = spawn(&b);
	if (s->pid < 0 || b.err)
		goto fail;
	if (start(s)) {
		log_info("direct: stub %d", s->pid);
		sys_close(b.orders);
		return s;
	}
fail:
	if (warn)
		log_warn("direct: no stub: %s", strerror(b.err ? -b.err : errno));
	if (b.orders >= 0)
		sys_close(b.orders);
	stub_free(s);
	return NULL;
}
