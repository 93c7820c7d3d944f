/* SPDX-License-Identifier: MIT */
/*
 * tests/insn/encodings.c - insn_encodings: which bytes are an instruction, and how long it is.
 *
 * The host's CPU and the engine's decoder answer for the same bytes, in 64-bit code, in 32-bit code
 * and in 16-bit code of a segment of the LDT: first every opcode with every prefix that matters,
 * then random bytes. The host executes one instruction with TF set; what it refuses is SIGILL. What
 * the table of instructions refuses though Zydis knows it (FP16) is not compared: hosts differ.
 *
 * Everything happens in one signal handler: each signal ends a case and its return begins the next.
 */
/* Run: build/tests/insn/insn_encodings 50000 1 */
#include <asm/ldt.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/host_cpuid.h"
#include "engine/insns.h"
#include "engine/translate_priv.h"
#include "tests/random.h"
#include "vcpu/cpuid.h"

#define CODE 0x20000000ul
#define DATA 0x30000000ul
#define DATA_BYTES 0x100000ul
#define SEL_USER64 0x33
#define SEL_USER32 0x23
#define SEL_USER_DATA 0x2b
#define SEL_LDT_CODE16 0x07
#define SEL_LDT_DATA16 0x0f

enum { MAX_SHOWN = 12, DEATHS = 20 };

/* Survives the process that executes. */
static struct shared {
	u64 next, ran, systematic, end, ignored;
	u32 found;
	u8 bytes[16];
	bool in_case, started;
	struct difference {
		const char *what;
		u8 bytes[16], len, host_len, cls;
		u16 mnemonic;	/* 0: not decoded */
	} shown[MAX_SHOWN];
} * sh;

static u32 mode;	/* MODE_SIZE64, 32, 16 */
static struct translator *t;
static struct di d;
static ZyanStatus status;
static u64 seed;
static ucontext_t home;

/* -- which bytes -- */

/* A digit of n in base `base`. */
static u32 digit(u64 *n, u32 base)
{
	u32 v = (u32)(*n % base);

	*n /= base;
	return v;
}

static const char *const prefixes[] = {
	"", "\x66", "\xf2", "\xf3", "\xf0", "\x66\xf2", "\x66\xf3", "\xf0\x66", "\xf0\xf3", "\x67",
	/* 64-bit mode only */
	"\x48", "\x66\x48", "\xf2\x48", "\xf3\x48", "\xf0\x48", "\x47",
};

/* Every ModRM.reg with a register and with memory at (E)BX, and the rest where it decides more. */
static u8 modrm(u32 k)
{
	return k < 8	? (u8)(0xc1 | k << 3)
	       : k < 16 ? (u8)(0x07 | (k & 7) << 3)
			: (u8)(0xc0 + (k - 16));
}

enum { MODRMS = 16 + 64, LEGACY = 16 * 4 * 256 * MODRMS, VEX = 3 * 4 * 2 * 2 * 2 * 256 * 16 };

/* EVEX's last byte and vvvv: lengths, broadcast or rounding, zeroing, masks, registers that are not
 * there; z without a mask and length 3 are only legal in places. */
static const struct {
	u8 p2, vvvv;
} evex[] = {
	{ 0x08, 15 }, { 0x28, 15 }, { 0x48, 15 }, { 0x48, 14 }, { 0x49, 15 }, { 0xc9, 14 },
	{ 0xc8, 15 }, { 0x58, 15 }, { 0x58, 14 }, { 0x68, 15 }, { 0x78, 14 }, { 0x18, 15 },
	{ 0x49, 14 }, { 0x40, 15 }, { 0x38, 15 }, { 0x09, 14 }, { 0x29, 14 }, { 0xd9, 15 },
};
/* A register, memory at (E)DI, and with a SIB byte, whose index may be a vector; two reg fields. */
static const u8 evex_modrm[] = { 0xc1, 0x07, 0x0c, 0xf2, 0x37 };

enum { EVEX = 3 * 4 * 2 * 256 * (int)(ARRAY_SIZE(evex) * ARRAY_SIZE(evex_modrm)) };

