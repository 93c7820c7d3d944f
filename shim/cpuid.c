/* SPDX-License-Identifier: MIT */
/*
 * shim/cpuid.c - programs that execute CPUID themselves and refuse to start without VT-x or AMD-V
 * (kvmtool does). Where the processor can fault on CPUID (SDM3 25.5.1; AMD: APM2 "CpuidUserDis")
 * and the kernel lets a process ask for it, the instruction raises SIGSEGV in the whole program,
 * and the handler answers with the host's values plus the one bit that such a program looks
 * for: SVM on an AMD host, VMX on an Intel one, since it goes by the host's vendor.
 *
 * Where the processor cannot, cpuid_text.c helps.
 *
 * The flag is a thread's: clone inherits it, exec clears it and our constructor sets it again.
 * Only hosts that lack the bits need it; STANDIN_CPUID=0 switches it off.
 */
#include "shim/shim.h"

#include <asm/prctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "base/host_cpuid.h"
#include "base/log.h"
#include "base/options.h"

enum { CPUID_BYTES = 2 };

static _Atomic bool active;	/* the processor faults on it */
static _Atomic bool replaced;	/* in the program's text */

/* 0, or -errno: the host cannot do it. */
static int faulting(bool on)
{
	/* Not syscall(): this runs in a signal handler, and before anything is set up. */
	return shim_raw_syscall2(SYS_arch_prctl, ARCH_SET_CPUID, !on);
}

static bool vendor_is(const u32 leaf0[4], const char *name)
{
	return !memcmp(&leaf0[CPUID_EBX], name, 4) && !memcmp(&leaf0[CPUID_EDX], name + 4, 4) &&
	       !memcmp(&leaf0[CPUID_ECX], name + 8, 4);
}

static bool is_amd(const u32 leaf0[4])
{
	return vendor_is(leaf0, "AuthenticAMD") || vendor_is(leaf0, "HygonGenuine");
}

void shim_cpuid_answer(u32 leaf, const u32 leaf0[4], u32 r[4])
{
	if (leaf == CPUID_L_BASIC && vendor_is(leaf0, "GenuineIntel"))
		r[CPUID_ECX] |= CPUID_MASK(VMX);
	if (leaf == CPUID_L_EXT_BASIC && is_amd(leaf0))
		r[CPUID_ECX] |= CPUID_MASK(SVM);
}

bool shim_cpuid_is(const u8 *insn)
{
	/* Prefixes mean nothing to CPUID, and no compiler emits any. */
	return insn[0] == 0x0f && insn[1] == 0xa2;
}

bool shim_cpuid_fault(int sig, const siginfo_t *info, void *ucontext)
{
	greg_t *g = ((ucontext_t *)ucontext)->uc_mcontext.gregs;
	u32 leaf0[4], r[4], leaf = (u32)g[REG_RAX];

	/* A general protection fault has no address (SI_KERNEL); its RIP can be read, since
	 * the processor has just fetched from there. */
	bool text = sig == SIGILL && info->si_code > 0 && shim_cpuid_text_is((u64)g[REG_RIP]);

	if (!text &&
	    (!atomic_load_explicit(&active, memory_order_relaxed) || sig != SIGSEGV ||
	     info->si_code != SI_KERNEL || !shim_cpuid_is((const u8 *)(uintptr_t)g[REG_RIP])))
		return false;
	if (!text && faulting(false))
		return false;
	cpuid_host(CPUID_L_VENDOR, 0, leaf0);
	cpuid_host(leaf, (u32)g[REG_RCX], r);
	if (!text)
		faulting(true);
	shim_cpuid_answer(leaf, leaf0, r);
	g[REG_RAX] = r[CPUID_EAX];
	g[REG_RBX] = r[CPUID_EBX];
	g[REG_RCX] = r[CPUID_ECX];
	g[REG_RDX] = r[CPUID_EDX];
	g[REG_RIP] += CPUID_BYTES;
	return true;
}

int shim_cpuid_signal(void)
{
	if (atomic_load_explicit(&active, memory_order_relaxed))
		return SIGSEGV;
	return atomic_load_explicit(&replaced, memory_order_relaxed) ? SIGILL : 0;
}

void shim_cpuid_init(void)
{
	u32 leaf0[4], basic[4] = { 0 }, ext[4] = { 0 };

	if (option_word(OPT_CPUID) == 0)
		return;
	cpuid_host(CPUID_L_VENDOR, 0, leaf0);
	cpuid_host(CPUID_L_BASIC, 0, basic);
	cpuid_host(CPUID_L_EXT, 0, ext);
	if (ext[CPUID_EAX] >= CPUID_L_EXT_BASIC)
		cpuid_host(CPUID_L_EXT_BASIC, 0, ext);
	if ((basic[CPUID_ECX] & CPUID_MASK(VMX) && !is_amd(leaf0)) ||
	    (ext[CPUID_ECX] & CPUID_MASK(SVM) && is_amd(leaf0)))
		return;
	/* Only to see: the handler comes first. */
	if (!faulting(true)) {
		faulting(false);
		atomic_store(&active, true);
		shim_signals_take(SIGSEGV);
		faulting(true);
	} else if (shim_cpuid_text_patch()) {
		atomic_store(&replaced, true);
		shim_signals_take(SIGILL);
	} else {
		log_info("the host cannot fault on CPUID: programs that look for VT-x or AMD-V "
			 "themselves will not find it; if this is one, start it on a host whose "
			 "`standin doctor` says that CPUID faulting works");
	}
}
