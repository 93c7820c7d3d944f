/* SPDX-License-Identifier: MIT */
/*
 * direct/stub.c - the process in which user code of the guest runs: its start, its turns, its end.
 *
 * It begins as a program of one page (a memfd) and inherits nothing but the descriptors it needs.
 * The turn passes by a futex in a page that both map. Own thread of the vCPU.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "direct/direct_priv.h"

#include <elf.h>	/* has macros of names that engine/cpu.h declares */

static pthread_mutex_t births = PTHREAD_MUTEX_INITIALIZER;	/* one at a time: program_fd, stack
								 * of stub_new() */
static int program_fd = -1;

static int program(void)
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
	h.e.e_entry = STUB_BASE + STUB_CODE_AT;
	h.e.e_phoff = offsetof(__typeof__(h), p);
	h.e.e_ehsize = sizeof(h.e);
	h.e.e_phentsize = sizeof(h.p[0]);
	h.e.e_phnum = 2;
	h.p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = STUB_BASE,
			       .p_paddr = STUB_BASE, .p_filesz = PAGE_SIZE, .p_memsz = PAGE_SIZE,
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
	int comm, exec;
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

	/* Out of the way first: the numbers that are wanted may be taken by others of them. */
	long comm = RAW(SYS_fcntl, b->comm, F_DUPFD, at),
	     exec = RAW(SYS_fcntl, b->exec, F_DUPFD, at);
	long ram[RAM_MAX];

	for (u32 i = 0; i < b->n_ram; i++)
		ram[i] = direct_ram[i].fd < 0 ? -1 : RAW(SYS_fcntl, direct_ram[i].fd, F_DUPFD, at);
	RAW(SYS_close_range, 0u, (unsigned)at - 1, 0u);
	RAW(SYS_dup3, comm, STUB_FD_COMM, 0);
	for (u32 i = 0; i < b->n_ram; i++)
		if (ram[i] >= 0)
			RAW(SYS_dup3, ram[i], STUB_FD_RAM + (int)i, 0);
	RAW(SYS_dup3, exec, top, O_CLOEXEC);
	RAW(SYS_close_range, (unsigned)top + 1, ~0u, 0u);
	RAW(SYS_setsid);
	b->err = (int)RAW(SYS_execveat, top, none, no, no, AT_EMPTY_PATH);
	RAW(SYS_exit, 127);
	return 0;
}

static void futex(_Atomic u32 *w, int op, u32 val, const struct timespec *t)
{
	RAW(SYS_futex, w, op, val, t);
}

static bool alive(struct stub *s)
{
	siginfo_t si = { 0 };

	/* Its number stays taken until stub_free(): others may be about to send it a signal
	 * (cpu.away). */
	return s->pid > 0 &&
	       !waitid(P_PID, (id_t)s->pid, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) &&
	       !si.si_pid;
}

bool stub_turn(struct stub *s, bool stay)
{
	const struct timespec patience = { .tv_nsec = 500000000 };
	struct comm *m = s->comm;
	u32 late = 0;

	if (s->broken)
		return false;
	s->orders->n = s->n;
	s->orders->stay = stay;
	s->orders->uc = s->uc;
	s->n = 0;
	atomic_store(&m->turn, 1);
	futex(&m->turn, FUTEX_WAKE, 1, NULL);
	while (atomic_load(&m->turn)) {
		long r = RAW(SYS_futex, &m->turn, FUTEX_WAIT, 1, &patience);

		if (r != -ETIMEDOUT)
			continue;
		/* Called back by a signal that it does not take? */
		late = !s->hurry || atomic_load(s->hurry) ? late + 1 : 0;
		if (alive(s) && late < 4)
			continue;
		kill(s->pid, SIGKILL);
		s->broken = s->gone = true;
		return false;
	}
	if (m->error) {
		log_warn("direct: order %u failed: %ld", s->orders->n - m->error_left,
			 (long)m->error);
		s->broken = true;
		return false;
	}
	return true;
}

bool stub_order(struct stub *s, u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	if (s->n == STUB_ORDERS_MAX && !stub_turn(s, true))
		return false;
	s->orders->op[s->n++] = (struct order){ .nr = nr, .arg = { a, b, c, d, e, f } };
	return true;
}

struct start_data {
	stack_t ss;
	struct {
		u64 handler, flags, restorer, mask;
	} act;
	u64 no_signals;
	struct rlimit none;
	struct sock_fprog prog;
	struct sock_filter filter[24];
};

