//! A folder with the results that no other beats, and an index of them.
//!
//! A result of one file is a file named after its size and hash. One with a side file, which it names inside, is a folder of
//! such a name with both files in it, under the names that the output has.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::front::front;
use super::measurement::Measurement;
use crate::error::{Error, Result};
use crate::output::Staging;
use crate::shrink::Attempt;

/// The version of the JSON form of the index.
const VERSION: u32 = 1;

/// The ending of models.
const ENDING: &str = "onnx";

/// Names of the index.
const INDEX_JSON: &str = "index.json";
const INDEX_TABLE: &str = "index.md";

/// The folder.
#[derive(Debug)]
pub(super) struct Gallery {
    folder: PathBuf,
    /// The name of the output, which results with a side file keep.
    output_name: String,
    original_bytes: u64,
}

/// One result of the front.
#[derive(Debug, Clone, Serialize)]
pub struct Picture {
    /// The model in the folder, or in a folder with its side file there; `null` where it was measured by a run before and is
    /// not there.
    pub file: Option<String>,
    /// Bytes of the original over those of the result.
    pub ratio: f64,
    /// The least signal-to-noise ratio of any output in decibels; `null` where all values are equal.
    pub snr_db: Option<f64>,
    /// The least agreement of the best score, 0 to 1.
    pub top1: Option<f64>,
    /// Accuracy on labelled data, 0 to 1.
    pub accuracy: Option<f64>,
    /// All that was measured.
    #[serde(flatten)]
    pub measured: Measurement,
}

#[derive(Serialize)]
struct Index<'a> {
    version: u32,
    original_bytes: u64,
    front: &'a [Picture],
}

impl Gallery {
    /// Makes the folder where there is none.
    ///
    /// # Errors
    /// Fails where it cannot be made.
    pub(super) fn open(folder: &Path, output: &Path, original_bytes: u64) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder, e))?;
        let output_name = output.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { folder: folder.to_owned(), output_name, original_bytes })
    }

    /// Keeps a result that was just measured, where no other beats it, and takes away those that it beats.
    ///
    /// # Errors
    /// Fails where the folder cannot be written to.
    pub(super) fn show(&self, all: &[&Measurement], measured: &Measurement, attempt: &Attempt) -> Result<()> {
        let on_front = on_front(all);
        if on_front.iter().any(|one| one.pipeline == measured.pipeline) {
            let failed = |e| Error::io("write to the folder", &self.folder, e);
            self.hang(&attempt.files(), &self.folder.join(name(measured))).map_err(failed)?;
        }
        self.write(&self.pictures(&on_front), &on_front)
    }

    /// Copies the files of a result, to other names until all of them are there. What is there already is the same.
    fn hang(&self, files: &[&Path], place: &Path) -> io::Result<()> {
        match files {
            [file] => {
                let place = place.with_extension(ENDING);
                let copy = tempfile::NamedTempFile::new_in(&self.folder)?;
                fs::copy(file, copy.path())?;
                copy.persist(place).map(drop).map_err(|e| e.error)
            }
            [] => Ok(()),
            _ if place.exists() => Ok(()),
            _ => {
                let copies = place.with_extension("tmp");
                // Of a search that was killed.
                let _ = fs::remove_dir_all(&copies);
                fs::create_dir(&copies)?;
                for file in files {
                    fs::copy(file, copies.join(file.file_name().unwrap_or_default()))?;
                }
                fs::rename(copies, place)
            }
        }
    }

    /// Where the model of a result is, seen from the folder; `None` where it is not there.
    fn file(&self, measured: &Measurement) -> Option<String> {
        let name = name(measured);
        let alone = format!("{name}.{ENDING}");
        if self.folder.join(&alone).exists() {
            return Some(alone);
        }
        let within = format!("{name}/{}", self.output_name);
        self.folder.join(&within).exists().then_some(within)
    }

    /// Writes the index of the whole front, and says what it holds: the smallest first.
    ///
    /// # Errors
    /// Fails where the folder cannot be written to.
    pub(super) fn close(&self, all: &[&Measurement]) -> Result<Vec<Picture>> {
        let on_front = on_front(all);
        let pictures = self.pictures(&on_front);
        self.write(&pictures, &on_front)?;
        Ok(pictures)
    }

    fn pictures(&self, on_front: &[&Measurement]) -> Vec<Picture> {
        let picture = |measured: &&Measurement| Picture {
            file: self.file(measured),
            ratio: self.original_bytes as f64 / measured.bytes.unwrap_or(1).max(1) as f64,
            snr_db: measured.snr_db().filter(|snr| snr.is_finite()),
            top1: measured.top1(),
            accuracy: measured.accuracy(),
            measured: (*measured).clone(),
        };
        on_front.iter().map(picture).collect()
    }

    fn write(&self, pictures: &[Picture], on_front: &[&Measurement]) -> Result<()> {
        let failed = |e| Error::io("write to the folder", &self.folder, e);
        let index = Index { version: VERSION, original_bytes: self.original_bytes, front: pictures };
        let json = serde_json::to_vec_pretty(&index).map_err(|e| failed(e.into()))?;
        for (name, contents) in [(INDEX_JSON, json.as_slice()), (INDEX_TABLE, table(pictures).as_bytes())] {
            let staging = Staging::alone(&self.folder.join(name))?;
            staging.write_with(|out| out.write_all(contents).and_then(|()| out.write_all(b"\n")).map_err(failed))?;
            staging.commit()?;
        }
        // The index names no file that is gone: those go last.
        let names: BTreeSet<String> = on_front.iter().map(|measured| name(measured)).collect();
        for entry in fs::read_dir(&self.folder).map_err(failed)?.flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            let stem = file.strip_suffix(".onnx").unwrap_or(&file);
            if is_ours(stem) && !names.contains(stem) {
                let path = entry.path();
                let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Those that no other beats, the smallest first.
fn on_front<'a>(all: &[&'a Measurement]) -> Vec<&'a Measurement> {
    let mut on_front: Vec<&Measurement> =
        all.iter().zip(front(all)).filter(|(_, is_on)| *is_on).map(|(measured, _)| *measured).collect();
    on_front.sort_by_key(|measured| measured.bytes);
    on_front
}

/// A name that sorts by size, without an ending.
fn name(measured: &Measurement) -> String {
    let sha256 = measured.sha256.as_deref().unwrap_or_default();
    format!("{:012}-{}", measured.bytes.unwrap_or_default(), sha256.get(..12).unwrap_or(sha256))
}

/// Whether it is such a name.
fn is_ours(name: &str) -> bool {
    let Some((bytes, hash)) = name.split_once('-') else { return false };
    bytes.len() >= 12
        && bytes.chars().all(|c| c.is_ascii_digit())
        && hash.len() == 12
        && hash.chars().all(|c| c.is_ascii_hexdigit())
}

fn table(pictures: &[Picture]) -> String {
    let mut text =
        "| bytes | smaller | drift | top-1 | accuracy | time | pipeline | file |\n|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for one in pictures {
        let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), crate::report::words::percent);
        text += &format!(
            "| {} | {:.2} x | {} | {} | {} | {} | `{}` | {} |\n",
            one.measured.bytes.unwrap_or_default(),
            one.ratio,
            crate::report::words::decibels(one.snr_db),
            share(one.top1),
            share(one.accuracy),
            one.measured.speed.map_or_else(|| "-".to_owned(), |speed| format!("{:.2} x", speed.ratio)),
            one.measured.pipeline.replace('|', "%7C"),
            one.file.as_deref().unwrap_or("-"),
        );
    }
    text
}
