/* SPDX-License-Identifier: MIT */
/* tests/unit/test_engine.c - the translator alone, on flat memory. */
/* Run: build/tests/unit/test_engine [NAME...] */
#include "tests/unit/unit.h"

#include <signal.h>
#include <sys/mman.h>

#include <Zydis/Zydis.h>

#include "engine/engine.h"
#include "tests/unit/long_mode.h"

#define MEM_SIZE (1u << 20)
static u8 *mem;
static u8 code_pages[MEM_SIZE >> 12];

/* What fill does instead of its work: claim success, or ask for the CPU as well. */
static enum { FILL, FILL_LIE, FILL_KICK } fill_how;
static u32 fills;

static enum cpu_result t_fill(struct cpu *c, u64 gva, enum mem_access acc, enum mmu_idx idx)
{
	u32 slot = (u32)(gva >> 12) & (TLB_SIZE - 1);

	if (gva >= MEM_SIZE) {
		c->fault =
			(struct cpu_fault){ .vector = EXC_PF, .has_error = true, .payload = gva };
		return CPU_FAULT;
	}
	if (acc == MEM_W && code_pages[gva >> 12])
		return CPU_SLOW;
	fills++;
	if (fill_how == FILL_LIE)
		return CPU_OK;
	if (fill_how == FILL_KICK)
		engine_kick(c);
	struct tlb_entry *e = acc == MEM_W ? &c->tlb[idx].w[slot] : &c->tlb[idx].r[slot];

	e->tag = gva & PAGE_MASK;
	e->host = (u64)mem + e->tag;
	return CPU_OK;
}
static enum cpu_result t_fetch(struct cpu *c, u64 gva, struct fetch_page *fp)
{
	if (gva >= MEM_SIZE) {
		c->fault = (struct cpu_fault){ .vector = EXC_PF,
					       .has_error = true,
					       .error = PF_I,
					       .payload = gva };
		return CPU_FAULT;
	}
	fp->gpa = gva & PAGE_MASK;
	fp->host = mem + fp->gpa;
	return CPU_OK;
}
static enum cpu_result t_read(struct cpu *c, u64 gva, void *b, u32 n, enum mmu_idx i)
{
	if (gva + n > MEM_SIZE) {
		c->fault =
			(struct cpu_fault){ .vector = EXC_PF, .has_error = true, .payload = gva };
		return CPU_FAULT;
	}
	memcpy(b, mem + gva, n);
	return CPU_OK;
}
static enum cpu_result t_write(struct cpu *c, u64 gva, const void *b, u32 n, enum mmu_idx i)
{
	if (gva + n > MEM_SIZE) {
		c->fault =
			(struct cpu_fault){ .vector = EXC_PF, .has_error = true, .payload = gva };
		return CPU_FAULT;
	}
	memcpy(mem + gva, b, n);
	engine_code_written(c, gva, n);
	return CPU_OK;
}
static enum cpu_result t_probe(struct cpu *c, u64 gva, u32 n, enum mmu_idx i)
{
	return gva + n > MEM_SIZE ? CPU_FAULT : CPU_OK;
}
/* Nowhere in one piece: always on the bounce buffer. */
static enum cpu_result t_open(struct cpu *c, u64 gva, u32 n, enum mem_access acc, enum mmu_idx i,
			      struct mem_ref *m)
{
	*m = (struct mem_ref){ .gva = gva, .len = n, .n = 1 };
	return acc == MEM_W ? t_probe(c, gva, n, i) : CPU_OK;
}
static enum cpu_result t_load(struct cpu *c, const struct mem_ref *m, void *b)
{
	return t_read(c, m->gva, b, m->len, MMU_KERNEL);
}
static enum cpu_result t_store(struct cpu *c, const struct mem_ref *m, const void *b)
{
	return t_write(c, m->gva, b, m->len, MMU_KERNEL);
}
static void t_used(struct cpu *c, const struct mem_ref *m, bool write)
{
}
static enum cpu_result t_linear(struct cpu *c, enum cpu_sreg s, u64 ea, u32 n, bool w, u64 *lin)
{
	*lin = ea + (s == S_FS || s == S_GS || !cpu_in_64(c) ? c->seg[s].base : 0);
	return CPU_OK;
}
static u32 t_code(struct cpu *c, u64 gpa, const u8 *host, u32 put)
{
	code_pages[gpa >> 12] = !put;
	for (u32 i = 0; i < MMU_IDX_COUNT; i++)
		for (u32 s = 0; s < TLB_SIZE; s++)
			if (c->tlb[i].w[s].tag == (gpa & PAGE_MASK))
				c->tlb[i].w[s].tag = tlb_empty_tag(s);
	return 1;
}
static enum cpu_result t_exec(struct cpu *c, const struct insn *in)
{
	if (in->mnemonic == ZYDIS_MNEMONIC_HLT) {
		insn_retire(c, in);
		return CPU_WORK;
	}
	return cpu_raise(c, EXC_UD);
}
static const struct cpu_ops ops = {
	.tlb_fill = t_fill, .fetch = t_fetch, .mem_read = t_read, .mem_write = t_write,
	.mem_probe_w = t_probe,
	.mem_open = t_open, .mem_load = t_load, .mem_store = t_store, .mem_used = t_used,
	.linear = t_linear,
	.code_page = t_code, .exec = t_exec,
};