static u32 write_filter(struct sock_filter *f)
{
	static const u32 allowed[] = { SYS_futex, SYS_rt_sigreturn, SYS_mmap, SYS_munmap,
				       SYS_mprotect };
	const u8 n = ARRAY_SIZE(allowed);
	u32 k = 0;
#define LD(field) ((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, field))
#define UNLESS(v, skip) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, 0, skip))
#define IF(v, skip) ((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, v, skip, 0))
	f[k++] = LD(offsetof(struct seccomp_data, arch));
	f[k++] = UNLESS(AUDIT_ARCH_X86_64, (u8)(6 + n));
	f[k++] = LD(offsetof(struct seccomp_data, instruction_pointer) + 4);
	f[k++] = UNLESS((u32)(STUB_BASE >> 32), (u8)(4 + n));
	f[k++] = LD(offsetof(struct seccomp_data, instruction_pointer));
	f[k++] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xfffff000);
	f[k++] = UNLESS((u32)STUB_BASE, (u8)(1 + n));
	f[k++] = LD(offsetof(struct seccomp_data, nr));
	for (u32 i = 0; i < n; i++)
		f[k++] = IF(allowed[i], (u8)(n - i));
	f[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	f[k++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return k;
}

static bool start(struct stub *s)
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGUSR1 };
	struct start_data *d = (void *)s->orders->data;
	u64 at = STUB_BASE + STUB_ORDERS + offsetof(struct orders, data);
#define AT(field) (at + offsetof(struct start_data, field))

	d->ss = (stack_t){ .ss_sp = (void *)(STUB_BASE + STUB_STACK),
			   .ss_size = STUB_SIZE - STUB_STACK };
	d->act.handler = STUB_BASE + STUB_CODE_AT + (u64)(direct_stub_handler - direct_stub_code);
	d->act.flags = SA_SIGINFO | SA_ONSTACK | 0x04000000;	/* SA_RESTORER: never used, but
								 * wanted */
	d->act.restorer = d->act.handler;
	d->act.mask = ~0ull;
	d->prog.len = (unsigned short)write_filter(d->filter);
	d->prog.filter = (void *)AT(filter);

	stub_order(s, SYS_munmap, 0, STUB_BASE, 0, 0, 0, 0);
	stub_order(s, SYS_munmap, STUB_BASE + STUB_SIZE, USER_TOP - STUB_BASE - STUB_SIZE, 0, 0, 0,
		   0);
	stub_order(s, SYS_sigaltstack, AT(ss), 0, 0, 0, 0, 0);
	for (u32 i = 0; i < ARRAY_SIZE(sigs); i++)
		stub_order(s, SYS_rt_sigaction, (u64)sigs[i], AT(act), 0, 8, 0, 0);
	stub_order(s, SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0);
	stub_order(s, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);
	stub_order(s, SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0, 0, 0, 0);
	stub_order(s, SYS_setrlimit, RLIMIT_CORE, AT(none), 0, 0, 0, 0);
	stub_order(s, SYS_rt_sigprocmask, SIG_SETMASK, AT(no_signals), 0, 8, 0, 0);
	/* So there is a frame. */
	stub_order(s, SYS_tgkill, (u64)s->pid, (u64)s->pid, SIGUSR1, 0, 0, 0);
	if (!stub_turn(s, true) || s->comm->sig != SIGUSR1)
		return false;
	s->uc = s->comm->uc;
	stub_order(s, SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, AT(prog), 0, 0, 0);
	return stub_turn(s, true);
}

void stub_free(struct stub *s)
{
	int st;

	if (!s)
		return;
	if (s->pid > 0) {
		kill(s->pid, SIGKILL);
		waitpid(s->pid, &st, __WALL);
	}
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
	if (program_fd < 0)
		program_fd = program();
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

struct stub *stub_new(const _Atomic u32 *hurry)
{
	struct stub *s = calloc(1, sizeof(*s));
	struct birth b = { .n_ram = atomic_load(&direct_ram_n) };
	void *p;

	if (!s)
		return NULL;
	s->pid = s->cpu = -1;
	s->owner = sys_gettid();
	s->hurry = hurry;
	b.comm = memfd_create("standin-direct", MFD_CLOEXEC);
	if (b.comm < 0 || sys_resize(b.comm, STUB_SHARED))
		goto fail;
	p = sys_map_file(b.comm, STUB_SHARED, 0);
	if (sys_map_error(p))
		goto fail;
	s->shared = p;
	s->orders = p;
	s->comm = (void *)(s->shared + (STUB_COMM - STUB_ORDERS));
	atomic_store(&s->comm->turn, 1);
	s->pid = spawn(&b);
	if (s->pid < 0 || b.err)
		goto fail;
	/* It says so when it is ready for orders. */
	for (int k = 0; atomic_load(&s->comm->turn) && k < 50; k++) {
		const struct timespec t = { .tv_nsec = 100000000 };

		futex(&s->comm->turn, FUTEX_WAIT, 1, &t);
		if (!alive(s))
			goto fail;
	}
	if (start(s)) {
		log_info("direct: stub %d", s->pid);
		sys_close(b.comm);
		return s;
	}
fail:
	log_warn("direct: no stub: %d", b.err ? b.err : -errno);
	if (b.comm >= 0)
		sys_close(b.comm);
	stub_free(s);
	return NULL;
}
