//! Writes the seeds of a target as libFuzzer wants them: `fuzz_seeds TARGET FOLDER`.

use std::path::Path;
use std::{env, fs, io};

use websocket_utils_fuzz::seeds;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, folder] = arguments.as_slice() else {
        return Err(io::Error::other("fuzz_seeds TARGET FOLDER"));
    };
    fs::create_dir_all(folder)?;
    for (name, bytes) in seeds::of(target)? {
        fs::write(Path::new(folder).join(name), bytes)?;
    }
    Ok(())
}
