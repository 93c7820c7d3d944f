// SPDX-License-Identifier: MIT

// tests/door/vmm.rs - a small VMM in Rust without crates, one vCPU in each of several threads.
use std::fs;
use std::os::fd::AsRawFd;
use std::thread;

const CREATE_VM: u64 = 0xae01;
const RUN_SIZE: u64 = 0xae04;
const CREATE_VCPU: u64 = 0xae41;
const SET_MEMORY: u64 = 0x4020ae46;
const RUN: u64 = 0xae80;
const SET_REGS: u64 = 0x4090ae82;
const GET_REGS: u64 = 0x8090ae81;
const SET_SREGS: u64 = 0x4138ae84;
const GET_SREGS: u64 = 0x8138ae83;
const RUNS: u64 = 200;

extern "C" {
    fn ioctl(fd: i32, request: u64, ...) -> i32;
    fn mmap(addr: *mut u8, len: usize, prot: i32, flags: i32, fd: i32, off: i64) -> *mut u8;
}

fn check(r: i32) -> i32 {
    assert!(r >= 0, "{}", std::io::Error::last_os_error());
    r
}

// in $0x10, %al; inc %bl; out %al, $0x10; jmp
const CODE: [u8; 8] = [0xe4, 0x10, 0xfe, 0xc3, 0xe6, 0x10, 0xeb, 0xf8];

fn vcpu(sys: i32, vm: i32, id: u64) {
    unsafe {
        let fd = check(ioctl(vm, CREATE_VCPU, id));
        let run = mmap(std::ptr::null_mut(), check(ioctl(sys, RUN_SIZE, 0)) as usize, 3, 1, fd, 0);
        let mut sregs = [0u8; 0x138];
        check(ioctl(fd, GET_SREGS, sregs.as_mut_ptr()));
        sregs[..8].fill(0);
        sregs[12..14].fill(0);
        check(ioctl(fd, SET_SREGS, sregs.as_ptr()));
        let mut regs = [0u64; 18];
        regs[16] = 0x1000;
        regs[17] = 2;
        check(ioctl(fd, SET_REGS, regs.as_ptr()));
        for _ in 0..RUNS {
            check(ioctl(fd, RUN, 0));
            assert_eq!(*(run.add(8) as *const u32), 2);
        }
        check(ioctl(fd, GET_REGS, regs.as_mut_ptr()));
        assert_eq!(regs[1] & 0xff, RUNS / 2 & 0xff);
    }
}

fn main() {
    let node = std::env::var("STANDIN_NODE").unwrap_or("/dev/kvm".into());
    assert!(fs::metadata("/nonexistent").is_err());
    assert!(fs::metadata(&node).is_ok());
    let file = fs::OpenOptions::new().read(true).write(true).open(&node).unwrap();
    let sys = file.as_raw_fd();
    unsafe {
        let vm = check(ioctl(sys, CREATE_VM, 0));
        let mem = mmap(std::ptr::null_mut(), 0x10000, 3, 0x22, -1, 0);
        std::ptr::copy_nonoverlapping(CODE.as_ptr(), mem.add(0x1000), CODE.len());
        let slot: [u64; 4] = [0, 0, 0x10000, mem as u64];
        check(ioctl(vm, SET_MEMORY, slot.as_ptr()));
        let all: Vec<_> = (0..8).map(|id| thread::spawn(move || vcpu(sys, vm, id))).collect();
        for t in all {
            t.join().unwrap();
        }
        let r = thread::spawn(|| panic!("a panic unwinds")).join();
        assert!(r.is_err());
    }
    let out = std::process::Command::new("/bin/sh").args(["-c", "echo yes"]).output().unwrap();
    assert_eq!(out.stdout, b"yes\n");
    println!("vmm: ok");
}
