//! Starts a program of which the kernel, as far as it can tell, refuses some system calls: `refuse RULE... -- PROGRAM ARGUMENT...`.
//!
//! | rule | what is refused |
//! |---|---|
//! | `program:NAME` | loading the BPF program of that name |
//! | `map:NAME` | making the BPF map of that name |
//! | `table:NAME` | the same with more than one entry, as for want of memory |
//! | `attach:NAME` | linking the program to anything |
//! | `run:NAME` | `BPF_PROG_TEST_RUN` of the program |
//! | `pin` | pinning anything |
//! | `setns`, `inotify_init1`, `perf_event_open` | the system call |
//! | `link-news` | hearing of interfaces by rtnetlink |
//! | `shared-memory` | mapping memory that is shared, such as a ring buffer |
//!
//! A seccomp filter has the calls of `bpf(2)` told to a process beside the program, which reads what they are about and answers
//! (`SECCOMP_RET_USER_NOTIF`, kernel 5.6). So a rule names a program, and not the number of a call, which would be another one
//! after each change, on each kernel, and behind each refusal. The program keeps the process number that this one had.

use std::{
    env,
    ffi::CString,
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::{ffi::OsStringExt, fs::FileExt},
    },
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    libc::{self, c_long, sock_filter},
    unistd::{ForkResult, Pid, execvp, fork, getpid},
};

/// Names of BPF objects are cut to so many bytes.
const NAME: usize = 15;

/// `EPERM` as programs that are refused something see it, and as a filter returns it.
const REFUSED: i32 = libc::EPERM;

/// A rule about calls of `bpf(2)`.
#[derive(Debug)]
enum Rule {
    Program(String),
    Map(String),
    Table(String),
    Attach(String),
    Run(String),
    Pin,
}

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let end = arguments.iter().position(|argument| argument == "--").context("no `--` before the program")?;
    let (mut rules, mut filter) = (Vec::new(), vec![load(0)]);
    for rule in &arguments[..end] {
        let rule = rule.to_str().context("a rule is text")?;
        let of = |name: &str| name.chars().take(NAME).collect::<String>();
        match rule.split_once(':') {
            Some(("program", name)) => rules.push(Rule::Program(of(name))),
            Some(("map", name)) => rules.push(Rule::Map(of(name))),
            Some(("table", name)) => rules.push(Rule::Table(of(name))),
            Some(("attach", name)) => rules.push(Rule::Attach(of(name))),
            Some(("run", name)) => rules.push(Rule::Run(of(name))),
            None if rule == "pin" => rules.push(Rule::Pin),
            None => filter.extend(refusing(rule)?),
            Some(_) => bail!("no rule is called {rule}"),
        }
    }
    filter.extend([jump_unless_equal(libc::SYS_bpf, 1), answer(libc::SECCOMP_RET_USER_NOTIF)]);
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    let program: Vec<CString> = arguments[end + 1..]
        .iter()
        .map(|part| CString::new(part.clone().into_vec()))
        .collect::<Result<_, _>>()?;
    run(&rules, &filter, &program)
}

fn run(rules: &[Rule], filter: &[sock_filter], program: &[CString]) -> Result<()> {
    let ((mut told, mut tells), (mut answered, mut answers)) = (io::pipe()?, io::pipe()?);
    let guarded = getpid();
    // SAFETY: there is one thread.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop((tells, answered));
            let mut number = [0; 4];
            told.read_exact(&mut number)?;
            let process = pidfd(guarded)?;
            let listener = taken(&process, RawFd::from_ne_bytes(number))?;
            answers.write_all(&[1])?;
            drop(answers);
            guard(rules, &process, &listener)
        }
        ForkResult::Parent { .. } => {
            drop((told, answers));
            let listener = install(filter)?;
            tells.write_all(&listener.as_raw_fd().to_ne_bytes())?;
            answered.read_exact(&mut [0]).context("the process that answers has ended")?;
            let name = program.first().context("no program behind `--`")?;
            execvp(name, program).with_context(|| format!("cannot start {name:?}"))?;
            Ok(())
        }
    }
}

/// Instructions that refuse a system call which needs no looking into.
fn refusing(rule: &str) -> Result<Vec<sock_filter>> {
    let always = |call| vec![jump_unless_equal(call, 1), answer(refusal())];
    Ok(match rule {
        "setns" => always(libc::SYS_setns),
        "inotify_init1" => always(libc::SYS_inotify_init1),
        "perf_event_open" => always(libc::SYS_perf_event_open),
        "link-news" => vec![
            jump_unless_equal(libc::SYS_setsockopt, 6),
            load(1),
            jump_unless_equal(c_long::from(libc::SOL_NETLINK), 3),
            load(2),
            jump_unless_equal(c_long::from(libc::NETLINK_ADD_MEMBERSHIP), 1),
            answer(refusal()),
            // What follows looks at the number of the call.
            load_call(),
        ],
        "shared-memory" => vec![
            jump_unless_equal(libc::SYS_mmap, 5),
            load(3),
            instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, libc::MAP_TYPE.cast_unsigned()),
            jump_unless_equal(c_long::from(libc::MAP_SHARED), 1),
            answer(refusal()),
            load_call(),
        ],
        _ => bail!("no rule is called {rule}"),
    })
}

const fn refusal() -> u32 {
    libc::SECCOMP_RET_ERRNO | REFUSED.cast_unsigned()
}

fn instruction(code: u32, jump_true: u8, jump_false: u8, value: u32) -> sock_filter {
    // Codes have 16 bits.
    #[expect(clippy::cast_possible_truncation, reason = "codes have 16 bits")]
    let code = code as u16;
    sock_filter { code, jt: jump_true, jf: jump_false, k: value }
}

