/* SPDX-License-Identifier: MIT */
/* tests/unit/test_vcpu_run.c - KVM_RUN: exits, their completion, injection, debugging. */
/* Run: build/tests/unit/test_vcpu_run [NAME...] */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "vcpu_rig.h"

#define CODE(...) static const u8 code[] = { __VA_ARGS__ }
#define run() vcpu_run(R.v)
#define reason() (R.v->run->exit_reason)

static struct kvm_regs regs(void)
{
	struct kvm_regs r;

	vcpu_get_regs(R.v, &r);
	return r;
}

T(hlt_exits)
{
	CODE(0xb8, 0x34, 0x12, 0xf4);	/* mov ax, 1234h; hlt */

	rig_code(code, sizeof(code));
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
	assert_int_equal(rig_rip(), 0x1004);
	assert_int_equal(regs().rax & 0xffff, 0x1234);
	assert_int_equal(R.v->run->if_flag, 0);
}

T(out_completes_at_reentry)
{
	CODE(0xb0, 0x42, 0xe6, 0x10, 0xf4);	/* mov al, 42h; out 10h, al; hlt */

	rig_code(code, sizeof(code));
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_IO);
	assert_int_equal(R.v->run->io.direction, KVM_EXIT_IO_OUT);
	assert_int_equal(R.v->run->io.port, 0x10);
	assert_int_equal(R.v->run->io.size, 1);
	assert_int_equal(R.v->run->io.count, 1);
	assert_int_equal(R.v->run->io.data_offset, 0x1000);
	assert_int_equal(R.v->pio_data[0], 0x42);
	assert_int_equal(rig_rip(), 0x1002);
	/* The documented way to finish I/O without running on. */
	R.v->run->immediate_exit = 1;
	assert_int_equal(run(), -EINTR);
	assert_int_equal(rig_rip(), 0x1004);
	R.v->run->immediate_exit = 0;
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
}

T(out_7e_has_advanced)
{
	CODE(0xe6, 0x7e, 0xf4);

	rig_code(code, sizeof(code));
	assert_int_equal(run(), 0);
	assert_int_equal(rig_rip(), 0x1002);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
}

T(in_merges_into_rax)
{
	CODE(0xe4, 0x10, 0xe5, 0x10, 0x66, 0xe5, 0x10, 0xf4);	/* in al/ax/eax, 10h; hlt */
	struct kvm_regs r;

	rig_code(code, sizeof(code));
	r = regs();
	r.rax = 0x1122334455667788;
	vcpu_set_regs(R.v, &r);
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->io.direction, KVM_EXIT_IO_IN);
	R.v->pio_data[0] = 0xaa;
	assert_int_equal(run(), 0);
	assert_true(regs().rax == 0x11223344556677aa);
	memcpy(R.v->pio_data, "\x01\x02", 2);
	assert_int_equal(run(), 0);
	assert_true(regs().rax == 0x1122334455660201);
	memcpy(R.v->pio_data, "\x01\x02\x03\x84", 4);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
	assert_true(regs().rax == 0x84030201);
}

/* User space that moves RIP (a reset) cancels the completion. */
T(moved_rip_cancels)
{
	CODE(0xe4, 0x10, 0xf4, 0x90, 0xf4);
	struct kvm_regs r;

	rig_code(code, sizeof(code));
	assert_int_equal(run(), 0);
	r = regs();
	r.rip = 0x1003;
	r.rax = 7;
	vcpu_set_regs(R.v, &r);
	R.v->pio_data[0] = 0xaa;
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
	assert_int_equal(rig_rip(), 0x1005);
	assert_int_equal(regs().rax, 7);
}

