/* SPDX-License-Identifier: MIT */
/*
 * The load that runs inside a guest: timers, IPIs, disk, network and memory, all of it checked.
 *
 *   pulse [tick] [ipi] [vec] [blk] [patience=MS] [net=PORT] [mem=PAGES_PER_SECOND]
 *
 * Three times a second it prints "@@ pulse NAME=COUNT..."; the line "stop" on standard input makes
 * every thread finish what it is doing; then "@@ final NAME=COUNT..." and the end. What must never
 * happen is counted as `bad` and described by a line "@@ error". A datagram without an answer is
 * sent again after ten seconds, or what `patience` says.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define MAX_CPUS 64
#define BLK_THREADS 2
#define NET_THREADS 2
#define MEM_PAGES 4096

enum counter { TICK, LATE, IPI, FLIP, VEC, READ, WRITE, NET, RESENT, MEM, BAD, COUNTERS };

static const char *const counter_name[COUNTERS] = {
	"tick", "late", "ipi", "flip", "vec", "read", "write", "net", "resent", "mem", "bad",
};

static _Atomic uint64_t count[COUNTERS];
static atomic_bool stopping;
static int cpus;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void bad(const char *format, ...)
{
	char text[200];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (count[BAD]++ < 10)
		printf("@@ error pulse: %s\n", text);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		bad("sched_setaffinity(%d): %s", cpu, strerror(errno));
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* What page or block `index` holds after having been written `generation` times. */
static void fill(uint64_t *page, uint64_t index, uint64_t generation)
{
	for (int i = 0; i < PAGE / 8; i++)
		page[i] = mix(index << 40 ^ generation << 10 ^ i);
}

static bool holds(const uint64_t *page, uint64_t index, uint64_t generation)
{
	for (int i = 0; i < PAGE / 8; i++)
		if (page[i] != mix(index << 40 ^ generation << 10 ^ i))
			return false;
	return true;
}

/*
 * A periodic timer at 1000 Hz on each CPU. The kernel counts the periods that have passed, so
 * the sum must follow the clock whatever happens to single interrupts; an interrupt that is lost
 * for good leaves the CPU without its timer, and the read below never returns.
 */
static void *tick_thread(void *arg)
{
	struct itimerspec spec = { { 0, 1000000 }, { 0, 1000000 } };
	uint64_t start, total = 0, n;
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);

	pin((intptr_t)arg);
	start = now_ms();
	timerfd_settime(fd, 0, &spec, NULL);
	while (!stopping) {
		if (read(fd, &n, sizeof(n)) != sizeof(n)) {
			bad("timerfd: %s", strerror(errno));
			break;
		}
		total += n;
		count[TICK] += n;
		if (n > 1)
			count[LATE]++;
	}
	n = now_ms() - start;
	/* The clock was read a little before the timer was set, and later than the last period. */
	if (total > n + 2 || total + 1000 < n)
		bad("cpu %d: %lu periods in %lu ms", (int)(intptr_t)arg, total, n);
	close(fd);
	return NULL;
}

/*
 * membarrier() interrupts the other CPUs and waits until each has answered. A CPU whose IPI is
 * lost is not sent another one while its queue is not empty: the caller hangs.
 */
static void *ipi_thread(void *arg)
{
	pin((intptr_t)arg);
	while (!stopping) {
		for (int i = 0; i < 20; i++) {
			if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)) {
				bad("membarrier: %s", strerror(errno));
				return NULL;
			}
			count[IPI]++;
		}
		usleep(2000);
	}
	return NULL;
}

/* Two CPUs wake each other through pipes: reschedule interrupts. */
struct flip {
	int cpu, in, out;
	bool first;
};

static void *flip_thread(void *arg)
{
	struct flip *f = arg;
	char byte = 0;

	pin(f->cpu);
	for (;;) {
		if (f->first) {
			byte = stopping;
			if (write(f->out, &byte, 1) != 1 || read(f->in, &byte, 1) != 1)
				break;
			count[FLIP]++;
		} else {
			if (read(f->in, &byte, 1) != 1 || write(f->out, &byte, 1) != 1)
				break;
		}
		if (byte)
			return NULL;
		if (f->first && count[FLIP] % 64 == 0)
			usleep(1000);
	}
	bad("pipe: %s", strerror(errno));
	return NULL;
}

/*
 * Vector registers hold what was put there, from the first to the last, for as long as it takes:
 * whoever stops, saves or moves the vCPU meanwhile has to bring them back. AVX-512 with its masks,
 * or AVX.
 */
#define SPIN "1: dec %%rcx\n jnz 1b\n"

