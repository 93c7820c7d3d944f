/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/run.c - KVM_RUN, and what stopped it in a test's terms. */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

static bool has_error_code(u8 v)
{
	return v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 30;
}

/* Width in bytes of what a gate of the guest's mode pushes. */
static u32 frame_width(const struct guest_cpu *c, const struct kvm_sregs *s)
{
	if (!(s->cr0 & 1) || c->g->mode == M_PM16)
		return 2;
	return s->efer & 0x400 ? 8 : 4;
}

static u64 frame_word(struct guest *g, u64 at, u32 width)
{
	u64 v = 0;

	if (at + width <= G_RAM_SIZE)
		memcpy(&v, g->ram + at, width);
	return v;
}

static void decode_exception(struct guest_cpu *c, struct stop *s)
{
	struct kvm_sregs sr = cpu_sregs(c);
	struct guest *g = c->g;
	u32 w = frame_width(c, &sr);
	u64 at;

	s->kind = ST_EXC;
	s->vec = (u8)((sr.cs.base + s->r.rip - G_STUBS) >> 4);
	s->cr2 = sr.cr2;
	at = sr.ss.base + (sr.ss.db || w == 8 ? s->r.rsp : s->r.rsp & 0xffff);
	if (sr.cr0 & 1 && has_error_code(s->vec)) {
		s->err = (u32)frame_word(g, at, w);
		at += w;
	}
	s->rip = frame_word(g, at, w);
	s->cs = frame_word(g, at + w, w) & 0xffff;
	s->rflags = frame_word(g, at + 2 * w, w);
	s->outer = w == 8 || (sr.cr0 & 1 && (s->cs & 3)) || (w == 4 && s->rflags & 1u << 17);
	if (s->outer) {
		s->sp = frame_word(g, at + 3 * w, w);
		s->ss = frame_word(g, at + 4 * w, w) & 0xffff;
	}
}

static void decode_io(struct guest_cpu *c, struct stop *s)
{
	const struct kvm_run *k = c->run;
	u64 v = 0;

	s->port = k->io.port;
	s->size = k->io.size;
	s->count = k->io.count;
	s->write = k->io.direction == KVM_EXIT_IO_OUT;
	if (s->write) {
		memcpy(&v, (const u8 *)k + k->io.data_offset, s->size);
		s->val = v;
	}
	s->kind = s->write ? ST_OUT : ST_IN;
	if (s->write && s->port == PORT_DONE)
		s->kind = ST_DONE;
	else if (s->write && s->port == PORT_EXC)
		decode_exception(c, s);
}

struct stop cpu_run(struct guest_cpu *c)
{
	struct kvm_run *k = c->run;
	struct stop s = { .kind = ST_OTHER };
	int r = ioctl(c->fd, KVM_RUN, 0), e = errno;

	s.r = cpu_regs(c);
	if (r < 0) {
		s.kind = e == EINTR ? ST_INTR : ST_ERROR;
		s.err = (u32)e;
		return s;
	}
	s.err = k->exit_reason;
	switch (k->exit_reason) {
	case KVM_EXIT_IO:
		decode_io(c, &s);
		break;
	case KVM_EXIT_MMIO:
		s.kind = ST_MMIO;
		s.gpa = k->mmio.phys_addr;
		s.size = (u8)k->mmio.len;
		s.write = k->mmio.is_write;
		memcpy(&s.val, k->mmio.data, k->mmio.len <= 8 ? k->mmio.len : 8);
		break;
	case KVM_EXIT_HLT:
		s.kind = ST_HLT;
		break;
	case KVM_EXIT_SHUTDOWN:
		s.kind = ST_SHUTDOWN;
		break;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		s.kind = ST_WINDOW;
		break;
	case KVM_EXIT_DEBUG:
		s.kind = ST_DEBUG;
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		s.kind = ST_INTERNAL;
		s.err = k->internal.suberror;
		break;
	case KVM_EXIT_INTR:
		s.kind = ST_INTR;
		break;
	}
	return s;
}

void cpu_complete(struct guest_cpu *c)
{
	int r;

	c->run->immediate_exit = 1;
	r = ioctl(c->fd, KVM_RUN, 0);
	c->run->immediate_exit = 0;
	if (r != -1 || errno != EINTR)
		test_die("KVM_RUN with immediate_exit: %d (%s)", r, r < 0 ? strerror(errno) : "");
}

void cpu_resume(struct guest_cpu *c, const struct stop *s, u64 rip)
{
	struct kvm_sregs sr = cpu_sregs(c);
	u32 w = frame_width(c, &sr);

	WITH_REGS(c, r) {
		if (sr.cr0 & 1 && has_error_code(s->vec))
			r.rsp += w;
		memcpy(c->g->ram + sr.ss.base + r.rsp, &rip, w);
		r.rip = G_IRET + (w == 2 ? 0 : w == 4 ? 16 : 32) - sr.cs.base;
	}
}

void cpu_answer(struct guest_cpu *c, u64 v)
{
	struct kvm_run *k = c->run;

	if (k->exit_reason == KVM_EXIT_IO)
		memcpy((u8 *)k + k->io.data_offset, &v, k->io.size);
	else
		memcpy(k->mmio.data, &v, sizeof(v));
}

void cpu_interrupt(struct guest_cpu *c, u8 vec)
{
	struct kvm_interrupt i = { .irq = vec };

	vcpu_ioctl(c, KVM_INTERRUPT, &i, "KVM_INTERRUPT");
}

const char *stop_text(const struct stop *s)
{
	static char buf[200];
	static const char *const exc[32] = {
		"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9", "#TS", "#NP",
		"#SS", "#GP", "#PF", "15", "#MF", "#AC", "#MC", "#XF", "20", "#CP",
	};
	static const char *const names[] = {
		[ST_DONE] = "the end", [ST_HLT] = "HLT", [ST_SHUTDOWN] = "shutdown",
		[ST_WINDOW] = "interrupt window", [ST_DEBUG] = "debug exit", [ST_INTR] = "a signal",
		[ST_OUT] = "OUT", [ST_IN] = "IN", [ST_MMIO] = "MMIO", [ST_OTHER] = "exit reason",
		[ST_INTERNAL] = "internal error", [ST_ERROR] = "KVM_RUN error",
	};
	unsigned long long rip = s->r.rip;

	switch (s->kind) {
	case ST_EXC:
		if (s->vec < 22)
			snprintf(buf, sizeof(buf), "%s(%#x) at %llx cr2 %llx", exc[s->vec], s->err,
				 (unsigned long long)s->rip, (unsigned long long)s->cr2);
		else
			snprintf(buf, sizeof(buf), "vector %#x at %llx", s->vec,
				 (unsigned long long)s->rip);
		break;
	case ST_OUT: case ST_IN:
		snprintf(buf, sizeof(buf), "%s port %#x size %u x%u value %#llx, rip %llx",
			 names[s->kind], s->port, s->size, s->count, (unsigned long long)s->val,
			 rip);
		break;
	case ST_MMIO:
		snprintf(buf, sizeof(buf), "MMIO %s %#llx size %u value %#llx, rip %llx",
			 s->write ? "write" : "read", (unsigned long long)s->gpa, s->size,
			 (unsigned long long)s->val, rip);
		break;
	case ST_OTHER: case ST_INTERNAL: case ST_ERROR:
		snprintf(buf, sizeof(buf), "%s %u, rip %llx", names[s->kind], s->err, rip);
		break;
	default:
		snprintf(buf, sizeof(buf), "%s, rip %llx", names[s->kind], rip);
	}
	return buf;
}
