/* SPDX-License-Identifier: MIT */
/* tests/insn/oracle.c - runs batches natively; a fault becomes part of the result. */
#include "tests/insn/oracle.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

extern char **environ;
extern void oracle_enter(void);
extern const u8 oracle_leave[];
u64 oracle_host_sp __attribute__((visibility("hidden")));

__asm__(
"	.pushsection .text\n	.hidden oracle_host_sp, oracle_leave\n"
"	.globl oracle_enter, oracle_leave\n"
"oracle_enter:\n"
"	push %rbx\n	push %rbp\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
"	mov %rsp, oracle_host_sp(%rip)\n"
"	movabs $" A_STR(A_TRAMP) ", %rax\n"
"	jmp *%rax\n"
"oracle_leave:\n"
"	mov oracle_host_sp(%rip), %rsp\n"
"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbp\n	pop %rbx\n"
"	fninit\n	cld\n	vzeroupper\n"
"	ret\n"
"	.popsection\n");

/* libc's wrappers may touch thread-local storage. */
static long raw_syscall(long nr, u64 a, u64 b)
{
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "0"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return r;
}

static long raw_arch_prctl(u64 op, u64 v)
{
	return raw_syscall(SYS_arch_prctl, op, v);
}

/* A #DB: one more of struct insn_steps, and on; in the trampoline stepping ends. False: no room is
 * left. */
__attribute__((no_stack_protector)) static bool on_trap(greg_t *g, struct insn_steps *s,
							bool single)
{
	u64 rip = (u64)g[REG_RIP], flags = (u64)g[REG_EFL] & STEP_FLAGS;

	if (rip - A_TRAMP < 0x1000 || rip >> 12 == A_LOW >> 12) {
		g[REG_EFL] &= ~(greg_t)0x10100;
		return true;
	}
	if (s->n >= STEPS_MAX)
		return false;
	s->at[s->n++] = (u32)rip | (flags | (single ? STEP_BS : 0)) << 32;
	return true;
}

/* FS is the sequences' while this runs: nothing here may use thread-local storage. */
__attribute__((no_stack_protector)) static void on_fault(int sig, siginfo_t *si, void *p)
{
	ucontext_t *uc = p;
	greg_t *g = uc->uc_mcontext.gregs;
	struct insn_state *r = (void *)(uintptr_t)A_RES;
	u64 rip = (u64)g[REG_RIP];

	/* The kernel leaves AC as the sequence had it. */
	__asm__ volatile("pushfq\n\tandl $~0x40000, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	if (g[REG_TRAPNO] == 1 &&
	    on_trap(g, &((struct insn_result *)(void *)r)->steps, si->si_code == TRAP_TRACE))
		return;
	/* Ours, not a sequence's: die with the reason visible to the parent. */
	if (rip - A_TRAMP < 0x1000)
		raw_syscall(SYS_exit_group, 100 + (u64)g[REG_TRAPNO], 0);
	r->vec = (u64)g[REG_TRAPNO];
	r->err = (u64)g[REG_ERR];
	r->cr2 = (u64)g[REG_CR2];
	r->fault_rip = rip;
	r->fault_flags = (u64)g[REG_EFL];
	g[REG_RIP] = A_TRAMP + (greg_t)(tramp_exit - tramp_start);
	g[REG_EFL] &= ~(greg_t)0x10100;		/* TF, RF */
	/* CS and SS of 64-bit code, whatever it was. */
	g[REG_CSGSFS] = (greg_t)(((u64)g[REG_CSGSFS] & 0x0000ffffffff0000ull) | USER_CS |
				 (u64)USER_SS << 48);
}

static int make_ldt(void)
{
	for (u32 i = 0; i < WORLD_LDT; i++) {
		const struct world_desc *d = &world_ldt[i];
		struct user_desc u = {
			.entry_number = i, .base_addr = d->base,
			.limit = d->limit == ~0u     ? 0xfffff
				 : d->limit > 0xfffff ? d->limit >> 12
						      : d->limit,
			.limit_in_pages = d->limit > 0xfffff, .seg_32bit = d->big,
			.contents = d->code ? 2 : d->down, .read_exec_only = d->ro,
		};

		if (syscall(SYS_modify_ldt, 1, &u, sizeof(u)))
			return -1;
	}
	return 0;
}

static int map_part(int fd, u64 at, u64 end, int prot)
{
	void *want = (void *)(uintptr_t)at;
	void *p = mmap(want, end - at, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd,
		       (off_t)arena_offset(at));

	return p == want ? 0 : -1;
}

static int reserve(u64 at, u64 end)
{
	void *want = (void *)(uintptr_t)at;

	return mmap(want, end - at, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
		    -1, 0) == want
		       ? 0
		       : -1;
}

static int map_arena(int fd)
{
	return reserve(A_BASE, A_END) || reserve(A_PRIV, A_PRIV_END) ||
	       map_part(fd, A_LOW, A_LOW + 4096, PROT_READ | PROT_EXEC) ||
	       map_part(fd, A_RO, A_DATA, PROT_READ) ||
	       map_part(fd, A_DATA, A_DATA_END, PROT_READ | PROT_WRITE) ||
	       map_part(fd, A_INIT, A_INIT + DATA_BYTES, PROT_READ) ||
	       map_part(fd, A_CODE, A_CODE_END, PROT_READ | PROT_EXEC) ||
	       map_part(fd, A_TRAMP, A_CTRL, PROT_READ | PROT_EXEC) ||
	       map_part(fd, A_CTRL, A_TSTACK, PROT_READ | PROT_WRITE) ||
	       map_part(fd, A_CASES, A_RESULTS, PROT_READ) ||
	       map_part(fd, A_RESULTS, A_PRIV_END, PROT_READ | PROT_WRITE);
}

