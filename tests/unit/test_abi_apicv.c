/* SPDX-License-Identifier: MIT */
/*
 * Inhibits of APIC acceleration through the KVM ABI (docs/kvm-apic.md 3.1, seed 003), as the VM's
 * counter apicv_inhibits shows them. Runs under `standin run --avic=KIND`; argument: KIND.
 */
/* Run: build/standin run --avic=x2avic -- build/tests/unit/test_abi_apicv x2avic [NAME...] */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "irq/apicv.h"

static const char *kind = "x2avic-ext";

static u32 limit(void)
{
#define X(n, text, max) \
	if (!strcmp(kind, text)) \
		return max;
	AVIC_KINDS(X)
#undef X
	return 0;
}

static bool on(void)
{
	return limit() != 0;
}

static int kvm_fd(void)
{
	const char *node = getenv("STANDIN_NODE");
	int fd = open(node ? node : "/dev/kvm", O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int new_vm(int *kvm)
{
	int vm;

	*kvm = kvm_fd();
	vm = ioctl(*kvm, KVM_CREATE_VM, 0);
	assert_true(vm >= 0);
	return vm;
}

static void split(int vm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	assert_int_equal(ioctl(vm, KVM_ENABLE_CAP, &cap), 0);
}

/* KVM_GET_STATS_FD, as any program reads it. */
static u64 inhibits(int vm)
{
	int fd = ioctl(vm, KVM_GET_STATS_FD, NULL);
	struct kvm_stats_header h;
	u8 buf[8192];
	u64 v = ~0ull;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &h, sizeof(h), 0), sizeof(h));
	for (u32 i = 0; i < h.num_desc; i++) {
		size_t size = sizeof(struct kvm_stats_desc) + h.name_size;
		struct kvm_stats_desc *d = (void *)buf;

		assert_int_equal(pread(fd, buf, size, h.desc_offset + (off_t)(i * size)),
				 (ssize_t)size);
		if (strcmp(d->name, "apicv_inhibits"))
			continue;
		assert_int_equal(pread(fd, &v, 8, h.data_offset + d->offset), 8);
	}
	close(fd);
	return v;
}

#define HAS(n) (inhibits(vm) >> APICV_INHIBIT_##n & 1)

T(absent_until_there_is_an_irqchip)
{
	int kvm, vm = new_vm(&kvm);

	assert_int_equal(inhibits(vm),
			 on() ? BIT(APICV_INHIBIT_ABSENT) : BIT(APICV_INHIBIT_DISABLED));
	split(vm);
	assert_int_equal(inhibits(vm), on() ? 0 : BIT(APICV_INHIBIT_DISABLED));
	close(vm);
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	assert_int_equal(ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
	assert_int_equal(inhibits(vm), on() ? 0 : BIT(APICV_INHIBIT_DISABLED));
	close(vm);
	close(kvm);
}

T(pit_reinject_until_it_is_switched_off)
{
	struct kvm_pit_config pit = { 0 };
	struct kvm_reinject_control off = { .pit_reinject = 0 }, again = { .pit_reinject = 1 };
	int kvm, vm = new_vm(&kvm);

	assert_int_equal(ioctl(vm, KVM_CREATE_IRQCHIP, 0), 0);
	assert_int_equal(ioctl(vm, KVM_CREATE_PIT2, &pit), 0);
	assert_int_equal(HAS(PIT_REINJ), 1);
	assert_int_equal(ioctl(vm, KVM_REINJECT_CONTROL, &off), 0);
	assert_int_equal(HAS(PIT_REINJ), 0);
	assert_int_equal(ioctl(vm, KVM_REINJECT_CONTROL, &again), 0);
	assert_int_equal(HAS(PIT_REINJ), 1);
	close(vm);
	close(kvm);
}

/* Seed 003: the limit of KVM_CREATE_VCPU is that of the ABI, whatever the hardware addresses. */
T(every_vcpu_id_can_be_created)
{
	static const u32 ids[] = { 0, 254, 255, 511, 512, 600, 4095 };
	int kvm, vm;

	for (u32 i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		int zero = -1, vcpu;

		vm = new_vm(&kvm);
		assert_true(ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPU_ID) >= 4096);
		split(vm);
		if (ids[i]) {
			zero = ioctl(vm, KVM_CREATE_VCPU, 0);
			assert_true(zero >= 0);
		}
		vcpu = ioctl(vm, KVM_CREATE_VCPU, ids[i]);
		assert_true(vcpu >= 0);
		assert_int_equal(HAS(PHYSICAL_ID_TOO_BIG), on() && ids[i] > limit());
		if (zero >= 0)
			close(zero);
		close(vcpu);
		close(vm);
		close(kvm);
	}
	vm = new_vm(&kvm);
	split(vm);
	assert_int_equal(ioctl(vm, KVM_CREATE_VCPU, 4096), -1);
	close(vm);
	close(kvm);
}

