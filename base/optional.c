/* SPDX-License-Identifier: MIT */
/* base/optional.c - see optional.h: which calls does a seccomp filter let through? */
#include "base/optional.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

_Atomic u32 optional_refused;

static const u16 number[] = {
#define X(n, call, why) [OPTIONAL_##n] = SYS_##call,
	OPTIONAL_CALLS(X)
#undef X
};

static u32 alu(u32 op, u32 a, u32 b)
{
	switch (op) {
	case BPF_ADD: return a + b;
	case BPF_SUB: return a - b;
	case BPF_MUL: return a * b;
	case BPF_DIV: return b ? a / b : 0;
	case BPF_AND: return a & b;
	case BPF_OR: return a | b;
	case BPF_XOR: return a ^ b;
	case BPF_LSH: return b < 32 ? a << b : 0;
	case BPF_RSH: return b < 32 ? a >> b : 0;
	default: return -a;	/* BPF_NEG */
	}
}

static bool taken(u32 op, u32 a, u32 b)
{
	switch (op) {
	case BPF_JEQ: return a == b;
	case BPF_JGT: return a > b;
	case BPF_JGE: return a >= b;
	default: return a & b;	/* BPF_JSET */
	}
}

/* The filter's answer, as the kernel computes it (seccomp(2)). Malformed: a refusal. */
static u32 judge(const struct sock_filter *code, u32 n, const struct seccomp_data *d)
{
	u32 a = 0, x = 0, mem[BPF_MEMWORDS] = { 0 };

	for (u32 pc = 0; pc < n; pc++) {
		const struct sock_filter *f = &code[pc];
		u32 k = f->k, b = BPF_SRC(f->code) == BPF_X ? x : k;

		switch (BPF_CLASS(f->code)) {
		case BPF_LD:
			if (BPF_MODE(f->code) == BPF_ABS && k % 4 == 0 && k < sizeof(*d))
				__builtin_memcpy(&a, (const u8 *)d + k, 4);
			else if (BPF_MODE(f->code) == BPF_LEN)
				a = sizeof(*d);
			else
				a = BPF_MODE(f->code) == BPF_MEM ? mem[k % BPF_MEMWORDS] : k;
			break;
		case BPF_LDX:
			x = BPF_MODE(f->code) == BPF_LEN   ? (u32)sizeof(*d)
			    : BPF_MODE(f->code) == BPF_MEM ? mem[k % BPF_MEMWORDS]
							   : k;
			break;
		case BPF_ST: mem[k % BPF_MEMWORDS] = a; break;
		case BPF_STX: mem[k % BPF_MEMWORDS] = x; break;
		case BPF_ALU: a = alu(BPF_OP(f->code), a, b); break;
		case BPF_JMP:
			if (BPF_OP(f->code) == BPF_JA)
				pc += k;
			else
				pc += taken(BPF_OP(f->code), a, b) ? f->jt : f->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(f->code) == BPF_A ? a : k;
		default:	/* BPF_MISC */
			if (BPF_MISCOP(f->code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

void optional_filter(const struct sock_filter *code, u32 n)
{
	for (u32 c = 0; c < OPTIONAL_COUNT; c++) {
		struct seccomp_data d = { .nr = number[c], .arch = AUDIT_ARCH_X86_64 };
		u32 what = judge(code, n, &d) & SECCOMP_RET_ACTION_FULL;

		/* What depends on arguments is judged by zeros, which filters do not like. */
		if (what != SECCOMP_RET_ALLOW && what != SECCOMP_RET_LOG)
			atomic_fetch_or(&optional_refused, BIT(c));
	}
}

void optional_refuse_all(void)
{
	atomic_fetch_or(&optional_refused, BIT(OPTIONAL_COUNT) - 1);
}
