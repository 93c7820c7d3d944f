/* SPDX-License-Identifier: MIT */
/*
 * tests/clients/vmm/vmm.c - a small VMM that boots Linux, knows nothing of standin and is linked
 * statically (musl). vmm.go and vmm.rs are the same in their languages.
 *
 *	vmm KERNEL INITRD COMMAND-LINE		the console is standard output; ends at "@@ done"
 *
 * 64-bit entry of Linux's boot protocol, interrupt controllers and PIT in the kernel, an 8250 that
 * sends.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	MEMORY = 256 << 20, ZERO_PAGE = 0x7000, TABLES = 0x9000, GDT = 0x500, COMMAND = 0x20000,
	KERNEL = 0x100000, INITRD = 0x8000000, COM1 = 0x3f8, COM1_IRQ = 4,
};

static uint8_t *mem;
static int vm;

#define CHECK(call) \
	({ \
		long r_ = (long)(call); \
		if (r_ < 0) { \
			fprintf(stderr, "%s: %s\n", #call, strerror(errno)); \
			exit(1); \
		} \
		r_; \
	})

static size_t load(const char *name, uint8_t *to, size_t room)
{
	int fd = (int)CHECK(open(name, O_RDONLY));
	size_t n = 0;
	ssize_t r;

	while ((r = CHECK(read(fd, to + n, room - n))) > 0)
		n += (size_t)r;
	close(fd);
	return n;
}

static void put(unsigned at, uint64_t v, unsigned bytes)
{
	memcpy(mem + at, &v, bytes);
}

static void boot_parameters(const char *kernel, const char *initrd, const char *command)
{
	uint8_t *image = malloc(64 << 20);
	size_t size = load(kernel, image, 64 << 20), setup, rd;

	if (size < 0x300 || memcmp(image + 0x202, "HdrS", 4)) {
		fprintf(stderr, "%s is no bzImage\n", kernel);
		exit(1);
	}
	setup = ((image[0x1f1] ? image[0x1f1] : 4) + 1) * 512;
	memcpy(mem + KERNEL, image + setup, size - setup);
	memcpy(mem + ZERO_PAGE + 0x1f1, image + 0x1f1, 0x202 + image[0x201] - 0x1f1);
	free(image);
	rd = load(initrd, mem + INITRD, MEMORY - INITRD);
	strcpy((char *)mem + COMMAND, command);
	put(ZERO_PAGE + 0x210, 0xff, 1);	/* type_of_loader */
	put(ZERO_PAGE + 0x211, 0x81, 1);	/* loadflags */
	put(ZERO_PAGE + 0x218, INITRD, 4);
	put(ZERO_PAGE + 0x21c, rd, 4);
	put(ZERO_PAGE + 0x224, 0xfe00, 2);	/* heap_end_ptr */
	put(ZERO_PAGE + 0x228, COMMAND, 4);
	put(ZERO_PAGE + 0x1e8, 2, 1);		/* E820 entries */
	put(ZERO_PAGE + 0x2d0, 0, 8);
	put(ZERO_PAGE + 0x2d8, 0x9fc00, 8);
	put(ZERO_PAGE + 0x2e0, 1, 4);
	put(ZERO_PAGE + 0x2e4, KERNEL, 8);
	put(ZERO_PAGE + 0x2ec, MEMORY - KERNEL, 8);
	put(ZERO_PAGE + 0x2f4, 1, 4);
}

/* The first GiB, mapped one to one. */
static void tables(void)
{
	put(TABLES, TABLES + 0x1003, 8);
	put(TABLES + 0x1000, TABLES + 0x2003, 8);
	for (unsigned i = 0; i < 512; i++)
		put(TABLES + 0x2000 + 8 * i, (uint64_t)i << 21 | 0x83, 8);
	put(GDT + 16, 0x00af9b000000ffff, 8);
	put(GDT + 24, 0x00cf93000000ffff, 8);
}

