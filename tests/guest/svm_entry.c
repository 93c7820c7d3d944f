/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_entry.c - VMRUN and #VMEXIT: permissions, what is loaded, what is written back
 * (APM2 15.5, 15.6; docs/kvm-svm.md 4.2, 4.6, 4.7).
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_entry [NAME...] */
#include <sys/mman.h>

#include "tests/guest/harness/svm.h"

#define EFER 0xc0000080
#define VM_HSAVE_PA 0xc0010117

CODE64(call, "vmmcall\n call_1: vmmcall");
LABEL(call_1);

T(round_trip, "VMRUN, VMMCALL, #VMEXIT: L2 stops at the instruction, L1 goes on behind VMRUN")
{
	struct svm_guest s = svm_with(call);
	struct stop st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);

	CHECK_EQ(s.save->rip, G_L2);
	CHECK_EQ(s.ctl->next_rip, G_L2 + 3);
	CHECK_EQ(s.ctl->exit_info_1, 0);
	CHECK_EQ(s.ctl->exit_info_2, 0);
	CHECK_EQ(s.ctl->exit_int_info, 0);
	CHECK_EQ(st.r.rax, G_VMCB);
	CHECK_EQ(st.r.rsp, G_STACK);
	s.save->rip = s.ctl->next_rip;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, AT_L2(call, call_1));
}

CODE64(regs, "mov $0x1122334455667788, %rax\n mov $0x123, %rsp\n mov $7, %ebx\n stc\n vmmcall");
T(state, "RAX, RSP, RFLAGS, CR2, DR6, DR7 and segments are switched, the rest is shared")
{
	struct svm_guest s = svm_with(regs);
	struct stop st;

	s.save->cr2 = 0xdeadbeef000;
	s.save->dr6 = 0xffff0ff5;
	s.save->dr7 = 0x400;
	s.save->ds.limit = 0x1234;
	s.save->es.selector = 0x77;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rax, 0x1122334455667788);
	CHECK_EQ(s.save->rsp, 0x123);
	CHECK_EQ(s.save->rflags, 3);
	CHECK_EQ(s.save->cr2, 0xdeadbeef000);
	CHECK_EQ(s.save->dr6, 0xffff0ff5);
	CHECK_EQ(s.save->ds.limit, 0x1234);
	CHECK_EQ(s.save->es.selector, 0x77);
	CHECK_EQ(s.save->cpl, 0);
	CHECK_EQ(st.r.rbx, 7);
	CHECK_EQ(st.r.rax, G_VMCB);
	CHECK_EQ(st.r.rflags & 1, 0);
	CHECK_EQ(cpu_sregs(s.c).ds.limit, 0xffffffff);
	/* not L1's: these stay as L2 had them */
	CHECK_EQ(cpu_sregs(s.c).cr2, 0xdeadbeef000);
}

T(lazy, "FS, GS, TR, LDTR, KernelGsBase, STAR.. and SYSENTER are not touched by VMRUN")
{
	struct svm_guest s = svm_with(call);
	struct kvm_sregs a = cpu_sregs(s.c), b;

	cpu_set_msr(s.c, 0xc0000102, 0x5000);
	cpu_set_msr(s.c, 0xc0000081, 0x1234);
	s.save->fs.base = 0x9999;
	s.save->tr.selector = 0x99;
	s.save->kernel_gs_base = 0x7777;
	s.save->star = 0x8888;
	struct stop st = svm_run(&s);

	b = cpu_sregs(s.c);
	CHECK_EXIT(&s, st, SVM_EXIT_VMMCALL);
	CHECK_EQ(b.fs.base, a.fs.base);
	CHECK_EQ(b.tr.selector, a.tr.selector);
	CHECK_EQ(cpu_msr(s.c, 0xc0000102), 0x5000);
	CHECK_EQ(cpu_msr(s.c, 0xc0000081), 0x1234);
	CHECK_EQ(s.save->kernel_gs_base, 0x7777);
}

