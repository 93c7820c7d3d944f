/* SPDX-License-Identifier: MIT */
/* Benchmarks that only compute: what the translator itself costs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bench.h"

static uint64_t random_state = 88172645463325252ull;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void *need(size_t size)
{
	void *p = aligned_alloc(64, size);

	if (!p) {
		fprintf(stderr, "bench: no memory\n");
		exit(1);
	}
	return p;
}

/* Integer mix: arithmetic, a multiplication, a table look-up, unpredictable branches. */
uint64_t bench_int(long n)
{
	static uint32_t table[256];
	uint64_t h = 14695981039346656037ull;

	for (int i = 0; i < 256; i++)
		table[i] = (uint32_t)random_next();
	for (long i = 0; i < n; i++) {
		h ^= i;
		h *= 1099511628211ull;
		h += table[h >> 56];
		if (h & 0x10)
			h = (h << 7) | (h >> 57);
		else
			h -= table[i & 255];
	}
	return h;
}

/* A random cycle through 8 MiB: one dependent load after the other. */
uint64_t bench_chase(long n)
{
	enum { SLOTS = 1 << 17, STRIDE = 8 };
	uint64_t *next = need(SLOTS * STRIDE * 8);
	uint32_t *order = need(SLOTS * 4);
	uint64_t at = 0;

	for (uint32_t i = 0; i < SLOTS; i++)
		order[i] = i;
	for (uint32_t i = SLOTS - 1; i > 0; i--) {
		uint32_t j = random_next() % i, t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	for (uint32_t i = 0; i < SLOTS; i++)
		next[(uint64_t)order[i] * STRIDE] = (uint64_t)order[(i + 1) % SLOTS] * STRIDE;
	for (long i = 0; i < n; i++)
		at = next[at];
	free(order);
	free(next);
	return at;
}

/* libc's memcpy and strlen, blocks of many sizes. */
uint64_t bench_mem(long n)
{
	enum { SIZE = 1 << 20 };
	char *a = need(SIZE), *b = need(SIZE);
	uint64_t sum = 0;

	memset(a, 'x', SIZE);
	for (long i = 0; i < n; i++) {
		size_t size = 64 + random_next() % (SIZE / 2);
		size_t from = random_next() % (SIZE - size);

		memcpy(b, a + from, size);
		b[size - 1] = 0;
		sum += strlen(b);
		for (size_t at = 0; at + 64 < 32768; at += 64) {
			memcpy(b + at, a + from % 4096 + at, 16 + (at >> 6) % 48);
			b[at + 48] = 0;
			sum += strlen(b + at);
		}
	}
	free(a);
	free(b);
	return sum;
}

#define N 256

#define MATMUL(name, type, lanes, attribute) \
attribute static float name(const float *a, const float *b, float *c) \
{ \
	typedef float type __attribute__((vector_size(lanes * 4), aligned(4))); \
	for (int i = 0; i < N; i++) { \
		for (int j = 0; j < N; j += 2 * lanes) { \
			type s0 = {}, s1 = {}; \
			for (int k = 0; k < N; k++) { \
				type x = (type){} + a[i * N + k]; \
				s0 += x * *(const type *)&b[k * N + j]; \
				s1 += x * *(const type *)&b[k * N + j + lanes]; \
			} \
			*(type *)&c[i * N + j] = s0; \
			*(type *)&c[i * N + j + lanes] = s1; \
		} \
	} \
	return c[N + 1]; \
}

MATMUL(matmul_sse2, v4, 4, )
MATMUL(matmul_avx2, v8, 8, __attribute__((target("avx2,fma"))))

static uint64_t matmul(long n, float (*mul)(const float *, const float *, float *))
{
	float *a = need(N * N * 4), *b = need(N * N * 4), *c = need(N * N * 4);
	float sum = 0;

	for (int i = 0; i < N * N; i++) {
		a[i] = (float)(random_next() % 1000) / 1000;
		b[i] = (float)(random_next() % 1000) / 1000;
	}
	for (long i = 0; i < n; i++) {
		sum += mul(a, b, c);
		a[i % (N * N)] += 1;
	}
	free(a);
	free(b);
	free(c);
	return (uint64_t)sum;
}

uint64_t bench_sse2(long n)
{
	return matmul(n * 4, matmul_sse2);
}

uint64_t bench_avx2(long n)
{
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
		fprintf(stderr, "bench: this CPU has no AVX2\n");
		exit(1);
	}
	return matmul(n * 4, matmul_avx2);
}

/* Compresses n MiB of text-like data. */
uint64_t bench_deflate(long n)
{
	enum { PIECE = 1 << 20 };
	unsigned char *in = need(PIECE), *out = need(PIECE * 2);
	uint64_t total = 0;

	for (long i = 0; i < n; i++) {
		uLongf size = PIECE * 2;

		for (int k = 0; k < PIECE; k += 8) {
			uint64_t word = random_next() % 900 * 0x9e3779b97f4a7c15ull;

			memcpy(in + k, &word, 8);
		}
		if (compress2(out, &size, in, PIECE, 6) != Z_OK) {
			fprintf(stderr, "bench: deflate failed\n");
			exit(1);
		}
		total += size;
	}
	free(in);
	free(out);
	return total;
}
