// SPDX-License-Identifier: MIT

// vmm.go is vmm.c in Go: no libc, system calls by the runtime's own instructions, its own threads and signals.
//
//	vmm KERNEL INITRD COMMAND-LINE		the console is standard output; ends at "@@ done"
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

const (
	memory   = 256 << 20
	zeroPage = 0x7000
	tables   = 0x9000
	gdt      = 0x500
	command  = 0x20000
	kernel   = 0x100000
	initrd   = 0x8000000
	com1     = 0x3f8
	com1IRQ  = 4

	kvmCreateVM          = 0xae01
	kvmGetVcpuMmapSize   = 0xae04
	kvmGetSupportedCPUID = 0xc008ae05
	kvmCreateVcpu        = 0xae41
	kvmSetUserMemory     = 0x4020ae46
	kvmSetTssAddr        = 0xae47
	kvmCreateIrqchip     = 0xae60
	kvmIrqLine           = 0x4008ae61
	kvmCreatePit2        = 0x4040ae77
	kvmRun               = 0xae80
	kvmSetRegs           = 0x4090ae82
	kvmGetSregs          = 0x8138ae83
	kvmSetSregs          = 0x4138ae84
	kvmSetCpuid2         = 0x4008ae90
	exitIO, exitMMIO     = 2, 6
	exitIntr             = 10
	offReason, offUnion  = 8, 32
	segment, control     = 24, 8*24 + 2*16
)

var (
	mem  []byte
	vm   uintptr
	uart [8]byte
	thre bool
	line []byte
)

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func try(fd, request, arg uintptr) (uintptr, syscall.Errno) {
	r, _, e := syscall.Syscall(syscall.SYS_IOCTL, fd, request, arg)
	return r, e
}

func ioctl(what string, fd, request, arg uintptr) uintptr {
	r, e := try(fd, request, arg)
	if e != 0 {
		must(what, e)
	}
	return r
}

func ioctlBytes(what string, fd, request uintptr, b []byte) {
	ioctl(what, fd, request, uintptr(unsafe.Pointer(&b[0])))
	runtime.KeepAlive(b)
}

func put8(at int, v uint64) { binary.LittleEndian.PutUint64(mem[at:], v) }
func put4(at int, v uint32) { binary.LittleEndian.PutUint32(mem[at:], v) }

func bootParameters(args []string) {
	image, err := os.ReadFile(args[0])
	must(args[0], err)
	disk, err := os.ReadFile(args[1])
	must(args[1], err)
	if len(image) < 0x300 || string(image[0x202:0x206]) != "HdrS" {
		must(args[0], fmt.Errorf("no bzImage"))
	}
	setup := int(image[0x1f1])
	if setup == 0 {
		setup = 4
	}
	copy(mem[kernel:], image[(setup+1)*512:])
	copy(mem[zeroPage+0x1f1:], image[0x1f1:0x202+int(image[0x201])])
	copy(mem[initrd:], disk)
	copy(mem[command:], args[2]+"\x00")
	mem[zeroPage+0x210] = 0xff // type_of_loader
	mem[zeroPage+0x211] = 0x81 // loadflags
	put4(zeroPage+0x218, initrd)
	put4(zeroPage+0x21c, uint32(len(disk)))
	mem[zeroPage+0x225] = 0xfe // heap_end_ptr
	put4(zeroPage+0x228, command)
	mem[zeroPage+0x1e8] = 2 // E820 entries
	put8(zeroPage+0x2d8, 0x9fc00)
	put4(zeroPage+0x2e0, 1)
	put8(zeroPage+0x2e4, kernel)
	put8(zeroPage+0x2ec, memory-kernel)
	put4(zeroPage+0x2f4, 1)
}

// The first GiB, mapped one to one.
func makeTables() {
	put8(tables, tables+0x1003)
	put8(tables+0x1000, tables+0x2003)
	for i := 0; i < 512; i++ {
		put8(tables+0x2000+8*i, uint64(i)<<21|0x83)
	}
	put8(gdt+16, 0x00af9b000000ffff)
	put8(gdt+24, 0x00cf93000000ffff)
}

// struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable
func putSegment(b []byte, selector uint16, kind, db, l byte) {
	for i := range b[:segment] {
		b[i] = 0
	}
	binary.LittleEndian.PutUint32(b[8:], 0xffffffff)
	binary.LittleEndian.PutUint16(b[12:], selector)
	b[14], b[15], b[17], b[18], b[19], b[20] = kind, 1, db, 1, l, 1
}

