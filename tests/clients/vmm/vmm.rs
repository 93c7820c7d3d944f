// SPDX-License-Identifier: MIT

//! vmm.rs is vmm.c in Rust, without crates: static, the system calls that matter by an instruction of its own.
//!
//!     vmm KERNEL INITRD COMMAND-LINE      the console is standard output; ends at "@@ done"
use std::arch::asm;
use std::io::Write;
use std::os::unix::io::AsRawFd;
use std::process::exit;

const MEMORY: usize = 256 << 20;
const ZERO_PAGE: usize = 0x7000;
const TABLES: usize = 0x9000;
const GDT: usize = 0x500;
const COMMAND: usize = 0x20000;
const KERNEL: usize = 0x100000;
const INITRD: usize = 0x8000000;
const COM1: usize = 0x3f8;
const COM1_IRQ: u8 = 4;

const KVM_CREATE_VM: usize = 0xae01;
const KVM_GET_VCPU_MMAP_SIZE: usize = 0xae04;
const KVM_GET_SUPPORTED_CPUID: usize = 0xc008ae05;
const KVM_CREATE_VCPU: usize = 0xae41;
const KVM_SET_USER_MEMORY_REGION: usize = 0x4020ae46;
const KVM_SET_TSS_ADDR: usize = 0xae47;
const KVM_CREATE_IRQCHIP: usize = 0xae60;
const KVM_IRQ_LINE: usize = 0x4008ae61;
const KVM_CREATE_PIT2: usize = 0x4040ae77;
const KVM_RUN: usize = 0xae80;
const KVM_SET_REGS: usize = 0x4090ae82;
const KVM_GET_SREGS: usize = 0x8138ae83;
const KVM_SET_SREGS: usize = 0x4138ae84;
const KVM_SET_CPUID2: usize = 0x4008ae90;
const EXIT_IO: u32 = 2;
const EXIT_MMIO: u32 = 6;
const EXIT_INTR: u32 = 10;
const SEGMENT: usize = 24;
const CONTROL: usize = 8 * SEGMENT + 2 * 16;
const EINTR: isize = -4;
const EAGAIN: isize = -11;

fn system_call(nr: usize, a: [usize; 6]) -> isize {
    let r: isize;
    unsafe {
        asm!("syscall", inlateout("rax") nr as isize => r, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
             in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _);
    }
    r
}

fn must(what: &str, r: isize) -> usize {
    if r < 0 && r > -4096 {
        eprintln!("{}: {}", what, std::io::Error::from_raw_os_error(-r as i32));
        exit(1);
    }
    r as usize
}

fn ioctl(what: &str, fd: usize, request: usize, arg: usize) -> usize {
    must(what, system_call(16, [fd, request, arg, 0, 0, 0]))
}

fn ioctl_bytes(what: &str, fd: usize, request: usize, b: &mut [u8]) {
    ioctl(what, fd, request, b.as_mut_ptr() as usize);
}

fn map(length: usize, flags: usize, fd: isize) -> &'static mut [u8] {
    let at = must("mmap", system_call(9, [0, length, 3, flags, fd as usize, 0]));
    unsafe { std::slice::from_raw_parts_mut(at as *mut u8, length) }
}

fn put(b: &mut [u8], at: usize, v: u64, bytes: usize) {
    b[at..at + bytes].copy_from_slice(&v.to_le_bytes()[..bytes]);
}

fn get(b: &[u8], at: usize, bytes: usize) -> u64 {
    let mut v = [0; 8];
    v[..bytes].copy_from_slice(&b[at..at + bytes]);
    u64::from_le_bytes(v)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(name).unwrap_or_else(|e| {
        eprintln!("{}: {}", name, e);
        exit(1)
    })
}

