/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/svm_pat.c - whose PAT L2 has: L1's, or with nested paging and the quirk
 * NESTED_SVM_SHARED_PAT off one of its own in G_PAT (APM2 15.25.4; docs/kvm-svm.md 4.11).
 */
/* Run: build/standin run -- build/tests/guest/guest_svm_pat [NAME...] */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "tests/guest/harness/svm.h"

#define PAT 0x277
#define PAT_RESET 0x0007040600070406ull
#define PAT_L1 0x0606060606060606ull
#define PAT_L2 0x0007010600070106ull
#define SHARED_PAT BIT64(11)

/* What L2 finds, then what it leaves: all 4 (WT). */
CODE64(pat, "mov $0x277, %ecx\n rdmsr\n mov %eax, %ebx\n mov %edx, %ebp\n out %al, $0x10\n"
	" mov $0x04040404, %eax\n mov %eax, %edx\n wrmsr\n out %al, $0x11\n vmmcall");
#define PAT_LEFT 0x0404040404040404ull

static struct svm_guest pat_guest(bool own, bool npt)
{
	struct svm_guest s = svm_with(pat);
	struct kvm_enable_cap e = { .cap = KVM_CAP_DISABLE_QUIRKS2, .args = { SHARED_PAT } };

	if (!(ioctl(s.g->vm, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2) & SHARED_PAT))
		test_skip("the quirk is not known");
	if (own && ioctl(s.g->vm, KVM_ENABLE_CAP, &e))
		test_die("KVM_CAP_DISABLE_QUIRKS2: %s", strerror(errno));
	if (npt)
		svm_npt(&s);
	cpu_set_msr(s.c, PAT, PAT_L1);
	s.save->g_pat = PAT_L2;
	return s;
}

static u64 found(const struct stop *st)
{
	return st->r.rbx | st->r.rbp << 32;
}

T(shared, "with the quirk, or without nested paging, L2 reads and writes L1's")
{
	for (u32 i = 0; i < 3; i++) {
		struct svm_guest s = pat_guest(i == 1, i == 2);
		struct stop st = svm_run(&s);

		CHECK_EQ(st.port, 0x10);
		CHECK_EQ(found(&st), PAT_L1);
		st = svm_run(&s);
		CHECK_EQ(st.port, 0x11);
		st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		CHECK_EQ(s.save->g_pat, PAT_L2);
		CHECK_EQ(cpu_msr(s.c, PAT), PAT_LEFT);
	}
}

T(own, "without the quirk L2 has G_PAT; #VMEXIT writes it back; user space sees L1's")
{
	struct svm_guest s = pat_guest(true, true);
	struct stop st = svm_run(&s);

	CHECK_EQ(st.port, 0x10);
	CHECK_EQ(found(&st), PAT_L2);
	CHECK_EQ(cpu_msr(s.c, PAT), PAT_L1);
	cpu_set_msr(s.c, PAT, PAT_RESET);
	st = svm_run(&s);
	CHECK_EQ(st.port, 0x11);
	CHECK_EQ(cpu_msr(s.c, PAT), PAT_RESET);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->g_pat, PAT_LEFT);
	CHECK_EQ(cpu_msr(s.c, PAT), PAT_RESET);
}

T(bad, "a reserved type in G_PAT is refused when it would be used")
{
	struct svm_guest s = pat_guest(true, true);

	for (u32 type = 0; type < 9; type++)
		for (u32 byte = 0; byte < 8; byte++) {
			bool ok = type != 2 && type != 3 && type != 8;

			svm_rewind(&s);
			svm_npt(&s);
			guest_write(s.g, G_L2, "\x0f\x01\xd9", 3);	/* vmmcall */
			s.save->g_pat = (u64)type << 8 * byte;
			SVM_EXITS(&s, ok ? SVM_EXIT_VMMCALL : SVM_EXIT_INVALID);
			s.ctl->misc_ctl = 0;
			SVM_EXITS(&s, SVM_EXIT_VMMCALL);
		}
}

T(nested_state, "the nested state carries L2's; a bad one is EINVAL")
{
	struct {
		struct kvm_nested_state hdr;
		struct vmcb image;
	} n = { .hdr.size = sizeof(n) };
	struct svm_guest s = pat_guest(true, true);
	u64 *gpat = (u64 *)(void *)(n.hdr.hdr.pad + 8);
	struct stop st = svm_run(&s);

	CHECK_EQ(st.port, 0x10);
	cpu_complete(s.c);
	vcpu_ioctl(s.c, KVM_GET_NESTED_STATE, &n, "KVM_GET_NESTED_STATE");
	CHECK_EQ(*gpat, PAT_L2);
	*gpat = 2;
	CHECK_EQ(ioctl(s.c->fd, KVM_SET_NESTED_STATE, &n), -1);
	CHECK_EQ(errno, EINVAL);
	*gpat = 5;
	vcpu_ioctl(s.c, KVM_SET_NESTED_STATE, &n, "KVM_SET_NESTED_STATE");
	CHECK_EQ(cpu_msr(s.c, PAT), PAT_L1);
	/* The write is behind the first OUT: jump over it. */
	WITH_REGS(s.c, r)
		r.rip += 9;
	st = svm_run(&s);
	CHECK_EQ(st.port, 0x11);
	st = SVM_EXITS(&s, SVM_EXIT_VMMCALL);
	CHECK_EQ(s.save->g_pat, 5);
	CHECK_EQ(cpu_msr(s.c, PAT), PAT_L1);
}
