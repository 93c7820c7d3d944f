/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/smc.c - code that changes: by its own stores, by another vCPU, by the VMM
 * behind the guest's back (APM2 7.6.1; SDM3 8.1.3). Always with warm code too.
 */
/* Run: build/standin run -- build/tests/guest/guest_smc [NAME...] */
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

/* -- the guest's own stores -- */
CODE64(next, "mov $0x10000, %edi\n movb $2, smc_imm+1(%rip)\n smc_imm: mov $1, %eax" DONE);
T(next, "a store to the very next instruction")
{
	struct stop s = RUN_TO(guest_with(M_LONG, next), ST_DONE);

	CHECK_EQ(s.r.rax, 2);
}
/* Each round stores its count into the immediate of an ADD that follows. */
CODE64(same_block, "mov $3000, %ecx\n xor %eax, %eax\n 1: mov %ecx, sb_imm+1(%rip)\n"
		   " sb_imm: .byte 0x05\n .long 0\n dec %ecx\n jnz 1b" DONE);
CODE64(behind, "mov $3000, %ecx\n xor %eax, %eax\n 1: bh_imm: add $0x3000, %eax\n dec %ecx\n"
	       " mov %ecx, bh_imm+1(%rip)\n test %ecx, %ecx\n jnz 1b" DONE);
CODE64(called, "mov $3000, %ecx\n xor %eax, %eax\n 1: mov %ecx, 1(%rdi)\n call *%rdi\n dec %ecx\n"
	       " jnz 1b" DONE);
T(loops, "an immediate changed in every round: ahead, behind, in a called page")
{
	static const u8 fn[] = { 0x05, 0, 0, 0, 0, 0xc3 };	/* add eax, imm32; ret */
	struct guest *g = guest_with(M_LONG, same_block);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rax, 3000 * 3001 / 2);
	s = RUN_TO(guest_with(M_LONG, behind), ST_DONE);
	CHECK_EQ(s.r.rax, 0x3000 + 2999 * 3000 / 2);
	g = guest_with(M_LONG, called);
	guest_write(g, 0x300ffd, fn, sizeof(fn));	/* over a page boundary */
	WITH_REGS(cpu0(g), r)
		r.rdi = 0x300ffd;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 3000 * 3001 / 2);
}
CODE64(data_in_code, "mov $30000, %ecx\n 1: incl dic_word(%rip)\n dec %ecx\n jnz 1b\n"
		     " mov dic_word(%rip), %eax" DONE "dic_word: .long 0");
T(data_in_code, "data that shares a page with the code that writes it")
{
	struct stop s = RUN_TO(guest_with(M_LONG, data_in_code), ST_DONE);

	CHECK_EQ(s.r.rax, 30000);
}
CODE64(alias, "mov $3000, %ecx\n 1: call *%rdi\n dec %ecx\n jnz 1b\n movl $2, 1(%rsi)\n call *%rdi"
       DONE);
T(alias, "a store through another linear address of the page")
{
	static const u8 fn[] = { 0xb8, 1, 0, 0, 0, 0xc3 };
	struct guest *g = guest_with(M_LONG, alias);
	struct stop s;

	guest_write(g, 0x310000, fn, sizeof(fn));
	*guest_pte(g, 0x300000) = 0x310000 | 7;
	WITH_REGS(cpu0(g), r) {
		r.rdi = 0x300000;
		r.rsi = 0x310000;
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 2);
}
CODE64(strcode, "mov $3000, %ebp\n 1: call *%rdi\n dec %ebp\n jnz 1b\n mov $0x300000, %edi\n"
	" mov $0x310000, %esi\n mov $6, %ecx\n"
	" rep movsb\n mov $0x300000, %edi\n call *%rdi\n mov %eax, %ebx\n mov $0x310008, %esi\n"
	" movdqu (%rsi), %xmm0\n"
	" movdqu %xmm0, (%rdi)\n call *%rdi" DONE);
