/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/again.c - pages that share a slot of the software TLB, so that one of them is found
 * in its second level by translated code (engine/again.c): as good as the first, and as soon
 * forgotten.
 */
/* Run: build/standin run -- build/tests/guest/guest_again [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

/* B is 16 MiB behind A, and has page tables of its own. */
enum {
	A = 0x300000, B = A + 0x1000000, TABLE = G_FREE, B_AT = G_FREE + 0x10000,
	OTHER = G_FREE + 0x20000,
};

static u64 *pte_of_b(struct guest *g) { return g64(g, TABLE + 8 * (B >> 12 & 511)); }

static struct guest *guest_pages(const u8 *b, const u8 *e)
{
	struct guest *g = guest_with_code(M_LONG, b, (u32)(e - b));
	u64 pdpt = *g64(g, G_PT) & PTE_ADDR, pd = *g64(g, pdpt) & PTE_ADDR;

	*g64(g, pd + 8 * (B >> 21)) = TABLE | PTE_P | PTE_W | PTE_U;
	/* Two pages that are not neighbours. */
	pte_of_b(g)[0] = B_AT | PTE_P | PTE_W | PTE_U;
	pte_of_b(g)[1] = (B_AT + 0x8000) | PTE_P | PTE_W | PTE_U;
	WITH_REGS(cpu0(g), r) {
		r.rsi = A;
		r.rdi = B;
		r.r8 = TABLE + 8 * (B >> 12 & 511);
		r.r9 = OTHER | PTE_P | PTE_W | PTE_U;
	}
	return g;
}
#define WITH_PAGES(code) guest_pages(code##_b, code##_e)

/* In turn, so that neither stays where it is, with flags that live and without. */
#define TURNS(n) "mov $" #n ", %ecx\n 1: mov (%rsi), %rax\n mov (%rdi), %rbx\n" \
	" mov %rax, 8(%rsi)\n mov %rbx, 8(%rdi)\n dec %ecx\n" \
	" mov 16(%rsi), %rax\n mov 16(%rdi), %rbx\n jnz 1b\n"

CODE64(ends, "1: mov (%rsi), %rax\n mov (%rdi), %rbx\n mov %rcx, (%rdi)\n"
	     " mov (%rsi), %rax\n cmp %rax, %rcx\n mov (%rdi), %rdx\n setz %al\n"
	     " add $1, %rdi\n dec %ebp\n jnz 1b" DONE);
T(ends, "loads and stores up to the end of a page and over it")
{
	struct guest *g = WITH_PAGES(ends);

	for (u32 round = 0; round < 3; round++) {
		for (u32 i = 0; i < 64; i++)
			g->ram[B_AT + 0xfe0 + i % 32 + (i / 32) * 0x7020] = 0;
		WITH_REGS(cpu0(g), r) {
			r.rip = G_CODE;
			r.rdi = B + 0xfe0;
			r.rcx = 0x1122334455667788;
			r.rbp = 64;
		}
		struct stop s = RUN_TO(g, ST_DONE);

		CHECK_EQ(s.r.rdx, 0x1122334455667788);
		/* Each has left its lowest byte. */
		for (u32 i = 0; i < 32; i++) {
			CHECK_EQ(g->ram[B_AT + 0xfe0 + i], 0x88);
			CHECK_EQ(g->ram[B_AT + 0x8000 + i], 0x88);
		}
	}
}

CODE64(remap_page, TURNS(100) "mov %r9, (%r8)\n invlpg (%rdi)\n mov (%rdi), %rdx\n"
		   " mov %rdx, 8(%rdi)" DONE);
CODE64(remap_cr3, TURNS(100) "mov %r9, (%r8)\n mov %cr3, %rdx\n mov %rdx, %cr3\n mov (%rsi), %rax\n"
		  " mov (%rdi), %rdx\n mov %rdx, 8(%rdi)" DONE);
T(remap, "a page that becomes another one, by INVLPG and by MOV to CR3")
{
	for (u32 i = 0; i < 2; i++) {
		struct guest *g = i ? WITH_PAGES(remap_cr3) : WITH_PAGES(remap_page);

		*g64(g, B_AT) = 1;
		*g64(g, OTHER) = 2;
		struct stop s = RUN_TO(g, ST_DONE);

		CHECK_EQ(s.r.rdx, 2);
		CHECK_EQ(*g64(g, B_AT + 8), 1);
		CHECK_EQ(*g64(g, OTHER + 8), 2);
		guest_free(g);
	}
}

CODE64(rights, TURNS(100) "andb $~2, (%r8)\n invlpg (%rdi)\n mov $100, %ecx\n"
	       " 2: mov (%rsi), %rax\n mov (%rdi), %rdx\n dec %ecx\n jnz 2b\n"
	       " rights_store: mov %rax, (%rdi)" DONE);
LABEL(rights_store);
T(rights, "a page that becomes read-only is read, and not written")
{
	struct guest *g = WITH_PAGES(rights);

	WITH_SREGS(cpu0(g), sr)
		sr.cr0 |= 1u << 16;
	*g64(g, A) = 7;
	*g64(g, B_AT) = 5;
	struct stop s = RUN_EXC(g, 14, 3);

	CHECK_EQ(s.rip, AT(rights, rights_store));
	CHECK_EQ(s.r.rdx, 5);
	CHECK_EQ(*g64(g, B_AT), 5);
}

CODE64(rings, TURNS(100) DONE3);
T(rings, "what ring 0 has found ring 3 may not have")
{
	struct guest *g = WITH_PAGES(rings);

	pte_of_b(g)[0] &= ~(u64)PTE_U;
	RUN_EXC(g, VEC_DONE3, -1);
	cpu_ring3(cpu0(g), G_CODE);
	struct stop s = RUN_EXC(g, 14, 5);

	CHECK_EQ(s.cr2, B);
}

CODE64(dirty, TURNS(100) "andb $~0x40, (%r8)\n invlpg (%rdi)\n mov (%rdi), %rbx\n"
	      " mov (%rsi), %rax\n mov %rbx, (%rdi)" DONE);
T(dirty, "each first store marks the page, in the page tables and in the log")
{
	struct guest *g = WITH_PAGES(dirty);
	struct kvm_userspace_memory_region m = {
		.slot = 0, .flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = G_RAM_SIZE,
		.userspace_addr = (u64)(uintptr_t)g->ram,
	};
	static u64 log[G_RAM_SIZE / 4096 / 64];
	struct kvm_dirty_log d = { .dirty_bitmap = log };

	if (ioctl(g->vm, KVM_SET_USER_MEMORY_REGION, &m))
		test_die("KVM_SET_USER_MEMORY_REGION: errno %d", errno);
	for (u32 k = 0; k < 3; k++) {
		WITH_REGS(cpu0(g), r)
			r.rip = G_CODE;
		RUN_TO(g, ST_DONE);
		CHECK_EQ(pte_of_b(g)[0] & PTE_D, PTE_D);
		if (ioctl(g->vm, KVM_GET_DIRTY_LOG, &d))
			test_die("KVM_GET_DIRTY_LOG: errno %d", errno);
		CHECK(log[(B_AT >> 12) / 64] & BIT64((B_AT >> 12) % 64));
	}
}
