/* SPDX-License-Identifier: MIT */
/* tests/abi/rules_run.c - KVM_RUN and struct kvm_run to the letter (docs/kvm-abi.md 5.5-5.8). */
/* Run: build/standin run -- build/tests/abi/abi_rules [NAME...] */
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/abi/abi.h"

static void nothing(int sig)
{
}

static void catch(int sig)
{
	struct sigaction a = { .sa_handler = nothing };

	MUST(!sigaction(sig, &a, NULL));
}

static u64 ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

T(run_layout, "5.6: where the fields of kvm_run are; beyond the three pages: SIGBUS")
{
	int status = 0;
	pid_t p;

	EQ(offsetof(struct kvm_run, cr8), 0x10);
	EQ(offsetof(struct kvm_run, io), 0x20);
	EQ(offsetof(struct kvm_run, kvm_valid_regs), 0x120);
	EQ(offsetof(struct kvm_run, s), 0x130);
	machine(0);
	p = fork();
	if (!p) {
		u8 *q = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m.cpu, 0);

		if (q == MAP_FAILED)
			_exit(1);
		((volatile u8 *)q)[3 * 4096] = 1;
		_exit(0);
	}
	EQ(waitpid(p, &status, 0), p);
	EQ(WIFSIGNALED(status) ? WTERMSIG(status) : 0, SIGBUS);
}

