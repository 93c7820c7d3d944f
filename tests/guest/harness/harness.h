/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/harness/harness.h - bare-metal guests driven through the KVM ABI.
 *
 * A test file holds guest code (top-level assembler, one CODEnn() each) and
 * T() functions that put it into a guest, run it and look at what stopped
 * it. Every exception vector leads to a stub that exits through a port, so a
 * test sees vector, error code, frame and untouched registers from outside.
 * Every test runs in a forked child with a time limit.
 *
 * Threads: a struct guest belongs to its test; a test that runs vCPUs on other
 * threads says which thread owns which vCPU.
 */
#ifndef GUEST_HARNESS_H
#define GUEST_HARNESS_H

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>

#include "base/types.h"
#include "tests/t.h"

/* -- guest code -- */
#define GCODE(bits, name, text)						\
	__asm__(".pushsection .rodata\n\t.code" #bits "\n\t.balign 16\n" #name "_b:\n\t" \
		text "\n" #name "_e:\n\t.code64\n\t.popsection\n");	\
	extern const u8 name##_b[], name##_e[]
#define CODE16(name, text) GCODE(16, name, text)
#define CODE32(name, text) GCODE(32, name, text)
#define CODE64(name, text) GCODE(64, name, text)
/* End of a snippet, and a numbered stop in the middle of one (AL = any). */
#define PORT_DONE 0xf0
#define PORT_EXC 0xee
#define DONE "\n\tout %al, $0xf0\n\t"
#define STOP(n) "\n\tout %al, $" #n "\n\t"
/* The end for ring 3: vector 0x30 has a gate of DPL 3. */
#define VEC_DONE3 0x30
#define DONE3 "\n\tint $0x30\n\t"
/* A label of a snippet, for C; and its guest address when the snippet is at G_CODE. */
#define LABEL(l) extern const u8 l[]
#define AT(name, label) (G_CODE + (u64)((label) - name##_b))
#define LEN(name) ((u64)(name##_e - name##_b))
/* The same inside the snippet's own assembler text. */
#define LOC(name, label) "(0x8000 + " #label " - " #name "_b)"

/* -- guest-physical layout; linear = physical below G_RAM_SIZE -- */
enum {
	G_GDT = 0x1000,
	G_IDT = 0x2000,
	G_TSS = 0x3000,		/* the running task */
	G_TSS2 = 0x3100,	/* for task switches */
	G_LDT = 0x3300,
	G_STUBS = 0x4000,	/* 256 x 16 bytes, one per vector */
	G_IRET = 0x5000,	/* IRET in each width, +16 each */
	G_STACK = 0x8000,	/* top, ring 0 */
	G_CODE = 0x8000,
	G_DATA = 0x10000,	/* 64 KiB */
	G_STACK3 = 0x30000,	/* top, ring 3 */
	G_IST1 = 0x38000,	/* top */
	G_PT = 0x100000,	/* page tables, 64 KiB */
	G_WINDOW = 0x200000,	/* 2 MiB mapped by 4 KiB pages, for paging tests */
	G_WINDOW_END = 0x400000,
	G_FREE = 0x400000,	/* RAM up to the end is the test's */
	G_RAM_SIZE = 0x1000000,
	G_MMIO = 0x10000000,	/* mapped, no memory slot behind */
};

/* GDT selectors. */
enum {
	SEL_CODE32 = 0x08, SEL_DATA = 0x10, SEL_CODE64 = 0x18, SEL_DATA_B = 0x20,
	SEL_CODE16 = 0x28,
	SEL_UCODE32 = 0x33, SEL_UDATA = 0x3b, SEL_UCODE64 = 0x43,
	SEL_TSS = 0x48,		/* two slots */
	SEL_DATA16 = 0x58, SEL_LDT = 0x60 /* two slots */, SEL_TSS2 = 0x70,
	SEL_FREE = 0x80,	/* 0x80.. are the test's */
	GDT_BYTES = 0x200,
};

enum mode {
	M_REAL,		/* 16-bit, base = selector << 4 */
	M_PM16,		/* protected, 16-bit code, no paging */
	M_PM32,		/* protected, 32-bit flat, no paging */
	M_PG32,		/* + 32-bit paging with 4 MiB pages allowed */
	M_PAE,		/* + PAE paging */
	M_LONG,		/* 64-bit */
	M_COMPAT,	/* 32-bit code under long mode */
	M_COUNT,
};
extern const char *const mode_name[M_COUNT];

struct guest_cpu {
	struct guest *g;
	int fd, index;
	struct kvm_run *run;
	u32 run_size;
};

struct guest {
	int sys, vm;
	enum mode mode;
	bool irqchip;
	u8 *ram;
	void *ram_map;		/* with guard pages around */
	struct guest_cpu cpu[4];
	int ncpu;
	struct kvm_cpuid2 *cpuid;
};

enum stop_kind {
	ST_DONE,	/* PORT_DONE */
	ST_EXC,		/* a vector's stub: vec, err, frame */
	ST_OUT, ST_IN,	/* any other port */
	ST_MMIO,
	ST_HLT,
	ST_SHUTDOWN,
	ST_WINDOW,	/* interrupt window */
	ST_DEBUG,
	ST_INTERNAL,	/* KVM_EXIT_INTERNAL_ERROR, suberror in err */
	ST_INTR,	/* KVM_RUN said EINTR */
	ST_ERROR,	/* KVM_RUN failed: err = errno */
	ST_OTHER,	/* exit reason in err */
};

struct stop {
	enum stop_kind kind;
	u8 vec;
	u32 err;	/* error code of the exception */
	u64 cr2;
	/* the frame of the exception; sp and ss only when pushed */
	u64 rip, cs, rflags, sp, ss;
	bool outer;	/* sp and ss are valid */
	struct kvm_regs r;	/* registers at the exit */
	/* port or MMIO */
	u16 port;
	u8 size;
	bool write;
	u32 count;
	u64 gpa;
	u64 val;
};

/* -- life cycle; failures end the test -- */
#define GUEST_IRQCHIP 1		/* all interrupt controllers in the kernel */
#define GUEST_SPLIT 2		/* local APICs only; 24 GSIs are user space's I/O APIC */
#define GUEST_X2APIC_API(bits) ((bits) << 8)	/* KVM_CAP_X2APIC_API, before the vCPU */
struct guest *guest_new_flags(enum mode m, u32 flags);
static inline struct guest *guest_new(enum mode m)
{
	return guest_new_flags(m, 0);
}
void guest_free(struct guest *g);
struct guest_cpu *guest_add_cpu(struct guest *g);
/* Bring a vCPU into its mode's start state: G_CODE, ring 0, stack, tables. */
void cpu_setup(struct guest_cpu *c);
/* Change it to ring 3 at rip (protected and long modes). */
void cpu_ring3(struct guest_cpu *c, u64 rip);
/*
 * The test enters ring 0 from ring 3 (or VM86) outside long mode. QEMU's TCG below a KVM
 * aborts there at the busy TSS that KVM gives it: $GUEST_ON_TCG skips such tests.
 */
__attribute__((weak)) void need_stack_switch32(void);	/* absent without tap.c */
bool guest_has(struct guest *g, u32 leaf, int reg /* 0 eax .. 3 edx */, int bit);
bool guest_is_amd(struct guest *g);

void guest_write(struct guest *g, u64 gpa, const void *p, u32 n);
/* Units of code for the translator from G_FREE on: each counts in R10, adds it to the word at
 * G_DATA and goes on to the next; RET behind the last. */
enum { G_UNIT_BYTES = 64 };
void guest_grow(struct guest *g, u32 bytes);
#define guest_load(g, gpa, snip) guest_write(g, gpa, snip##_b, (u32)(snip##_e - snip##_b))
/* New guest with a snippet at G_CODE. */
#define guest_with(m, snip) guest_with_code(m, snip##_b, (u32)(snip##_e - snip##_b))
struct guest *guest_with_code(enum mode m, const void *p, u32 n);
/* A guest's structures need not be aligned (a TSS's RSP0 is not). */
typedef u16 __attribute__((aligned(1))) g_u16;
typedef u32 __attribute__((aligned(1))) g_u32;
typedef u64 __attribute__((aligned(1))) g_u64;
static inline g_u32 *g32(struct guest *g, u64 gpa) { return (g_u32 *)(void *)(g->ram + gpa); }
static inline g_u16 *g16(struct guest *g, u64 gpa) { return (g_u16 *)(void *)(g->ram + gpa); }
static inline g_u64 *g64(struct guest *g, u64 gpa) { return (g_u64 *)(void *)(g->ram + gpa); }

/* -- registers of a vCPU (cpu 0 when given a guest) -- */
struct kvm_regs cpu_regs(struct guest_cpu *c);
void cpu_set_regs(struct guest_cpu *c, const struct kvm_regs *r);
struct kvm_sregs cpu_sregs(struct guest_cpu *c);
void cpu_set_sregs(struct guest_cpu *c, const struct kvm_sregs *s);
u64 cpu_msr(struct guest_cpu *c, u32 msr);
void cpu_set_msr(struct guest_cpu *c, u32 msr, u64 v);
u64 cpu_counter(struct guest_cpu *c, const char *name);	/* of its binary statistics */
static inline struct guest_cpu *cpu0(struct guest *g) { return &g->cpu[0]; }
/* Edit registers in place: WITH_REGS(c, r) { r.rax = 1; } */
#define WITH_REGS(c, r)							\
	for (struct kvm_regs r = cpu_regs(c), *once_ = &r; once_;		\
	     cpu_set_regs(c, &r), once_ = NULL)
#define WITH_SREGS(c, s)							\
	for (struct kvm_sregs s = cpu_sregs(c), *once_ = &s; once_;		\
	     cpu_set_sregs(c, &s), once_ = NULL)
/* The vCPU's CPUID gets Hyper-V's leaves, all that KVM supports, each as `change` leaves it. */
void cpu_hyperv(struct guest_cpu *c, void (*change)(struct kvm_cpuid_entry2 *e));
u32 vcpu_ioctl(struct guest_cpu *c, unsigned long req, void *arg, const char *what);

/* -- tables -- */
struct kvm_segment seg_flat(u16 sel, u8 type, u8 dpl, int bits);
/* base/limit in bytes; access = P DPL S TYPE byte; flags = G D L AVL nibble */
u64 gdt_desc(u32 base, u32 limit, u8 access, u8 flags);
void guest_gdt(struct guest *g, u16 sel, u64 desc);
/* type 0xe/0xf 32- or 64-bit gate, 6/7 16-bit, 5 task gate */
void guest_gate(struct guest *g, u8 vec, u16 sel, u64 off, u8 type, u8 dpl, u8 ist);
/* Pointer to the 4 KiB leaf entry of a linear address in the first 4 MiB. */
u64 *guest_pte(struct guest *g, u64 va);	/* PAE, long */
u32 *guest_pte32(struct guest *g, u64 va);	/* 32-bit paging */
/* A 64-bit interrupt gate. */
static inline void guest_handler(struct guest *g, u8 vec, u64 rip)
{
	guest_gate(g, vec, SEL_CODE64, rip, 0xe, 0, 0);
}
/* Map the local APIC at its address (long mode). */
void guest_map_apic(struct guest *g);
/* The I/O APIC as well; the PICs, which hang on the same lines, are masked. */
void guest_map_ioapic(struct guest *g);
/* New guest in long mode with all interrupt controllers, the local APIC mapped, a snippet at
 * G_CODE. In its text rbp is the APIC's page. */
#define guest_apic(snip) guest_apic_code(snip##_b, (u32)LEN(snip))
struct guest *guest_apic_code(const void *p, u32 n);
/* The handler of a vector, too: the snippet's label SNIP_h. */
#define guest_apic_irq(snip, vec) \
	guest_with_apic(snip##_b, (u32)LEN(snip), vec, AT(snip, snip##_h))
struct guest *guest_with_apic(const void *p, u32 n, u8 vec, u64 handler);
#define G_APIC_ON "mov $0xfee00000, %ebp\n movl $0x1ff, 0xf0(%rbp)\n"	/* vector ff: spurious */
#define G_APIC_EOI "movl $0, 0xb0(%rbp)\n"
/* Vector 55h to itself, and time for it to come. */
#define G_APIC_SELF "movl $0x44055, 0x300(%rbp)\n mov 0x20(%rbp), %ecx\n"
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_PWT = 8, PTE_PCD = 16, PTE_A = 32, PTE_D = 64,
       PTE_PS = 128, PTE_G = 256 };
#define PTE_NX BIT64(63)
#define PTE_ADDR 0x000ffffffffff000ull

/* -- running -- */
struct stop cpu_run(struct guest_cpu *c);
static inline struct stop run(struct guest *g) { return cpu_run(cpu0(g)); }
/* Leave the exception handler: continue the interrupted code at rip. */
void cpu_resume(struct guest_cpu *c, const struct stop *s, u64 rip);
/* Give an ST_IN or an ST_MMIO read its answer. */
void cpu_answer(struct guest_cpu *c, u64 v);
/* Finish the pending I/O without executing anything (KVM_RUN, immediate_exit). */
void cpu_complete(struct guest_cpu *c);
void cpu_interrupt(struct guest_cpu *c, u8 vec);
const char *stop_text(const struct stop *s);

/* -- tests -- */
/* T() of tests/t.h. */

__attribute__((format(printf, 3, 4))) void test_fail(const char *file, int line, const char *fmt,
						     ...);
__attribute__((noreturn, format(printf, 1, 2))) void test_skip(const char *fmt, ...);
/* Says why and ends the test. */
__attribute__((noreturn, format(printf, 1, 2))) void test_die(const char *fmt, ...);
bool check_eq(const char *file, int line, const char *what, u64 got, u64 want);
bool check_stop(const char *file, int line, const struct stop *s, enum stop_kind k, int vec,
		s64 err);

#define CHECK(cond)							\
	((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "%s", #cond))
#define CHECK_EQ(got, want) check_eq(__FILE__, __LINE__, #got, (u64)(got), (u64)(want))
/* The stop is of this kind / this exception (err -1: none or any). */
#define CHECK_STOP(s, k) check_stop(__FILE__, __LINE__, &(s), k, -1, -1)
#define CHECK_EXC(s, v, e) check_stop(__FILE__, __LINE__, &(s), ST_EXC, v, e)
/* Run the guest's first vCPU; that is how it stops. */
#define RUN_TO(g, k) run_checked(__FILE__, __LINE__, g, k, -1, -1)
#define RUN_EXC(g, v, e) run_checked(__FILE__, __LINE__, g, ST_EXC, v, e)
static inline struct stop run_checked(const char *file, int line, struct guest *g, enum stop_kind k,
				      int vec, s64 err)
{
	struct stop s = run(g);

	check_stop(file, line, &s, k, vec, err);
	return s;
}

/* Times a loop is run so that its code is surely translated and chained. */
#define WARM 3000

#endif
