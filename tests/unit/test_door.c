/* SPDX-License-Identifier: MIT */
/* base/door.c: by which door a file comes to standin, on files made by hand. */
/* Run: build/tests/unit/test_door [NAME...] */
#include "tests/unit/unit.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/door.h"

#define GLIBC_LOADER "/lib64/ld-linux-x86-64.so.2"

static char dir[] = "/tmp/standin-door.XXXXXX";

static const char *file(const char *name, const void *data, size_t n)
{
	static char path[4][128];
	static int turn;
	char *p = path[turn++ % 4];
	int fd;

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	fd = open(p, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), (ssize_t)n);
	close(fd);
	return p;
}

static struct door_choice choose(const char *path)
{
	struct door_choice c;

	door_for(AT_FDCWD, path, 0, &c);
	return c;
}

static struct image {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	char interp[64];
	struct {
		Elf64_Nhdr h;
		char name[4], desc[4];
	} note;
} image;

static const char *elf(const char *name, const char *interp, bool go, size_t bytes)
{
	u32 n = 0;

	memset(&image, 0, sizeof(image));
	memcpy(image.eh.e_ident, ELFMAG, SELFMAG);
	image.eh.e_ident[EI_CLASS] = ELFCLASS64;
	image.eh.e_ident[EI_DATA] = ELFDATA2LSB;
	image.eh.e_type = ET_EXEC;
	image.eh.e_machine = EM_X86_64;
	image.eh.e_phoff = offsetof(struct image, ph);
	image.eh.e_phentsize = sizeof(Elf64_Phdr);
	image.ph[n++].p_type = PT_LOAD;
	if (interp) {
		strcpy(image.interp, interp);
		image.ph[n++] = (Elf64_Phdr){ .p_type = PT_INTERP,
					      .p_offset = offsetof(struct image, interp),
					      .p_filesz = strlen(interp) + 1 };
	}
	if (go) {
		image.note.h = (Elf64_Nhdr){ 4, 4, 4 };
		memcpy(image.note.name, "Go", 3);
		image.ph[n++] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = offsetof(struct image,
			note),
					      .p_filesz = sizeof(image.note) };
	}
	image.eh.e_phnum = (Elf64_Half)n;
	return file(name, &image, bytes ? bytes : sizeof(image));
}

T(elf_files)
{
	char musl[128];

	assert_int_equal(choose("/bin/ls").kind, PROGRAM_GLIBC);
	assert_int_equal(choose(elf("dynamic", GLIBC_LOADER, false, 0)).door, DOOR_PRELOAD);
	assert_int_equal(choose(GLIBC_LOADER).door, DOOR_PRELOAD);
	assert_int_equal(choose(elf("static", NULL, false, 0)).kind, PROGRAM_STATIC);
	assert_int_equal(choose(elf("go", NULL, true, 0)).kind, PROGRAM_GO);
	assert_int_equal(choose(elf("cgo", GLIBC_LOADER, true, 0)).door, DOOR_SECOND);
	strcpy(musl, file("ld-musl-x86_64.so.1", "x", 1));
	assert_int_equal(choose(elf("musl", musl, false, 0)).kind, PROGRAM_MUSL);
	assert_true(door_strips(PROGRAM_MUSL));
	assert_int_equal(choose(elf("other", "/bin/sh", false, 0)).kind, PROGRAM_OTHER_LOADER);
	/* execve() has the last word on these. */
	assert_int_equal(choose(elf("no-loader", "/none", false, 0)).kind, PROGRAM_UNKNOWN);
	for (size_t n = 0; n < offsetof(struct image, ph) + 2 * sizeof(Elf64_Phdr); n += 7)
		assert_int_equal(choose(elf("cut", GLIBC_LOADER, false, n ? n : 1)).door,
				 DOOR_NONE);
	image.eh.e_ident[EI_CLASS] = ELFCLASS32;
	image.eh.e_machine = EM_386;
	assert_int_equal(choose(file("bits32", &image, sizeof(image))).kind, PROGRAM_BITS32);
	image.eh.e_machine = EM_ARM;
	assert_int_equal(choose(file("arm", &image, sizeof(image))).kind, PROGRAM_FOREIGN);
	image.eh.e_ident[EI_CLASS] = ELFCLASS64;
	image.eh.e_machine = EM_AARCH64;
	assert_int_equal(choose(file("arm64", &image, sizeof(image))).kind, PROGRAM_FOREIGN);
}

