//! The model a command works on: decoded, with the bytes and the files it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::backend::ModelBytes;
use crate::census::each_constant;
use crate::digest::hex;
use crate::error::{Error, Result};
use crate::ir::Model;
use crate::onnx;
use crate::onnx::external;
use crate::onnx::proto::tensor_proto::DataLocation;

/// A model that was read from a file.
#[derive(Debug, Clone)]
pub struct Input {
    /// The path as the user gave it.
    pub path: PathBuf,
    /// The bytes of the file, shared with the tensors of the model.
    pub file: ModelBytes,
    /// The model.
    pub model: Model,
    /// The side files the model reads, with their sizes in bytes.
    pub side_files: BTreeMap<PathBuf, u64>,
}

impl Input {
    /// Reads a model. The file is mapped once, for decoding and for the backends.
    ///
    /// # Errors
    /// As [`onnx::read`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = ModelBytes::open(path)?;
        let model = onnx::decode(file.bytes().clone(), file.folder()).map_err(|e| e.in_file(path))?;
        let side_files = side_files(&model, file.folder().unwrap_or(Path::new(".")));
        Ok(Self { path: path.to_owned(), file, model, side_files })
    }

    /// Bytes of the model file.
    pub fn bytes(&self) -> u64 {
        self.file.bytes().len() as u64
    }

    /// Bytes of the side files.
    pub fn side_bytes(&self) -> u64 {
        self.side_files.values().sum()
    }
}

/// The SHA-256 of a model file, unpacked, and then of its side files in the order of their names, in hexadecimal digits.
///
/// # Errors
/// Fails where a side file cannot be read.
pub(crate) fn sha256<'a>(file: &ModelBytes, side_files: impl IntoIterator<Item = &'a PathBuf>) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(file.bytes());
    for path in side_files {
        let mut file = std::fs::File::open(path).map_err(|e| Error::io("read", path, e))?;
        std::io::copy(&mut file, &mut hash).map_err(|e| Error::io("read", path, e))?;
    }
    Ok(hex(hash))
}

fn side_files(model: &Model, folder: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    each_constant(model, |tensor| {
        let source = tensor.source().filter(|s| s.data_location == Some(DataLocation::External as i32));
        if let Some(location) = source.and_then(|source| external::entry(source, "location")) {
            let path = folder.join(location);
            found.entry(path).or_insert_with_key(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()));
        }
    });
    found
}