T(strings)
{
	/* mov cx,4; mov si,2000h; mov di,2100h; mov dx,20h; rep outsb; mov cx,4; rep insb; hlt */
	CODE(0xb9, 4, 0, 0xbe, 0, 0x20, 0xbf, 0, 0x21, 0xba, 0x20, 0, 0xf3, 0x6e, 0xb9, 4, 0, 0xf3,
	     0x6c, 0xf4);
	u32 done = 0;

	rig_code(code, sizeof(code));
	memcpy(R.ram + 0x2000, "abcd", 4);
	while (done < 4) {
		assert_int_equal(run(), 0);
		assert_int_equal(reason(), KVM_EXIT_IO);
		assert_int_equal(R.v->run->io.direction, KVM_EXIT_IO_OUT);
		assert_memory_equal(R.v->pio_data, &"abcd"[done], R.v->run->io.count);
		done += R.v->run->io.count;
		/* OUTS shows the state after the instruction. */
		assert_int_equal(regs().rcx & 0xffff, 4 - done);
		assert_int_equal(regs().rsi & 0xffff, 0x2000 + done);
	}
	for (done = 0; done < 4;) {
		u32 n;

		assert_int_equal(run(), 0);
		assert_int_equal(reason(), KVM_EXIT_IO);
		assert_int_equal(R.v->run->io.direction, KVM_EXIT_IO_IN);
		assert_int_equal(rig_rip(), 0x1011);
		n = R.v->run->io.count;
		memcpy(R.v->pio_data, &"wxyz"[done], n);
		done += n;
	}
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
	assert_memory_equal(R.ram + 0x2100, "wxyz", 4);
	assert_int_equal(regs().rcx & 0xffff, 0);
}

T(kernel_ports_do_not_exit)
{
	CODE(0xe6, 0x70, 0xe4, 0x71, 0xf4);

	rig_code(code, sizeof(code));
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
	assert_int_equal(R.device_writes, 1);
	assert_int_equal(regs().rax & 0xff, 0x5a);
}

T(mmio_read_and_write)
{
	/* mov eax,[e0000000h]; mov [e0000004h],eax; hlt */
	CODE(0xa1, 0, 0, 0, 0xe0, 0xa3, 4, 0, 0, 0xe0, 0xf4);
	u32 val = 0xcafe1234;

	rig_code32(code, sizeof(code));
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_MMIO);
	assert_int_equal(R.v->run->mmio.is_write, 0);
	assert_int_equal(R.v->run->mmio.phys_addr, 0xe0000000);
	assert_int_equal(R.v->run->mmio.len, 4);
	assert_int_equal(rig_rip(), 0x1000);
	memcpy(R.v->run->mmio.data, &val, 4);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_MMIO);
	assert_int_equal(R.v->run->mmio.is_write, 1);
	assert_int_equal(R.v->run->mmio.phys_addr, 0xe0000004);
	assert_memory_equal(R.v->run->mmio.data, &val, 4);
	/* A write has retired. */
	assert_int_equal(rig_rip(), 0x100a);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
}

T(mmio_read_finishes_under_immediate_exit)
{
	CODE(0xa1, 0, 0, 0, 0xe0, 0xf4);

	rig_code32(code, sizeof(code));
	assert_int_equal(run(), 0);
	memcpy(R.v->run->mmio.data, "\x11\x22\x33\x44", 4);
	R.v->run->immediate_exit = 1;
	assert_int_equal(run(), -EINTR);
	assert_int_equal(rig_rip(), 0x1005);
	assert_int_equal(regs().rax, 0x44332211);
}

/* 16 bytes are two fragments; the first must not be asked for twice. */
T(mmio_fragments)
{
	/* movups xmm0,[e0000000h]; movups [e0000010h],xmm0; movups [2000h],xmm0; hlt */
	CODE(0x0f, 0x10, 0x05, 0, 0, 0, 0xe0, 0x0f, 0x11, 0x05, 0x10, 0, 0, 0xe0, 0x0f, 0x11, 0x05,
	     0, 0x20, 0, 0, 0xf4);
	struct kvm_sregs s;

	rig_code32(code, sizeof(code));
	vcpu_get_sregs(R.v, &s);
	s.cr4 |= CR4_OSFXSR;
	assert_int_equal(vcpu_set_sregs(R.v, &s), 0);
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->mmio.phys_addr, 0xe0000000);
	assert_int_equal(R.v->run->mmio.len, 8);
	memcpy(R.v->run->mmio.data, "01234567", 8);
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->mmio.is_write, 0);
	assert_int_equal(R.v->run->mmio.phys_addr, 0xe0000008);
	memcpy(R.v->run->mmio.data, "89abcdef", 8);
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->mmio.is_write, 1);
	assert_int_equal(R.v->run->mmio.phys_addr, 0xe0000010);
	assert_memory_equal(R.v->run->mmio.data, "01234567", 8);
	assert_int_equal(rig_rip(), 0x100e);
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->mmio.phys_addr, 0xe0000018);
	assert_memory_equal(R.v->run->mmio.data, "89abcdef", 8);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
	assert_memory_equal(R.ram + 0x2000, "0123456789abcdef", 16);
}

