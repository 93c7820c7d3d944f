/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/mmio_same.c - an instruction does with a device what it does with memory.
 *
 * Each snippet runs twice with RDI at 256 bytes of the same contents: memory, and a device that the
 * test plays, one exit for each access. Registers, flags and the bytes must be the same afterwards.
 * The list is what KVM's emulator can do, as kvm-unit-tests' emulator has it.
 */
/* Run: build/standin run -- build/tests/guest/guest_mmio_same [NAME...] */
#include "tests/guest/harness/harness.h"

#define BYTES 256

/* RSP into the middle of it, and back. */
#define STACK(text) "mov %rsp, %r15\n lea 128(%rdi), %rsp\n" text "\n mov %rsp, %r14\n" \
	  "sub %rdi, %r14\n mov %r15, %rsp\n"
/* Where the string instructions have got to, from RBX. */
#define BACK "pushf\n sub %rbx, %rsi\n mov %rdi, %rdx\n sub %rbx, %rdx\n" \
	  "mov %rbx, %rdi\n xor %ebx, %ebx\n popf\n"
#define XMM "mov %cr4, %r9\n or $0x600, %r9d\n mov %r9, %cr4\n movq %rax, %xmm1\n" \
	  "pinsrq $1, %rcx, %xmm1\n"
#define FROM_XMM "movq %xmm0, %r8\n psrldq $8, %xmm0\n movq %xmm0, %r9\n"