static void systematic_evex(u64 n, u8 *b)
{
	u32 tail = digit(&n, ARRAY_SIZE(evex));

	b[0] = 0x62;
	b[2] = (u8)(0x04 | evex[tail].vvvv << 3);
	b[3] = evex[tail].p2;
	b[5] = evex_modrm[digit(&n, ARRAY_SIZE(evex_modrm))];
	b[6] = 0x0b;	/* SIB: (E)BX and register 1 */
	b[4] = (u8)digit(&n, 256);
	b[2] |= (u8)(digit(&n, 4) | digit(&n, 2) << 7);
	b[1] = (u8)(0xf0 | (1 + n));
}

static bool systematic(u64 n, u8 *b)
{
	u32 i = 0, map, op, k;

	memset(b, 0, 16);
	if (n < LEGACY) {
		const char *p;

		k = digit(&n, MODRMS);
		op = digit(&n, 256);
		map = digit(&n, 4);
		p = prefixes[n];
		if (n >= 10 && mode != MODE_SIZE64)
			return false;
		while (*p)
			b[i++] = (u8)*p++;
		if (map)
			b[i++] = 0x0f;
		if (map > 1)
			b[i++] = map == 2 ? 0x38 : 0x3a;
		b[i++] = (u8)op;
		b[i] = modrm(k);
		/* x87 and the groups of system instructions look at rm as well. */
		return k < 16 || (map == 0 && op >= 0xd8 && op <= 0xdf) ||
		       (map == 1 && (op == 0x01 || op == 0xae || op == 0xc7));
	}
	n -= LEGACY;
	if (n >= VEX) {
		systematic_evex(n - VEX, b);
		return true;
	}
	k = digit(&n, 16);
	op = digit(&n, 256);
	b[0] = 0xc4;
	b[2] = (u8)(digit(&n, 4) | digit(&n, 2) << 2 | digit(&n, 2) << 7 |
		    (digit(&n, 2) ? 15 : 14) << 3);
	b[1] = (u8)(0xe0 | (1 + n));
	b[3] = (u8)op;
	b[4] = modrm(k);
	return true;
}

static void random_bytes(u64 n, u8 *b)
{
	static const u8 some[] = {
		0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65
	};
	u64 s = seed * 0x2545f4914f6cdd1dull + n * 0x632be59bd9b4e019ull, r;
	u32 i = 0, many;

	for (u32 k = 0; k < 16; k += 8) {
		r = random_next(&s);
		memcpy(b + k, &r, 8);
	}
	r = random_next(&s);
	many = r % 64 == 0 ? (u32)(r >> 8) % 15 : (u32)(r >> 8) % 8 < 4 ? 0 : (u32)(r >> 8) % 4;
	for (u32 k = 0; k < many; k++)
		b[i++] = some[random_next(&s) % sizeof(some)];
	r = random_next(&s);
	if (mode == MODE_SIZE64 && r % 3 == 0 && i < 14)
		b[i++] = (u8)(0x40 | (r >> 8 & 15));
	if (i > 10)
		return;
	switch ((r >> 16) % 15) {
	case 0: case 1: case 2: case 3:
		b[i] = 0x0f;
		break;
	case 4: case 5:
		b[i] = 0x0f;
		b[i + 1] = (u8)(r >> 24 & 1 ? 0x38 : 0x3a);
		break;
	case 6: case 7:
		b[i] = 0xc4;
		b[i + 1] = (u8)((b[i + 1] & 0xe0) | (1 + (r >> 24) % 3));
		break;
	case 8:
		b[i] = 0xc5;
		break;
	case 9:
		b[i] = (u8)(0xd8 | (r >> 24 & 7));
		break;
	case 10: case 11: case 12:
		b[i] = 0x62;
		b[i + 1] =
			(u8)((b[i + 1] & 0xf0) | (r >> 24 & 15 ? 1 + (r >> 28) % 3 : r >> 28 & 15));
		if (mode != MODE_SIZE64)
			b[i + 1] |= 0xc0;
		b[i + 2] |= 4;
		if (r >> 40 & 3)
			b[i + 2] |= 0x78;
		break;
	}
}

