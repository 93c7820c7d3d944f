/* SPDX-License-Identifier: MIT */
/*
 * vcpu/pio.c - IN, OUT, INS, OUTS.
 *
 * What user space sees at the exit (docs/kvm-abi.md 5.8): scalar forms and INS with RIP still at
 * the instruction, OUTS already done. The scalar forms are finished at re-entry
 * unless user space has moved RIP meanwhile.
 */
#include "vcpu/vcpu_priv.h"

#define PIO_OFFSET PAGE_SIZE	/* of the data page in the vCPU's mapping */

static bool is_string(const struct insn *in)
{
	return in->map == 0 && in->opcode >= 0x6c && in->opcode <= 0x6f;
}

static enum cpu_result user_exit(struct vcpu *v, u8 dir, u16 port, u32 size, u32 count)
{
	struct kvm_run *run = v->run;

	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = dir;
	run->io.size = (u8)size;
	run->io.port = port;
	run->io.count = count;
	run->io.data_offset = PIO_OFFSET;
	return CPU_USER;
}

enum cpu_result pio_in(struct cpu *c, const struct insn *in, u16 port, u32 size, void *buf,
		       u32 *count)
{
	struct vcpu *v = c->owner;
	struct vcpu_pio *pio = &v->p->pio;
	u8 *out = buf;
	u32 i;

	if (pio->ready) {	/* INS runs again: user space has put the data here */
		u32 left = pio->count - pio->done;

		if (pio->port == port && pio->size == size) {
			if (*count > left)
				*count = left;
			cpu_copy(buf, v->pio_data + pio->done * size, *count * size);
			pio->done += *count;
			pio->ready = pio->done < pio->count;
			return CPU_OK;
		}
		pio->ready = false;
	}
	vcpu_count(v, io_exits);
	if (*count > PAGE_SIZE / size)
		*count = PAGE_SIZE / size;
	vcpu_trace(kvm_pio, v, 0, port, size, *count);
	if (v->vm_ops->pio_read) {
		engine_fpu_save(c);
		for (i = 0; i < *count; i++)
			if (v->vm_ops->pio_read(v->vm, v, port, out + (size_t)i * size, size))
				break;
		if (i) {	/* an in-kernel device; it answers for all or stops early */
			*count = i;
			return CPU_OK;
		}
	}
	pio->port = port;
	pio->size = (u8)size;
	pio->count = *count;
	vcpu_pend(v, is_string(in) ? PEND_PIO_INS : PEND_PIO_IN, in);
	return user_exit(v, KVM_EXIT_IO_IN, port, size, *count);
}

enum cpu_result pio_out(struct cpu *c, const struct insn *in, u16 port, u32 size, const void *buf,
			u32 *count)
{
	struct vcpu *v = c->owner;
	const u8 *data = buf;
	u32 i;

	vcpu_count(v, io_exits);
	if (*count > PAGE_SIZE / size)
		*count = PAGE_SIZE / size;
	vcpu_trace(kvm_pio, v, 1, port, size, *count);
	if (v->vm_ops->pio_write) {
		engine_fpu_save(c);
		for (i = 0; i < *count; i++)
			if (v->vm_ops->pio_write(v->vm, v, port, data + (size_t)i * size, size))
				break;
		if (i) {
			*count = i;
			return CPU_OK;
		}
	}
	cpu_copy(v->pio_data, buf, *count * size);
	if (is_string(in))
		return user_exit(v, KVM_EXIT_IO_OUT, port, size, *count);
	if (port == 0x7e && !(v->cfg->shared.disabled_quirks & KVM_X86_QUIRK_OUT_7E_INC_RIP)) {
		/* Old firmware stops here and looks at RIP. */
		insn_retire(c, in);
		c->shadow_sti = c->shadow_ss = 0;
		return user_exit(v, KVM_EXIT_IO_OUT, port, size, 1);
	}
	vcpu_pend(v, PEND_PIO_OUT, in);
	return user_exit(v, KVM_EXIT_IO_OUT, port, size, 1);
}

/* One iteration may be all that a pass does: until the data is used up or RIP moves. */
static enum cpu_result repeat_ins(struct vcpu *v)
{
	enum cpu_result r;

	v->p->pio.done = 0;
	v->p->pio.ready = true;
	do {
		atomic_store(&v->c->poll, 0);
		vcpu_flush_requests(v);
		r = vcpu_enter(v, true);
	} while (r == CPU_POLL ||
		 (r == CPU_OK && v->p->pio.ready && vcpu_linear_rip(v) == v->p->pend_rip));
	v->p->pio.ready = false;
	return r;
}

enum cpu_result pio_complete(struct vcpu *v, enum vcpu_pending kind)
{
	struct vcpu_priv *p = v->p;
	struct cpu *c = v->c;
	u64 val = 0;

	if (kind == PEND_PIO_INS)
		return repeat_ins(v);
	if (kind == PEND_PIO_IN) {
		cpu_copy(&val, v->pio_data, p->pio.size);
		insn_set_reg(c, R_RAX, p->pio.size, val);
	}
	return vcpu_retire(v, p->pend_next);
}
