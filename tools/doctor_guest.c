/* SPDX-License-Identifier: MIT */
/*
 * tools/doctor_guest.c - a guest of a few instructions, run by the command itself, which each door
 * starts as it starts any program.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door/launch.h"
#include "tools/doctor.h"
#include "tools/standin.h"

enum { RAM = 4096, CODE_AT = 0x1000, PORT = 0x10, SECONDS = 20 };

static const u8 code[] = {
	0xb8, 6, 0,	/* mov $6, %ax */
	0xbb, 7, 0,	/* mov $7, %bx */
	0xf7, 0xe3,	/* mul %bx */
	0xe6, PORT,	/* out %al, $0x10 */
	0xf4,		/* hlt */
};

static char said[160];

static const char *failed(const char *step)
{
	snprintf(said, sizeof(said), "%s: %s", step, strerror(errno));
	return said;
}

static const char *exits(int vcpu, struct kvm_run *run)
{
	bool told = false;

	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0))
			return failed("KVM_RUN");
		if (run->exit_reason == KVM_EXIT_IO && run->io.port == PORT && !told &&
		    *((u8 *)run + run->io.data_offset) == 42) {
			told = true;
			continue;
		}
		if (run->exit_reason == KVM_EXIT_HLT && told)
			return NULL;
		snprintf(said, sizeof(said), "the guest left with reason %u%s", run->exit_reason,
			 told ? "" : " before it had multiplied");
		return said;
	}
}

static const char *start(int vm, int vcpu, struct kvm_run *run)
{
	u8 *ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region slot = { .guest_phys_addr = CODE_AT, .memory_size = RAM,
						    .userspace_addr = (u64)(uintptr_t)ram };
	struct kvm_regs regs = { .rip = CODE_AT, .rflags = 2 };
	const char *why = NULL;
	struct kvm_sregs sregs;

	if (ram == MAP_FAILED)
		return failed("mmap");
	memcpy(ram, code, sizeof(code));
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot))
		why = failed("KVM_SET_USER_MEMORY_REGION");
	else if (ioctl(vcpu, KVM_GET_SREGS, &sregs))
		why = failed("KVM_GET_SREGS");
	if (!why) {
		sregs.cs.base = 0;
		sregs.cs.selector = 0;
		if (ioctl(vcpu, KVM_SET_SREGS, &sregs) || ioctl(vcpu, KVM_SET_REGS, &regs))
			why = failed("setting registers");
	}
	if (!why)
		why = exits(vcpu, run);
	munmap(ram, RAM);
	return why;
}

const char *doctor_guest(const char *node)
{
	int kvm = open(node, O_RDWR | O_CLOEXEC), vm = -1, vcpu = -1, size = 0;
	struct kvm_run *run = MAP_FAILED;
	const char *why = NULL;

	if (kvm < 0)
		return failed("open");
	if (ioctl(kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		why = "it is no KVM of API version 12";
	if (!why && (vm = ioctl(kvm, KVM_CREATE_VM, 0)) < 0)
		why = failed("KVM_CREATE_VM");
	if (!why && (vcpu = ioctl(vm, KVM_CREATE_VCPU, 0)) < 0)
		why = failed("KVM_CREATE_VCPU");
	if (!why) {
		size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
		if (size > 0)
			run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
		if (run == MAP_FAILED)
			why = failed("mmap of the vCPU");
	}
	if (!why)
		why = start(vm, vcpu, run);
	if (run != MAP_FAILED)
		munmap(run, (size_t)size);
	if (vcpu >= 0)
		close(vcpu);
	if (vm >= 0)
		close(vm);
	close(kvm);
	return why;
}

/* The first line that the child writes, in `text`; its wait status. */
static int child_says(char *const argv[], char *text, size_t size)
{
	int pipes[2], status = 0;
	size_t n = 0;
	ssize_t r;
	pid_t pid;

	text[0] = 0;
	if (pipe2(pipes, O_CLOEXEC))
		return -1;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* A node that exists nowhere: whatever fails, a real KVM is not reached. */
		setenv("STANDIN_NODE", "/dev/standin-doctor", 1);
		dup2(pipes[1], 1);
		dup2(pipes[1], 2);
		alarm(SECONDS);	/* also the guest's: it survives exec */
		execv(argv[0], argv);
		printf("%s: %s\n", argv[0], strerror(errno));
		fflush(stdout);
		_exit(127);
	}
	close(pipes[1]);
	while (pid > 0 && n + 1 < size && (r = read(pipes[0], text + n, size - n - 1)) > 0)
		n += (size_t)r;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	close(pipes[0]);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return status;
}

static void door(const char *what, enum verdict bad, char *const argv[])
{
	char text[200];
	int status = child_says(argv, text, sizeof(text));

	if (!status)
		fact(FACT_OK, SECTION_STANDIN, what, "a guest ran");
	else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		fact(bad, SECTION_STANDIN, what, "a guest did not end within %d s", SECONDS);
	else if (WIFSIGNALED(status))
		fact(bad, SECTION_STANDIN, what, "killed by signal %d (%s) %s", WTERMSIG(status),
		     strsignal(WTERMSIG(status)), text);
	else
		fact(bad, SECTION_STANDIN, what, "%s", *text ? text : "it could not be started");
}

void doctor_doors(void)
{
	static char self[PATH_MAX], object[PATH_MAX + sizeof(DOOR_NAME)];
	const char *library = preload_path();

	if (!library || !own_path(self)) {
		fact(FACT_FAIL, SECTION_STANDIN, "preload object", "missing");
		return;
	}
	fact(FACT_OK, SECTION_STANDIN, "preload object", "%s", library);
	door("door of glibc programs", FACT_FAIL,
	     (char *[]){ self, (char *)"run", (char *)"--", self, (char *)"doctor",
			 (char *)"--guest", NULL });

	snprintf(object, sizeof(object), "%.*s" DOOR_NAME,
		 (int)(strrchr(library, '/') + 1 - library), library);
	if (access(object, X_OK))
		fact(FACT_WARN, SECTION_STANDIN, "door of other programs",
		     "%s: %s; static, musl and Go programs are out of reach", object,
		     strerror(errno));
	else
		door("door of other programs", FACT_WARN,
		     (char *[]){ object, self, self, (char *)"-", self, (char *)"doctor",
				 (char *)"--guest", NULL });
}