fn boot_parameters(mem: &mut [u8], kernel: &str, initrd: &str, command: &str) {
    let image = read(kernel);
    let disk = read(initrd);
    if image.len() < 0x300 || &image[0x202..0x206] != b"HdrS" {
        eprintln!("{}: no bzImage", kernel);
        exit(1);
    }
    let sectors = if image[0x1f1] == 0 { 4 } else { image[0x1f1] as usize };
    let code = &image[(sectors + 1) * 512..];
    let header = &image[0x1f1..0x202 + image[0x201] as usize];
    mem[KERNEL..KERNEL + code.len()].copy_from_slice(code);
    mem[ZERO_PAGE + 0x1f1..ZERO_PAGE + 0x1f1 + header.len()].copy_from_slice(header);
    mem[INITRD..INITRD + disk.len()].copy_from_slice(&disk);
    mem[COMMAND..COMMAND + command.len()].copy_from_slice(command.as_bytes());
    for &(at, v, bytes) in &[
        (0x210, 0xff, 1), // type_of_loader
        (0x211, 0x81, 1), // loadflags
        (0x218, INITRD as u64, 4),
        (0x21c, disk.len() as u64, 4),
        (0x224, 0xfe00, 2), // heap_end_ptr
        (0x228, COMMAND as u64, 4),
        (0x1e8, 2, 1), // E820 entries
        (0x2d8, 0x9fc00, 8),
        (0x2e0, 1, 4),
        (0x2e4, KERNEL as u64, 8),
        (0x2ec, (MEMORY - KERNEL) as u64, 8),
        (0x2f4, 1, 4),
    ] {
        put(mem, ZERO_PAGE + at, v, bytes);
    }
}

/// The first GiB, mapped one to one.
fn tables(mem: &mut [u8]) {
    put(mem, TABLES, TABLES as u64 + 0x1003, 8);
    put(mem, TABLES + 0x1000, TABLES as u64 + 0x2003, 8);
    for i in 0..512 {
        put(mem, TABLES + 0x2000 + 8 * i, (i as u64) << 21 | 0x83, 8);
    }
    put(mem, GDT + 16, 0x00af9b000000ffff, 8);
    put(mem, GDT + 24, 0x00cf93000000ffff, 8);
}

/// struct kvm_segment: base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable
fn put_segment(s: &mut [u8], which: usize, selector: u64, kind: u8, db: u8, l: u8) {
    let b = &mut s[which * SEGMENT..(which + 1) * SEGMENT];
    b.fill(0);
    put(b, 8, 0xffffffff, 4);
    put(b, 12, selector, 2);
    b[14..21].copy_from_slice(&[kind, 1, 0, db, 1, l, 1]);
}

fn registers(cpu: usize) {
    let mut s = [0u8; 0x138];
    let mut r = [0u8; 0x90];
    ioctl_bytes("KVM_GET_SREGS", cpu, KVM_GET_SREGS, &mut s);
    put_segment(&mut s, 0, 0x10, 11, 0, 1);
    for which in 1..6 {
        put_segment(&mut s, which, 0x18, 3, 1, 0); // ds es fs gs ss
    }
    put(&mut s, 8 * SEGMENT, GDT as u64, 8); // struct kvm_dtable: base, limit
    put(&mut s, 8 * SEGMENT + 8, 31, 2);
    // cr0, cr2, cr3, cr4, cr8, efer
    for &(at, clear, set) in &[(0, 0, 1 << 31 | 1), (16, u64::MAX, TABLES as u64), (24, 0, 1 << 5), (40, 0, 1 << 8 | 1 << 10)] {
        let v = get(&s, CONTROL + at, 8) & !clear | set;
        put(&mut s, CONTROL + at, v, 8);
    }
    ioctl_bytes("KVM_SET_SREGS", cpu, KVM_SET_SREGS, &mut s);
    put(&mut r, 4 * 8, ZERO_PAGE as u64, 8); // rsi
    put(&mut r, 6 * 8, 0x8000, 8); // rsp
    put(&mut r, 16 * 8, KERNEL as u64 + 0x200, 8); // rip
    put(&mut r, 17 * 8, 2, 8); // rflags
    ioctl_bytes("KVM_SET_REGS", cpu, KVM_SET_REGS, &mut r);
}

struct Uart {
    vm: usize,
    reg: [u8; 8],
    thre: bool,
    line: Vec<u8>,
}

impl Uart {
    fn sent(&mut self) {
        if self.reg[1] & 2 == 0 {
            return;
        }
        self.thre = true;
        for level in [1, 0] {
            ioctl_bytes("KVM_IRQ_LINE", self.vm, KVM_IRQ_LINE, &mut [COM1_IRQ, 0, 0, 0, level, 0, 0, 0]);
        }
    }