__attribute__((target("avx512f"))) static bool vec512(const uint64_t *in, uint64_t *out)
{
	uint64_t k1 = in[0] & 0xffff, k7 = in[1] & 0xffff, spin = 300000;

	__asm__ volatile("kmovw %k1, %%k1\n kmovw %k2, %%k7\n vmovdqu64 (%3), %%zmm0\n"
			 "vmovdqu64 64(%3), %%zmm15\n vmovdqu64 128(%3), %%zmm16\n"
			 "vmovdqu64 192(%3), %%zmm31\n" SPIN "kmovw %%k1, %k1\n"
			 "kmovw %%k7, %k2\n vmovdqu64 %%zmm0, (%4)\n"
			 "vmovdqu64 %%zmm15, 64(%4)\n vmovdqu64 %%zmm16, 128(%4)\n"
			 "vmovdqu64 %%zmm31, 192(%4)\n vzeroupper"
			 : "+c"(spin), "+r"(k1), "+r"(k7) : "r"(in), "r"(out)
			 : "memory", "xmm0", "xmm15", "xmm16", "xmm31", "k1", "k7");
	return k1 == (in[0] & 0xffff) && k7 == (in[1] & 0xffff) && !memcmp(in, out, 256);
}

__attribute__((target("avx"))) static bool vec256(const uint64_t *in, uint64_t *out)
{
	uint64_t spin = 300000;

	__asm__ volatile("vmovdqu (%1), %%ymm0\n vmovdqu 32(%1), %%ymm15\n" SPIN
			 "vmovdqu %%ymm0, (%2)\n vmovdqu %%ymm15, 32(%2)\n vzeroupper"
			 : "+c"(spin) : "r"(in), "r"(out) : "memory", "xmm0", "xmm15");
	return !memcmp(in, out, 64);
}

static void *vec_thread(void *arg)
{
	bool wide = __builtin_cpu_supports("avx512f"), narrow = __builtin_cpu_supports("avx");
	uint64_t in[32], out[32], seed = (intptr_t)arg + 4711;

	pin((intptr_t)arg);
	while (!stopping) {
		for (int i = 0; i < 32; i++)
			in[i] = seed = mix(seed);
		if (wide ? !vec512(in, out) : narrow && !vec256(in, out))
			bad("vector registers of CPU %d have changed", (int)(intptr_t)arg);
		count[VEC]++;
		usleep(5000);
	}
	return NULL;
}

/* Random blocks of its share of the disk, written and read back, past the page cache. */
static void *blk_thread(void *arg)
{
	uint64_t seed = (intptr_t)arg + 1, blocks, first;
	uint32_t *generation;
	uint64_t *buffer;
	off_t size;
	int fd = open("/dev/vda", O_RDWR | O_DIRECT);

	if (fd < 0) {
		bad("/dev/vda: %s", strerror(errno));
		return NULL;
	}
	size = lseek(fd, 0, SEEK_END);
	blocks = size / PAGE / BLK_THREADS;
	first = blocks * (intptr_t)arg;
	generation = calloc(blocks, sizeof(*generation));
	buffer = aligned_alloc(PAGE, PAGE);
	while (!stopping) {
		uint64_t b = (seed = mix(seed)) % blocks;
		off_t at = (off_t)(first + b) * PAGE;

		if (generation[b] && seed >> 60 < 8) {
			if (pread(fd, buffer, PAGE, at) != PAGE)
				bad("disk read: %s", strerror(errno));
			else if (!holds(buffer, first + b, generation[b]))
				bad("block %lu is not what was written (generation %u)", first + b,
				    generation[b]);
			count[READ]++;
		} else {
			fill(buffer, first + b, ++generation[b]);
			if (pwrite(fd, buffer, PAGE, at) != PAGE)
				bad("disk write: %s", strerror(errno));
			count[WRITE]++;
		}
	}
	close(fd);
	return NULL;
}

/* One datagram at a time to an echo server on the host. */
static int net_port, patience = 10000;

static void *net_thread(void *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(net_port) };
	uint64_t packet[8] = { (intptr_t)arg }, answer[8];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, "10.0.2.2", &to.sin_addr);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		bad("connect: %s", strerror(errno));
		return NULL;
	}
	while (!stopping) {
		bool answered = false;

		packet[1]++;
		for (int i = 2; i < 8; i++)
			packet[i] = mix(packet[1] << 3 | i);
		while (!answered && !stopping) {
			struct pollfd p = { fd, POLLIN, 0 };

			if (send(fd, packet, sizeof(packet), 0) != sizeof(packet)) {
				bad("send: %s", strerror(errno));
				return NULL;
			}
			count[NET]++;
			/*
			 * An answer to a datagram that was sent twice may come twice; after a
			 * snapshot was loaded there may be one to a datagram not yet sent.
			 */
			while (!answered && poll(&p, 1, patience) == 1) {
				if (recv(fd, answer, sizeof(answer), 0) != sizeof(answer))
					bad("recv: %s", strerror(errno));
				answered = answer[1] == packet[1];
				if (answered && memcmp(answer, packet, sizeof(packet)))
					bad("a wrong datagram came back");
			}
			if (!answered)
				count[RESENT]++;
		}
	}
	close(fd);
	return NULL;
}

