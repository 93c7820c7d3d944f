/* SPDX-License-Identifier: MIT */
/*
 * door/launch.h - what the second door needs to be started from anywhere: base/door.h's
 * door_second() is in launch.c, which is part of the command, of the preload object and of
 * standin-door itself.
 */
#ifndef DOOR_LAUNCH_H
#define DOOR_LAUNCH_H

#include <stddef.h>

#define DOOR_NAME "standin-door"

/* Once, at the start of the process: where our object is (an absolute path). It is mapped, so that
 * it can still be started when the path leads nowhere any more (chroot, another mount
 * namespace). */
void door_object(const char *path);
/* The same of an open file, which is closed. */
void door_object_fd(int fd);

/* What is at image as a file of its own, on a descriptor that outlives exec; or -errno. */
long door_image_file(const char *name, const void *image, size_t size);

#endif
