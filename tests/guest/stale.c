/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/stale.c - somebody outside the guest writes code that has run already, and tells the
 * guest through memory or by an interrupt, while the vCPU stays in KVM_RUN. The new code is
 * executed after the next event that serialises (APM2 7.6.4; SDM3 9.3), however it was written.
 */
/* Run: build/standin run -- build/tests/guest/guest_stale [NAME...] */
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/guest/harness/svm.h"

enum {
	FN = G_WINDOW + 0x40000,	/* linear address of the function that is written */
	SHARED_GPA = 0x20000000,	/* a slot of its own: memory that can be mapped twice */
	HANDLER = G_FREE + 0x80000,
};

/* RDI: the function. RSI: the flag, and behind it that the function has run. RAX is what the
 * function returned last; RBX, before. */
#define FIRST "call *%rdi\n mov %eax, %ebx\n movl $1, 8(%rsi)\n"
#define POLL FIRST "1: mov (%rsi), %eax\n pause\n test %eax, %eax\n jz 1b\n"
#define END "\n call *%rdi" DONE
#define FRAME(cs, ss) "mov %rsp, %rdx\n push $" #ss "\n push %rdx\n pushfq\n push $" #cs "\n" \
	" lea 2f(%rip), %rax\n push %rax\n"
CODE64(ev_cpuid, POLL "mov %ebx, %ebp\n cpuid\n mov %ebp, %ebx" END);
CODE64(ev_iret, POLL "mov %ss, %ecx\n mov %rsp, %rdx\n push %rcx\n push %rdx\n pushfq\n"
	" mov %cs, %ecx\n push %rcx\n"
	"lea 2f(%rip), %rcx\n push %rcx\n iretq\n 2:" END);
CODE64(ev_iret3, POLL "mov %rsp, %rdx\n push $0x3b\n push %rdx\n pushfq\n push $0x43\n"
	" lea 2f(%rip), %rcx\n push %rcx\n"
	"iretq\n 2: call *%rdi" DONE3);
CODE64(ev_cr0, POLL "mov %cr0, %rcx\n mov %rcx, %cr0" END);
CODE64(ev_cr3, POLL "mov %cr3, %rcx\n mov %rcx, %cr3" END);
CODE64(ev_cr4, POLL "mov %cr4, %rcx\n mov %rcx, %cr4" END);
CODE64(ev_lmsw, POLL "smsw %cx\n lmsw %cx" END);
CODE64(ev_dr, POLL "mov %dr7, %rcx\n mov %rcx, %dr7" END);
CODE64(ev_invlpg, POLL "invlpg 0x201000" END);
CODE64(ev_wbinvd, POLL "wbinvd" END);
CODE64(ev_lgdt, POLL "sgdt 16(%rsi)\n lgdt 16(%rsi)" END);
CODE64(ev_lidt, POLL "sidt 16(%rsi)\n lidt 16(%rsi)" END);
CODE64(ev_lldt, POLL "sldt %cx\n lldt %cx" END);
CODE64(ev_wrmsr, POLL "mov $0xc0000081, %ecx\n rdmsr\n wrmsr" END);
CODE64(ev_intr, FIRST "sti\n 1: jmp 1b");
/* The event comes all the time, also before anybody writes. Behind the flag a while passes, then
 * some more: seven of a burst need not look. */
#define WHILE "1: call *%rdi\n " AGAIN " mov (%rsi), %eax\n test %eax, %eax\n jz 1b\n" \
	"rdtsc\n mov %eax, %r9d\n 3: rdtsc\n sub %r9d, %eax\n cmp $600000, %eax\n jb 3b\n"
#define AGAIN "sidt 16(%rsi)\n lidt 16(%rsi)\n"
CODE64(ev_often, FIRST WHILE AGAIN AGAIN AGAIN AGAIN AGAIN AGAIN AGAIN AGAIN END);
CODE64(ev_vmrun, POLL "mov %r8, %rax\n vmrun %rax" END);
CODE64(handler, "call *%rdi" DONE);
CODE64(l2, "vmmcall");

static const u8 one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, two[] = { 0xb8, 2, 0, 0, 0, 0xc3 };

enum way { OWN, PREAD, VM_WRITEV, SECOND, OTHER, WAYS };
static const char *const way_name[] = {
	"a store", "pread()", "process_vm_writev() of another process",
	"a store through a second mapping",
	"a store of another process",
};
enum signal { BY_FLAG, BY_MSI, BY_NMI };

struct writer {
	struct guest *g;
	enum way way;
	enum signal signal;
	u8 *fn, *second;
};

