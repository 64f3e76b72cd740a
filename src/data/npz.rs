//! NumPy's `.npz` archives: a zip file with one `.npy` file for each array.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use npyz::npz::{NpzArchive, file_name_from_array_name};
use npyz::zip::CompressionMethod;
use npyz::zip::read::ZipFile;

use super::npy;
use super::stored::{Array, LARGE_BYTES, Place, StoredArray};
use crate::error::{Error, Result};
use crate::ir::{DType, ValueType};
use crate::onnx::mmap;

/// Deflate cannot do better than this, so that a larger claim is known to be false before memory is spent on it.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// An archive whose arrays are read one by one.
pub(super) struct Archive {
    path: PathBuf,
    handle: Arc<File>,
    file: Bytes,
    archive: NpzArchive<Cursor<Bytes>>,
}

impl Archive {
    /// Opens an archive and reads its directory.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let handle = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let file = mmap::map_file(&handle, path)?;
        let archive = NpzArchive::new(Cursor::new(file.clone())).map_err(|e| {
            Error::invalid_data(format!("`{}` is no readable .npz archive", path.display()))
                .expected("a zip file as numpy.savez writes it")
                .found(e.to_string())
                .with_source(e)
        })?;
        Ok(Self { path: path.to_owned(), handle: Arc::new(handle), file, archive })
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

    /// Reads an array. One that is stored without compression shares the memory map; a large one stays in the file, or
    /// in a temporary one where it is compressed.
    pub(super) fn read(&mut self, name: &str) -> Result<Array> {
        let ty = self.describe(name)?;
        let entry = self.archive.zip_archive().by_name(&file_name_from_array_name(name));
        let mut entry = entry.map_err(|e| corrupt(name, &e.to_string()).with_source(e))?;
        let compression = entry.compression();
        if !matches!(compression, CompressionMethod::Stored | CompressionMethod::Deflated) {
            return Err(Error::unsupported(format!("array `{name}` is compressed in a way NumPy never uses"))
                .expected("stored or deflated")
                .found(compression.to_string()));
        }
        if entry.size() >= LARGE_BYTES && ty.dtype().is_some_and(|dtype| dtype != DType::String) {
            let place = match compression {
                CompressionMethod::Stored => {
                    let start = stored_range(name, &entry, &self.file)?.start as u64;
                    let place = Place { file: self.handle.clone(), path: self.path.clone(), offset: start };
                    if place.checksum(entry.size())? != entry.crc32() {
                        return Err(corrupt(name, "another checksum"));
                    }
                    place
                }
                _ => unfold(name, &mut entry)?,
            };
            return large(name, place, entry.size());
        }
        let contents = match compression {
            CompressionMethod::Stored => stored(name, &entry, &self.file)?,
            _ => inflate(name, entry)?,
        };
        npy::parse(name, &contents).map(Array::Memory)
    }
}

/// An array in a file, in memory only if it lies there in another order than tensors do.
fn large(name: &str, place: Place, len: u64) -> Result<Array> {
    let prefix = place.map(0, len.min(npy::MAX_PREFIX_BYTES))?;
    match npy::plain(name, &prefix, len)? {
        Some((dtype, shape, start)) => Ok(Array::Stored(StoredArray { dtype, shape, place: place.after(start) })),
        None => npy::parse(name, &place.map(0, len)?).map(Array::Memory),
    }
}

/// Reads the array of an `.npy` file, which stays there if it is large.
pub(super) fn read_single(name: &str, path: &Path) -> Result<Array> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    let len = file.metadata().map_err(|e| Error::io("read", path, e))?;
    if !len.is_file() || len.len() < LARGE_BYTES {
        return npy::parse(name, &mmap::map_file(&file, path)?).map(Array::Memory);
    }
    large(name, Place { file: Arc::new(file), path: path.to_owned(), offset: 0 }, len.len())
}

/// Puts what a large entry unfolds to into a temporary file, which is gone when it is closed.
fn unfold(name: &str, entry: &mut ZipFile<'_>) -> Result<Place> {
    check_ratio(name, entry)?;
    let folder = std::env::temp_dir();
    let fail = |e: io::Error| Error::io("write a temporary file in", &folder, e);
    let mut file = tempfile::tempfile().map_err(fail)?;
    let size = entry.size();
    let written = io::copy(&mut entry.by_ref().take(size.saturating_add(1)), &mut file)
        .map_err(|e| corrupt(name, &e.to_string()).with_source(e))?;
    if written != size {
        return Err(corrupt(name, &format!("{written} bytes of {size}")));
    }
    Ok(Place { file: Arc::new(file), path: folder, offset: 0 })
}

/// The bytes of an uncompressed entry, as a part of the archive.
fn stored(name: &str, entry: &ZipFile<'_>, file: &Bytes) -> Result<Bytes> {
    let contents = file.slice(stored_range(name, entry, file)?);
    let mut checksum = flate2::Crc::new();
    checksum.update(&contents);
    if checksum.sum() != entry.crc32() {
        return Err(corrupt(name, "another checksum"));
    }
    Ok(contents)
}

/// Where an uncompressed entry lies in the archive.
fn stored_range(name: &str, entry: &ZipFile<'_>, file: &Bytes) -> Result<std::ops::Range<usize>> {
    let range = || -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(entry.data_start()).ok()?;
        let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
        (end <= file.len()).then_some(start..end)
    };
    range().ok_or_else(|| corrupt(name, "its data lies outside of the archive"))
}

/// Refuses an entry that claims to unfold to more than it can.
fn check_ratio(name: &str, entry: &ZipFile<'_>) -> Result<()> {
    let size = entry.size();
    if size / MAX_DEFLATE_RATIO > entry.compressed_size() {
        return Err(corrupt(name, &format!("{size} bytes in {} compressed ones", entry.compressed_size())));
    }
    Ok(())
}

/// The bytes of a deflated entry.
fn inflate(name: &str, mut entry: ZipFile<'_>) -> Result<Bytes> {
    let size = entry.size();
    check_ratio(name, &entry)?;
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
