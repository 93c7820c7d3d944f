/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/slow.c - memory operands that are carried out by themselves (engine/slow.c): what
 * they leave in memory when the instruction stores less than its operand, or nothing.
 */
/* Run: build/standin run -- build/tests/guest/guest_slow [NAME...] */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <time.h>

#include "tests/guest/harness/harness.h"

/* Two pages that are neighbours, and whose memory is apart: nothing can be done in place. */
#define SPLIT_LO (G_WINDOW + 0x10000)
#define SPLIT_HI (SPLIT_LO + 0x1000)
#define G_BARRIER (G_DATA + 0x800)
static void split_pages(struct guest *g)
{
	*guest_pte(g, SPLIT_LO) = (G_WINDOW + 0x20000) | PTE_P | PTE_W | PTE_U;
	*guest_pte(g, SPLIT_HI) = (G_WINDOW + 0x30000) | PTE_P | PTE_W | PTE_U;
}
static void split_write(struct guest *g, u64 va, const u8 *p, u32 n)
{
	for (u32 i = 0; i < n; i++)
		g->ram[(*guest_pte(g, va + i) & PTE_ADDR) + (va + i) % 4096] = p[i];
}
static void split_read(struct guest *g, u64 va, u8 *p, u32 n)
{
	for (u32 i = 0; i < n; i++)
		p[i] = g->ram[(*guest_pte(g, va + i) & PTE_ADDR) + (va + i) % 4096];
}

/*
 * A store of the x87 that raises an unmasked exception is not carried out, except for precision
 * (SDM1 8.5; APM1 6.8.2). Everything that stores, with every exception unmasked by itself and
 * all together, in one page and over two.
 */
static const struct x87_store {
	u8 opcode, reg, size;
} x87_stores[] = {
	{ 0xd9, 2, 4 }, { 0xd9, 3, 4 }, { 0xdd, 2, 8 }, { 0xdd, 3, 8 },	 { 0xdb, 7, 10 },
	{ 0xdb, 2, 4 }, { 0xdb, 3, 4 }, { 0xdf, 2, 2 }, { 0xdf, 3, 2 },	 { 0xdf, 7, 8 },
	{ 0xdb, 1, 4 }, { 0xdd, 1, 8 }, { 0xdf, 1, 2 }, { 0xdf, 6, 10 },
};
CODE64(x87_store, "addq $0, (%rdi)\n fninit\n fldcw (%rbx)\n test %ecx, %ecx\n jnz 1f\n"
	" fldt 16(%rbx)\n"
	"1: xs_op: .byte 0x90, 0x90\n fnstsw %ax\n fnclex" DONE);
