//! What tells data from other data: a SHA-256, the same however the samples are stored, ordered and divided into shards.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Samples;
use crate::digest::{add_tensors, hex};
use crate::error::{Error, Result};

/// The SHA-256 of each sample, in hexadecimal digits.
pub type SampleDigests = BTreeSet<String>;

/// The SHA-256 of each sample: of the names, types, shapes and contents of its inputs, and of its labels.
///
/// # Errors
/// Fails where a sample can no longer be read.
pub fn sample_digests(samples: &dyn Samples) -> Result<SampleDigests> {
    (0..samples.len()).into_par_iter().map(|index| of_sample(samples, index)).collect()
}

/// The digests that files of statistics tell: those of the samples they were measured on.
///
/// # Errors
/// Names the file that tells none.
pub fn recorded_digests(files: &[PathBuf]) -> Result<SampleDigests> {
    /// The part of such a file that is about data.
    #[derive(Deserialize)]
    struct Recorded {
        data: SampleDigests,
    }
    let mut digests = SampleDigests::new();
    for path in files {
        let file = File::open(path).map_err(|e| Error::io("read statistics from", path, e))?;
        let recorded: Recorded = serde_json::from_reader(BufReader::new(file)).map_err(|e| {
            Error::invalid_data("the file does not tell what it was measured on").in_file(path).found(e.to_string())
        })?;
        digests.extend(recorded.data);
    }
    Ok(digests)
}

/// The SHA-256 of all samples together, in hexadecimal digits.
pub fn digest(samples: &SampleDigests) -> String {
    let mut hash = Sha256::new();
    samples.iter().for_each(|sample| hash.update(sample));
    hex(hash)
}

fn of_sample(samples: &dyn Samples, index: usize) -> Result<String> {
    let mut hash = Sha256::new();
    add_tensors(&mut hash, &samples.get(index)?);
    for label in samples.label(index).unwrap_or_default() {
        hash.update(label.to_le_bytes());
    }
    Ok(hex(hash))
}
