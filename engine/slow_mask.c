/* SPDX-License-Identifier: MIT */
/*
 * engine/slow_mask.c - AVX-512 memory that a mask register chooses the elements of, where it is not
 * one piece of memory that may be accessed as a whole: the elements left out are not touched, and
 * cannot fault (SDM2 2.8). The computation is still the host's, on a copy.
 */
#include "engine/engine_priv.h"
#include "engine/vecreg.h"

/* Gather and scatter: in the order of the elements; the mask's bit goes with each, so that a fault
 * leaves what is done and what is to do (SDM2 VGATHERDPS, VSCATTERDPS). */
enum cpu_result slow_evex_vsib(struct engine *e, const struct insn *in, bool *exit)
{
	struct cpu *c = e->c;
	bool scatter = in->mem_w;
	u32 esz = in->rex_w ? 8 : 4, isz = slow_wide_indices(in) ? 8 : 4;
	u32 n = (16u << in->vex_l) / (esz > isz ? esz : isz);
	u8 v[VEC_BYTES], idx[VEC_BYTES] __attribute__((aligned(8)));
	u32 kreg = in->vsib_mask;
	enum cpu_result r = CPU_OK;
	u64 k;

	engine_fpu_save(c);
	if (!kreg || (!scatter && in->reg == in->index))
		return cpu_raise(c, EXC_UD);
	k = mask_get(c, kreg);
	vec_get(c, in->reg, v);
	vec_get(c, in->index, idx);
	for (u32 i = 0; i < n; i++) {
		u64 lin;

		if (!(k >> i & 1))
			continue;
		r = c->ops->linear(c, in->seg, slow_vsib_ea(c, in, idx, i), esz, scatter, &lin);
		if (r == CPU_OK)
			r = cpu_align(c, lin, esz - 1);
		if (r == CPU_OK && scatter)
			r = c->ops->mem_write(c, lin, v + i * esz, esz, cpu_mmu_idx(c));
		else if (r == CPU_OK)
			r = c->ops->mem_read(c, lin, v + i * esz, esz, cpu_mmu_idx(c));
		if (scatter && r == CPU_DONE) {	/* queued: done */
			*exit = true;
			r = CPU_OK;
		}
		if (r != CPU_OK)
			break;
		k &= ~BIT64(i);
	}
	if (r == CPU_OK)
		k = 0;
	if (!scatter) {
		if (n * esz < VEC_BYTES && r == CPU_OK)
			cpu_zero(v + n * esz, VEC_BYTES - n * esz);
		vec_put(c, in->reg, v);
	}
	mask_put(c, kreg, k);
	if (r == CPU_OK)
		insn_retire(c, in);
	return r;
}

/* Which elements of its operand the instruction accesses, as bits. */
static u64 chosen(struct cpu *c, const struct insn *in)
{
	u64 k = mask_get(c, in->mask) & (in->mask_n < 64 ? BIT64(in->mask_n) - 1 : ~0ull);
	u32 bits = (u32)__builtin_popcountll(k);

	switch (in->mask_form) {
	case MASK_ANY:
		return k != 0;
	case MASK_PACKED:
		return bits < 64 ? BIT64(bits) - 1 : ~0ull;
	default:
		return k;
	}
}

enum pass { PROBE, READ, WRITE };

static enum cpu_result each_element(struct engine *e, const struct insn *in, u64 which,
				    enum pass pass, bool *exit)
{
	struct cpu *c = e->c;
	u32 size = in->mask_form == MASK_ANY ? in->memsize : in->mask_elem;
	u64 ea = insn_ea(c, in);

	for (u32 i = 0; i < 64 && which >> i; i++) {
		u8 *at = e->bounce + i * size;
		u64 lin;
		enum cpu_result r;

		if (!(which >> i & 1))
			continue;
		r = c->ops->linear(c, in->seg, insn_element(c, ea + i * size), size, pass != READ,
				   &lin);
		if (r == CPU_OK)
			r = cpu_align(c, lin, size <= 8 ? size - 1 : 0);
		if (r == CPU_OK && pass == PROBE)
			r = c->ops->mem_probe_w(c, lin, size, cpu_mmu_idx(c));
		else if (r == CPU_OK && pass == READ)
			r = c->ops->mem_read(c, lin, at, size, cpu_mmu_idx(c));
		else if (r == CPU_OK)
			r = c->ops->mem_write(c, lin, at, size, cpu_mmu_idx(c));
		if (pass == WRITE && r == CPU_DONE)
			*exit = true;
		else if (r != CPU_OK)
			return r;
	}
	return CPU_OK;
}

enum cpu_result slow_masked(struct engine *e, const struct insn *in, bool *exit)
{
	struct cpu *c = e->c;
	u64 which, lin;
	enum cpu_result r;

	engine_fpu_save(c);
	which = chosen(c, in);
	/* Where nothing is accessed nothing is misaligned (measured on family 25). */
	if (which && insn_needs_alignment(in)) {
		r = slow_operand(c, in, 1, &lin);
		if (r)
			return r;
	}
	cpu_zero(e->bounce, in->memsize);
	r = each_element(e, in, which, in->mem_w ? PROBE : READ, exit);
	if (r == CPU_OK)
		r = slow_run_alone(e, e->bounce);
	if (r == CPU_OK && in->mem_w)
		r = each_element(e, in, which, WRITE, exit);
	return r;
}