T(invalid, "a refused VMRUN retires: exit code -1, no exit information, GIF clear, L1 as it was")
{
	struct svm_guest s = svm_with(call);
	struct stop st;

	s.ctl->asid = 0;
	s.ctl->exit_info_1 = s.ctl->exit_info_2 = 5;
	s.ctl->event_inj = 0x80000030;
	s.ctl->exit_int_info = 0x123;
	WITH_REGS(s.c, r)
		r.rbx = 0x42;
	st = SVM_EXITS(&s, SVM_EXIT_INVALID);
	CHECK_EQ(s.ctl->exit_info_1, 0);
	CHECK_EQ(s.ctl->exit_info_2, 0);
	CHECK_EQ(s.ctl->event_inj, 0);
	CHECK_EQ(s.ctl->exit_int_info, 0x123);
	CHECK_EQ(s.save->rip, G_L2);
	CHECK_EQ(st.r.rbx, 0x42);
	CHECK_EQ(st.r.rax, G_VMCB);
	s.ctl->asid = 1;
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
}

T(bad_state, "save-area values that VMRUN refuses")
{
	struct svm_guest s = svm_with(call);
	struct stop st;

#define BAD(what) \
	do { \
		svm_rewind(&s); \
		what; \
		st = svm_run(&s); \
		if (!CHECK_EXIT(&s, st, SVM_EXIT_INVALID)) \
			test_fail(__FILE__, __LINE__, "%s", #what); \
		WITH_REGS(s.c, r) \
			r.rax = G_VMCB; \
	} while (0)
	BAD(s.save->efer &= ~BIT64(12));
	BAD(s.save->cr0 |= BIT64(29));
	BAD(s.save->cr0 |= BIT64(32));
	BAD(s.save->cr4 |= BIT64(31));
	BAD(s.save->cr4 &= ~BIT64(5));
	BAD(s.save->cr3 |= BIT64(60));
	BAD(s.save->dr6 |= BIT64(32));
	BAD(s.save->dr7 |= BIT64(32));
	BAD(s.save->cs.attrib |= 0x400);
	BAD(s.ctl->intercept[4] &= ~1u);
	BAD(s.ctl->event_inj = 0x80000314);
	BAD(s.ctl->msrpm = BIT64(51));
	BAD(s.ctl->iopm = BIT64(51));
	BAD((svm_want(&s, SVM_I_MSR), s.ctl->msrpm = 0x30000000));
}

#define FAULTS(X) X(vmrun) X(vmload) X(vmsave) X(stgi) X(clgi) X(invlpga)
#define SNIP(i) CODE64(plain_##i, "f_" #i ": " #i "\n" DONE);
SNIP(vmrun)
SNIP(vmload)
SNIP(vmsave)
SNIP(stgi)
SNIP(clgi)
SNIP(invlpga)
T(svme, "without EFER.SVME the instructions are #UD, at CPL 3 #GP(0)")
{
#define X(i) \
	do { \
		struct guest *g = guest_with(M_LONG, plain_##i); \
		struct stop st = run(g); \
		CHECK_EXC(st, 6, -1); \
		guest_free(g); \
		g = guest_with(M_LONG, plain_##i); \
		cpu_set_msr(cpu0(g), EFER, cpu_msr(cpu0(g), EFER) | BIT64(12)); \
		cpu_ring3(cpu0(g), G_CODE); \
		st = run(g); \
		CHECK_EXC(st, 13, 0); \
		guest_free(g); \
	} while (0);
	FAULTS(X)
#undef X
}

CODE64(skinit, "skinit %eax" DONE);
T(skinit, "SKINIT is #UD")
{
	struct guest *g = guest_with(M_LONG, skinit);

	cpu_set_msr(cpu0(g), EFER, cpu_msr(cpu0(g), EFER) | BIT64(12));
	RUN_EXC(g, 6, -1);
}

T(operand, "RAX must be a page below MAXPHYADDR; VM_HSAVE_PA must be set")
{
	static const u64 bad[] = { ~0ull, 0x400008, BIT64(51), BIT64(48) };

	for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
#define X(insn) \
		do { \
			struct guest *g = guest_with(M_LONG, plain_##insn); \
			struct stop st; \
			cpu_set_msr(cpu0(g), EFER, cpu_msr(cpu0(g), EFER) | BIT64(12)); \
			cpu_set_msr(cpu0(g), VM_HSAVE_PA, G_HSAVE); \
			WITH_REGS(cpu0(g), r) \
				r.rax = bad[i]; \
			st = run(g); \
			CHECK_EXC(st, 13, 0); \
			guest_free(g); \
		} while (0);
		X(vmrun) X(vmload) X(vmsave)
#undef X
	}
	struct svm_guest s = svm_with(call);

	cpu_set_msr(s.c, VM_HSAVE_PA, 0);
	struct stop st = svm_run(&s);

	CHECK_EXC(st, 13, 0);
	CHECK_EQ(st.rip, G_CODE);
}

T(unbacked, "a VMCB without memory behind it is an internal error")
{
	struct svm_guest s = svm_with(call);
	struct stop st;

	WITH_REGS(s.c, r)
		r.rax = 0x20000000;
	st = svm_run(&s);
	CHECK_STOP(st, ST_INTERNAL);
	CHECK_EQ(st.err, 1);
	CHECK_EQ(st.r.rip, G_CODE);
}

CODE64(load, "vmload %rax\n mov %rbx, %rax\n vmsave %rax" DONE);
T(vmload, "VMLOAD and VMSAVE move the rest; bases come back canonical")
{
	struct guest *g = guest_with(M_LONG, load);
	struct vmcb *a = (void *)(g->ram + G_VMCB), *b = (void *)(g->ram + G_HSAVE);

	cpu_set_msr(cpu0(g), EFER, cpu_msr(cpu0(g), EFER) | BIT64(12));
	a->save.fs = (struct vmcb_seg){ 0x23, 0xcf3, 0xffffffff, 0x800000001000 };
	a->save.gs = (struct vmcb_seg){ 0x2b, 0xcf3, 0xfffff, 0x7000 };
	a->save.ldtr = (struct vmcb_seg){ 0x60, 0x82, 0xff, 0x3300 };
	a->save.tr = (struct vmcb_seg){ 0x48, 0x8b, 0x67, 0x3000 };
	a->save.kernel_gs_base = BIT64(47);
	a->save.star = 1;
	a->save.lstar = 2;
	a->save.cstar = 3;
	a->save.sfmask = 4;
	a->save.sysenter_cs = 5;
	a->save.sysenter_esp = 6;
	a->save.sysenter_eip = 7;
	WITH_REGS(cpu0(g), r) {
		r.rax = G_VMCB;
		r.rbx = G_HSAVE;
	}
	RUN_TO(g, ST_DONE);
	CHECK_EQ(b->save.fs.base, 0xffff800000001000);
	CHECK_EQ(b->save.fs.selector, 0x23);
	CHECK_EQ(b->save.gs.base, 0x7000);
	CHECK_EQ(b->save.gs.limit, 0xfffff);
	CHECK_EQ(b->save.kernel_gs_base, 0xffff800000000000);
	CHECK(!memcmp(&a->save.ldtr, &b->save.ldtr, 16));
	CHECK(!memcmp(&a->save.tr, &b->save.tr, 16));
	CHECK(!memcmp(&a->save.star, &b->save.star, 32));
	CHECK(!memcmp(&a->save.sysenter_cs, &b->save.sysenter_cs, 24));
	CHECK_EQ(b->save.es.selector, 0);
	CHECK_EQ(cpu_msr(cpu0(g), 0xc0000082), 2);
}

CODE64(single, "nop\n single_1: nop\n single_2: vmmcall");
LABEL(single_1);
T(tf_l2, "TF in L2 traps behind its first instruction")
{
	struct svm_guest s = svm_with(single);

	svm_want(&s, SVM_I_EXCP + 1);
	s.save->rflags |= 0x100;
	SVM_EXITS(&s, SVM_EXIT_EXCP + 1);
	CHECK_EQ(s.save->rip, AT_L2(single, single_1));
	CHECK_EQ(s.save->dr6 & 0x4000, 0x4000);
}

T(tf_l1, "TF in L1 traps behind VMRUN, after #VMEXIT")
{
	struct svm_guest s = svm_with(single);
	struct stop st;

	WITH_REGS(s.c, r)
		r.rflags |= 0x100;
	st = svm_run(&s);
	CHECK_EXC(st, 1, -1);
	CHECK_EQ(st.rip, G_CODE + 3);
	CHECK_EQ(s.ctl->exit_code, SVM_EXIT_VMMCALL);
}

T(hidden, "L1 gets CR0.PE, DR7 = 0x400, CPL 0 back; L2's DR7 is saved")
{
	struct svm_guest s = svm_with(call);
	struct kvm_debugregs d;

	s.save->dr7 = 0x455;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->dr7, 0x455);
	vcpu_ioctl(s.c, KVM_GET_DEBUGREGS, &d, "KVM_GET_DEBUGREGS");
	CHECK_EQ(d.dr7, 0x400);
}

CODE64(user, "user_0: vmmcall");
T(cpl3, "L2 may start at CPL 3; VMMCALL is legal there")
{
	struct svm_guest s = svm_with(user);

	s.save->cs.attrib |= 0x60;
	s.save->ss.attrib |= 0x60;
	s.save->cs.selector |= 3;
	s.save->ss.selector |= 3;
	s.save->cpl = 3;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->cpl, 3);
}

CODE16(real, "mov $0x1234, %ax\n mov %ds, %bx\n .byte 0x0f, 0x01, 0xd9");
T(real_mode, "L2 in real mode")
{
	struct svm_guest s = svm_with(real);
	struct stop st;

	s.save->cr0 = 0x10;
	s.save->cr4 = 0;
	s.save->efer = BIT64(12);
	memcpy(s.g->ram + 0x9000, real_b, LEN(real));
	s.save->cs = (struct vmcb_seg){ 0x900, 0x9b, 0xffff, 0x9000 };
	s.save->ds = s.save->es = s.save->ss = (struct vmcb_seg){ 0x700, 0x93, 0xffff, 0x7000 };
	s.save->rip = 0;
	s.save->cpl = 3;	/* ignored */
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rax & 0xffff, 0x1234);
	CHECK_EQ(s.save->rip, LEN(real) - 3);
	CHECK_EQ(st.r.rbx & 0xffff, 0x700);
	CHECK_EQ(s.save->cpl, 0);
}

