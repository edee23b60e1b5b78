//! Seeds, kept as text: `seeds/<target>/<name>.hex`.

use std::fs;
use std::io;
use std::path::Path;

/// The bytes of a seed: hexadecimal digits, or text and CR LF on a line that begins with `"`; `#` begins a remark.
///
/// # Errors
/// The line that is neither.
pub fn bytes_of(seed: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for line in seed.lines() {
        if let Some(text) = line.strip_prefix('"') {
            bytes.extend_from_slice(text.as_bytes());
            bytes.extend_from_slice(b"\r\n");
            continue;
        }
        for word in line.split('#').next().unwrap_or_default().split_whitespace() {
            let byte = (word.len() == 2).then(|| u8::from_str_radix(word, 16).ok()).flatten();
            bytes.push(byte.ok_or_else(|| format!("{word} is no byte of two hexadecimal digits: {line}"))?);
        }
    }
    Ok(bytes)
}

/// The seeds of a target, with their names.
///
/// # Errors
/// They can't be read, or one of them is no seed.
pub fn of(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut seeds = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        seeds.push((name, bytes_of(&fs::read_to_string(&path)?).map_err(io::Error::other)?));
    }
    Ok(seeds)
}
