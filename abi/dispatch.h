/* SPDX-License-Identifier: MIT */
/*
 * abi/dispatch.h - turns one table of ioctls.h into a dispatcher: a thunk per entry that moves
 * the argument, and a switch over the codes. Before including: OBJ is the object's type.
 *
 *	IOCTL_DISPATCHER(VM_IOCTLS, vm_dispatch, -ENOTTY)
 */
#ifndef ABI_DISPATCH_H
#define ABI_DISPATCH_H

#include <errno.h>
#include <string.h>

#include "base/user.h"

#define IOCTL_MOVE_NONE(type, call) return call(o);
#define IOCTL_MOVE_ZERO(type, call) return arg ? -EINVAL : call(o);
#define IOCTL_MOVE_VAL(type, call) return call(o, arg);
#define IOCTL_MOVE_RAW(type, call) return call(o, user_ptr(arg));
#define IOCTL_MOVE_IN(type, call) \
	type a; \
	return user_get(&a, user_ptr(arg), sizeof(a)) ? -EFAULT : call(o, &a);
#define IOCTL_MOVE_OUT(type, call) \
	type a; \
	long r; \
	memset(&a, 0, sizeof(a)); \
	r = call(o, &a); \
	return r >= 0 && user_put(user_ptr(arg), &a, sizeof(a)) ? -EFAULT : r;
#define IOCTL_MOVE_IO(type, call) \
	type a; \
	long r; \
	if (user_get(&a, user_ptr(arg), sizeof(a))) \
		return -EFAULT; \
	r = call(o, &a); \
	return r >= 0 && user_put(user_ptr(arg), &a, sizeof(a)) ? -EFAULT : r;

#define IOCTL_THUNK(name, code, how, type, call) \
	static __attribute__((noinline)) long do_##name(OBJ o, unsigned long arg) \
	{ \
		IOCTL_MOVE_##how(type, call) \
	}
#define IOCTL_CASE(name, code, how, type, call) \
	case code: \
		return do_##name(o, arg);
#define IOCTL_CHECK(name, code, how, type, call) \
	_Static_assert((u32)KVM_##name == (code), "code of KVM_" #name);

#define IOCTL_DISPATCHER(TABLE, fn, unknown) \
	TABLE(IOCTL_CHECK) \
	TABLE(IOCTL_THUNK) \
	static long fn(OBJ o, u32 request, unsigned long arg) \
	{ \
		switch (request) { \
		TABLE(IOCTL_CASE) \
		} \
		return unknown; \
	}

#endif