func registers(cpu uintptr) {
	s, r := make([]byte, 0x138), make([]byte, 0x90)
	le := binary.LittleEndian
	ioctlBytes("KVM_GET_SREGS", cpu, kvmGetSregs, s)
	putSegment(s, 0x10, 11, 0, 1)
	for i := 1; i < 6; i++ { // ds es fs gs ss
		putSegment(s[i*segment:], 0x18, 3, 1, 0)
	}
	le.PutUint64(s[8*segment:], gdt) // struct kvm_dtable: base, limit
	le.PutUint16(s[8*segment+8:], 31)
	le.PutUint64(s[control:], le.Uint64(s[control:])|1<<31|1) // cr0, cr2, cr3, cr4, cr8, efer
	le.PutUint64(s[control+16:], tables)
	le.PutUint64(s[control+24:], le.Uint64(s[control+24:])|1<<5)
	le.PutUint64(s[control+40:], le.Uint64(s[control+40:])|1<<8|1<<10)
	ioctlBytes("KVM_SET_SREGS", cpu, kvmSetSregs, s)
	le.PutUint64(r[4*8:], zeroPage)      // rsi
	le.PutUint64(r[6*8:], 0x8000)        // rsp
	le.PutUint64(r[16*8:], kernel+0x200) // rip
	le.PutUint64(r[17*8:], 2)            // rflags
	ioctlBytes("KVM_SET_REGS", cpu, kvmSetRegs, r)
}

func sent() {
	if uart[1]&2 == 0 {
		return
	}
	thre = true
	for _, level := range []byte{1, 0} {
		ioctlBytes("KVM_IRQ_LINE", vm, kvmIrqLine, []byte{com1IRQ, 0, 0, 0, level, 0, 0, 0})
	}
}

func output(c byte) {
	os.Stdout.Write([]byte{c})
	line = append(line, c)
	if c != '\n' {
		return
	}
	if bytes.Contains(line, []byte("@@ done")) {
		os.Exit(0)
	}
	line = line[:0]
}

func uartOut(reg int, v byte) {
	divisor := uart[3]&0x80 != 0 && reg < 2
	switch {
	case reg == 0 && !divisor:
		output(v)
		sent()
	case !divisor:
		uart[reg] = v
		if reg == 1 {
			sent()
		}
	}
}

func uartIn(reg int) byte {
	switch reg {
	case 0:
		return 0
	case 2:
		if thre {
			thre = false
			return 2
		}
		return 1
	case 5:
		return 0x60
	case 6:
		return 0xb0
	}
	return uart[reg]
}

func port(run []byte) {
	le := binary.LittleEndian
	out, size := run[offUnion] == 1, int(run[offUnion+1])
	reg, count := int(le.Uint16(run[offUnion+2:]))-com1, int(le.Uint32(run[offUnion+4:]))
	data := run[le.Uint64(run[offUnion+8:]):]
	for i := 0; i < count; i++ {
		d := data[i*size : (i+1)*size]
		if !out {
			for k := range d {
				d[k] = 0xff
			}
		}
		if reg >= 0 && reg < 8 && out {
			uartOut(reg, d[0])
		} else if reg >= 0 && reg < 8 {
			d[0] = uartIn(reg)
		}
	}
}

func main() {
	if len(os.Args) != 4 {
		os.Exit(2)
	}
	runtime.LockOSThread()
	node, err := syscall.Open("/dev/kvm", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	must("/dev/kvm", err)
	sys := uintptr(node)
	vm = ioctl("KVM_CREATE_VM", sys, kvmCreateVM, 0)
	ioctl("KVM_SET_TSS_ADDR", vm, kvmSetTssAddr, 0xfffbd000)
	ioctl("KVM_CREATE_IRQCHIP", vm, kvmCreateIrqchip, 0)
	ioctlBytes("KVM_CREATE_PIT2", vm, kvmCreatePit2, make([]byte, 64))
	mem, err = syscall.Mmap(-1, 0, memory, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON|syscall.MAP_NORESERVE)
	must("mmap", err)
	slot := make([]byte, 32)
	binary.LittleEndian.PutUint64(slot[16:], memory)
	binary.LittleEndian.PutUint64(slot[24:], uint64(uintptr(unsafe.Pointer(&mem[0]))))
	ioctlBytes("KVM_SET_USER_MEMORY_REGION", vm, kvmSetUserMemory, slot)
	bootParameters(os.Args[1:])
	makeTables()
	cpu := ioctl("KVM_CREATE_VCPU", vm, kvmCreateVcpu, 0)
	cpuid := make([]byte, 8+256*40)
	binary.LittleEndian.PutUint32(cpuid, 256)
	ioctlBytes("KVM_GET_SUPPORTED_CPUID", sys, kvmGetSupportedCPUID, cpuid)
	ioctlBytes("KVM_SET_CPUID2", cpu, kvmSetCpuid2, cpuid)
	registers(cpu)
	run, err := syscall.Mmap(int(cpu), 0, int(ioctl("KVM_GET_VCPU_MMAP_SIZE", sys, kvmGetVcpuMmapSize, 0)),
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must("mmap of the vCPU", err)
	for {
		if _, e := try(cpu, kvmRun, 0); e != 0 && e != syscall.EINTR && e != syscall.EAGAIN {
			must("KVM_RUN", e)
		}
		switch reason := binary.LittleEndian.Uint32(run[offReason:]); reason {
		case exitIO:
			port(run)
		case exitMMIO: // phys_addr, data, len, is_write
			if run[offUnion+20] == 0 {
				copy(run[offUnion+8:offUnion+16], "\xff\xff\xff\xff\xff\xff\xff\xff")
			}
		case exitIntr:
		default:
			must("KVM_RUN", fmt.Errorf("exit %d", reason))
		}
	}
}