T(run_immediate_exit, "5.7: immediate_exit: EINTR before the guest runs, exit_reason as it was")
{
	machine(0);
	LOAD(0xe6, 0x10, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	m.run->immediate_exit = 1;
	EQ(run(), -EINTR);
	EQ(m.run->exit_reason, KVM_EXIT_IO);
	EQ(regs().rip, CODE + 2);	/* the OUT was completed */
	EQ(run(), -EINTR);
	EQ(regs().rip, CODE + 2);
	m.run->immediate_exit = 0;
	EQ(run(), KVM_EXIT_HLT);
}

T(run_completion_first, "5.7: the pending completion runs before the immediate_exit test")
{
	machine(0);
	LOAD(0xe4, 0x10, 0xf4);		/* in al,0x10 */
	EQ(run(), KVM_EXIT_IO);
	EQ(regs().rip, CODE);
	((u8 *)m.run)[m.run->io.data_offset] = 0x5a;
	m.run->immediate_exit = 1;
	EQ(run(), -EINTR);
	EQ(regs().rip, CODE + 2);
	EQ(regs().rax & 0xff, 0x5a);
}

T(run_completion_new_exit,
  "5.7: a completion may be another exit: multi-fragment MMIO, whatever immediate_exit says")
{
	machine(0);
	/* mov ax,0x8000; mov ds,ax; mov eax,[0xffe]: crosses a page */
	LOAD(0xb8, 0x00, 0x80, 0x8e, 0xd8, 0x66, 0xa1, 0xfe, 0x0f, 0xf4);
	EQ(run(), KVM_EXIT_MMIO);
	EQ(m.run->mmio.phys_addr, NOWHERE + 0xffe);
	EQ(m.run->mmio.len, 2);
	memcpy(m.run->mmio.data, "\x11\x22", 2);
	m.run->immediate_exit = 1;
	EQ(run(), KVM_EXIT_MMIO);
	EQ(m.run->mmio.phys_addr, NOWHERE + 0x1000);
	EQ(m.run->mmio.len, 2);
	EQ(regs().rip, CODE + 5);
	memcpy(m.run->mmio.data, "\x33\x44", 2);
	EQ(run(), -EINTR);
	EQ(regs().rip, CODE + 9);
	EQ(regs().rax, 0x44332211);
}

T(run_valid_regs, "5.7: kvm_valid_regs, kvm_dirty_regs outside the mask: EINVAL")
{
	machine(0);
	LOAD(0xf4);
	m.run->kvm_valid_regs = 8;
	EQ(run(), -EINVAL);
	m.run->kvm_valid_regs = 0;
	m.run->kvm_dirty_regs = 8;
	EQ(run(), -EINVAL);
	m.run->kvm_dirty_regs = 0;
	EQ(run(), KVM_EXIT_HLT);
}

T(run_sync_regs,
  "5.6: dirty registers are loaded and the mask cleared; valid ones stored on return")
{
	machine(0);
	LOAD(0x40, 0xf4);	/* inc ax */
	m.run->kvm_valid_regs = 7;
	m.run->s.regs.regs = regs();
	m.run->s.regs.regs.rax = 0x41;
	m.run->kvm_dirty_regs = 1;
	EQ(run(), KVM_EXIT_HLT);
	EQ(m.run->kvm_dirty_regs, 0);
	EQ(m.run->s.regs.regs.rax, 0x42);
	EQ(m.run->s.regs.regs.rip, CODE + 2);
	EQ(m.run->s.regs.sregs.cs.base, 0);
	m.run->s.regs.sregs.efer = 1ull << 10;	/* invalid */
	m.run->kvm_dirty_regs = 2;
	EQ(run(), -EINVAL);
}

T(run_cr8, "5.7: without an in-kernel LAPIC kvm_run.cr8 is loaded; invalid: EINVAL")
{
	machine(0);
	LOAD(0xf4);
	m.run->cr8 = 16;
	EQ(run(), -EINVAL);
	m.run->cr8 = 7;
	EQ(run(), KVM_EXIT_HLT);
	EQ(sregs().cr8, 7);
	EQ(m.run->cr8, 7);
}

/* -- signals -- */

static void timer(int milli)
{
	struct itimerval t = { .it_value.tv_usec = milli * 1000 };

	MUST(!setitimer(ITIMER_REAL, &t, NULL));
}

T(run_signal, "5.7: a signal: EINTR and exit_reason INTR")
{
	machine(0);
	catch(SIGALRM);
	LOAD(0xeb, 0xfe);
	timer(20);
	EQ(run(), -EINTR);
	EQ(m.run->exit_reason, KVM_EXIT_INTR);
	EQ(regs().rip, CODE);
}

T(run_signal_hlt, "5.7: HLT with an in-kernel LAPIC blocks in KVM_RUN; a signal ends it")
{
	u64 t0;

	machine(M_IRQCHIP);
	catch(SIGALRM);
	LOAD(0xfb, 0xf4);
	timer(50);
	t0 = ms();
	EQ(run(), -EINTR);
	EQ(m.run->exit_reason, KVM_EXIT_INTR);
	TRUE(ms() - t0 >= 40);
	EQ(regs().rip, CODE + 2);
}

static void *send_usr2(void *arg)
{
	const pthread_t *to = arg;

	usleep(50000);
	pthread_kill(*to, SIGUSR2);
	return NULL;
}

T(run_signal_mask, "5.7: KVM_SET_SIGNAL_MASK is in force for the call only")
{
	struct {
		u32 len;
		u8 set[8];
	} mask = { .len = 8 };
	pthread_t t, self = pthread_self();
	sigset_t block, pending;

	machine(0);
	catch(SIGUSR1);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigaddset(&block, SIGUSR2);
	sigprocmask(SIG_BLOCK, &block, NULL);
	LOAD(0xeb, 0xfe);
	/* Blocked in the thread, open in KVM_RUN: ends it, and is still pending after. */
	IS(ioctl(m.cpu, KVM_SET_SIGNAL_MASK, &mask), 0);
	raise(SIGUSR1);
	EQ(run(), -EINTR);
	sigpending(&pending);
	EQ(sigismember(&pending, SIGUSR1), 1);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	EQ(sigwaitinfo(&block, NULL), SIGUSR1);
	/* The same while the guest runs, with a signal whose default action kills. */
	MUST(!pthread_create(&t, NULL, send_usr2, &self));
	EQ(run(), -EINTR);
	EQ(m.run->exit_reason, KVM_EXIT_INTR);
	sigpending(&pending);
	EQ(sigismember(&pending, SIGUSR2), 1);
	raise(SIGUSR1);
	/* Without the mask the pending signal does not count. */
	IS(ioctl(m.cpu, KVM_SET_SIGNAL_MASK, NULL), 0);
	LOAD(0xf4);
	EQ(run(), KVM_EXIT_HLT);
}

/* Sums 0..n by string instructions and ports, so that every kind of path is interrupted. */
T(run_signal_anywhere, "5.7: KVM_RUN interrupted by a signal at any instruction loses nothing")
{
	/* mov cx,20000; xor eax,eax; xor edx,edx; 1: movzx edx,cx; add eax,edx; push eax; pop ebx;
	 * mov si,0x4000; mov di,0x4100; movsb; test cx,0xff; jnz 2f; out 0x10,al; 2: loop 1b;
	 * hlt */
	static const u8 code[] = {
		0xb9, 0x20, 0x4e, 0x66, 0x31, 0xc0, 0x66, 0x31, 0xd2, 0x66, 0x0f, 0xb7, 0xd1, 0x66,
		0x01, 0xd0, 0x66, 0x50, 0x66, 0x5b, 0xbe, 0x00, 0x40, 0xbf, 0x00, 0x41, 0xa4, 0xf7,
		0xc1, 0xff, 0x00, 0x75, 0x02, 0xe6, 0x10, 0xe2, 0xe4, 0xf4 };
	struct itimerval t = { { 0, 300 }, { 0, 300 } };
	u32 outs = 0, intr = 0;
	u64 end = ms() + 1500;

	machine(0);
	catch(SIGALRM);
	MUST(!setitimer(ITIMER_REAL, &t, NULL));
	while (ms() < end && intr < 300) {
		long r = 0;

		load(code, sizeof(code));
		for (outs = 0; r != KVM_EXIT_HLT;) {
			r = run();
			outs += r == KVM_EXIT_IO;
			intr += r == -EINTR;
			if (r != KVM_EXIT_HLT && r != KVM_EXIT_IO && r != -EINTR) {
				EQ(r, KVM_EXIT_HLT);
				return;
			}
		}
		EQ(outs, 78);
		EQ(regs().rax, 200010000);
		EQ(regs().rbx, 200010000);
	}
	TRUE(intr > 0);
}

/* -- parked and other threads -- */

static void *run_thread(void *arg)
{
	long *r = arg;

	*r = done(ioctl(m.cpu, KVM_RUN, 0));
	return NULL;
}

static int msi(u32 dest, u32 data)
{
	struct kvm_msi q = { .address_lo = 0xfee00000 | dest << 12, .data = data };

	return ioctl(m.vm, KVM_SIGNAL_MSI, &q);
}

T(run_parked,
  "5.7: UNINITIALIZED: immediate_exit EINTR; waits for INIT, then EAGAIN; SIPI starts it")
{
	struct kvm_mp_state s;
	pthread_t t;
	long r = 1;

	machine(M_IRQCHIP | M_NO_CPU);
	MUST(ioctl(m.vm, KVM_CREATE_VCPU, 0) >= 0);
	m.cpu = ioctl(m.vm, KVM_CREATE_VCPU, 1);
	MUST(m.cpu >= 0);
	m.run = map_run(m.cpu);
	m.run->immediate_exit = 1;
	EQ(run(), -EINTR);
	m.run->immediate_exit = 0;
	catch(SIGALRM);
	timer(30);
	EQ(run(), -EINTR);
	EQ(m.run->exit_reason, KVM_EXIT_INTR);
	memcpy(m.ram + 0x2000, "\xe6\x10", 2);	/* out 0x10,al */
	MUST(!pthread_create(&t, NULL, run_thread, &r));
	usleep(20000);
	IS(msi(1, 0x500), 1);		/* INIT */
	pthread_join(t, NULL);
	EQ(r, -EAGAIN);
	IS(ioctl(m.cpu, KVM_GET_MP_STATE, &s), 0);
	EQ(s.mp_state, KVM_MP_STATE_INIT_RECEIVED);
	MUST(!pthread_create(&t, NULL, run_thread, &r));
	usleep(20000);
	msi(1, 0x602);			/* SIPI, vector 2 */
	pthread_join(t, NULL);
	EQ(r, 0);
	EQ(m.run->exit_reason, KVM_EXIT_IO);
	EQ(sregs().cs.base, 0x2000);
	EQ(regs().rip, 0);
}

static void *get_thread(void *arg)
{
	struct kvm_regs r;

	if (ioctl(m.cpu, KVM_GET_REGS, &r))
		return (void *)~0ul;
	*(u64 *)arg = ms();
	return NULL;
}

T(run_other_thread, "5.2: a state ioctl from another thread waits while KVM_RUN executes")
{
	pthread_t t;
	u64 got = 0, t0 = ms();

	machine(0);
	LOAD(0xeb, 0xfe);
	catch(SIGALRM);
	timer(200);
	/* Let the other thread find KVM_RUN under way. */
	MUST(!pthread_create(&t, NULL, get_thread, &got));
	pthread_join(t, NULL);
	got = 0;
	{
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, SIGALRM);
		/* The signal must come to this thread. */
		pthread_sigmask(SIG_BLOCK, &set, NULL);
		MUST(!pthread_create(&t, NULL, get_thread, &got));
		pthread_join(t, NULL);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
	EQ(run(), -EINTR);
	TRUE(ms() - t0 >= 150);
}

static void *late_get(void *arg)
{
	sigset_t set;

	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	usleep(50000);
	return get_thread(arg);
}

T(run_holds_vcpu, "5.2: GET_REGS of another thread returns after KVM_RUN, not before")
{
	pthread_t t;
	u64 got = 0, t0 = ms();

	machine(0);
	LOAD(0xeb, 0xfe);
	catch(SIGALRM);
	MUST(!pthread_create(&t, NULL, late_get, &got));
	timer(200);
	EQ(run(), -EINTR);
	pthread_join(t, NULL);
	TRUE(got - t0 >= 150);
}

/* -- interrupt windows -- */

T(run_irq_window, "5.7: request_interrupt_window: exit 7 once IF is set and no shadow")
{
	machine(0);
	/* 0:30 vector -> 0x5000 */
	LOAD(0x90, 0xfb, 0x90, 0x90, 0xf4);
	m.run->request_interrupt_window = 1;
	EQ(run(), KVM_EXIT_IRQ_WINDOW_OPEN);
	EQ(regs().rip, CODE + 3);	/* STI's shadow covers one instruction */
	EQ(m.run->if_flag, 1);
	EQ(m.run->ready_for_interrupt_injection, 1);
	*(u32 *)(void *)(m.ram + 0x30 * 4) = 0x5000;
	m.ram[0x5000] = 0xf4;
	{
		struct kvm_interrupt i = { .irq = 0x30 };

		IS(ioctl(m.cpu, KVM_INTERRUPT, &i), 0);
	}
	m.run->request_interrupt_window = 0;
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rip, 0x5001);
	EQ(m.run->if_flag, 0);
	EQ(m.run->ready_for_interrupt_injection, 0);
}

