//! NumPy's `.npz` archives: a zip file with one `.npy` file for each array.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::path::Path;

use bytes::Bytes;
use npyz::npz::{NpzArchive, file_name_from_array_name};
use npyz::zip::CompressionMethod;
use npyz::zip::read::ZipFile;

use super::npy;
use crate::error::{Error, Result};
use crate::ir::{Tensor, ValueType};
use crate::onnx::mmap;

/// Deflate cannot do better than this, so that a larger claim is known to be false before memory is spent on it.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// An archive whose arrays are read one by one.
pub(super) struct Archive {
    file: Bytes,
    archive: NpzArchive<Cursor<Bytes>>,
}

impl Archive {
    /// Opens an archive and reads its directory.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = mmap::map(path)?;
        let archive = NpzArchive::new(Cursor::new(file.clone())).map_err(|e| {
            Error::invalid_data(format!("`{}` is no readable .npz archive", path.display()))
                .expected("a zip file as numpy.savez writes it")
                .found(e.to_string())
                .with_source(e)
        })?;
        Ok(Self { file, archive })
    }

    /// The names of the arrays, sorted.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.archive.array_names().map(str::to_owned).collect()
    }

    /// Type and shape of an array, without reading its elements.
    pub(super) fn describe(&mut self, name: &str) -> Result<ValueType> {
        let entry = self.archive.zip_archive().by_name(&file_name_from_array_name(name));
        let entry = entry.map_err(|e| corrupt(name, &e.to_string()).with_source(e))?;
        let mut prefix = Vec::new();
        let read = entry.take(npy::MAX_PREFIX_BYTES).read_to_end(&mut prefix);
        read.map_err(|e| corrupt(name, &e.to_string()).with_source(e))?;
        npy::describe(name, &prefix)
    }

    /// Reads an array. One that is stored without compression shares the memory map.
    pub(super) fn read(&mut self, name: &str) -> Result<Tensor> {
        let entry = self.archive.zip_archive().by_name(&file_name_from_array_name(name));
        let entry = entry.map_err(|e| corrupt(name, &e.to_string()).with_source(e))?;
        let contents = match entry.compression() {
            CompressionMethod::Stored => stored(name, &entry, &self.file)?,
            CompressionMethod::Deflated => inflate(name, entry)?,
            other => {
                return Err(Error::unsupported(format!("array `{name}` is compressed in a way NumPy never uses"))
                    .expected("stored or deflated")
                    .found(other.to_string()));
            }
        };
        npy::parse(name, &contents)
    }
}

/// The bytes of an uncompressed entry, as a part of the archive.
fn stored(name: &str, entry: &ZipFile<'_>, file: &Bytes) -> Result<Bytes> {
    let range = || -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(entry.data_start()).ok()?;
        let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
        (end <= file.len()).then_some(start..end)
    };
    let contents = file.slice(range().ok_or_else(|| corrupt(name, "its data lies outside of the archive"))?);
    let mut checksum = flate2::Crc::new();
    checksum.update(&contents);
    if checksum.sum() != entry.crc32() {
        return Err(corrupt(name, "another checksum"));
    }
    Ok(contents)
}

/// The bytes of a deflated entry.
fn inflate(name: &str, mut entry: ZipFile<'_>) -> Result<Bytes> {
    let size = entry.size();
    if size / MAX_DEFLATE_RATIO > entry.compressed_size() {
        return Err(corrupt(name, &format!("{size} bytes in {} compressed ones", entry.compressed_size())));
    }
    let mut contents = Vec::new();
    usize::try_from(size).ok().and_then(|size| contents.try_reserve_exact(size).ok()).ok_or_else(|| {
        Error::invalid_data(format!("array `{name}` needs {size} bytes of memory, more than there is"))
    })?;
    // Reading to the end is what makes the reader compare the checksum.
    let read = entry.by_ref().take(size.saturating_add(1)).read_to_end(&mut contents);
    read.map_err(|e| corrupt(name, &e.to_string()).with_source(e))?;
    Ok(contents.into())
}

fn corrupt(name: &str, found: &str) -> Error {
    Error::invalid_data(format!("array `{name}` is truncated or corrupt")).found(found)
}
