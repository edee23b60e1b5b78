//! What binds this process to its harness: life time, core, clock, shared progress.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Microseconds between two looks: the buffers of a socket hold what comes meanwhile at any rate of these benches.
const PAUSE_US: u64 = 20;

/// Ends this process after `seconds`, or when the process that started it is gone.
pub(crate) fn bound_life(seconds: u64) {
    // SAFETY: alarm takes a plain number and has no memory effect; SIGALRM keeps its default action, which ends us.
    unsafe { libc::alarm(libc::c_uint::try_from(seconds).unwrap_or(libc::c_uint::MAX)) };
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_PDEATHSIG takes one signal number, PR_SET_TIMERSLACK nanoseconds; no memory of ours is touched.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // The 50 us by which Linux lets sleeps be late would be longer than our pauses.
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
    };
}

/// Binds this process to one core, where the system can.
#[cfg(target_os = "linux")]
pub(crate) fn pin(core: usize) {
    // SAFETY: cpu_set_t is plain data for which all zeros is the empty set; CPU_SET is told an index it checks against
    // the size of the set; the kernel reads the set during the call only.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Binds this process to one core, where the system can.
#[cfg(not(target_os = "linux"))]
pub(crate) fn pin(_core: usize) {}

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of Python's `time.monotonic_ns`, shared by all processes of a machine.
pub(crate) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec that outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Sleeps for a moment, between two looks at a socket that was empty or full.
///
/// The process under test pays for how its peer waits: a peer asleep in `poll` costs it a wake-up per write, one that
/// looks without a pause makes it wait for the lock of the socket. A sleep in between costs it neither.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_micros(PAUSE_US));
}

/// Sleeps until the monotonic clock shows `due`.
pub(crate) fn sleep_until(due: u64) {
    std::thread::sleep(Duration::from_nanos(due.saturating_sub(monotonic_ns())));
}

/// Ends a TCP connection with a reset, as the kernel of a process that was killed with unread data does.
pub(crate) fn reset(stream: std::net::TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the descriptor is open, `linger` is valid for the call and its true size is given.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        );
    }
    drop(stream);
}

/// Raises the limit of open descriptors as far as allowed: `idle` holds thousands.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for both calls, which read or write nothing else.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Waits until `fd` is readable or `milliseconds` have passed.
pub(crate) fn wait_readable(fd: &impl AsRawFd, milliseconds: i32) {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd, and the count says one.
    unsafe { libc::poll(&raw mut poll, 1, milliseconds) };
}

/// Eight bytes of a file shared with the process under test: how many messages every sink has received.
///
/// A process that broadcasts can so bound what is on its way without any traffic of the library under test.
pub(crate) fn shared_progress(path: &str) -> io::Result<&'static AtomicU64> {
    let file = File::options().read(true).write(true).open(path)?;
    file.set_len(8)?;
    // SAFETY: a fresh mapping of 8 bytes of a file that is 8 bytes long; the result is checked before use.
    let address = unsafe {
        libc::mmap(std::ptr::null_mut(), 8, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED, file.as_raw_fd(), 0)
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is page-aligned, 8 bytes long and never unmapped; all access to it is atomic.
    Ok(unsafe { &*address.cast::<AtomicU64>() })
}