T(run_ready_with_pic, "5.7: ready_for_interrupt_injection is 1 always with an in-kernel PIC")
{
	machine(M_IRQCHIP);
	LOAD(0xfa, 0xe6, 0x10);
	EQ(run(), KVM_EXIT_IO);
	EQ(m.run->if_flag, 0);
	EQ(m.run->ready_for_interrupt_injection, 1);
	EQ(m.run->apic_base, 0xfee00900);
}

/* -- ports -- */

T(pio_rip, "5.8: IN, OUT, INS: RIP at the instruction; OUTS: after it")
{
	machine(0);
	LOAD(0xe6, 0x10, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	EQ(regs().rip, CODE);
	EQ(m.run->io.direction, KVM_EXIT_IO_OUT);
	EQ(m.run->io.data_offset, 0x1000);
	EQ(run(), KVM_EXIT_HLT);
	/* mov dx,0x10; mov di,0x4000; insb; hlt */
	LOAD(0xba, 0x10, 0, 0xbf, 0x00, 0x40, 0x6c, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	EQ(regs().rip, CODE + 6);
	EQ(regs().rdi, DATA);
	((u8 *)m.run)[0x1000] = 0x99;
	EQ(run(), KVM_EXIT_HLT);
	EQ(m.ram[DATA], 0x99);
	EQ(regs().rdi, DATA + 1);
	/* mov dx,0x10; mov si,0x4000; outsb; hlt */
	LOAD(0xba, 0x10, 0, 0xbe, 0x00, 0x40, 0x6e, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	EQ(regs().rip, CODE + 7);
	EQ(regs().rsi, DATA + 1);
	EQ(((u8 *)m.run)[0x1000], 0x99);
	EQ(run(), KVM_EXIT_HLT);
}

T(pio_sizes, "5.8: IN merges by size: AL, AX; EAX zero-extends")
{
	static const u8 ops[3][3] = { { 0xe4, 0x10, 0xf4 },
				      { 0xe5, 0x10, 0xf4 },
				      { 0x66, 0xe5, 0x10 } };
	static const u64 want[3] = { 0x1122334455667788, 0x112233445566bb88 + 0, 0xddccbb88 };

	machine(M_CPUID);
	for (int i = 0; i < 3; i++) {
		struct kvm_regs r;

		LOAD(0xf4, 0xf4, 0xf4, 0xf4);
		memcpy(m.ram + CODE, ops[i], 3);
		r = regs();
		r.rax = 0x1122334455667700;
		set_regs(&r);
		EQ(run(), KVM_EXIT_IO);
		EQ(m.run->io.size, 1 << i);
		memcpy((u8 *)m.run + 0x1000, "\x88\xbb\xcc\xdd", 4);
		EQ(run(), KVM_EXIT_HLT);
		EQ(regs().rax, want[i]);
	}
}

T(pio_string, "5.8: REP OUTS and REP INS: count up to a page, resumed with the rest")
{
	u32 total = 0;

	machine(0);
	/* mov dx,0x10; mov si,0x4000; mov cx,5000; cld; rep outsb; hlt */
	LOAD(0xba, 0x10, 0, 0xbe, 0x00, 0x40, 0xb9, 0x88, 0x13, 0xfc, 0xf3, 0x6e, 0xf4);
	for (u32 i = 0; i < 5000; i++)
		m.ram[DATA + i] = (u8)(i * 7);
	for (;;) {
		long r = run();

		if (r != KVM_EXIT_IO)
			break;
		TRUE(m.run->io.count >= 1 && m.run->io.count <= 4096);
		for (u32 i = 0; i < m.run->io.count; i++)
			if (((u8 *)m.run)[0x1000 + i] != (u8)((total + i) * 7))
				EQ(total + i, ~0u);
		total += m.run->io.count;
	}
	EQ(total, 5000);
	EQ(regs().rcx & 0xffff, 0);
	/* mov dx,0x10; mov di,0x6000; mov cx,5000; rep insw; hlt */
	LOAD(0xba, 0x10, 0, 0xbf, 0x00, 0x60, 0xb9, 0x88, 0x13, 0xfc, 0xf3, 0x6d, 0xf4);
	total = 0;
	for (;;) {
		long r = run();

		if (r != KVM_EXIT_IO)
			break;
		for (u32 i = 0; i < m.run->io.count; i++)
			((u16 *)(void *)((u8 *)m.run + 0x1000))[i] = (u16)(total + i);
		total += m.run->io.count;
	}
	EQ(total, 5000);
	EQ(((u16 *)(void *)(m.ram + 0x6000))[4999], 4999);
	EQ(regs().rip, CODE + 13);
}

T(pio_cancel, "5.8: user space that moves RIP cancels the completion")
{
	struct kvm_regs r;

	machine(0);
	LOAD(0xe4, 0x10, 0xf4, 0x90, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	((u8 *)m.run)[0x1000] = 0x77;
	r = regs();
	r.rip = CODE + 3;
	r.rax = 0;
	set_regs(&r);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rax, 0);
	EQ(regs().rip, CODE + 5);
}

T(pio_7e, "5.8: OUT to 0x7E advances RIP before the exit while the quirk is on")
{
	machine(0);
	LOAD(0xe6, 0x7e, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	EQ(regs().rip, CODE + 2);
	IS(enable(m.vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_OUT_7E_INC_RIP), 0);
	LOAD(0xe6, 0x7e, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	EQ(regs().rip, CODE);
	EQ(run(), KVM_EXIT_HLT);
}

/* -- MMIO -- */

T(mmio_rip, "5.8: MMIO read: RIP at the instruction; write: after it")
{
	machine(0);
	LOAD(0xb8, 0x00, 0x80, 0x8e, 0xd8, 0xa0, 0x10, 0, 0xa2, 0x20, 0, 0xf4);
	EQ(run(), KVM_EXIT_MMIO);
	EQ(m.run->mmio.is_write, 0);
	EQ(m.run->mmio.len, 1);
	EQ(m.run->mmio.phys_addr, NOWHERE + 0x10);
	EQ(regs().rip, CODE + 5);
	m.run->mmio.data[0] = 0x6b;
	EQ(run(), KVM_EXIT_MMIO);
	EQ(m.run->mmio.is_write, 1);
	EQ(m.run->mmio.data[0], 0x6b);
	EQ(regs().rip, CODE + 11);
	EQ(run(), KVM_EXIT_HLT);
}

T(mmio_fragments, "5.8: larger than 8 bytes or across a page: fragments, each its own exit")
{
	machine(0);
	/* mov ax,0x8000; mov ds,ax; mov dword [0xffd],0x44332211 */
	LOAD(0xb8, 0x00, 0x80, 0x8e, 0xd8, 0x66, 0xc7, 0x06, 0xfd, 0x0f, 0x11, 0x22, 0x33, 0x44,
	     0xf4);
	EQ(run(), KVM_EXIT_MMIO);
	EQ(m.run->mmio.phys_addr, NOWHERE + 0xffd);
	EQ(m.run->mmio.len, 3);
	EQ(memcmp(m.run->mmio.data, "\x11\x22\x33", 3), 0);
	EQ(regs().rip, CODE + 14);
	EQ(run(), KVM_EXIT_MMIO);
	EQ(m.run->mmio.phys_addr, NOWHERE + 0x1000);
	EQ(m.run->mmio.len, 1);
	EQ(m.run->mmio.data[0], 0x44);
	EQ(run(), KVM_EXIT_HLT);
}

T(mmio_fragments_16, "5.8: a 16-byte access is two fragments of 8")
{
	machine(M_CPUID);
	MUST(!enter64());
	/* movups xmm0,[0x80000]; movups [0x80100],xmm0; hlt */
	memcpy(m.ram + CODE, "\x0f\x10\x04\x25\x00\x00\x08\x00\x0f\x11\x04\x25\x00\x01\x08\x00\xf4",
	       17);
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2 });
	for (u64 i = 0; i < 2; i++) {
		EQ(run(), KVM_EXIT_MMIO);
		EQ(m.run->mmio.is_write, 0);
		EQ(m.run->mmio.len, 8);
		EQ(m.run->mmio.phys_addr, NOWHERE + i * 8);
		EQ(regs().rip, CODE);
		memset(m.run->mmio.data, 0x10 + (int)i, 8);
	}
	for (u64 i = 0; i < 2; i++) {
		EQ(run(), KVM_EXIT_MMIO);
		EQ(m.run->mmio.is_write, 1);
		EQ(m.run->mmio.len, 8);
		EQ(m.run->mmio.phys_addr, NOWHERE + 0x100 + i * 8);
		EQ(m.run->mmio.data[3], 0x10 + i);
		EQ(regs().rip, CODE + 16);
	}
	EQ(run(), KVM_EXIT_HLT);
}

T(mmio_cancel, "5.8: an MMIO read whose RIP is moved is forgotten")
{
	struct kvm_regs r;

	machine(0);
	LOAD(0xb8, 0x00, 0x80, 0x8e, 0xd8, 0xa0, 0x10, 0, 0xf4, 0x90, 0xf4);
	EQ(run(), KVM_EXIT_MMIO);
	r = regs();
	r.rip = CODE + 9;
	set_regs(&r);
	m.run->mmio.data[0] = 0x12;
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rip, CODE + 11);
}

T(lapic_hole, "5.8: LAPIC disabled: quirk on: reads ones, writes dropped; off: MMIO exits")
{
	struct kvm_sregs s;

	for (int quirk = 1; quirk >= 0; quirk--) {
		machine(M_IRQCHIP | M_CPUID);
		if (!quirk)
			IS(enable(m.vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_LAPIC_MMIO_HOLE), 0);
		MUST(!enter64());
		s = sregs();
		s.apic_base &= ~0x800ull;
		MUST(!ioctl(m.cpu, KVM_SET_SREGS, &s));
		((u64 *)(void *)(m.ram + 0x11000))[3] = 0x13003;
		((u64 *)(void *)(m.ram + 0x13000))[503] = 0xfee00083;
		/* mov eax,[0xfee00030] (rbx); out 0x10,al */
		memcpy(m.ram + CODE, "\x8b\x43\x30\xe6\x10\xf4", 6);
		set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rbx = 0xfee00000 });
		if (quirk) {
			EQ(run(), KVM_EXIT_IO);
			EQ(regs().rax, 0xffffffff);
		} else {
			EQ(run(), KVM_EXIT_MMIO);
			EQ(m.run->mmio.phys_addr, 0xfee00030);
		}
	}
}

