/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/apic_fast.c - accesses to the local APIC that may be served without leaving
 * translated code (docs/kvm-apic.md 3.6-3.10): each rule in xAPIC and x2APIC mode, with
 * acceleration active and inhibited (by a PIT that re-injects). Loops make sure that the short cut
 * is really taken.
 */
/* Run: build/standin run -- build/tests/guest/guest_apic_fast [NAME...] */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <time.h>

#include "tests/guest/harness/harness.h"

enum { VEC = 0x61, HIGH = 0x71, GSI = 20, ROUNDS = 500 };

/*
 * Every guest: rbp = the APIC's page, rbx = G_DATA. The handlers count in r8 (VEC) and r9
 * (HIGH) and keep everything else. Registers are accessed by subroutines, so that one
 * instruction does all of a kind; they come after the text, hence "f".
 */
#define ON "call 71f\n"
#define EOI "call 72f\n"
#define SELF(vec) "mov $" #vec ", %eax\n call 73f\n"
#define TPR(v) "mov $" #v ", %eax\n call 74f\n"
#define GET_TPR "call 75f\n"
#define LOOP(text) "mov $500, %edi\n 9: " text "dec %edi\n jnz 9b\n"

#define SUBS_x \
	"71: movl $0x1ff, 0xf0(%rbp)\n ret\n" \
	"72: movl $0, 0xb0(%rbp)\n ret\n" \
	"73: or $0x44000, %eax\n mov %eax, 0x300(%rbp)\n ret\n" \
	"74: mov %eax, 0x80(%rbp)\n ret\n" \
	"75: mov 0x80(%rbp), %eax\n ret\n"
#define SAVE "push %rax\n push %rcx\n push %rdx\n"
#define RESTORE "pop %rdx\n pop %rcx\n pop %rax\n ret\n"
#define SUBS_x2 \
	"71: " SAVE "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n" \
	"mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n" RESTORE \
	"72: " SAVE "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n" RESTORE \
	"73: " SAVE "mov $0x83f, %ecx\n xor %edx, %edx\n wrmsr\n" RESTORE \
	"74: " SAVE "mov $0x808, %ecx\n xor %edx, %edx\n wrmsr\n" RESTORE \
	"75: push %rcx\n push %rdx\n mov $0x808, %ecx\n rdmsr\n pop %rdx\n pop %rcx\n ret\n"

