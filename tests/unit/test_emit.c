/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/test_emit.c - each form of engine/emit.h: what the decoder makes of its bytes, and
 * that it says of the flags and of the scratch register what the decoder says.
 */
/* Run: build/tests/unit/test_emit [NAME...] */
#include "tests/unit/unit.h"

#include "engine/emit.h"

#define A ((void *)0x7d001230ul)
#define FAR 0x123456789abull

/* The call, and Zydis's text of it. */
#define FORMS(X) \
	X(op_abs(t, true, OP_ADD, H_RCX, A), "add rcx, [0x000000007D001230]") \
	X(op_abs(t, false, OP_OR, H_R9, A), "or r9d, [0x000000007D001230]") \
	X(op_abs(t, true, OP_AND, H_RSI, A), "and rsi, [0x000000007D001230]") \
	X(op_abs(t, true, OP_CMP, H_RCX, A), "cmp rcx, [0x000000007D001230]") \
	X(op_abs(t, true, OP_CMP_TO, H_RSP, A), "cmp [0x000000007D001230], rsp") \
	X(op_abs(t, false, OP_STORE8, H_RCX, A), "mov [0x000000007D001230], cl") \
	X(op_abs(t, false, OP_LOAD8, H_RAX, A), "mov al, [0x000000007D001230]") \
	X(ld_abs(t, H_RCX, A), "mov rcx, [0x000000007D001230]") \
	X(ld_abs(t, H_R13, A), "mov r13, [0x000000007D001230]") \
	X(st_abs(t, H_RCX, A), "mov [0x000000007D001230], rcx") \
	X(ld_abs32(t, H_RSI, A), "mov esi, [0x000000007D001230]") \
	X(st16_abs(t, H_R10, A), "mov [0x000000007D001230], r10w") \
	X(op_rr(t, true, OP_XOR, H_RSI, H_RCX), "xor rsi, rcx") \
	X(op_rr(t, true, OP_SUB, H_RCX, H_R15), "sub rcx, r15") \
	X(op_rr(t, true, OP_TEST, H_R14, H_R14), "test r14, r14") \
	X(op_rr(t, true, OP_MOVSXD, H_RSI, H_RDX), "movsxd rsi, edx") \
	X(mov_rr(t, H_RCX, H_R14), "mov rcx, r14") \
	X(mov_rr32(t, H_R14, H_RCX), "mov r14d, ecx") \
	X(mov_rr16(t, H_R13, H_RSI), "mov r13w, si") \
	X(movzx16(t, H_RCX, H_R8), "movzx ecx, r8w") \
	X(movsx16(t, H_RSI, H_R8), "movsx rsi, r8w") \
	X(movzx8(t, H_RSI, H_RAX + 4), "movzx esi, ah") \
	X(movzx8(t, H_RAX, H_RAX), "movzx eax, al") \
	X(mov_ri(t, H_RCX, 5), "mov ecx, 0x05") \
	X(mov_ri(t, H_R12, 0x80000000), "mov r12d, 0x80000000") \
	X(mov_ri(t, H_RSI, -4ull), "mov rsi, 0xFFFFFFFFFFFFFFFC") \
	X(mov_ri(t, H_RSI, FAR), "mov rsi, 0x123456789AB") \
	X(mov_ri64(t, H_RCX, 1), "mov rcx, 0x01") \
	X(mov_rip(t, H_RCX, FAR), "mov rcx, 0x123456789AB") \
	X(op_mem(t, true, OP_LOAD, H_RCX, H_R12, 0), "mov rcx, [r12]") \
	X(op_mem(t, true, OP_LOAD, H_RDX, H_R13, 0), "mov rdx, [r13]") \
	X(op_mem(t, false, OP_STORE, H_RCX, H_RBP, 127), "mov [rbp+0x7F], ecx") \
	X(op_mem(t, true, OP_LEA, H_RSP, H_RSP, -8), "lea rsp, [rsp-0x08]") \
	X(lea(t, true, H_RCX, H_R13, -1, 1, -8), "lea rcx, [r13-0x08]") \
	X(lea(t, true, H_RCX, H_RBX, H_R12, 8, 0x1000), "lea rcx, [rbx+r12*8+0x1000]") \
	X(lea(t, false, H_RSI, -1, H_RDX, 4, 16), "lea esi, [rdx*4+0x10]") \
	X(rorx32(t, H_RSI, H_RCX, 8), "rorx esi, ecx, 0x08") \
	X(rorx32(t, H_RCX, H_RCX, 12), "rorx ecx, ecx, 0x0C") \
	X(pext_abs(t, H_RCX, H_RSI, A), "pext rcx, rsi, [0x000000007D001230]") \
	X(pext32_abs(t, H_RSI, H_RCX, A), "pext esi, ecx, [0x000000007D001230]") \
	X(pdep32_abs(t, H_RSI, H_RSI, A), "pdep esi, esi, [0x000000007D001230]") \
	X(shrx(t, H_RCX, H_RCX, H_RSI), "shrx rcx, rcx, rsi") \
	X(not_r(t, H_RCX), "not rcx") \
	X(not_r(t, H_RSI), "not rsi") \
	X(alu_ri(t, ALU_AND, false, H_RSI, 0xfff0), "and esi, 0xFFF0") \
	X(alu_ri(t, ALU_CMP, true, H_RCX, 0xff8), "cmp rcx, 0xFF8") \
	X(alu_ri(t, ALU_ADD, true, H_R14, 0x1000), "add r14, 0x1000") \
	X(alu_ri8(t, ALU_SUB, true, H_RSP, 0x78), "sub rsp, 0x78") \
	X(alu_ri8(t, ALU_AND, true, H_RCX, -16), "and rcx, 0xFFFFFFFFFFFFFFF0") \
	X(alu_al(t, ALU_ADD, 0x7f), "add al, 0x7F") \
	X(alu_al(t, ALU_AND, 1), "and al, 0x01") \
	X(alu_eax(t, ALU_AND, 0xff), "and eax, 0xFF") \
	X(cmp_abs_i(t, false, A, 7), "cmp dword ptr [0x000000007D001230], 0x07") \
	X(cmp_abs_i(t, true, A, 0x1000), "cmp qword ptr [0x000000007D001230], 0x1000") \
	X(cmp8_abs_i(t, A, 0), "cmp byte ptr [0x000000007D001230], 0x00") \
	X(test8_abs_i(t, A, 4), "test byte ptr [0x000000007D001230], 0x04") \
	X(test8_ri(t, H_RCX, 7), "test cl, 0x07") \
	X(shift_ri(t, SHIFT_R, true, H_RCX, 32), "shr rcx, 0x20") \
	X(shift_ri(t, SHIFT_L, false, H_RSI, 5), "shl esi, 0x05") \
	X(shift_ri(t, SHIFT_AR, true, H_RSI, 3), "sar rsi, 0x03") \
	X(shr_al(t, 3), "shr al, 0x03") \
	X(imul32_rri(t, H_RSI, H_RCX, 0x1001), "imul esi, ecx, 0x1001") \
	X(ldzx8_abs(t, H_RCX, A), "movzx ecx, byte ptr [0x000000007D001230]") \
	X(ldzx16_abs(t, H_RSI, A), "movzx esi, word ptr [0x000000007D001230]") \
	X(ldzx16_mem(t, H_RCX, H_R9, 2), "movzx ecx, word ptr [r9+0x02]") \
	X(ld16_mem(t, H_RAX, H_RCX, 0), "mov ax, [rcx]") \
	X(st_size(t, 2, H_RSI, H_RCX, 4), "mov [rcx+0x04], si") \
	X(st_size(t, 8, H_R8, H_RCX, 0), "mov [rcx], r8") \
	X(ld_size(t, 2, H_RSI, H_RCX, 0), "movzx esi, word ptr [rcx]") \
	X(ld_size(t, 4, H_RSI, H_RCX, 0), "mov esi, [rcx]") \
	X(ld_size(t, 8, H_RCX, H_RCX, 0), "mov rcx, [rcx]") \
	X(st_imm(t, 2, 0x1234, H_RCX, 0), "mov word ptr [rcx], 0x1234") \
	X(st_imm(t, 8, 0xffffffff, H_RCX, 8), "mov qword ptr [rcx+0x08], 0xFFFFFFFFFFFFFFFF") \
	X(st_imm(t, 4, 9, -1, 0x7d001230), "mov dword ptr [0x000000007D001230], 0x09") \
	X(st8_imm(t, A, 0), "mov byte ptr [0x000000007D001230], 0x00") \
	X(ld_ah_abs(t, A), "mov ah, [0x000000007D001230]") \
	X(lahf(t), "lahf") \
	X(seto_al(t), "seto al") \
	X(sahf(t), "sahf") \
	X(push_r(t, H_RBX), "push rbx") \
	X(push_r(t, H_R12), "push r12") \
	X(pop_r(t, H_R12), "pop r12") \
	X(push_abs(t, A), "push [0x000000007D001230]") \
	X(push_i(t, 7), "push 0x07") \
	X(push_i(t, 1023), "push 0x3FF") \
	X(ret(t), "ret") \
	X(ret_drop(t, 8), "ret 0x08") \
	X(call_abs(t, A), "call [0x000000007D001230]") \
	X(jmp_abs(t, A), "jmp [0x000000007D001230]") \
	X(jmp_mem(t, H_RSI, 0x100), "jmp [rsi+0x100]") \
	X(jmp_table(t, H_RSI, A, false), "jmp [rsi*8+0x7D001230]") \
	X(jmp_table(t, H_RSI, A, true), "call [rsi*8+0x7D001230]") \
	X(to_here(jcc32(t, CC_A)), "jnbe 0x0000000000000006") \
	X(to_here(jmp32(t)), "jmp 0x0000000000000005") \
	X(to_here(call32(t)), "call 0x0000000000000005") \
	X(jump_here(t, jrcxz(t)), "jrcxz 0x0000000000000002") \
	X(jump_here(t, jcc8(t, CC_E)), "jz 0x0000000000000002") \
	X(jump_here(t, jmp8(t)), "jmp 0x0000000000000002") \
	X(jump_here(t, loop(t)), "loop 0x0000000000000002") \
	X(rep_string(t, 0xa4, 1), "rep movsb") \
	X(rep_string(t, 0xab, 8), "rep stosq") \
	X(vpxor_self(t, 3), "vpxor xmm3, xmm3, xmm3") \
	X(vmovaps_self(t, 5), "vmovaps xmm5, xmm5")