static bool is_prefix(u8 b)
{
	switch (b) {
	case 0x66: case 0x67: case 0xf0: case 0xf2: case 0xf3:
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
		return true;
	default:
		return mode == MODE_SIZE64 && (b & 0xf0) == 0x40;
	}
}

static u32 count_prefixes(const u8 *b)
{
	u32 i = 0;

	while (i < 14 && is_prefix(b[i]))
		i++;
	return i;
}

/* Where hosts take more than their manuals: VPERMQ and VPERMPD without W. */
static bool undocumented_vex(const u8 *b)
{
	u32 map = b[0] == 0xc5 ? 1 : b[1] & 31;
	u8 op = b[0] == 0xc5 ? b[2] : b[3];

	return map == 3 && (op == 0x00 || op == 0x01);
}

/*
 * Bits of which AMD's hosts take no notice where they mean nothing, though the manuals refuse them
 * (SDM2 2.7.11): of EVEX, broadcast with a register and without rounding, zeroing without a mask,
 * outside 64-bit mode V'; and opmask registers above 7.
 */
static bool ignored_bits(const u8 *b)
{
	u32 op;

	b += count_prefixes(b);
	if (b[0] == 0x62)
		return ((b[3] & 0x10) && b[5] >= 0xc0) || ((b[3] & 0x80) && !(b[3] & 7)) ||
		       (mode != MODE_SIZE64 && !(b[3] & 8));
	if (b[0] == 0xc4 ? (b[1] & 31) != 1 : b[0] != 0xc5)
		return false;
	op = b[0] == 0xc4 ? b[3] : b[2];
	if (!(op >= 0x41 && op <= 0x4b) && !(op >= 0x90 && op <= 0x93) && op != 0x98 && op != 0x99)
		return false;
	return !(b[1] & 0x80) || !(b[b[0] == 0xc4 ? 2 : 1] & 0x40);
}

/* What must not be tried even if it should be refused: it leaves the process, or waits. And a few
 * of which it is known that the host goes its own way. */
static bool untouchable(const u8 *b)
{
	bool lock = false;

	for (; is_prefix(*b); b++) {
		lock |= *b == 0xf0;
		if (mode == MODE_SIZE64 && *b == 0x64)	/* where this process has its own data */
			return true;
	}
	switch (b[0]) {
	case 0xcd:			/* INT n */
		return true;
	case 0x62:			/* EVEX, or BOUND */
		return mode != MODE_SIZE64 && (b[1] & 0xc0) != 0xc0;
	case 0xc4: case 0xc5:
		return undocumented_vex(b);
	case 0x0f:
		break;
	default:
		return false;
	}
	switch (b[1]) {
	case 0x00:			/* VERW is taken with LOCK, whatever for */
		return lock && (b[2] >> 3 & 7) == 5;
	case 0x05: case 0x07: case 0x34: case 0x35:	/* SYSCALL, SYSENTER */
		return true;
	case 0x01:			/* VMCALL, VMMCALL, MWAITX, WRPKRU */
		return b[2] == 0xc1 || b[2] == 0xd9 || b[2] == 0xfb || b[2] == 0xef;
	case 0xae:			/* WRFSBASE and the like; XRSTOR */
		return (b[2] >= 0xc0 && b[2] < 0xe8) || (b[2] >> 3 & 7) == 5;
	case 0xc7:			/* XRSTORS */
		return (b[2] >> 3 & 7) == 3;
	default:
		return false;
	}
}

/* Legal, but it changes CS or another segment: only its refusal could be looked at. */
static bool changes_segments(void)
{
	switch (d.in.mnemonic) {
	case ZYDIS_MNEMONIC_LDS: case ZYDIS_MNEMONIC_LES: case ZYDIS_MNEMONIC_LFS:
	case ZYDIS_MNEMONIC_LGS: case ZYDIS_MNEMONIC_LSS: case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ:
		return true;
	case ZYDIS_MNEMONIC_MOV: case ZYDIS_MNEMONIC_POP:
		return d.cls == CL_EXEC && (d.in.opcode != 0x8c || d.in.map);
	case ZYDIS_MNEMONIC_CALL: case ZYDIS_MNEMONIC_JMP: case ZYDIS_MNEMONIC_RET:
		return d.cls == CL_EXEC;
	default:
		return false;
	}
}

