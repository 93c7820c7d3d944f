/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_io_msr.c - port and MSR intercepts and their permission maps (APM2 15.10, 15.11;
 * docs/kvm-svm.md 4.9).
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_io_msr [NAME...] */
#include "tests/guest/harness/svm.h"

static void set_bit(struct svm_guest *s, u64 map, u32 bit)
{
	s->g->ram[map + bit / 8] |= (u8)(1u << bit % 8);
}

CODE64(o8, "mov $0x123, %edx\n mov $0x5a, %al\n o8_a: out %al, %dx\n vmmcall");
CODE64(o16, "mov $0x123, %edx\n mov $0x5a, %al\n o16_a: out %ax, %dx\n vmmcall");
CODE64(o32, "mov $0x123, %edx\n mov $0x5a, %al\n o32_a: out %eax, %dx\n vmmcall");
CODE64(i8, "mov $0x123, %edx\n mov $0x5a, %al\n i8_a: in %dx, %al\n vmmcall");
CODE64(i16, "mov $0x123, %edx\n mov $0x5a, %al\n i16_a: in %dx, %ax\n vmmcall");
CODE64(imm, "mov $0x123, %edx\n mov $0x5a, %al\n imm_a: in $0x80, %eax\n vmmcall");
CODE64(outs, "mov $0x123, %edx\n mov $0x10000, %esi\n outs_a: rep outsw\n vmmcall");
CODE64(outs_fs, "mov $0x123, %edx\n mov $0x10000, %esi\n outs_fs_a: fs outsb\n vmmcall");
CODE64(ins, "mov $0x123, %edx\n mov $0x10000, %edi\n ins_a: addr32 insl\n vmmcall");
LABEL(o8_a); LABEL(o16_a); LABEL(o32_a); LABEL(i8_a); LABEL(i16_a); LABEL(imm_a); LABEL(outs_a);
LABEL(outs_fs_a); LABEL(ins_a);

T(io_info, "IOIO: port, size, direction, string, REP, address size, segment; next RIP")
{
	static const struct {
		const u8 *b, *e, *a;
		u64 info;
		u32 len, port;
	} x[] = {
#define X(n, info, len, port) { n##_b, n##_e, n##_a, info, len, port }
		X(o8, 0x1230210, 1, 0x123),   X(o16, 0x1230220, 2, 0x123),
		X(o32, 0x1230240, 1, 0x123),  X(i8, 0x1230211, 1, 0x123),
		X(i16, 0x1230221, 2, 0x123),  X(imm, 0x800241, 2, 0x80),
		X(outs, 0x1230e2c, 3, 0x123), X(outs_fs, 0x1231214, 2, 0x123),
		X(ins, 0x1230145, 2, 0x123),
#undef X
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = svm_new(M_LONG, 0, x[i].b, (u64)(x[i].e - x[i].b));
		u64 at = G_L2 + (u64)(x[i].a - x[i].b);

		svm_want(&s, SVM_I_IOIO);
		set_bit(&s, G_IOPM, x[i].port);
		SVM_EXITS(&s, SVM_EXIT_IOIO);
		if (!CHECK_EQ(s.ctl->exit_info_1, x[i].info))
			printf("# row %u\n", i);
		CHECK_EQ(s.ctl->exit_info_2, at + x[i].len);
		CHECK_EQ(s.ctl->next_rip, at + x[i].len);
		CHECK_EQ(s.save->rip, at);
		guest_free(s.g);
	}
}

T(iopm, "IOPM: one bit a port, any of an access's ports; no bit or no intercept: L2's own")
{
	static const struct {
		const u8 *b, *e;
		u32 bit;
		bool exits;
	} x[] = {
		{ o8_b, o8_e, 0x123, true },	{ o8_b, o8_e, 0x124, false },
		{ o8_b, o8_e, 0x122, false },	{ o16_b, o16_e, 0x124, true },
		{ o16_b, o16_e, 0x125, false }, { o32_b, o32_e, 0x126, true },
		{ o32_b, o32_e, 0x127, false },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s = svm_new(M_LONG, 0, x[i].b, (u64)(x[i].e - x[i].b));
		struct stop st;

		svm_want(&s, SVM_I_IOIO);
		set_bit(&s, G_IOPM, x[i].bit);
		st = svm_run(&s);
		if (x[i].exits) {
			CHECK_EXIT(&s, st, SVM_EXIT_IOIO);
		} else {
			CHECK_STOP(st, ST_OUT);
			CHECK_EQ(st.port, 0x123);
			st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		}
		guest_free(s.g);
	}
	/* no intercept: the map is not looked at */
	struct svm_guest s = svm_with(o8);
	struct stop st;

	set_bit(&s, G_IOPM, 0x123);
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x123);
}

