//! Room for the weights that passes make, so that memory does not grow with the model.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::onnx::mmap;

/// What stays in memory before new contents go to disk.
const MEMORY_BYTES: u64 = 128 << 20;

/// Contents at least this large are worth a place on disk.
const WORTH_PARKING_BYTES: usize = 64 << 10;

/// Keeps new weights: the first of them in memory, those past a budget in a file without a name, mapped.
///
/// The file has no name from the start, so that nothing is left of it however the process ends.
#[derive(Debug, Default)]
pub struct Scratch {
    folder: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_memory: u64,
    file: Option<File>,
    written: u64,
}

impl Scratch {
    /// Keeps everything in memory.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Puts what does not fit the budget into a file in `folder`, made when it is first needed.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: Some(folder.to_path_buf()), ..Self::default() }
    }

    /// Keeps contents and gives them back as shared bytes.
    ///
    /// # Errors
    /// Fails where the file cannot be made or written: the disk is full.
    pub fn park(&self, contents: impl Into<Bytes>) -> Result<Bytes> {
        let contents = contents.into();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let len = contents.len() as u64;
        let fits = state.in_memory + len <= MEMORY_BYTES || contents.len() < WORTH_PARKING_BYTES;
        let Some(folder) = self.folder.as_deref().filter(|_| !fits) else {
            state.in_memory += len;
            return Ok(contents);
        };
        let fail = |source| Error::io("write temporary weights in", folder, source);
        let offset = state.written;
        let file = match &mut state.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(folder).map_err(fail)?),
        };
        file.write_all(&contents).map_err(fail)?;
        let mapped = mmap::map_range(file, offset, contents.len(), folder)?;
        state.written += len;
        Ok(mapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_back_what_it_was_given_from_memory_and_from_disk() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::in_folder(folder.path());
        // After the first there is no room for either of the others.
        let size = MEMORY_BYTES as usize - WORTH_PARKING_BYTES;
        let first = scratch.park(vec![1; size]).unwrap();
        let second = scratch.park(vec![2; size]).unwrap();
        let third = scratch.park(vec![3; WORTH_PARKING_BYTES + 7]).unwrap();
        assert!(first.iter().all(|&b| b == 1) && second.iter().all(|&b| b == 2) && third.iter().all(|&b| b == 3));
        assert_eq!((second.len(), third.len()), (size, WORTH_PARKING_BYTES + 7));
        assert_eq!(scratch.state.lock().unwrap().written, (size + WORTH_PARKING_BYTES + 7) as u64);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the file has a name");
    }

    #[test]
    fn small_contents_stay_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = Scratch::in_folder(folder.path());
        scratch.park(vec![0; MEMORY_BYTES as usize]).unwrap();
        scratch.park(vec![0; 100]).unwrap();
        assert!(scratch.state.lock().unwrap().file.is_none());
    }
}