/* The first library that a program needs, by the table at the address where it is loaded. */
T(address_sanitizer)
{
	enum { BASE = 0x10000 };
	static const char names[] = "\0libc.so.6\0libasan.so.8\0libasan.so";
	struct {
		Elf64_Ehdr eh;
		Elf64_Phdr ph[3];
		char interp[64];
		Elf64_Dyn d[4];
		char names[sizeof(names)];
	} f = { 0 };

	elf("dynamic", GLIBC_LOADER, false, 0);
	f.eh = image.eh;
	f.eh.e_phoff = sizeof(f.eh);
	f.eh.e_phnum = 3;
	strcpy(f.interp, GLIBC_LOADER);
	f.ph[0] = (Elf64_Phdr){ .p_type = PT_INTERP,
				.p_offset = offsetof(__typeof__(f), interp),
				.p_filesz = sizeof(GLIBC_LOADER) };
	f.ph[1] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_vaddr = BASE, .p_filesz = sizeof(f) };
	f.ph[2] = (Elf64_Phdr){ .p_type = PT_DYNAMIC,
				.p_offset = offsetof(__typeof__(f), d),
				.p_filesz = sizeof(f.d) };
	memcpy(f.names, names, sizeof(names));
	f.d[0] = (Elf64_Dyn){ DT_NEEDED, { 11 } };
	f.d[1] = (Elf64_Dyn){ DT_NEEDED, { 1 } };
	f.d[2] = (Elf64_Dyn){ DT_STRTAB, { BASE + offsetof(__typeof__(f), names) } };
	assert_int_equal(choose(file("asan", &f, sizeof(f))).kind, PROGRAM_ASAN);
	f.d[0].d_un.d_val = 1;
	f.d[1].d_un.d_val = 11;
	assert_int_equal(choose(file("second", &f, sizeof(f))).kind, PROGRAM_GLIBC);
	f.d[0].d_un.d_val = 24;	/* as at the end of a file that is cut */
	assert_int_equal(choose(file("cut", &f, offsetof(__typeof__(f), names) + 32)).kind,
			 PROGRAM_GLIBC);
	f.d[2].d_un.d_ptr = 5;
	assert_int_equal(choose(file("nowhere", &f, sizeof(f))).kind, PROGRAM_GLIBC);
	f.ph[2].p_offset = -8ull;
	assert_int_equal(choose(file("outside", &f, sizeof(f))).kind, PROGRAM_GLIBC);
}

T(old_glibc)
{
	char old[128], page[8192] = { 0 };

	mkdir(file("x", "", 0), 0);	/* the folder is there */
	strcpy(page + 4090, "ld.so (GNU libc) stable release version 2.33.\n");
	strcpy(old, file("ld-linux-x86-64.so.2", page, sizeof(page)));
	assert_int_equal(choose(elf("old", old, false, 0)).kind, PROGRAM_OLD_GLIBC);
	/* Across the end of what is read at a time. */
	strcpy(page + 4085, "ld.so (GNU libc) stable release version 2.34.\n");
	strcpy(old, file("ld-linux-x86-64.so.2", page, sizeof(page)));
	assert_int_equal(choose(elf("new", old, false, 0)).kind, PROGRAM_GLIBC);
	/* The symbols' versions stop long before: built with glibc 2.38, on 2.43. */
	strcpy(page, "GLIBC_2.35");
	strcpy(page + 4066, "ld.so (Debian GLIBC 2.43-7) stable release version 2.43.\n");
	strcpy(old, file("ld-linux-x86-64.so.2", page, sizeof(page)));
	door_glibc_minor = 38;
	assert_int_equal(choose(elf("new", old, false, 0)).kind, PROGRAM_GLIBC);
	door_glibc_minor = 99;
	assert_int_equal(choose(elf("newer", GLIBC_LOADER, false, 0)).kind, PROGRAM_OLD_GLIBC);
	door_glibc_minor = 34;
}

T(not_elf)
{
	struct door_choice c;

	assert_int_equal(choose(file("text", "hello\n", 6)).kind, PROGRAM_UNKNOWN);
	assert_int_equal(choose(file("empty", "", 0)).kind, PROGRAM_UNKNOWN);
	assert_int_equal(choose("/none").kind, PROGRAM_UNKNOWN);
	assert_int_equal(choose(NULL).kind, PROGRAM_UNKNOWN);
	assert_int_equal(choose((const char *)8).kind, PROGRAM_UNKNOWN);
	assert_int_equal(choose("/tmp").kind, PROGRAM_UNKNOWN);
	assert_int_equal(choose("/dev/null").kind, PROGRAM_UNKNOWN);
	c = choose(file("script", "#! /bin/sh -e\necho\n", 19));
	assert_int_equal(c.door, DOOR_PRELOAD);
	assert_int_equal(c.scripts, 1);
	assert_string_equal(c.program, "/bin/sh");
	c = choose(file("lost", "#!/none\n", 8));
	assert_int_equal(c.kind, PROGRAM_UNKNOWN);
}

T(descriptor)
{
	struct door_choice c;
	int fd = open("/bin/ls", O_RDONLY);

	door_for(fd, "", AT_EMPTY_PATH, &c);
	assert_int_equal(c.kind, PROGRAM_GLIBC);
	close(fd);
}

/* "line" as Linux splits it. */
static void script(const char *line, size_t n, const char *interp, const char *arg)
{
	char head[DOOR_HEAD_BYTES] = { 0 }, *i = NULL, *a = NULL;

	memcpy(head, line, n);
	assert_int_equal(door_script(head, n, &i, &a), interp != NULL);
	if (!interp)
		return;
	assert_string_equal(i, interp);
	if (arg)
		assert_string_equal(a, arg);
	else
		assert_null(a);
}

T(script_lines)
{
	char full[DOOR_HEAD_BYTES];

	script("#!/bin/sh\n", 10, "/bin/sh", NULL);
	script("#!/bin/sh", 9, "/bin/sh", NULL);
	script("#! \t/bin/sh \t -x  y \t\nz", 23, "/bin/sh", "-x  y");
	script("#!\n", 3, NULL, NULL);
	script("#! \t \n", 6, NULL, NULL);
	script("#", 1, NULL, NULL);
	script("!#/bin/sh\n", 10, NULL, NULL);
	memset(full, 'a', sizeof(full));
	memcpy(full, "#!/", 3);
	script(full, sizeof(full), NULL, NULL);
	full[100] = ' ';	/* a cut argument is used as it is */
	door_script(full, sizeof(full), &(char *){ NULL }, &(char *){ NULL });
	assert_int_equal(full[100], 0);
}

static int setup(void **state)
{
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

T_ALL(setup, teardown);