static struct translator tr;
static u8 code[64];

static void to_here(u8 *rel32) { set_rel32(rel32, tr.p); }

static void decoded(const char *call, const char *want)
{
	struct translator *t = &tr;
	ZydisDecodedInstruction in;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecoder d;
	ZydisFormatter f;
	char text[128];
	bool flags, ptr = false;

	ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code, sizeof(code), &in, op)))
		fail_msg("%s: no instruction", call);
	ZydisFormatterFormatInstruction(&f, &in, op, in.operand_count_visible, text, sizeof(text),
					0, NULL);
	if (code + in.length != t->p || strcmp(text, want))
		fail_msg("%s: %s, and not %s", call, text, want);
	flags = in.cpu_flags && (in.cpu_flags->modified | in.cpu_flags->set_0 |
				 in.cpu_flags->set_1 | in.cpu_flags->undefined) &
					FL_ARITH;
	for (u32 i = 0; i < in.operand_count; i++)
		ptr |= op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		       op[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
		       ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64,
							op[i].reg.value) == ZYDIS_REGISTER_RCX;
	if (flags != !!(t->spoilt & HOLD_FLAGS))
		fail_msg("%s: says of the flags what is not so", call);
	if (ptr != !!(t->spoilt & HOLD_PTR))
		fail_msg("%s: says of the scratch register what is not so", call);
}

T(forms, "bytes, flags and scratch register of each form")
{
	struct translator *t = &tr;

	tr.may_move = false;
#define X(call, want) \
	memset(code, 0xcc, sizeof(code)); \
	t->p = code; \
	t->hold = HOLD_FLAGS | HOLD_PTR; \
	t->spoilt = 0; \
	call; \
	decoded(#call, want);
	FORMS(X)
#undef X
}