T(tpr_access_exit, "5.5: TPR access reporting: exit 12 with RIP and direction")
{
	struct kvm_tpr_access_ctl c = { .enabled = 1 };
	struct kvm_pit_config pit = { 0 };

	machine(M_IRQCHIP | M_CPUID);
	/* One that re-injects: the APIC is not accelerated, so the accesses are seen. */
	IS(ioctl(m.vm, KVM_CREATE_PIT2, &pit), 0);
	IS(ioctl(m.cpu, KVM_TPR_ACCESS_REPORTING, &c), 0);
	MUST(!enter64());
	((u64 *)(void *)(m.ram + 0x11000))[3] = 0x13003;
	((u64 *)(void *)(m.ram + 0x13000))[503] = 0xfee00083;
	/* mov [rbx+0x80],eax; mov eax,[rbx+0x80]; mov eax,[rbx+0x20]; out 0x10,al */
	memcpy(m.ram + CODE, "\x89\x83\x80\0\0\0\x8b\x83\x80\0\0\0\x8b\x43\x20\xe6\x10\xf4", 18);
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rbx = 0xfee00000, .rax = 0x30 });
	EQ(run(), KVM_EXIT_TPR_ACCESS);
	EQ(m.run->tpr_access.rip, CODE);	/* of the instruction */
	EQ(m.run->tpr_access.is_write, 1);
	EQ(regs().rip, CODE + 6);
	EQ(run(), KVM_EXIT_TPR_ACCESS);
	EQ(m.run->tpr_access.rip, CODE + 6);
	EQ(m.run->tpr_access.is_write, 0);
	EQ(regs().rax, 0x30);
	EQ(run(), KVM_EXIT_IO);
}

