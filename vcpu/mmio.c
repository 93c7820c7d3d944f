/* SPDX-License-Identifier: MIT */
/*
 * vcpu/mmio.c - guest-physical accesses that are not memory.
 *
 * Reads. An instruction whose data user space must provide runs again from its
 * start when it arrives. So that device reads happen once, every read of the
 * instruction is kept in order and handed out again; only past the end of the list does
 * a read reach a device. Writes happen when the instruction retires: those for user
 * space are queued and shown one exit at a time (docs/kvm-abi.md 5.8).
 */
#include "irq/lapic.h"
#include "mmu/nested.h"
#include "vcpu/vcpu_priv.h"

/* 0 handled, -ENOENT: for user space. */
static int device_read(struct vcpu *v, u64 gpa, void *buf, u32 len)
{
	int r;

	engine_fpu_save(v->c);
	if (v->lapic && (gpa & PAGE_MASK) == (lapic_get_base(v->lapic) & PAGE_MASK)) {
		r = lapic_mmio_read(v->lapic, (u32)(gpa & ~PAGE_MASK), buf, len);
		if (!r) {
			tpr_accessed(v, (u32)(gpa & ~PAGE_MASK), false);
			return 0;
		}
	}
	return v->vm_ops->mmio_read ? v->vm_ops->mmio_read(v->vm, v, gpa, buf, len) : -ENOENT;
}

static int device_write(struct vcpu *v, u64 gpa, const void *buf, u32 len)
{
	int r;

	engine_fpu_save(v->c);
	if (v->lapic && (gpa & PAGE_MASK) == (lapic_get_base(v->lapic) & PAGE_MASK)) {
		r = lapic_mmio_write(v->lapic, (u32)(gpa & ~PAGE_MASK), buf, len);
		if (!r) {
			tpr_accessed(v, (u32)(gpa & ~PAGE_MASK), true);
			return 0;
		}
	}
	return v->vm_ops->mmio_write ? v->vm_ops->mmio_write(v->vm, v, gpa, buf, len) : -ENOENT;
}

static void user_exit(struct vcpu *v, const struct mmio_frag *f, bool write)
{
	struct kvm_run *run = v->run;

	vcpu_count(v, mmio_exits);
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.phys_addr = f->gpa;
	run->mmio.len = f->len;
	run->mmio.is_write = write;
	if (write)
		cpu_copy_few(run->mmio.data, f->data, sizeof(f->data));
}

static struct mmio_frag *replayed(struct vcpu_mmio *m, u64 gpa, u32 len)
{
	/* Forward only: a repeated string instruction has finished earlier iterations. */
	for (u32 i = m->replay; i < m->reads; i++) {
		struct mmio_frag *f = &m->read[i];

		if (f->gpa == gpa && f->len == len && f->done) {
			m->replay = i + 1;
			return f;
		}
	}
	return NULL;
}

static u64 frag_value(const struct mmio_frag *f)
{
	u64 val = 0;

	cpu_copy_few(&val, f->data, f->len);
	return val;
}

/* At most 8 bytes. CPU_OK or CPU_USER. */
static enum cpu_result read_piece(struct cpu *c, u64 gpa, void *buf, u32 len)
{
	struct vcpu *v = c->owner;
	struct vcpu_mmio *m = &v->p->mmio;
	struct mmio_frag *f = replayed(m, gpa, len);

	if (f) {
		cpu_copy_few(buf, f->data, len);
		return CPU_OK;
	}
	/* Another instruction, or another iteration: what was read before is history. */
	if (m->rip != c->rip || m->rcx != c->gpr[R_RCX] || m->reads == MMIO_FRAGS) {
		m->reads = 0;
		m->rip = c->rip;
		m->rcx = c->gpr[R_RCX];
	}
	f = &m->read[m->reads];
	f->gpa = gpa;
	f->len = (u8)len;
	f->done = !device_read(v, gpa, f->data, len);
	m->reads++;
	m->replay = m->reads;
	if (f->done) {
		cpu_copy_few(buf, f->data, len);
		vcpu_trace(kvm_mmio, v, 1, len, gpa, frag_value(f));
		return CPU_OK;
	}
	vcpu_trace(kvm_mmio, v, 0, len, gpa, 0);
	user_exit(v, f, false);
	vcpu_pend(v, PEND_MMIO_READ, NULL);
	return CPU_USER;
}