T(mmio_read_modify_write)
{
	CODE(0x81, 0x05, 0, 0, 0, 0xe0, 1, 0, 0, 0, 0xf4);	/* add dword [e0000000h],1 */

	rig_code32(code, sizeof(code));
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->mmio.is_write, 0);
	memcpy(R.v->run->mmio.data, "\x05\0\0\0", 4);
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->mmio.is_write, 1);
	assert_int_equal(R.v->run->mmio.data[0], 6);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
}

T(kernel_mmio_does_not_exit)
{
	/* mov eax,[d0000000h]; inc eax; mov [d0000000h],eax; hlt */
	CODE(0xa1, 0, 0, 0, 0xd0, 0x40, 0xa3, 0, 0, 0, 0xd0, 0xf4);

	rig_code32(code, sizeof(code));
	R.device_value = 41;
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
	assert_int_equal(R.device_reads, 1);
	assert_int_equal(R.device_value, 42);
}

T(rep_movs_from_mmio)
{
	/* mov ecx,3; mov esi,e0000000h; mov edi,2000h; rep movsd; hlt */
	CODE(0xb9, 3, 0, 0, 0, 0xbe, 0, 0, 0, 0xe0, 0xbf, 0, 0x20, 0, 0, 0xf3, 0xa5, 0xf4);

	rig_code32(code, sizeof(code));
	for (u32 i = 0; i < 3; i++) {
		u32 val = 100 + i;

		assert_int_equal(run(), 0);
		assert_int_equal(reason(), KVM_EXIT_MMIO);
		assert_int_equal(R.v->run->mmio.phys_addr, 0xe0000000 + 4 * i);
		memcpy(R.v->run->mmio.data, &val, 4);
	}
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
	for (u32 i = 0; i < 3; i++)
		assert_int_equal(((u32 *)(R.ram + 0x2000))[i], 100 + i);
}

T(interrupt_and_window)
{
	/* sti; nop; nop; jmp $ */
	CODE(0xfb, 0x90, 0x90, 0xeb, 0xfe);
	static const u8 handler[] = { 0xe6, 0x99, 0xcf };	/* out 99h, al; iret */

	rig_code(code, sizeof(code));
	memcpy(R.ram + 0x3000, handler, sizeof(handler));
	*(u32 *)(R.ram + 4 * 0x20) = 0x3000;
	R.v->run->request_interrupt_window = 1;
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_IRQ_WINDOW_OPEN);
	assert_int_equal(R.v->run->ready_for_interrupt_injection, 1);
	assert_int_equal(R.v->run->if_flag, 1);
	assert_in_range(rig_rip(), 0x1002, 0x1003);	/* not inside the STI shadow */
	R.v->run->request_interrupt_window = 0;
	assert_int_equal(vcpu_interrupt(R.v, 0x20), 0);
	assert_int_equal(vcpu_interrupt(R.v, 256), -EINVAL);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_IO);
	assert_int_equal(R.v->run->io.port, 0x99);
	assert_int_equal(R.v->run->if_flag, 0);
	assert_int_equal(R.v->run->ready_for_interrupt_injection, 0);
}

T(nmi_blocks_until_iret)
{
	CODE(0x90, 0xf4);
	static const u8 handler[] = { 0xe6, 0x99, 0xcf };

	rig_code(code, sizeof(code));
	memcpy(R.ram + 0x3000, handler, sizeof(handler));
	*(u32 *)(R.ram + 4 * 2) = 0x3000;
	for (u32 i = 0; i < 3; i++)	/* two are kept */
		assert_int_equal(vcpu_nmi(R.v), 0);
	for (u32 i = 0; i < 2; i++) {
		struct kvm_vcpu_events e;

		assert_int_equal(run(), 0);
		assert_int_equal(reason(), KVM_EXIT_IO);
		vcpu_get_events(R.v, &e);
		assert_int_equal(e.nmi.masked, 1);
		assert_int_equal(e.nmi.pending, 1 - i);
	}
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
}