/* -- other exits -- */

T(hlt_exit, "5.8: HLT without a LAPIC: exit 5, RIP after it")
{
	machine(0);
	LOAD(0x90, 0xf4);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rip, CODE + 2);
}

T(shutdown_exit, "5.5: a triple fault: exit 8")
{
	struct kvm_sregs s;

	machine(0);
	LOAD(0xcc);
	s = sregs();
	s.idt.limit = 0;
	s.cr0 |= 1;
	MUST(!ioctl(m.cpu, KVM_SET_SREGS, &s));
	EQ(run(), KVM_EXIT_SHUTDOWN);
}

T(hypercall_exit, "5.8: MAP_GPA_RANGE: exit 3; ret lands in RAX and RIP moves on re-entry")
{
	machine(M_CPUID);
	IS(enable(m.vm, KVM_CAP_EXIT_HYPERCALL, 0x1000), 0);
	MUST(!enter64());
	memcpy(m.ram + CODE, is_amd_guest() ? "\x0f\x01\xd9\xf4" : "\x0f\x01\xc1\xf4", 4);
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rax = 12, .rbx = 0x4000, .rcx = 1,
				     .rdx = 5 });
	EQ(run(), KVM_EXIT_HYPERCALL);
	EQ(m.run->hypercall.nr, 12);
	EQ(m.run->hypercall.args[0], 0x4000);
	EQ(m.run->hypercall.args[1], 1);
	EQ(m.run->hypercall.args[2], 5);
	EQ(regs().rip, CODE);
	m.run->hypercall.ret = 0x77;
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rax, 0x77);
	/* unaligned: -EINVAL without an exit */
	set_regs(
		&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rax = 12, .rbx = 0x4001, .rcx = 1 });
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rax, -22);
}

