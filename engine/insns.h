/* SPDX-License-Identifier: MIT */
/*
 * engine/insns.h - the one table of instructions: what each is, who carries it out, and under
 * which conditions it exists. Whatever it does not list is refused (#UD).
 *
 * Three lists make it, all looked up by what Zydis says (engine/insns.c):
 *   INSN_SYSTEM  by mnemonic: what is more than a computation
 *   INSN_HOST    by mnemonic: integer computations, re-encoded and run by the host
 *   INSN_SETS    by ISA set: families of which every other member is a computation
 * An instruction is its mnemonic's row, or else its set's. The features and the state of its set
 * are wanted in either case. docs/instructions.md is printed from here, and checked.
 *
 * What derives from it: classify() (engine/classify.c), the dispatch to C (cpu/exec.c), the
 * intercepts of one bit (svm/intercept.c), what groups and copies must know of an instruction
 * (insn_rules()), and which CPUID bits count (vcpu/cpuid.c).
 */
#ifndef ENGINE_INSNS_H
#define ENGINE_INSNS_H

#include <Zydis/Zydis.h>

#include "engine/insn.h"

/*
 * CPUID bits that instructions depend on, named as in vcpu/cpuid.h. cpu.insn_missing has one bit
 * for each that the guest does not have. docs/instructions.md says why these.
 */
#define INSN_FEATURES(X) \
	X(FPU) X(TSC) X(MSR) X(CX8) X(SEP) X(CMOV) X(CLFLUSH) X(MMX) X(FXSR) X(SSE) X(SSE2) X(PKU) \
	X(SSE3) X(PCLMULQDQ) X(SSSE3) X(FMA) X(CX16) X(SSE4_1) X(SSE4_2) X(MOVBE) X(POPCNT) X(AES) \
	X(XSAVE) X(AVX) X(F16C) X(RDRAND) X(FSGSBASE) X(BMI1) X(AVX2) X(BMI2) X(INVPCID) X(RDSEED) \
	X(ADX) X(SMAP) X(CLFLUSHOPT) X(SHA) X(RDPID) X(XSAVEOPT) X(XSAVEC) X(LAHF_LM) X(SVM) \
	X(LZCNT) X(SSE4A) X(RDTSCP) X(CLWB) X(CLZERO) X(XSAVES) X(GFNI) X(VAES) X(VPCLMULQDQ) \
	X(CR8_LEGACY) X(AVX512F) X(AVX512DQ) X(AVX512_IFMA) X(AVX512CD) X(AVX512BW) X(AVX512VL) \
	X(AVX512_VBMI) X(AVX512_VBMI2) X(AVX512_VNNI) X(AVX512_BITALG) X(AVX512_VPOPCNTDQ) \
	X(AVX512_BF16)

enum insn_feature {
#define X(name) INSN_F_##name,
	INSN_FEATURES(X)
#undef X
	INSN_F_COUNT
};
_Static_assert(INSN_F_COUNT <= 64, "cpu.insn_missing");
#define NEED(name) BIT64(INSN_F_##name)
/* Real KVM intercepts these and asks CPUID; all others its processor decides. */
#define INSN_F_TRAPPED \
	(NEED(INVPCID) | NEED(RDTSCP) | NEED(RDPID) | NEED(SVM) | NEED(SMAP) | NEED(FSGSBASE))

/* How it is carried out. X(name, what the documentation says) */
#define INSN_WAYS(X) \
	X(REFUSED, "#UD") \
	X(HOST, "re-encoded, run by the host's CPU") \
	X(C, "a function of cpu/") \
	X(SLOW, "alone, on a copy of its operand") \
	X(NOP, "nothing happens") \
	X(FLUSH, "nothing happens, if its operand may be read") \
	X(MOV, "as its operands are: the host, in place, or C for system registers") \
	X(PUSH, "in place; segment registers: C") \
	X(POP, "in place; segment registers: C; memory: alone") \
	X(LEAVE, "in place; 16-bit stacks: alone") \
	X(LEA, "in place, without an access") \
	X(JCC, "linked to its targets") \
	X(JCXZ, "linked to its targets") \
	X(LOOP, "linked to its targets") \
	X(JMP, "linked, or through the jump cache; far: C") \
	X(CALL, "linked, or through the jump cache; far: C") \
	X(RET, "through the jump cache; far: C") \
	X(PUSHF, "in place in 64-bit mode; else C") \
	X(SWAPGS, "in place at CPL 0; else C") \
	X(CLI, "in place at CPL 0; else C") \
	X(STI, "in place at CPL 0; else C") \
	X(MSR, "the APIC's in place if accelerated; else C") \
	X(STRING, "REP MOVS and STOS in place inside a page; else C")

enum insn_way {
#define X(name, text) WAY_##name,
	INSN_WAYS(X)
#undef X
};

