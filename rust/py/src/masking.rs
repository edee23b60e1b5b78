//! Masking keys: unpredictable to whoever picks the payload (RFC 6455 section 5.3 and 10.3).

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Keys drawn from the OS in one call: 1 024, so the call costs under 10 ns a key.
const POOL_BYTES: usize = 4096;

/// Raised in a forked child, where the parent's unused keys must not be used again.
static GENERATION: AtomicU64 = AtomicU64::new(1);

struct Pool {
    bytes: [u8; POOL_BYTES],
    used: usize,
    generation: u64,
}

thread_local! {
    static POOL: RefCell<Pool> =
        const { RefCell::new(Pool { bytes: [0; POOL_BYTES], used: POOL_BYTES, generation: 0 }) };
}

extern "C" fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Registers the fork hook; called once when the module is loaded.
pub(crate) fn watch_forks() -> PyResult<()> {
    // SAFETY: the handler only adds to an atomic, which is allowed between fork and exec.
    match unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) } {
        0 => Ok(()),
        code => Err(std::io::Error::from_raw_os_error(code).into()),
    }
}

/// A fresh masking key from the operating system's generator.
#[inline]
pub(crate) fn next_key() -> PyResult<[u8; 4]> {
    POOL.with_borrow_mut(|pool| {
        let generation = GENERATION.load(Ordering::Relaxed);
        if pool.used + 4 > POOL_BYTES || pool.generation != generation {
            refill(&mut pool.bytes)?;
            pool.used = 0;
            pool.generation = generation;
        }
        let mut key = [0; 4];
        key.copy_from_slice(&pool.bytes[pool.used..pool.used + 4]);
        // A key that was handed out must not be found in memory later.
        pool.bytes[pool.used..pool.used + 4].fill(0);
        pool.used += 4;
        Ok(key)
    })
}

#[cold]
fn refill(bytes: &mut [u8; POOL_BYTES]) -> PyResult<()> {
    getrandom::fill(bytes).map_err(|error| PyOSError::new_err(format!("no random bytes for masking keys: {error}")))
}