    fn output(&mut self, c: u8) {
        let mut out = std::io::stdout();
        if out.write_all(&[c]).and_then(|_| out.flush()).is_err() {
            exit(1);
        }
        self.line.push(c);
        if c == b'\n' {
            if String::from_utf8_lossy(&self.line).contains("@@ done") {
                exit(0);
            }
            self.line.clear();
        }
    }

    fn write(&mut self, reg: usize, v: u8) {
        if reg < 2 && self.reg[3] & 0x80 != 0 {
            return;
        }
        if reg == 0 {
            self.output(v);
        } else {
            self.reg[reg] = v;
        }
        if reg < 2 {
            self.sent();
        }
    }

    fn read(&mut self, reg: usize) -> u8 {
        match reg {
            0 => 0,
            2 => 1 + std::mem::take(&mut self.thre) as u8,
            5 => 0x60,
            6 => 0xb0,
            _ => self.reg[reg],
        }
    }

    fn port(&mut self, run: &mut [u8]) {
        let (out, size) = (run[32] == 1, run[33] as usize);
        let (port, count) = (get(run, 34, 2) as usize, get(run, 36, 4) as usize);
        let at = get(run, 40, 8) as usize;
        for d in run[at..at + size * count].chunks_mut(size) {
            if !out {
                d.fill(0xff);
            }
            if (COM1..COM1 + 8).contains(&port) {
                if out {
                    self.write(port - COM1, d[0]);
                } else {
                    d[0] = self.read(port - COM1);
                }
            }
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.len() != 4 {
        exit(2);
    }
    let node = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").unwrap_or_else(|e| {
        eprintln!("/dev/kvm: {}", e);
        exit(1)
    });
    let sys = node.as_raw_fd() as usize;
    let vm = ioctl("KVM_CREATE_VM", sys, KVM_CREATE_VM, 0);
    ioctl("KVM_SET_TSS_ADDR", vm, KVM_SET_TSS_ADDR, 0xfffbd000);
    ioctl("KVM_CREATE_IRQCHIP", vm, KVM_CREATE_IRQCHIP, 0);
    ioctl_bytes("KVM_CREATE_PIT2", vm, KVM_CREATE_PIT2, &mut [0; 64]);
    let mem = map(MEMORY, 0x4022, -1); // private, anonymous, no reserve
    let mut slot = [0u8; 32];
    put(&mut slot, 16, MEMORY as u64, 8);
    put(&mut slot, 24, mem.as_ptr() as u64, 8);
    ioctl_bytes("KVM_SET_USER_MEMORY_REGION", vm, KVM_SET_USER_MEMORY_REGION, &mut slot);
    boot_parameters(mem, &args[1], &args[2], &args[3]);
    tables(mem);
    let cpu = ioctl("KVM_CREATE_VCPU", vm, KVM_CREATE_VCPU, 0);
    let mut cpuid = vec![0u8; 8 + 256 * 40];
    put(&mut cpuid, 0, 256, 4);
    ioctl_bytes("KVM_GET_SUPPORTED_CPUID", sys, KVM_GET_SUPPORTED_CPUID, &mut cpuid);
    ioctl_bytes("KVM_SET_CPUID2", cpu, KVM_SET_CPUID2, &mut cpuid);
    registers(cpu);
    let run = map(ioctl("KVM_GET_VCPU_MMAP_SIZE", sys, KVM_GET_VCPU_MMAP_SIZE, 0), 1, cpu as isize);
    let mut uart = Uart { vm, reg: [0; 8], thre: false, line: Vec::new() };
    loop {
        let r = system_call(16, [cpu, KVM_RUN, 0, 0, 0, 0]);
        if r != EINTR && r != EAGAIN {
            must("KVM_RUN", r);
        }
        match get(run, 8, 4) as u32 {
            EXIT_IO => uart.port(run),
            // phys_addr, data, len, is_write
            EXIT_MMIO if run[52] == 0 => run[40..48].fill(0xff),
            EXIT_MMIO | EXIT_INTR => (),
            reason => {
                eprintln!("exit {}", reason);
                exit(1);
            }
        }
    }
}