/* Takes the next case that can be tried, and what the decoder says of it. */
static bool next_case(void)
{
	while (sh->next < sh->end) {
		u64 n = sh->next++;
		u8 b[16];

		if (n < sh->systematic) {
			if (!systematic(n, b))
				continue;
		} else {
			random_bytes(n, b);
		}
		if (untouchable(b))
			continue;
		memset(&d, 0, sizeof(d));
		status = decode_afresh(t, &d, b, 15);
		/* The latter Linux emulates if CR4.UMIP is set, and goes on behind them. */
		if (ZYAN_SUCCESS(status) && d.cls != CL_UD &&
		    (changes_segments() || (d.rules & R_UMIP)))
			continue;
		/* Refused by the table alone. */
		if (ZYAN_SUCCESS(status) && d.cls == CL_UD && insn_row(&t->zi).way == WAY_REFUSED &&
		    t->zi.mnemonic != ZYDIS_MNEMONIC_UD0 && t->zi.mnemonic != ZYDIS_MNEMONIC_UD1 &&
		    t->zi.mnemonic != ZYDIS_MNEMONIC_UD2)
			continue;
		memcpy(sh->bytes, b, 16);
		return true;
	}
	return false;
}

/* -- the answers -- */

/* What the case has done to FS may be the difference: nothing is printed here. */
static void complain(const char *what, u32 host_len)
{
	struct difference *x = &sh->shown[sh->found < MAX_SHOWN ? sh->found : 0];

	if (sh->found++ >= MAX_SHOWN)
		return;
	*x = (struct difference){ .what = what,
				  .len = d.in.len,
				  .host_len = (u8)host_len,
				  .cls = d.cls };
	if (ZYAN_SUCCESS(status))
		x->mnemonic = d.in.mnemonic;
	memcpy(x->bytes, sh->bytes, 16);
}

static void show(void)
{
	for (u32 i = 0; i < sh->found && i < MAX_SHOWN; i++) {
		const struct difference *x = &sh->shown[i];

		printf("# %u-bit: %s: %s, length %u, host %u, class %u:", 16u << mode, x->what,
		       x->mnemonic ? ZydisMnemonicGetString(x->mnemonic) : "(not decoded)", x->len,
		       x->host_len, x->cls);
		for (u32 k = 0; k < 15; k++)
			printf(" %02x", x->bytes[k]);
		printf("\n");
	}
}

/* #UD at CPL 3 or on a host whose EFER.SVME is clear, by the instruction's own rules. */
static bool may_be_ud(void)
{
	struct insn_row row = insn_row(&t->zi);

	switch (d.in.mnemonic) {
	case ZYDIS_MNEMONIC_RSM: case ZYDIS_MNEMONIC_VMCALL: case ZYDIS_MNEMONIC_VMMCALL:
		return true;
	default:
		return row.rules & R_UD_CPL || row.features & NEED(SVM);
	}
}

static bool is_branch(void)
{
	switch (d.cls) {
	case CL_JCC: case CL_JMP: case CL_JMP_IND: case CL_CALL: case CL_CALL_IND: case CL_RET:
	case CL_LOOP: case CL_JCXZ:
		return true;
	default:
		return false;
	}
}