/* To be emulated, as KVM does with every access that is not memory's? */
static enum cpu_result emulable(struct cpu *c)
{
	return likely(!c->accessing || insn_emulable(c->accessing)) ? CPU_OK
								    : exit_not_emulable(c->owner);
}

enum cpu_result mmio_read(struct cpu *c, u64 gpa, void *buf, u32 len)
{
	enum cpu_result r = emulable(c);
	u8 *p = buf;

	if (unlikely(r))
		return r;
	if (unlikely(gpa >= MMU_APIC_PAGE))
		return svm_avic_read(c, (u32)(gpa & ~PAGE_MASK), buf, len);
	while (len) {
		u32 n = len < 8 ? len : 8;

		r = read_piece(c, gpa, p, n);
		if (r != CPU_OK)
			return r;
		gpa += n;
		p += n;
		len -= n;
	}
	return CPU_OK;
}

enum cpu_result mmio_probe_w(struct cpu *c, u64 gpa, u32 len)
{
	if (gpa >= MMU_APIC_PAGE)
		return svm_avic_probe(c, (u32)(gpa & ~PAGE_MASK), len);
	return emulable(c);
}

enum cpu_result mmio_write(struct cpu *c, u64 gpa, const void *buf, u32 len)
{
	struct vcpu *v = c->owner;
	struct vcpu_mmio *m = &v->p->mmio;
	const u8 *p = buf;
	enum cpu_result r = CPU_OK;

	if (unlikely(gpa >= MMU_APIC_PAGE))
		return svm_avic_write(c, (u32)(gpa & ~PAGE_MASK), buf, len);

	while (len) {
		u32 n = len < 8 ? len : 8;

		if (trace_watched(TRACE_kvm_mmio)) {
			u64 val = 0;

			cpu_copy_few(&val, p, n);
			vcpu_trace(kvm_mmio, v, 2, n, gpa, val);
		}
		/* Order is kept: once something is queued, all later pieces queue too. */
		if (m->writes > m->written || device_write(v, gpa, p, n)) {
			struct mmio_frag *f;

			if (m->written == m->writes)
				m->written = m->writes = 0;
			if (m->writes == MMIO_FRAGS)
				return CPU_DONE;	/* no instruction writes that much */
			f = &m->write[m->writes++];
			*f = (struct mmio_frag){ .gpa = gpa, .len = (u8)n, .done = true };
			cpu_copy_few(f->data, p, n);
			r = CPU_DONE;
		}
		gpa += n;
		p += n;
		len -= n;
	}
	/* An EOI that must reach user space ends the run here: there is room for one. */
	if (r == CPU_OK &&
	    atomic_load_explicit(&v->requests, memory_order_relaxed) & BIT64(VREQ_IOAPIC_EOI_EXIT))
		r = CPU_DONE;
	return r;
}

enum cpu_result mmio_emit_write(struct vcpu *v)
{
	struct vcpu_mmio *m = &v->p->mmio;

	while (m->written < m->writes) {
		struct mmio_frag *f = &m->write[m->written++];

		/* The first piece is known to be for user space; of later ones a device may
		 * want some. */
		if (m->written > 1 && !device_write(v, f->gpa, f->data, f->len))
			continue;
		user_exit(v, f, true);
		v->p->pend = PEND_MMIO_WRITE;
		return CPU_USER;
	}
	return CPU_OK;
}

/* User space has answered the last read: run the instruction again. */
enum cpu_result mmio_complete(struct vcpu *v)
{
	struct vcpu_mmio *m = &v->p->mmio;
	struct mmio_frag *f = &m->read[m->reads - 1];
	enum cpu_result r;

	cpu_copy_few(f->data, v->run->mmio.data, sizeof(f->data));
	f->done = true;
	vcpu_trace(kvm_mmio, v, 1, f->len, f->gpa, frag_value(f));
	m->replay = 0;
	do {
		if (atomic_load_explicit(&v->c->poll, memory_order_acquire))
			atomic_store(&v->c->poll, 0);
		vcpu_flush_requests(v);
		r = vcpu_enter(v, true);
	} while (r == CPU_POLL);
	if (v->p->pend != PEND_MMIO_READ)
		m->reads = m->replay = 0;
	return r;
}
