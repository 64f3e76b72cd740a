//! Large arrays that stay in their file: each sample is mapped when it is asked for, and let go after use.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;
use crate::ir::{DType, Shape, Tensor, ValueType};
use crate::onnx::mmap;

/// Arrays of at least this many bytes stay in their file.
pub(super) const LARGE_BYTES: u64 = 16 << 20;

/// So much of a file is in memory at once where all of it is read.
const WINDOW_BYTES: u64 = 4 << 20;

/// An array, in memory or in a file.
#[derive(Debug)]
pub(super) enum Array {
    Memory(Tensor),
    Stored(StoredArray),
}

impl Array {
    /// The array in memory.
    ///
    /// # Errors
    /// Fails where it cannot be read.
    pub(super) fn into_tensor(self) -> Result<Tensor> {
        match self {
            Self::Memory(tensor) => Ok(tensor),
            Self::Stored(stored) => {
                let bytes = stored.place.map(0, stored.byte_len())?;
                Tensor::new(stored.dtype, stored.shape, bytes)
            }
        }
    }
}

/// An array of numbers in a file, little-endian, the last axis varying fastest.
#[derive(Debug)]
pub(super) struct StoredArray {
    pub(super) dtype: DType,
    pub(super) shape: Vec<u64>,
    pub(super) place: Place,
}

impl StoredArray {
    fn byte_len(&self) -> u64 {
        self.shape.iter().product::<u64>() * self.dtype.bits() / 8
    }

    /// Type and shape.
    pub(super) fn describe(&self) -> ValueType {
        ValueType::tensor(self.dtype, Some(Shape::fixed(self.shape.iter().copied())))
    }

    /// One entry of the leading axis.
    ///
    /// # Errors
    /// Fails where it cannot be read.
    pub(super) fn entry(&self, index: usize) -> Result<Tensor> {
        let each = self.byte_len() / self.shape[0];
        Tensor::new(self.dtype, &self.shape[1..], self.place.map(index as u64 * each, each)?)
    }
}

/// A part of a file, from an offset on.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) file: Arc<File>,
    /// For errors.
    pub(super) path: PathBuf,
    pub(super) offset: u64,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("path", &self.path).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Place {
    /// Maps bytes into memory, from `start` on after the offset.
    ///
    /// # Errors
    /// Fails where the operating system refuses.
    pub(super) fn map(&self, start: u64, len: u64) -> Result<Bytes> {
        mmap::map_range(&self.file, self.offset + start, len as usize, &self.path)
    }

    /// The place that many bytes further on.
    pub(super) fn after(&self, bytes: u64) -> Self {
        Self { offset: self.offset + bytes, ..self.clone() }
    }

    /// The checksum of so many bytes, of which few are in memory at once.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub(super) fn checksum(&self, len: u64) -> Result<u32> {
        let mut checksum = flate2::Crc::new();
        let mut start = 0;
        while start < len {
            let window = WINDOW_BYTES.min(len - start);
            checksum.update(&self.map(start, window)?);
            start += window;
        }
        Ok(checksum.sum())
    }
}