static void judge(int sig, u64 trap, u64 rip)
{
	bool decoded = ZYAN_SUCCESS(status), refused = !decoded || d.cls == CL_UD;
	bool too_long =
		status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA;
	u32 len = (u32)(rip - (mode == MODE_SIZE16 ? 0 : CODE));
	u32 prefixed = count_prefixes(sh->bytes);
	u8 lead = sh->bytes[prefixed];
	/* Behind them an XOP instruction may have 14 bytes in map 10, whose immediates have four,
	 * and 13 in others, an EVEX one 12, others 11. */
	u32 xop_room = (sh->bytes[(prefixed + 1) % 16] & 31) == 10 ? 1 : 2;
	u32 room = lead == 0x8f ? xop_room : lead == 0x62 ? 3 : 4;

	/* No instruction, and too long: which of #UD and #GP is up to the CPU. */
	if ((too_long || (refused && prefixed > room)) &&
	    (sig == SIGILL || (sig == SIGSEGV && trap == 13)))
		return;
	if (too_long) {
		complain("host takes what is too long", len);
	} else if (refused && sig != SIGILL) {
		if (!decoded && ignored_bits(sh->bytes))
			sh->ignored++;
		else
			complain("host takes what we refuse", len);
	} else if (!refused && sig == SIGILL) {
		if (!may_be_ud())
			complain("host refuses what we take", 0);
	} else if (sig == SIGTRAP && len && len != d.in.len && !is_branch() && d.cls != CL_REP) {
		complain("another length", len);
	}
}

/* -- the machinery -- */

static void start_case(ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;
	struct _libc_fpstate *fp = uc->uc_mcontext.fpregs;
	u64 data = mode == MODE_SIZE16 ? 0x8000 : DATA + DATA_BYTES / 2;
	u16 cs = mode == MODE_SIZE64   ? SEL_USER64
		 : mode == MODE_SIZE32 ? SEL_USER32
				       : SEL_LDT_CODE16;
	u16 ss = mode == MODE_SIZE16 ? SEL_LDT_DATA16 : SEL_USER_DATA;

	memcpy((void *)CODE, sh->bytes, 16);
	for (u32 i = REG_R8; i <= REG_RSP; i++)
		g[i] = (greg_t)data;
	g[REG_RCX] = 1;
	g[REG_RDX] = 0;
	g[REG_RIP] = mode == MODE_SIZE16 ? 0 : CODE;
	g[REG_EFL] = 0x302;
	g[REG_CSGSFS] =
		(g[REG_CSGSFS] & 0xffffffff0000ll & ~0xffffll) | cs | (greg_t)((u64)ss << 48);
	fp->cwd = 0x37f;
	fp->swd = fp->ftw = 0;
	fp->mxcsr = 0x1f80;
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"((u32)ss));
	sh->in_case = true;
}

static void on_signal(int sig, siginfo_t *si, void *p)
{
	ucontext_t *uc = p;
	greg_t *g = uc->uc_mcontext.gregs;

	/* The kernel leaves AC as the case had it. */
	__asm__ volatile("pushfq\n\tandl $~0x40000, (%%rsp)\n\tpopfq\n\tcld" : : : "memory", "cc");
	if (sh->in_case) {
		sh->in_case = false;
		sh->ran++;
		judge(sig, (u64)g[REG_TRAPNO], (u64)g[REG_RIP]);
		if (!(sh->ran & 0xfff))
			alarm(30);
	} else if (!sh->started) {
		sh->started = true;
		memcpy(home.uc_mcontext.gregs, g, sizeof(home.uc_mcontext.gregs));
	} else {
		/* A fault of this function's: the case has damaged the process. */
		syscall(SYS_exit_group, 5);
	}
	if (next_case()) {
		start_case(uc);
	} else {
		memcpy(g, home.uc_mcontext.gregs, sizeof(home.uc_mcontext.gregs));
	}
}

static int child(void)
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGUSR1 };
	struct sigaction sa = { .sa_sigaction = on_signal,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	struct user_desc code = { .entry_number = 0,
				  .base_addr = CODE,
				  .limit = 0xffff,
				  .contents = 2 };
	struct user_desc data = { .entry_number = 1, .base_addr = DATA, .limit = 0xffff };
	stack_t st = { .ss_size = 1 << 16 };

	st.ss_sp = malloc(st.ss_size);
	if (!st.ss_sp || sigaltstack(&st, NULL))
		return 3;
	if (mode == MODE_SIZE16 && (syscall(SYS_modify_ldt, 1, &code, sizeof(code)) ||
				    syscall(SYS_modify_ldt, 1, &data, sizeof(data))))
		return 4;
	for (u32 i = 0; i < ARRAY_SIZE(sigs); i++)
		sigaction(sigs[i], &sa, NULL);
	alarm(30);
	raise(SIGUSR1);
	return 0;
}

