/* SPDX-License-Identifier: MIT */
/* door/load.c - put a program into memory as the kernel's ELF loader does. */
#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "door/door.h"

enum { MAX_PHDRS = 512 };

static int read_exact(int fd, void *to, size_t n, u64 at)
{
	ssize_t r = pread(fd, to, n, (off_t)at);

	return r < 0 ? -errno : (size_t)r == n ? 0 : -ENOEXEC;
}

static int prot_of(u32 flags)
{
	return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) |
	       (flags & PF_X ? PROT_EXEC : 0);
}

static u64 random_below(u64 n)
{
	u64 r = 0;

	/* Without it addresses are the same each time: nothing depends on it. */
	if (getrandom(&r, sizeof(r), GRND_NONBLOCK) != sizeof(r))
		r = 0;
	return r % n;
}

/* What is to be cleared lies in a page that a truncated file does not have: the kernel's execve()
 * has no way back then, and kills. */
static void check_page(int fd, u64 offset)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct stat st;
	sigset_t set;

	if (fstat(fd, &st) || ALIGN_DOWN(offset, PAGE_SIZE) < (u64)st.st_size)
		return;
	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	sigaction(SIGSEGV, &dfl, NULL);
	raise(SIGSEGV);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	_exit(128 + SIGSEGV);
}

static int map_segment(int fd, const Elf64_Phdr *ph, u64 bias)
{
	u64 at = ph->p_vaddr + bias, page = ALIGN_DOWN(at, PAGE_SIZE);
	u64 file_end = at + ph->p_filesz, mem_end = at + ph->p_memsz;
	u64 mapped = ALIGN_UP(file_end, PAGE_SIZE);
	int prot = prot_of(ph->p_flags);

	if (ph->p_filesz) {
		if (mmap(user_ptr(page), mapped - page, prot, MAP_PRIVATE | MAP_FIXED, fd,
			 (off_t)ALIGN_DOWN(ph->p_offset, PAGE_SIZE)) == MAP_FAILED)
			return -errno;
	} else {
		mapped = page;
	}
	if (ph->p_memsz > ph->p_filesz && mapped > file_end && ph->p_filesz && prot & PROT_WRITE) {
		check_page(fd, ph->p_offset + ph->p_filesz);
		memset(user_ptr(file_end), 0, mapped - file_end);
	}
	if (ALIGN_UP(mem_end, PAGE_SIZE) > mapped &&
	    mmap(user_ptr(mapped), ALIGN_UP(mem_end, PAGE_SIZE) - mapped, prot,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	return 0;
}

static int get_interp(int fd, const Elf64_Phdr *ph, struct image *im)
{
	if (ph->p_filesz < 2 || ph->p_filesz > sizeof(im->interp))
		return -ENOEXEC;
	if (read_exact(fd, im->interp, ph->p_filesz, ph->p_offset))
		return -ENOEXEC;
	return im->interp[ph->p_filesz - 1] ? -ENOEXEC : 0;
}

/* The addresses that the segments take. */
static int extent(const Elf64_Phdr *ph, u32 n, u64 *low, u64 *high, u64 *align)
{
	*low = ~0ull;
	*high = 0;
	*align = PAGE_SIZE;
	for (u32 i = 0; i < n; i++) {
		u64 end;

		if (ph[i].p_type != PT_LOAD || !ph[i].p_memsz)
			continue;
		if (ph[i].p_filesz > ph[i].p_memsz ||
		    ph[i].p_vaddr % PAGE_SIZE != ph[i].p_offset % PAGE_SIZE ||
		    __builtin_add_overflow(ph[i].p_vaddr, ph[i].p_memsz, &end) || end >> 47)
			return -ENOEXEC;
		if (ph[i].p_vaddr < *low)
			*low = ALIGN_DOWN(ph[i].p_vaddr, PAGE_SIZE);
		if (end > *high)
			*high = ALIGN_UP(end, PAGE_SIZE);
		if (ph[i].p_align > *align && !(ph[i].p_align & (ph[i].p_align - 1)))
			*align = ph[i].p_align;
	}
	return *high ? 0 : -ENOEXEC;
}

static int place(const Elf64_Ehdr *eh, const Elf64_Phdr *ph, u64 near, struct image *im)
{
	u64 low, high, align, at;
	void *p;
	int r = extent(ph, eh->e_phnum, &low, &high, &align);

	if (r)
		return r;
	at = low;
	if (eh->e_type == ET_DYN)
		at = ALIGN_UP(near + random_below(32ull << 30) / PAGE_SIZE * PAGE_SIZE, align);
	p = mmap(user_ptr(at), high - low, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (p == MAP_FAILED)
		return -errno;
	if (p != user_ptr(at)) {	/* a kernel before 4.17 */
		munmap(p, high - low);
		return -EEXIST;
	}
	im->base = at;
	im->end = at + (high - low);
	im->bias = at - low;
	return 0;
}

static int load(int fd, const Elf64_Ehdr *eh, const Elf64_Phdr *ph, u64 near, struct image *im)
{
	int r = place(eh, ph, near, im);

	if (r)
		return r;
	im->entry = eh->e_entry + im->bias;
	im->phnum = eh->e_phnum;
	for (u32 i = 0; i < eh->e_phnum && !r; i++) {
		switch (ph[i].p_type) {
		case PT_LOAD:
			if (ph[i].p_memsz)
				r = map_segment(fd, &ph[i], im->bias);
			if (eh->e_phoff >= ph[i].p_offset &&
			    eh->e_phoff < ph[i].p_offset + ph[i].p_filesz)
				im->phdr = eh->e_phoff - ph[i].p_offset + ph[i].p_vaddr + im->bias;
			break;
		case PT_INTERP:
			r = get_interp(fd, &ph[i], im);
			break;
		}
	}
	return r;
}

int image_load(int fd, u64 near, struct image *im)
{
	Elf64_Phdr *ph;
	Elf64_Ehdr eh;
	size_t bytes;
	int r = read_exact(fd, &eh, sizeof(eh), 0);

	memset(im, 0, sizeof(*im));
	if (r)
		return r;
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_machine != EM_X86_64 || (eh.e_type != ET_EXEC && eh.e_type != ET_DYN) ||
	    eh.e_phentsize != sizeof(*ph) || !eh.e_phnum || eh.e_phnum > MAX_PHDRS)
		return -ENOEXEC;
	bytes = eh.e_phnum * sizeof(*ph);
	ph = malloc(bytes);
	if (!ph)
		return -ENOMEM;
	r = read_exact(fd, ph, bytes, eh.e_phoff);
	if (!r)
		r = load(fd, &eh, ph, near, im);
	free(ph);
	return r;
}
