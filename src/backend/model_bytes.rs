//! A model as it ships: its bytes and where its side files are.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::container;
use crate::error::Result;

/// The bytes of a model as it ships, and the folder its external data lies in.
#[derive(Clone)]
pub struct ModelBytes {
    bytes: Bytes,
    folder: Option<PathBuf>,
    path: Option<PathBuf>,
}

impl fmt::Debug for ModelBytes {
    /// Without the contents, which may be gigabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelBytes")
            .field("bytes", &self.bytes.len())
            .field("folder", &self.folder)
            .field("path", &self.path)
            .finish()
    }
}

impl ModelBytes {
    /// The model in the file at `path`, mapped into memory; a packed one is unpacked, and has no path then.
    ///
    /// # Errors
    /// Fails where the file cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let folder = match path.parent() {
            // A bare file name: its folder is the current one.
            Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
            Some(parent) => parent.to_path_buf(),
            None => PathBuf::from("."),
        };
        let (bytes, was_packed) = container::model_bytes(path)?;
        Ok(Self { bytes, folder: Some(folder), path: (!was_packed).then(|| path.to_path_buf()) })
    }

    /// A model in memory; `folder` is where its external data lies, if it has any.
    pub fn new(bytes: Bytes, folder: Option<PathBuf>) -> Self {
        Self { bytes, folder, path: None }
    }

    /// The encoded model.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The folder that locations of external data are relative to.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The file the bytes were read from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}