/* Down to real mode and up again, with L1 looking at either end. Loaded at 0x9000. */
__asm__(".pushsection .rodata\n switch_b:\n .code64\n"
	"ljmp *switch_32 - switch_b + 0x9000\n switch_32: .long switch_1 - switch_b + 0x9000, 8\n"
	".code32\n switch_1: mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
	"mov $0xc0000080, %ecx\n rdmsr\n and $~0x100, %eax\n wrmsr\n"
	"mov %cr4, %eax\n and $~0x20, %eax\n mov %eax, %cr4\n"
	"ljmp $0x28, $(switch_2 - switch_b + 0x9000)\n"
	".code16\n switch_2: mov %cr0, %eax\n and $~1, %eax\n mov %eax, %cr0\n"
	"ljmp $0x900, $(switch_3 - switch_b)\n"
	"switch_3: .byte 0x0f, 0x01, 0xd9\n"
	"switch_4: mov %cr0, %eax\n or $1, %eax\n mov %eax, %cr0\n"
	"ljmpl $8, $(switch_5 - switch_b + 0x9000)\n"
	".code32\n switch_5: mov %cr4, %eax\n or $0x20, %eax\n mov %eax, %cr4\n"
	"mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"
	"mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n"
	"ljmp $0x18, $(switch_6 - switch_b + 0x9000)\n"
	".code64\n switch_6: vmmcall\n switch_e:\n .popsection");
