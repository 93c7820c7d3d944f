/* SPDX-License-Identifier: MIT */
/*
 * vcpu/emulable.c - which instructions KVM's emulator knows. An access to a device makes KVM
 * emulate the instruction, and it has no x87 arithmetic, no SSE arithmetic, no BMI. Such an
 * access would work here, but a program that relies on it would not work on KVM, and one that
 * relies on the failure (KVM_CAP_EXIT_ON_EMULATION_FAILURE) would not work here.
 *
 * Vector moves by VEX are in: newer kernels have them.
 */
#include <Zydis/Zydis.h>

#include "vcpu/vcpu_priv.h"

/* Opcodes of map 0F that are known whatever their prefix is, as 16 rows of bits. */
static const u16 map_0f[16] = {
	[0x0] = BIT(0x0) | BIT(0x1) | BIT(0xd),		/* SLDT.. LMSW, PREFETCHW */
	[0x1] = BIT(0x8) | BIT(0xd) | BIT(0xf) | 0xff00,	/* prefetches, hints */
	[0x4] = 0xffff,					/* CMOVcc */
	[0x9] = 0xffff,					/* SETcc */
	[0xa] = BIT(0x3) | BIT(0x4) | BIT(0x5) | BIT(0xb) | BIT(0xc) | BIT(0xd) | BIT(0xf),
	[0xb] = 0xffff & ~(BIT(0x8) | BIT(0x9)),	/* all but POPCNT, UD1 */
	[0xc] = BIT(0x0) | BIT(0x1) | BIT(0x3),		/* XADD, MOVNTI */
};

static bool sse_move(const struct insn *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVAPS:
	case ZYDIS_MNEMONIC_MOVAPD: case ZYDIS_MNEMONIC_MOVDQA: case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_MOVNTPS: case ZYDIS_MNEMONIC_MOVNTPD: case ZYDIS_MNEMONIC_MOVNTDQ:
	case ZYDIS_MNEMONIC_MOVNTDQA: case ZYDIS_MNEMONIC_MOVQ: case ZYDIS_MNEMONIC_MOVNTQ:
	case ZYDIS_MNEMONIC_VMOVUPS: case ZYDIS_MNEMONIC_VMOVUPD: case ZYDIS_MNEMONIC_VMOVAPS:
	case ZYDIS_MNEMONIC_VMOVAPD: case ZYDIS_MNEMONIC_VMOVDQA: case ZYDIS_MNEMONIC_VMOVDQU:
	case ZYDIS_MNEMONIC_VMOVNTPS: case ZYDIS_MNEMONIC_VMOVNTPD: case ZYDIS_MNEMONIC_VMOVNTDQ:
	case ZYDIS_MNEMONIC_VMOVNTDQA:
		return true;
	default:
		return false;
	}
}

bool insn_emulable(const struct insn *in)
{
	if (sse_move(in))
		return true;
	switch (in->map) {
	case 0:
		if (in->opcode < 0xd8 || in->opcode > 0xdf)
			return true;
		return in->mnemonic == ZYDIS_MNEMONIC_FNSTCW ||
		       in->mnemonic == ZYDIS_MNEMONIC_FNSTSW;
	case 1:
		if (in->opcode == 0xae)		/* FXSAVE FXRSTOR CLFLUSH */
			return (in->reg & 7) < 2 || (in->reg & 7) == 7;
		if (in->opcode == 0xc7)
			return in->mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B;
		return map_0f[in->opcode >> 4] & BIT(in->opcode & 15);
	case 2:
		return in->mnemonic == ZYDIS_MNEMONIC_MOVBE;
	default:
		return false;
	}
}