T(msr_exits, "5.8: MSR exits: data used, or error for #GP; RIP moves on re-entry")
{
	machine(M_CPUID);
	IS(enable(m.vm, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_UNKNOWN), 0);
	MUST(!enter64());
	memcpy(m.ram + CODE, "\x0f\x32\x0f\x30\xf4", 5);	/* rdmsr; wrmsr; hlt */
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rcx = 0x474f4f30 });
	EQ(run(), KVM_EXIT_X86_RDMSR);
	EQ(m.run->msr.reason, KVM_MSR_EXIT_REASON_UNKNOWN);
	EQ(m.run->msr.index, 0x474f4f30);
	EQ(regs().rip, CODE);
	m.run->msr.data = 0x1122334455667788;
	m.run->msr.error = 0;
	EQ(run(), KVM_EXIT_X86_WRMSR);
	EQ(m.run->msr.data, 0x1122334455667788);
	EQ(regs().rip, CODE + 2);
	m.run->msr.error = 0;
	EQ(run(), KVM_EXIT_HLT);
	/* error: #GP, here without an IDT */
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rcx = 0x474f4f30 });
	EQ(run(), KVM_EXIT_X86_RDMSR);
	m.run->msr.error = 1;
	EQ(run(), KVM_EXIT_SHUTDOWN);
}

T(emulation_failure, "5.5: FLDS from MMIO: the emulator cannot: internal error with the bytes")
{
	machine(M_CPUID);
	IS(enable(m.vm, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1), 0);
	MUST(!enter64());
	memcpy(m.ram + CODE, "\xd9\x03\xf4", 3);	/* flds [rbx] */
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rbx = NOWHERE });
	EQ(run(), KVM_EXIT_INTERNAL_ERROR);
	EQ(m.run->emulation_failure.suberror, KVM_INTERNAL_ERROR_EMULATION);
	TRUE(m.run->emulation_failure.ndata >= 3);
	EQ(m.run->emulation_failure.flags & 1, 1);
	TRUE(m.run->emulation_failure.insn_size >= 2);
	EQ(memcmp(m.run->emulation_failure.insn_bytes, "\xd9\x03", 2), 0);
	EQ(regs().rip, CODE);
}

T(memory_gone, "5.5: memory of a slot that is unmapped: KVM_RUN EFAULT, exit 39")
{
	u8 *h;

	machine(0);
	h = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(!slot(m.vm, 1, 0, RAM, 0x1000, h));
	MUST(!munmap(h, 0x1000));
	/* mov ax,0x2000; mov ds,ax; mov al,[5]; hlt */
	LOAD(0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xa0, 5, 0, 0xf4);
	EQ(run(), -EFAULT);
	EQ(m.run->exit_reason, 39);
	EQ(regs().rip, CODE + 5);
}

