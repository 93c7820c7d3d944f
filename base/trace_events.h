/* SPDX-License-Identifier: MIT */
/*
 * base/trace_events.h - the one list of trace events.
 *
 * X(name, number of arguments, format). Names, and the order of what they print, are those of
 * KVM's own tracepoints where KVM has the event, so that eyes and scripts that know them keep
 * working; events that only we have are called standin_*.
 *
 * A format is text with {field} or {field:conversion}, one for each argument in order:
 *   (none) unsigned decimal   d signed   x 0x hexadecimal   h hexadecimal without 0x
 *   refusal  a rule of svm/checks.h; its value and detail are the next two arguments
 *   svm    a #VMEXIT code   apicreg, icr, inhibit, user: see tools/trace_format.c
 *   other  the name of one of the lists in TRACE_ENUMS
 */
#ifndef BASE_TRACE_EVENTS_H
#define BASE_TRACE_EVENTS_H

#define TRACE_EVENTS(X) \
	/* -- the vCPU loop -- */ \
	X(kvm_entry, 1, "rip {rip:x}") \
	X(kvm_exit, 4, "reason {reason:exit} rip {rip:x} info {info1:x} {info2:x}") \
	X(kvm_userspace_exit, 2, "reason {reason:user} ({errno:d})") \
	X(standin_run, 0, "the VMM has called KVM_RUN") \
	X(kvm_vcpu_wakeup, 1, "wait time {ns} ns") \
	X(kvm_mmio, 4, "mmio {dir:mmio} len {len} gpa {gpa:x} val {val:x}") \
	X(kvm_pio, 4, "pio_{dir:rw} at {port:x} size {size} count {count}") \
	X(kvm_msr, 4, "msr_{dir:rw} {ecx:h} = {data:x}{ex:refused}") \
	X(kvm_cpuid, 5, "func {func:h} rax {rax:h} rbx {rbx:h} rcx {rcx:h} rdx {rdx:h}") \
	X(kvm_hypercall, 5, "nr {nr:x} a0 {a0:x} a1 {a1:x} a2 {a2:x} a3 {a3:x}") \
	X(kvm_inj_virq, 2, "IRQ {vector:x}{soft:soft}") \
	X(kvm_inj_exception, 3, "vector {vector} ({has_error:has_error}{error:x})") \
	X(kvm_inj_nmi, 0, "NMI") \
	/* -- local APIC -- */ \
	X(kvm_apic, 3, "apic_{dir:rw} {reg:apicreg} = {val:x}") \
	X(kvm_apic_ipi, 2, "dst {dest:h} vec_icr {icr:icr}") \
	X(kvm_apic_accept_irq, 4, "apicid {apicid:h} vec {vec} ({mode:delivery}|{trig:trig})") \
	X(kvm_eoi, 4, "apicid {apicid:h} vector {vector} ({trig:trig}, {mode:eoi})") \
	X(kvm_pv_eoi, 2, "apicid {apicid:h} vector {vector}") \
	X(standin_eoi_exit, 2, "vector {vector}{dropped:dropped}") \
	/* -- lines, messages, I/O APIC, PIC -- */ \
	X(kvm_set_irq, 3, "gsi {gsi} level {level} source {source}") \
	X(kvm_msi_set_irq, 2, "addr {address:x} data {data:x}") \
	X(kvm_ioapic_set_irq, 4, "pin {pin} dst {dest:h} vec {vec} {result:coalesced}") \
	X(kvm_ioapic_delayed_eoi_inj, 3, "pin {pin} dst {dest:h} vec {vec}") \
	X(standin_remote_irr, 3, "pin {pin} vec {vec} {set:setclear}") \
	X(kvm_ack_irq, 2, "irqchip {chip:chip} pin {pin}") \
	X(kvm_pic_set_irq, 3, "chip {chip} pin {pin} {result:coalesced}") \
	/* -- APICv and AVIC -- */ \
	X(kvm_apicv_inhibit_changed, 3, \
	  "{set:setclear} reason={reason:inhibit}, inhibits={mask:x}") \
	X(kvm_apicv_accept_irq, 4, "apicid {apicid:h} vec {vec} ({mode:delivery}|{trig:trig})") \
	X(kvm_avic_incomplete_ipi, 4, "icrh:icrl={icrh:x}:{icrl:x}, id={id:ipi}, index={index}") \
	X(kvm_avic_unaccelerated_access, 4, \
	  "offset={offset:apicreg}, {trap:trap}, {dir:rw}, vec={vec}") \
	X(kvm_avic_kick_vcpu_slowpath, 3, "icrh:icrl={icrh:x}:{icrl:x}, index={index}") \
	X(kvm_avic_doorbell, 1, "apicid {apicid:h}") \
	X(standin_apicv, 2, "vcpu is {on:onoff}, inhibits={mask:x}") \
	/* -- nested SVM -- */ \
	X(kvm_nested_vmenter, 5, \
	  "rip {rip:x} vmcb {vmcb:x} nested_rip {l2_rip:x} int_ctl {int_ctl:x} event_inj {inj:x}") \
	X(kvm_nested_vmenter_failed, 3, "{rule:refusal}") \
	X(kvm_nested_vmexit, 5, \
	  "rip {rip:x} reason {code:svm} info {info1:x} {info2:x} int_info {int_info:x}") \
	X(kvm_nested_intr_vmexit, 1, "rip {rip:x}") \
	X(kvm_smm_transition, 2, "smbase {smbase:x} {in:smm}") \
	X(kvm_invlpga, 3, "rip {rip:x} asid {asid} address {address:x}")

/* Lists of names for small numbers: X(conversion, first value, "names", ...). */
#define TRACE_ENUMS(X) \
	X(rw, "read", "write") \
	X(mmio, "unsatisfied-read", "read", "write") \
	X(setclear, "clear", "set") \
	X(onoff, "inactive", "active") \
	X(trig, "edge", "level") \
	X(trap, "fault", "trap") \
	X(soft, "", " (soft)") \
	X(smm, "leaving SMM", "entering SMM") \
	X(refused, "", " (#GP)") \
	X(dropped, "", " (dropped)") \
	X(has_error, "no error code, ", "error code ") \
	X(coalesced, "(delivered)", "(coalesced)") \
	X(delivery, "Fixed", "LowPrio", "SMI", "Res3", "NMI", "INIT", "SIPI", "ExtINT") \
	X(eoi, "quirked", "suppress-enabled", "suppress-disabled") \
	X(chip, "PIC master", "PIC slave", "IOAPIC") \
	X(ipi, "invalid-type", "not-running", "invalid-target", "invalid-backing-page", \
	  "invalid-vector") \
	X(exit, "interrupt", "exception", "instruction", "step", "fetch-unbacked", "efault")

#endif