static void write_it(const struct writer *w)
{
	int fd, status;
	pid_t pid;

	switch (w->way) {
	case OWN:
		memcpy(w->fn, two, sizeof(two));
		return;
	case SECOND:
		memcpy(w->second, two, sizeof(two));
		return;
	case PREAD:
		fd = memfd_create("code", MFD_CLOEXEC);
		if (write(fd, two, sizeof(two)) != sizeof(two) ||
		    pread(fd, w->fn, sizeof(two), 0) != sizeof(two))
			test_die("pread: errno %d", errno);
		close(fd);
		return;
	default:
		break;
	}
	pid = fork();
	if (!pid) {
		struct iovec from = { (void *)two, sizeof(two) }, to = { w->fn, sizeof(two) };
		bool ok = true;

		if (w->way == OTHER)
			memcpy(w->second, two, sizeof(two));
		else
			ok = process_vm_writev(getppid(), &from, 1, &to, 1, 0) == sizeof(two);
		_exit(!ok);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		test_die("the other process failed");
}

static void *writer(void *p)
{
	struct writer *w = p;
	struct kvm_msi msi = { .address_lo = 0xfee00000,
			       .data = w->signal == BY_NMI ? 0x400 : 0x40 };

	while (!__atomic_load_n((u32 *)g32(w->g, G_DATA + 8), __ATOMIC_ACQUIRE))
		usleep(1000);
	usleep(20000);
	write_it(w);
	if (w->signal == BY_FLAG)
		__atomic_store_n((u32 *)g32(w->g, G_DATA), 1, __ATOMIC_RELEASE);
	else if (ioctl(w->g->vm, KVM_SIGNAL_MSI, &msi) != 1)
		test_die("KVM_SIGNAL_MSI: errno %d", errno);
	return NULL;
}

static void check(struct guest *g, const u8 *code, u64 len, enum way way, enum signal signal,
		  const char *event)
{
	bool shared = way == SECOND || way == OTHER;
	struct writer w = { .g = g, .way = way, .signal = signal, .fn = g->ram + FN };
	pthread_t t;
	struct stop s;

	if (shared) {
		int fd = memfd_create("ram", MFD_CLOEXEC);
		struct kvm_userspace_memory_region m = {
			.slot = 1, .guest_phys_addr = SHARED_GPA, .memory_size = 0x10000,
		};

		if (fd < 0 || ftruncate(fd, 0x10000))
			test_die("memfd: errno %d", errno);
		w.fn = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		w.second = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		m.userspace_addr = (u64)(uintptr_t)w.fn;
		if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &m))
			test_die("KVM_SET_USER_MEMORY_REGION: errno %d", errno);
		*guest_pte(g, FN) = SHARED_GPA | PTE_P | PTE_W | PTE_U;
		close(fd);
	}
	memcpy(w.fn, one, sizeof(one));
	guest_write(g, G_CODE, code, (u32)len);
	guest_load(g, HANDLER, handler);
	guest_gate(g, 0x40, SEL_CODE64, HANDLER, 0xe, 0, 0);
	guest_gate(g, 2, SEL_CODE64, HANDLER, 0xe, 0, 0);
	WITH_SREGS(cpu0(g), sr)
		sr.cr0 &= ~8ull;
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rdi = FN;
		r.rsi = G_DATA;
		r.r8 = G_VMCB;
	}
	pthread_create(&t, NULL, writer, &w);
	s = run(g);
	pthread_join(t, NULL);
	if (s.kind != ST_DONE && !(s.kind == ST_EXC && s.vec == VEC_DONE3))
		test_fail(__FILE__, __LINE__, "%s: stopped by %s", event, stop_text(&s));
	if ((u32)s.r.rbx != 1 || (u32)s.r.rax != 2)
		test_fail(__FILE__, __LINE__, "%s, then %s: %llu, then %llu", way_name[way], event,
			  s.r.rbx, s.r.rax);
	if (shared) {
		munmap(w.fn, 0x10000);
		munmap(w.second, 0x10000);
	}
	guest_free(g);
}

static const struct event {
	const char *name;
	const u8 *p, *e;
} events[] = {
#define X(n, title) { title, ev_##n##_b, ev_##n##_e },
	X(cpuid, "CPUID") X(iret, "IRET") X(iret3, "IRET to ring 3") X(cr0, "MOV CR0")
		X(cr3, "MOV CR3") X(cr4, "MOV CR4") X(lmsw, "LMSW") X(dr, "MOV DR7")
			X(invlpg, "INVLPG") X(wbinvd, "WBINVD") X(lgdt, "LGDT") X(lidt, "LIDT")
				X(lldt, "LLDT") X(wrmsr, "WRMSR")
#undef X
};
T(instructions, "code written by somebody outside is new after each instruction that serialises")
{
	for (u32 i = 0; i < ARRAY_SIZE(events); i++)
		for (u32 way = 0; way < WAYS; way++)
			check(guest_new(M_LONG), events[i].p, (u64)(events[i].e - events[i].p), way,
			      BY_FLAG, events[i].name);
}
T(often,
  "... if it comes so often that not every one of them looks, too, when some time has passed")
{
	for (u32 way = 0; way < WAYS; way++)
		check(guest_new(M_LONG), ev_often_b, LEN(ev_often), way, BY_FLAG, "LIDT in a loop");
}
T(interrupts, "... and after an interrupt or NMI, without any other event")
{
	for (u32 i = 0; i < 2; i++)
		for (u32 way = 0; way < WAYS; way++) {
			struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
			struct kvm_lapic_state l;

			vcpu_ioctl(cpu0(g), KVM_GET_LAPIC, &l, "KVM_GET_LAPIC");
			*(u32 *)(void *)(l.regs + 0xf0) = 0x1ff;
			vcpu_ioctl(cpu0(g), KVM_SET_LAPIC, &l, "KVM_SET_LAPIC");
			check(g, ev_intr_b, LEN(ev_intr), way, i ? BY_NMI : BY_MSI,
			      i ? "an NMI" : "an interrupt");
		}
}
T(vmrun, "... and after VMRUN and #VMEXIT")
{
	for (u32 way = 0; way < WAYS; way++) {
		struct svm_guest s = svm_with(l2);

		check(s.g, ev_vmrun_b, LEN(ev_vmrun), way, BY_FLAG, "VMRUN");
	}
}