#define UNDEF_AF 0x10
#define UNDEF_MUL 0xd4	/* SF ZF AF PF: APM3, MUL, IMUL */
#define SNIPPETS(X) \
	X(add, 0, "add %rax, (%rdi)\n add 8(%rdi), %ecx\n addb $0x7f, 17(%rdi)") \
	X(adc, 0, "stc\n adc %rax, (%rdi)\n adc 8(%rdi), %ecx\n adcw $0x7fff, 18(%rdi)") \
	X(sub, 0, "sub %eax, (%rdi)\n sub 8(%rdi), %rcx\n subq $-5, 16(%rdi)") \
	X(sbb, 0, "stc\n sbb %al, (%rdi)\n sbb 8(%rdi), %cx\n sbbl $1, 16(%rdi)") \
	X(logic, 0, "and %rax, (%rdi)\n or 8(%rdi), %rcx\n xorl $0x12345678, 20(%rdi)\n" \
	  "orb $1, 3(%rdi)") \
	X(cmp, 0, "cmp %rax, (%rdi)\n pushf\n pop %r8\n cmpb $3, 3(%rdi)\n pushf\n pop %r9\n" \
	  "test %rax, 8(%rdi)") \
	X(unary, 0, "incq (%rdi)\n decw 8(%rdi)\n negl 12(%rdi)\n notb 16(%rdi)") \
	X(locked, 0, "lock addq $1, (%rdi)\n lock incl 8(%rdi)\n lock orb $0x80, 12(%rdi)\n" \
	  "lock notl 16(%rdi)") \
	X(xchg, 0, "xchg %rax, (%rdi)\n xchg %cl, 9(%rdi)\n xadd %rdx, 16(%rdi)\n" \
	  "lock xadd %ebx, 24(%rdi)") \
	X(cmpxchg, 0, "mov (%rdi), %rax\n cmpxchg %rcx, (%rdi)\n pushf\n pop %r8\n" \
	  "cmpxchg %edx, 8(%rdi)") \
	X(cmpxchg8b, 0, "mov (%rdi), %eax\n mov 4(%rdi), %edx\n lock cmpxchg8b (%rdi)\n" \
	  "pushf\n pop %r8\n cmpxchg8b 8(%rdi)") \
	X(bits, 0, "mov $77, %eax\n bts %rax, (%rdi)\n mov $-5, %rax\n btc %rax, 32(%rdi)\n" \
	  "btr $3, 40(%rdi)\n bt %ecx, 44(%rdi)") \
	X(scan, UNDEF_AF, "bsf (%rdi), %rax\n bsr 8(%rdi), %ecx\n bsf 16(%rdi), %dx") \
	X(shift, 0, "shlq %cl, (%rdi)\n sarl $3, 8(%rdi)\n rorw %cl, 12(%rdi)\n" \
	  "rclb $1, 14(%rdi)\n shrq 16(%rdi)") \
	X(shld, 0, "shld %cl, %rax, (%rdi)\n shrd $7, %edx, 8(%rdi)") \
	X(imul, UNDEF_MUL, "imul (%rdi), %rax\n imul $1000, 8(%rdi), %ecx\n" \
	  "imul $-3, 16(%rdi), %rdx\n imulw 18(%rdi)") \
	X(mul, UNDEF_MUL, "mulq (%rdi)\n mov %rdx, %r8\n mull 8(%rdi)") \
	X(div, 0, "xor %edx, %edx\n divq 16(%rdi)\n mov %rdx, %r8\n mov $1000, %eax\n cltd\n" \
	  "idivl 24(%rdi)") \
	X(extend, 0, "movzbl (%rdi), %eax\n movzwq 1(%rdi), %rcx\n movsbl 9(%rdi), %edx\n" \
	  "movslq 12(%rdi), %r8\n movswq 20(%rdi), %r9") \
	X(mov, 0, "mov (%rdi), %al\n mov %ecx, 8(%rdi)\n movq $-77, 16(%rdi)\n" \
	  "movw $0x1234, 25(%rdi)\n mov 24(%rdi), %r9w") \
	X(mov_bytes, 0, "stc\n mov (%rdi), %ah\n mov %ch, 8(%rdi)\n mov 3(%rdi), %sil\n" \
	  "mov %sil, 9(%rdi)\n mov 5(%rdi), %r9b\n mov %r9b, 10(%rdi)\n" \
	  "movb $-5, 11(%rdi)\n mov %dh, 12(%rdi)\n mov 12(%rdi), %bl") \
	X(mov_words, 0, "stc\n movzbw 2(%rdi), %cx\n movzwl 4(%rdi), %r12d\n" \
	  "movzbq 7(%rdi), %r13\n mov %dx, 16(%rdi)\n mov 18(%rdi), %r8d\n" \
	  "mov %r12, 24(%rdi)\n movl $-9, 36(%rdi)\n mov %r13w, 40(%rdi)\n" \
	  "mov 0x21(%rdi), %rdx") \
	X(movbe, 0, "movbe (%rdi), %rax\n movbe %ecx, 8(%rdi)") \
	X(cmov, 0, "test %eax, %eax\n cmovz (%rdi), %rax\n cmovnz 8(%rdi), %ecx") \
	X(setcc, 0, "cmp %rax, %rcx\n seta (%rdi)\n setb 1(%rdi)") \
	X(sreg, 0, "mov %ds, (%rdi)\n mov %ds, %eax\n mov %ax, 8(%rdi)\n mov 8(%rdi), %es\n" \
	  "mov %es, %ecx") \
	X(system, 0, "smsw (%rdi)\n sldt 8(%rdi)\n str 12(%rdi)\n mov %cr0, %rcx\n" \
	  "mov %cx, 16(%rdi)\n lmsw 16(%rdi)") \
	X(tables, 0, "sgdt (%rdi)\n sidt 16(%rdi)\n lgdt (%rdi)\n lidt 16(%rdi)") \
	X(push, 0, STACK("push %rax\n push $-3\n pushq (%rdi)\n pushf\n pushw %cx")) \
	X(pop, 0, STACK("pop %rax\n popq 8(%rdi)\n pop %cx\n lea 128(%rdi), %rsp\n pop %rdx")) \
	X(call, 0, STACK("call 1f\n 1: mov (%rsp), %r8\n sub %r8, %r8\n lea 2f(%rip), %rax\n" \
	  "mov %rax, (%rsp)\n ret $16\n 2:")) \
	X(frame, 0, "mov %rbp, %r13\n" STACK("enter $16, $0\n mov %rbp, %r8\n sub %rdi, %r8\n" \
	  "leave") "mov %r13, %rbp") \
	X(indirect, 0, "lea 1f(%rip), %rax\n mov %rax, (%rdi)\n jmp *(%rdi)\n ud2\n" \
	  "1: lea 2f(%rip), %rax\n mov %rax, 8(%rdi)\n" \
	  " call *8(%rdi)\n jmp 3f\n 2: ret\n 3: mov %rax, (%rdi)\n") \
	X(ljmp, 0, "lea 1f(%rip), %rax\n mov %eax, (%rdi)\n movw $0x18, 4(%rdi)\n" \
	  "ljmp *(%rdi)\n ud2\n 1:") \
	X(movs, 0, "lea 64(%rdi), %rsi\n mov %rdi, %rbx\n mov $5, %ecx\n rep movsb\n movsq\n" \
	  "std\n movsl\n cld\n" BACK) \
	X(stos, 0, "mov %rdi, %rbx\n mov %rdi, %rsi\n mov $3, %ecx\n rep stosq\n stosb\n" BACK) \
	X(lods, 0, "mov %rdi, %rsi\n lodsq\n mov %rax, %r8\n lodsb\n mov $2, %ecx\n" \
	  "rep lodsw\n sub %rdi, %rsi") \
	X(cmps, 0, "mov %rdi, %rbx\n mov %rdi, %rsi\n mov $20, %ecx\n repe cmpsb\n pushf\n" \
	  "pop %r8\n lea 64(%rbx), %rsi\n" \
	  " repne cmpsw\n" BACK) \
	X(scas, 0, "mov %rdi, %rbx\n mov %rdi, %rsi\n mov $9, %al\n mov $64, %ecx\n" \
	  "repne scasb\n pushf\n pop %r8\n scasl\n" BACK) \
	X(xlat, 0, "mov %rdi, %rbx\n mov $77, %al\n xlat\n sub %rdi, %rbx") \
	X(movdqu, 0, XMM "movdqu (%rdi), %xmm0\n movdqu %xmm1, 17(%rdi)\n" FROM_XMM) \
	X(movaps, 0, XMM "movaps (%rdi), %xmm0\n movaps %xmm1, 32(%rdi)\n" \
	  "movapd %xmm1, 48(%rdi)\n movups %xmm1, 65(%rdi)\n" FROM_XMM) \
	X(mmx, 0, "movq (%rdi), %mm0\n movq %mm0, 9(%rdi)\n movq %mm0, %r8\n emms") \
	X(movnti, 0, "movnti %rax, (%rdi)\n movnti %ecx, 8(%rdi)") \
	X(hints, 0, "prefetcht0 (%rdi)\n clflush (%rdi)\n nopl (%rdi)\n mfence") \
	X(cross, 0, "mov 0xffd(%rdi), %rax\n mov %rcx, 0xffb(%rdi)\n lock incl 0xffe(%rdi)")