T(blockirq_of_any_vcpu)
{
	struct kvm_guest_debug block = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_BLOCKIRQ,
	}, none = { 0 }, disabled = { .control = KVM_GUESTDBG_BLOCKIRQ };
	int kvm, vm = new_vm(&kvm), a, b;

	split(vm);
	a = ioctl(vm, KVM_CREATE_VCPU, 0);
	b = ioctl(vm, KVM_CREATE_VCPU, 1);
	assert_int_equal(ioctl(a, KVM_SET_GUEST_DEBUG, &disabled), 0);
	assert_int_equal(HAS(BLOCKIRQ), 0);
	assert_int_equal(ioctl(a, KVM_SET_GUEST_DEBUG, &block), 0);
	assert_int_equal(ioctl(b, KVM_SET_GUEST_DEBUG, &block), 0);
	assert_int_equal(ioctl(a, KVM_SET_GUEST_DEBUG, &none), 0);
	assert_int_equal(HAS(BLOCKIRQ), 1);
	assert_int_equal(ioctl(b, KVM_SET_GUEST_DEBUG, &none), 0);
	assert_int_equal(HAS(BLOCKIRQ), 0);
	close(a);
	close(b);
	close(vm);
	close(kvm);
}

static u32 *reg(struct kvm_lapic_state *s, u32 offset)
{
	return (u32 *)(void *)(s->regs + offset);
}

/* Through KVM_SET_LAPIC as through the guest's own writes. */
T(ids_and_logical_ids)
{
	struct kvm_lapic_state s, good;
	int kvm, vm = new_vm(&kvm), a, b;

	split(vm);
	a = ioctl(vm, KVM_CREATE_VCPU, 0);
	b = ioctl(vm, KVM_CREATE_VCPU, 1);
	assert_int_equal(ioctl(b, KVM_GET_LAPIC, &good), 0);
	s = good;
	*reg(&s, 0x20) = 7u << 24;
	assert_int_equal(ioctl(b, KVM_SET_LAPIC, &s), 0);
	assert_int_equal(HAS(APIC_ID_MODIFIED), 1);
	assert_int_equal(HAS(PHYSICAL_ID_ALIASED), 0);
	*reg(&s, 0x20) = 0;
	assert_int_equal(ioctl(b, KVM_SET_LAPIC, &s), 0);
	assert_int_equal(HAS(PHYSICAL_ID_ALIASED), 1);
	assert_int_equal(ioctl(b, KVM_SET_LAPIC, &good), 0);
	assert_int_equal(inhibits(vm), on() ? 0 : BIT(APICV_INHIBIT_DISABLED));
	s = good;
	*reg(&s, 0xf0) = 0x1ff;
	*reg(&s, 0xd0) = 3u << 24;	/* two logical ids */
	assert_int_equal(ioctl(b, KVM_SET_LAPIC, &s), 0);
	assert_int_equal(HAS(LOGICAL_ID_ALIASED), 1);
	assert_int_equal(ioctl(b, KVM_SET_LAPIC, &good), 0);
	assert_int_equal(HAS(LOGICAL_ID_ALIASED), 0);
	close(a);
	close(b);
	close(vm);
	close(kvm);
}

T(moved_base_for_ever)
{
	struct kvm_sregs s;
	int kvm, vm = new_vm(&kvm), a;
	u64 base;

	split(vm);
	a = ioctl(vm, KVM_CREATE_VCPU, 0);
	assert_int_equal(ioctl(a, KVM_GET_SREGS, &s), 0);
	base = s.apic_base;
	s.apic_base = 0xfed00900;
	assert_int_equal(ioctl(a, KVM_SET_SREGS, &s), 0);
	assert_int_equal(HAS(APIC_BASE_MODIFIED), 1);
	s.apic_base = base;
	assert_int_equal(ioctl(a, KVM_SET_SREGS, &s), 0);
	assert_int_equal(HAS(APIC_BASE_MODIFIED), 1);
	close(a);
	close(vm);
	close(kvm);
}

T(module_parameter_tells_the_truth)
{
	char c = 0;
	int fd = open("/sys/module/kvm_amd/parameters/avic", O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, &c, 1), 1);
	assert_int_equal(c, on() ? 'Y' : 'N');
	close(fd);
}

/* What nested SVM has, KVM's selftests look up there. */
T(module_parameters_of_nested_svm)
{
	static const char *const name[] = { "lbrv", "npt", "nrips", "vgif", "vls", "vnmi" };

	for (u32 i = 0; i < ARRAY_SIZE(name); i++) {
		char path[64], c = 0;
		int fd;

		snprintf(path, sizeof(path), "/sys/module/kvm_amd/parameters/%s", name[i]);
		fd = open(path, O_RDONLY);
		assert_true(fd >= 0);
		assert_int_equal(read(fd, &c, 1), 1);
		assert_true(c == 'Y' || c == '1');
		close(fd);
	}
}

T_START(argc, argv)
{
	if (argc > 1)
		kind = argv[1];
	return argc > 1;
}
