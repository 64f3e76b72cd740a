//! Weights in side files: reading them without leaving the model's folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::mmap;
use super::proto::{TensorProto, tensor_proto::DataLocation};
use crate::error::{Error, Result, Site};

/// The side files of one model, each mapped once.
#[derive(Debug)]
pub(crate) struct ExternalFiles {
    folder: Option<PathBuf>,
    maps: BTreeMap<String, Bytes>,
}

impl ExternalFiles {
    /// Side files are looked up in `folder`; without one, external data is an error.
    pub(crate) fn new(folder: Option<&Path>) -> Self {
        Self { folder: folder.map(Path::to_path_buf), maps: BTreeMap::new() }
    }

    /// The contents of an external tensor; `None` where the message holds them itself.
    ///
    /// # Errors
    /// Fails where the location leaves the model's folder, or the file is missing or too short.
    pub(crate) fn contents(&mut self, tensor: &TensorProto) -> Result<Option<Bytes>> {
        if tensor.data_location != Some(DataLocation::External as i32) {
            return Ok(None);
        }
        let location = entry(tensor, "location")
            .ok_or_else(|| Error::invalid_model("external tensor data without a location"))
            .map_err(|e| e.at(Site::tensor(tensor.name())))?
            .to_owned();
        self.slice(tensor, &location).map(Some).map_err(|e| e.or_at(|| Site::tensor(tensor.name())))
    }

    fn slice(&mut self, tensor: &TensorProto, location: &str) -> Result<Bytes> {
        let file = self.file(location)?;
        let size = file.len() as u64;
        let number = |key: &str| -> Result<Option<u64>> {
            entry(tensor, key)
                .map(|text| {
                    text.parse().map_err(|_| {
                        Error::invalid_model(format!("external data {key} `{text}` is not a number of bytes"))
                    })
                })
                .transpose()
        };
        let offset = number("offset")?.unwrap_or(0);
        let length = match number("length")? {
            Some(length) => length,
            None => expected_len(tensor).unwrap_or_else(|| size.saturating_sub(offset)),
        };
        match offset.checked_add(length) {
            Some(end) if end <= size => Ok(file.slice(offset as usize..end as usize)),
            _ => Err(Error::invalid_model(format!("external data lies outside of `{location}`"))
                .expected(format!("{length} bytes at offset {offset}"))
                .found(format!("a file of {size} bytes"))
                .help("the side file is cut off or belongs to another model: copy it again")),
        }
    }

    /// A side file, whole.
    ///
    /// # Errors
    /// As [`contents`](Self::contents).
    pub(crate) fn file(&mut self, location: &str) -> Result<Bytes> {
        if let Some(map) = self.maps.get(location) {
            return Ok(map.clone());
        }
        let folder = self.folder.as_deref().ok_or_else(|| {
            Error::invalid_model("the model keeps weights in a side file, but was not read from a folder")
        })?;
        let (file, path) = open_inside(folder, location)?;
        let map = mmap::map_file(&file, &path)?;
        self.maps.insert(location.to_owned(), map.clone());
        Ok(map)
    }
}

/// An entry of a tensor's `external_data`.
pub(crate) fn entry<'a>(tensor: &'a TensorProto, key: &str) -> Option<&'a str> {
    tensor.external_data.iter().find(|e| e.key() == key).map(|e| e.value())
}

fn expected_len(tensor: &TensorProto) -> Option<u64> {
    let dtype = crate::ir::DType::from_onnx(tensor.data_type())?;
    let count = tensor.dims.iter().try_fold(1u64, |n, &d| n.checked_mul(u64::try_from(d).ok()?))?;
    dtype.byte_len(count)
}

fn refused(location: &str, why: &str) -> Error {
    Error::invalid_model(format!("external data at `{location}` is refused: {why}"))
        .expected("a plain file in the model's folder or below it")
        .help("a model from elsewhere could read any file that way; if you trust it, put a copy of the file beside it")
}

/// Opens a side file; refuses whatever leads out of the model's folder.
fn open_inside(folder: &Path, location: &str) -> Result<(File, PathBuf)> {
    let relative = Path::new(location);
    // Windows paths and drive letters too: the file may have been made to attack another system than this one.
    if relative.is_absolute() || location.starts_with(['/', '\\']) || location.contains(':') {
        return Err(refused(location, "it is an absolute path"));
    }
    if relative.components().any(|c| matches!(c, Component::ParentDir)) || location.split('\\').any(|c| c == "..") {
        return Err(refused(location, "`..` leaves the folder"));
    }
    if location.is_empty() || location.contains('\0') {
        return Err(refused(location, "it names no file"));
    }
    let path = folder.join(relative);
    let resolve = |path: &Path| path.canonicalize().map_err(|e| Error::io("find external data", path, e));
    let (inside, resolved) = (resolve(folder)?, resolve(&path)?);
    if !resolved.starts_with(&inside) {
        return Err(refused(location, "a symbolic link leads out of the folder"));
    }
    let file = File::open(&resolved).map_err(|e| Error::io("open", &path, e))?;
    let metadata = file.metadata().map_err(|e| Error::io("read", &path, e))?;
    if !metadata.is_file() {
        return Err(refused(location, "it is not a plain file"));
    }
    if has_other_names(&metadata) {
        return Err(refused(location, "the file has another name elsewhere (a hard link)"));
    }
    Ok((file, path))
}

#[cfg(unix)]
fn has_other_names(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &std::fs::Metadata) -> bool {
    false
}
