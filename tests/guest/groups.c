/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/groups.c - accesses off the same base that share a check (engine/translate.c): what
 * stands between them, and displacements at the ends of their range.
 */
/* Run: build/standin run -- build/tests/guest/guest_groups [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

/* Two operands whose home is memory, while the scratch register for the second holds the group's
 * pointer. */
CODE64(lea16, "mov $0x1122334455667788, %rax\n mov $0x99aabbccddeeff00, %rdi\n mov $0x100, %r13d\n"
	" mov $0x23, %r14d\n"
	"push %rbx\n lea (%r13,%r14), %ax\n lea (%r13,%r14,2), %di\n pop %rbx" DONE);
T(lea16, "LEA with a 16-bit destination leaves the rest of the register alone")
{
	struct stop s = RUN_TO(guest_with(M_LONG, lea16), ST_DONE);

	CHECK_EQ(s.r.rax, 0x1122334455660123);
	CHECK_EQ(s.r.rdi, 0x99aabbccddee0146);
}

/* A page fault at `cr2` when run with this RBX. */
static void check_fault(struct guest *g, u64 rbx, u64 cr2)
{
	struct stop s;

	WITH_REGS(cpu0(g), r)
		r.rbx = rbx;
	s = RUN_EXC(g, 14, 0);
	CHECK_EQ(s.cr2, cr2);
}

CODE64(lea32, "mov (%rbx), %rax\n lea 0x7fffffff(%rbx), %rbx\n lea 0x7fffffff(%rbx), %rbx\n"
	      " mov 2(%rbx), %rcx" DONE);
T(lea32, "a base that LEA moves by 4 GiB is another base")
{
	check_fault(guest_with(M_LONG, lea32), 0x300000, 0x100300000);
}

/* The lower of the two is 0x300000 if the displacement wraps. */
CODE64(disp32, "mov 0x300000, %rdx\n mov -0x80000000(%rbx), %rax\n sub $8, %rbx\n"
	"mov -0x80000000(%rbx), %rcx" DONE);
T(disp32, "a displacement of -2 GiB, and a base that goes down")
{
	check_fault(guest_with(M_LONG, disp32), 0xffffffff80300008, 0xffffffff00300008);
}

/*
 * Accesses that share a check are looked up before it is known that all of them come about: one
 * that does not has left no mark in the page tables and none in the dirty log (APM2 5.4.2).
 */
CODE64(div_store, "mov (%rsi), %rdi\n xor %edx, %edx\n mov $1, %eax\n div %ecx\n mov %rax, 8(%rsi)"
       DONE);
CODE64(div_load, "xor %edx, %edx\n mov $1, %eax\n div %ecx\n mov 8(%rsi), %rbx\n"
		 " mov 16(%rsi), %rbx" DONE);
CODE64(ud_store, "mov (%rsi), %rdi\n test %rdi, %rdi\n movaps 8(%rsi), %xmm0\n mov %rax, 16(%rsi)"
       DONE);
CODE64(fpu_store, "fninit\n fldcw 8(%rsi)\n fld1\n fldz\n fdivrp\n fldcw 8(%rsi)\n"
		  " mov %rax, 16(%rsi)" DONE);
CODE64(push_store, "pop %rax\n xor %edx, %edx\n div %ecx\n push %rax\n push %rax" DONE);
T(marks, "what does not come about leaves no A bit, no D bit and no mark in the dirty log")
{
	static const struct {
		const u8 *p, *e;
		u8 vec;
		u64 bits;
	} c[] = {
		{ div_store_b, div_store_e, 0, PTE_A },	  { div_load_b, div_load_e, 0, 0 },
		{ ud_store_b, ud_store_e, 13, PTE_A },	  { fpu_store_b, fpu_store_e, 16, PTE_A },
		{ push_store_b, push_store_e, 0, PTE_A },
	};

	for (u32 i = 0; i < ARRAY_SIZE(c); i++)
		for (u32 warm = 0; warm < 2; warm++) {
			struct guest *g = guest_with_code(M_LONG, c[i].p, (u32)(c[i].e - c[i].p));
			struct kvm_userspace_memory_region m = {
				.slot = 0, .flags = KVM_MEM_LOG_DIRTY_PAGES,
				.memory_size = G_RAM_SIZE,
				.userspace_addr = (u64)(uintptr_t)g->ram,
			};
			static u64 log[G_RAM_SIZE / 4096 / 64];
			struct kvm_dirty_log d = { .dirty_bitmap = log };

			guest_gate(g, c[i].vec, SEL_CODE64, G_STUBS + c[i].vec * 16u, 0xe, 0, 1);
			*g16(g, G_WINDOW + 8) = 0x37b;	/* #Z is not masked */
			WITH_SREGS(cpu0(g), sr) {
				sr.cr0 |= 1u << 5;
				sr.cr4 |= 1u << 9;
			}
			/* Once without a fault, of another page, so that it is all translated. */
			WITH_REGS(cpu0(g), r) {
				r.rsi = r.rsp = G_WINDOW + 0x1008;
				r.rcx = 1;
			}
			if (warm) {
				*g16(g, G_WINDOW + 0x1010) = 0x37f;
				RUN_TO(g, ST_DONE);
			}
			if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &m))
				test_die("KVM_SET_USER_MEMORY_REGION: errno %d", errno);
			*guest_pte(g, G_WINDOW) &= ~(u64)(PTE_A | PTE_D);
			WITH_REGS(cpu0(g), r) {
				r.rip = G_CODE;
				r.rsi = r.rsp = G_WINDOW;
				r.rcx = 0;
			}
			RUN_EXC(g, c[i].vec, -1);
			CHECK_EQ(*guest_pte(g, G_WINDOW) & (PTE_A | PTE_D), c[i].bits);
			if (ioctl(g->vm, KVM_GET_DIRTY_LOG, &d))
				test_die("KVM_GET_DIRTY_LOG: errno %d", errno);
			CHECK(!(log[(G_WINDOW >> 12) / 64] & BIT64((G_WINDOW >> 12) % 64)));
			guest_free(g);
		}
}