static void on_sig(int s, siginfo_t *i, void *u)
{
	if (!engine_signal(s, i, u)) {
		signal(s, SIG_DFL);
	}
}

/* cmocka puts its own handlers in place before each test. */
static void own_signals(void)
{
	struct sigaction sa = { .sa_sigaction = on_sig, .sa_flags = SA_SIGINFO };

	sigaction(SIGFPE, &sa, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGILL, &sa, NULL);
}

static struct cpu *cpu64(void)
{
	own_signals();
	struct cpu *c = engine_cpu_create(NULL);

	assert_non_null(c);
	memset(mem, 0, MEM_SIZE);
	memset(code_pages, 0, sizeof(code_pages));
	long_mode(c, &ops);
	c->rflags = 2;
	*(u16 *)c->xsave = 0x37f;
	*(u32 *)(c->xsave + 24) = 0x1f80;
	c->gpr[R_RSP] = 0x80000;
	c->rip = 0x1000;
	return c;
}

static void load(const void *code, size_t n) { memcpy(mem + 0x1000, code, n); }

#define CODE(name, text) \
	__asm__(".pushsection .rodata\n" #name ": " text "\n" #name "_end: .popsection"); \
	extern const u8 name[], name##_end[]

CODE(c_sum, "xor %eax,%eax; mov $100,%ecx; 1: add %rcx,%rax; dec %rcx; jnz 1b; hlt");
CODE(c_regs, "mov $1,%r13; mov $2,%r14; mov $3,%r15; lea (%r13,%r14,4),%rax; add %r15,%rax;"
	     "mov %rax,0x2000; imul %r14,%r15; mov %r15,%rsi; xchg %r13,%rcx; mov 0x2000,%rdx;"
	     "mov $0x5566,%cx; mov %ch,%bl; mov %cl,%bh; add %ch,%ah; hlt");
CODE(c_call, "mov $10,%edi; call 2f; hlt; 2: push %rbx; mov %edi,%ebx; cmp $1,%edi; jbe 3f; "
	     "lea -1(%rdi),%edi;"
	     "call 2b; add %ebx,%eax; pop %rbx; ret; 3: mov $1,%eax; pop %rbx; ret");
CODE(c_flags, "mov $0x3000,%edi; stc; mov (%rdi),%rax; adc $0,%rax; mov %rax,8(%rdi); "
	      "mov $-1,%rbx; add $1,%rbx;"
	      "mov 8(%rdi),%rcx; adc $0,%rcx; cmp %rcx,%rax; push %rax; mov (%rdi),%rdx; setb %dl; "
	      "pop %rbp; hlt");
CODE(c_sse, "mov $0x4000,%edi; movl $3,(%rdi); cvtsi2sdl (%rdi),%xmm0; mulsd %xmm0,%xmm0; "
	    "movsd %xmm0,8(%rdi);"
	    "vmovupd (%rdi),%ymm1; vaddpd %ymm1,%ymm1,%ymm2; vmovupd %ymm2,64(%rdi); "
	    "cvttsd2si 8(%rdi),%rax;"
	    "blsr %rax,%r14; andn %rax,%r14,%r15; mov %r15,%rbx; fildl (%rdi); fistpl 16(%rdi); "
	    "movl 16(%rdi),%edx; hlt");
CODE(c_cross, "mov $0x4ffc,%edi; mov $0x1122334455667788,%rax; mov %rax,(%rdi); mov (%rdi),%rbx; "
	      "push %rax; lock addl $1,2(%rdi);"
	      "mov (%rdi),%rdx; mov $0x5003,%esp; push %rdx; pop %rcx; hlt");
CODE(c_smc, "mov $3,%ecx; 1: movb $0x02,2f+1-c_smc+0x1000; 2: mov $1,%al; add %al,%bl; dec %ecx; "
	    "jnz 1b; hlt");
CODE(c_div, "xor %ecx,%ecx; mov $7,%eax; cltd; div %ecx; hlt");
CODE(c_loop, "mov $5,%ecx; xor %eax,%eax; 1: inc %eax; loop 1b; jrcxz 2f; mov $99,%eax; "
	     "2: shl %cl,%eax; mov $3,%cl; shl %cl,%eax; hlt");
CODE(c_ind, "lea 1f(%rip),%rax; mov $1000,%ebp; 2: lea 3f(%rip),%rax; call *%rax; dec %ebp; "
	    "jnz 2b; lea 1f(%rip),%rax; push %rax; ret; ud2; 1: hlt; 3: inc %rbx; ret");

/* ZF made by the callee, read after a return through a thunk on another page. */
CODE(c_retflags, "mov $50,%ebp; 1: mov $5,%eax; call 2f; jne 9f; inc %ebx; dec %ebp; jnz 1b; hlt; "
		 "9: mov $77,%ecx; hlt;"
		 "2: xor %ecx,%ecx; cmp $5,%eax; mov %rax,0x3000; jmp 3f; .balign 4096; "
		 ".skip 0x400; 3: ret");

static void go(struct cpu *c) { assert_int_equal(engine_run(c), CPU_WORK); }

T(loop_and_flags)
{
	struct cpu *c = cpu64();

	load(c_sum, (size_t)(c_sum_end - c_sum));
	go(c);
	assert_int_equal(c->gpr[R_RAX], 5050);
	assert_int_equal(c->rip, 0x1000 + (u64)(c_sum_end - c_sum));
	assert_true(c->rflags & FL_ZF);
	engine_cpu_destroy(c);
}
T(memory_registers)
{
	struct cpu *c = cpu64();

	load(c_regs, (size_t)(c_regs_end - c_regs));
	go(c);
	assert_int_equal(c->gpr[R_RDX], 12);
	assert_int_equal(c->gpr[R_RSI], 6);
	assert_int_equal(c->gpr[R_RCX], 0x5566);
	assert_int_equal(c->gpr[R_RBX], 0x6655);
	assert_int_equal(c->gpr[R_RAX], 0x550c);
	assert_int_equal(c->gpr[R_R13], 0);
	engine_cpu_destroy(c);
}
T(calls)
{
	struct cpu *c = cpu64();

	load(c_call, (size_t)(c_call_end - c_call));
	go(c);
	assert_int_equal(c->gpr[R_RAX], 55);
	assert_int_equal(c->gpr[R_RSP], 0x80000);
	engine_cpu_destroy(c);
}
T(flags_across_accesses)
{
	struct cpu *c = cpu64();

	load(c_flags, (size_t)(c_flags_end - c_flags));
	go(c);
	assert_int_equal(c->gpr[R_RAX], 1);
	assert_int_equal(c->gpr[R_RCX], 2);
	assert_int_equal(c->gpr[R_RDX], 1);
	assert_int_equal(c->gpr[R_RBP], 1);
	assert_true(c->rflags & FL_CF);
	engine_cpu_destroy(c);
}
T(vector)
{
	struct cpu *c = cpu64();

	load(c_sse, (size_t)(c_sse_end - c_sse));
	go(c);
	assert_int_equal(c->gpr[R_RAX], 9);
	assert_int_equal(c->gpr[R_RDX], 3);
	assert_int_equal(c->gpr[R_R14], 8);
	assert_int_equal(c->gpr[R_RBX], 1);
	engine_fpu_save(c);
	engine_cpu_destroy(c);
}
T(page_crossing)
{
	struct cpu *c = cpu64();

	load(c_cross, (size_t)(c_cross_end - c_cross));
	go(c);
	assert_true(c->gpr[R_RBX] == 0x1122334455667788);
	assert_true(c->gpr[R_RDX] == 0x1122334455677788);
	assert_true(c->gpr[R_RCX] == c->gpr[R_RDX]);
	assert_int_equal(c->gpr[R_RSP], 0x5003);
	engine_cpu_destroy(c);
}
T(self_modifying)
{
	struct cpu *c = cpu64();

	load(c_smc, (size_t)(c_smc_end - c_smc));
	go(c);
	assert_int_equal(c->gpr[R_RBX], 6);
	engine_cpu_destroy(c);
}
T(divide_error_is_precise)
{
	struct cpu *c = cpu64();

	load(c_div, (size_t)(c_div_end - c_div));
	assert_int_equal(engine_run(c), CPU_FAULT);
	assert_int_equal(c->fault.vector, EXC_DE);
	assert_int_equal(c->rip, 0x1000 + (u64)(c_div_end - c_div) - 3);
	assert_int_equal(c->gpr[R_RAX], 7);
	engine_cpu_destroy(c);
}
T(loop_insn_and_cl)
{
	struct cpu *c = cpu64();

	load(c_loop, (size_t)(c_loop_end - c_loop));
	go(c);
	assert_int_equal(c->gpr[R_RAX], 5 << 3);
	engine_cpu_destroy(c);
}
T(indirect)
{
	struct cpu *c = cpu64();

	load(c_ind, (size_t)(c_ind_end - c_ind));
	go(c);
	assert_int_equal(c->gpr[R_RBX], 1000);
	engine_cpu_destroy(c);
}
T(flags_survive_a_return)
{
	struct cpu *c = cpu64();

	load(c_retflags, (size_t)(c_retflags_end - c_retflags));
	go(c);
	assert_int_equal(c->gpr[R_RCX], 0);
	assert_int_equal(c->gpr[R_RBX], 50);
	engine_cpu_destroy(c);
}
/* The flags looked dead because of code elsewhere in the page, which then changes. */
CODE(c_peek, "mov $3,%ebp; mov $0x9090c031,%ecx; xor %eax,%eax; 1: stc; mov 0x3000,%rdx; jmp 2f; "
	     ".skip 8; 2: xor %eax,%eax; nop; nop;"
	     "mov %ecx,2b-c_peek+0x1000; mov $0x9000d083,%ecx; dec %ebp; jnz 1b; hlt");

T(dead_flags_come_alive_when_code_changes)
{
	struct cpu *c = cpu64();

	load(c_peek, (size_t)(c_peek_end - c_peek));
	go(c);
	assert_int_equal(c->gpr[R_RAX], 1);
	engine_cpu_destroy(c);
}
T(poll_leaves_a_loop)
{
	struct cpu *c = cpu64();

	load("\xeb\xfe", 2);
	c->poll = 1;
	assert_int_equal(engine_run(c), CPU_POLL);
	assert_int_equal(c->rip, 0x1000);
	engine_cpu_destroy(c);
}
T(single_step)
{
	struct cpu *c = cpu64();

	load(c_call, (size_t)(c_call_end - c_call));
	c->single_step = 1;
	int n = 0;

	while (engine_run(c) == CPU_STEP)
		n++;
	assert_int_equal(c->gpr[R_RAX], 55);
	assert_true(n > 50);
	engine_cpu_destroy(c);
}

CODE(c_fill, "mov $0x3000,%edi; mov $5,%eax; mov %rax,(%rdi); add 8(%rdi),%rax; add (%rdi),%rax; "
	     "mov %rax,0x4000;"
	     "push 0x4000; pop %rbx; hlt");
/* Fill and check that disagree must not make a loop nobody can leave. */
T(fill_that_does_not_help)
{
	struct cpu *c = cpu64();

	load(c_fill, (size_t)(c_fill_end - c_fill));
	fill_how = FILL_LIE;
	fills = 0;
	go(c);
	fill_how = FILL;
	assert_int_equal(c->gpr[R_RBX], 10);
	assert_int_equal(c->gpr[R_RSP], 0x80000);
	assert_true(fills < 64);
	engine_cpu_destroy(c);
}
T(poll_at_a_fill)
{
	struct cpu *c = cpu64();
	u32 polls = 0;

	load(c_fill, (size_t)(c_fill_end - c_fill));
	fill_how = FILL_KICK;
	fills = 0;
	while (engine_run(c) == CPU_POLL) {
		polls++;
		assert_true(c->rip > 0x1000 && c->rip < 0x1000 + (u64)(c_fill_end - c_fill));
	}
	fill_how = FILL;
	assert_int_equal(polls, fills);
	assert_int_equal(c->gpr[R_RBX], 10);
	assert_int_equal(c->gpr[R_RSP], 0x80000);
	engine_cpu_destroy(c);
}

T_START(argc, argv)
{
	mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return 0;
}
