/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/irqfd.c - who may write to an irqfd, and how: the program through libc, the kernel,
 * a child; and what becomes of the eventfd's count and number.
 */
/* Run: build/standin run -- build/tests/guest/guest_irqfd [NAME...] */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

enum { GSI = 5, VEC = 0x61 };

CODE64(spin, "sti\n 1: jmp 1b\n" "spin_handler: incl 0x10000" DONE);
LABEL(spin_handler);

static struct kvm_lapic_state lapic(struct guest *g)
{
	struct kvm_lapic_state s;

	vcpu_ioctl(cpu0(g), KVM_GET_LAPIC, &s, "KVM_GET_LAPIC");
	return s;
}

static bool requested(struct guest *g, u8 vec)
{
	struct kvm_lapic_state s = lapic(g);

	return ((u8)s.regs[0x200 + vec / 32 * 16 + vec % 32 / 8] >> (vec % 8)) & 1;
}

static void clear_irr(struct guest *g)
{
	struct kvm_lapic_state s = lapic(g);

	memset(s.regs + 0x200, 0, 0x80);
	vcpu_ioctl(cpu0(g), KVM_SET_LAPIC, &s, "KVM_SET_LAPIC");
}

static void route(struct guest *g)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e;
	} r = {
		.head.nr = 1,
		.e = { .gsi = GSI,
		       .type = KVM_IRQ_ROUTING_MSI,
		       .u.msi = { .address_lo = 0xfee00000, .data = VEC } },
	};

	if (ioctl(g->vm, KVM_SET_GSI_ROUTING, &r))
		test_die("KVM_SET_GSI_ROUTING: %s", strerror(errno));
}

static struct guest *ready(void)
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	struct kvm_lapic_state s;

	guest_load(g, G_CODE, spin);
	guest_handler(g, VEC, AT(spin, spin_handler));
	s = lapic(g);
	s.regs[0xf1] = 1;	/* SPIV: software enable */
	vcpu_ioctl(cpu0(g), KVM_SET_LAPIC, &s, "KVM_SET_LAPIC");
	route(g);
	return g;
}

static int assign(struct guest *g, int fd, u32 flags)
{
	struct kvm_irqfd q = { .fd = (u32)fd, .gsi = GSI, .flags = flags };

	return ioctl(g->vm, KVM_IRQFD, &q);
}

static void put(int fd)
{
	u64 one = 1;

	if (write(fd, &one, 8) != 8)
		test_die("write: %s", strerror(errno));
}

/* As the kernel writes, or a program that does not use libc. */
static long bare_write(int fd)
{
	u64 one = 1;
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "0"((long)SYS_write), "D"((long)fd), "S"(&one),
			 "d"(8l) : "rcx", "r11", "memory");
	return r;
}

static bool soon(struct guest *g)
{
	for (int i = 0; i < 2000; i++) {
		struct timespec ts = { .tv_nsec = 1000000 };

		if (requested(g, VEC))
			return true;
		nanosleep(&ts, NULL);
	}
	return false;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

T(at_once, "a write by the program raises the interrupt before it returns")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK);

	CHECK_EQ(assign(g, fd, 0), 0);
	put(fd);
	CHECK(requested(g, VEC));
	clear_irr(g);
	CHECK_EQ(eventfd_write(fd, 1), 0);
	CHECK(requested(g, VEC));
	clear_irr(g);
	CHECK_EQ(syscall(SYS_write, fd, &(u64){ 1 }, 8), 8);
	CHECK(requested(g, VEC));
	guest_free(g);
}

T(handler, "the guest's handler runs")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK);

	CHECK_EQ(assign(g, fd, 0), 0);
	put(fd);
	RUN_TO(g, ST_DONE);
	CHECK_EQ(*g32(g, G_DATA), 1);
	guest_free(g);
}