T(emulation_failure_default, "5.5: without the capability: the exit at CPL 0, and #UD is queued")
{
	struct kvm_vcpu_events e;

	machine(M_CPUID);
	MUST(!enter64());
	/* fstps [rbx]: refused before the register stack has changed */
	memcpy(m.ram + CODE, "\xd9\x1b\xf4", 3);
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rbx = NOWHERE });
	EQ(run(), KVM_EXIT_INTERNAL_ERROR);
	EQ(m.run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
	MUST(!ioctl(m.cpu, KVM_GET_VCPU_EVENTS, &e));
	EQ(e.exception.injected | e.exception.pending, 1);
	EQ(e.exception.nr, 6);
	/* fnstcw [rbx] is known */
	memcpy(m.ram + CODE, "\xd9\x3b\xf4", 3);
	MUST(!ioctl(m.cpu, KVM_SET_VCPU_EVENTS, &(struct kvm_vcpu_events){ 0 }));
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rbx = NOWHERE });
	EQ(run(), KVM_EXIT_MMIO);
	EQ(m.run->mmio.is_write, 1);
	EQ(run(), KVM_EXIT_HLT);
}

T(vapic_page, "5.1: SET_VAPIC_ADDR: the page shows the TPR before entry and sets it after exit")
{
	struct kvm_vapic_addr a = { .vapic_addr = DATA };
	struct kvm_lapic_state l;

	machine(M_IRQCHIP);
	IS(ioctl(m.cpu, KVM_SET_VAPIC_ADDR, &a), 0);
	MUST(!ioctl(m.cpu, KVM_GET_LAPIC, &l));
	l.regs[0x80] = 0x20;
	MUST(!ioctl(m.cpu, KVM_SET_LAPIC, &l));
	/* mov al,[0x4000]; out 0x10,al; mov byte [0x4000],0x50; out 0x11,al */
	LOAD(0xa0, 0x00, 0x40, 0xe6, 0x10, 0xc6, 0x06, 0x00, 0x40, 0x50, 0xe6, 0x11, 0xf4);
	EQ(run(), KVM_EXIT_IO);
	EQ(regs().rax & 0xff, 0x20);
	EQ(run(), KVM_EXIT_IO);
	MUST(!ioctl(m.cpu, KVM_GET_LAPIC, &l));
	EQ((u8)l.regs[0x80], 0x50);
}

T(vapic_page_with_code, "5.1: SET_VAPIC_ADDR: the page may hold code, which runs, MMIO included")
{
	struct kvm_vapic_addr a = { .vapic_addr = CODE + 0x800 };

	machine(M_IRQCHIP);
	IS(ioctl(m.cpu, KVM_SET_VAPIC_ADDR, &a), 0);
	/* mov ax,0x8000; mov ds,ax; mov al,[0]; out 0x10,al */
	LOAD(0xb8, 0x00, 0x80, 0x8e, 0xd8, 0xa0, 0x00, 0x00, 0xe6, 0x10, 0xf4);
	EQ(run(), KVM_EXIT_MMIO);
	m.run->mmio.data[0] = 0x5a;
	EQ(run(), KVM_EXIT_IO);
	EQ(regs().rax & 0xff, 0x5a);
}

/* -- code that changes under memory slots -- */

/* call f; mov bl,al; mov byte [0x1101],2; call f; mov bh,al; hlt; f: mov al,1; ret */
static void load_patcher(u64 ds)
{
	struct kvm_sregs s;

	LOAD(0xe8, 0xfd, 0x00, 0x88, 0xc3, 0xc6, 0x06, 0x01, 0x11, 0x02, 0xe8, 0xf3, 0x00, 0x88,
	     0xc7, 0xf4);
	memcpy(m.ram + CODE + 0x100, "\xb0\x01\xc3", 3);
	s = sregs();
	s.ds.base = ds;
	s.ds.selector = (u16)(ds >> 4);
	MUST(!ioctl(m.cpu, KVM_SET_SREGS, &s));
}

T(code_slot_recreated, "5.2: a slot deleted and made again: stores into code are still seen")
{
	machine(0);
	for (int i = 0; i < 3; i++) {
		load_patcher(0);
		EQ(run(), KVM_EXIT_HLT);
		EQ(regs().rbx, 0x201);
		MUST(!slot(m.vm, 0, 0, 0, 0, NULL));
		MUST(!slot(m.vm, 0, i ? KVM_MEM_LOG_DIRTY_PAGES : 0, 0, RAM, m.ram));
	}
	/* moved away and back */
	MUST(!slot(m.vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 1u << 20, RAM, m.ram));
	MUST(!slot(m.vm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, RAM, m.ram));
	load_patcher(0);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rbx, 0x201);
}

T(code_two_slots,
  "5.2: two slots over one piece of host memory: a store through either changes the code")
{
	machine(0);
	MUST(!slot(m.vm, 1, 0, RAM, 0x10000, m.ram));
	load_patcher(RAM);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rbx, 0x201);
	load_patcher(0);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rbx, 0x201);
	/* a third one that overlaps the first in part and goes beyond */
	MUST(!slot(m.vm, 1, 0, RAM, 0, NULL));
	MUST(!slot(m.vm, 0, 0, 0, 0, NULL));
	MUST(!slot(m.vm, 1, 0, RAM, 0x10000, m.ram + 0x1000));
	MUST(!slot(m.vm, 0, 0, 0, 0x10000, m.ram));
	load_patcher(RAM - 0x1000);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rbx, 0x201);
}