static u64 current_fs(void)
{
	u64 v = 0;

	raw_arch_prctl(ARCH_GET_FS, (u64)(uintptr_t)&v);
	return v;
}

static void run_batch(u64 fs)
{
	alarm(20);	/* a hang ends the process, which the parent sees */
	raw_arch_prctl(ARCH_SET_GS, A_GS_BASE);
	raw_arch_prctl(ARCH_SET_FS, A_FS_BASE);
	oracle_enter();
	raw_arch_prctl(ARCH_SET_FS, fs);
	alarm(0);
}

int oracle_main(int arena, int in, int out)
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	struct arena_ctrl *ctrl = (void *)(uintptr_t)A_CTRL;
	stack_t st = { .ss_size = 1 << 16 };
	u64 fs = current_fs();
	bool ldt = false;
	char b;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	st.ss_sp = malloc(st.ss_size);
	if (!st.ss_sp || sigaltstack(&st, NULL) || map_arena(arena))
		return 3;
	sigemptyset(&sa.sa_mask);
	for (u32 i = 0; i < ARRAY_SIZE(sigs); i++)
		if (sigaction(sigs[i], &sa, NULL))
			return 3;
	while (read(in, &b, 1) == 1) {
		if (ctrl->ds && !ldt && make_ldt())
			return 4;
		ldt |= ctrl->ds != 0;
		ctrl->ss64 = USER_SS;
		ctrl->finish = (u64)(uintptr_t)oracle_leave;
		run_batch(fs);
		if (write(out, &b, 1) != 1)
			return 3;
	}
	return 0;
}

bool oracle_has_ldt(void)
{
	char none;

	return syscall(SYS_modify_ldt, 0, &none, 0) == 0;
}

/* The environment without the preload object, which would carry itself over to what is executed if
 * it were not told to stay out: the oracle must be the plain host. */
static char **plain_environment(void)
{
	static char off[] = "STANDIN_OFF=1";
	u32 n = 0, k = 0;
	char **e;

	while (environ[n])
		n++;
	e = calloc(n + 2, sizeof(*e));
	for (u32 i = 0; e && i < n; i++)
		if (strncmp(environ[i], "LD_PRELOAD=", 11))
			e[k++] = environ[i];
	if (e)
		e[k] = off;
	return e;
}

int oracle_start(struct oracle *o)
{
	int in[2], out[2], fd = memfd_create("insn-arena", MFD_CLOEXEC);
	char a[3][12];
	char **env = plain_environment();

	if (fd < 0 || ftruncate(fd, A_SIZE) || pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) ||
	    !env)
		return -errno;
	o->arena = mmap(NULL, A_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (o->arena == MAP_FAILED)
		return -errno;
	memcpy(o->arena + arena_offset(A_TRAMP), tramp_start, (size_t)(tramp_end - tramp_start));
	snprintf(a[0], sizeof(a[0]), "%d", fd);
	snprintf(a[1], sizeof(a[1]), "%d", in[0]);
	snprintf(a[2], sizeof(a[2]), "%d", out[1]);
	o->pid = fork();
	if (o->pid < 0)
		return -errno;
	if (!o->pid) {
		char *args[] = { "insn-oracle", "--oracle", a[0], a[1], a[2], NULL };

		fcntl(fd, F_SETFD, 0);
		fcntl(in[0], F_SETFD, 0);
		fcntl(out[1], F_SETFD, 0);
		execve("/proc/self/exe", args, env);
		_exit(127);
	}
	free(env);
	close(in[0]);
	close(out[1]);
	close(fd);
	o->to = in[1];
	o->from = out[0];
	return 0;
}

int oracle_begin(struct oracle *o)
{
	return write(o->to, "b", 1) == 1 ? 0 : -EIO;
}

int oracle_wait(struct oracle *o)
{
	char b;

	return read(o->from, &b, 1) == 1 ? 0 : -EIO;
}

int oracle_watch(struct oracle *o, const struct watch *w)
{
	long bad;

	if (ptrace(PTRACE_ATTACH, o->pid, 0, 0))
		return -errno;
	if (waitpid(o->pid, NULL, 0) != o->pid)
		return -errno;
	/* None is on while their addresses change. */
	bad = ptrace(PTRACE_POKEUSER, o->pid, offsetof(struct user, u_debugreg[7]), 0);
	for (u32 i = 0; i < 4; i++)
		bad |= ptrace(PTRACE_POKEUSER, o->pid, offsetof(struct user, u_debugreg[i]),
			      w->dr[i]);
	bad |= ptrace(PTRACE_POKEUSER, o->pid, offsetof(struct user, u_debugreg[7]), (u64)w->dr7);
	bad |= ptrace(PTRACE_DETACH, o->pid, 0, 0);
	/* The stop that attaching asked for may come later than another one: it would stay. */
	bad |= kill(o->pid, SIGCONT);
	return bad ? -EIO : 0;
}

void oracle_stop(struct oracle *o)
{
	int status;

	close(o->to);
	close(o->from);
	munmap(o->arena, A_SIZE);
	if (waitpid(o->pid, &status, 0) == o->pid && WIFSIGNALED(status))
		printf("# the oracle was ended by signal %d\n", WTERMSIG(status));
	else if (WIFEXITED(status) && WEXITSTATUS(status))
		printf("# the oracle ended with status %d\n", WEXITSTATUS(status));
}