T(count, "an irqfd's count does not become visible")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK);
	u64 v;

	CHECK_EQ(assign(g, fd, 0), 0);
	for (int i = 0; i < 100; i++)
		put(fd);
	CHECK(!readable(fd));
	CHECK(read(fd, &v, 8) < 0 && errno == EAGAIN);
	guest_free(g);
}

T(other_values, "values other than 1 raise it too")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK);
	u64 v = 7;

	CHECK_EQ(assign(g, fd, 0), 0);
	CHECK_EQ(write(fd, &v, 8), 8);
	CHECK(soon(g));
	v = ~0ull;
	CHECK(write(fd, &v, 8) < 0 && errno == EINVAL);
	CHECK(write(fd, &v, 4) < 0 && errno == EINVAL);
	guest_free(g);
}

T(bare, "a write that does not come through libc raises it")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK);

	CHECK_EQ(assign(g, fd, 0), 0);
	CHECK_EQ(bare_write(fd), 8);
	CHECK(soon(g));
	guest_free(g);
}

T(by_dup, "so does a write to a copy of the descriptor, also when the first is closed")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK), copy = dup(fd);

	CHECK_EQ(assign(g, fd, 0), 0);
	put(copy);
	CHECK(soon(g));
	clear_irr(g);
	close(fd);
	put(copy);
	CHECK(soon(g));
	guest_free(g);
}

T(reused, "a number that means another file now is not an irqfd")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK), p[2], keep = dup(fd);
	u64 v = 0;

	CHECK_EQ(assign(g, fd, 0), 0);
	if (pipe(p))
		test_die("pipe: %s", strerror(errno));
	CHECK_EQ(dup2(p[1], fd), fd);
	put(fd);
	CHECK_EQ(read(p[0], &v, 8), 8);
	CHECK_EQ(v, 1);
	CHECK(!requested(g, VEC));
	close(fd);
	CHECK_EQ(fcntl(p[1], F_DUPFD, fd), fd);
	put(fd);
	CHECK_EQ(read(p[0], &v, 8), 8);
	CHECK(!requested(g, VEC));
	close(keep);
	guest_free(g);
}

T(closed_at_the_end, "a VM ends whatever is closed in the same moment")
{
	for (u32 i = 0; i < 400; i++) {
		struct guest *g = ready();
		int fd = eventfd(0, EFD_NONBLOCK);

		CHECK_EQ(assign(g, fd, 0), 0);
		close(fd);
		for (volatile u32 wait = 0; wait < i % 40 * 500; wait++)
			;
		guest_free(g);
	}
}

T(deassigned, "after deassignment it is an eventfd like any other")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK);
	u64 v = 0;

	CHECK_EQ(assign(g, fd, 0), 0);
	CHECK_EQ(assign(g, fd, KVM_IRQFD_FLAG_DEASSIGN), 0);
	put(fd);
	CHECK(!requested(g, VEC));
	CHECK_EQ(read(fd, &v, 8), 8);
	CHECK_EQ(v, 1);
	guest_free(g);
}

/* Eventfds of this process, those that nobody is told about included. */
static u32 eventfds(void)
{
	char path[64], link[64];
	u32 n = 0;

	for (int fd = 0; fd < 256; fd++) {
		long r;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		r = readlink(path, link, sizeof(link) - 1);
		link[r > 0 ? r : 0] = 0;
		n += !strcmp(link, "anon_inode:[eventfd]");
	}
	return n;
}

T(closed, "when its last descriptor is closed the irqfd is over, and nothing of it stays")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK), again;
	u32 before;

	/* The first one makes what all of them need. */
	CHECK_EQ(assign(g, fd, 0), 0);
	before = eventfds();
	fd = eventfd(0, EFD_NONBLOCK);
	CHECK_EQ(assign(g, fd, 0), 0);
	again = dup(fd);
	CHECK(eventfds() > before);
	close(fd);
	usleep(300000);
	/* The copy is as good as it was, as often as it is written. */
	for (int i = 0; i < 3; i++) {
		CHECK(!requested(g, VEC));
		CHECK_EQ(bare_write(again), 8);
		CHECK(soon(g));
		clear_irr(g);
	}
	CHECK(assign(g, again, 0) < 0 && errno == EBUSY);
	close(again);
	/* Nobody is told of this close. */
	fd = eventfd(0, EFD_NONBLOCK);
	CHECK_EQ(assign(g, fd, 0), 0);
	CHECK_EQ(eventfds(), before + 2);
	close(fd);
	for (int k = 0; k < 1000 && eventfds() != before; k++)
		usleep(1000);
	CHECK_EQ(eventfds(), before);
	guest_free(g);
}

