/* SPDX-License-Identifier: MIT */
/*
 * A bare-metal program of one source file: multiboot header, 64-bit mode with the first GiB mapped
 * 1:1, serial port, isa-debug-exit at port 0xf4, time by the TSC. Defines bare_main()'s caller.
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define PAGE __attribute__((aligned(4096)))
#define KEEP __attribute__((used))

KEEP PAGE u64 pml4[512], pdpt[512], pd[512];	/* the first GiB, 1:1 */
KEEP PAGE u8 boot_stack[4 * 4096];
static u64 idt[2 * 256];

__asm__(".pushsection .boot,\"ax\"\n.code32\n"
	".align 4\n.long 0x1badb002, 0, -0x1badb002\n"
	".globl _start\n_start:\n"
	"mov $boot_stack + 16384, %esp\n"
	"movl $pdpt + 7, pml4\nmovl $pd + 7, pdpt\n"
	"mov $pd, %edi\nmov $0x87, %eax\n"
	"1: mov %eax, (%edi)\nadd $8, %edi\nadd $0x200000, %eax\ncmp $0x40000087, %eax\njne 1b\n"
	"mov $pml4, %eax\nmov %eax, %cr3\n"
	"mov %cr4, %eax\nor $0x6a0, %eax\nmov %eax, %cr4\n"	/* PAE PGE OSFXSR OSXMMEXCPT */
	"mov $0xc0000080, %ecx\nrdmsr\nor $0x101, %eax\nwrmsr\n"	/* LME SCE */
	"mov %cr0, %eax\nand $~4, %eax\nor $0x80010003, %eax\nmov %eax, %cr0\n"
	"lgdt gdt_pointer\nljmp $8, $1f\n"
	".code64\n1: mov $16, %eax\nmov %eax, %ds\nmov %eax, %es\nmov %eax, %ss\n"
	"call bare_main\n2: hlt\njmp 2b\n"
	".align 8\ngdt: .quad 0, 0x00209b0000000000, 0x00cf93000000ffff, 0x00cff3000000ffff,"
	" 0x0020fb0000000000\ngdt_end:\n"
	"gdt_pointer: .word gdt_end - gdt - 1\n.quad gdt\n"
	".popsection");

/* -- machine -- */

static void out8(u16 port, u8 v) { __asm__ volatile("out %0, %1" :: "a"(v), "Nd"(port)); }
static u8 in8(u16 port)
{
	u8 v;

	__asm__ volatile("in %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}
static inline u64 rdmsr(u32 n)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(n));
	return lo | (u64)hi << 32;
}
static inline void wrmsr(u32 n, u64 v)
{
	__asm__ volatile("wrmsr" :: "c"(n), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
static u64 tsc(void)
{
	u32 lo, hi;

	__asm__ volatile("lfence\nrdtsc" : "=a"(lo), "=d"(hi) :: "memory");
	return lo | (u64)hi << 32;
}
static void say(const char *s)
{
	for (; *s; s++)
		out8(0x3f8, (u8)*s);
}
static void say_number(u64 v)
{
	char b[24], *p = b + sizeof(b) - 1;

	*p = 0;
	do
		*--p = (char)('0' + v % 10);
	while (v /= 10);
	say(p);
}
static void __attribute__((noreturn)) stop(const char *why)
{
	if (why) {
		say("failed ");
		say(why);
		say("\n");
	}
	out8(0xf4, why ? 1 : 0);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static u64 ticks_per_us16;	/* times 16 */

/* PIT channel 2 counts 1.193182 MHz down without interrupts. The shortest of many short
 * measurements: on a busy host longer ones are all interrupted. */
static void calibrate(void)
{
	u64 t, best = ~0ull;

	for (int k = 0; k < 30; k++) {
		out8(0x61, (u8)((in8(0x61) & ~2) | 1));
		out8(0x43, 0xb0);
		out8(0x42, 0xa9);	/* 1193: 1 ms */
		out8(0x42, 0x04);
		t = tsc();
		while (!(in8(0x61) & 0x20))
			;
		t = tsc() - t;
		best = t < best ? t : best;
	}
	ticks_per_us16 = best * 16 / 1000;
}

/* Tenths of a nanosecond, as "x.y". */
static void report(const char *name, u64 ticks, u64 n)
{
	u64 v = ticks * 16 * 10000 / ticks_per_us16 / n;

	say(name);
	say(" ");
	say_number(v / 10);
	say(".");
	say_number(v % 10);
	say("\n");
}

static inline void gate(int vector, void (*handler)(void))
{
	u64 a = (u64)handler;

	idt[vector * 2] = (a & 0xffff) | 8 << 16 | 0x8e00ull << 32 | (a & 0xffff0000) << 32;
	idt[vector * 2 + 1] = a >> 32;
}

#endif
