// SPDX-License-Identifier: MIT

// tests/door/vmm.go - a small VMM in Go, which makes system calls without any libc: several vCPUs,
// each on a goroutine, while others allocate (the collector stops threads with signals) and start
// programs.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

const (
	createVM      = 0xae01
	runSize       = 0xae04
	createVCPU    = 0xae41
	setMemory     = 0x4020ae46
	run           = 0xae80
	setRegs       = 0x4090ae82
	getRegs       = 0x8090ae81
	getSregs      = 0x8138ae83
	setSregs      = 0x4138ae84
	exitIO        = 2
	vcpus, rounds = 8, 300
)

type memory struct {
	slot, flags     uint32
	gpa, size, addr uint64
}

type regs struct {
	rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp uint64
	r8, r9, r10, r11, r12, r13, r14, r15   uint64
	rip, rflags                            uint64
}

func ioctl(fd int, request, arg uintptr) int {
	for {
		r, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, arg)
		if e == syscall.EINTR { // the runtime preempts with SIGURG
			continue
		}
		if e != 0 {
			panic(fmt.Sprintf("ioctl %x: %v", request, e))
		}
		return int(r)
	}
}

// in $0x10, %al; inc %bl; out %al, $0x10; jmp
var code = []byte{0xe4, 0x10, 0xfe, 0xc3, 0xe6, 0x10, 0xeb, 0xf8}

func vcpu(vm, id, size int) {
	runtime.LockOSThread()
	fd := ioctl(vm, createVCPU, uintptr(id))
	page, err := syscall.Mmap(fd, 0, size, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	var sregs [0x138]byte
	ioctl(fd, getSregs, uintptr(unsafe.Pointer(&sregs[0])))
	for i := 0; i < 12; i++ { // CS: base, limit, selector
		if i < 8 {
			sregs[i] = 0
		}
	}
	sregs[12], sregs[13] = 0, 0
	ioctl(fd, setSregs, uintptr(unsafe.Pointer(&sregs[0])))
	r := regs{rip: 0x1000, rflags: 2}
	ioctl(fd, setRegs, uintptr(unsafe.Pointer(&r)))
	for i := 0; i < rounds; i++ {
		ioctl(fd, run, 0)
		if reason := *(*uint32)(unsafe.Pointer(&page[8])); reason != exitIO {
			panic(fmt.Sprint("exit ", reason))
		}
	}
	ioctl(fd, getRegs, uintptr(unsafe.Pointer(&r)))
	if r.rbx&0xff != rounds/2&0xff {
		panic(fmt.Sprint("rbx ", r.rbx))
	}
	syscall.Munmap(page)
	syscall.Close(fd)
}

func main() {
	if len(os.Args) > 1 {
		out, err := exec.Command(os.Args[1], os.Args[2:]...).CombinedOutput()
		if err != nil {
			panic(err)
		}
		fmt.Print(string(out))
		return
	}
	node := os.Getenv("STANDIN_NODE")
	if node == "" {
		node = "/dev/kvm"
	}
	info, err := os.Stat(node)
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		panic(fmt.Sprint("stat: ", info, err))
	}
	file, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	sys := int(file.Fd())
	vm := ioctl(sys, createVM, 0)
	mem, err := syscall.Mmap(-1, 0, 0x10000, syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_PRIVATE|syscall.MAP_ANON)
	if err != nil {
		panic(err)
	}
	copy(mem[0x1000:], code)
	slot := memory{size: 0x10000, addr: uint64(uintptr(unsafe.Pointer(&mem[0])))}
	ioctl(vm, setMemory, uintptr(unsafe.Pointer(&slot)))
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	var all, guests sync.WaitGroup
	stop := make(chan bool)
	for i := 0; i < 4; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				select {
				case <-stop:
					return
				default:
					_ = make([]byte, 1<<20)
				}
			}
		}()
	}
	for i := 0; i < vcpus; i++ {
		guests.Add(1)
		go func(id int) {
			defer guests.Done()
			vcpu(vm, id, ioctl(sys, runSize, 0))
		}(i)
	}
	for i := 0; i < 5; i++ {
		out, err := exec.Command("/bin/sh", "-c", "test -c "+node+" && echo yes").Output()
		if err != nil || string(out) != "yes\n" {
			panic(fmt.Sprint("sh: ", string(out), err))
		}
	}
	guests.Wait()
	runtime.KeepAlive(file)
	close(stop)
	all.Wait()
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	<-signals
	exe, err := os.Executable()
	if err != nil || exe[len(exe)-3:] == "oor" {
		panic(fmt.Sprint("executable: ", exe, err))
	}
	fmt.Println("vmm: ok")
}