/* Pages of memory, rewritten and verified at a given rate. */
static int mem_rate;

static void *mem_thread(void *arg)
{
	static uint32_t generation[MEM_PAGES];
	uint64_t seed = 77, credit = 0, then = now_ms();
	char *pages = mmap(NULL, MEM_PAGES * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)arg;
	while (!stopping) {
		uint64_t now = now_ms();

		credit += (now - then) * mem_rate;
		if (credit > 200 * 1000)
			credit = 200 * 1000;
		then = now;
		for (; credit >= 1000; credit -= 1000) {
			uint64_t n = (seed = mix(seed)) % MEM_PAGES;
			uint64_t *page = (uint64_t *)(pages + n * PAGE);

			if (generation[n] && !holds(page, n, generation[n]))
				bad("page %lu is not what was written (generation %u)", n,
				    generation[n]);
			fill(page, n, ++generation[n]);
			count[MEM]++;
		}
		usleep(2000);
	}
	for (uint64_t n = 0; n < MEM_PAGES; n++)
		if (generation[n] && !holds((uint64_t *)(pages + n * PAGE), n, generation[n]))
			bad("at the end page %lu is not what was written", n);
	return NULL;
}

static pthread_t threads[5 * MAX_CPUS];
static int nr_threads;

static void start(void *(*function)(void *), void *arg)
{
	if (pthread_create(&threads[nr_threads], NULL, function, arg))
		bad("pthread_create: %s", strerror(errno));
	else
		nr_threads++;
}

static void start_flips(void)
{
	for (int i = 0; i + 1 < cpus; i += 2) {
		struct flip *f = calloc(2, sizeof(*f));
		int there[2], back[2];

		if (pipe(there) || pipe(back)) {
			bad("pipe: %s", strerror(errno));
			return;
		}
		f[0] = (struct flip){ i, back[0], there[1], true };
		f[1] = (struct flip){ i + 1, there[0], back[1], false };
		start(flip_thread, &f[0]);
		start(flip_thread, &f[1]);
	}
}

static void report(const char *key)
{
	printf("@@ %s ms=%lu", key, now_ms());
	for (int i = 0; i < COUNTERS; i++)
		printf(" %s=%lu", counter_name[i], (uint64_t)count[i]);
	printf("\n");
}

static void *control_thread(void *arg)
{
	char line[80];

	(void)arg;
	while (fgets(line, sizeof(line), stdin))
		if (!strncmp(line, "stop", 4)) {
			stopping = true;
			return NULL;
		}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t control;
	uint64_t next;

	setvbuf(stdout, NULL, _IOLBF, 0);
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	if (cpus > MAX_CPUS)
		cpus = MAX_CPUS;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0))
		bad("membarrier registration: %s", strerror(errno));
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "tick")) {
			for (intptr_t c = 0; c < cpus; c++)
				start(tick_thread, (void *)c);
		} else if (!strcmp(argv[i], "ipi")) {
			for (intptr_t c = 0; c < cpus; c++)
				start(ipi_thread, (void *)c);
			start_flips();
		} else if (!strcmp(argv[i], "vec")) {
			for (intptr_t c = 0; c < cpus; c++)
				start(vec_thread, (void *)c);
		} else if (!strcmp(argv[i], "blk")) {
			for (intptr_t t = 0; t < BLK_THREADS; t++)
				start(blk_thread, (void *)t);
		} else if (!strncmp(argv[i], "patience=", 9)) {
			patience = atoi(argv[i] + 9);
		} else if (!strncmp(argv[i], "net=", 4)) {
			net_port = atoi(argv[i] + 4);
			for (intptr_t t = 0; t < NET_THREADS; t++)
				start(net_thread, (void *)t);
		} else if (!strncmp(argv[i], "mem=", 4)) {
			mem_rate = atoi(argv[i] + 4);
			start(mem_thread, NULL);
		} else {
			bad("unknown argument %s", argv[i]);
		}
	}
	pthread_create(&control, NULL, control_thread, NULL);
	next = now_ms();
	while (!stopping) {
		if (now_ms() >= next) {
			report("pulse");
			next = now_ms() + 300;
		}
		usleep(20000);
	}
	for (int i = 0; i < nr_threads; i++)
		pthread_join(threads[i], NULL);
	report("final");
	return count[BAD] != 0;
}
