/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/ioapic.c - a guest that programs the I/O APIC by itself while its device lines move:
 * edge, level, mask, Remote IRR, new destinations in mid-service (82093AA; docs/kvm-apic.md 1.6).
 *
 * OUT to LINE_PORT asks the test for a line: bit 0 the level, bits 7:1 the pin. Interrupts have to
 * be there at the next instruction.
 */
/* Run: build/standin run -- build/tests/guest/guest_ioapic [NAME...] */
#include <sys/ioctl.h>

#include "tests/guest/harness/harness.h"

#define LINE_PORT 0x71
#define LOW 0x64
#define HIGH 0x84
#define LEVEL "0x8000"
#define MASKED "0x10000"

/* rbp, rbx: the local and the I/O APIC; r8, r9: interrupts taken at HIGH and LOW. */
#define BEGIN "mov $0xfee00000, %ebp\n mov $0xfec00000, %ebx\n xor %r8d, %r8d\n xor %r9d, %r9d\n" \
	"movl $0x1ff, 0xf0(%rbp)\n"
#define LINE(pin, level) "mov $(" #pin " * 2 + " #level "), %al\n out %al, $0x71\n"
#define SELECT(n) "movl $(" #n "), (%rbx)\n"
/* Half of an entry: low = 0, high = 1. */
#define PUT(pin, half, value) SELECT(0x10 + 2 * pin + half) "movl $(" value "), 0x10(%rbx)\n"
#define GET(pin, half) SELECT(0x10 + 2 * pin + half) "mov 0x10(%rbx), %eax\n"
#define EOI G_APIC_EOI

static struct guest *make(const void *code, u32 len, u64 high, u64 low)
{
	struct guest *g = guest_with_apic(code, len, HIGH, high);

	if (low)
		guest_handler(g, LOW, low);
	guest_map_ioapic(g);
	return g;
}
#define MAKE(snip) make(snip##_b, (u32)LEN(snip), AT(snip, snip##_h), 0)

static struct stop run_lines(struct guest *g)
{
	struct stop s;

	for (;;) {
		struct kvm_irq_level l;

		s = run(g);
		if (s.kind != ST_OUT || s.port != LINE_PORT)
			return s;
		l = (struct kvm_irq_level){ .irq = s.val >> 1 & 0x7f, .level = s.val & 1 };
		if (ioctl(g->vm, KVM_IRQ_LINE, &l))
			test_die("KVM_IRQ_LINE: %s", strerror(errno));
	}
}

CODE64(edge, BEGIN PUT(14, 0, "0x84") "sti\n"
	LINE(14, 1) "nop\n mov %r8d, %r10d\n"			/* 1: an edge */
	LINE(14, 1) LINE(14, 1) "nop\n mov %r8d, %r11d\n"	/* 1: no other one */
	LINE(14, 0) LINE(14, 1) LINE(14, 0) "nop\n mov %r8d, %r12d\n"
	"cli\n" LINE(14, 1) LINE(14, 0) LINE(14, 1) LINE(14, 0) "sti\n nop\n mov %r8d, %r13d\n"
	PUT(14, 0, "0x84 + " MASKED) LINE(14, 1) LINE(14, 0) "nop\n"
	PUT(14, 0, "0x84") "nop\n mov %r8d, %r14d\n"
	LINE(14, 1) "nop" DONE "edge_h: inc %r8d\n" EOI "iretq\n");
LABEL(edge_h);

T(edge, "edges: one interrupt each, merged while requested, lost while masked")
{
	struct guest *g = MAKE(edge);
	struct stop s = run_lines(g);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r10, 1);
	CHECK_EQ(s.r.r11, 1);
	CHECK_EQ(s.r.r12, 2);
	CHECK_EQ(s.r.r13, 3);
	CHECK_EQ(s.r.r14, 3);
	CHECK_EQ(s.r.r8, 4);
	guest_free(g);
}

CODE64(level, BEGIN PUT(14, 0, "0x84 + " LEVEL) "sti\n"
	LINE(14, 1) "nop\n mov %r8d, %r10d\n"
	PUT(14, 0, "0x84 + " LEVEL " + " MASKED) LINE(14, 1) "nop\n mov %r8d, %r11d\n"
	PUT(14, 0, "0x84 + " LEVEL) "nop\n mov %r8d, %r12d\n"
	GET(14, 0) "mov %eax, %r13d\n"
	/* the line drops while masked: nothing is left of it */
	PUT(14, 0, "0x84 + " LEVEL " + " MASKED) LINE(14, 1) LINE(14, 0)
	PUT(14, 0, "0x84 + " LEVEL) "nop" DONE
	"level_h: inc %r8d\n push %rax\n" LINE(14, 0) "pop %rax\n" EOI "iretq\n");
LABEL(level_h);

T(level, "levels wait behind the mask, and are there at the instruction after it is cleared")
{
	struct guest *g = MAKE(level);
	struct stop s = run_lines(g);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r10, 1);
	CHECK_EQ(s.r.r11, 1);
	CHECK_EQ(s.r.r12, 2);
	CHECK_EQ(s.r.r13, 0x8084);
	CHECK_EQ(s.r.r8, 2);
	guest_free(g);
}

/* The handler lets go of the line and raises it again before it ends, once; later it masks the pin
 * instead. */