CODE64(top, "mov $0xffff, %edx\n top_a: out %ax, %dx\n vmmcall");
CODE64(top4, "mov $0xfffd, %edx\n out %eax, %dx\n vmmcall");
T(iopm_end, "IOPM: an access that ends beyond port 0xffff looks at the third page")
{
	struct svm_guest s = svm_with(top);
	struct stop st;

	svm_want(&s, SVM_I_IOIO);
	set_bit(&s, G_IOPM, 0x10000);
	st = SVM_EXITS(&s, SVM_EXIT_IOIO);
	CHECK_EQ(s.ctl->exit_info_1 >> 16, 0xffff);
	s = svm_with(top4);
	svm_want(&s, SVM_I_IOIO);
	set_bit(&s, G_IOPM, 0x10000);
	st = SVM_EXITS(&s, SVM_EXIT_IOIO);
	s = svm_with(top4);
	svm_want(&s, SVM_I_IOIO);
	set_bit(&s, G_IOPM, 0x10001);
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
}

T(iopm_unbacked, "an IOPM without memory behind it lets VMRUN pass and every port exit")
{
	struct svm_guest s = svm_with(o8);

	s.ctl->iopm = 0x30000000;
	svm_want(&s, SVM_I_IOIO);
	SVM_EXITS(&s, SVM_EXIT_IOIO);
}

T(io_rights, "#GP of IOPL and TSS comes before the intercept")
{
	struct svm_guest s = svm_with(o8);

	s.save->cs.attrib |= 0x60;
	s.save->ss.attrib |= 0x60;
	s.save->cs.selector = SEL_UCODE64;
	s.save->ss.selector = SEL_UDATA;
	s.save->cpl = 3;
	svm_want(&s, SVM_I_IOIO);
	svm_want(&s, SVM_I_EXCP + 13);
	set_bit(&s, G_IOPM, 0x123);
	SVM_EXITS(&s, SVM_EXIT_EXCP + 13);
	s.save->rflags |= 0x3000;
	SVM_EXITS(&s, SVM_EXIT_IOIO);
}

T(io_read, "an IN that is not intercepted ends in L2")
{
	struct svm_guest s = svm_with(i8);
	struct stop st = svm_run(&s);

	CHECK_STOP(st, ST_IN);
	cpu_answer(s.c, 0x77);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rax & 0xff, 0x77);
}

/* -- MSRs -- */
CODE64(rd, "rd_a: rdmsr\n vmmcall");
CODE64(wr, "xor %eax, %eax\n xor %edx, %edx\n wrmsr\n vmmcall");

static struct stop msr(struct svm_guest *s, const u8 *b, u64 len, u32 n, int bit, bool intercept)
{
	*s = svm_new(M_LONG, 0, b, len);
	if (intercept)
		svm_want(s, SVM_I_MSR);
	if (bit >= 0)
		set_bit(s, G_MSRPM, (u32)bit);
	WITH_REGS(s->c, r)
		r.rcx = n;
	return svm_run(s);
}

CODE64(insb, "mov $0x410800, %edi\n mov $0x77, %edx\n insb\n insb_1: nop\n vmmcall");
LABEL(insb_1);
T(ins_then_exit, "an INS that user space has answered is done before an interrupt exits")
{
	struct svm_guest s = svm_with(insb);
	struct stop st;

	WITH_REGS(s.c, r)
		r.rflags |= 0x200;
	svm_want(&s, SVM_I_INTR);
	s.ctl->int_ctl = SVM_V_INTR_MASKING;
	st = svm_run(&s);
	CHECK_STOP(st, ST_IN);
	cpu_answer(s.c, 0x5a);
	cpu_interrupt(s.c, 0x99);
	st = SVM_EXITS(&s, SVM_EXIT_INTR);
	CHECK_EQ(s.save->rip, AT_L2(insb, insb_1));
	CHECK_EQ(s.g->ram[0x410800], 0x5a);
}