T(triple_fault)
{
	CODE(0x0f, 0x0b);	/* ud2 with an empty IDT */
	struct kvm_sregs s;

	rig_code(code, sizeof(code));
	vcpu_get_sregs(R.v, &s);
	s.idt.limit = 0;
	vcpu_set_sregs(R.v, &s);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_SHUTDOWN);
}

T(fetch_from_nowhere)
{
	CODE(0xea, 0, 0, 0, 0xe0, 8, 0);	/* jmp 8:e0000000h */

	rig_code32(code, sizeof(code));
	struct kvm_regs r = regs();

	r.rip = 0xe0000000;
	vcpu_set_regs(R.v, &r);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_INTERNAL_ERROR);
	assert_int_equal(R.v->run->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
}

T(single_step)
{
	CODE(0x90, 0x40, 0xe6, 0x70, 0xf4);	/* nop; inc ax; out 70h,al; hlt */
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP };
	static const u32 at[] = { 0x1001, 0x1002, 0x1004 };

	rig_code(code, sizeof(code));
	assert_int_equal(vcpu_set_guest_debug(R.v, &d), 0);
	for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
		assert_int_equal(run(), 0);
		assert_int_equal(reason(), KVM_EXIT_DEBUG);
		assert_int_equal(R.v->run->debug.arch.exception, 1);
		assert_int_equal(R.v->run->debug.arch.pc, at[i]);
		assert_int_equal(R.v->run->debug.arch.dr6, 0xffff4ff0);
	}
}

T(breakpoints)
{
	/* nop; int3; mov [2000h],ax; nop; hlt */
	CODE(0x90, 0xcc, 0xa3, 0x00, 0x20, 0x90, 0xf4);
	struct kvm_guest_debug d = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP };
	struct kvm_regs r;

	rig_code(code, sizeof(code));
	vcpu_set_guest_debug(R.v, &d);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_DEBUG);
	assert_int_equal(R.v->run->debug.arch.exception, 3);
	assert_int_equal(R.v->run->debug.arch.pc, 0x1001);
	r = regs();
	r.rip = 0x1002;
	vcpu_set_regs(R.v, &r);
	/* A data breakpoint, then an instruction breakpoint. */
	d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
	d.arch.debugreg[0] = 0x2000;
	d.arch.debugreg[1] = 0x1006;
	d.arch.debugreg[7] = 0x1 | 0x4 | 1 << 16 | 1 << 18;
	vcpu_set_guest_debug(R.v, &d);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_DEBUG);
	assert_int_equal(R.v->run->debug.arch.pc, 0x1005);
	assert_int_equal(R.v->run->debug.arch.dr6, 0xffff0ff1);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_DEBUG);
	assert_int_equal(R.v->run->debug.arch.pc, 0x1006);
	assert_int_equal(R.v->run->debug.arch.dr6, 0xffff0ff2);
	d.control = 0;
	vcpu_set_guest_debug(R.v, &d);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
}

T(guest_single_step)
{
	/* pushf; or word [esp],100h by hand: mov ax,102h; push ax; popf; nop; nop; hlt */
	CODE(0xb8, 0x02, 0x01, 0x50, 0x9d, 0x90, 0x90, 0xf4);
	static const u8 handler[] = { 0xe6, 0x99, 0xcf };

	rig_code(code, sizeof(code));
	memcpy(R.ram + 0x3000, handler, sizeof(handler));
	*(u32 *)(R.ram + 4 * 1) = 0x3000;
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_IO);
	/* The trap comes after the instruction that follows POPF. */
	assert_int_equal(*(u16 *)(R.ram + (regs().rsp & 0xffff)), 0x1006);
	assert_int_equal(R.v->c->dr6 & 0x4000, 0x4000);
	assert_int_equal(run(), 0);
	assert_int_equal(*(u16 *)(R.ram + (regs().rsp & 0xffff)), 0x1007);
}

T(msr_exits)
{
	/* mov ecx,12345678h; rdmsr; mov ecx,12345678h; wrmsr; hlt */
	CODE(0xb9, 0x78, 0x56, 0x34, 0x12, 0x0f, 0x32, 0x0f, 0x30, 0xf4);

	R.cfg.user_space_msr_mask = KVM_MSR_EXIT_REASON_UNKNOWN;
	rig_code32(code, sizeof(code));
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_X86_RDMSR);
	assert_int_equal(R.v->run->msr.index, 0x12345678);
	assert_int_equal(R.v->run->msr.reason, KVM_MSR_EXIT_REASON_UNKNOWN);
	assert_int_equal(rig_rip(), 0x1005);
	R.v->run->msr.data = 0x1111222233334444;
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_X86_WRMSR);
	assert_true(R.v->run->msr.data == 0x1111222233334444);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_HLT);
}

