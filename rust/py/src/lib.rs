//! `websocket_utils._core`: Python classes over the sans-I/O core.

use pyo3::prelude::*;

mod codec;

#[pymodule]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::codec::register(module)
    }
}