#define X(n, undef, text) CODE64(n, text DONE);
SNIPPETS(X)
#undef X

static const struct snippet {
	const char *name;
	const u8 *code, *end;
	u64 undefined;		/* flags */
} snippets[] = {
#define X(n, undef, text) { #n, n##_b, n##_e, undef },
	SNIPPETS(X)
#undef X
};

#define SPAN (0x1000 + BYTES)

static void fill(u8 *p)
{
	for (u32 i = 0; i < SPAN; i++)
		p[i] = (u8)(i * 13 + 5 + (i >> 4));
	/* Room for pointers and divisors that do not overflow. */
	p[23] = p[27] = 0x11;
}

/* False: it did not end. */
static bool run_one(const struct snippet *n, u8 *bytes, bool device, struct kvm_regs *regs)
{
	struct guest *g = guest_with_code(M_LONG, n->code, (u32)(n->end - n->code));
	u64 at = device ? G_MMIO : G_FREE;
	struct stop s;

	fill(bytes);
	guest_write(g, G_FREE, bytes, SPAN);
	WITH_REGS(cpu0(g), r) {
		r.rdi = at;
		r.rax = 0x1122334455667788;
		r.rcx = 5;
		r.rdx = 0x99aabbcc;
		r.rbx = 0x0102030405060708;
		r.rsi = r.r8 = r.r9 = 0;
	}
	for (;;) {
		u64 v = 0;

		s = run(g);
		if (s.kind != ST_MMIO || s.gpa < G_MMIO || s.gpa + s.size > G_MMIO + SPAN)
			break;
		if (s.write) {
			memcpy(bytes + (s.gpa - G_MMIO), &s.val, s.size);
		} else {
			memcpy(&v, bytes + (s.gpa - G_MMIO), s.size);
			cpu_answer(cpu0(g), v);
		}
	}
	if (!device)
		memcpy(bytes, g->ram + G_FREE, SPAN);
	*regs = s.r;
	regs->rflags &= ~n->undefined;
	regs->rdi -= at;
	if (s.kind != ST_DONE)
		test_fail(__FILE__, __LINE__, "%s on %s: %s", n->name,
			  device ? "a device" : "memory", stop_text(&s));
	guest_free(g);
	return s.kind == ST_DONE;
}

T(same, "registers, flags and bytes are the same on a device as in memory")
{
	static u8 mem[SPAN], dev[SPAN];

	for (u32 i = 0; i < ARRAY_SIZE(snippets); i++) {
		struct kvm_regs a, b;

		if (!run_one(&snippets[i], mem, false, &a) || !run_one(&snippets[i], dev, true, &b))
			continue;
		if (memcmp(&a, &b, sizeof(a)))
			test_fail(__FILE__, __LINE__,
				  "%s: rax %llx %llx rcx %llx %llx "
				  "rdx %llx %llx r8 %llx %llx r9 %llx %llx flags %llx %llx",
				  snippets[i].name, a.rax, b.rax, a.rcx, b.rcx, a.rdx, b.rdx, a.r8,
				  b.r8, a.r9, b.r9, a.rflags, b.rflags);
		for (u32 k = 0; k < SPAN; k++) {
			if (mem[k] == dev[k])
				continue;
			test_fail(__FILE__, __LINE__, "%s: byte %u is %x, in memory %x",
				  snippets[i].name, k, dev[k], mem[k]);
			break;
		}
	}
}
