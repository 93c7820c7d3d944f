/* SPDX-License-Identifier: MIT */
/*
 * Costs of interrupts as a guest sees them: a bare-metal program (multiboot, 64-bit, two CPUs) for
 * QEMU with any accelerator. Prints "name nanoseconds" lines on the first serial port; latencies
 * have ".p50" and ".p99". irqbench measures the same from outside and more.
 */
#include "bare.h"

enum { VEC = 0x41, SPURIOUS = 0xff, EOI = 0xb0, TPR = 0x80, ICR = 0x300, ICR2 = 0x310, LVTT = 0x320,
       TMICT = 0x380, TMCCT = 0x390, TDCR = 0x3e0, SPIV = 0xf0, SAMPLES = 2000 };

PAGE static u64 pd_apic[512];
KEEP PAGE u8 ap_stack[4096];
static volatile u64 handled, t0, t1, ap_up;
static u64 sample[SAMPLES];
static u8 *const apic = (u8 *)0xfee00000;

static void apic_write(u32 reg, u32 v)
{
	*(volatile u32 *)(apic + reg) = v;
}

static u32 apic_read(u32 reg)
{
	return *(volatile u32 *)(apic + reg);
}

/* rdtsc first: it is what the latencies are taken from. */
void handler(void);
__asm__("handler: push %rax\npush %rdx\nrdtsc\nshl $32, %rdx\nor %rdx, %rax\nmov %rax, t1(%rip)\n"
	"mov $0xfee000b0, %eax\nmovl $0, (%rax)\nlock incq handled(%rip)\n"
	"pop %rdx\npop %rax\niretq");

/* -- the second CPU -- */

extern const u8 trampoline[], trampoline_end[];
__asm__(".pushsection .boot,\"ax\"\n.balign 16\n.code16\ntrampoline: cli\nxor %ax, %ax\n"
	"mov %ax, %ds\n"
	"mov $0x6a0, %eax\nmov %eax, %cr4\nmov $pml4, %eax\nmov %eax, %cr3\n"
	"mov $0xc0000080, %ecx\nrdmsr\nor $0x101, %eax\nwrmsr\n"
	"mov %cr0, %eax\nand $0x9ffffffb, %eax\nor $0x80010003, %eax\nmov %eax, %cr0\n"
	"lgdtl 0x8000 + (1f - trampoline)\nljmpl $8, $ap_entry\n"
	"1: .word 39\n.long gdt\ntrampoline_end:\n"
	".code64\nap_entry: mov $16, %eax\nmov %eax, %ds\nmov %eax, %es\nmov %eax, %ss\n"
	"mov $ap_stack + 4096, %esp\ncall ap_main\n2: hlt\njmp 2b\n"
	".popsection");

static void load_idt(void)
{
	struct __attribute__((packed)) {
		u16 limit;
		u64 base;
	} p = { sizeof(idt) - 1, (u64)idt };

	__asm__ volatile("lidt %0" :: "m"(p));
}

/* Halts or spins until the first CPU says otherwise. */
static volatile u64 ap_spins;
KEEP void ap_main(void)
{
	load_idt();
	apic_write(SPIV, 0x100 | SPURIOUS);
	ap_up = 1;
	for (;;) {
		if (ap_spins)
			__asm__ volatile("sti; 1: cmpq $0, ap_spins(%%rip); jne 1b" ::: "memory");
		else
			__asm__ volatile("sti; hlt" ::: "memory");
	}
}

static void wait_us(u64 us)
{
	u64 end = tsc() + us * ticks_per_us16 / 16;

	while (tsc() < end)
		;
}

static void start_ap(void)
{
	for (const u8 *p = trampoline; p < trampoline_end; p++)
		((volatile u8 *)0x8000)[p - trampoline] = *p;
	apic_write(ICR, 0xc4500);	/* INIT, SIPI, SIPI to all others */
	wait_us(10000);
	for (int i = 0; i < 2; i++) {
		apic_write(ICR, 0xc4608);
		wait_us(1000);
	}
	for (int i = 0; i < 1000 && !ap_up; i++)
		wait_us(1000);
}

/* -- measuring -- */

