/* SPDX-License-Identifier: MIT */
/* tests/clients/spin.c - so many rounds of two instructions, one of them a branch: for perf.py. */
#include <stdlib.h>

static void __attribute__((noinline)) rounds(unsigned long n)
{
	__asm__ volatile("1: dec %0\n jnz 1b" : "+r"(n));
}

int main(int argc, char **argv)
{
	rounds(argc > 1 ? strtoul(argv[1], NULL, 10) : 1);
	return 0;
}
