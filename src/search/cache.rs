//! Measurements on disk, each under what it hangs on: what was measured once is never measured again.
//!
//! An entry is a file named by the SHA-256 of its key, which says what was measured: a line with the SHA-256 of what follows,
//! then key and measurement as JSON. One that is damaged, or is not what its name says, is passed over with a warning, and
//! written again. Entries are put into place whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::measurement::Measurement;
use crate::digest;
use crate::error::{Error, Result};

/// The version of the form of entries.
const VERSION: u32 = 2;

/// What all measurements of a run hang on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Setting {
    pub(super) tool: String,
    /// SHA-256 of the program: another build may make something else of the same pipeline. Empty where nothing is kept.
    pub(super) build: String,
    /// SHA-256 of the model with its side files.
    pub(super) model: String,
    /// SHA-256 of the samples that passes learn from.
    pub(super) calibration: Option<String>,
    /// SHA-256 of the samples that results are compared on.
    pub(super) evaluation: String,
    pub(super) seed: u64,
    pub(super) backend: String,
    /// Whether ONNX Runtime is there, which decides about what runs models, and about times.
    pub(super) onnxruntime: bool,
    /// From how many bytes on weights go to a side file.
    pub(super) external_from_bytes: Option<u64>,
}

/// The SHA-256 of the program that runs.
///
/// # Errors
/// Fails where the program cannot be read.
pub(super) fn this_build() -> Result<String> {
    let path = std::env::current_exe().map_err(|e| Error::io("find", Path::new("onnx-shrink"), e))?;
    let failed = |e| Error::io("read", &path, e).help("measurements are kept under what made them");
    let mut hash = Sha256::new();
    io::copy(&mut File::open(&path).map_err(failed)?, &mut hash).map_err(failed)?;
    Ok(digest::hex(hash))
}

#[derive(Serialize)]
struct Key<'a> {
    #[serde(flatten)]
    setting: &'a Setting,
    pipeline: &'a str,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    version: u32,
    setting: Setting,
    measurement: Measurement,
}

/// The measurements of one run, and of those before it where there is a folder.
#[derive(Debug)]
pub(super) struct Cache {
    folder: Option<PathBuf>,
    setting: Setting,
    known: Mutex<BTreeMap<String, Measurement>>,
    warnings: Mutex<Vec<String>>,
}

impl Cache {
    /// Opens a folder, which is made where there is none.
    ///
    /// # Errors
    /// Fails where the folder cannot be made.
    pub(super) fn open(folder: Option<&Path>, setting: Setting) -> Result<Self> {
        if let Some(folder) = folder {
            fs::create_dir_all(folder).map_err(|e| Error::io("make the cache", folder, e))?;
        }
        Ok(Self { folder: folder.map(Path::to_owned), setting, known: Mutex::default(), warnings: Mutex::default() })
    }

    /// What is known of a pipeline.
    pub(super) fn get(&self, pipeline: &str) -> Option<Measurement> {
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(pipeline) {
            return Some(known.clone());
        }
        let path = self.path(pipeline)?;
        let text = fs::read_to_string(&path).ok()?;
        match self.read(&text, pipeline) {
            Ok(measurement) => {
                lock().insert(pipeline.to_owned(), measurement.clone());
                Some(measurement)
            }
            Err(reason) => {
                let warning = format!("`{}` is passed over: {reason}; it is measured again", path.display());
                self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
                None
            }
        }
    }

    /// Keeps a measurement.
    ///
    /// # Errors
    /// Fails where the disk is full or the folder cannot be written to.
    pub(super) fn put(&self, measurement: &Measurement) -> Result<()> {
        let pipeline = &measurement.pipeline;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(pipeline.clone(), measurement.clone());
        let (Some(path), Some(folder)) = (self.path(pipeline), &self.folder) else { return Ok(()) };
        let failed = |e| Error::io("write to the cache", &path, e);
        let entry = Entry { version: VERSION, setting: self.setting.clone(), measurement: measurement.clone() };
        let json = serde_json::to_string_pretty(&entry).map_err(|e| failed(e.into()))? + "\n";
        let text = checksum(&json) + "\n" + &json;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.persist(&path).map_err(|e| failed(e.error))?;
        Ok(())
    }

    /// What to know about entries that were passed over; told once.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn path(&self, pipeline: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        let key = serde_json::to_vec(&Key { setting: &self.setting, pipeline }).ok()?;
        let mut hash = Sha256::new();
        hash.update(&key);
        Some(folder.join(digest::hex(hash) + ".json"))
    }

    fn read(&self, text: &str, pipeline: &str) -> std::result::Result<Measurement, String> {
        let sound = text.split_once('\n').filter(|(sum, json)| checksum(json) == *sum);
        let Some((_, json)) = sound else { return Err("it is damaged".to_owned()) };
        let entry: Entry = serde_json::from_str(json).map_err(|e| format!("it is no measurement ({e})"))?;
        if entry.version != VERSION {
            return Err(format!("it is of version {}, not {VERSION}", entry.version));
        }
        if entry.setting != self.setting || entry.measurement.pipeline != pipeline {
            return Err("it is a measurement of something else".to_owned());
        }
        Ok(entry.measurement)
    }
}

fn checksum(text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(text);
    digest::hex(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting {
            tool: "tool 1".into(),
            build: "b".into(),
            model: "m".into(),
            calibration: None,
            evaluation: "e".into(),
            seed: 0,
            backend: "auto".into(),
            onnxruntime: false,
            external_from_bytes: None,
        }
    }

    fn measurement(pipeline: &str) -> Measurement {
        Measurement::failed(pipeline.to_owned(), &Error::usage("no"), 0.1 + 0.2)
    }

    #[test]
    fn what_was_put_is_there_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let open = |setting| Cache::open(Some(folder.path()), setting).unwrap();
        open(setting()).put(&measurement("simplify")).unwrap();
        let cache = open(setting());
        assert_eq!(cache.get("simplify"), Some(measurement("simplify")));
        assert_eq!(cache.get("dce"), None);
        for other in [
            Setting { seed: 1, ..setting() },
            Setting { model: "n".into(), ..setting() },
            Setting { build: "c".into(), ..setting() },
        ] {
            assert_eq!(open(other).get("simplify"), None);
        }
        assert!(cache.take_warnings().is_empty());
    }

    #[test]
    fn damaged_and_foreign_entries_are_passed_over_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let cache = || Cache::open(Some(folder.path()), setting()).unwrap();
        cache().put(&measurement("simplify")).unwrap();
        let path = cache().path("simplify").unwrap();
        let sound = fs::read_to_string(&path).unwrap();
        let foreign = cache().path("dce").unwrap();
        fs::write(&foreign, &sound).unwrap();
        let damaged =
            ["", "{}", &sound[..sound.len() / 2], &sound.replace("0.30", "0.31"), &sound.replace("\"m\"", "\"n\"")];
        for text in damaged {
            fs::write(&path, text).unwrap();
            let cache = cache();
            assert_eq!(cache.get("simplify"), None, "{text}");
            assert_eq!(cache.take_warnings().len(), 1, "{text}");
        }
        let cache = cache();
        assert_eq!(cache.get("dce"), None);
        assert!(cache.take_warnings()[0].contains("something else"));
        cache.put(&measurement("simplify")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), sound);
        // Nothing but entries is left.
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
