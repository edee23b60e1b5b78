//! `websocket_utils._core`: Python classes over the sans-I/O core.
//!
//! The only code of the project that knows Python objects and file descriptors. It decides nothing about the protocol.

use pyo3::prelude::*;

mod broadcast;
mod clock;
mod codec;
mod columns;
mod compression;
mod connection;
mod errors;
mod fates;
mod handshake;
mod histogram;
mod inbox;
mod loop_bound;
mod masking;
mod outbox;
mod outgoing;
mod positions;
mod pubsub;
mod pull;
mod queue;
mod scratch;
mod sent;
mod socket;

// The address sanitizer has to know every block, so that it sees who writes behind one.
#[cfg(not(fuzzing))]
#[global_allocator]
static ALLOCATOR: websocket_utils_blocks::BigBlocks = websocket_utils_blocks::BigBlocks;

// The GIL guards the interning table and the read buffer: a free-threaded interpreter is told to keep it.
#[pymodule(gil_used = true)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::broadcast::{Broadcaster, Channel, Receipt};
    #[pymodule_export]
    use crate::connection::Connection;
    #[pymodule_export]
    use crate::histogram::Histogram;
    #[pymodule_export]
    use crate::inbox::Inbox;
    #[pymodule_export]
    use crate::positions::Positions;
    #[pymodule_export]
    use crate::pubsub::PubSubDecoder;
    #[pymodule_export]
    use crate::sent::Sent;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        crate::masking::watch_forks()?;
        crate::pull::install::<crate::pull::Pull>(py);
        crate::pull::install::<crate::pull::ColumnPull>(py);
        crate::pull::install::<crate::pull::Drain>(py);
        crate::pull::install::<crate::sent::Sent>(py);
        crate::codec::register(module)?;
        crate::columns::register(module)?;
        crate::pubsub::install(module)?;
        crate::handshake::register(module)
    }
}
