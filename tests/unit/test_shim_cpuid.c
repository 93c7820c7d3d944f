/* SPDX-License-Identifier: MIT */
/* CPUID faulting without a processor that has it: the handler on a context made by hand. */
/* Run: build/tests/unit/test_shim_cpuid [NAME...] */

#include "tests/unit/unit.h"

#include "shim/cpuid.c"

enum log_level log_threshold = LOG_off;
static long prctl_result;
static char trail[8];	/* '+' faulting was switched on, '-' off */
static int taken;

void log_write(enum log_level l, const char *fmt, ...)
{
}

static bool text_is;
static u32 text_found;

u32 shim_cpuid_text_patch(void)
{
	return text_found;
}

bool shim_cpuid_text_is(u64 rip)
{
	return text_is;
}

void shim_signals_take(int sig)
{
	taken = sig;
}

long shim_raw_syscall2(long nr, long a, long b)
{
	size_t n = strlen(trail);

	assert_int_equal(nr, SYS_arch_prctl);
	assert_int_equal(a, ARCH_SET_CPUID);
	if (n < sizeof(trail) - 1)
		trail[n] = b ? '-' : '+';
	return prctl_result;
}

static int setup(void **state)
{
	memset(trail, 0, sizeof(trail));
	prctl_result = 0;
	taken = 0;
	atomic_store(&active, true);
	return 0;
}

static bool fault(const u8 *code, u32 leaf, u32 sub, int code_of_signal, ucontext_t *uc)
{
	siginfo_t info = { .si_signo = SIGSEGV, .si_code = code_of_signal };

	memset(uc, 0, sizeof(*uc));
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)code;
	uc->uc_mcontext.gregs[REG_RAX] = leaf | ~0xffffffffll;
	uc->uc_mcontext.gregs[REG_RCX] = sub;
	return shim_cpuid_fault(SIGSEGV, &info, uc);
}

static const u8 cpuid_insn[] = { 0x0f, 0xa2 }, other_insn[] = { 0x0f, 0xa3 };
static const u32 amd[4] = { 16, 0x68747541, 0x444d4163, 0x69746e65 };
static const u32 intel[4] = { 16, 0x756e6547, 0x6c65746e, 0x49656e69 };
static const u32 other[4] = { 16, 1, 2, 3 };

T(the_bit_is_the_one_of_the_hosts_vendor)
{
	u32 r[4] = { 0 };

	shim_cpuid_answer(0x80000001, amd, r);
	assert_int_equal(r[2], CPUID_MASK(SVM));
	shim_cpuid_answer(1, amd, r);
	assert_int_equal(r[2], CPUID_MASK(SVM));
	r[2] = 0;
	shim_cpuid_answer(1, intel, r);
	assert_int_equal(r[2], CPUID_MASK(VMX));
	r[2] = 0;
	shim_cpuid_answer(0x80000001, intel, r);
	shim_cpuid_answer(1, other, r);
	shim_cpuid_answer(0x80000001, other, r);
	shim_cpuid_answer(7, amd, r);
	assert_int_equal(r[2], 0);
	assert_int_equal(r[0] | r[1] | r[3], 0);
}

T(an_instruction_is_answered_and_skipped)
{
	ucontext_t uc;
	u32 r[4];

	assert_true(fault(cpuid_insn, 0, 0, SI_KERNEL, &uc));
	cpuid_host(0, 0, r);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RAX], r[0]);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RBX], r[1]);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RCX], r[2]);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RDX], r[3]);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RIP], (greg_t)(uintptr_t)cpuid_insn + 2);
	/* Off for our own, on again afterwards. */
	assert_string_equal(trail, "-+");
}

T(sub_leaves_are_asked_for)
{
	ucontext_t uc;
	u32 r[4];

	assert_true(fault(cpuid_insn, 4, 1, SI_KERNEL, &uc));
	cpuid_host(4, 1, r);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RAX], r[0]);
}

T(other_faults_are_left_alone)
{
	ucontext_t uc;

	assert_false(fault(other_insn, 0, 0, SI_KERNEL, &uc));
	assert_false(fault(cpuid_insn, 0, 0, SEGV_MAPERR, &uc));
	assert_false(fault(cpuid_insn, 0, 0, SI_USER, &uc));
	atomic_store(&active, false);
	assert_false(fault(cpuid_insn, 0, 0, SI_KERNEL, &uc));
	assert_string_equal(trail, "");
}

T(a_replaced_instruction_is_answered)
{
	siginfo_t info = { .si_signo = SIGILL, .si_code = ILL_ILLOPN };
	ucontext_t uc = { 0 };
	u32 r[4];

	atomic_store(&active, false);
	assert_false(shim_cpuid_fault(SIGILL, &info, &uc));
	text_is = true;
	assert_true(shim_cpuid_fault(SIGILL, &info, &uc));
	cpuid_host(0, 0, r);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RAX], r[0]);
	assert_int_equal(uc.uc_mcontext.gregs[REG_RIP], 2);
	info.si_code = SI_USER;
	assert_false(shim_cpuid_fault(SIGILL, &info, &uc));
	text_is = false;
	assert_string_equal(trail, "");
	prctl_result = -ENODEV;
	unsetenv("STANDIN_CPUID");
	text_found = 1;
	shim_cpuid_init();
	text_found = 0;
	atomic_store(&replaced, false);
	/* On a host that has the bits itself nothing is done. */
	assert_true(taken == SIGILL || !*trail);
}

T(a_host_without_it_is_left_as_it_was)
{
	atomic_store(&active, false);
	prctl_result = -ENODEV;
	unsetenv("STANDIN_CPUID");
	shim_cpuid_init();
	assert_int_equal(shim_cpuid_signal(), 0);
}

T(it_can_be_switched_off)
{
	atomic_store(&active, false);
	setenv("STANDIN_CPUID", "0", 1);
	shim_cpuid_init();
	assert_int_equal(shim_cpuid_signal(), 0);
	assert_string_equal(trail, "");
	assert_int_equal(taken, 0);
}

T_EACH(setup, NULL);
