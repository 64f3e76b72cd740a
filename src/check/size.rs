//! What the files are, and how large they may be.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::outcome::{GateResult, Outcome, Rule};
use crate::digest;
use crate::error::{Error, Result};
use crate::input::Input;

/// Sizes and hash of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fingerprint {
    /// Bytes of the model file, unpacked.
    pub bytes: u64,
    /// Bytes of side files.
    pub side_bytes: u64,
    /// The SHA-256 of the model file and then of its side files in the order of their names, in hexadecimal digits.
    pub sha256: String,
}

impl Fingerprint {
    /// Bytes of all files.
    pub fn total_bytes(&self) -> u64 {
        self.bytes + self.side_bytes
    }
}

/// Measures and hashes a model with its side files.
///
/// # Errors
/// Fails where a side file cannot be read.
pub fn fingerprint(input: &Input) -> Result<Fingerprint> {
    let mut hash = Sha256::new();
    hash.update(input.file.bytes());
    for path in input.side_files.keys() {
        let mut file = std::fs::File::open(path).map_err(|e| Error::io("read", path, e))?;
        std::io::copy(&mut file, &mut hash).map_err(|e| Error::io("read", path, e))?;
    }
    Ok(Fingerprint { bytes: input.bytes(), side_bytes: input.side_bytes(), sha256: digest::hex(hash) })
}

/// Holds the candidate to a number of bytes.
pub(super) fn gate(candidate: &Fingerprint, max_bytes: Option<u64>) -> Option<GateResult> {
    let max_bytes = max_bytes?;
    let bytes = candidate.total_bytes();
    Some(GateResult {
        rule: Rule::Size,
        gate: format!("max-size={max_bytes}"),
        outcome: if bytes <= max_bytes { Outcome::Passed } else { Outcome::Failed },
        output: None,
        expected: format!("at most {max_bytes} bytes"),
        found: format!("{bytes} bytes"),
    })
}