extern const u8 switch_b[], switch_e[], switch_3[], switch_6[];
T(mode_switch, "L2 that goes from long mode to real mode and back is entered in either")
{
	for (int np = 0; np < 2; np++) {
		struct svm_guest s = svm_with(call);

		guest_write(s.g, 0x9000, switch_b, (u32)(switch_e - switch_b));
		if (np)
			svm_npt(&s);
		s.save->rip = 0x9000;
		SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(s.save->rip, switch_3 - switch_b);
		CHECK_EQ(s.save->cr0 & 0x80000001, 0);
		CHECK_EQ(s.save->cr4 & 0x20, 0);
		CHECK_EQ(s.save->efer & 0x500, 0);
		s.save->rip += 3;
		SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(s.save->rip, 0x9000 + switch_6 - switch_b);
		CHECK_EQ(s.save->cr0 & 0x80000001, 0x80000001);
		CHECK_EQ(s.save->cr4 & 0x20, 0x20);
		CHECK_EQ(s.save->efer & 0x500, 0x500);
		guest_free(s.g);
	}
}

/* -- what belongs to each of the two -- */
CODE64(osx_l1, "vmrun %rax\n mov $1, %eax\n cpuid\n out %al, $0xf1");
CODE64(osx_l2, "mov %cr4, %rax\n and $~0x40000, %eax\n mov %rax, %cr4\n mov $1, %eax\n cpuid\n"
	"mov %ecx, %esi\n vmmcall");