T(other_stores, "REP MOVSB and SSE stores over warm code")
{
	static const u8 one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, two[] = { 0xb8, 2, 0, 0, 0, 0xc3 },
			three[] = { 0xb8, 3, 0, 0, 0, 0xc3 };
	struct guest *g = guest_with(M_LONG, strcode);
	struct stop s;

	guest_write(g, 0x300000, one, 6);
	guest_write(g, 0x310000, two, 6);
	guest_write(g, 0x310008, three, 6);
	WITH_REGS(cpu0(g), r)
		r.rdi = 0x300000;
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rbx, 2);
	CHECK_EQ(s.r.rax, 3);
}
/* Each of these is carried out alone, because the operand lies in two pages, and each is another
 * instruction: code memory may fill up in the middle of one (STANDIN_CODE_MEM). */
CODE64(writers, "jmp *%rdx\n wr_done: mov (%rdi), %eax" DONE);
T(writers, "thousands of instructions that are carried out one by one")
{
	enum { WRITERS = 12000 };
	static const u8 inc[] = { 0xff, 0x07 }, jmp[] = { 0xff, 0xe3 };	/* inc dword [rdi]; jmp
									 * rbx */
	extern const u8 wr_done[];
	struct guest *g = guest_with(M_LONG, writers);
	struct stop s;

	for (u32 i = 0; i < WRITERS; i++)
		guest_write(g, G_FREE + i * sizeof(inc), inc, sizeof(inc));
	guest_write(g, G_FREE + WRITERS * sizeof(inc), jmp, sizeof(jmp));
	WITH_REGS(cpu0(g), r) {
		r.rdx = G_FREE;
		r.rdi = 0x300ffd;
		r.rbx = AT(writers, wr_done);
	}
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, WRITERS);
}

/* -- the VMM -- */
CODE64(callee, "2: mov $3000, %ecx\n 1: call *%rdi\n dec %ecx\n jnz 1b" STOP(1) "jmp 2b");
static const u8 fn_one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, fn_two[] = { 0xb8, 2, 0, 0, 0, 0xc3 };
static struct guest *warm_guest(void)
{
	struct guest *g = guest_with(M_LONG, callee);
	struct stop s;

	guest_write(g, 0x300000, fn_one, 6);
	WITH_REGS(cpu0(g), r)
		r.rdi = 0x300000;
	s = RUN_TO(g, ST_OUT);
	CHECK_EQ(s.r.rax, 1);
	return g;
}
T(vmm_store, "the VMM stores into warm code between two KVM_RUNs")
{
	struct guest *g = warm_guest();
	struct stop s;

	for (u32 i = 0; i < 20; i++) {
		g->ram[0x300001] = (u8)(i + 2);
		s = RUN_TO(g, ST_OUT);
		CHECK_EQ(s.r.rax, i + 2);
	}
}
T(vmm_pread, "pread() straight into warm code, without EFAULT")
{
	struct guest *g = warm_guest();
	int fd = memfd_create("code", MFD_CLOEXEC);
	struct stop s;

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, fn_two, 6), 6);
	CHECK_EQ(pread(fd, g->ram + 0x300000, 6, 0), 6);
	s = RUN_TO(g, ST_OUT);
	CHECK_EQ(s.r.rax, 2);
	close(fd);
}
/* The guest polls a flag by port exits; the VMM changes code during the exit. */
CODE64(poll_exit, "1: out %al, $0x10\n call *%rdi\n cmp $1, %eax\n je 1b" DONE);
T(vmm_exit, "the VMM stores into code while the guest is in an exit")
{
	struct guest *g = guest_with(M_LONG, poll_exit);
	struct stop s;

	guest_write(g, 0x300000, fn_one, 6);
	WITH_REGS(cpu0(g), r)
		r.rdi = 0x300000;
	for (u32 i = 0; i < 2000; i++) {
		s = RUN_TO(g, ST_OUT);
	}
	guest_write(g, 0x300000, fn_two, 6);
	s = RUN_TO(g, ST_DONE);
	CHECK_EQ(s.r.rax, 2);
}
CODE64(poll_mem, "1: mov (%rsi), %eax\n pause\n test %eax, %eax\n jz 1b\n cpuid\n call *%rdi" DONE);
static void *late_writer(void *p)
{
	struct guest *g = p;

	usleep(100000);
	guest_write(g, 0x300000, fn_two, 6);
	__atomic_store_n((u32 *)g32(g, G_DATA), 1, __ATOMIC_RELEASE);
	return NULL;
}
T(vmm_thread, "a thread of the VMM writes code, then a flag the guest polls")
{
	struct guest *g = guest_with(M_LONG, poll_mem);
	pthread_t t;
	struct stop s;

	guest_write(g, 0x300000, fn_one, 6);
	WITH_REGS(cpu0(g), r) {	/* warm: once with the flag set */
		r.rdi = 0x300000;
		r.rsi = G_DATA;
	}
	*g32(g, G_DATA) = 1;
	s = RUN_TO(g, ST_DONE);
	*g32(g, G_DATA) = 0;
	WITH_REGS(cpu0(g), r)
		r.rip = G_CODE;
	pthread_create(&t, NULL, late_writer, g);
	s = run(g);
	pthread_join(t, NULL);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 2);
}

