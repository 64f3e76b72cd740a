//! Statistics in files, so that shards of a large data set can be calibrated apart and merged.
//!
//! A file is JSON, by names of activations:
//!
//! ```json
//! {"format": "onnx-shrink statistics", "version": 2, "model": "b2ff...", "samples": 512, "data": ["9f86...", ...],
//!  "statistics": {"conv1_out": {"samples": 512, "extremes": [-1.5, 6.0], "minima": {"-21": -3}, "maxima": {...},
//!                               "histogram": {"zeros": 9, "exponent": -8, "negative": [...], "positive": [...]}}},
//!  "channels": {"hidden": {"extremes": [[-0.5, 0.5], [-90.0, 3.0]]}}}
//! ```
//!
//! `data` tells what was measured, by the SHA-256 of each sample. `minima` and `maxima` are sums over samples: mantissas by exponent. Bin `m` of a histogram counts magnitudes from
//! `m * 2^exponent` on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::by_channel::Channels;
use super::statistics::Statistics;
use crate::data::SampleDigests;
use crate::error::{Error, Result};
use crate::ir::Model;
use crate::onnx::{EncodeOptions, encode};

const FORMAT: &str = "onnx-shrink statistics";
const VERSION: u32 = 2;

/// What was measured of the activations of a model, by their names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::passes::quant8) struct Recording {
    format: String,
    version: u32,
    /// The [`fingerprint`] of the model.
    model: String,
    samples: u64,
    data: SampleDigests,
    pub(in crate::passes::quant8) statistics: BTreeMap<String, Statistics>,
    pub(in crate::passes::quant8) channels: BTreeMap<String, Channels>,
}

impl Recording {
    /// What was measured on so many samples, with what they were.
    pub(in crate::passes::quant8) fn new(
        model: String,
        (samples, data): (u64, SampleDigests),
        statistics: BTreeMap<String, Statistics>,
        channels: BTreeMap<String, Channels>,
    ) -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION, model, samples, data, statistics, channels }
    }

    /// Reads files and merges them; `None` where there are none.
    ///
    /// # Errors
    /// Names the first file that cannot be read, is of another version or model, or tells of other activations.
    pub(in crate::passes::quant8) fn read(paths: &[PathBuf], model: &str) -> Result<Option<Self>> {
        let mut merged: Option<Self> = None;
        for path in paths {
            let one = Self::read_one(path, model).map_err(|error| error.in_file(path))?;
            match &mut merged {
                None => merged = Some(one),
                Some(merged) => merged.merge(one).map_err(|error| error.in_file(path))?,
            }
        }
        Ok(merged)
    }

    fn read_one(path: &Path, model: &str) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read statistics from", path, e))?;
        let recording: Self = serde_json::from_reader(BufReader::new(file)).map_err(|e| {
            Error::invalid_data("the file holds no statistics")
                .expected(format!("what --stats writes, version {VERSION}"))
                .found(e.to_string())
                .with_source(e)
        })?;
        if recording.format != FORMAT || recording.version != VERSION {
            return Err(Error::invalid_data("the file holds no statistics that this version reads")
                .expected(format!("{FORMAT}, version {VERSION}"))
                .found(format!("{}, version {}", recording.format, recording.version)));
        }
        if recording.model != model {
            return Err(Error::invalid_data("the statistics are of another model")
                .expected(format!("model {model}"))
                .found(format!("model {}", recording.model))
                .help("give the same model, and the same passes before `quant8`, as when they were recorded"));
        }
        match recording.statistics.iter().find(|(_, statistics)| !statistics.is_sound()) {
            None => Ok(recording),
            Some((name, _)) => Err(Error::invalid_data(format!("the statistics of `{name}` are corrupt"))),
        }
    }

    fn merge(&mut self, other: Self) -> Result<()> {
        let same_names =
            self.statistics.keys().eq(other.statistics.keys()) && self.channels.keys().eq(other.channels.keys());
        if !same_names {
            let lacks = |a: &Self, b: &Self| {
                let mut names = b.statistics.keys().chain(b.channels.keys());
                names.find(|name| !a.statistics.contains_key(*name) && !a.channels.contains_key(*name)).cloned()
            };
            let odd = lacks(self, &other).or_else(|| lacks(&other, self)).unwrap_or_default();
            return Err(Error::invalid_data("the statistics are of other activations than those before them")
                .found(format!("`{odd}` in one of them only"))
                .help("record all of them with the same options of `quant8`"));
        }
        self.samples += other.samples;
        self.data.extend(other.data);
        for (mine, theirs) in self.statistics.values_mut().zip(other.statistics.into_values()) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.channels.values_mut().zip(other.channels.into_values()) {
            mine.merge(theirs);
        }
        Ok(())
    }

    /// Writes a file.
    ///
    /// # Errors
    /// Fails where that cannot be done.
    pub(in crate::passes::quant8) fn write(&self, path: &Path) -> Result<()> {
        let fail = |e: io::Error| Error::io("write statistics to", path, e);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Beside its place first: whoever waits for the file never sees a part of it.
        let mut staged = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
        let mut file = BufWriter::new(staged.as_file_mut());
        serde_json::to_writer(&mut file, self).map_err(|e| fail(e.into()))?;
        file.write_all(b"\n").and_then(|()| file.flush()).map_err(fail)?;
        drop(file);
        staged.persist(path).map_err(|e| fail(e.error)).map(drop)
    }
}

