#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# link.py IN OUT BASE: turn a static PIE into one that the kernel puts at BASE.
#
# The link editor cannot do it: libc's weak calls do not reach that far. So the file stays linked to 0
# and relocates itself, but its type is ET_EXEC and its PT_LOAD headers (only these: libc adds
# the base to the others itself) and entry are moved.
import os
import struct
import sys

ET_EXEC, PT_LOAD, EHDR = 2, 1, 64
source, target, base = sys.argv[1], sys.argv[2], int(sys.argv[3], 0)
with open(source, 'rb') as f:
    elf = bytearray(f.read())


def move(at):
    value, = struct.unpack_from('<Q', elf, at)
    struct.pack_into('<Q', elf, at, value + base)


struct.pack_into('<H', elf, 16, ET_EXEC)
move(24)
phoff, = struct.unpack_from('<Q', elf, 32)
phnum, = struct.unpack_from('<H', elf, 56)
end = 0
for i in range(phnum):
    at = phoff + 56 * i
    if struct.unpack_from('<I', elf, at)[0] == PT_LOAD:
        offset, = struct.unpack_from('<Q', elf, at + 8)
        size, = struct.unpack_from('<Q', elf, at + 32)
        end = max(end, offset + size)
        move(at + 16)
        move(at + 24)
        if not offset:
            # From glibc 2.40 on a static PIE takes the address of the PT_LOAD at offset 0 for what
            # it was linked to, and would relocate by nothing. The kernel maps whole pages: without
            # the ELF header this one maps the same.
            for field in 8, 16, 24:
                value, = struct.unpack_from('<Q', elf, at + field)
                struct.pack_into('<Q', elf, at + field, value + EHDR)
            for field in 32, 40:
                value, = struct.unpack_from('<Q', elf, at + field)
                struct.pack_into('<Q', elf, at + field, value - EHDR)
# Sections, and what only they name (symbols, debugging information), stay in IN.
struct.pack_into('<Q', elf, 40, 0)
struct.pack_into('<HHH', elf, 58, 0, 0, 0)
del elf[end:]
# Somebody may be running the old one.
if os.path.exists(target):
    os.unlink(target)
with open(target, 'wb') as f:
    f.write(elf)
os.chmod(target, 0o755)
