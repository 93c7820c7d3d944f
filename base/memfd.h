/* SPDX-License-Identifier: MIT */
/* base/memfd.h - giving a memory file its size, whatever RLIMIT_FSIZE says. */
#ifndef BASE_MEMFD_H
#define BASE_MEMFD_H

#include "base/types.h"

/* 0 or -errno. KVM's objects are no files: their size is no business of the limit, of which the
 * kernel would tell by SIGXFSZ. Where the hard limit is below it: -EFBIG, and no signal. */
int memfd_size(int fd, u64 size);

#endif