T(osxsave, "CPUID's OSXSAVE is that of whoever runs")
{
	struct svm_guest s = svm_with(osx_l2);
	struct stop st;

	if (!guest_has(s.g, 1, 2, 26))
		test_skip("no XSAVE");
	guest_load(s.g, G_CODE, osx_l1);
	WITH_SREGS(s.c, sr)
		sr.cr4 |= BIT64(18);
	s.save->cr4 |= BIT64(18);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rsi >> 27 & 1, 0);
	CHECK_EQ(st.r.rcx >> 27 & 1, 1);
	CHECK_EQ(s.save->cr4 & BIT64(18), 0);
}

T(pcid, "CR3's low bits are a PCID with CR4.PCIDE, and ignored without")
{
	struct svm_guest s = svm_with(call);

	if (!guest_has(s.g, 1, 2, 17))
		test_skip("no PCID");
	for (u32 i = 0; i < 4; i++) {

		svm_rewind(&s);
		if (i & 1)
			svm_npt(&s);
		if (i & 2)
			s.save->cr4 |= BIT64(17);
		s.save->cr3 |= 0xfe7;
		SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(s.save->cr3 & 0xfff, 0xfe7);
	}
}

CODE64(bp_l1, "clgi\n nop\n bp_vmrun: vmrun %rax\n bp_after: pushf\n pop %rbx\n out %al, $0xf1");
LABEL(bp_vmrun);
LABEL(bp_after);
T(vmrun_breakpoint, "a breakpoint at VMRUN: #DB before it, RF takes VMRUN past it, once")
{
	struct svm_guest s = svm_with(call);
	struct kvm_debugregs d = { .dr6 = 0xffff0ff0, .dr7 = 0x402, .db = { AT(bp_l1, bp_vmrun) } };
	struct stop st;

	guest_load(s.g, G_CODE, bp_l1);
	vcpu_ioctl(s.c, KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS");
	st = svm_run(&s);
	CHECK_EXC(st, 1, -1);
	CHECK_EQ(st.rip, AT(bp_l1, bp_vmrun));
	CHECK_EQ(st.rflags & 0x10000, 0x10000);
	cpu_resume(s.c, &st, st.rip);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(st.r.rbx & 0x10000, 0);
}

T(lost_vmcb, "a VMCB that is gone at #VMEXIT is a shutdown")
{
	static const u8 code[] = { 0xe6, 0x77, 0x0f, 0x01, 0xd9 };	/* out 0x77; vmmcall */
	struct svm_guest s = svm_new(M_LONG, 0, code, sizeof(code));
	struct guest_cpu vm = { .fd = s.g->vm };
	struct kvm_userspace_memory_region extra = {
		.slot = 9, .guest_phys_addr = 0x20000000, .memory_size = 0x1000,
		.userspace_addr = (u64)(uintptr_t)(s.g->ram + G_SVM_DATA),
	};
	struct stop st;

	vcpu_ioctl(&vm, KVM_SET_USER_MEMORY_REGION, &extra, "slot");
	memcpy(s.g->ram + G_SVM_DATA, s.vmcb, 4096);
	WITH_REGS(s.c, r)
		r.rax = 0x20000000;
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x77);
	extra.memory_size = 0;
	vcpu_ioctl(&vm, KVM_SET_USER_MEMORY_REGION, &extra, "slot");
	st = svm_run(&s);
	CHECK_STOP(st, ST_SHUTDOWN);
}

static void take(struct svm_guest *s, u64 gpa)
{
	if (munmap(s->g->ram + gpa, 4096))
		test_die("munmap: %s", strerror(errno));
}

