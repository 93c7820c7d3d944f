/* SPDX-License-Identifier: MIT */
/*
 * cpu/access.h - memory through a segment register, the stack, and the I/O
 * permission check: what several instruction files in cpu/ share.
 *
 * All of it runs on the CPU's own thread and returns enum cpu_result. Linear
 * accesses are made with the privilege of the instruction (cpu_mmu_idx()).
 */
#ifndef CPU_ACCESS_H
#define CPU_ACCESS_H

#include "engine/cpu.h"
#include "engine/insn.h"

/*
 * Linear address of [ea, ea + len) in segment `s`. 64-bit mode: base of FS and
 * GS only, canonical check (APM2 4.5.3). Otherwise presence, type and limit,
 * expand-down included (APM2 4.7, 4.12). #SS(0) for the stack segment, #GP(0) else.
 */
enum cpu_result cpu_linear(struct cpu *c, enum cpu_sreg s, u64 ea, u32 len, bool write, u64 *lin);

/* Read / write len (<= 4096) bytes at s:ea. 2, 4 and 8 bytes are subject to the
 * alignment check (APM2 8.2.18). As in cpu_ops: CPU_USER from a
 * read, run the instruction again later; CPU_DONE from a write, finish it, then leave. */
enum cpu_result cpu_read(struct cpu *c, enum cpu_sreg s, u64 ea, void *buf, u32 len);
/* The same for an operand of several numbers: `align` is the biggest one's size. */
enum cpu_result cpu_read_aligned(struct cpu *c, enum cpu_sreg s, u64 ea, void *buf, u32 len,
				 u32 align);
enum cpu_result cpu_write(struct cpu *c, enum cpu_sreg s, u64 ea, const void *buf, u32 len);
/* Would the write fault? Stores nothing. */
enum cpu_result cpu_probe_w(struct cpu *c, enum cpu_sreg s, u64 ea, u32 len);

/* System structures (descriptor tables, TSS): linear address, supervisor
 * whatever the CPL, SMAP enforced (APM2 5.6.6). */
enum cpu_result cpu_sys_read(struct cpu *c, u64 lin, void *buf, u32 len);

/* Mask of the stack pointer: SS.B, or 64 bits in 64-bit mode. */
u64 cpu_stack_mask(const struct cpu *c);
/* Merge an offset into RSP by the stack's size. */
void cpu_set_sp(struct cpu *c, u64 sp);
/*
 * Push / pop `size` bytes. RSP moves only when the access did not fault; a push that
 * returns CPU_DONE has been done.
 */
enum cpu_result cpu_push(struct cpu *c, u64 val, u32 size);
enum cpu_result cpu_pop(struct cpu *c, u64 *val, u32 size);

/* Segment of an implicit DS operand (strings, XLAT) with overrides applied. */
enum cpu_sreg cpu_data_seg(const struct insn *in);

/*
 * Linear address of the string element of `size` bytes at s:ea, and how many elements
 * (*n in: wanted) from there on, in the direction of DF, stay inside one page,
 * the address size and the limit. *n = 0: the element itself crosses a page.
 */
enum cpu_result cpu_span(struct cpu *c, enum cpu_sreg s, u64 ea, u32 size, u32 addrsize, bool write,
			 u64 *n, u64 *lin);

/* Mask of an address size of 2, 4 or 8 bytes; and the register write rule that
 * goes with it (16 merges, 32 zero-extends). */
static inline u64 cpu_addr_mask(u32 size)
{
	return size == 8 ? ~0ull : size == 4 ? 0xffffffffull : 0xffffull;
}
static inline void cpu_set_addr_reg(struct cpu *c, u32 reg, u32 size, u64 v)
{
	if (size == 2)
		c->gpr[reg] = (c->gpr[reg] & ~0xffffull) | (v & 0xffff);
	else
		c->gpr[reg] = v & cpu_addr_mask(size);
}

/* IOPL and TSS bitmap (APM2 12.2.4): CPU_OK or #GP(0) / #PF. */
enum cpu_result cpu_io_allowed(struct cpu *c, u16 port, u32 size);

/* Handlers for the table in cpu/exec.c. */
enum cpu_result cpu_exec_string(struct cpu *c, const struct insn *in);
enum cpu_result cpu_exec_io(struct cpu *c, const struct insn *in);
enum cpu_result cpu_exec_xsave(struct cpu *c, const struct insn *in);
enum cpu_result cpu_exec_legacy(struct cpu *c, const struct insn *in);

#endif
