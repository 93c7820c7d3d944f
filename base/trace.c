/* SPDX-License-Identifier: MIT */
/* base/trace.c - see trace.h. */
#include "base/trace.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memfd.h"
#include "base/options.h"
#include "base/sys.h"

/* Until, and unless, there is an area: only the head of this one is ever touched. */
static struct {
	_Alignas(4096) u8 head[offsetof(struct trace_area, vms)];
} off;
struct trace_area *trace_area = (struct trace_area *)(void *)&off;
static struct trace_vm scratch;

/* The caller's tid without libc: its registers may be the guest's. */
static __thread u32 own_tid __attribute__((tls_model("initial-exec")));

static u32 raw_gettid(void)
{
	long r = SYS_gettid;

	if (unlikely(!own_tid)) {
		__asm__ volatile("syscall" : "+a"(r) : : "rcx", "r11", "memory");
		own_tid = (u32)r;
	}
	return own_tid;
}

static void in_child(void)
{
	own_tid = 0;
}

static int open_area(bool *fresh)
{
	const char *path = option_text(OPT_TRACE);
	int fd;

	*fresh = true;
	if (path && *path == '/') {
		struct stat st;

		fd = sys_open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0) {
			log_warn("STANDIN_TRACE=%s: cannot be opened (errno %d); no trace", path,
				 -fd);
			return -1;
		}
		if (sys_stat_of(fd, &st) || st.st_size != (off_t)sizeof(struct trace_area)) {
			log_warn("STANDIN_TRACE=%s is of another version; no trace", path);
			sys_close(fd);
			return -1;
		}
		*fresh = false;	/* `standin trace` has filled in the head */
		return fd;
	}
	fd = memfd_create("standin", MFD_CLOEXEC);
	if (fd >= 0 && memfd_size(fd, sizeof(struct trace_area))) {
		sys_close(fd);
		fd = -1;
	}
	return fd;
}

void trace_init(u64 tsc_khz)
{
	static _Atomic u32 begun;
	struct trace_area *a;
	struct timespec ts;
	bool fresh;
	int fd;

	if (atomic_exchange(&begun, 1))
		return;
	fd = open_area(&fresh);
	if (fd < 0)
		return;
	a = sys_map_file(fd, sizeof(*a), 0);
	if (sys_map_error(a)) {
		sys_close(fd);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &ts);
	a->tsc = __builtin_ia32_rdtsc();
	a->ns = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
	a->tsc_khz = tsc_khz;
	if (fresh) {
		a->size = sizeof(*a);
		a->magic = TRACE_MAGIC;
	} else if (a->magic != TRACE_MAGIC) {
		munmap(a, sizeof(*a));
		sys_close(fd);
		return;
	}
	pthread_atfork(NULL, NULL, in_child);
	/* The descriptor stays: it is how a reader finds the memfd. */
	__atomic_store_n(&trace_area, a, __ATOMIC_RELEASE);
}

u16 trace_vm_add(u32 serial)
{
	struct trace_area *a = trace_area;
	struct trace_vm *vm;
	u32 i;

	if (a == (void *)&off)
		return TRACE_NO_VM;
	for (i = 0; i < TRACE_MAX_VMS; i++) {
		u32 free = TRACE_VM_FREE;

		if (atomic_compare_exchange_strong(&a->vms[i].alive, &free, TRACE_VM_CLAIMED))
			break;
	}
	if (i == TRACE_MAX_VMS)
		return TRACE_NO_VM;
	vm = &a->vms[i];
	vm->pid = getpid();
	vm->serial = serial;
	atomic_store(&vm->nr_vcpus, 0);
	atomic_store(&vm->irqchip, 0);
	atomic_store(&vm->eoi_mode, 0);
	atomic_store(&vm->inhibits, 0);
	for (u32 k = 0; k < TRACE_REASONS; k++) {
		atomic_store(&vm->why[k].times, 0);
		atomic_store(&vm->why[k].vcpu, -1);
		atomic_store(&vm->why[k].tsc, 0);
	}
	for (u32 k = 0; k < TRACE_EVENT_COUNT; k++)
		atomic_store(&vm->count[k], 0);
	/* Readers look at this many. */
	for (u32 n = atomic_load(&a->nr_vms); n <= i;)
		if (atomic_compare_exchange_weak(&a->nr_vms, &n, i + 1))
			break;
	atomic_store(&vm->alive, TRACE_VM_LIVE);
	return (u16)i;
}

void trace_vm_remove(u16 vm)
{
	atomic_store(&trace_vm_get(vm)->alive, TRACE_VM_FREE);
}

struct trace_vm *trace_vm_get(u16 vm)
{
	if (vm >= TRACE_MAX_VMS || trace_area == (struct trace_area *)(void *)&off)
		return &scratch;
	return &trace_area->vms[vm];
}

void trace_emit(enum trace_event e, u16 vm, s32 vcpu, const u64 *args, u32 n)
{
	struct trace_area *a = trace_area;
	struct trace_record *r;
	u32 aux;
	u64 no;

	if (atomic_load_explicit(&a->counted, memory_order_relaxed) & BIT64(e))
		atomic_fetch_add_explicit(&trace_vm_get(vm)->count[e], 1, memory_order_relaxed);
	if (!(atomic_load_explicit(&a->recorded, memory_order_relaxed) & BIT64(e)))
		return;
	no = atomic_fetch_add_explicit(&a->head, 1, memory_order_relaxed);
	r = &a->ring[no % TRACE_RING];
	/* A reader that is a whole ring behind must not take a half-written record for the
	 * old one: no number has this seq. */
	atomic_store_explicit(&r->seq, (u32)no - TRACE_RING / 2, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	r->tsc = __builtin_ia32_rdtscp(&aux);
	r->event = (u16)e;
	r->cpu = aux & 0xfff;	/* how Linux sets TSC_AUX */
	r->vm = vm;
	r->vcpu = (s16)vcpu;
	r->tid = raw_gettid();
	for (u32 i = 0; i < TRACE_MAX_ARGS; i++)
		r->arg[i] = i < n ? args[i] : 0;
	atomic_store_explicit(&r->seq, (u32)no + 1, memory_order_release);
}
