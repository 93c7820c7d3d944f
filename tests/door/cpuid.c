/* SPDX-License-Identifier: MIT */
/*
 * tests/door/cpuid.c - a program that asks CPUID for VT-x or AMD-V before it opens the node, as
 * kvmtool does. What only looks like the instruction stays as it is.
 */
/* Run: tests/door/run build/standin-door tests/door quick */
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const node = "/dev/kvm";

/* Constants between functions, and an operand. */
__asm__(".text\n"
	".globl constants\n"
	"constants:\n"
	"	.quad 0x428a2f98d728ae22, 0x7137449123ef65cd\n"
	"	.quad 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc\n"
	"	.quad 0x3956c25bf348b538, 0x59f111f1b605d019\n"
	"	.quad 0x923f82a4af194f9b, 0xab1c5ed5da6d8118\n"
	"	.quad 0xd807aa98a3030242, 0x12835b0145706fbe\n"
	"	.quad 0xa20fa20fa20fa20f, 0x550c7dc3d5ffb4e2\n"
	"	.quad 0x72be5d74f27b896f, 0x80deb1fe3b1696b1\n"
	"	.quad 0x9bdc06a725c71235, 0xc19bf174cf692694\n"
	"	.globl operand\n"
	"operand:\n"
	"	mov $0x0ba20f00, %eax\n"
	"	ret\n");
extern const unsigned char constants[128];
unsigned int operand(void);

int main(void)
{
	unsigned int a, b, c, d, ext = 0, vendor[3];

	__cpuid(0, a, vendor[0], vendor[2], vendor[1]);
	__cpuid(1, a, b, c, d);
	__get_cpuid(0x80000001, &a, &b, &ext, &d);
	if (!memcmp(vendor, "GenuineIntel", 12) && !(c >> 5 & 1))
		return printf("no VT-x, so %s is not even opened\n", node), 1;
	if (!memcmp(vendor, "AuthenticAMD", 12) && !(ext >> 2 & 1))
		return printf("no AMD-V, so %s is not even opened\n", node), 1;
	for (int i = 80; i < 88; i++)
		if (constants[i] != (i % 2 ? 0xa2 : 0x0f))
			return printf("a constant has changed: %#x\n", constants[i]), 1;
	if (operand() != 0x0ba20f00)
		return printf("an operand has changed: %#x\n", operand()), 1;
	printf("cpuid: ok\n");
	return 0;
}
