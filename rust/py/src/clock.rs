//! The two clocks, in nanoseconds. Each costs some 20 ns: they are asked once a read, never once a message.

/// When something happened, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Since 1970, as the machine's wall clock has it: comparable with other machines, and it may jump.
    pub(crate) wall: i64,
    /// Since some moment in the past, the same as `time.monotonic_ns()`: never jumps.
    pub(crate) monotonic: u64,
}

impl Stamp {
    /// Both clocks, now.
    #[inline]
    pub(crate) fn now() -> Self {
        Self { wall: wall_ns(), monotonic: monotonic_ns() }
    }
}

/// `time.time_ns()`.
#[inline]
pub(crate) fn wall_ns() -> i64 {
    let time = read(libc::CLOCK_REALTIME);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// `time.monotonic_ns()`.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    let time = read(libc::CLOCK_MONOTONIC);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[inline]
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to. Both clocks exist on every system that has the call, so it can't fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time
}
