//! Samples from a folder: of arrays, of ONNX test data sets, or one such set.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::arrays::ArraySamples;
use super::{Samples, check_index, plural};
use crate::backend::NamedTensors;
use crate::error::{Error, Result};
use crate::ir::Signature;

/// The samples of several files. Every file is checked when the folder is opened, but only those in use are held.
#[derive(Debug)]
pub(super) struct FolderSamples {
    path: PathBuf,
    signature: Signature,
    members: Vec<PathBuf>,
    /// For each sample, the member it is in and its index there.
    places: Vec<(usize, usize)>,
    labels: Vec<Option<Vec<i64>>>,
    remarks: Vec<String>,
    /// The members read last: threads walk through the samples in order, so each is read once or little more.
    recent: Mutex<VecDeque<(usize, Arc<ArraySamples>)>>,
    capacity: usize,
}

impl FolderSamples {
    /// Opens a folder with these [`members`].
    ///
    /// # Errors
    /// Fails where one of them cannot be read or does not fit the inputs.
    pub(super) fn open(path: &Path, members: Vec<PathBuf>, signature: &Signature) -> Result<Self> {
        let (mut places, mut labels, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
        for (member, file) in members.iter().enumerate() {
            let samples = ArraySamples::load(file, signature)?;
            for index in 0..samples.len() {
                places.push((member, index));
                labels.push(samples.label(index));
            }
            for remark in samples.remarks() {
                if !remarks.iter().any(|known| known == remark) {
                    remarks.push(remark.to_owned());
                }
            }
        }
        Ok(Self {
            path: path.to_owned(),
            signature: signature.clone(),
            members,
            places,
            labels,
            remarks,
            recent: Mutex::default(),
            capacity: rayon::current_num_threads() + 1,
        })
    }

    fn member(&self, member: usize) -> Result<Arc<ArraySamples>> {
        // A panic elsewhere cannot have left the queue in a bad state: it is only pushed and popped.
        let known = |recent: &VecDeque<(usize, Arc<ArraySamples>)>| {
            recent.iter().find(|(index, _)| *index == member).map(|(_, samples)| Arc::clone(samples))
        };
        if let Some(samples) = known(&self.recent.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(samples);
        }
        // Reading happens outside of the lock; that two threads may both read a file is the lesser evil.
        let samples = Arc::new(ArraySamples::load(&self.members[member], &self.signature)?);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(samples) = known(&recent) {
            return Ok(samples);
        }
        if recent.len() >= self.capacity {
            recent.pop_front();
        }
        recent.push_back((member, Arc::clone(&samples)));
        Ok(samples)
    }
}

impl Samples for FolderSamples {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        check_index(index, self.places.len())?;
        let (member, index) = self.places[index];
        self.member(member)?.get(index)
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        self.labels.get(index).cloned().flatten()
    }

    fn describe(&self) -> String {
        let mut text = format!("{} of `{}`", plural(self.places.len(), "sample"), self.path.display());
        for remark in &self.remarks {
            text.push_str(", ");
            text.push_str(remark);
        }
        text
    }
}

/// The arrays of a folder, or its ONNX test data, in order; `None` where there is neither.
///
/// # Errors
/// Fails where there are both, or the folder cannot be read.
pub(super) fn members(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let read_error = |e| Error::io("read the folder", path, e);
    let (mut sets, mut arrays) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(path).map_err(read_error)? {
        let file = entry.map_err(read_error)?.path();
        let Some(name) = file.file_name().and_then(|name| name.to_str()) else { continue };
        if let Some(number) = name.strip_prefix("test_data_set_")
            && file.is_dir()
        {
            // By number, so that set 10 comes after set 9.
            sets.push((number.parse::<u64>().unwrap_or(u64::MAX), file));
        } else if name.ends_with(".npz") || name.ends_with(".npy") {
            arrays.push(file);
        }
    }
    sets.sort();
    arrays.sort();
    if path.join("input_0.pb").is_file() {
        return Ok(Some(vec![path.to_owned()]));
    }
    match (sets.is_empty(), arrays.is_empty()) {
        (false, true) => Ok(Some(sets.into_iter().map(|(_, file)| file).collect())),
        (true, false) => Ok(Some(arrays)),
        (true, true) => Ok(None),
        (false, false) => Err(Error::invalid_data(format!("folder `{}` mixes two kinds of data", path.display()))
            .expected("either .npz and .npy files or test_data_set_* folders")
            .found("both")
            .help("name one file or one of the folders")),
    }
}
