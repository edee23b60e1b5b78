//! `--name value` arguments.

use std::collections::HashMap;
use std::io::{self, ErrorKind};

/// Arguments by name, without the two dashes.
pub(crate) struct Args(HashMap<String, String>);

impl Args {
    /// Reads `--name value` pairs; any other form is an error.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut values = HashMap::new();
        while let Some(word) = words.next() {
            let (Some(name), Some(value)) = (word.strip_prefix("--"), words.next()) else {
                return Err(io::Error::new(ErrorKind::InvalidInput, format!("{word:?}: arguments are --name value")));
            };
            values.insert(name.to_owned(), value);
        }
        Ok(Self(values))
    }

    /// A number, or `default` where it is not given.
    pub(crate) fn number(&self, name: &str, default: u64) -> io::Result<u64> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| io::Error::new(ErrorKind::InvalidInput, format!("--{name} {text}: not a number"))),
        }
    }

    /// A number that may be absent; text that is no number counts as absent.
    pub(crate) fn optional(&self, name: &str) -> Option<usize> {
        self.0.get(name)?.parse().ok()
    }

    /// A text that may be absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
