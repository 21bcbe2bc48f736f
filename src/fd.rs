//! System calls without a safe interface: the only `unsafe` code of this crate.
//!
//! Every function is a thin, checked wrapper without policy. Each `unsafe` block states why it is sound.

#![expect(unsafe_code, reason = "descriptors from other processes and clone have no safe interface")]

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

/// Takes ownership of a descriptor that this process was started with, such as the one named by `AINT_QUEUE_FD`, and
/// marks it close-on-exec so that children do not inherit it.
///
/// Call it once per descriptor, before other code can have opened a descriptor with the same number.
///
/// # Errors
/// When no such descriptor is open.
pub fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl on any number is harmless; a number that is not open is reported as EBADF.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open, and by this function's contract no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers a descriptor with the current tokio runtime.
///
/// # Errors
/// When the kernel cannot poll a descriptor of this kind.
pub fn async_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor stays open and refers to the same file for as long as it is owned.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// A datagram and the descriptors attached to it.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// Length of the datagram in bytes; 0 at the end of the stream.
    pub(crate) len: usize,
    /// Attached descriptors; fewer than were sent when this process has reached its open-files limit.
    pub(crate) fds: Vec<OwnedFd>,
}

/// Receives one datagram without blocking.
///
/// # Errors
/// `WouldBlock` when no datagram is ready, otherwise the error of `recvmsg`.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    const SPACE: usize = 64;
    #[repr(align(8))]
    struct Control([u8; SPACE]);
    let mut control = Control([0; SPACE]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: an all-zero msghdr is a valid empty one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = SPACE as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: header points at buffers that outlive the call and has their true lengths.
    let len = Errno::result(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) })?;
    let mut received =
        Received { len: usize::try_from(len).expect("a length is not negative"), fds: Vec::new() };
    // SAFETY: the kernel filled the control buffer; the CMSG macros walk it within msg_controllen. Each number in an
    // SCM_RIGHTS part is a descriptor just opened for this process and owned by no other code.
    unsafe {
        let mut part = libc::CMSG_FIRSTHDR(&raw const header);
        while !part.is_null() {
            if (*part).cmsg_level == libc::SOL_SOCKET && (*part).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(part).cast::<RawFd>();
                let bytes = (*part).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                for i in 0..bytes / size_of::<RawFd>() {
                    received.fds.push(OwnedFd::from_raw_fd(ptr::read_unaligned(data.add(i))));
                }
            }
            part = libc::CMSG_NXTHDR(&raw const header, part);
        }
    }
    Ok(received)
}

/// A child of this process that has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedChild {
    pub(crate) pid: i32,
    /// Exit code, or the signal that killed the child.
    pub(crate) status: i32,
    pub(crate) cause: EndCause,
}

/// The cause of the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndCause {
    Exit,
    Signal,
    /// A signal, with a core dump.
    CoreDump,
}

/// The next child of this process that has ended and is not reaped yet. The child stays a zombie, so its pid cannot be
/// reused until it is reaped.
pub(crate) fn peek_ended_child() -> Option<EndedChild> {
    // SAFETY: an all-zero siginfo is valid, and si_pid stays 0 when no child has ended.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    loop {
        // SAFETY: info is a local variable that outlives the call.
        match Errno::result(unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) }) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
    // SAFETY: waitid filled the part of the union for an ended child, or left it zero.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let cause = match info.si_code {
        libc::CLD_EXITED => EndCause::Exit,
        libc::CLD_DUMPED => EndCause::CoreDump,
        _ => EndCause::Signal,
    };
    (pid != 0).then_some(EndedChild { pid, status, cause })
}

/// Opens a pidfd: a descriptor that refers to this process even after its pid is reused.
///
/// # Errors
/// When the process does not exist, or no descriptor is free.
pub(crate) fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the arguments are plain numbers; the result is a new descriptor.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = RawFd::try_from(fd).expect("a descriptor fits its type");
    // SAFETY: the kernel has just opened the descriptor for this call, so no other code owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process of a [`pidfd`].
