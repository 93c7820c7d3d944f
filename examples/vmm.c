/* SPDX-License-Identifier: MIT */
/*
 * examples/vmm.c - a virtual machine monitor on libstandin.
 *
 *	cc vmm.c -o vmm $(pkg-config --cflags --libs standin)
 *	./vmm			a built-in guest says hello
 *	./vmm IMAGE [LIMIT]	IMAGE is loaded at 0x7c00 and started there in real mode,
 *				like a boot sector; it is stopped after LIMIT seconds
 *
 * The machine: 1 MiB of memory, one CPU, a serial port at 0x3f8 of which only the transmitter
 * exists, and an "exit" port at 0xf4. HLT ends it as well.
 */
#include <signal.h>
#include <standin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MEMORY = 1 << 20, LOAD = 0x7c00, SERIAL = 0x3f8, SERIAL_STATUS = 0x3fd, EXIT = 0xf4 };

/* The guest: print a string, then write 0 to the exit port. */
__asm__(".pushsection .rodata\n"
	".code16\n"
	"hello:	mov $0x7c00 + text - hello, %si\n"
	"	mov $0x3f8, %dx\n"
	"next:	lodsb\n"
	"	test %al, %al\n"
	"	jz done\n"
	"	out %al, %dx\n"
	"	jmp next\n"
	"done:	out %al, $0xf4\n"
	"	hlt\n"
	"text:	.asciz \"Hello from the guest.\\n\"\n"
	"hello_end:\n"
	".code64\n"
	".popsection\n");
extern const char hello[], hello_end[];

struct machine {
	int sys, vm, cpu;		/* handles */
	struct kvm_run *run;
	unsigned char *memory;
};

static struct kvm_run *volatile running;

static void fail(const char *what, long error)
{
	fprintf(stderr, "vmm: %s: %s\n", what, strerror((int)-error));
	exit(1);
}

static long check(long result, const char *what)
{
	if (result < 0)
		fail(what, result);
	return result;
}

/* What it takes to let a signal end KVM_RUN, whether it has begun or is about to. */
static void on_alarm(int sig)
{
	(void)sig;
	if (running)
		running->immediate_exit = 1;
	standin_interrupt();
}

static void machine_create(struct machine *m)
{
	struct kvm_userspace_memory_region slot = { .memory_size = MEMORY };
	void *run;
	long size;

	m->sys = (int)check(standin_open(0), "open");
	if (standin_ioctl(m->sys, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		fprintf(stderr, "vmm: another version of the KVM API\n");
		exit(1);
	}
	m->vm = (int)check(standin_ioctl(m->sys, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	m->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->memory == MAP_FAILED) {
		perror("vmm: mmap");
		exit(1);
	}
	slot.userspace_addr = (uintptr_t)m->memory;
	check(standin_ioctl_ptr(m->vm, KVM_SET_USER_MEMORY_REGION, &slot), "memory");
	m->cpu = (int)check(standin_ioctl(m->vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	size = check(standin_ioctl(m->sys, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	check(standin_mmap(m->cpu, (size_t)size, 0, &run), "mmap of the vCPU");
	m->run = run;
}

static void load(struct machine *m, const char *path)
{
	FILE *f = path ? fopen(path, "rb") : NULL;

	if (!path) {
		memcpy(m->memory + LOAD, hello, (size_t)(hello_end - hello));
		return;
	}
	if (!f || !fread(m->memory + LOAD, 1, MEMORY - LOAD, f)) {
		fprintf(stderr, "vmm: cannot read %s\n", path);
		exit(1);
	}
	fclose(f);
}

/* The state a BIOS hands to a boot sector: 0000:7c00. */
static void reset(struct machine *m)
{
	struct kvm_regs regs = { .rip = LOAD, .rsp = LOAD, .rflags = 2 };
	struct kvm_sregs sregs;

	check(standin_ioctl_ptr(m->cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	check(standin_ioctl_ptr(m->cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	check(standin_ioctl_ptr(m->cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

/* One exit for a port. The code the guest ends with, or -1: it goes on. */
static int port(struct kvm_run *run)
{
	unsigned char *data = (unsigned char *)run + run->io.data_offset;
	size_t bytes = (size_t)run->io.count * run->io.size;

	if (run->io.direction == KVM_EXIT_IO_IN) {
		/* The transmitter is always empty; nothing else is there. */
		memset(data, run->io.port == SERIAL_STATUS ? 0x60 : 0xff, bytes);
		return -1;
	}
	if (run->io.port == SERIAL)
		fwrite(data, 1, bytes, stdout);
	return run->io.port == EXIT ? *data : -1;
}

static int run(struct machine *m)
{
	for (;;) {
		long r = standin_ioctl(m->cpu, KVM_RUN, 0);
		int code;

		if (r < 0) {
			fprintf(stderr, "vmm: KVM_RUN: %s\n", strerror((int)-r));
			return 1;
		}
		switch (m->run->exit_reason) {
		case KVM_EXIT_IO:
			code = port(m->run);
			if (code >= 0)
				return code;
			break;
		case KVM_EXIT_MMIO:	/* nothing is there: reads give ones */
			memset(m->run->mmio.data, 0xff, sizeof(m->run->mmio.data));
			break;
		case KVM_EXIT_HLT:
			return 0;
		default:
			fprintf(stderr, "vmm: exit reason %u\n", m->run->exit_reason);
			return 1;
		}
	}
}

int main(int argc, char **argv)
{
	struct sigaction alarm_action = { .sa_handler = on_alarm };
	struct machine m;
	long size;
	int code;

	machine_create(&m);
	load(&m, argc > 1 ? argv[1] : NULL);
	reset(&m);
	running = m.run;
	sigaction(SIGALRM, &alarm_action, NULL);
	if (argc > 2)
		alarm((unsigned int)atoi(argv[2]));
	code = run(&m);
	fflush(stdout);
	size = standin_ioctl(m.sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	munmap(m.run, (size_t)size);
	standin_close(m.cpu);
	standin_close(m.vm);
	standin_close(m.sys);
	return code;
}
