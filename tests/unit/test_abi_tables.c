/* SPDX-License-Identifier: MIT */
/*
 * The ioctl tables against the numbers of the published ABI, written out by hand, and the
 * capability table against what VMMs refuse to start without.
 */
/* Run: build/tests/unit/test_abi_tables [NAME...] */

#include "tests/unit/unit.h"

#include "abi/abi.h"
#include "abi/caps.h"
#include "abi/ioctls.h"
#include "vm/vm.h"

struct code {
	u32 code, size;
	const char *name;
};

#define SIZE_OF(how, type) SIZE_##how(type)
#define SIZE_NONE(t) 0
#define SIZE_ZERO(t) 0
#define SIZE_VAL(t) 0
#define SIZE_RAW(t) ~0u
#define SIZE_IN(t) sizeof(t)
#define SIZE_OUT(t) sizeof(t)
#define SIZE_IO(t) sizeof(t)
#define X(name, code, how, type, fn) { code, (u32)SIZE_##how(type), #name },
static const struct code system_codes[] = { SYSTEM_IOCTLS(X) };
static const struct code vm_codes[] = { VM_IOCTLS(X) };
static const struct code vcpu_codes[] = { VCPU_IOCTLS(X) };
static const struct code device_codes[] = { DEVICE_IOCTLS(X) };
#undef X

static void check_table(const struct code *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		u32 size = (t[i].code >> 16) & 0x3fff;

		assert_int_equal((t[i].code >> 8) & 0xff, 0xae);
		/* REINJECT_CONTROL is encoded without its size. */
		if (t[i].size != ~0u && t[i].code != 0xae71 && size != t[i].size)
			fail_msg("%s: encodes %u bytes, we move %u", t[i].name, size, t[i].size);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(t[i].code, t[j].code);
	}
}

T(tables_are_sound)
{
	check_table(system_codes, ARRAY_SIZE(system_codes));
	check_table(vm_codes, ARRAY_SIZE(vm_codes));
	check_table(vcpu_codes, ARRAY_SIZE(vcpu_codes));
	check_table(device_codes, ARRAY_SIZE(device_codes));
}

static bool has(const struct code *t, size_t n, u32 code)
{
	for (size_t i = 0; i < n; i++)
		if (t[i].code == code)
			return true;
	return false;
}

/* What QEMU, kvmtool, Firecracker, Cloud Hypervisor and crosvm all issue. */
T(codes_of_the_abi)
{
	static const u32 sys[] = { 0xae00, 0xae01, 0xc004ae02, 0xae03, 0xae04, 0xc008ae05 };
	static const u32 vm[] = { 0xae03, 0xae41, 0x4020ae46, 0xae47, 0x4008ae48, 0xae60,
				  0x4008ae61,
				  0xc208ae62, 0x8208ae63, 0xc008ae67, 0x4010ae67, 0x4008ae6a,
				  0x4020ae76, 0x4040ae77, 0x4040ae79, 0x4030ae7b, 0x8030ae7c,
				  0x8070ae9f, 0x4070aea0, 0x4068aea3, 0x4020aea5, 0x40a0ae49 };
	static const u32 vcpu[] = { 0xae80, 0x8090ae81, 0x4090ae82, 0x8138ae83, 0x4138ae84,
				    0xc008ae88, 0x4008ae89, 0x81a0ae8c, 0x41a0ae8d, 0x8400ae8e,
				    0x4400ae8f, 0x4008ae90, 0x8004ae98, 0x4004ae99, 0xae9a,
				    0x4048ae9b, 0x8040ae9f, 0x4040aea0, 0x8080aea1, 0x4080aea2,
				    0x9000aea4, 0x5000aea5, 0x8188aea6, 0x4188aea7, 0xaead };

	for (size_t i = 0; i < ARRAY_SIZE(sys); i++)
		assert_true(has(system_codes, ARRAY_SIZE(system_codes), sys[i]));
	for (size_t i = 0; i < ARRAY_SIZE(vm); i++)
		assert_true(has(vm_codes, ARRAY_SIZE(vm_codes), vm[i]));
	for (size_t i = 0; i < ARRAY_SIZE(vcpu); i++)
		assert_true(has(vcpu_codes, ARRAY_SIZE(vcpu_codes), vcpu[i]));
}

T(caps_vmms_insist_on)
{
	static const u16 qemu[] = { 3, 21, 30, 40, 36, 122, 4, 7, 14, 77, 25, 50, 55, 41, 51, 31,
				    39,
				    37 };
	static const u16 kvmtool[] = { 15, 4, 33, 3, 25, 0, 1, 26, 7 };
	static const u16 firecracker[] = { 0, 36, 32, 3, 4, 33, 35, 39, 50, 14, 41, 56, 55, 7 };
	static const u16 chv[] = {
		39, 7, 61, 136, 36, 0, 32, 25, 14, 37, 4, 121, 72, 3, 22, 41, 55
	};

#define ALL(list) \
	for (size_t i = 0; i < ARRAY_SIZE(list); i++) \
		assert_int_not_equal(cap_check(NULL, list[i]), 0)
	ALL(qemu);
	ALL(kvmtool);
	ALL(firecracker);
	ALL(chv);
}

T(caps_not_claimed)
{
	/* HYPERV_ENLIGHTENED_VMCS, XEN, an unknown number */
	static const u16 none[] = { 163, 38, 9999 };

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(cap_check(NULL, none[i]), 0);
	assert_int_equal(cap_check(NULL, 129), 0xf);
	assert_int_equal(cap_check(NULL, 74), 7);
	assert_int_equal(cap_check(NULL, 10), 32764);
	assert_int_equal(cap_check(NULL, 157), 0x1080);
	assert_string_equal(cap_name(129), "X2APIC_API");
	assert_null(cap_name(9999));
}