///
/// # Errors
/// When the process has ended or runs as another user.
pub(crate) fn pidfd_signal(process: &OwnedFd, signal: c_int) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo makes the kernel fill in the same as for kill.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) };
    Errno::result(sent)?;
    Ok(())
}

/// Resets every signal to its default disposition, so that children inherit no ignored signal.
pub(crate) fn reset_signal_dispositions() {
    // The kernel's own structure; all zero is SIG_DFL without flags. The C library's function refuses two signals that it
    // reserves, which the parent of this process may have ignored.
    let default = [0u64; 8];
    let size_of_set = 8usize;
    for signal in 1..=64 {
        // SAFETY: SIG_DFL installs no handler, and the kernel reads less than the length of this array. It refuses KILL
        // and STOP.
        unsafe {
            let nowhere = ptr::null_mut::<c_void>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nowhere, size_of_set)
        };
    }
}

/// Gives the signals that stop a program their default effect again: it ends at once, also while it waits for a reader of its
/// output.
pub(crate) fn reset_stop_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
        // SAFETY: SIG_DFL installs no handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Ignores SIGTTIN and SIGTTOU, with which a terminal stops background processes: this process reads nothing from the
/// terminal, and its output must not stop it.
pub(crate) fn ignore_terminal_stops() {
    for signal in [libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: SIG_IGN installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Bounds the freed memory that the allocator keeps: two arenas, whatever the number of threads, and large blocks that return to the
/// system as soon as they are freed. Call it before other threads start. Has no effect with another C library than glibc.
pub(crate) fn bound_heap() {
    #[cfg(target_env = "gnu")]
    {
        const MAX_ARENAS: c_int = 2;
        const LARGE_BLOCK: c_int = 256 << 10;
        // SAFETY: mallopt changes settings of the allocator only, and no other thread allocates yet.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, MAX_ARENAS);
            libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BLOCK);
        }
    }
}

/// Returns the freed memory that the allocator keeps to the system. Takes some milliseconds per 100 MiB.
pub(crate) fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the locks of the allocator, as each allocation does, and moves no block in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Makes a command start in a session of its own with every signal blocked, from its first instruction, and with this soft
/// limit on open descriptors.
pub(crate) fn detached(command: &mut Command, open_files: Option<u64>) -> &mut Command {
    // SAFETY: the closure runs between fork and exec and makes only async-signal-safe calls.
    unsafe {
        command.pre_exec(move || {
            if let Some(soft) = open_files {
                let mut limit: libc::rlimit64 = std::mem::zeroed();
                if libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
                    limit.rlim_cur = soft.min(limit.rlim_max);
                    libc::setrlimit64(libc::RLIMIT_NOFILE, &raw const limit);
                }
            }
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const all, ptr::null_mut());
            Errno::result(libc::setsid())?;
            Ok(())
        })
    }
}

/// Sets up the descriptors of a guardian: moves its socket from descriptor 0 to a number above 9, opens /dev/null as 0,
/// reserves 3 so that no descriptor of the guardian has the number of a child's worker socket, and closes all other
/// inherited descriptors. Call it before any other descriptor is opened.
///
/// # Errors
/// The error of the system call that failed.
pub(crate) fn set_up_guardian_descriptors() -> io::Result<OwnedFd> {
    // SAFETY: the process has just started; by this function's contract no code owns a descriptor above 2.
    unsafe {
        // Kernels before 5.9 have no close_range; descriptors inherited from outside stay open there.
        libc::syscall(libc::SYS_close_range, 3, c_int::MAX, 0);
        let socket = Errno::result(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 10))?;
        let null = Errno::result(libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC))?;
        Errno::result(libc::dup2(null, 0))?;
        if null != 3 {
            Errno::result(libc::dup3(null, 3, libc::O_CLOEXEC))?;
        }
        Ok(OwnedFd::from_raw_fd(socket))
    }
}