/* Accesses off three bases and the stack in turn, with what takes the scratch registers in
 * between. */
CODE64(turns, "mov (%rsi), %rax\n mov (%rdi), %rcx\n add %rax, %rcx\n mov %rcx, 8(%rdi)\n"
	" shl %cl, %rdx\n"
	"mov 8(%rsi), %r8\n push %rax\n mov %r8, (%rbx)\n btsq %rbp, (%r12)\n mov 16(%rsi), %r13\n"
	" pop %r10\n"
	"turns_8: mov %r13, 8(%rbx)\n mov 8(%rdi), %r14\n lea (%r13,%r14), %r15\n"
	" turns_16: mov %r15, 16(%rbx)" DONE);
LABEL(turns_8);
LABEL(turns_16);
T(turns,
  "accesses off several bases in turn, in one page or two, the second of them missing or a device")
{
	enum {
		SRC = G_WINDOW + 0x10000,
		SUM = G_WINDOW + 0x20000,
		DST = G_WINDOW + 0x30000,
		BITS = G_WINDOW + 0x40000
	};

	/* Where in its page each operand begins: within, 8(base) in two pages, 16(base) in the
	 * next. */
	static const u32 at[] = { 0x100, 4096 - 12, 4096 - 16 };

	for (u32 n = 0; n < 27 * 3; n++) {
		struct guest *g = guest_with(M_LONG, turns);
		u64 src = SRC + at[n % 3], sum = SUM + at[n / 3 % 3], dst = DST + at[n / 9 % 3],
		    bad = n / 27;
		struct stop s;

		for (u32 round = 0; round < 2; round++) {
			*g64(g, src) = 5;
			*g64(g, src + 8) = 0x1111;
			*g64(g, src + 16) = 0x2222;
			*g64(g, sum) = 2;
			*g64(g, BITS + 8) = 0;
			*g64(g, dst) = *g64(g, dst + 8) = *g64(g, dst + 16) = 0;
			/* The first time to have it all in the TLB. */
			if (round && bad)
				*guest_pte(g, DST + 4096) = bad == 1 ? 0 : G_MMIO | PTE_P | PTE_W;
			WITH_REGS(cpu0(g), r) {
				r.rip = G_CODE;
				r.rsp = G_STACK;
				r.rsi = src;
				r.rdi = sum;
				r.rbx = dst;
				r.rdx = 3;
				r.r12 = BITS;
				r.rbp = 64 + 7;
			}
			/* It has changed a table. */
			WITH_SREGS(cpu0(g), sr)
				sr.cr4 ^= 0x80;
			s = run(g);
			if (round && bad && at[n / 9 % 3] != 0x100) {
				bool split = at[n / 9 % 3] == 4096 - 12;

				if (bad == 1) {
					CHECK_EXC(s, 14, 2);
					CHECK_EQ(s.cr2, DST + 4096);
					CHECK_EQ(s.rip,
						 split ? AT(turns, turns_8) : AT(turns, turns_16));
				} else {
					CHECK_STOP(s, ST_MMIO);
				}
				CHECK_EQ(*g64(g, dst + 8) & 0xffffffff,
					 split ? bad == 1 ? 0 : 0x2222 : 0x2222);
			} else {
				CHECK_STOP(s, ST_DONE);
				CHECK_EQ(*g64(g, dst + 8), 0x2222);
				CHECK_EQ(*g64(g, dst + 16), 0x2222 + 7);
				CHECK_EQ(s.r.r10, 5);
			}
			CHECK_EQ(*g64(g, dst), 0x1111);
			CHECK_EQ(*g64(g, sum + 8), 7);
			CHECK_EQ(*g64(g, BITS + 8), 128);
			CHECK_EQ(s.r.rdx, 3 << 7);
		}
		guest_free(g);
	}
}