T(bus_lock, "5.4: BUS_LOCK_EXIT: off or exit; a LOCK over two lines exits first, and is then made")
{
	u32 word;

	machine(M_NO_CPU);
	NEED(cap(m.vm, KVM_CAP_X86_BUS_LOCK_EXIT) == 3, "no bus lock detection");
	IS(enable(m.vm, KVM_CAP_X86_BUS_LOCK_EXIT, 3), -EINVAL);
	IS(enable(m.vm, KVM_CAP_X86_BUS_LOCK_EXIT, 4), -EINVAL);
	IS(enable(m.vm, KVM_CAP_X86_BUS_LOCK_EXIT, 1), 0);
	IS(enable(m.vm, KVM_CAP_X86_BUS_LOCK_EXIT, 2), 0);
	m.cpu = ioctl(m.vm, KVM_CREATE_VCPU, 0);
	MUST(m.cpu >= 0 && !set_cpuid(m.cpu));
	m.run = map_run(m.cpu);
	/* lock incl 0x403e; xchg %eax, 0x407e; lock incl 0x4040; addl $1, 0x403e */
	LOAD(0xf0, 0x66, 0xff, 6, 0x3e, 0x40, 0x66, 0x87, 6, 0x7e, 0x40, 0xf0, 0x66, 0xff, 6, 0x40,
	     0x40, 0x66, 0x83, 6, 0x3e, 0x40, 1, 0xf4);
	for (int i = 0; i < 2; i++) {
		EQ(run(), KVM_EXIT_X86_BUS_LOCK);
		EQ(m.run->flags & KVM_RUN_X86_BUS_LOCK, KVM_RUN_X86_BUS_LOCK);
		EQ(regs().rip, CODE);
		memcpy(&word, m.ram + DATA + 0x3e, 4);
		EQ(word, i);
		EQ(run(), KVM_EXIT_X86_BUS_LOCK);
		EQ(regs().rip, CODE + 6);
		memcpy(&word, m.ram + DATA + 0x3e, 4);
		EQ(word, i + 1);
		if (!i)
			set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2 });
	}
	EQ(run(), KVM_EXIT_HLT);
	EQ(m.run->flags & KVM_RUN_X86_BUS_LOCK, 0);
	memcpy(&word, m.ram + DATA + 0x3e, 4);
	EQ(word, 0x10000 + 3);
}

T(mwait_quirk, "5.4: MONITOR and MWAIT are no-ops; #UD without the quirk and the CPUID bit")
{
	machine(0);
	LOAD(0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9, 0xf4);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rip, CODE + 7);
	IS(enable(m.vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS), 0);
	*(u32 *)(void *)(m.ram + 6 * 4) = 0x5000;	/* #UD */
	m.ram[0x5000] = 0xf4;
	LOAD(0x0f, 0x01, 0xc8, 0xf4);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rip, 0x5001);
}

T(quirks_stay, "5.4: a quirk once disabled stays so; MISC_ENABLE.MWAIT then is the CPUID bit")
{
	const u32 misc_enable = 0x1a0;

	machine(M_CPUID);
	IS(enable(m.vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS), 0);
	IS(enable(m.vm, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT), 0);
	IS(enable(m.vm, KVM_CAP_DISABLE_QUIRKS, 0), 0);
	*(u32 *)(void *)(m.ram + 6 * 4) = 0x5000;	/* #UD */
	m.ram[0x5000] = 0xf4;
	LOAD(0x0f, 0x01, 0xc8, 0xf4);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rip, 0x5001);
	IS(set_msr(m.cpu, misc_enable, 1ull << 18), 1);
	LOAD(0x0f, 0x01, 0xc8, 0xf4);
	EQ(run(), KVM_EXIT_HLT);
	EQ(regs().rip, CODE + 4);
}

static void *patch_later(void *arg)
{
	sigset_t set;

	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	usleep(30000);
	*(volatile u8 *)(m.ram + 0x3001) = 2;
	return NULL;
}

T(code_from_outside,
  "5.8: code that a thread of the VMM writes is seen once its page is mapped anew")
{
	pthread_t t;

	machine(M_CPUID);
	MUST(!enter64());
	/* 1: mov rax,cr3; mov cr3,rax; call 0x3000; cmp al,2; jne 1b; hlt; 0x3000: mov al,1; ret */
	memcpy(m.ram + CODE, "\x0f\x20\xd8\x0f\x22\xd8\xe8\xf5\x1f\x00\x00\x3c\x02\x75\xf1\xf4",
	       16);
	memcpy(m.ram + 0x3000, "\xb0\x01\xc3", 3);
	set_regs(&(struct kvm_regs){ .rip = CODE, .rflags = 2, .rsp = 0x8000 });
	catch(SIGALRM);
	timer(900);
	MUST(!pthread_create(&t, NULL, patch_later, NULL));
	EQ(run(), KVM_EXIT_HLT);
	pthread_join(t, NULL);
}