LABEL(xs_op);
static struct stop x87_run(struct guest *g, u16 cw, const u8 value[10], bool empty, u64 at)
{
	*g16(g, G_DATA) = cw;
	if (value)
		memcpy(g->ram + G_DATA + 16, value, 10);
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rbx = G_DATA;
		r.rcx = empty;
		r.rsi = at;
		r.rdi = SPLIT_HI - 4;	/* what a bounce buffer would remember */
	}
	return run(g);
}
T(x87_skipped, "x87 stores that an exception keeps from memory, in one page and in two")
{
	static const u8 values[][10] = {
		{ 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f },			/* 1 */
		{ 0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0x00, 0x40 },	/* pi */
		{ 0, 0, 0, 0, 0, 0, 0, 0x80, 0x00, 0x41 },			/* 2^257 */
		{ 0, 0, 0, 0, 0, 0, 0, 0x80, 0xf0, 0x7f },			/* beyond doubles */
		{ 0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0x10, 0x00 },	/* tiny */
		{ 1, 0, 0, 0, 0, 0, 0, 0, 0, 0 },				/* denormal */
		{ 1, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f },			/* signalling NaN */
		{ 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff },			/* NaN */
	};
	static const u16 unmasked[] = { 0, 1, 2, 8, 16, 32, 0x3f, 0x18, 0x38 };
	struct guest *g = guest_with(M_LONG, x87_store);
	u64 at[] = { G_WINDOW + 0x800, SPLIT_HI - 1 };
	u32 skipped = 0;

	split_pages(g);
	for (u32 i = 0; i < ARRAY_SIZE(x87_stores); i++) {
		const struct x87_store *x = &x87_stores[i];
		u8 op[2] = { x->opcode, (u8)(x->reg << 3 | 6) };

		guest_write(g, AT(x87_store, xs_op), op, 2);
		for (u32 k = 0; k < (ARRAY_SIZE(values) + 1) * ARRAY_SIZE(unmasked); k++) {
			u32 n = k / ARRAY_SIZE(unmasked);
			u16 cw = 0x37f & ~unmasked[k % ARRAY_SIZE(unmasked)];
			const u8 *v = n < ARRAY_SIZE(values) ? values[n] : NULL;
			u8 was[16], got[2][16];
			struct stop s[2];
			bool same;

			memset(was, 0xa5, sizeof(was));
			for (u32 j = 0; j < 2; j++) {
				split_write(g, SPLIT_HI - 4, (const u8 *)"kernels secret", 14);
				split_write(g, at[j], was, sizeof(was));
				s[j] = x87_run(g, cw, v, !v, at[j]);
				CHECK_STOP(s[j], ST_DONE);
				split_read(g, at[j], got[j], sizeof(was));
			}
			skipped += !memcmp(got[0], was, sizeof(was));
			same = !memcmp(got[0], got[1], sizeof(was)) && s[0].r.rax == s[1].r.rax;
			if (!same)
				test_fail(
					__FILE__, __LINE__,
					"%02x /%u cw %x value %u: %02x%02x.. sw %llx in one page, "
					"%02x%02x.. sw %llx in two",
					x->opcode, x->reg, cw, n, got[0][0], got[0][1], s[0].r.rax,
					got[1][0], got[1][1], s[1].r.rax);
		}
	}
	CHECK(skipped > 100);
}

/* -- LOCK (APM2 7.3.2; SDM3 8.1.2.2): indivisible however the operand lies -- */

/* RCX: rounds. R9: how many are still to come, before it begins. */
#define START "lock decl (%r9)\n 9: pause\n cmpl $0, (%r9)\n jne 9b\n"
CODE64(lock_inc, START "1: lock incq (%rsi)\n dec %ecx\n jnz 1b" DONE);
CODE64(lock_xchg, START "1: mov $1, %eax\n xchg %eax, (%rsi)\n test %eax, %eax\n jnz 1b\n"
	" incq (%rdi)\n movl $0, (%rsi)\n"
	"dec %ecx\n jnz 1b" DONE);
CODE64(lock_cmpxchg, START "1: mov (%rsi), %rax\n 2: lea 1(%rax), %rdx\n"
			   " lock cmpxchg %rdx, (%rsi)\n jnz 2b\n dec %ecx\n jnz 1b" DONE);
CODE64(plain_byte, START "1: mov %cl, 7(%rsi)\n pause\n cmp %cl, 7(%rsi)\n jne 2f\n dec %ecx\n"
			 " jnz 1b" DONE "2: ud2");

static void *runner(void *p)
{
	struct guest_cpu *c = p;
	struct stop s = cpu_run(c);

	CHECK_STOP(s, ST_DONE);
	return NULL;
}
/* One snippet on each of two vCPUs at once, `rounds` times around. */
static void both(struct guest *g, u64 code2, u64 rsi, u64 rdi, u32 rounds)
{
	pthread_t t;

	*g32(g, G_BARRIER) = 2;
	for (int i = 0; i < 2; i++)
		WITH_REGS(&g->cpu[i], r) {
			r.rip = i ? code2 : G_CODE;
			r.rsp = G_STACK - 512 * i;
			r.rsi = rsi;
			r.rdi = rdi;
			r.r9 = G_BARRIER;
			r.rcx = rounds;
		}
	pthread_create(&t, NULL, runner, &g->cpu[1]);
	runner(cpu0(g));
	pthread_join(t, NULL);
}
static struct guest *two_cpus(const u8 *p, u64 n)
{
	struct guest *g = guest_with_code(M_LONG, p, (u32)n);
	struct guest_cpu *b = guest_add_cpu(g);