static void sort(u64 *v, u32 n)
{
	for (u32 gap = n / 2; gap; gap /= 2)
		for (u32 i = gap; i < n; i++) {
			u64 x = v[i];
			u32 j = i;

			for (; j >= gap && v[j - gap] > x; j -= gap)
				v[j] = v[j - gap];
			v[j] = x;
		}
}

static void latency(const char *name, const char *p50, const char *p99, u64 *v, u32 n)
{
	sort(v, n);
	say(name);
	report(p50, v[n / 2], 1);
	say(name);
	report(p99, v[n * 99 / 100], 1);
}

#define BEST(n, once) ({ \
	u64 best_ = ~0ull; \
	for (int k_ = 0; k_ < 5; k_++) { \
		u64 t_ = tsc(); \
		for (u64 i_ = 0; i_ < (n); i_++) \
			once; \
		t_ = tsc() - t_; \
		best_ = t_ < best_ ? t_ : best_; \
	} \
	best_; })

static void self_ipi(void)
{
	u64 want = handled + 1;

	apic_write(ICR, 0x44000 | VEC);
	while (handled != want)
		;
}

/* Time to the handler on the other CPU, and until this one sees that it has run. */
static void ipi(const char *one_way, const char *round_trip, u64 rest_us)
{
	static u64 back[SAMPLES];

	for (u32 i = 0; i < SAMPLES; i++) {
		u64 want = handled + 1;

		wait_us(rest_us);
		t0 = tsc();
		apic_write(ICR, 0x4000 | VEC);
		while (handled != want)
			;
		back[i] = tsc() - t0;
		sample[i] = t1 - t0;
	}
	latency(one_way, ".p50", ".p99", sample, SAMPLES);
	latency(round_trip, ".p50", ".p99", back, SAMPLES);
}

/* One-shot timer: from the count's end to the handler. The timer's rate is measured. */
static void timer(void)
{
	u64 per_ms = 0, t, end;

	apic_write(TDCR, 0xb);
	apic_write(LVTT, 0x10000 | VEC);
	for (int k = 0; k < 30; k++) {	/* the fastest, as in calibrate() */
		u64 count;

		apic_write(TMICT, ~0u);
		t = tsc();
		wait_us(1000);
		t = tsc() - t;
		count = (~0u - apic_read(TMCCT)) * (ticks_per_us16 * 1000 / 16) / t;
		per_ms = !per_ms || count < per_ms ? count : per_ms;
		apic_write(TMICT, 0);
	}
	apic_write(LVTT, VEC);
	for (u32 i = 0; i < SAMPLES / 4; i++) {
		u64 want = handled + 1;

		end = tsc() + ticks_per_us16 / 16 * 500;
		apic_write(TMICT, (u32)(per_ms / 2));
		while (handled != want)
			;
		sample[i] = t1 > end ? t1 - end : 0;
	}
	latency("timer", ".p50", ".p99", sample, SAMPLES / 4);
}

KEEP void bare_main(void)
{
	enum { N = 20000 };

	out8(0x3f9, 0);
	pdpt[3] = (u64)pd_apic | 7;
	pd_apic[0xfee00000 >> 21 & 511] = 0xfee00000 | 0x9b;
	calibrate();
	out8(0x21, 0xff);	/* no 8259 */
	out8(0xa1, 0xff);
	gate(VEC, handler);
	load_idt();
	apic_write(SPIV, 0x100 | SPURIOUS);
	report("eoi", BEST(N * 10, apic_write(EOI, 0)), N * 10);
	report("tpr", BEST(N * 10, apic_write(TPR, 0x10)), N * 10);
	report("cr8", BEST(N * 10, ({ __asm__ volatile("mov %0, %%cr8" ::"r"(1ul)); })), N * 10);
	__asm__ volatile("mov %0, %%cr8\nsti" :: "r"(0ul));
	report("self-ipi", BEST(N, self_ipi()), N);
	timer();
	start_ap();
	if (!ap_up)
		stop("the second CPU");
	apic_write(ICR2, 1 << 24);
	ap_spins = 1;
	ipi("ipi", "ipi-round-trip", 2);
	ap_spins = 0;
	ipi("ipi-to-halted", "ipi-round-trip-halted", 50);
	stop(0);
}
