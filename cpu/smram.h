/* SPDX-License-Identifier: MIT */
/*
 * cpu/smram.h - the save-state area of SMM: where it keeps what (APM2 10.2.3, table 10-1), and from
 * there back into the CPU (APM2 10.3.3). Pure functions of a copy: nothing here reads guest memory.
 *
 * A CPU with long mode has the AMD64 map; one without the older map of 32 bits, in the layout
 * that KVM has for it. Rows are in ascending order; what is not named is zero.
 */
#ifndef CPU_SMRAM_H
#define CPU_SMRAM_H

#include "engine/cpu.h"

#define SMRAM_AT 0xfe00u	/* from SMBASE on ... */
#define SMRAM_BYTES 512u	/* ... to its 64 KiB's end */
#define SMM_ENTRY 0x8000u	/* where the handler begins, from SMBASE on */
#define SMM_REVISION 0x20000u	/* SMBASE can be relocated; no restart of I/O instructions */

/*
 * X_SEG(offset, register) selector, attributes, limit, base: 2, 2, 4, 8 bytes
 * X_DTR(offset, field)	   the same of GDTR and IDTR, limit and base only
 * X(offset, bytes, field) of struct smram
 */
#define SMRAM_64(X, X_SEG, X_DTR) \
	X_SEG(0xfe00, S_ES) \
	X_SEG(0xfe10, S_CS) \
	X_SEG(0xfe20, S_SS) \
	X_SEG(0xfe30, S_DS) \
	X_SEG(0xfe40, S_FS) \
	X_SEG(0xfe50, S_GS) \
	X_DTR(0xfe60, gdtr) \
	X_SEG(0xfe70, S_LDTR) \
	X_DTR(0xfe80, idtr) \
	X_SEG(0xfe90, S_TR) \
	X(0xfec9, 1, halt_restart) \
	X(0xfecb, 1, shadow)	/* KVM's: an interrupt shadow */ \
	X(0xfed0, 8, efer) \
	X(0xfed8, 8, guest)	/* the SMI came in SVM guest mode ... */ \
	X(0xfee0, 8, vmcb)	/* ... of this VMCB */ \
	X(0xfefc, 4, revision) \
	X(0xff00, 4, smbase) \
	X(0xff48, 8, cr4) \
	X(0xff50, 8, cr3) \
	X(0xff58, 8, cr0) \
	X(0xff60, 8, dr7) \
	X(0xff68, 8, dr6) \
	X(0xff70, 8, rflags) \
	X(0xff78, 8, rip) \
	X(0xff80, 8, gpr[R_R15]) \
	X(0xff88, 8, gpr[R_R14]) \
	X(0xff90, 8, gpr[R_R13]) \
	X(0xff98, 8, gpr[R_R12]) \
	X(0xffa0, 8, gpr[R_R11]) \
	X(0xffa8, 8, gpr[R_R10]) \
	X(0xffb0, 8, gpr[R_R9]) \
	X(0xffb8, 8, gpr[R_R8]) \
	X(0xffc0, 8, gpr[R_RDI]) \
	X(0xffc8, 8, gpr[R_RSI]) \
	X(0xffd0, 8, gpr[R_RBP]) \
	X(0xffd8, 8, gpr[R_RSP]) \
	X(0xffe0, 8, gpr[R_RBX]) \
	X(0xffe8, 8, gpr[R_RDX]) \
	X(0xfff0, 8, gpr[R_RCX]) \
	X(0xfff8, 8, gpr[R_RAX])

/*
 * X_SEG(offset, register, offset of the selector) attributes as in a descriptor's second word,
 *			   limit, base: 4 bytes each
 */
#define SMRAM_32(X, X_SEG, X_DTR) \
	X(0xfef8, 4, smbase) \
	X(0xfefc, 4, revision) \
	X(0xff02, 2, halt_restart) \
	X(0xff14, 4, cr4) \
	X(0xff1a, 1, shadow) \
	X_SEG(0xff2c, S_DS, 0xffb4) \
	X_SEG(0xff38, S_FS, 0xffb8) \
	X_SEG(0xff44, S_GS, 0xffbc) \
	X_DTR(0xff50, idtr) \
	X_SEG(0xff5c, S_TR, 0xffc4) \
	X_DTR(0xff6c, gdtr) \
	X_SEG(0xff78, S_LDTR, 0xffc0) \
	X_SEG(0xff84, S_ES, 0xffa8) \
	X_SEG(0xff90, S_CS, 0xffac) \
	X_SEG(0xff9c, S_SS, 0xffb0) \
	X(0xffc8, 4, dr7) \
	X(0xffcc, 4, dr6) \
	X(0xffd0, 4, gpr[R_RAX]) \
	X(0xffd4, 4, gpr[R_RCX]) \
	X(0xffd8, 4, gpr[R_RDX]) \
	X(0xffdc, 4, gpr[R_RBX]) \
	X(0xffe0, 4, gpr[R_RSP]) \
	X(0xffe4, 4, gpr[R_RBP]) \
	X(0xffe8, 4, gpr[R_RSI]) \
	X(0xffec, 4, gpr[R_RDI]) \
	X(0xfff0, 4, rip) \
	X(0xfff4, 4, rflags) \
	X(0xfff8, 4, cr3) \
	X(0xfffc, 4, cr0)

/* What either map holds. */
struct smram {
	u64 gpr[16], rip, rflags, dr6, dr7, cr0, cr3, cr4, efer;
	u64 guest, vmcb;
	struct cpu_seg seg[S_COUNT];
	struct cpu_dtr gdtr, idtr;
	u32 smbase, revision;
	u16 halt_restart;
	u8 shadow;	/* SMRAM_SHADOW_* */
};
enum { SMRAM_SHADOW_SS = 1, SMRAM_SHADOW_STI = 2 };

void smram_encode(const struct smram *s, bool lm, u8 map[SMRAM_BYTES]);
void smram_decode(struct smram *s, bool lm, const u8 map[SMRAM_BYTES]);

/* The CPU's part of it. */
void smram_take(const struct cpu *c, struct smram *s);
/* The registers as the handler finds them (APM2 10.2.4); what is not named there stays. */
void cpu_enter_smm(struct cpu *c, u64 smbase);
/*
 * RSM's loading of registers, with its checks. False: shutdown; what has been loaded until then
 * stays. In guest mode or not, and in the address space, that the registers are for.
 */
bool cpu_leave_smm(struct cpu *c, const struct smram *s, bool lm);

#endif