/* X(name, bit, what the documentation says) */
#define INSN_RULES(X) \
	X(CPL0, 0, "#GP(0) at another CPL") \
	X(UD_CPL, 1, "#UD at another CPL") \
	X(PROT, 2, "#UD in real and virtual-8086 mode") \
	X(UMIP, 3, "#GP(0) at another CPL with CR4.UMIP") \
	X(TSD, 4, "#GP(0) at another CPL with CR4.TSD") \
	X(LOCK, 5, "takes LOCK") \
	X(SELF, 6, "moves RIP itself") \
	X(FAULTS, 7, "may fault other than by its memory operand") \
	X(SKIPS, 8, "may complete without its store") \
	X(COUNT, 9, "leaves flags alone if its count is 0") \
	X(STATELESS, 10, "needs no vector state, unlike the rest of its set") \
	X(LM_BIT, 11, "asks for its CPUID bit in 64-bit mode only") \
	X(OLDER, 12, "without its CPUID bit the prefix is ignored and it is an older instruction") \
	X(BRANCH, 13, "a branch to performance counters and DEBUGCTL.BTF") \
	X(LEAVES, 14, "mostly ends `KVM_RUN`, or the guest's turn: translated code is left for it")

enum insn_rule {
#define X(name, bit, text) R_##name = BIT(bit),
	INSN_RULES(X)
#undef X
};

/* Which of the states that CR0, CR4 and XCR0 switch an instruction works on. */
enum insn_state { STATE_NONE, STATE_X87, STATE_MMX, STATE_SSE, STATE_AVX, STATE_AVX512 };

/* X(mnemonic, way, rules, features, function of cpu/, intercept of L2: SVM_I_*, NONE, or FN: a
 * function of svm/ decides) */
