/* SPDX-License-Identifier: MIT */
/*
 * vcpu/doors.h - everything of L0's that guest code can reach, and what L2 gets there.
 *
 * Guest code leaves its CPU and its memory through the members of struct cpu_hooks and struct
 * mmio_ops and nowhere else. These lists make the two tables (vcpu/hooks.c), and assertions there
 * count them: a new member does not compile before it says what L2 gets. What L1 intercepts never
 * comes here (svm/intercept.c, vcpu/inject.c), so each row is about what L1 has *not* intercepted:
 *
 *   FREE_CPU  nothing of L0's is behind it, the CPU only looks up or reports its own state
 *   FREE_L1   what L1 would get: a resource of the vCPU that L1 has passed on, as on hardware
 *   FREE_L2   L2's own; the function tells L1's from L2's
 *   FREE_UD   nothing: #UD in L2
 *
 * X(member, function, policy, intercept that comes first). The reasons are in docs/svm.md.
 */
#ifndef VCPU_DOORS_H
#define VCPU_DOORS_H

#define CPU_DOORS(X) \
	/* Every MSR that the permission map lets through, KVM's own too (kvmclock, steal time, \
	 * async \
	 * page faults): addresses in them are L1's, who may keep L2 from them. x2APIC MSRs are \
	 * x2AVIC's when it is on, EFER and with G_PAT the PAT are L2's. */ \
	X(msr_read, msr_hook_read, FREE_L2, MSR) \
	X(msr_write, msr_hook_write, FREE_L2, MSR) \
	/* All leaves, KVM's at 0x40000000 included. */ \
	/* The vCPU's counters, which may tell L1 from L2 (HG_ONLY). */ \
	X(rdpmc, pmu_rdpmc, FREE_L1, RDPMC) \
	X(cpuid, cpuid_hook, FREE_L1, CPUID) \
	X(pio_in, pio_in, FREE_L1, IOIO) \
	X(pio_out, pio_out, FREE_L1, IOIO) \
	/* The CPU halts; what would wake L1 wakes it. */ \
	X(hlt, hlt, FREE_L1, HLT) \
	/* L0's hypercalls are L1's alone: they take L1's addresses and APIC ids. A VMMCALL that \
	 * is not \
	 * intercepted is #UD (APM3 VMMCALL). */ \
	X(hypercall, hypercall_hook, FREE_UD, VMMCALL) \
	/* V_TPR with V_INTR_MASKING, else the TPR of L1's APIC (APM2 15.21.1). */ \
	X(read_cr8, read_cr8, FREE_L2, CR_READ) \
	X(write_cr8, write_cr8, FREE_L2, CR_WRITE) \
	X(window, window, FREE_CPU, NONE) \
	/* svm/insns.c: VMRUN must be intercepted, SKINIT is #UD; VMLOAD and VMSAVE take L1's \
	 * addresses \
	 * unless they are virtualised, STGI and CLGI act on V_GIF with VGIF and else on the \
	 * GIF. */ \
	X(svm, svm_exec, FREE_L2, VMRUN) \
	X(task_switch, nested_task_switch, FREE_L2, TASK_SWITCH) \
	/* A setting of the VM, and CPUID. */ \
	X(monitor, monitor, FREE_CPU, MONITOR) \
	/* PAUSE, MONITOR, MWAIT, INVD, WBINVD: gives the host CPU away at most. */ \
	X(pause, pause_hook, FREE_L1, PAUSE) \
	/* Ends the virtual NMI's blocking, or the real one's. */ \
	X(iret, iret, FREE_L2, IRET) \
	/* There is no L2 in SMM, and no RSM outside. */ \
	X(rsm, vcpu_rsm, FREE_UD, RSM) \
	/* The debugger outside stops whoever runs. */ \
	X(breakpoint, debug_breakpoint, FREE_L1, NONE) \
	X(debug_changed, debug_changed, FREE_CPU, DR_WRITE)

/* Addresses behind nested paging: what L1 has mapped for L2, its APIC's page and devices too. */
#define MMIO_DOORS(X) \
	X(read, mmio_read, FREE_L1, NONE) \
	X(write, mmio_write, FREE_L1, NONE) \
	X(probe_w, mmio_probe_w, FREE_L1, NONE)

enum { SVM_I_NONE = 0xff };	/* no intercept comes first */

#define FREE_CPU(fn) fn
#define FREE_L1(fn) fn
#define FREE_L2(fn) fn
#define FREE_UD(fn) fn##_outside_l2
/* For each function with FREE_UD, by the arguments it has besides the CPU. */
#define OUTSIDE_L2_INSN(fn) \
	static enum cpu_result fn##_outside_l2(struct cpu *c, const struct insn *in) \
	{ \
		return unlikely(c->in_l2) ? cpu_raise(c, EXC_UD) : fn(c, in); \
	}
#define OUTSIDE_L2_PLAIN(fn) \
	static enum cpu_result fn##_outside_l2(struct cpu *c) \
	{ \
		return unlikely(c->in_l2) ? cpu_raise(c, EXC_UD) : fn(c); \
	}

#endif