T(msrpm, "MSRPM: two bits an MSR in three ranges, read and write apart; others always exit")
{
	static const struct {
		u32 msr;
		int bit;
		u64 code_rd, code_wr;
	} x[] = {
		{ 0x174, 0x174 * 2, SVM_EXIT_MSR, SVM_EXIT_VMMCALL },
		{ 0x174, 0x174 * 2 + 1, SVM_EXIT_VMMCALL, SVM_EXIT_MSR },
		{ 0x174, 0x175 * 2, SVM_EXIT_VMMCALL, SVM_EXIT_VMMCALL },
		{ 0xc0000081, 0x4000 + 0x81 * 2, SVM_EXIT_MSR, SVM_EXIT_VMMCALL },
		{ 0xc0000081, 0x4000 + 0x81 * 2 + 1, SVM_EXIT_VMMCALL, SVM_EXIT_MSR },
		{ 0xc0010015, 0x8000 + 0x15 * 2, SVM_EXIT_MSR, SVM_EXIT_VMMCALL },
		{ 0xc0010015, 0x8000 + 0x15 * 2 + 1, SVM_EXIT_VMMCALL, SVM_EXIT_MSR },
		{ 0x4b564d00, -1, SVM_EXIT_MSR, SVM_EXIT_MSR },
		{ 0x2000, -1, SVM_EXIT_MSR, SVM_EXIT_MSR },
		{ 0xc0002000, -1, SVM_EXIT_MSR, SVM_EXIT_MSR },
	};

	for (u32 i = 0; i < ARRAY_SIZE(x); i++) {
		struct svm_guest s;
		struct stop st = msr(&s, rd_b, LEN(rd), x[i].msr, x[i].bit, true);

		if (!CHECK_EXIT(&s, st, x[i].code_rd))
			printf("# read row %u\n", i);
		CHECK_EQ(s.ctl->exit_info_1, 0);
		if (s.ctl->exit_code == SVM_EXIT_MSR) {
			CHECK_EQ(s.save->rip, G_L2);
			CHECK_EQ(s.ctl->next_rip, G_L2 + 2);
		}
		guest_free(s.g);
		st = msr(&s, wr_b, LEN(wr), x[i].msr, x[i].bit, true);
		if (!CHECK_EXIT(&s, st, x[i].code_wr))
			printf("# write row %u\n", i);
		CHECK_EQ(s.ctl->exit_info_1, x[i].code_wr == SVM_EXIT_MSR);
		guest_free(s.g);
		st = msr(&s, rd_b, LEN(rd), 0x174, 0x174 * 2, false);
		CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
		guest_free(s.g);
	}
}

T(msr_gp, "the intercept comes before the #GP of a bad MSR number")
{
	struct svm_guest s;
	struct stop st = msr(&s, rd_b, LEN(rd), 0x1fff, 0x1fff * 2, true);

	CHECK_EXIT(&s, st, SVM_EXIT_MSR);
	st = msr(&s, rd_b, LEN(rd), 0x1fff, -1, true);
	CHECK_EXC(st, 13, 0);
}

T(msr_shared, "an MSR that L2 may write is L1's as well")
{
	struct svm_guest s = svm_with(wr);

	cpu_set_msr(s.c, 0xc0000081, 0x1234);
	WITH_REGS(s.c, r)
		r.rcx = 0xc0000081;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(cpu_msr(s.c, 0xc0000081), 0);
}

/* RDMSR from ECX on, EBX times, into (RDI); with ESI it is written back. #GP reads zero. */
#define WALK(name, end) CODE64(name, "1: rdmsr\n mov %eax, (%rdi)\n mov %edx, 4(%rdi)\n" \
	"test %esi, %esi\n jz 2f\n wrmsr\n 2: add $8, %rdi\n inc %ecx\n dec %ebx\n jnz 1b\n" end)
WALK(walk_l1, "out %al, $0xf1");
WALK(walk_l2, "vmmcall");
CODE64(skip, "add $8, %rsp\n addq $2, (%rsp)\n xor %eax, %eax\n xor %edx, %edx\n iretq");
T(every_msr, "every MSR that L1 lets alone is the same in L2, which may write it back")
{
	static const u32 first[] = { 0, 0xc0000000, 0xc0010000 };

	for (u32 i = 0; i < ARRAY_SIZE(first); i++) {
		struct svm_guest s = svm_with_apic(walk_l2);
		g_u64 *l1 = g64(s.g, G_SVM_DATA), *l2 = l1 + 0x2000;
		struct stop st;

		guest_load(s.g, 0x9000, skip);
		guest_load(s.g, 0x9100, walk_l1);
		guest_gate(s.g, 13, SEL_CODE64, 0x9000, 0xe, 0, 0);
		svm_want(&s, SVM_I_MSR);
		for (u32 pass = 0; pass < 3; pass++) {
			WITH_REGS(s.c, r) {
				r.rax = G_VMCB;
				r.rcx = first[i];
				r.rbx = 0x2000;
				r.rdi = G_SVM_DATA + (pass ? 0x10000 : 0);
				r.rsi = pass == 2;
				r.rip = pass ? G_CODE : 0x9100;
			}
			s.save->rip = G_L2;
			st = svm_run(&s);
			if (!pass)
				CHECK_STOP(st, ST_OUT);
			else
				CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
			cpu_complete(s.c);
			for (u32 m = 0; pass && m < 0x2000; m++) {
				u32 msr = first[i] + m;

				/* The TSC, and TSC_ADJUST that its being written moves. */
				if (l1[m] == l2[m] || msr == 0x10 || msr == 0x3b)
					continue;
				test_fail(__FILE__, __LINE__, "%x: %llx in L1, %llx in L2", msr,
					  (unsigned long long)l1[m], (unsigned long long)l2[m]);
			}
		}
		guest_free(s.g);
	}
}