/// What tells a model from others: a hash of its bytes that stays the same over versions and machines (FNV-1a over words
/// of 64 bits).
///
/// # Errors
/// Fails where the model cannot be encoded.
pub(in crate::passes::quant8) fn fingerprint(model: &Model) -> Result<String> {
    struct Hasher {
        state: u64,
        rest: Vec<u8>,
    }
    impl Hasher {
        fn step(&mut self, word: u64) {
            self.state = (self.state ^ word).wrapping_mul(0x0000_0100_0000_01b3);
            // A multiplication moves bits up only: bring the high ones down once more.
            self.state ^= self.state >> 32;
        }
    }
    impl Write for Hasher {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut bytes = bytes;
            let len = bytes.len();
            if !self.rest.is_empty() {
                let (head, tail) = bytes.split_at(bytes.len().min(8 - self.rest.len()));
                self.rest.extend_from_slice(head);
                bytes = tail;
                if let Some(word) = self.rest.first_chunk::<8>() {
                    let word = u64::from_le_bytes(*word);
                    self.rest.clear();
                    self.step(word);
                }
            }
            let (words, rest) = bytes.as_chunks::<8>();
            words.iter().for_each(|&word| self.step(u64::from_le_bytes(word)));
            self.rest.extend_from_slice(rest);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut hasher = Hasher { state: 0xcbf2_9ce4_8422_2325, rest: Vec::with_capacity(8) };
    let encoded = encode(model, &EncodeOptions::default())?;
    encoded
        .write_model(&mut hasher)
        .map_err(|e| Error::invalid_model("the model cannot be laid out").found(e.to_string()).with_source(e))?;
    let rest: Vec<u64> = hasher.rest.iter().map(|&byte| u64::from(byte)).collect();
    rest.into_iter().for_each(|byte| hasher.step(byte));
    hasher.step(encoded.len());
    Ok(format!("{:016x}", hasher.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Tensor, text};

    fn recording(model: &str, values: &[f32]) -> Recording {
        let tensor = Tensor::from_f32([values.len() as u64], values).unwrap();
        let (mut statistics, mut channels) = (Statistics::new(true), Channels::default());
        statistics.add(&tensor);
        channels.add(&tensor);
        let (statistics, channels) =
            (BTreeMap::from([("a".to_owned(), statistics)]), BTreeMap::from([("b".to_owned(), channels)]));
        Recording::new(model.to_owned(), (1, SampleDigests::from([format!("{values:?}")])), statistics, channels)
    }

    #[test]
    fn files_merge_into_what_one_run_would_have_written() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().join("one.json"), folder.path().join("two.json")];
        recording("m", &[1.0, -2.0]).write(&paths[0]).unwrap();
        recording("m", &[0.5, 7.0]).write(&paths[1]).unwrap();
        let merged = Recording::read(&paths, "m").unwrap().unwrap();
        assert_eq!((merged.samples, merged.data.len()), (2, 2));
        assert_eq!(merged.channels["b"].ranges().unwrap().len(), 2);
        let swapped = [paths[1].clone(), paths[0].clone()];
        assert_eq!(Recording::read(&swapped, "m").unwrap().unwrap(), merged);
        assert_eq!(Recording::read(&[], "m").unwrap(), None);
    }

    #[test]
    fn other_models_versions_and_contents_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("one.json");
        let complaint = || Recording::read(std::slice::from_ref(&path), "m").unwrap_err().to_string();
        recording("another", &[1.0]).write(&path).unwrap();
        assert!(complaint().contains("another model") && complaint().contains("one.json"), "{}", complaint());
        let text = serde_json::to_string(&recording("m", &[1.0])).unwrap();
        std::fs::write(&path, text.replace("\"version\":2", "\"version\":9")).unwrap();
        assert!(complaint().contains("version 9"), "{}", complaint());
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        assert!(complaint().contains("no statistics"), "{}", complaint());
        std::fs::write(&path, text.replace("[1.0,1.0]", "[2.0,1.0]")).unwrap();
        assert!(complaint().contains("corrupt"), "{}", complaint());
    }

    #[test]
    fn a_fingerprint_tells_models_apart() {
        let of = |weight: &str| {
            let source = format!(
                "<ir_version: 8, opset_import: [\"\" : 13]> g (float[1] x) => (float[1] y) <float[1] w = {{{weight}}}> {{ y = Add(x, w) }}"
            );
            fingerprint(&text::parse(&source).unwrap()).unwrap()
        };
        assert_eq!(of("1.0"), of("1.0"));
        assert_ne!(of("1.0"), of("2.0"));
    }
}