T(closed_number,
  "when only the registered number was closed, a copy is deassigned, and assigned again")
{
	struct guest *g = ready(), *other = ready();
	int fd = eventfd(0, EFD_NONBLOCK), again = dup(fd), fresh;

	CHECK_EQ(assign(g, fd, 0), 0);
	close(fd);
	usleep(300000);
	CHECK(assign(other, again, 0) < 0 && errno == EBUSY);
	CHECK_EQ(assign(g, again, KVM_IRQFD_FLAG_DEASSIGN), 0);
	CHECK_EQ(bare_write(again), 8);
	usleep(50000);
	CHECK(!requested(g, VEC));
	CHECK_EQ(assign(g, again, 0), 0);
	CHECK(soon(g));	/* what was written before */
	clear_irr(g);
	CHECK_EQ(bare_write(again), 8);
	CHECK(soon(g));
	/* The kernel gives its number for the eventfd again at once: that is another VM's now. */
	close(again);
	usleep(300000);
	fresh = eventfd(0, EFD_NONBLOCK);
	CHECK_EQ(assign(other, fresh, 0), 0);
	CHECK_EQ(bare_write(fresh), 8);
	CHECK(soon(other));
	guest_free(g);
	guest_free(other);
}

T(closed_unseen, "looking for closed eventfds takes no number that the program is about to get")
{
	struct guest *g = ready();
	int fds[8], next;

	for (int i = 0; i < 8; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK);
	for (int i = 0; i < 8; i++)
		CHECK_EQ(assign(g, fds[i], 0), 0);
	next = dup(0);
	for (int i = 0; i < 8; i++) {
		close(fds[i]);
		for (int k = 0; k < 10000; k++) {
			int fd = dup(next);

			if (fd >= 0)
				close(fd);
			CHECK(fd >= 0 && fd <= (i ? fds[0] : fds[i]));
		}
	}
	guest_free(g);
}

T(vm_gone, "nor is it one when the VM is gone")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK);

	CHECK_EQ(assign(g, fd, 0), 0);
	guest_free(g);
	put(fd);
	CHECK(readable(fd));
}

T(before, "what was written before the assignment raises the interrupt")
{
	struct guest *g = ready();
	int fd = eventfd(3, EFD_NONBLOCK);

	CHECK_EQ(assign(g, fd, 0), 0);
	CHECK(soon(g));
	guest_free(g);
}

T(child, "a child's write raises the parent's interrupt")
{
	struct guest *g = ready();
	int fd = eventfd(0, EFD_NONBLOCK), status = -1;
	pid_t p;

	CHECK_EQ(assign(g, fd, 0), 0);
	p = fork();
	if (!p) {
		put(fd);
		_exit(0);
	}
	CHECK_EQ(waitpid(p, &status, 0), p);
	CHECK_EQ(status, 0);
	CHECK(soon(g));
	guest_free(g);
}

static int handler_fd;

static void on_alarm(int sig)
{
	u64 one = 1;

	if (write(handler_fd, &one, 8) != 8)
		_exit(3);
}

