/* SPDX-License-Identifier: MIT */
/*
 * tests/abi/abi.h - rules of the KVM ABI as tests that speak only that ABI.
 *
 * A T() holds the expectations of one rule of docs/kvm-*.md (section number and
 * sentence). Every rule runs in a child of its own with a time limit. An expectation that
 * is not met is a difference: where, the call, what the rule says, what came. The same
 * program runs on standin and on a real /dev/kvm; --report is for the latter.
 */
#ifndef TESTS_ABI_ABI_H
#define TESTS_ABI_ABI_H

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/t.h"
#include "vm/kvm_uapi.h"

/* T(name, "5.2: what the rule says") { ... }: tests/t.h */

/* -- expectations -- */
void check(const char *file, int line, const char *what, long want, long got, bool number,
	   bool has_alt, long alt, const char *why);
long done(long r);	/* -1 and errno: -errno */

/* A call: what it returns, -errno for a failure. */
#define IS(call, want) check(__FILE__, __LINE__, #call, want, done(call), false, false, 0, NULL)
/* The rule names another kernel's different answer. */
#define IS_OR(call, want, alt, why) \
	check(__FILE__, __LINE__, #call, want, done(call), false, true, alt, why)
/* A value. */
#define EQ(expr, want) \
	check(__FILE__, __LINE__, #expr, (long)(want), (long)(expr), true, false, 0, NULL)
#define TRUE(expr) EQ(!!(expr), 1)
/* Preconditions: end the rule as skipped, or as failed. */
void skip_rule(const char *why) __attribute__((noreturn));
void broken(const char *file, int line, const char *what) __attribute__((noreturn));
#define NEED(cond, why) do { if (!(cond)) skip_rule(why); } while (0)
#define MUST(cond) do { if (!(cond)) broken(__FILE__, __LINE__, #cond); } while (0)

/* -- a machine: real mode, memory at 0, code at CODE -- */
enum { RAM = 0x20000, CODE = 0x1000, DATA = 0x4000, NOWHERE = 0x80000 };
#define BAD ((void *)8)		/* points to nothing */

enum { M_IRQCHIP = 1, M_SPLIT = 2, M_NO_CPU = 4, M_NO_RAM = 8, M_CPUID = 16 };
struct machine {
	int sys, vm, cpu;
	struct kvm_run *run;
	u8 *ram;
};
extern struct machine m;	/* of the rule that runs */
void machine(int flags);
int new_vm(void);
struct kvm_run *map_run(int cpu);
int node(void);			/* opens the node */
/* Code at CODE, registers for it: RIP, flags 2, SP 0x8000, zero segments. */
void load(const void *code, size_t n);
#define LOAD(...) \
	do { \
		static const u8 code_[] = { __VA_ARGS__ }; \
		load(code_, sizeof(code_)); \
	} while (0)
/* KVM_RUN: the exit reason, or -errno. */
long run(void);
struct kvm_regs regs(void);
void set_regs(const struct kvm_regs *r);
struct kvm_sregs sregs(void);
int slot(int vm, u32 id, u32 flags, u64 gpa, u64 size, void *hva);
int enable(int fd, u32 cap, u64 arg);
int enable4(int fd, u32 cap, u32 flags, u64 arg);
long cap(int fd, unsigned long nr);
int get_msr(int cpu, u32 index, u64 *val);	/* 1: done */
int set_msr(int cpu, u32 index, u64 val);
int set_cpuid(int cpu);		/* all that is supported */
int enter64(void);		/* long mode, identity map of the first 2 MiB and of NOWHERE's */
bool is_amd_guest(void);

#endif