#define INSN_SYSTEM(X) \
	/* data transfer and control flow */ \
	X(MOV, MOV, R_LOCK, 0, exec_mov, FN) \
	X(PUSH, PUSH, 0, 0, exec_push, NONE) \
	X(POP, POP, 0, 0, exec_pop, NONE) \
	X(LEAVE, LEAVE, 0, 0, NULL, NONE) \
	X(LEA, LEA, 0, 0, NULL, NONE) \
	X(NOP, NOP, 0, 0, NULL, NONE) \
	X(LES, C, 0, 0, exec_load_far, NONE) \
	X(LDS, C, 0, 0, exec_load_far, NONE) \
	X(LSS, C, 0, 0, exec_load_far, NONE) \
	X(LFS, C, 0, 0, exec_load_far, NONE) \
	X(LGS, C, 0, 0, exec_load_far, NONE) \
	X(CALL, CALL, R_SELF | R_BRANCH, 0, exec_call, NONE) \
	X(JMP, JMP, R_SELF | R_BRANCH, 0, exec_jmp, NONE) \
	X(RET, RET, R_SELF | R_BRANCH, 0, exec_ret, NONE) \
	X(JB, JCC, R_BRANCH, 0, NULL, NONE) X(JBE, JCC, R_BRANCH, 0, NULL, NONE) \
	X(JL, JCC, R_BRANCH, 0, NULL, NONE) X(JLE, JCC, R_BRANCH, 0, NULL, NONE) \
	X(JNB, JCC, R_BRANCH, 0, NULL, NONE) X(JNBE, JCC, R_BRANCH, 0, NULL, NONE) \
	X(JNL, JCC, R_BRANCH, 0, NULL, NONE) X(JNLE, JCC, R_BRANCH, 0, NULL, NONE) \
	X(JNO, JCC, R_BRANCH, 0, NULL, NONE) X(JNP, JCC, R_BRANCH, 0, NULL, NONE) \
	X(JNS, JCC, R_BRANCH, 0, NULL, NONE) X(JNZ, JCC, R_BRANCH, 0, NULL, NONE) \
	X(JO, JCC, R_BRANCH, 0, NULL, NONE) X(JP, JCC, R_BRANCH, 0, NULL, NONE) \
	X(JS, JCC, R_BRANCH, 0, NULL, NONE) X(JZ, JCC, R_BRANCH, 0, NULL, NONE) \
	X(JCXZ, JCXZ, R_BRANCH, 0, NULL, NONE) X(JECXZ, JCXZ, R_BRANCH, 0, NULL, NONE) \
	X(JRCXZ, JCXZ, R_BRANCH, 0, NULL, NONE) \
	X(LOOP, LOOP, R_BRANCH, 0, NULL, NONE) X(LOOPE, LOOP, R_BRANCH, 0, NULL, NONE) \
	X(LOOPNE, LOOP, R_BRANCH, 0, NULL, NONE) \
	X(INT, C, R_SELF, 0, exec_int, FN) \
	X(INT1, C, R_SELF, 0, exec_int1, FN) \
	X(INT3, C, R_SELF, 0, exec_int3, FN) \
	X(INTO, C, R_SELF, 0, exec_into, FN) \
	X(IRET, C, R_SELF | R_BRANCH, 0, exec_iret, IRET) \
	X(IRETD, C, R_SELF | R_BRANCH, 0, exec_iret, IRET) \
	X(IRETQ, C, R_SELF | R_BRANCH, 0, exec_iret, IRET) \
	/* EFER.SCE decides, not the CPUID bit */ \
	X(SYSCALL, C, R_SELF | R_BRANCH, 0, exec_syscall, NONE) \
	X(SYSRET, C, R_SELF | R_BRANCH, 0, exec_sysret, NONE) \
	X(SYSENTER, C, R_SELF | R_BRANCH, NEED(SEP), exec_sysenter, NONE) \
	X(SYSEXIT, C, R_SELF | R_BRANCH, NEED(SEP), exec_sysexit, NONE) \
	/* flags */ \
	X(PUSHF, C, 0, 0, exec_pushf, PUSHF) \
	X(PUSHFD, C, 0, 0, exec_pushf, PUSHF) \
	X(PUSHFQ, PUSHF, 0, 0, exec_pushf, PUSHF) \
	X(POPF, C, 0, 0, exec_popf, POPF) \
	X(POPFD, C, 0, 0, exec_popf, POPF) \
	X(POPFQ, C, 0, 0, exec_popf, POPF) \
	X(CLI, CLI, 0, 0, exec_cli, NONE) \
	X(STI, STI, 0, 0, exec_sti, NONE) \
	X(CLD, C, 0, 0, exec_cld, NONE) \
	X(STD, C, 0, 0, exec_std, NONE) \
	X(CLAC, C, R_UD_CPL, NEED(SMAP), exec_clac, NONE) \
	X(STAC, C, R_UD_CPL, NEED(SMAP), exec_stac, NONE) \
	/* control registers and descriptor tables */ \
	X(CLTS, C, R_CPL0, 0, exec_clts, FN) \
	X(LMSW, C, R_CPL0, 0, exec_lmsw, FN) \
	X(SMSW, C, R_UMIP, 0, exec_smsw, CR_READ) \
	X(LGDT, C, R_CPL0, 0, exec_lgdt, LGDT) \
	X(LIDT, C, R_CPL0, 0, exec_lidt, LIDT) \
	X(SGDT, C, R_UMIP, 0, exec_sgdt, SGDT) \
	X(SIDT, C, R_UMIP, 0, exec_sidt, SIDT) \
	X(LLDT, C, R_PROT | R_CPL0, 0, exec_lldt, LLDT) \
	X(LTR, C, R_PROT | R_CPL0, 0, exec_ltr, LTR) \
	X(SLDT, C, R_PROT | R_UMIP, 0, exec_sldt, SLDT) \
	X(STR, C, R_PROT | R_UMIP, 0, exec_str, STR) \
	X(LAR, C, R_PROT, 0, exec_lar, NONE) \
	X(LSL, C, R_PROT, 0, exec_lsl, NONE) \
	X(VERR, C, R_PROT, 0, exec_verr, NONE) \
	X(VERW, C, R_PROT, 0, exec_verw, NONE) \
	/* the rest of the system instructions */ \
	X(HLT, C, R_CPL0 | R_SELF | R_LEAVES, 0, exec_hlt, HLT) \
	X(CPUID, C, 0, 0, exec_cpuid, CPUID) \
	X(RDMSR, MSR, R_CPL0, NEED(MSR), exec_rdmsr, FN) \
	X(WRMSR, MSR, R_CPL0, NEED(MSR), exec_wrmsr, FN) \
	X(RDTSC, C, R_TSD, NEED(TSC), exec_rdtsc, RDTSC) \
	X(RDTSCP, C, R_TSD, NEED(RDTSCP), exec_rdtscp, RDTSCP) \
	X(RDPMC, C, 0, 0, exec_rdpmc, FN) \
	X(RDPID, C, 0, NEED(RDPID), exec_rdpid, NONE) \
	X(RDPKRU, C, 0, NEED(PKU), exec_pkru, NONE) \
	X(WRPKRU, C, 0, NEED(PKU), exec_pkru, NONE) \
	X(INVLPG, C, R_CPL0, 0, exec_invlpg, FN) \
	X(INVPCID, C, R_CPL0, NEED(INVPCID), exec_invpcid, FN) \
	X(INVD, C, R_CPL0 | R_SELF, 0, exec_cache, INVD) \
	X(WBINVD, C, R_CPL0 | R_SELF, 0, exec_cache, WBINVD) \
	X(SWAPGS, SWAPGS, R_CPL0, 0, exec_swapgs, NONE) \
	X(RDFSBASE, C, 0, NEED(FSGSBASE), exec_fsgsbase, NONE) \
	X(RDGSBASE, C, 0, NEED(FSGSBASE), exec_fsgsbase, NONE) \
	X(WRFSBASE, C, 0, NEED(FSGSBASE), exec_fsgsbase, NONE) \
	X(WRGSBASE, C, 0, NEED(FSGSBASE), exec_fsgsbase, NONE) \
	X(PAUSE, C, R_SELF, 0, exec_pause, FN) \
	/* no-ops whatever CPUID says, as KVM makes them */ \
	X(MONITOR, C, R_UD_CPL | R_SELF, 0, exec_mwait, MONITOR) \
	X(MWAIT, C, R_UD_CPL | R_SELF, 0, exec_mwait, MWAIT) \
	X(VMCALL, C, R_SELF | R_LEAVES, 0, exec_hypercall, FN) \
	X(VMMCALL, C, R_SELF | R_LEAVES, 0, exec_hypercall, VMMCALL) \
	X(VMRUN, C, R_SELF | R_LEAVES, NEED(SVM), exec_svm, NONE) \
	X(VMLOAD, C, R_SELF, NEED(SVM), exec_svm, NONE) \
	X(VMSAVE, C, R_SELF, NEED(SVM), exec_svm, NONE) \
	X(STGI, C, R_SELF, NEED(SVM), exec_svm, NONE) \
	X(CLGI, C, R_SELF, NEED(SVM), exec_svm, NONE) \
	X(SKINIT, C, R_SELF, NEED(SVM), exec_svm, NONE) \
	X(INVLPGA, C, R_SELF, NEED(SVM), exec_svm, NONE) \
	X(RSM, C, R_SELF | R_LEAVES, 0, exec_rsm, RSM) \
	/* strings and port I/O */ \
	X(MOVSB, STRING, R_SELF, 0, exec_string, NONE) \
	X(MOVSW, STRING, R_SELF, 0, exec_string, NONE) \
	X(MOVSD, STRING, R_SELF, 0, exec_string, NONE) \
	X(MOVSQ, STRING, R_SELF, 0, exec_string, NONE) \
	X(STOSB, STRING, R_SELF, 0, exec_string, NONE) \
	X(STOSW, STRING, R_SELF, 0, exec_string, NONE) \
	X(STOSD, STRING, R_SELF, 0, exec_string, NONE) \
	X(STOSQ, STRING, R_SELF, 0, exec_string, NONE) \
	X(LODSB, STRING, R_SELF, 0, exec_string, NONE) \
	X(LODSW, STRING, R_SELF, 0, exec_string, NONE) \
	X(LODSD, STRING, R_SELF, 0, exec_string, NONE) \
	X(LODSQ, STRING, R_SELF, 0, exec_string, NONE) \
	X(CMPSB, STRING, R_SELF, 0, exec_string, NONE) \
	X(CMPSW, STRING, R_SELF, 0, exec_string, NONE) \
	X(CMPSD, STRING, R_SELF, 0, exec_string, NONE) \
	X(CMPSQ, STRING, R_SELF, 0, exec_string, NONE) \
	X(SCASB, STRING, R_SELF, 0, exec_string, NONE) \
	X(SCASW, STRING, R_SELF, 0, exec_string, NONE) \
	X(SCASD, STRING, R_SELF, 0, exec_string, NONE) \
	X(SCASQ, STRING, R_SELF, 0, exec_string, NONE) \
	X(IN, C, R_SELF | R_LEAVES, 0, cpu_exec_io, FN) \
	X(OUT, C, R_SELF | R_LEAVES, 0, cpu_exec_io, FN) \
	X(INSB, C, R_SELF | R_LEAVES, 0, cpu_exec_io, FN) \
	X(INSW, C, R_SELF | R_LEAVES, 0, cpu_exec_io, FN) \
	X(INSD, C, R_SELF | R_LEAVES, 0, cpu_exec_io, FN) \
	X(OUTSB, C, R_SELF | R_LEAVES, 0, cpu_exec_io, FN) \
	X(OUTSW, C, R_SELF | R_LEAVES, 0, cpu_exec_io, FN) \
	X(OUTSD, C, R_SELF | R_LEAVES, 0, cpu_exec_io, FN) \
	/* extended state; the functions look at CR0, CR4 and XCR0 */ \
	X(FXSAVE, C, R_SELF, NEED(FXSR), cpu_exec_xsave, NONE) \
	X(FXSAVE64, C, R_SELF, NEED(FXSR), cpu_exec_xsave, NONE) \
	X(FXRSTOR, C, R_SELF, NEED(FXSR), cpu_exec_xsave, NONE) \
	X(FXRSTOR64, C, R_SELF, NEED(FXSR), cpu_exec_xsave, NONE) \
	X(XSAVE, C, R_SELF, NEED(XSAVE), cpu_exec_xsave, NONE) \
	X(XSAVE64, C, R_SELF, NEED(XSAVE), cpu_exec_xsave, NONE) \
	X(XSAVEOPT, C, R_SELF, NEED(XSAVEOPT), cpu_exec_xsave, NONE) \
	X(XSAVEOPT64, C, R_SELF, NEED(XSAVEOPT), cpu_exec_xsave, NONE) \
	X(XSAVEC, C, R_SELF, NEED(XSAVEC), cpu_exec_xsave, NONE) \
	X(XSAVEC64, C, R_SELF, NEED(XSAVEC), cpu_exec_xsave, NONE) \
	X(XSAVES, C, R_SELF, NEED(XSAVES), cpu_exec_xsave, NONE) \
	X(XSAVES64, C, R_SELF, NEED(XSAVES), cpu_exec_xsave, NONE) \
	X(XRSTORS, C, R_SELF, NEED(XSAVES), cpu_exec_xsave, NONE) \
	X(XRSTORS64, C, R_SELF, NEED(XSAVES), cpu_exec_xsave, NONE) \
	X(XRSTOR, C, R_SELF, NEED(XSAVE), cpu_exec_xsave, NONE) \
	X(XRSTOR64, C, R_SELF, NEED(XSAVE), cpu_exec_xsave, NONE) \
	X(XGETBV, C, R_SELF, NEED(XSAVE), cpu_exec_xsave, NONE) \
	X(XSETBV, C, R_SELF, NEED(XSAVE), cpu_exec_xsave, FN) \
	/* outside 64-bit mode, mostly */ \
	X(AAA, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(AAS, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(DAA, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(DAS, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(AAM, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(AAD, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(PUSHA, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(PUSHAD, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(POPA, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(POPAD, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(BOUND, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(ENTER, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(ARPL, C, R_SELF | R_PROT, 0, cpu_exec_legacy, NONE) \
	X(SALC, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	X(XLAT, C, R_SELF, 0, cpu_exec_legacy, NONE) \
	/* hints and caches */ \
	X(PREFETCH, NOP, 0, 0, NULL, NONE) \
	X(PREFETCHW, NOP, 0, 0, NULL, NONE) \
	X(PREFETCHWT1, NOP, 0, 0, NULL, NONE) \
	X(PREFETCHNTA, NOP, 0, 0, NULL, NONE) \
	X(PREFETCHT0, NOP, 0, 0, NULL, NONE) \
	X(PREFETCHT1, NOP, 0, 0, NULL, NONE) \
	X(PREFETCHT2, NOP, 0, 0, NULL, NONE) \
	X(CLFLUSH, FLUSH, 0, NEED(CLFLUSH), NULL, NONE) \
	X(CLFLUSHOPT, FLUSH, 0, NEED(CLFLUSHOPT), NULL, NONE) \
	X(CLWB, FLUSH, 0, NEED(CLWB), NULL, NONE) \
	X(CLZERO, C, R_SELF, NEED(CLZERO), exec_clzero, NONE) \
	/* the elements that a mask chooses: an operand of its own kind */ \
	X(MASKMOVQ, SLOW, R_FAULTS, 0, NULL, NONE) \
	X(MASKMOVDQU, SLOW, 0, 0, NULL, NONE) \
	X(VMASKMOVDQU, SLOW, 0, 0, NULL, NONE) \
	/* an address for each element */ \
	X(VGATHERDPS, SLOW, 0, 0, NULL, NONE) X(VGATHERDPD, SLOW, 0, 0, NULL, NONE) \
	X(VGATHERQPS, SLOW, 0, 0, NULL, NONE) X(VGATHERQPD, SLOW, 0, 0, NULL, NONE) \
	X(VPGATHERDD, SLOW, 0, 0, NULL, NONE) X(VPGATHERDQ, SLOW, 0, 0, NULL, NONE) \
	X(VPGATHERQD, SLOW, 0, 0, NULL, NONE) X(VPGATHERQQ, SLOW, 0, 0, NULL, NONE) \
	X(VSCATTERDPS, SLOW, 0, 0, NULL, NONE) X(VSCATTERDPD, SLOW, 0, 0, NULL, NONE) \
	X(VSCATTERQPS, SLOW, 0, 0, NULL, NONE) X(VSCATTERQPD, SLOW, 0, 0, NULL, NONE) \
	X(VPSCATTERDD, SLOW, 0, 0, NULL, NONE) X(VPSCATTERDQ, SLOW, 0, 0, NULL, NONE) \
	X(VPSCATTERQD, SLOW, 0, 0, NULL, NONE) X(VPSCATTERQQ, SLOW, 0, 0, NULL, NONE)

/* X(mnemonic, rules, features) */
#define INSN_HOST(X) \
	X(ADD, R_LOCK, 0) X(OR, R_LOCK, 0) X(ADC, R_LOCK, 0) X(SBB, R_LOCK, 0) X(AND, R_LOCK, 0) \
	X(SUB, R_LOCK, 0) X(XOR, R_LOCK, 0) X(INC, R_LOCK, 0) X(DEC, R_LOCK, 0) X(NEG, R_LOCK, 0) \
	X(NOT, R_LOCK, 0) X(BTC, R_LOCK, 0) X(BTR, R_LOCK, 0) X(BTS, R_LOCK, 0) X(XADD, R_LOCK, 0) \
	X(XCHG, R_LOCK, 0) X(CMPXCHG, R_LOCK, 0) X(CMPXCHG8B, R_LOCK, NEED(CX8)) \
	X(CMPXCHG16B, R_LOCK, NEED(CX16)) \
	X(CMP, 0, 0) X(TEST, 0, 0) X(BT, 0, 0) X(BSF, 0, 0) X(BSR, 0, 0) X(BSWAP, 0, 0) \
	X(MUL, 0, 0) X(IMUL, 0, 0) X(DIV, R_FAULTS, 0) X(IDIV, R_FAULTS, 0) \
	X(SHL, R_COUNT, 0) X(SHR, R_COUNT, 0) X(SAR, R_COUNT, 0) X(SHLD, R_COUNT, 0) \
	X(SHRD, R_COUNT, 0) X(ROL, R_COUNT, 0) X(ROR, R_COUNT, 0) X(RCL, R_COUNT, 0) \
	X(RCR, R_COUNT, 0) \
	X(MOVSX, 0, 0) X(MOVZX, 0, 0) X(MOVSXD, 0, 0) \
	X(CBW, 0, 0) X(CWDE, 0, 0) X(CDQE, 0, 0) X(CWD, 0, 0) X(CDQ, 0, 0) X(CQO, 0, 0) \
	X(CLC, 0, 0) X(STC, 0, 0) X(CMC, 0, 0) \
	X(LAHF, R_LM_BIT, NEED(LAHF_LM)) X(SAHF, R_LM_BIT, NEED(LAHF_LM)) \
	X(SETB, 0, 0) X(SETBE, 0, 0) X(SETL, 0, 0) X(SETLE, 0, 0) X(SETNB, 0, 0) X(SETNBE, 0, 0) \
	X(SETNL, 0, 0) X(SETNLE, 0, 0) X(SETNO, 0, 0) X(SETNP, 0, 0) X(SETNS, 0, 0) X(SETNZ, 0, 0) \
	X(SETO, 0, 0) X(SETP, 0, 0) X(SETS, 0, 0) X(SETZ, 0, 0) \
	X(LFENCE, R_STATELESS, 0) X(MFENCE, R_STATELESS, 0) X(SFENCE, R_STATELESS, 0) \
	X(MOVNTI, R_STATELESS, 0) X(CRC32, R_STATELESS, 0) \
	X(LZCNT, R_OLDER, NEED(LZCNT)) X(TZCNT, R_OLDER, NEED(BMI1)) \
	/* What of their sets the rules of the set do not fit. */ \
	X(FST, R_FAULTS | R_SKIPS, 0) X(FSTP, R_FAULTS | R_SKIPS, 0) \
	X(FIST, R_FAULTS | R_SKIPS, 0) X(FISTP, R_FAULTS | R_SKIPS, 0) \
	X(FISTTP, R_FAULTS | R_SKIPS, 0) X(FBSTP, R_FAULTS | R_SKIPS, 0) \
	X(FNSTCW, R_FAULTS, 0) X(FNSTSW, R_FAULTS, 0) X(FNSTENV, R_FAULTS, 0) \
	X(FNSAVE, R_FAULTS, 0) \
	X(LDMXCSR, R_FAULTS, 0) X(VLDMXCSR, R_FAULTS, 0)

/*
 * X(set, way, state, rules, features). R_FAULTS of SSE and AVX is the instruction's own: its
 * exception class says whether it calculates in floating point.
 */
#define INSN_SETS(X) \
	X(X87, HOST, X87, R_FAULTS, NEED(FPU)) \
	X(FCMOV, HOST, X87, R_FAULTS, NEED(FPU) | NEED(CMOV)) \
	X(SSE3X87, HOST, X87, R_FAULTS, NEED(SSE3)) \
	X(CMOV, HOST, NONE, 0, NEED(CMOV)) \
	X(PENTIUMMMX, HOST, MMX, R_FAULTS, NEED(MMX)) \
	X(SSE2MMX, HOST, MMX, R_FAULTS, NEED(SSE2)) \
	X(SSSE3MMX, HOST, MMX, R_FAULTS, NEED(SSSE3)) \
	X(SSE, HOST, SSE, 0, NEED(SSE)) \
	X(SSEMXCSR, HOST, SSE, 0, NEED(SSE)) \
	X(SSE2, HOST, SSE, 0, NEED(SSE2)) \
	X(SSE3, HOST, SSE, 0, NEED(SSE3)) \
	X(SSSE3, HOST, SSE, 0, NEED(SSSE3)) \
	X(SSE4, HOST, SSE, 0, NEED(SSE4_1)) \
	X(SSE42, HOST, SSE, 0, NEED(SSE4_2)) \
	X(SSE4A, HOST, SSE, 0, NEED(SSE4A)) \
	X(AES, HOST, SSE, 0, NEED(AES)) \
	X(PCLMULQDQ, HOST, SSE, 0, NEED(PCLMULQDQ)) \
	X(SHA, HOST, SSE, 0, NEED(SHA)) \
	X(GFNI, HOST, SSE, 0, NEED(GFNI)) \
	X(AVX, HOST, AVX, 0, NEED(AVX)) \
	X(AVXAES, HOST, AVX, 0, NEED(AVX) | NEED(AES)) \
	X(AVX_GFNI, HOST, AVX, 0, NEED(AVX) | NEED(GFNI)) \
	X(VAES, HOST, AVX, 0, NEED(VAES)) \
	X(VPCLMULQDQ, HOST, AVX, 0, NEED(VPCLMULQDQ)) \
	X(AVX2, HOST, AVX, 0, NEED(AVX2)) \
	X(AVX2GATHER, SLOW, AVX, 0, NEED(AVX2)) \
	X(F16C, HOST, AVX, 0, NEED(F16C)) \
	/* 128 and 256 bits want VL; the low part of a vector (128N), scalars and masks do not */ \
	X(AVX512F_128, HOST, AVX512, 0, NEED(AVX512F) | NEED(AVX512VL)) \
	X(AVX512F_256, HOST, AVX512, 0, NEED(AVX512F) | NEED(AVX512VL)) \
	X(AVX512F_512, HOST, AVX512, 0, NEED(AVX512F)) \
	X(AVX512F_128N, HOST, AVX512, 0, NEED(AVX512F)) \
	X(AVX512F_SCALAR, HOST, AVX512, 0, NEED(AVX512F)) \
	X(AVX512F_KOP, HOST, AVX512, 0, NEED(AVX512F)) \
	X(AVX512CD_128, HOST, AVX512, 0, NEED(AVX512CD) | NEED(AVX512VL)) \
	X(AVX512CD_256, HOST, AVX512, 0, NEED(AVX512CD) | NEED(AVX512VL)) \
	X(AVX512CD_512, HOST, AVX512, 0, NEED(AVX512CD)) \
	X(AVX512DQ_128, HOST, AVX512, 0, NEED(AVX512DQ) | NEED(AVX512VL)) \
	X(AVX512DQ_256, HOST, AVX512, 0, NEED(AVX512DQ) | NEED(AVX512VL)) \
	X(AVX512DQ_512, HOST, AVX512, 0, NEED(AVX512DQ)) \
	X(AVX512DQ_128N, HOST, AVX512, 0, NEED(AVX512DQ)) \
	X(AVX512DQ_SCALAR, HOST, AVX512, 0, NEED(AVX512DQ)) \
	X(AVX512DQ_KOP, HOST, AVX512, 0, NEED(AVX512DQ)) \
	X(AVX512BW_128, HOST, AVX512, 0, NEED(AVX512BW) | NEED(AVX512VL)) \
	X(AVX512BW_256, HOST, AVX512, 0, NEED(AVX512BW) | NEED(AVX512VL)) \
	X(AVX512BW_512, HOST, AVX512, 0, NEED(AVX512BW)) \
	X(AVX512BW_128N, HOST, AVX512, 0, NEED(AVX512BW)) \
	X(AVX512BW_KOP, HOST, AVX512, 0, NEED(AVX512BW)) \
	X(AVX512_IFMA_128, HOST, AVX512, 0, NEED(AVX512_IFMA) | NEED(AVX512VL)) \
	X(AVX512_IFMA_256, HOST, AVX512, 0, NEED(AVX512_IFMA) | NEED(AVX512VL)) \
	X(AVX512_IFMA_512, HOST, AVX512, 0, NEED(AVX512_IFMA)) \
	X(AVX512_VBMI_128, HOST, AVX512, 0, NEED(AVX512_VBMI) | NEED(AVX512VL)) \
	X(AVX512_VBMI_256, HOST, AVX512, 0, NEED(AVX512_VBMI) | NEED(AVX512VL)) \
	X(AVX512_VBMI_512, HOST, AVX512, 0, NEED(AVX512_VBMI)) \
	X(AVX512_VBMI2_128, HOST, AVX512, 0, NEED(AVX512_VBMI2) | NEED(AVX512VL)) \
	X(AVX512_VBMI2_256, HOST, AVX512, 0, NEED(AVX512_VBMI2) | NEED(AVX512VL)) \
	X(AVX512_VBMI2_512, HOST, AVX512, 0, NEED(AVX512_VBMI2)) \
	X(AVX512_VNNI_128, HOST, AVX512, 0, NEED(AVX512_VNNI) | NEED(AVX512VL)) \
	X(AVX512_VNNI_256, HOST, AVX512, 0, NEED(AVX512_VNNI) | NEED(AVX512VL)) \
	X(AVX512_VNNI_512, HOST, AVX512, 0, NEED(AVX512_VNNI)) \
	X(AVX512_BITALG_128, HOST, AVX512, 0, NEED(AVX512_BITALG) | NEED(AVX512VL)) \
	X(AVX512_BITALG_256, HOST, AVX512, 0, NEED(AVX512_BITALG) | NEED(AVX512VL)) \
	X(AVX512_BITALG_512, HOST, AVX512, 0, NEED(AVX512_BITALG)) \
	X(AVX512_VPOPCNTDQ_128, HOST, AVX512, 0, NEED(AVX512_VPOPCNTDQ) | NEED(AVX512VL)) \
	X(AVX512_VPOPCNTDQ_256, HOST, AVX512, 0, NEED(AVX512_VPOPCNTDQ) | NEED(AVX512VL)) \
	X(AVX512_VPOPCNTDQ_512, HOST, AVX512, 0, NEED(AVX512_VPOPCNTDQ)) \
	X(AVX512_BF16_128, HOST, AVX512, 0, NEED(AVX512_BF16) | NEED(AVX512VL)) \
	X(AVX512_BF16_256, HOST, AVX512, 0, NEED(AVX512_BF16) | NEED(AVX512VL)) \
	X(AVX512_BF16_512, HOST, AVX512, 0, NEED(AVX512_BF16)) \
	X(AVX512_GFNI_128, HOST, AVX512, 0, NEED(AVX512F) | NEED(GFNI) | NEED(AVX512VL)) \
	X(AVX512_GFNI_256, HOST, AVX512, 0, NEED(AVX512F) | NEED(GFNI) | NEED(AVX512VL)) \
	X(AVX512_GFNI_512, HOST, AVX512, 0, NEED(AVX512F) | NEED(GFNI)) \
	X(AVX512_VAES_128, HOST, AVX512, 0, NEED(AVX512F) | NEED(VAES) | NEED(AVX512VL)) \
	X(AVX512_VAES_256, HOST, AVX512, 0, NEED(AVX512F) | NEED(VAES) | NEED(AVX512VL)) \
	X(AVX512_VAES_512, HOST, AVX512, 0, NEED(AVX512F) | NEED(VAES)) \
	X(AVX512_VPCLMULQDQ_128, HOST, AVX512, 0, \
	  NEED(AVX512F) | NEED(VPCLMULQDQ) | NEED(AVX512VL)) \
	X(AVX512_VPCLMULQDQ_256, HOST, AVX512, 0, \
	  NEED(AVX512F) | NEED(VPCLMULQDQ) | NEED(AVX512VL)) \
	X(AVX512_VPCLMULQDQ_512, HOST, AVX512, 0, NEED(AVX512F) | NEED(VPCLMULQDQ)) \
	X(FMA, HOST, AVX, 0, NEED(FMA)) \
	X(BMI1, HOST, NONE, 0, NEED(BMI1)) \
	X(BMI2, HOST, NONE, 0, NEED(BMI2)) \
	X(ADOX_ADCX, HOST, NONE, 0, NEED(ADX)) \
	X(MOVBE, HOST, NONE, 0, NEED(MOVBE)) \
	X(POPCNT, HOST, NONE, 0, NEED(POPCNT)) \
	X(RDRAND, HOST, NONE, 0, NEED(RDRAND)) \
	X(RDSEED, HOST, NONE, 0, NEED(RDSEED))

struct insn_row {
	u8 way;		/* enum insn_way */
	u8 state;	/* enum insn_state */
	u16 rules;	/* enum insn_rule */
	u64 features;	/* all of them; NEED() */
};

extern const struct insn_row insn_rows[ZYDIS_MNEMONIC_MAX_VALUE + 1];
extern const struct insn_row insn_sets[ZYDIS_ISA_SET_MAX_VALUE + 1];

static inline bool insn_is_branch(const struct insn *in)
{
	return insn_rows[in->mnemonic].rules & R_BRANCH;
}

/* What the table says of an instruction; way REFUSED if nothing. */
struct insn_row insn_row(const ZydisDecodedInstruction *zi);

#endif
