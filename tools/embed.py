#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""embed.py FILE NAME: a text file as a C string, on standard output."""
import sys

with open(sys.argv[1], encoding='utf-8') as f:
    print(f'static const char {sys.argv[2]}[] =')
    for line in f:
        text = line.rstrip('\n').replace('\\', '\\\\').replace('"', '\\"').replace('?', '\\?')
        print(f'"{text}\\n"')
print(';')