/// A program to start, in the form that the system calls take.
#[derive(Debug)]
pub(crate) struct Program {
    /// Paths of the executable, tried in this order.
    pub(crate) paths: Vec<CString>,
    /// Arguments, the program's name first.
    pub(crate) argv: Vec<CString>,
    /// The complete environment.
    pub(crate) env: Vec<CString>,
    /// Working directory.
    pub(crate) cwd: Option<CString>,
    /// Niceness.
    pub(crate) nice: Option<c_int>,
    /// Soft limit on open descriptors, before `limits`; that of this process when absent.
    pub(crate) open_files: Option<u64>,
    /// Resource limits: resource and value.
    pub(crate) limits: Vec<(c_int, u64)>,
    /// User id, group id and all group ids.
    pub(crate) ids: Option<(u32, u32, Vec<u32>)>,
}

/// The step of a launch, for the error when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaunchStage {
    /// Creating the process.
    Fork = 1,
    /// Setting the process group, the parent-death signal and the descriptors.
    Prepare = 2,
    /// Changing to the working directory.
    WorkingDirectory = 3,
    /// Executing the program.
    Exec = 4,
    /// Setting the resource limits.
    ResourceLimits = 5,
    /// Setting the niceness.
    Nice = 6,
    /// Changing to the configured user.
    Account = 7,
}

/// Starts programs. Owns the stack that a new process uses until it executes its program.
#[derive(Debug)]
pub(crate) struct Launcher {
    stack: Vec<u128>,
}

/// Shared memory between the guardian and a new process: its settings, and the error it reports on failure.
struct ChildPlan<'a> {
    program: &'a Program,
    argv: *const *const libc::c_char,
    env: *const *const libc::c_char,
    fds: &'a [(RawFd, RawFd)],
    parent: libc::pid_t,
    no_signals: libc::sigset_t,
    stage: AtomicI32,
    errno: AtomicI32,
}

impl Launcher {
    /// Allocates the stack.
    pub(crate) fn new() -> Self {
        Self { stack: vec![0; 4096] }
    }

    /// Starts a program as the leader of a process group of its own. The kernel kills it when this process dies. `fds` are
    /// pairs of a descriptor of this process and its number in the child; no descriptor of this process may have a number
    /// that the child uses.
    ///
    /// The calling process must be single-threaded, because the parent-death signal is bound to the thread that starts the
    /// child. As with posix_spawn, the child shares this process's memory until it executes its program, which avoids a
    /// copy of the page tables.
    ///
    /// # Errors
    /// The step that failed and its error. The child is reaped in that case.
    pub(crate) fn launch(
        &mut self,
        program: &Program,
        fds: &[(BorrowedFd<'_>, RawFd)],
    ) -> Result<i32, (LaunchStage, Errno)> {
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
        };
        let (argv, env) = (pointers(&program.argv), pointers(&program.env));
        let fds: Vec<(RawFd, RawFd)> = fds.iter().map(|(ours, theirs)| (ours.as_raw_fd(), *theirs)).collect();
        // SAFETY: sigemptyset makes the zeroed set a valid one.
        let no_signals = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            set
        };
        let plan = ChildPlan {
            program,
            argv: argv.as_ptr(),
            env: env.as_ptr(),
            fds: &fds,
            parent: nix::unistd::getpid().as_raw(),
            no_signals,
            stage: AtomicI32::new(0),
            errno: AtomicI32::new(0),
        };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: CLONE_VFORK suspends this process until the child has executed its program or exited, so the stack and
        // the plan outlive the child's use of them. The child runs no signal handler, because all dispositions are default,
        // and calls only async-signal-safe functions.
        let pid = unsafe {
            let top = self.stack.as_mut_ptr().add(self.stack.len());
            libc::clone(run_child, top.cast(), flags, (&raw const plan).cast_mut().cast())
        };
        let pid = Errno::result(pid).map_err(|e| (LaunchStage::Fork, e))?;
        let stage = match plan.stage.load(Ordering::SeqCst) {
            0 => return Ok(pid),
            2 => LaunchStage::Prepare,
            3 => LaunchStage::WorkingDirectory,
            5 => LaunchStage::ResourceLimits,
            6 => LaunchStage::Nice,
            7 => LaunchStage::Account,
            _ => LaunchStage::Exec,
        };
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
        Err((stage, Errno::from_raw(plan.errno.load(Ordering::SeqCst))))
    }
}