T(sync_regs)
{
	CODE(0x40, 0xf4);

	rig_code(code, sizeof(code));
	R.v->run->kvm_valid_regs = 8;
	assert_int_equal(run(), -EINVAL);
	R.v->run->kvm_valid_regs = 0;
	R.v->run->kvm_dirty_regs = 1ull << 40;
	assert_int_equal(run(), -EINVAL);
	R.v->run->kvm_dirty_regs = 0;
	R.v->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	R.v->run->s.regs.regs = regs();
	R.v->run->s.regs.regs.rax = 9;
	R.v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->kvm_dirty_regs, 0);
	assert_int_equal(R.v->run->s.regs.regs.rax, 10);
	assert_int_equal(R.v->run->s.regs.regs.rip, 0x1002);
}

T(bad_cr8)
{
	CODE(0xf4);

	rig_code(code, sizeof(code));
	R.v->run->cr8 = 16;
	assert_int_equal(run(), -EINVAL);
	R.v->run->cr8 = 5;
	assert_int_equal(run(), 0);
	assert_int_equal(R.v->run->cr8, 5);
}

static void *poster(void *arg)
{
	struct timespec ts = { .tv_nsec = 20000000 };

	nanosleep(&ts, NULL);
	for (u32 i = 0; i < 100; i++)
		vcpu_request_wait(R.v, VREQ_TLB_FLUSH);
	vcpu_request(R.v, VREQ_TRIPLE_FAULT);
	return NULL;
}

/* A loop without exits services requests, and the waiters get away. */
T(requests_reach_a_loop)
{
	CODE(0xeb, 0xfe);
	pthread_t t;

	rig_code(code, sizeof(code));
	pthread_create(&t, NULL, poster, NULL);
	assert_int_equal(run(), 0);
	assert_int_equal(reason(), KVM_EXIT_SHUTDOWN);
	pthread_join(t, NULL);
}

static void on_signal(int sig)
{
	vcpu_signal_seen();	/* what the shim's trampoline does */
}

static void *killer(void *arg)
{
	struct timespec ts = { .tv_nsec = 20000000 };

	nanosleep(&ts, NULL);
	pthread_kill(*(pthread_t *)arg, SIGUSR1);
	return NULL;
}

T(signals_end_run)
{
	CODE(0xeb, 0xfe);
	pthread_t self = pthread_self(), t;

	signal(SIGUSR1, on_signal);
	rig_code(code, sizeof(code));
	pthread_create(&t, NULL, killer, &self);
	assert_int_equal(run(), -EINTR);
	assert_int_equal(reason(), KVM_EXIT_INTR);
	pthread_join(t, NULL);
}

/* A signal unblocked by KVM_SET_SIGNAL_MASK ends the run and stays pending. */
T(masked_signal_stays_pending)
{
	CODE(0xeb, 0xfe);
	sigset_t block, now;
	u64 none = 0;

	rig_code(code, sizeof(code));
	sigemptyset(&block);
	sigaddset(&block, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &block, NULL);
	raise(SIGUSR2);
	vcpu_set_signal_mask(R.v, &none);
	assert_int_equal(run(), -EINTR);
	sigpending(&now);
	assert_true(sigismember(&now, SIGUSR2));
	signal(SIGUSR2, SIG_IGN);
	pthread_sigmask(SIG_UNBLOCK, &block, NULL);
	vcpu_set_signal_mask(R.v, NULL);
}

/* Not a test of correctness: what an OUT costs there and back. */
T(out_round_trip)
{
	CODE(0xe6, 0x10, 0xeb, 0xfc);
	struct timespec a, b;
	double ns;

	rig_code(code, sizeof(code));
	for (u32 i = 0; i < 1000; i++)
		run();
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (u32 i = 0; i < 200000; i++)
		run();
	clock_gettime(CLOCK_MONOTONIC, &b);
	ns = ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 200000;
	print_message("OUT round trip: %.1f ns\n", ns);
}

T_EACH(rig_setup, rig_teardown);
