/* SPDX-License-Identifier: MIT */
/* base/door.c - see door.h. */
#include "base/door.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/raw.h"

u32 door_glibc_minor = 34;
bool door_object_alone;

static const struct {
	enum door door;
	bool strip;
	const char *reason;
} kinds[] = {
#define X(n, door, strip, text) { door, strip, text },
	PROGRAM_KINDS(X)
#undef X
};

const char *door_reason(enum program_kind kind)
{
	return kinds[kind].reason;
}

bool door_strips(enum program_kind kind)
{
	return kinds[kind].strip;
}

static bool same(const void *a, const void *b, size_t n)
{
	const u8 *p = a, *q = b;

	for (; n; n--)
		if (*p++ != *q++)
			return false;
	return true;
}

/* Up to n bytes at `at`; what is missing is zeros. How many there were. */
static size_t read_at(int fd, void *to, size_t n, u64 at)
{
	size_t got = 0;
	long r;

	while (got < n) {
		r = RAW(SYS_pread64, fd, (u8 *)to + got, n - got, at + got);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	for (size_t i = got; i < n; i++)
		((u8 *)to)[i] = 0;
	return got;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

bool door_script(char *head, size_t n, char **interp, char **arg)
{
	char *p = head + 2, *end = NULL, *start;

	if (n < 3 || head[0] != '#' || head[1] != '!')
		return false;
	if (n > DOOR_HEAD_BYTES)
		n = DOOR_HEAD_BYTES;
	for (size_t i = 2; i < n && !end; i++)
		if (head[i] == '\n' || !head[i])
			end = head + i;
	if (!end && n < DOOR_HEAD_BYTES)
		end = head + n;
	while (p < (end ? end : head + n) && blank(*p))
		p++;
	start = p;
	while (p < (end ? end : head + n) && !blank(*p))
		p++;
	if (p == start)
		return false;
	/* A name that is cut off by the size of the buffer is refused; a cut argument is not. */
	if (!end && p == head + n)
		return false;
	if (!end)
		end = head + n - 1;
	while (end > p && blank(end[-1]))
		end--;
	*end = 0;
	*interp = start;
	*arg = NULL;
	if (p < end) {
		*p++ = 0;
		while (p < end && blank(*p))
			p++;
		if (p < end)
			*arg = p;
	}
	return true;
}

static const char *base_name(const char *path)
{
	const char *b = path;

	for (; *path; path++)
		if (*path == '/')
			b = path + 1;
	return b;
}

static bool starts(const char *s, const char *with)
{
	for (; *with; s++, with++)
		if (*s != *with)
			return false;
	return true;
}

static bool is_glibc_loader(const char *path)
{
	return starts(base_name(path), "ld-linux-x86-64.so");
}

static u32 number(const char *s)
{
	u32 n = 0;

	while (*s >= '0' && *s <= '9' && n < 1000)
		n = n * 10 + (u32)(*s++ - '0');
	return n;
}

/* Its string table names the versions that it needs. It lies in the part of the file that is loaded
 * at its own offset, in front of the code. */
void door_read_object(const void *image, size_t bytes)
{
	const Elf64_Ehdr *eh = image;
	const Elf64_Dyn *dyn = NULL;
	u64 at = 0, n = 0, nr = 0;
	bool alone = true;
	u32 most = 0;

	if (bytes < sizeof(*eh) || eh->e_phoff + eh->e_phnum * sizeof(Elf64_Phdr) > bytes)
		return;
	for (u32 i = 0; i < eh->e_phnum; i++) {
		const Elf64_Phdr *ph = (const void *)((const u8 *)image + eh->e_phoff);
		const Elf64_Dyn *d;

		ph += i;
		if (ph->p_type != PT_DYNAMIC || ph->p_offset + ph->p_filesz > bytes)
			continue;
		dyn = d = (const void *)((const u8 *)image + ph->p_offset);
		nr = ph->p_filesz / sizeof(*d);
		for (u64 k = 0; k < nr; k++) {
			if (d[k].d_tag == DT_STRTAB)
				at = d[k].d_un.d_ptr;
			if (d[k].d_tag == DT_STRSZ)
				n = d[k].d_un.d_val;
		}
	}
	if (!n || at > bytes || n > bytes - at)
		return;
	for (u64 i = at; i + 8 < at + n; i++) {
		const char *s = (const char *)image + i;

		if (*s == 'G' && same(s, "GLIBC_2.", 8) && number(s + 8) > most)
			most = number(s + 8);
	}
	for (u64 k = 0; k < nr; k++) {
		const char *s = (const char *)image + at + dyn[k].d_un.d_val;

		if (dyn[k].d_tag == DT_NEEDED && dyn[k].d_un.d_val < n)
			alone &= starts(s, "libc.so.") || is_glibc_loader(s);
	}
	if (most)
		door_glibc_minor = most;
	door_object_alone = alone;
}

/* Is this dynamic loader of glibc 2.minor or newer? `ld.so --version` says so since 2.33, in a
 * string. The versions of symbols that it defines tell nothing: ld.so of 2.43 has GLIBC_2.35 as the
 * last. */
static bool loader_has(int fd, u32 minor)
{
	static const char banner[] = " release version 2.";
	enum { LEN = sizeof(banner) - 1, DIGITS = 4 };
	char page[4096 + LEN + DIGITS];
	size_t keep = 0, got, n;

	for (u64 at = 0; (got = read_at(fd, page + keep, 4096, at)); at += got) {
		n = keep + got;
		for (size_t i = 0; i + LEN + DIGITS <= n; i++)
			if (page[i] == ' ' && same(page + i, banner, LEN))
				return number(page + i + LEN) >= minor;
		/* It may lie across the end of what was read. */
		keep = n < LEN + DIGITS ? n : LEN + DIGITS - 1;
		for (size_t i = 0; i < keep; i++)
			page[i] = page[n - keep + i];
	}
	return false;
}

static enum program_kind glibc_kind(int fd)
{
	static _Atomic u64 good;	/* the last file that was new enough */
	struct stat st;
	u64 id;

	if (RAW(SYS_fstat, fd, &st))
		return PROGRAM_UNKNOWN;
	id = (u64)st.st_dev << 48 ^ st.st_ino;
	if (id == good)
		return PROGRAM_GLIBC;
	if (!loader_has(fd, door_glibc_minor))
		return PROGRAM_OLD_GLIBC;
	good = id;
	return PROGRAM_GLIBC;
}

static enum program_kind loader_kind(const char *interp)
{
	enum program_kind kind;
	long fd;

	if (starts(base_name(interp), "ld-musl-"))
		kind = PROGRAM_MUSL;
	else if (!is_glibc_loader(interp))
		kind = PROGRAM_OTHER_LOADER;
	else
		kind = PROGRAM_GLIBC;
	fd = RAW(SYS_openat, AT_FDCWD, interp, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return PROGRAM_UNKNOWN;	/* execve() will not find it either */
	if (kind == PROGRAM_GLIBC)
		kind = glibc_kind((int)fd);
	RAW(SYS_close, fd);
	return kind;
}

/* The note that Go's linkers leave, "Go" of type 4 (its build id). */
static bool has_go_note(int fd, const Elf64_Phdr *ph)
{
	struct {
		Elf64_Nhdr h;
		char name[4];
	} note;
	u64 at = ph->p_offset, end = at + ph->p_filesz;

	for (int i = 0; i < 16 && at + sizeof(note) <= end; i++) {
		if (read_at(fd, &note, sizeof(note), at) != sizeof(note))
			return false;
		if (note.h.n_namesz == 4 && note.h.n_type == 4 && same(note.name, "Go", 3))
			return true;
		at += sizeof(note.h) + ALIGN_UP((u64)note.h.n_namesz, 4) +
		      ALIGN_UP((u64)note.h.n_descsz, 4);
	}
	return false;
}

/* Is the first library that it needs the address sanitizer's? The string table's place in the file
 * is that of the segment where it is loaded. */
static bool has_asan(int fd, const Elf64_Ehdr *eh, const Elf64_Phdr *dynamic)
{
	Elf64_Dyn d[128];	/* the libraries come first, the table 30 behind */
	size_t n = dynamic->p_filesz < sizeof(d) ? dynamic->p_filesz : sizeof(d);
	u64 name = 0, strings = 0;
	char text[sizeof("libclang_rt.asan")];
	Elf64_Phdr ph;

	n = read_at(fd, d, n, dynamic->p_offset) / sizeof(*d);
	for (size_t i = n; i--;) {
		if (d[i].d_tag == DT_NEEDED)
			name = d[i].d_un.d_val;
		if (d[i].d_tag == DT_STRTAB)
			strings = d[i].d_un.d_ptr;
	}
	if (!name || !strings)
		return false;
	for (u32 i = 0; i < eh->e_phnum; i++)
		if (read_at(fd, &ph, sizeof(ph), eh->e_phoff + i * sizeof(ph)) == sizeof(ph) &&
		    ph.p_type == PT_LOAD && strings - ph.p_vaddr < ph.p_filesz) {
			name += ph.p_offset + strings - ph.p_vaddr;
			read_at(fd, text, sizeof(text) - 1, name);
			return starts(text, "libasan.so") || starts(text, "libclang_rt.asan");
		}
	return false;
}

static enum program_kind elf_kind(int fd, const char *path, const void *head, size_t n)
{
	char interp[DOOR_INTERP_MAX];
	const Elf64_Ehdr *eh = head;
	bool dynamic = false, go = false, load = false;
	Elf64_Phdr ph, libraries = { 0 };
	enum program_kind kind;

	if (n >= sizeof(Elf32_Ehdr) && eh->e_ident[EI_CLASS] == ELFCLASS32)
		return eh->e_machine == EM_386 || eh->e_machine == EM_X86_64 ? PROGRAM_BITS32
									     : PROGRAM_FOREIGN;
	if (n < sizeof(*eh) || eh->e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh->e_ident[EI_DATA] != ELFDATA2LSB || eh->e_machine != EM_X86_64)
		return PROGRAM_FOREIGN;
	/* Linux refuses the same. */
	if ((eh->e_type != ET_EXEC && eh->e_type != ET_DYN) || eh->e_phentsize != sizeof(ph) ||
	    !eh->e_phnum || eh->e_phnum > 65536 / sizeof(ph))
		return PROGRAM_UNKNOWN;
	for (u32 i = 0; i < eh->e_phnum; i++) {
		if (read_at(fd, &ph, sizeof(ph), eh->e_phoff + i * sizeof(ph)) != sizeof(ph))
			return PROGRAM_UNKNOWN;
		load |= ph.p_type == PT_LOAD;
		if (ph.p_type == PT_DYNAMIC)
			libraries = ph;
		if (ph.p_type == PT_NOTE && !go)
			go = has_go_note(fd, &ph);
		if (ph.p_type != PT_INTERP || dynamic)
			continue;
		if (ph.p_filesz < 2 || ph.p_filesz > sizeof(interp) ||
		    read_at(fd, interp, ph.p_filesz, ph.p_offset) != ph.p_filesz ||
		    interp[ph.p_filesz - 1])
			return PROGRAM_UNKNOWN;
		dynamic = true;
	}
	if (!load)
		return PROGRAM_UNKNOWN;
	if (go)
		return PROGRAM_GO;
	if (dynamic) {
		kind = loader_kind(interp);
		return kind == PROGRAM_GLIBC && has_asan(fd, eh, &libraries) ? PROGRAM_ASAN : kind;
	}
	/* "ld-linux-x86-64.so.2 PROGRAM": the loader as a program. */
	return is_glibc_loader(path) ? glibc_kind(fd) : PROGRAM_STATIC;
}

/* Would the kernel start it in secure mode? For root of no other user it makes no difference. */
static bool is_secure(int fd, const struct stat *st)
{
	if ((st->st_mode & S_ISUID) && st->st_uid != (uid_t)RAW(SYS_geteuid))
		return true;
	if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
	    st->st_gid != (gid_t)RAW(SYS_getegid))
		return true;
	return RAW(SYS_getuid) && RAW(SYS_fgetxattr, fd, "security.capability", NULL, 0) > 0;
}

/* What the kernel will not execute is its to refuse. Older kernels do not know the effective user's
 * rights. */
static bool is_executable(int dir, const char *path, int flags)
{
	long r = RAW(SYS_faccessat2, dir, path, X_OK, AT_EACCESS | (flags & AT_EMPTY_PATH));

	return !r || r == -ENOSYS || r == -EPERM;
}

/* The kind of one file; a script's interpreter goes to `next`. */
static enum program_kind look(int dir, const char *path, int flags, char *next)
{
	char head[DOOR_HEAD_BYTES], *interp, *arg;
	enum program_kind kind = PROGRAM_UNKNOWN;
	struct stat st;
	size_t n;
	long fd;

	/* Opening what is no plain file may have effects. */
	if (RAW(SYS_newfstatat, dir, path, &st, flags) || !S_ISREG(st.st_mode) ||
	    !is_executable(dir, path, flags))
		return PROGRAM_UNKNOWN;
	if (flags & AT_EMPTY_PATH && !*path) {
		fd = RAW(SYS_fcntl, dir, F_DUPFD_CLOEXEC, 0);
	} else {
		fd = RAW(SYS_openat, dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd == -EACCES)
			return PROGRAM_UNREADABLE;
	}
	if (fd < 0)
		return PROGRAM_UNKNOWN;
	n = read_at((int)fd, head, sizeof(head), 0);
	if (!n && flags & AT_EMPTY_PATH)
		kind = PROGRAM_UNREADABLE;	/* O_PATH, for one */
	if (n >= EI_NIDENT && same(head, ELFMAG, SELFMAG)) {
		kind = elf_kind((int)fd, path, head, n);
		if (kind != PROGRAM_UNKNOWN && kind != PROGRAM_FOREIGN && is_secure((int)fd, &st))
			kind = PROGRAM_SETUID;
	} else if (door_script(head, n, &interp, &arg)) {
		size_t i = 0;

		do
			next[i] = interp[i];
		while (interp[i++]);
	}
	RAW(SYS_close, fd);
	return kind;
}

void door_for(int dir, const char *path, int flags, struct door_choice *c)
{
	char next[DOOR_INTERP_MAX];

	c->scripts = 0;
	c->program[0] = 0;
	for (;;) {
		next[0] = 0;
		c->kind = look(dir, path, flags, next);
		if (!next[0] || c->scripts == DOOR_SCRIPT_DEPTH)
			break;
		for (size_t i = 0; i < sizeof(next); i++)
			c->program[i] = next[i];
		c->scripts++;
		dir = AT_FDCWD;
		path = c->program;
		flags = 0;
	}
	c->door = kinds[c->kind].door;
}

/* door/ has the real ones. */
__attribute__((weak)) size_t door_second_room(char *const argv[], char *const envp[])
{
	return 0;
}

__attribute__((weak)) int door_second(struct door_launch *l, int dir, const char *path, int flags,
				      char *const argv[], char *const envp[], void *room)
{
	return -ENOSYS;
}