/* The children go on where the last one died. */
static bool run_mode(u32 m, u64 random)
{
	u32 deaths = 0;

	mode = m;
	t->mode = m | MMU_USER << MODE_IDX_SHIFT | MODE_X87 | MODE_SSE | MODE_AVX | MODE_AVX512 |
		  MODE_SS32;
	memset(sh, 0, sizeof(*sh));
	sh->systematic = LEGACY + (m == MODE_SIZE16 ? 0 : VEX + EVEX);
	sh->end = sh->systematic + random;
	while (sh->next < sh->end || sh->in_case) {
		pid_t pid;
		int st;

		sh->in_case = sh->started = false;
		fflush(stdout);
		pid = fork();
		if (!pid)
			_exit(child());
		if (pid < 0 || waitpid(pid, &st, 0) != pid)
			return false;
		if (WIFEXITED(st) && WEXITSTATUS(st) == 4) {
			printf("# %u-bit: no LDT here\n", 16u << m);
			return true;
		}
		if (WIFEXITED(st) && !WEXITSTATUS(st))
			continue;
		sh->found++;
		printf("# %u-bit: the host's process ended (%#x) in case %llu at", 16u << m, st,
		       (unsigned long long)sh->next - 1);
		for (u32 k = 0; k < 15; k++)
			printf(" %02x", sh->bytes[k]);
		printf("\n");
		if (++deaths == DEATHS)
			break;
	}
	show();
	printf("# %u-bit: %llu encodings, %u differ, %llu with bits that the host ignores\n",
	       16u << m, (unsigned long long)sh->ran, sh->found, (unsigned long long)sh->ignored);
	return !sh->found;
}

static u64 host_lacks(void)
{
	u64 missing = 0;
	u32 r[4];

#define X(name) {							\
		const struct cpuid_feature_row *row = &cpuid_feature_rows[CPUID_F_##name];	\
		cpuid_host(row->leaf, row->sub, r);			\
		missing |= r[row->reg] >> row->bit & 1 ? 0 : NEED(name);	\
	}
	INSN_FEATURES(X)
#undef X
	return missing & ~(NEED(SVM) | NEED(SMAP));
}

static bool host_is_amd(void)
{
	u32 r[4];

	cpuid_host(0, 0, r);
	return r[1] == 0x68747541;
}

static u64 t_sti(struct cpu *c, u64 a, u64 b) { return 0; }

int main(int argc, char **argv)
{
	static const struct cpu_ops ops = { .sti = t_sti };
	u64 random = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000000;
	u32 only = argc > 3 ? (u32)strtoul(argv[3], NULL, 0) : 0;
	bool ok = true;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	printf("1..1\n");
	if (!host_is_amd()) {
		printf("ok 1 - encodings # SKIP the decoder is an AMD CPU's, the host is "
		       "another\n");
		return 0;
	}
	t = calloc(1, sizeof(*t));
	t->e = calloc(1, sizeof(*t->e));
	t->e->c = calloc(1, sizeof(*t->e->c));
	t->e->c->ops = &ops;
	t->e->c->insn_missing = host_lacks();
	sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mmap((void *)CODE, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)CODE ||
	    mmap((void *)DATA, DATA_BYTES, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)DATA) {
		printf("Bail out! no memory where it is wanted\n");
		return 1;
	}
	memset((void *)(CODE + 16), 0x90, 64);
	for (u32 m = MODE_SIZE16; m <= MODE_SIZE64; m++)
		if (!only || only == 16u << m)
			ok &= run_mode(m, random);
	printf("%s 1 - encodings: host and decoder take and refuse the same, seed %llu\n",
	       ok ? "ok" : "not ok", (unsigned long long)seed);
	return ok ? 0 : 1;
}