static void registers(int cpu)
{
	struct kvm_segment code = {
		.limit = ~0u, .selector = 0x10, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1,
	};
	struct kvm_segment data = {
		.limit = ~0u, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1,
	};
	struct kvm_regs r = { .rip = KERNEL + 0x200, .rsi = ZERO_PAGE, .rsp = 0x8000, .rflags = 2 };
	struct kvm_sregs s;

	CHECK(ioctl(cpu, KVM_GET_SREGS, &s));
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.gdt.base = GDT;
	s.gdt.limit = 31;
	s.cr3 = TABLES;
	s.cr4 |= 1 << 5;
	s.cr0 |= 1u << 31 | 1;
	s.efer |= 1 << 8 | 1 << 10;
	CHECK(ioctl(cpu, KVM_SET_SREGS, &s));
	CHECK(ioctl(cpu, KVM_SET_REGS, &r));
}

static uint8_t uart[8];
static int thre;	/* an interrupt for an empty transmitter waits */
static char line[4096];
static size_t length;

static void sent(void)
{
	if (!(uart[1] & 2))
		return;
	thre = 1;
	for (int level = 1; level >= 0; level--) {
		struct kvm_irq_level l = { .irq = COM1_IRQ, .level = (unsigned)level };

		CHECK(ioctl(vm, KVM_IRQ_LINE, &l));
	}
}

static void output(uint8_t c)
{
	CHECK(write(1, &c, 1));
	if (length < sizeof(line) - 1)
		line[length++] = (char)c;
	if (c != '\n')
		return;
	line[length] = 0;
	length = 0;
	if (strstr(line, "@@ done"))
		exit(0);
}

static void uart_out(unsigned reg, uint8_t v)
{
	if (reg == 0 && !(uart[3] & 0x80)) {
		output(v);
		sent();
	} else if (!(reg < 2 && uart[3] & 0x80)) {
		uart[reg] = v;
		if (reg == 1)
			sent();
	}
}

static uint8_t uart_in(unsigned reg)
{
	uint8_t v;

	switch (reg) {
	case 0: return 0;
	case 2:
		v = thre ? 2 : 1;
		thre = 0;
		return v;
	case 5: return 0x60;
	case 6: return 0xb0;
	}
	return uart[reg];
}

static void port(struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (unsigned i = 0; i < run->io.count; i++, data += run->io.size) {
		unsigned at = run->io.port - COM1;

		if (run->io.direction == KVM_EXIT_IO_IN)
			memset(data, 0xff, run->io.size);
		if (at < 8 && run->io.direction == KVM_EXIT_IO_IN)
			*data = uart_in(at);
		else if (at < 8)
			uart_out(at, *data);
	}
}

int main(int argc, char **argv)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head = { .nent = 256 } };
	struct kvm_userspace_memory_region slot = { .memory_size = MEMORY };
	struct kvm_run *run;
	int sys, cpu;

	if (argc != 4)
		return 2;
	sys = (int)CHECK(open("/dev/kvm", O_RDWR | O_CLOEXEC));
	vm = (int)CHECK(ioctl(sys, KVM_CREATE_VM, 0));
	CHECK(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000));
	CHECK(ioctl(vm, KVM_CREATE_IRQCHIP, 0));
	CHECK(ioctl(vm, KVM_CREATE_PIT2, &(struct kvm_pit_config){ 0 }));
	mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	slot.userspace_addr = (uintptr_t)mem;
	CHECK(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot));
	boot_parameters(argv[1], argv[2], argv[3]);
	tables();
	cpu = (int)CHECK(ioctl(vm, KVM_CREATE_VCPU, 0));
	CHECK(ioctl(sys, KVM_GET_SUPPORTED_CPUID, &cpuid));
	CHECK(ioctl(cpu, KVM_SET_CPUID2, &cpuid));
	registers(cpu);
	run = mmap(NULL, (size_t)CHECK(ioctl(sys, KVM_GET_VCPU_MMAP_SIZE, 0)),
		   PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
	for (;;) {
		if (ioctl(cpu, KVM_RUN, 0) < 0 && errno != EINTR && errno != EAGAIN)
			CHECK(-1);
		switch (run->exit_reason) {
		case KVM_EXIT_IO:
			port(run);
			break;
		case KVM_EXIT_MMIO:
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0xff, 8);
			break;
		case KVM_EXIT_INTR:
			break;
		default:
			fprintf(stderr, "exit %u\n", run->exit_reason);
			return 1;
		}
	}
}