static void give(struct svm_guest *s, u64 gpa, const void *was)
{
	if (mmap(s->g->ram + gpa, 4096, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		test_die("mmap: %s", strerror(errno));
	memcpy(s->g->ram + gpa, was, 4096);
}

static void efault(struct svm_guest *s, u64 gpa, const char *what)
{
	u8 was[4096];
	struct stop st;

	memcpy(was, s->g->ram + gpa, sizeof(was));
	take(s, gpa);
	st = svm_run(s);
	if (st.kind != ST_ERROR || st.err != EFAULT)
		test_fail(__FILE__, __LINE__, "%s: %s", what, stop_text(&st));
	give(s, gpa, was);
}

CODE64(gone, "out %al, $0x77\n mov $0x174, %ecx\n rdmsr\n out %al, $0x40\n vmmcall");
T(gone, "memory that the program has unmapped is EFAULT, and nothing is lost when it is back")
{
	struct svm_guest s = svm_with(gone);
	struct stop st;

	svm_want(&s, SVM_I_MSR);
	svm_want(&s, SVM_I_IOIO);
	efault(&s, G_VMCB, "VMRUN");
	CHECK_EQ(cpu_regs(s.c).rip, G_CODE);
	efault(&s, G_IOPM, "IOPM");
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x77);
	efault(&s, G_MSRPM, "MSRPM");
	st = svm_run(&s);
	CHECK_STOP(st, ST_OUT);
	CHECK_EQ(st.port, 0x40);
	efault(&s, G_VMCB, "#VMEXIT");
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->rip, G_L2 + LEN(gone) - 3);
	CHECK_EQ(s.ctl->next_rip, G_L2 + LEN(gone));
	CHECK_EQ(st.r.rax, G_VMCB);
}

/* -- what #VMEXIT writes of the control area (APM2 15.6, 15.7.2) -- */
CODE64(wb, "wb_0: out %al, $0x10\n wb_1: cpuid\n wb_2: vmmcall\n hlt");
LABEL(wb_1); LABEL(wb_2);
T(write_back, "#VMEXIT leaves TLB_CONTROL, V_INTR_VECTOR and reserved bits; EVENTINJ's error is 0")
{
	static const struct nop {
		u8 b[4];
	} code = { { 0x0f, 0x01, 0xd9, 0xf4 } };
	struct svm_guest s = svm_new(M_LONG, 0, code.b, sizeof(code));

	s.ctl->tlb_ctl = 0xf1;
	s.ctl->int_vector = 0xabcd0031;
	s.ctl->int_ctl = BIT(13) | BIT(21) | 3u << SVM_V_PRIO_SHIFT;
	s.ctl->event_inj_err = 0x1234;
	s.ctl->exit_int_info = 0xdead;
	SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.ctl->tlb_ctl, 0xf1);
	CHECK_EQ(s.ctl->int_vector, 0xabcd0031);
	CHECK_EQ(s.ctl->int_ctl, BIT(13) | BIT(21) | 3u << SVM_V_PRIO_SHIFT);
	CHECK_EQ(s.ctl->event_inj_err, 0);
	CHECK_EQ(s.ctl->exit_int_info, 0);
}

T(late, "a refusal found late leaves EXITINTINFO, and takes EVENTINJ back")
{
	static const u32 inject[] = { 0, 0x80000030, 0x80000b0d };

	for (u32 i = 0; i < ARRAY_SIZE(inject); i++) {
		struct svm_guest s = svm_with(wb);

		svm_want(&s, SVM_I_MSR);
		s.ctl->msrpm = 0x20000000;	/* no memory */
		s.ctl->exit_int_info = 0xdead;
		s.ctl->exit_int_info_err = 0xbeef;
		s.ctl->event_inj = inject[i];
		s.ctl->event_inj_err = 7;
		SVM_EXITS(&s, SVM_EXIT_INVALID);
		CHECK_EQ(s.ctl->exit_int_info, 0xdead);
		CHECK_EQ(s.ctl->exit_int_info_err, 0xbeef);
		CHECK_EQ(s.ctl->event_inj, 0);
		CHECK_EQ(s.ctl->event_inj_err, 0);
		guest_free(s.g);
	}
}