CODE64(poll_warm, "call *%rdi\n 1: mov (%rsi), %eax\n pause\n test %eax, %eax\n jz 1b\n cpuid\n"
       "call *%rdi" DONE);
T(vmm_thread_warm, "a thread of the VMM writes code that ran in the same KVM_RUN, then a flag")
{
	struct guest *g = guest_with(M_LONG, poll_warm);
	pthread_t t;
	struct stop s;

	guest_write(g, 0x300000, fn_one, 6);
	WITH_REGS(cpu0(g), r) {
		r.rdi = 0x300000;
		r.rsi = G_DATA;
	}
	pthread_create(&t, NULL, late_writer, g);
	s = run(g);
	pthread_join(t, NULL);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 2);
}

/* -- another vCPU -- */
CODE64(cross_wait, "1: call *%rdi\n mov (%rsi), %ecx\n test %ecx, %ecx\n jz 1b\n cpuid\n"
		   " mov $3000, %ebp\n 2: call *%rdi\n dec %ebp\n jnz 2b" DONE);
CODE64(cross_write, "mov $2000000, %ecx\n 1: pause\n dec %ecx\n jnz 1b\n movl $2, 1(%rdi)\n"
		    " mfence\n movl $1, (%rsi)" DONE);
static void *second_cpu(void *p)
{
	struct guest_cpu *c = p;
	struct stop s = cpu_run(c);

	CHECK_STOP(s, ST_DONE);
	return NULL;
}
static void changed_by_another(struct guest *g)
{
	struct guest_cpu *c = guest_add_cpu(g);
	pthread_t t;
	struct stop s;

	guest_write(g, 0x300000, fn_one, 6);
	guest_load(g, 0x9000, cross_write);
	for (u32 i = 0; i < 2; i++)
		WITH_REGS(&g->cpu[i], r) {
			r.rdi = 0x300000;
			r.rsi = G_DATA;
			r.rip = i ? 0x9000 : G_CODE;
		}
	pthread_create(&t, NULL, second_cpu, c);
	s = run(g);
	pthread_join(t, NULL);
	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.rax, 2);
}
T(cross, "another vCPU changes warm code and says so")
{
	changed_by_another(guest_with(M_LONG, cross_wait));
}
/* Without a handshake: the new code must be seen some time, and always whole. */
CODE64(cross_spin, "1: call *%rdi\n cmp $2, %eax\n jne 1b" DONE);
T(cross_spin, "a changed function is seen by a vCPU that spins in it")
{
	changed_by_another(guest_with(M_LONG, cross_spin));
}
