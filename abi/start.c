/* SPDX-License-Identifier: MIT */
/* abi/start.c - start-up, signals and mappings: what both doors (shim/, lib/) need. */
#include <errno.h>
#include <signal.h>

#include "abi/abi.h"
#include "base/log.h"
#include "base/siginfo.h"
#include "base/sys.h"
#include "base/user.h"
#include "vm/vm.h"

int abi_start(void)
{
	int r = vcpu_init_once();

	if (r)
		log_error("cannot run guests on this host (errno %d); see `standin doctor`", -r);
	return r;
}

void abi_thread_ready(void)
{
	vcpu_thread_ready();
}

bool abi_fault(int sig, void *siginfo, void *ucontext)
{
	if (!siginfo_is_fault(sig, siginfo))
		return false;
	if ((sig == SIGSEGV || sig == SIGBUS) && user_fault(ucontext))
		return true;
	return engine_signal(sig, siginfo, ucontext) || vcpu_host_fault(sig, siginfo, ucontext);
}

void abi_signal_seen(void)
{
	vcpu_signal_seen();
}

int abi_kick(struct handle *h)
{
	struct vm_vcpu *vv;

	if (h->kind != HANDLE_VCPU)
		return -EINVAL;
	if (handle_foreign_mm(h))
		return -EIO;
	vv = atomic_load(&h->vcpu);
	if (vv)
		vcpu_end_run(vv->v);
	return 0;
}

bool abi_signal_hold(int sig)
{
	return vcpu_signal_hold(sig);
}

void abi_set_signal_hooks(void (*prepare)(u64 set), void (*restored)(u64 mask))
{
	vcpu_signals_prepare = prepare;
	vcpu_signals_restored = restored;
}

void abi_signals_wait_at(const _Atomic u32 *n)
{
	vcpu_signals_wait_at(n);
}

/* The coalesced ring belongs to the VM: every vCPU's page 2 shows the same memory. */
int abi_mapped(struct handle *h, void *p, size_t len, int prot, int flags, off_t off)
{
	const off_t ring = (off_t)(VM_COALESCED_PAGE * PAGE_SIZE);
	int fd = abi_ring_fd(h);

	/* Another process's vCPU (through exec or a socket): its run page and nothing more, since
	 * the VM is not here. */
	if (h->kind == HANDLE_VCPU && handle_foreign_mm(h))
		return 0;
	/* Pages of a dirty ring are shared, or not mapped at all (docs/kvm-abi.md 5.6). */
	if (h->kind == HANDLE_VCPU && !vm_dirty_ring_map_ok(h->vm, (u64)off, len, prot & PROT_EXEC,
							    (flags & MAP_TYPE) != MAP_PRIVATE))
		return -EINVAL;
	if (fd < 0 || (flags & MAP_TYPE) == MAP_PRIVATE || off > ring || off + (off_t)len <= ring)
		return 0;
	return sys_map_error(sys_mmap((u8 *)p + (ring - off), PAGE_SIZE, prot,
				      MAP_SHARED | MAP_FIXED, fd, (u64)ring));
}