/// Loads what is compared: the lower half of the argument of this index, and for 0 the number of the call instead.
fn load(argument: u32) -> sock_filter {
    let offset = if argument == 0 { 0 } else { 16 + 8 * argument };
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn load_call() -> sock_filter {
    load(0)
}

/// Skips so many instructions unless what is loaded is this.
fn jump_unless_equal(value: c_long, skipped: u8) -> sock_filter {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
    let value = value as u32;
    instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, skipped, value)
}

fn answer(action: u32) -> sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action)
}

/// Puts the filter into force, and returns where its questions are heard.
fn install(filter: &[sock_filter]) -> Result<OwnedFd> {
    let program = libc::sock_fprog { len: u16::try_from(filter.len())?, filter: filter.as_ptr().cast_mut() };
    // SAFETY: a system call that reads a program that outlives it.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    owned(listener).context("the filter is refused")
}

fn pidfd(process: Pid) -> Result<OwnedFd> {
    // SAFETY: a system call on numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, process.as_raw(), 0) }).context("pidfd_open")
}

/// A descriptor of another process.
fn taken(process: &OwnedFd, number: RawFd) -> Result<OwnedFd> {
    // SAFETY: a system call on numbers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) })
        .context("pidfd_getfd")
}

fn owned(descriptor: c_long) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    let number = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Answers for as long as there is somebody to ask.
fn guard(rules: &[Rule], process: &OwnedFd, listener: &OwnedFd) -> Result<()> {
    /// `SECCOMP_IOCTL_NOTIF_RECV` and `_SEND` of `linux/seccomp.h`.
    const RECEIVE: libc::Ioctl = 0xc050_2100;
    const SEND: libc::Ioctl = 0xc018_2101;
    loop {
        let mut watched = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: a system call on a value that outlives it.
        unsafe { libc::poll(&raw mut watched, 1, -1) };
        if watched.revents & libc::POLLIN == 0 {
            // Nobody is left who is guarded.
            return Ok(());
        }
        // SAFETY: a structure of numbers, which the kernel wants zero.
        let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes a structure of this type.
        if unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut asked) } != 0 {
            // Who asked has gone.
            continue;
        }
        let is_refused = is_refused(rules, process, &asked).unwrap_or_else(|error| {
            eprintln!("refuse: {error:#}");
            false
        });
        // SAFETY: a structure of numbers.
        let mut response: libc::seccomp_notif_resp = unsafe { std::mem::zeroed() };
        response.id = asked.id;
        if is_refused {
            response.error = -REFUSED;
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "it is 1")]
            let go_on = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
            response.flags = go_on;
        }
        // SAFETY: the kernel reads a structure of this type.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw mut response) };
    }
}

/// Whether a rule is about this call of `bpf(2)`.
fn is_refused(rules: &[Rule], process: &OwnedFd, asked: &libc::seccomp_notif) -> Result<bool> {
    // Commands of `bpf(2)`, and where their attributes are, as in `linux/bpf.h`.
    const MAP_CREATE: u64 = 0;
    const PROG_LOAD: u64 = 5;
    const OBJ_PIN: u64 = 6;
    const PROG_ATTACH: u64 = 8;
    const PROG_TEST_RUN: u64 = 10;
    const RAW_TRACEPOINT_OPEN: u64 = 17;
    const LINK_CREATE: u64 = 28;
    let [command, address, size, ..] = asked.data.args;
    let mut attributes = [0; 128];
    let size = usize::try_from(size)?.min(attributes.len());
    File::open(format!("/proc/{}/mem", asked.pid))?.read_exact_at(&mut attributes[..size], address)?;
    let number = |at: usize| RawFd::from_ne_bytes(attributes[at..at + 4].try_into().unwrap_or_default());
    let program = |at: usize| program_name(&taken(process, number(at))?);
    for rule in rules {
        let is_this = match (rule, command) {
            (Rule::Program(name), PROG_LOAD) => text(&attributes[48..64]) == *name,
            (Rule::Map(name), MAP_CREATE) => text(&attributes[28..44]) == *name,
            (Rule::Table(name), MAP_CREATE) => text(&attributes[28..44]) == *name && number(12) > 1,
            (Rule::Attach(name), LINK_CREATE) | (Rule::Run(name), PROG_TEST_RUN) => program(0)? == *name,
            (Rule::Attach(name), PROG_ATTACH) => program(4)? == *name,
            (Rule::Attach(name), RAW_TRACEPOINT_OPEN) => program(8)? == *name,
            (Rule::Pin, OBJ_PIN) => true,
            _ => false,
        };
        if is_this {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a program is called.
fn program_name(program: &OwnedFd) -> Result<String> {
    const OBJ_GET_INFO_BY_FD: u32 = 15;
    /// `struct bpf_prog_info` has its name at this offset.
    const NAME_AT: usize = 64;
    #[repr(C)]
    struct Attributes {
        program: RawFd,
        length: u32,
        info: u64,
    }
    let mut info = [0_u8; NAME_AT + 16];
    let length = u32::try_from(info.len())?;
    let attributes = Attributes {
        program: program.as_raw_fd(),
        length,
        info: info.as_mut_ptr().expose_provenance() as u64,
    };
    // SAFETY: the kernel reads the attributes, and writes so many bytes of information; both outlive the call.
    let failed = unsafe {
        libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw const attributes, size_of::<Attributes>())
    };
    ensure!(failed == 0, "a program does not tell its name: {}", io::Error::last_os_error());
    Ok(text(&info[NAME_AT..]))
}

/// A name, up to its zero.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
