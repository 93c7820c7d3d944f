/* SPDX-License-Identifier: MIT */
/* tests/guest/harness/counter.c - the counters of a vCPU (KVM_GET_STATS_FD), by name. */
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/guest/harness/harness.h"

u64 cpu_counter(struct guest_cpu *c, const char *name)
{
	int fd = ioctl(c->fd, KVM_GET_STATS_FD, NULL);
	struct kvm_stats_header h;
	u64 v = ~0ull;

	if (fd < 0 || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		test_die("KVM_GET_STATS_FD: %s", strerror(errno));
	for (u32 i = 0; i < h.num_desc; i++) {
		union {
			struct kvm_stats_desc d;
			u8 bytes[256];
		} u = { 0 };
		size_t size = sizeof(u.d) + h.name_size;

		if (pread(fd, &u, size, h.desc_offset + (off_t)(i * size)) != (ssize_t)size)
			test_die("statistics: descriptor %u", i);
		if (!strcmp(u.d.name, name) && pread(fd, &v, 8, h.data_offset + u.d.offset) != 8)
			test_die("statistics: data");
	}
	close(fd);
	return v;
}
