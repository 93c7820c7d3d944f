/* SPDX-License-Identifier: MIT */
/* cpu/unclaimed.c - the hooks of a CPU nobody has claimed: harmless answers. */
#include "cpu/exec_priv.h"
#include "mmu/mmu.h"

static enum cpu_result no_msr_read(struct cpu *c, u32 msr, u64 *val)
{
	return cpu_raise_err(c, EXC_GP, 0);
}
static enum cpu_result no_msr_write(struct cpu *c, u32 msr, u64 val)
{
	return cpu_raise_err(c, EXC_GP, 0);
}
static void no_cpuid(struct cpu *c, u32 leaf, u32 subleaf, u32 out[4])
{
	out[0] = out[1] = out[2] = out[3] = 0;
}
static enum cpu_result no_pio_in(struct cpu *c, const struct insn *in, u16 port, u32 size,
				 void *buf, u32 *count)
{
	u8 *p = buf;

	/* An empty bus reads as ones. */
	for (u32 i = 0; i < size * *count; i++)
		p[i] = 0xff;
	return CPU_OK;
}
static enum cpu_result no_pio_out(struct cpu *c, const struct insn *in, u16 port, u32 size,
				  const void *buf, u32 *count)
{
	return CPU_OK;
}
static u64 no_rdpmc(struct cpu *c, u32 index)
{
	return 0;
}
static enum cpu_result no_hlt(struct cpu *c)
{
	c->halted = 1;
	return CPU_WORK;
}
static enum cpu_result no_insn(struct cpu *c, const struct insn *in)
{
	return cpu_raise(c, EXC_UD);
}
static u64 no_read_cr8(struct cpu *c)
{
	return 0;
}
static enum cpu_result no_write_cr8(struct cpu *c, u64 v)
{
	return v > 15 ? cpu_raise_err(c, EXC_GP, 0) : CPU_OK;
}
static void nothing(struct cpu *c)
{
}
static void watch_guest(struct cpu *c)
{
	mmu_set_watch(c, c->dr, c->dr7);
}
static enum cpu_result no_monitor(struct cpu *c)
{
	return CPU_OK;
}
static enum cpu_result no_rsm(struct cpu *c)
{
	return cpu_raise(c, EXC_UD);
}

static const struct cpu_hooks defaults = {
	.msr_read = no_msr_read, .msr_write = no_msr_write, .cpuid = no_cpuid,
	.pio_in = no_pio_in, .pio_out = no_pio_out, .rdpmc = no_rdpmc,
	.hlt = no_hlt, .hypercall = no_insn,
	.read_cr8 = no_read_cr8, .write_cr8 = no_write_cr8, .window = nothing, .svm = no_insn,
	.monitor = no_monitor, .pause = nothing, .iret = nothing, .rsm = no_rsm,
	.debug_changed = watch_guest,
};

/* A full table: what the owner leaves out keeps its default. Written before any CPU runs. */
static struct cpu_hooks table;
const struct cpu_hooks *cpu_hooks = &defaults;

void cpu_set_hooks(const struct cpu_hooks *h)
{
	table = *h;
#define DEFAULT(f) do { if (!table.f) table.f = defaults.f; } while (0)
	DEFAULT(msr_read);
	DEFAULT(msr_write);
	DEFAULT(cpuid);
	DEFAULT(pio_in);
	DEFAULT(pio_out);
	DEFAULT(rdpmc);
	DEFAULT(hlt);
	DEFAULT(hypercall);
	DEFAULT(read_cr8);
	DEFAULT(write_cr8);
	DEFAULT(window);
	DEFAULT(svm);
	DEFAULT(pause);
	DEFAULT(iret);
	DEFAULT(rsm);
	DEFAULT(debug_changed);
#undef DEFAULT
	cpu_hooks = &table;
}