/// Changes permanently to another user, in a child that still shares its parent's memory. Uses raw system calls: the
/// functions of the C library would change the parent's threads as well.
unsafe fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the arguments are plain numbers, a slice with its length, and a local stat buffer.
    unsafe {
        for stream in [1, 2] {
            let mut stat: libc::stat = std::mem::zeroed();
            // A program that opens /dev/stderr must own the pipe behind it. Files and terminals keep their owner.
            if libc::fstat(stream, &raw mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFIFO {
                libc::fchown(stream, uid, gid);
            }
        }
        Errno::result(libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        Errno::result(libc::syscall(libc::SYS_setgid, gid))?;
        Errno::result(libc::syscall(libc::SYS_setuid, uid))?;
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
    }
    Ok(())
}

extern "C" fn run_child(plan: *mut c_void) -> c_int {
    // SAFETY: launch passes a ChildPlan that lives until this process has executed its program or exited. The code below
    // does not allocate, lock or unwind.
    unsafe {
        let plan = &*plan.cast::<ChildPlan<'_>>();
        let fail = |stage: LaunchStage, errno: c_int| -> ! {
            plan.errno.store(errno, Ordering::SeqCst);
            plan.stage.store(stage as c_int, Ordering::SeqCst);
            libc::_exit(127)
        };
        let die_with_parent = || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                fail(LaunchStage::Prepare, Errno::last_raw());
            }
            // The parent may have died before the parent-death signal was set.
            if libc::getppid() != plan.parent {
                libc::_exit(127);
            }
        };
        die_with_parent();
        if libc::setpgid(0, 0) != 0 {
            fail(LaunchStage::Prepare, Errno::last_raw());
        }
        for &(ours, theirs) in plan.fds {
            if libc::dup2(ours, theirs) < 0 {
                fail(LaunchStage::Prepare, Errno::last_raw());
            }
        }
        if let Some(soft) = plan.program.open_files {
            let mut limit: libc::rlimit64 = std::mem::zeroed();
            // Without room below a lowered hard limit the child keeps that of its parent.
            if libc::getrlimit64(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
                limit.rlim_cur = soft.min(limit.rlim_max);
                libc::setrlimit64(libc::RLIMIT_NOFILE, &raw const limit);
            }
        }
        for &(resource, value) in &plan.program.limits {
            let limit = libc::rlimit64 { rlim_cur: value, rlim_max: value };
            let no_old = ptr::null_mut::<c_void>();
            if libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, no_old) != 0 {
                fail(LaunchStage::ResourceLimits, Errno::last_raw());
            }
        }
        if let Some(nice) = plan.program.nice
            && libc::setpriority(libc::PRIO_PROCESS, 0, nice) != 0
        {
            fail(LaunchStage::Nice, Errno::last_raw());
        }
        if let Some((uid, gid, groups)) = &plan.program.ids {
            become_user(*uid, *gid, groups)
                .unwrap_or_else(|errno| fail(LaunchStage::Account, errno as c_int));
            // The change of user cleared the parent-death signal.
            die_with_parent();
        }
        if let Some(cwd) = &plan.program.cwd
            && libc::chdir(cwd.as_ptr()) != 0
        {
            fail(LaunchStage::WorkingDirectory, Errno::last_raw());
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const plan.no_signals, ptr::null_mut());
        let mut errno = libc::ENOENT;
        for path in &plan.program.paths {
            libc::execve(path.as_ptr(), plan.argv, plan.env);
            match Errno::last_raw() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => errno = libc::EACCES,
                other => fail(LaunchStage::Exec, other),
            }
        }
        fail(LaunchStage::Exec, errno)
    }
}
