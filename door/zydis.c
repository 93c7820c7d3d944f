/* SPDX-License-Identifier: MIT */
/*
 * door/zydis.c - Zydis where only its shared library can be had (Debian 12): the library itself is
 * in our object as bytes, is put into memory at the start, and the functions that we use jump into
 * it. It needs five functions of libc, which ours gives it.
 */
#include <assert.h>
#include <elf.h>
#include <string.h>
#include <sys/mman.h>

#include "door/zydis.h"

#define FUNCTIONS(X) \
	X(ZydisDecoderInit) X(ZydisDecoderEnableMode) X(ZydisDecoderDecodeFull) \
	X(ZydisDecoderDecodeInstruction) \
	X(ZydisRegisterGetId) X(ZydisRegisterGetClass) X(ZydisFormatterInit) \
	X(ZydisFormatterFormatInstruction)

__asm__(".section .rodata\n"
	".p2align 12\n"
	".local zydis_file\n"
	"zydis_file:\n"
	".incbin \"" ZYDIS_FILE "\"\n"
	".local zydis_file_end\n"
	"zydis_file_end:\n"
	".text\n");
extern const u8 zydis_file[], zydis_file_end[];

#define X(name) \
	__asm__(".local slot_" #name "\n" \
		".comm slot_" #name ",8,8\n" \
		".globl " #name "\n" \
		".hidden " #name "\n" \
		".type " #name ", @function\n" \
		#name ":\n" \
		"	jmp *slot_" #name "(%rip)\n" \
		".size " #name ", . - " #name "\n"); \
	extern u64 slot_##name;
FUNCTIONS(X)
#undef X

extern void __stack_chk_fail(void);

static const struct {
	const char *name;
	u64 *slot;
} wanted[] = {
#define X(name) { #name, &slot_##name },
	FUNCTIONS(X)
#undef X
};

struct library {
	u8 *base;
	const Elf64_Sym *symbols;
	const char *names;
	const Elf64_Rela *rela[2];
	size_t nr[2];
};

static u64 given(const char *name)
{
#define IF(fn) \
	if (!strcmp(name, #fn)) \
		return (u64)(uintptr_t)fn;
	IF(memcpy)
	IF(memset)
	IF(memmove)
	IF(strlen)
	IF(__assert_fail)
	IF(__stack_chk_fail)
#undef IF
	return 0;	/* weak ones: __gmon_start__ and the like */
}

static void relocate(const struct library *l, const Elf64_Rela *r)
{
	u64 *at = (u64 *)(void *)(l->base + r->r_offset);
	const Elf64_Sym *s = &l->symbols[ELF64_R_SYM(r->r_info)];
	u64 base = (u64)(uintptr_t)l->base;
	u64 value = s->st_shndx ? base + s->st_value : given(l->names + s->st_name);

	switch (ELF64_R_TYPE(r->r_info)) {
	case R_X86_64_RELATIVE: *at = base + (u64)r->r_addend; break;
	case R_X86_64_64: *at = value + (u64)r->r_addend; break;
	case R_X86_64_GLOB_DAT:
	case R_X86_64_JUMP_SLOT: *at = value; break;
	}
}

static void read_dynamic(struct library *l, const Elf64_Dyn *d)
{
	for (; d->d_tag != DT_NULL; d++) {
		u8 *p = l->base + d->d_un.d_ptr;

		switch (d->d_tag) {
		case DT_SYMTAB: l->symbols = (void *)p; break;
		case DT_STRTAB: l->names = (void *)p; break;
		case DT_RELA: l->rela[0] = (void *)p; break;
		case DT_RELASZ:
			l->nr[0] = d->d_un.d_val / sizeof(Elf64_Rela);
			break;
		case DT_JMPREL: l->rela[1] = (void *)p; break;
		case DT_PLTRELSZ:
			l->nr[1] = d->d_un.d_val / sizeof(Elf64_Rela);
			break;
		}
	}
}

static bool find_all(const struct library *l, size_t symbols)
{
	size_t found = 0;

	for (size_t i = 0; i < symbols; i++) {
		const Elf64_Sym *s = &l->symbols[i];

		for (size_t k = 0; s->st_shndx && k < ARRAY_SIZE(wanted); k++)
			if (!strcmp(l->names + s->st_name, wanted[k].name)) {
				*wanted[k].slot = (u64)(uintptr_t)l->base + s->st_value;
				found++;
			}
	}
	return found == ARRAY_SIZE(wanted);
}

static size_t count_symbols(const Elf64_Ehdr *eh)
{
	const Elf64_Shdr *sh = (const void *)(zydis_file + eh->e_shoff);

	for (u32 i = 0; i < eh->e_shnum; i++)
		if (sh[i].sh_type == SHT_DYNSYM)
			return sh[i].sh_size / sizeof(Elf64_Sym);
	return 0;
}

static int result;

int zydis_init(void)
{
	return result;
}

static int library_load(void)
{
	const Elf64_Ehdr *eh = (const void *)zydis_file;
	const Elf64_Phdr *ph = (const void *)(zydis_file + eh->e_phoff);
	struct library l = { 0 };
	u64 size = 0;

	for (u32 i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_vaddr + ph[i].p_memsz > size)
			size = ph[i].p_vaddr + ph[i].p_memsz;
	size = ALIGN_UP(size, PAGE_SIZE);
	l.base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (l.base == MAP_FAILED)
		return -errno;
	for (u32 i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD)
			memcpy(l.base + ph[i].p_vaddr, zydis_file + ph[i].p_offset, ph[i].p_filesz);
	for (u32 i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			read_dynamic(&l, (void *)(l.base + ph[i].p_vaddr));
	for (int k = 0; k < 2; k++)
		for (size_t i = 0; i < l.nr[k]; i++)
			relocate(&l, &l.rela[k][i]);
	for (u32 i = 0; i < eh->e_phnum; i++) {
		u64 start = ALIGN_DOWN(ph[i].p_vaddr, PAGE_SIZE);
		u64 end = ALIGN_UP(ph[i].p_vaddr + ph[i].p_memsz, PAGE_SIZE);

		if (ph[i].p_type == PT_LOAD && !(ph[i].p_flags & PF_W) &&
		    mprotect(l.base + start, end - start,
			     PROT_READ | (ph[i].p_flags & PF_X ? PROT_EXEC : 0)))
			return -errno;
	}
	return find_all(&l, count_symbols(eh)) ? 0 : -ENOEXEC;
}

/* Before the engine's, which sets its decoders up. */
__attribute__((constructor(101))) static void load(void)
{
	result = library_load();
}
