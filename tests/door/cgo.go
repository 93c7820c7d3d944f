// SPDX-License-Identifier: MIT

//go:build cgo

// tests/door/cgo.go - with it, vmm.go is linked to libc, and its threads are libc's.
package main

// #include <stdlib.h>
import "C"

var _ = C.atoi(C.CString("1"))