T(from_handler, "a signal handler that has interrupted the guest may write")
{
	struct guest *g = ready();
	struct itimerspec when = { .it_value.tv_nsec = 20000000 };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct sigaction sa = { .sa_handler = on_alarm };
	struct stop s;
	timer_t t;

	handler_fd = eventfd(0, EFD_NONBLOCK);
	CHECK_EQ(assign(g, handler_fd, 0), 0);
	sigaction(SIGUSR1, &sa, NULL);
	if (timer_create(CLOCK_MONOTONIC, &ev, &t) || timer_settime(t, 0, &when, NULL))
		test_die("timer: %s", strerror(errno));
	do
		s = run(g);
	while (s.kind == ST_INTR);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(*g32(g, G_DATA), 1);
	guest_free(g);
}

/* Closed and made anew all the time by the other thread. */
static _Atomic int juggled;
static _Atomic bool juggled_enough;

static int bind_to(int vm, int fd, u32 gsi, u32 flags)
{
	struct kvm_irqfd q = { .fd = (u32)fd, .gsi = gsi, .flags = flags };

	return ioctl(vm, KVM_IRQFD, &q) ? errno : 0;
}

static void *juggle(void *arg)
{
	struct guest **g = arg;

	for (u32 i = 0; !atomic_load(&juggled_enough); i++) {
		int r, fd = atomic_load(&juggled);

		r = bind_to(g[i & 1]->vm, fd, 20, 0);
		CHECK(!r || r == EBUSY || r == EBADF);
		r = bind_to(g[i & 1]->vm, fd, 20 + (i >> 1 & 1), KVM_IRQFD_FLAG_DEASSIGN);
		CHECK(!r || r == EBADF);
	}
	return NULL;
}

T(juggled, "a number that another thread closes is a bad one or a new eventfd, nothing between")
{
	struct guest *g[2] = { ready(), ready() };
	pthread_t t;

	atomic_store(&juggled, eventfd(0, EFD_NONBLOCK));
	if (pthread_create(&t, NULL, juggle, g))
		test_die("pthread_create");
	for (u32 i = 0; i < 3000; i++) {
		int fd = atomic_load(&juggled), vm = g[i & 1]->vm, a, b;

		a = bind_to(vm, fd, 10, 0);
		CHECK(!a || a == EBUSY);
		b = bind_to(vm, fd, 11, 0);
		CHECK(b == EBUSY || (a && !b));
		CHECK_EQ(bind_to(vm, fd, 10, KVM_IRQFD_FLAG_DEASSIGN), 0);
		CHECK_EQ(bind_to(vm, fd, 11, KVM_IRQFD_FLAG_DEASSIGN), 0);
		close(fd);
		atomic_store(&juggled, eventfd(0, EFD_NONBLOCK));
	}
	atomic_store(&juggled_enough, true);
	pthread_join(t, NULL);
	guest_free(g[0]);
	guest_free(g[1]);
}

/* -- what a device has written -- */

CODE64(asleep, "mov $3000, %ecx\n 1: call *%rdi\n dec %ecx\n jnz 1b\n sti\n hlt\n ud2\n"
	" asleep_handler: call *%rdi" DONE);
LABEL(asleep_handler);

static void *device(void *arg)
{
	struct guest *g = arg;
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = VEC };
	struct timespec ts = { .tv_nsec = 50000000 };

	nanosleep(&ts, NULL);
	g->ram[0x300001] = 2;
	ioctl(g->vm, KVM_SIGNAL_MSI, &msi);
	return NULL;
}

T(written_asleep, "code that a device has written while the vCPU slept runs as written")
{
	static const u8 fn[] = { 0xb8, 1, 0, 0, 0, 0xc3 };	/* mov eax, 1; ret */
	struct guest *g = ready();
	pthread_t t;
	struct stop s;

	guest_load(g, G_CODE, asleep);
	guest_handler(g, VEC, AT(asleep, asleep_handler));
	guest_write(g, 0x300000, fn, sizeof(fn));
	WITH_REGS(cpu0(g), r)
		r.rdi = 0x300000;
	CHECK(!pthread_create(&t, NULL, device, g));
	s = run(g);
	pthread_join(t, NULL);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 2);
}