struct snippet {
	const u8 *b, *e, *handler, *high;
};
#define ONE(name, mode, text) \
	CODE64(name##_##mode, "mov $0xfee00000, %ebp\n mov $0x10000, %ebx\n" \
	       "xor %r8d, %r8d\n xor %r9d, %r9d\n" ON text DONE \
	       #name "_" #mode "_handler: inc %r8\n " EOI "iretq\n" \
	       #name "_" #mode "_high: inc %r9\n " EOI "iretq\n" SUBS_##mode); \
	LABEL(name##_##mode##_handler); \
	LABEL(name##_##mode##_high)
#define ROW(name, mode) \
	{ name##_##mode##_b, name##_##mode##_e, name##_##mode##_handler, name##_##mode##_high }
#define GUESTS(name, text) \
	ONE(name, x, text); \
	ONE(name, x2, text); \
	static const struct snippet name[2] = { ROW(name, x), ROW(name, x2) }

static struct guest *make(const struct snippet *s, bool inhibited)
{
	struct guest *g =
		guest_with_apic(s->b, (u32)(s->e - s->b), VEC, G_CODE + (u64)(s->handler - s->b));
	struct kvm_pit_config pit = { 0 };

	if (inhibited && ioctl(g->vm, KVM_CREATE_PIT2, &pit))
		test_die("KVM_CREATE_PIT2: %s", strerror(errno));
	guest_handler(g, HIGH, G_CODE + (u64)(s->high - s->b));
	return g;
}

static struct kvm_lapic_state lapic(struct guest *g)
{
	struct kvm_lapic_state s;

	vcpu_ioctl(cpu0(g), KVM_GET_LAPIC, &s, "KVM_GET_LAPIC");
	return s;
}

static u32 reg(const struct kvm_lapic_state *s, u32 offset)
{
	u32 v;

	memcpy(&v, s->regs + offset, 4);
	return v;
}

static void check_idle(struct guest *g)
{
	struct kvm_lapic_state s = lapic(g);

	for (u32 i = 0; i < 8; i++) {
		CHECK_EQ(reg(&s, 0x100 + i * 16), 0);
		CHECK_EQ(reg(&s, 0x200 + i * 16), 0);
	}
}

/* In both modes, active and inhibited. */
static void each(const struct snippet s[2], void (*check)(struct guest *g, struct stop *s))
{
	for (int i = 0; i < 4; i++) {
		struct guest *g = make(&s[i & 1], i & 2);
		struct stop st = RUN_TO(g, ST_DONE);

		check(g, &st);
		guest_free(g);
	}
}

/* -- interrupts to oneself -- */

GUESTS(self_ipi, "sti\n" LOOP(SELF(0x61)));

static void all_came(struct guest *g, struct stop *s)
{
	CHECK_EQ(s->r.r8, ROUNDS);
	check_idle(g);
}

T(self_ipi, "each IPI to oneself is taken and ended")
{
	each(self_ipi, all_came);
}

GUESTS(at_once, "sti\n xor %r11d, %r11d\n xor %r10d, %r10d\n"
		LOOP("inc %r10\n" SELF(0x61) "cmp %r8, %r10\n je 8f\n inc %r11\n 8:\n"));

static void never_late(struct guest *g, struct stop *s)
{
	CHECK_EQ(s->r.r8, ROUNDS);
	CHECK_EQ(s->r.r11, 0);
}

T(at_once, "it is taken before the next instruction but the return")
{
	each(at_once, never_late);
}

GUESTS(nested, "sti\n" LOOP("cli\n" SELF(0x61) SELF(0x71) "sti\n nop\n"));

static void both_came(struct guest *g, struct stop *s)
{
	CHECK_EQ(s->r.r8, ROUNDS);
	CHECK_EQ(s->r.r9, ROUNDS);
	check_idle(g);
}

T(nested, "what the end of a higher one uncovers is taken")
{
	each(nested, both_came);
}

/* -- priority -- */

GUESTS(tpr_holds, "sti\n xor %r10d, %r10d\n"
		  LOOP(TPR(0x60) SELF(0x61) "nop\n nop\n cmp %r10, %r8\n jne 8f\n"
		       TPR(0) "inc %r10\n cmp %r10, %r8\n jne 8f\n")
		  "mov $1, %r12d\n 8:\n");

static void held(struct guest *g, struct stop *s)
{
	CHECK_EQ(s->r.r12, 1);
	CHECK_EQ(s->r.r8, ROUNDS);
}

T(tpr_holds, "TPR holds an interrupt back, and lowering it lets it in at once")
{
	each(tpr_holds, held);
}

GUESTS(cr8_holds, "sti\n xor %r10d, %r10d\n mov $6, %esi\n xor %r13d, %r13d\n"
		  LOOP("mov %rsi, %cr8\n" SELF(0x61) "nop\n cmp %r10, %r8\n jne 8f\n"
		       GET_TPR "cmp $0x60, %eax\n jne 8f\n mov %cr8, %r14\n cmp $6, %r14\n jne 8f\n"
		       "inc %r10\n mov %r13, %cr8\n cmp %r10, %r8\n jne 8f\n")
		  "mov $1, %r12d\n 8:\n");

T(cr8_holds, "so does CR8, which is TPR")
{
	each(cr8_holds, held);
}

GUESTS(cr8_bad, "mov $3, %eax\n" LOOP("mov %rax, %cr8\n") "mov $16, %eax\n"
		"mov %rax, %cr8\n");

T(cr8_bad, "a reserved bit in CR8 is #GP, and TPR stays")
{
	for (int i = 0; i < 4; i++) {
		struct guest *g = make(&cr8_bad[i & 1], i & 2);
		struct stop st = run(g);
		struct kvm_lapic_state s = lapic(g);

		CHECK_EXC(st, 13, 0);
		CHECK_EQ(reg(&s, 0x80), 0x30);
		guest_free(g);
	}
}

/* -- the end of level interrupts -- */

GUESTS(level, "sti\n" LOOP(SELF(0x61)) STOP(1) "1: cmp $0, %r9\n je 1b\n" STOP(2)
	      "2: cmp $2, %r9\n jne 2b\n");

static void ioapic_entry(struct guest *g, u64 entry)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	if (ioctl(g->vm, KVM_GET_IRQCHIP, &chip))
		test_die("KVM_GET_IRQCHIP: %s", strerror(errno));
	chip.chip.ioapic.redirtbl[GSI].bits = entry;
	if (ioctl(g->vm, KVM_SET_IRQCHIP, &chip))
		test_die("KVM_SET_IRQCHIP: %s", strerror(errno));
}

static bool remote_irr(struct guest *g)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	if (ioctl(g->vm, KVM_GET_IRQCHIP, &chip))
		test_die("KVM_GET_IRQCHIP: %s", strerror(errno));
	return chip.chip.ioapic.redirtbl[GSI].fields.remote_irr;
}

static void line(struct guest *g, u32 level)
{
	struct kvm_irq_level l = { .irq = GSI, .level = level };

	if (ioctl(g->vm, KVM_IRQ_LINE, &l))
		test_die("KVM_IRQ_LINE: %s", strerror(errno));
}

T(level, "the same EOI that ended edges ends a level interrupt at the I/O APIC")
{
	for (int i = 0; i < 4; i++) {
		struct guest *g = make(&level[i & 1], i & 2);
		struct stop s = RUN_TO(g, ST_OUT);

		ioapic_entry(g, HIGH | 1 << 15);
		line(g, 1);
		CHECK(remote_irr(g));
		line(g, 0);
		s = RUN_TO(g, ST_OUT);
		CHECK_EQ(s.r.r9, 1);
		CHECK(!remote_irr(g));
		line(g, 1);
		line(g, 0);
		s = RUN_TO(g, ST_DONE);
		CHECK_EQ(s.r.r9, 2);
		CHECK(!remote_irr(g));
		guest_free(g);
	}
}

/* -- what an access must leave alone -- */

/* AH: the flags SF ZF AF PF CF by turns; OF by an addition. */
#define FLAGS_STAY(access) \
	LOOP("mov %edi, %eax\n shl $8, %eax\n and $0xd500, %eax\n or $0x200, %eax\n" \
	     " mov %eax, %r10d\n" \
	     "mov %edi, %eax\n and $1, %al\n add $0x7f, %al\n seto %r11b\n mov %r10d, %eax\n" \
	     "movzx %r11b, %eax\n add $0x7f, %al\n mov %r10d, %eax\n sahf\n" access \
	     "seto %r12b\n lahf\n and $0xd700, %eax\n cmp %eax, %r10d\n jne 8f\n" \
	     "cmp %r11b, %r12b\n jne 8f\n")
CODE64(flags_store, G_APIC_ON
		    FLAGS_STAY("movl $0x20, 0x80(%rbp)\n") "mov $1, %r15d\n 8:" DONE);
CODE64(flags_load, G_APIC_ON
		   FLAGS_STAY("mov 0x80(%rbp), %r14d\n") "mov $1, %r15d\n 8:" DONE);
CODE64(flags_cr8, "xor %esi, %esi\n" FLAGS_STAY("mov %rsi, %cr8\n mov %cr8, %r14\n")
		  "mov $1, %r15d\n 8:" DONE);

T(flags, "arithmetic flags survive loads and stores of the APIC, and CR8")
{
	static const struct {
		const u8 *b, *e;
	} code[] = {
		{ flags_store_b, flags_store_e },
		{ flags_load_b, flags_load_e },
		{ flags_cr8_b, flags_cr8_e },
	};

	for (u32 i = 0; i < ARRAY_SIZE(code); i++) {
		struct guest *g = guest_apic_code(code[i].b, (u32)(code[i].e - code[i].b));
		struct stop s = RUN_TO(g, ST_DONE);

		CHECK_EQ(s.r.r15, 1);
		guest_free(g);
	}
}

/* Every register as source, then as destination, of TPR at (rax). */
#define STORE(n, r32) \
	"mov $0x1" #n ", %" r32 "\n mov %" r32 ", (%rax)\n" \
	"cmpl $0x1" #n ", (%rax)\n jne 8f\n"
#define LOADED(r32) \
	"movl $0x5a, (%rax)\n mov $-1, %" r32 "\n mov (%rax), %" r32 "\n cmp $0x5a, %" r32 "\n" \
		" jne 8f\n"
#define EACH_REG(X) \
	X(2, "ecx") X(3, "edx") X(4, "ebx") X(5, "ebp") X(6, "esi") X(7, "r15d") X(8, "r8d") \
	X(9, "r9d") X(a, "r10d") X(b, "r11d") X(c, "r12d") X(d, "r13d") X(e, "r14d")
#define BOTH(n, r32) STORE(n, r32) LOADED(r32)
CODE64(registers, "mov $0xfee00080, %eax\n" LOOP(EACH_REG(BOTH)) "mov $1, %edi\n jmp 7f\n"
		  "8: mov $2, %edi\n 7:" DONE);

T(registers, "every register can be stored to the APIC and loaded from it")
{
	struct guest *g = guest_apic(registers);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rdi, 1);
	CHECK_EQ(s.r.rax, 0xfee00080);
	guest_free(g);
}

CODE64(kept, "mov $0xfee00000, %edi\n mov $500, %ebx\n mov $0x1111, %eax\n mov $0x2222, %ecx\n"
	     "mov $0x3333, %edx\n mov $0x4444, %esi\n mov $0x5555, %ebp\n mov $0x6666, %r8d\n"
	     "mov $0x7777, %r9d\n mov $0x8888, %r10d\n mov $0x9999, %r11d\n mov $0xaaaa, %r12d\n"
	     "mov $0xbbbb, %r13d\n mov $0xcccc, %r14d\n mov $0xdddd, %r15d\n"
	     "1: movl $0, 0xb0(%rdi)\n dec %ebx\n jnz 1b" DONE);

T(kept, "an EOI changes no register")
{
	struct guest *g = guest_apic(kept);
	struct stop s = RUN_TO(g, ST_DONE);

	CHECK_EQ(s.r.rax, 0x1111);
	CHECK_EQ(s.r.rcx, 0x2222);
	CHECK_EQ(s.r.rdx, 0x3333);
	CHECK_EQ(s.r.rsi, 0x4444);
	CHECK_EQ(s.r.rbp, 0x5555);
	CHECK_EQ(s.r.r8, 0x6666);
	CHECK_EQ(s.r.r9, 0x7777);
	CHECK_EQ(s.r.r10, 0x8888);
	CHECK_EQ(s.r.r11, 0x9999);
	CHECK_EQ(s.r.r12, 0xaaaa);
	CHECK_EQ(s.r.r13, 0xbbbb);
	CHECK_EQ(s.r.r14, 0xcccc);
	CHECK_EQ(s.r.r15, 0xdddd);
	CHECK_EQ(s.r.rsp, G_STACK);
	guest_free(g);
}

/* -- where the page is -- */

/* rbp walks: the APIC through the window, then RAM at the same address. */
CODE64(remap, "mov $0x200000, %ebp\n" LOOP("movl $0x30, 0x80(%rbp)\n")
	      STOP(1) "invlpg (%rbp)\n" LOOP("movl $0x40, 0x80(%rbp)\n") STOP(2)
	      "invlpg (%rbp)\n movl $0x50, 0x80(%rbp)" DONE);

T(remap, "an access goes where its page is mapped now")
{
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	struct kvm_lapic_state l;
	struct stop s;

	guest_load(g, G_CODE, remap);
	*guest_pte(g, G_WINDOW) = 0xfee00000 | PTE_P | PTE_W;
	s = RUN_TO(g, ST_OUT);
	l = lapic(g);
	CHECK_EQ(reg(&l, 0x80), 0x30);
	*guest_pte(g, G_WINDOW) = G_FREE | PTE_P | PTE_W;
	s = RUN_TO(g, ST_OUT);
	l = lapic(g);
	CHECK_EQ(reg(&l, 0x80), 0x30);
	CHECK_EQ(*g32(g, G_FREE + 0x80), 0x40);
	*guest_pte(g, G_WINDOW) = 0xfee00000 | PTE_P;	/* CR0.WP: not to be written */
	WITH_SREGS(cpu0(g), r)
		r.cr0 |= 1 << 16;
	s = RUN_EXC(g, 14, 3);
	CHECK_EQ(s.cr2, G_WINDOW + 0x80);
	guest_free(g);
}

/* One instruction, first on the APIC, then on a device of user space. */
CODE64(other_device, "mov $0xfee00080, %ebp\n mov $0x30, %ecx\n"
		     LOOP("1: mov %ecx, (%rbp)\n cmp $1, %edi\n jne 2f\n mov $0x10000000, %ebp\n"
		     " 2:")
		     "mov $7, %ecx\n inc %edi\n test %r15, %r15\n jnz 3f\n inc %r15\n jmp 1b\n 3:"
		     DONE);

T(other_device, "the same instruction reaches other devices")
{
	struct guest *g = guest_apic(other_device);
	struct stop s = RUN_TO(g, ST_MMIO);

	CHECK_EQ(s.gpa, G_MMIO);
	CHECK_EQ(s.val, 7);
	CHECK_EQ(s.size, 4);
	guest_free(g);
}

/* The APIC moves away: its old page belongs to user space. */
CODE64(moved, "mov $0xfee00000, %ebp\n mov $0x1b, %ecx\n rdmsr\n mov %eax, %esi\n"
	      LOOP("movl $0x20, 0x80(%rbp)\n cmp $1, %edi\n jne 1f\n"
		   "test %r15, %r15\n jnz 1f\n inc %r15\n mov $10, %edi\n"
		   "mov %esi, %eax\n add $0x10000, %eax\n wrmsr\n 1:") DONE);

T(moved, "after IA32_APIC_BASE has moved the APIC, its old page is not there")
{
	struct guest *g = guest_apic(moved);
	struct stop s = RUN_TO(g, ST_MMIO);

	CHECK_EQ(s.gpa, 0xfee00080);
	CHECK_EQ(s.val, 0x20);
	guest_free(g);
}

/* -- x2APIC faults -- */

#define MSR_FAULT(name, msr, lo, hi) \
	CODE64(name, "mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n mov $" msr ", %ecx\n" \
	       LOOP("xor %eax, %eax\n xor %edx, %edx\n cmp $1, %edi\n jne 1f\n" \
		    "mov $" lo ", %eax\n mov $" hi ", %edx\n 1: wrmsr\n") DONE)
MSR_FAULT(bad_eoi, "0x80b", "0", "1");
MSR_FAULT(bad_tpr, "0x808", "0", "1");
MSR_FAULT(bad_icr, "0x830", "0x2000", "0");
MSR_FAULT(bad_self, "0x83f", "0x100", "0");

T(msr_faults, "what x2APIC MSRs do not take is #GP also after many good writes")
{
	static const struct {
		const u8 *b, *e;
	} code[] = {
		{ bad_eoi_b, bad_eoi_e },
		{ bad_tpr_b, bad_tpr_e },
		{ bad_icr_b, bad_icr_e },
		{ bad_self_b, bad_self_e },
	};

	for (u32 i = 0; i < ARRAY_SIZE(code); i++) {
		struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
		struct stop s;

		guest_write(g, G_CODE, code[i].b, (u32)(code[i].e - code[i].b));
		s = RUN_EXC(g, 13, 0);
		CHECK_EQ(s.r.rdi, 1);
		guest_free(g);
	}
}

/* -- acceleration comes and goes -- */

GUESTS(comes_and_goes, "sti\n mov $2000000, %edi\n 9: " SELF(0x61) "1: cmp %r8, %r10\n je 1b\n"
		       "mov %r8, %r10\n cmpl $0, (%rbx)\n jne 8f\n dec %edi\n jnz 9b\n 8:\n");

static atomic_bool stop_toggling;

static void *toggle(void *arg)
{
	struct guest *g = arg;

	for (u32 i = 0; i < 400 && !atomic_load(&stop_toggling); i++) {
		struct kvm_reinject_control c = { .pit_reinject = i & 1 };
		struct timespec ts = { .tv_nsec = 500000 };

		if (ioctl(g->vm, KVM_REINJECT_CONTROL, &c))
			test_die("KVM_REINJECT_CONTROL: %s", strerror(errno));
		nanosleep(&ts, NULL);
	}
	*g32(g, G_DATA) = 1;
	return NULL;
}

T(comes_and_goes, "no interrupt is lost while acceleration is inhibited and allowed by turns")
{
	for (int i = 0; i < 2; i++) {
		struct guest *g = make(&comes_and_goes[i], true);
		struct stop s;
		pthread_t t;

		atomic_store(&stop_toggling, false);
		if (pthread_create(&t, NULL, toggle, g))
			test_die("pthread_create");
		s = run(g);
		atomic_store(&stop_toggling, true);
		pthread_join(t, NULL);
		CHECK_STOP(s, ST_DONE);
		CHECK_EQ(s.r.r8, s.r.r10);
		check_idle(g);
		guest_free(g);
	}
}

/* -- vector registers -- */

#define EACH_YMM(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define YMM_LOAD(n) "vmovdqu 0x10100+32*" #n ", %ymm" #n "\n"
#define YMM_STORE(n) "vmovdqu %ymm" #n ", 0x10400+32*" #n "\n"
CODE64(sender, G_APIC_ON "movl $0x01000000, 0x310(%rbp)\n"
	       EACH_YMM(YMM_LOAD) "xor %r8d, %r8d\n 1: cmpl $0, 0x10004\n je 1b\n"
	       LOOP("inc %r8d\n movl $0x4061, 0x300(%rbp)\n 1: cmp %r8d, 0x10000\n jne 1b\n"
		    "movl $0, 0xb0(%rbp)\n movl $0x10, 0x80(%rbp)\n mov 0x80(%rbp), %eax\n"
		    /* let the other one go to sleep */
		    "mov $3000, %ecx\n 2: dec %ecx\n jnz 2b\n")
	       EACH_YMM(YMM_STORE) DONE);
CODE64(receiver, G_APIC_ON "incl 0x10004\n"
		 "1: sti\n hlt\n cli\n"
		 "cmpl $500, 0x10000\n jne 1b" DONE
		 "receiver_handler: incl 0x10000\n movl $0, 0xb0(%rbp)\n iretq\n");
LABEL(receiver_handler);

static void *receive(void *arg)
{
	struct stop *s = arg;
	struct guest_cpu *c = (struct guest_cpu *)(uintptr_t)s->val;

	*s = cpu_run(c);
	return NULL;
}

/* KVM_CAP_HALT_POLL: how long the receiver may look around before it sleeps. */
static void wake_other(u64 halt_poll_ns)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_HALT_POLL, .args = { halt_poll_ns } };
	struct guest *g = guest_new_flags(M_LONG, GUEST_IRQCHIP);
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };
	struct guest_cpu *c = guest_add_cpu(g);
	struct stop other = { .val = (uintptr_t)c };
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs[0].value = 7 };
	pthread_t t;

	if (ioctl(g->vm, KVM_ENABLE_CAP, &cap))
		test_die("KVM_CAP_HALT_POLL: %s", strerror(errno));
	if (!guest_has(g, 1, 2, 28))
		test_skip("no AVX");
	guest_map_apic(g);
	guest_load(g, G_CODE, sender);
	guest_load(g, G_CODE + 0x1000, receiver);
	guest_gate(g, VEC, SEL_CODE64, G_CODE + 0x1000 + (u64)(receiver_handler - receiver_b), 0xe,
		   0, 0);
	for (u32 i = 0; i < 512; i++)
		g->ram[G_DATA + 0x100 + i] = (u8)(i * 7 + 3);
	WITH_SREGS(cpu0(g), r)
		r.cr4 |= 1 << 9 | 1 << 18;	/* OSFXSR, OSXSAVE */
	vcpu_ioctl(cpu0(g), KVM_SET_XCRS, &x, "KVM_SET_XCRS");
	vcpu_ioctl(c, KVM_SET_MP_STATE, &mp, "KVM_SET_MP_STATE");
	WITH_REGS(c, r) {
		r.rip = G_CODE + 0x1000;
		r.rsp = G_FREE + 0x1000;
	}
	if (pthread_create(&t, NULL, receive, &other))
		test_die("pthread_create");
	RUN_TO(g, ST_DONE);
	pthread_join(t, NULL);
	CHECK_STOP(other, ST_DONE);
	CHECK(!memcmp(g->ram + G_DATA + 0x100, g->ram + G_DATA + 0x400, 512));
	guest_free(g);
}

T(vectors, "vector registers survive accesses to the APIC, and IPIs that wake a vCPU")
{
	wake_other(0);
}

T(halt_poll, "a vCPU that spins before it sleeps is woken too")
{
	wake_other(200000);
	wake_other(5000);
}

/* -- TPR access reporting -- */

GUESTS(tpr_writes, LOOP(TPR(0x20)));

T(tpr_reporting, "TPR accesses are reported if asked for, unless they are accelerated")
{
	for (int i = 0; i < 2; i++) {
		struct guest *g = make(&tpr_writes[0], i);
		struct kvm_tpr_access_ctl c = { .enabled = 1 };
		struct stop s;

		vcpu_ioctl(cpu0(g), KVM_TPR_ACCESS_REPORTING, &c, "KVM_TPR_ACCESS_REPORTING");
		s = run(g);
		if (i) {
			CHECK_STOP(s, ST_OTHER);
			CHECK_EQ(s.err, KVM_EXIT_TPR_ACCESS);
		} else if (s.kind != ST_OTHER) { /* KVM without AVIC reports, too */
			CHECK_STOP(s, ST_DONE);
		}
		guest_free(g);
	}
}