CODE64(again, BEGIN PUT(14, 0, "0x84 + " LEVEL) "sti\n"
	LINE(14, 1) "nop\n mov %r8d, %r10d\n"
	LINE(14, 1) "nop\n mov %r8d, %r11d\n"
	PUT(14, 0, "0x84 + " LEVEL) "nop" DONE
	"again_h: inc %r8d\n push %rax\n cmp $2, %r8d\n ja 2f\n"
	LINE(14, 0) "cmp $1, %r8d\n jne 1f\n" LINE(14, 1) "1: pop %rax\n" EOI "iretq\n"
	"2: cmp $3, %r8d\n je 3f\n" LINE(14, 0)
	"3: " PUT(14, 0, "0x84 + " LEVEL " + " MASKED) "pop %rax\n" EOI "iretq\n");
LABEL(again_h);

T(again, "a line that is high at the EOI interrupts again, masked only when it is unmasked")
{
	struct guest *g = MAKE(again);
	struct stop s = run_lines(g);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r10, 2);
	CHECK_EQ(s.r.r11, 3);
	CHECK_EQ(s.r.r8, 4);
	guest_free(g);
}

#define TMR_BIT "mov 0x1c0(%rbp), %eax\n shr $4, %eax\n and $1, %eax\n"	/* of 0x84 */
CODE64(tmr, BEGIN "sti\n"
	PUT(14, 0, "0x84") LINE(14, 1) LINE(14, 0) TMR_BIT "mov %eax, %r10d\n"
	PUT(14, 0, "0x84 + " LEVEL) TMR_BIT "mov %eax, %r11d\n"
	LINE(14, 1) TMR_BIT "mov %eax, %r12d\n"
	PUT(14, 0, "0x84") TMR_BIT "mov %eax, %r13d\n" LINE(14, 1) LINE(14, 0) TMR_BIT
	"mov %eax, %r14d" DONE
	"tmr_h: inc %r8d\n push %rax\n" LINE(14, 0) "pop %rax\n" EOI "iretq\n");
LABEL(tmr_h);

T(tmr, "TMR follows the trigger mode of the last interrupt, not of the entry")
{
	struct guest *g = MAKE(tmr);
	struct stop s = run_lines(g);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r10, 0);
	CHECK_EQ(s.r.r11, 0);
	CHECK_EQ(s.r.r12, 1);
	CHECK_EQ(s.r.r13, 1);
	CHECK_EQ(s.r.r14, 0);
	CHECK_EQ(s.r.r8, 3);
	guest_free(g);
}

/* A device's interrupt is moved to another CPU while it is in service, and another one's while it
 * waits behind it. Both EOIs still belong to this I/O APIC. */
#define MOVE(pin, to) LINE(pin, 0) GET(pin, 0) "mov %eax, " to "\n" PUT(pin, 1, "0x01000000")
CODE64(moved, BEGIN PUT(13, 0, "0x64 + " LEVEL) PUT(14, 0, "0x84 + " LEVEL) "sti\n"
	LINE(13, 1) "nop\n"
	GET(14, 0) "mov %eax, %r12d\n" GET(13, 0) "mov %eax, %r13d\n"
	GET(14, 1) "mov %eax, %r14d" DONE
	"moved_low: push %rax\n" LINE(14, 1) MOVE(14, "%r10d") MOVE(13, "%r11d") EOI
	"inc %r9d\n pop %rax\n iretq\n"
	"moved_h: add %r9d, %r8d\n" EOI "iretq\n");
LABEL(moved_h);
LABEL(moved_low);

T(moved, "an entry that is moved while its interrupt is on the way is still ended")
{
	struct guest *g = make(moved_b, (u32)LEN(moved), AT(moved, moved_h), AT(moved, moved_low));
	struct stop s = run_lines(g);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r9, 1);
	CHECK_EQ(s.r.r8, 1);		/* once, and after the lower one */
	CHECK_EQ(s.r.r10, 0xc084);	/* Remote IRR was set in both */
	CHECK_EQ(s.r.r11, 0xc064);
	CHECK_EQ(s.r.r12, 0x8084);	/* and is clear */
	CHECK_EQ(s.r.r13, 0x8064);
	CHECK_EQ(s.r.r14, 0x01000000);
	guest_free(g);
}

CODE64(by_hand, BEGIN PUT(14, 0, "0x84 + " LEVEL) LINE(14, 1)
	GET(14, 0) "mov %eax, %r10d\n"
	PUT(14, 0, "0x84 + " LEVEL " + 0x5000") GET(14, 0) "mov %eax, %r11d\n"	/* read-only bits */
	PUT(14, 0, "0x84 + " MASKED) GET(14, 0) "mov %eax, %r12d\n"
	LINE(14, 0) PUT(14, 0, "0x84 + " LEVEL) GET(14, 0) "mov %eax, %r13d\n"
	SELECT(0) "movl $0xffffffff, 0x10(%rbx)\n mov 0x10(%rbx), %r14d\n"
	SELECT(1) "movl $0, 0x10(%rbx)\n mov 0x10(%rbx), %r15d\n"
	SELECT(2) "mov 0x10(%rbx), %r8d" DONE "by_hand_h: iretq\n");
LABEL(by_hand_h);

T(by_hand, "Remote IRR and status are read-only; edge and back clears Remote IRR; id, version")
{
	struct guest *g = MAKE(by_hand);
	struct stop s = run_lines(g);

	CHECK_STOP(s, ST_DONE);
	CHECK_EQ(s.r.r10, 0xc084);
	CHECK_EQ(s.r.r11, 0xc084);
	CHECK_EQ(s.r.r12, 0x10084);
	CHECK_EQ(s.r.r13, 0x8084);
	CHECK_EQ(s.r.r14, 0x0f000000);
	CHECK_EQ(s.r.r15, 0x00170011);
	CHECK_EQ(s.r.r8, 0x0f000000);
	guest_free(g);
}