	cpu_setup(b);
	split_pages(g);
	return g;
}
#define TWO_CPUS(s) two_cpus(s##_b, LEN(s))
static u64 split64(struct guest *g, u64 va)
{
	u64 v;

	split_read(g, va, (u8 *)&v, 8);
	return v;
}
/*
 * Where memory is apart each LOCK waits until the other vCPU has left the guest. On a busy host
 * that takes as long as its thread takes to get a CPU, so there are as many rounds as a second
 * gives.
 */
#define ROUNDS 3000
static u32 both_apart(struct guest *g, u64 code2, u64 rsi, u64 rdi)
{
	struct timespec a, b;
	u32 n = 0;

	clock_gettime(CLOCK_MONOTONIC, &a);
	do {
		both(g, code2, rsi, rdi, ROUNDS / 100);
		n += ROUNDS / 100;
		clock_gettime(CLOCK_MONOTONIC, &b);
	} while (n < ROUNDS && b.tv_sec - a.tv_sec < 2);
	return n;
}
T(locked,
  "two vCPUs count with LOCK in one page, over two that are neighbours, and over two that are not")
{
	static const u64 at[] = { G_WINDOW + 64, G_WINDOW + 60, G_WINDOW + 4092, SPLIT_HI - 4,
				  SPLIT_HI - 1 };
	struct guest *g = TWO_CPUS(lock_inc);
	struct guest *h = TWO_CPUS(lock_cmpxchg);

	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		static const u8 zero[8];
		struct guest *t = i & 1 ? g : h;
		u32 rounds = 100 * ROUNDS;

		split_write(t, at[i], zero, 8);
		if (at[i] > SPLIT_LO)
			rounds = both_apart(t, G_CODE, at[i], 0);
		else
			both(t, G_CODE, at[i], 0, rounds);
		CHECK_EQ(split64(t, at[i]), 2 * rounds);
	}
	guest_free(g);
	guest_free(h);
}
#define TWO_SLOTS 0x20000000ull
T(locked_slots,
  "... over two memory slots, and with the dirty log on: both pages are dirty and have D")
{
	static u8 other[0x2000] __attribute__((aligned(4096)));
	static u64 log[G_RAM_SIZE / 4096 / 64], log1[1];
	struct guest *g = TWO_CPUS(lock_inc);
	struct kvm_userspace_memory_region m = {
		.slot = 0, .flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = G_RAM_SIZE,
		.userspace_addr = (u64)(uintptr_t)g->ram,
	}, m1 = {
		.slot = 1, .flags = KVM_MEM_LOG_DIRTY_PAGES, .guest_phys_addr = TWO_SLOTS,
		.memory_size = sizeof(other), .userspace_addr = (u64)(uintptr_t)other,
	};
	struct kvm_dirty_log d = { .slot = 0, .dirty_bitmap = log },
			     d1 = { .slot = 1, .dirty_bitmap = log1 };
	u32 lo, rounds, page = (G_WINDOW + 0x20000) / 4096;

	if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &m) ||
	    ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &m1))
		test_die("KVM_SET_USER_MEMORY_REGION: errno %d", errno);
	*guest_pte(g, SPLIT_HI) = TWO_SLOTS | PTE_P | PTE_W | PTE_U;
	/* half of it in each */
	*g32(g, G_WINDOW + 0x20ffc) = 0xfffffff0;
	rounds = both_apart(g, G_CODE, SPLIT_HI - 4, 0);
	lo = *g32(g, G_WINDOW + 0x20ffc);
	CHECK_EQ(lo, (u32)(0xfffffff0u + 2 * rounds));
	CHECK_EQ(*(u32 *)(void *)other, 1);
	CHECK(*guest_pte(g, SPLIT_LO) & PTE_D);
	CHECK(*guest_pte(g, SPLIT_HI) & PTE_D);
	if (ioctl(g->vm, KVM_GET_DIRTY_LOG, &d) || ioctl(g->vm, KVM_GET_DIRTY_LOG, &d1))
		test_die("KVM_GET_DIRTY_LOG: errno %d", errno);
	CHECK(log[page / 64] & BIT64(page % 64));
	CHECK_EQ(log1[0], 1);
	guest_free(g);
}
static _Atomic bool enough;
static void *slot_changer(void *p)
{
	struct guest *g = p;
	static u64 log[G_RAM_SIZE / 4096 / 64];
	struct kvm_userspace_memory_region m = {
		.slot = 0, .memory_size = G_RAM_SIZE, .userspace_addr = (u64)(uintptr_t)g->ram,
	};
	struct kvm_dirty_log d = { .slot = 0, .dirty_bitmap = log };

	for (u32 i = 0; !enough; i++) {
		m.flags = i & 1 ? 0 : KVM_MEM_LOG_DIRTY_PAGES;
		if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &m) ||
		    (m.flags && ioctl(g->vm, KVM_GET_DIRTY_LOG, &d)))
			test_die("slot or log: errno %d", errno);
	}
	return NULL;
}
T(locked_changes,
  "... while the VMM changes slots and reads the log, for which it waits for the vCPUs")
{
	struct guest *g = TWO_CPUS(lock_inc);
	pthread_t t;
	u32 rounds;

	pthread_create(&t, NULL, slot_changer, g);
	rounds = both_apart(g, G_CODE, SPLIT_HI - 4, 0);
	enough = true;
	pthread_join(t, NULL);
	CHECK_EQ(split64(g, SPLIT_HI - 4), 2 * rounds);
	guest_free(g);
}
/* The function's immediate operand is counted up, half of it in each page. */
CODE64(lock_code, "1: lock incl 1(%rsi)\n call *%rsi\n dec %ecx\n jnz 1b" DONE);
T(locked_code, "... and on code, which is the new one at once")
{
	static const u8 fn[] = { 0xb8, 0, 0, 0, 0, 0xc3 };	/* mov $0, %eax; ret */
	static const u64 at[] = { G_WINDOW + 0x100, G_WINDOW + 0x1ffd, SPLIT_HI - 3 };

	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		struct guest *g = guest_with(M_LONG, lock_code);
		struct stop s;

		split_pages(g);
		split_write(g, at[i], fn, sizeof(fn));
		WITH_REGS(cpu0(g), r) {
			r.rsi = at[i];
			r.rcx = ROUNDS;
		}
		s = RUN_TO(g, ST_DONE);
		CHECK_EQ(s.r.rax, ROUNDS);
		guest_free(g);
	}
}
T(locked_watched, "a LOCK is one also while a data breakpoint is on its page")
{
	struct guest *g = TWO_CPUS(lock_inc);

	for (int i = 0; i < 2; i++) {
		struct kvm_debugregs d;

		vcpu_ioctl(&g->cpu[i], KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
		d.db[0] = G_WINDOW + 0x800;
		d.dr7 = 0xd0402;
		vcpu_ioctl(&g->cpu[i], KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
	}
	both(g, G_CODE, G_WINDOW + 64, 0, 10 * ROUNDS);
	CHECK_EQ(*g64(g, G_WINDOW + 64), 20 * ROUNDS);
}
T(xchg, "XCHG is a lock over two pages without a prefix")
{
	struct guest *g = TWO_CPUS(lock_xchg);

	u32 rounds = both_apart(g, G_CODE, SPLIT_HI - 2, G_DATA);

	CHECK_EQ(*g64(g, G_DATA), 2 * rounds);
}
T(locked_plain,
  "a LOCK over two pages does not undo another vCPU's plain stores beside what it changes")
{
	struct guest *g = TWO_CPUS(lock_inc);

	u32 rounds;

	guest_load(g, G_FREE, plain_byte);
	rounds = both_apart(g, G_FREE, SPLIT_HI - 4, 0);
	CHECK_EQ((u32)split64(g, SPLIT_HI - 4), rounds);
}
CODE64(stay, "1: pause\n cmpl $0, (%rdi)\n je 1b" DONE);
T(locked_spin,
  "a LOCK over two pages while the other vCPU is not in the guest, and while it runs a loop")
{
	struct guest *g = TWO_CPUS(lock_inc);
	struct guest_cpu *b = &g->cpu[1];
	pthread_t t;

	WITH_REGS(cpu0(g), r) {
		r.rsi = SPLIT_HI - 4;
		r.rcx = 20;
		r.r9 = G_BARRIER;
	}
	*g32(g, G_BARRIER) = 1;
	runner(cpu0(g));
	guest_load(g, G_FREE, stay);
	WITH_REGS(b, r) {
		r.rip = G_FREE;
		r.rdi = G_DATA;
	}
	pthread_create(&t, NULL, runner, b);
	WITH_REGS(cpu0(g), r) {
		r.rip = G_CODE;
		r.rcx = 20;
	}
	*g32(g, G_BARRIER) = 1;
	runner(cpu0(g));
	CHECK_EQ(split64(g, SPLIT_HI - 4), 40);
	__atomic_store_n((u32 *)(void *)(g->ram + G_DATA), 1, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
}

/* -- faults: all or nothing -- */

CODE64(store, "mov %rax, (%rsi)" DONE);
CODE64(inc, "lock incq (%rsi)" DONE);
CODE64(pushq, "push %rax" DONE);
T(second_faults, "a fault in the second page leaves no trace in the first, D included")
{
	static const struct {
		const u8 *p, *e;
	} code[] = { { store_b, store_e }, { inc_b, inc_e }, { pushq_b, pushq_e } };
	static const u64 bad[] = { 0, PTE_P };

	for (u32 i = 0; i < ARRAY_SIZE(code) * ARRAY_SIZE(bad); i++) {
		struct guest *g = guest_with_code(M_LONG, code[i / 2].p,
						  (u32)(code[i / 2].e - code[i / 2].p));
		struct stop s;

		split_pages(g);
		WITH_SREGS(cpu0(g), sr)
			sr.cr0 |= 1u << 16;
		*guest_pte(g, SPLIT_HI) = bad[i % 2] | (G_WINDOW + 0x30000);
		*g32(g, G_WINDOW + 0x20ffc) = 0x12345678;
		guest_gate(g, 14, SEL_CODE64, G_STUBS + 14 * 16, 0xe, 0, 1);
		WITH_REGS(cpu0(g), r) {
			r.rsi = SPLIT_HI - 4;
			r.rsp = SPLIT_HI + 4;
		}
		s = RUN_EXC(g, 14, bad[i % 2] ? 3 : 2);
		CHECK_EQ(s.cr2, SPLIT_HI);
		CHECK_EQ(*g32(g, G_WINDOW + 0x20ffc), 0x12345678);
		CHECK_EQ(*guest_pte(g, SPLIT_LO) & PTE_D, 0);
		/* and the first page's fault is the one that is reported */
		*guest_pte(g, SPLIT_LO) = 0;
		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rsi = SPLIT_HI - 4;
			r.rsp = SPLIT_HI + 4;
		}
		s = RUN_EXC(g, 14, 2);
		CHECK_EQ(s.cr2, SPLIT_HI - 4);
		guest_free(g);
	}
}
CODE64(cx16, "lock cmpxchg16b (%rsi)" DONE);
T(cx16, "CMPXCHG16B that is not aligned is #GP, in one page and over two")
{
	struct guest *g = guest_with(M_LONG, cx16);
	static const u64 at[] = { G_WINDOW + 8, SPLIT_HI - 8, G_WINDOW + 0xff8 };

	split_pages(g);
	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {

		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rsi = at[i];
		}
		RUN_EXC(g, 13, 0);
	}
}
CODE64(mmio_lock, "lock incl (%rsi)\n xchg %eax, (%rsi)\n mov %eax, %ebx" DONE);
T(mmio, "LOCK and XCHG on a device: one read and one write each")
{
	struct guest *g = guest_with(M_LONG, mmio_lock);
	struct stop s;

	WITH_REGS(cpu0(g), r) {
		r.rsi = G_MMIO;
		r.rax = 0x77;
	}
	for (u32 i = 0; i < 2; i++) {
		s = RUN_TO(g, ST_MMIO);
		CHECK(!s.write);
		cpu_answer(cpu0(g), 5 + i);
		s = RUN_TO(g, ST_MMIO);
		CHECK(s.write);
		CHECK_EQ(s.val, i ? 0x77 : 6);
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 6);
}

/* -- CLFLUSH and its like: what the load of a byte would raise (APM3 CLFLUSH, CLFLUSHOPT, CLWB)
 * -- */

CODE64(flush64, "fl_op: .byte 0x90, 0x0f, 0xae, 0x3e" DONE);
LABEL(fl_op);
static const struct {
	u8 prefix, modrm;
	s8 bit;		/* of CPUID 7 EBX; -1: 1 EDX 19 */
} flushes[] = { { 0x3e, 0x3e, -1 }, { 0x66, 0x3e, 23 }, { 0x66, 0x36, 24 } };
T(flush, "CLFLUSH, CLFLUSHOPT and CLWB: not present, not canonical, supervisor, a device, A and D")
{
	for (u32 i = 0; i < ARRAY_SIZE(flushes); i++) {
		struct guest *g = guest_with(M_LONG, flush64);
		u8 op[4] = { flushes[i].prefix, 0x0f, 0xae, flushes[i].modrm };
		struct stop s;

		if (flushes[i].bit >= 0 && !guest_has(g, 7, 1, flushes[i].bit))
			continue;
		guest_write(g, AT(flush64, fl_op), op, 4);
		*guest_pte(g, G_WINDOW) = 0;
		*guest_pte(g, G_WINDOW + 0x1000) &= ~(u64)(PTE_U | PTE_A | PTE_D);
		/* at the last byte of a page, the other one is not asked */
		for (u32 k = 0; k < 6; k++) {
			static const struct {
				u64 at;
				int vec;
				bool user;
				u32 err;
			} c[] = {
				{ G_WINDOW + 0xfff, 14, false, 0 },
				{ G_WINDOW + 0x1fff, -1, false, 0 },
				{ G_WINDOW + 0x1fff, 14, true, 5 },
				{ 0x8000000000000000, 13, false, 0 },
				{ G_MMIO, -1, false, 0 },
				{ G_WINDOW - 1, -1, false, 0 },
			};

			cpu_setup(cpu0(g));
			if (c[k].user)
				cpu_ring3(cpu0(g), G_CODE);
			WITH_REGS(cpu0(g), r) {
				r.rip = G_CODE;
				r.rsi = c[k].at;
			}
			s = run(g);
			if (c[k].vec < 0) {
				CHECK_STOP(s, ST_DONE);
			} else {
				CHECK_EXC(s, c[k].vec, c[k].err);
				if (c[k].vec == 14)
					CHECK_EQ(s.cr2, c[k].at);
			}
		}
		CHECK_EQ(*guest_pte(g, G_WINDOW + 0x1000) & (PTE_A | PTE_D), PTE_A);
		guest_free(g);
	}
}
CODE64(flush_ss, "clflush (%rbp)" DONE);
CODE32(flush_seg, "clflush %fs:(%esi)\n clflush %cs:(%esi)" DONE);
CODE64(flush_loop, "mov $3000, %ecx\n 1: clflush (%rsi)\n mov 8(%rsi), %eax\n mov %eax, 16(%rsi)\n"
		   " dec %ecx\n jnz 1b" DONE);
CODE64(hints, "prefetcht0 (%rsi)\n prefetchw (%rsi)\n prefetchnta (%rsi)\n .byte 0x0f, 0x1c, 0x06\n"
	      " nopl (%rsi)" DONE);
T(flush_segments, "CLFLUSH: segments and limits, code that may not be read; hints fault never")
{
	struct guest *g = guest_with(M_LONG, flush_ss);

	WITH_REGS(cpu0(g), r)
		r.rbp = 0x8000000000000000;
	RUN_EXC(g, 12, 0);
	guest_free(g);
	g = guest_with(M_PM32, flush_seg);
	WITH_SREGS(cpu0(g), sr) {
		sr.fs.limit = 0xfff;
		sr.fs.g = 0;
		sr.cs.type = 9;	/* execute only */
	}
	WITH_REGS(cpu0(g), r)
		r.rsi = 0xfff;
	RUN_TO(g, ST_DONE);
	cpu_setup(cpu0(g));
	WITH_SREGS(cpu0(g), sr) {
		sr.fs.limit = 0xfff;
		sr.fs.g = 0;
	}
	WITH_REGS(cpu0(g), r)
		r.rsi = 0x1000;
	RUN_EXC(g, 13, 0);
	guest_free(g);
	g = guest_with(M_LONG, flush_loop);
	WITH_REGS(cpu0(g), r)
		r.rsi = G_WINDOW;
	RUN_TO(g, ST_DONE);
	guest_free(g);
	g = guest_with(M_LONG, hints);
	WITH_REGS(cpu0(g), r)
		r.rsi = 0x8000000000000000;
	RUN_TO(g, ST_DONE);
	guest_free(g);
}

/* -- a pending #MF comes before whatever the operand of the next x87 or MMX instruction is (APM2
 * 8.5) -- */

CODE64(mf, "fninit\n fldcw (%rbx)\n fld1\n fldz\n fdivrp\n mf_op: .fill 6, 1, 0x90" DONE);
LABEL(mf_op);
T(mf_first,
  "a pending #MF comes before the page fault, #GP, #SS or device of the next MMX instruction")
{
	static const struct {
		u8 op[6], len;
		bool waits;
	} c[] = {
		/* at (%rsi) */
		{ { 0x0f, 0x6f, 0x06 }, 3, true },
		{ { 0x0f, 0x7f, 0x06 }, 3, true },
		{ { 0x0f, 0x6e, 0x06 }, 3, true },
		{ { 0x0f, 0xfc, 0x06 }, 3, true },
		{ { 0x0f, 0xc4, 0x06, 1 }, 4, true },
		{ { 0x0f, 0xe7, 0x06 }, 3, true },
		{ { 0x0f, 0x2d, 0x06 }, 3, true },
		{ { 0x66, 0x0f, 0x2c, 0x06 }, 4, true },
		{ { 0x0f, 0x3a, 0x0f, 0x06, 1 }, 5, true },
		{ { 0x0f, 0x38, 0x00, 0x06 }, 4, true },
		{ { 0x0f, 0x70, 0x06, 1 }, 4, true },
		{ { 0x0f, 0xf7, 0xc8 }, 3, true },
		{ { 0xdd, 0x06 }, 2, true },
		{ { 0xdd, 0x1e }, 2, true },
		{ { 0x0f, 0x2a, 0x06 }, 3, false },
		{ { 0x66, 0x0f, 0x6f, 0x06 }, 4, false },
		{ { 0xd9, 0x3e }, 2, false },
		{ { 0x8b, 0x06 }, 2, false },
	};
	static const struct {
		u64 at;
		int vec;
	} at[] = { { 0x600000, 14 }, { 0x8000000000000000, 13 }, { G_MMIO, -1 } };

	for (u32 i = 0; i < ARRAY_SIZE(c) * ARRAY_SIZE(at); i++) {
		u32 k = i / ARRAY_SIZE(at), a = i % ARRAY_SIZE(at);
		struct guest *g = guest_with(M_LONG, mf);
		struct stop s;

		if (at[a].vec < 0 && !c[k].waits)
			continue;
		guest_write(g, AT(mf, mf_op), c[k].op, c[k].len);
		*g16(g, G_DATA) = 0x37b;
		*g64(g, G_PT + 0x2018) = 0;	/* from 6 MiB on there is nothing */
		WITH_SREGS(cpu0(g), sr) {
			sr.cr0 = (sr.cr0 & ~4ull) | 1u << 5;
			sr.cr4 |= 3u << 9;
		}
		WITH_REGS(cpu0(g), r) {
			r.rbx = G_DATA;
			r.rsi = r.rdi = at[a].at;
		}
		s = RUN_EXC(g, c[k].waits ? 16 : at[a].vec, -1);
		CHECK_EQ(s.rip, AT(mf, mf_op));
		guest_free(g);
	}
}
