/* SPDX-License-Identifier: MIT */
/* svm/intercept_io.c - port and MSR intercepts and their permission maps (APM2 15.10, 15.11). */
#include "cpu/access.h"
#include "svm/svm_priv.h"

/* Two bytes of a permission map; a map that is not memory permits nothing. */
static u32 map_bits(const struct cpu *c, u64 gpa, u32 n)
{
	u32 bits = 0;

	for (u32 i = 0; i < n; i++) {
		const struct phys_slot *s = phys_find(c->phys, gpa + i);

		bits |= (u32)(s ? s->hva[gpa + i - s->gpa] : 0xff) << (8 * i);
	}
	return bits;
}

/* APM2 15.10.1: one bit a port; ports beyond 0xffff are in the third page. */
bool svm_io_intercepted(const struct cpu *c, u16 port, u32 size)
{
	const struct vmcb_control *ctl = &c->svm->ctl;

	if (!vmcb_intercepts(ctl, SVM_I_IOIO))
		return false;
	return map_bits(c, ctl->iopm + port / 8, (port & 7) + size > 8 ? 2 : 1) >> (port & 7) &
	       ((1u << size) - 1);
}

bool svm_msr_intercepted(const struct cpu *c, u32 msr, bool write)
{
	const struct vmcb_control *ctl = &c->svm->ctl;
	s32 bit;

	if (!vmcb_intercepts(ctl, SVM_I_MSR))
		return false;
	bit = svm_msrpm_bit(msr);
	if (bit < 0)
		return true;
	bit += write;
	if (unlikely(c->svm->msrpm_own))
		return c->svm->msrpm[bit / 8] >> (bit & 7) & 1;
	return map_bits(c, ctl->msrpm + (u32)bit / 8, 1) >> (bit & 7) & 1;
}

bool svm_intercept_msr(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	bool write = in->opcode == 0x30;

	if (!svm_msr_intercepted(c, (u32)c->gpr[R_RCX], write))
		return false;
	*res = svm_vmexit_insn(c, in, SVM_EXIT_MSR, write, 0);
	return true;
}

/* EXITINFO1 (APM2 15.10.2). */
static u64 io_info(const struct insn *in, u16 port, u32 size, bool str)
{
	u64 info = (u64)port << 16;

	info |= in->opcode & 2 ? 0 : BIT(0);
	if (str) {
		info |= BIT(2);
		if (in->prefixes & (PFX_REP | PFX_REPNE))
			info |= BIT(3);
		info |= (u64)(in->opcode & 2 ? cpu_data_seg(in) : S_ES) << 10;
	}
	info |= (u64)size << 4;			/* 1, 2, 4: bits 4, 5, 6 */
	info |= (u64)(in->addrsize / 2) << 7;	/* 2, 4, 8: bits 7, 8, 9 */
	return info;
}

bool svm_intercept_io(struct cpu *c, const struct insn *in, enum cpu_result *res)
{
	u32 size = !(in->opcode & 1) ? 1 : in->opsize == 2 ? 2 : 4;
	bool str = (in->opcode & 0xfc) == 0x6c;
	u64 rip = c->rip, next;
	u16 port;

	if (!svm_intercepts(c, SVM_I_IOIO))
		return false;
	port = str || (in->opcode & 8) ? (u16)c->gpr[R_RDX] : (u8)in->imm;
	if (!svm_io_intercepted(c, port, size))
		return false;
	*res = cpu_io_allowed(c, port, size);
	if (*res)
		return true;
	insn_retire(c, in);
	next = c->rip;
	c->rip = rip;
	*res = svm_vmexit_insn(c, in, SVM_EXIT_IOIO, io_info(in, port, size, str), next);
	return true;
}
