/* SPDX-License-Identifier: MIT */
/* door/zydis.h - see zydis.c; where Zydis is linked, there is nothing to do. */
#ifndef DOOR_ZYDIS_H
#define DOOR_ZYDIS_H

#include <errno.h>

#include "base/types.h"

#ifdef ZYDIS_FILE
int zydis_init(void);	/* 0 or -errno: how loading it went */
#else
static inline int zydis_init(void)
{
	return 0;
}
#endif

#endif
