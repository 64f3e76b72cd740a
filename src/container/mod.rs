//! `.onnxz`: a model file packed without loss, for shipping and storing.
//!
//! ```text
//! magic, version | block, block, ... | 0, length of the model, checksum of the model
//! block: length of the model's bytes, length of the coded bytes, CRC-32 of the model's bytes, coded bytes
//! ```
//! The bytes of tensors are coded by what they are: bytes by an adaptive model of rows and columns, floats plane by
//! plane, floats with many zeros as a mask and the others, and the rest by zstd. Blocks stand for themselves: they are
//! coded in parallel, and memory stays bounded whatever a header claims. Numbers are seven bits a byte, the lowest
//! first; checksums are little-endian. The result does not hang on the number of threads.

mod block;
mod coder;
mod modelled;
mod plan;
mod reader;
mod stream;

use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytes::Bytes;
use rayon::prelude::*;

use crate::error::{Error, ErrorKind, Result};
use crate::onnx::{self, mmap};
use crate::output::{Durable, Staging};
use block::BLOCK_BYTES;
use reader::{Reader, put};
use stream::damaged;

/// The first bytes of a packed model. The line ends tell a file that went through a text mode.
const MAGIC: &[u8; 7] = b"ONNXZ\r\n";

/// The version of the format that is written, and the only one that is read.
const VERSION: u8 = 1;

/// What packing or unpacking did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the model.
    pub model_bytes: u64,
    /// Bytes of the packed model.
    pub packed_bytes: u64,
}

/// Whether these are the bytes of a packed model.
pub fn is_packed(file: &[u8]) -> bool {
    file.starts_with(MAGIC)
}

/// Packs a model file; the output appears whole or not at all.
///
/// # Errors
/// Fails where the input is no ONNX model or keeps weights in a side file, and where the output cannot be written.
pub fn pack_file(input: &Path, output: &Path) -> Result<Sizes> {
    let file = mmap::map(input)?;
    if is_packed(&file) {
        return Err(Error::usage(format!("`{}` is packed already", input.display())));
    }
    in_place(output, &file, |out| pack(&file, out).map_err(|e| e.in_file(input)))
        .map(|packed_bytes| Sizes { model_bytes: file.len() as u64, packed_bytes })
}

/// Restores the model file that was packed, byte for byte; the output appears whole or not at all.
///
/// # Errors
/// Fails where the input is no packed model or is damaged, and where the output cannot be written.
pub fn unpack_file(input: &Path, output: &Path) -> Result<Sizes> {
    let file = mmap::map(input)?;
    in_place(output, &file, |out| unpack(&file, out).map_err(|e| e.in_file(input)))
        .map(|model_bytes| Sizes { model_bytes, packed_bytes: file.len() as u64 })
}

/// The bytes of a model file, unpacked where it is packed, and whether it was. What is unpacked lies in a temporary
/// file without a name, not in memory.
///
/// # Errors
/// As [`unpack_file`].
pub(crate) fn model_bytes(path: &Path) -> Result<(Bytes, bool)> {
    let file = mmap::map(path)?;
    if !is_packed(&file) {
        return Ok((file, false));
    }
    let temporary =
        tempfile::tempfile().map_err(|e| Error::new(ErrorKind::Io, "cannot make a temporary file").with_source(e))?;
    let mut out = BufWriter::new(temporary);
    unpack(&file, &mut out).map_err(|e| e.in_file(path))?;
    let temporary = out.into_inner().map_err(|e| Error::io("unpack", path, e.into_error()))?;
    Ok((mmap::map_file(&temporary, path)?, true))
}

/// Packs the bytes of a model.
///
/// # Errors
/// As [`pack_file`].
pub fn pack(file: &Bytes, out: &mut impl Write) -> Result<()> {
    let regions = plan::plan(file)?;
    onnx::decode(file.clone(), None)?;
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|e| unwritten(&e));
    write(MAGIC)?;
    write(&[VERSION])?;
    let mut whole = crc32fast::Hasher::new();
    let starts: Vec<usize> = (0..file.len()).step_by(BLOCK_BYTES).collect();
    for batch in starts.chunks(rayon::current_num_threads().max(1)) {
        let coded: Vec<Vec<u8>> =
            batch.par_iter().map(|start| block::encode(file, *start, &regions)).collect::<Result<_>>()?;
        for (start, coded) in batch.iter().zip(coded) {
            let raw = file.get(*start..(*start + BLOCK_BYTES).min(file.len())).unwrap_or_default();
            let sum = hash(raw);
            whole.combine(&sum);
            let mut head = Vec::new();
            put(&mut head, raw.len());
            put(&mut head, coded.len());
            head.extend(sum.finalize().to_le_bytes());
            write(&head)?;
            write(&coded)?;
        }
    }
    let mut tail = Vec::new();
    put(&mut tail, 0);
    put(&mut tail, file.len());
    tail.extend(whole.finalize().to_le_bytes());
    write(&tail)
}

/// Restores the bytes of a model.
///
/// # Errors
/// As [`unpack_file`]; what was written by then is to be thrown away.
pub fn unpack(packed: &[u8], out: &mut impl Write) -> Result<()> {
    let mut from = Reader(packed);
    if from.take(MAGIC.len()).ok() != Some(MAGIC) {
        return Err(
            Error::invalid_model("the file is not a packed model").expected("a file that `onnx-shrink pack` wrote")
        );
    }
    let version = from.byte()?;
    if version != VERSION {
        return Err(Error::unsupported("the packed model has another version")
            .expected(format!("version {VERSION}"))
            .found(format!("version {version}"))
            .help("use the onnx-shrink that packed it, or a newer one"));
    }
    let mut whole = crc32fast::Hasher::new();
    let mut written = 0usize;
    let mut ended = false;
    while !ended {
        let mut batch = Vec::new();
        while batch.len() < rayon::current_num_threads().max(1) {
            let len = from.number()?;
            if len == 0 {
                ended = true;
                break;
            }
            let coded_len = from.number()?;
            let sum = from.checksum()?;
            batch.push((len, sum, from.take(coded_len)?));
        }
        let blocks: Vec<(Vec<u8>, crc32fast::Hasher)> = batch
            .par_iter()
            .map(|(len, sum, coded)| {
                let raw = block::decode(coded, *len)?;
                let found = hash(&raw);
                if found.clone().finalize() == *sum { Ok((raw, found)) } else { Err(damaged("a wrong checksum")) }
            })
            .collect::<Result<_>>()?;
        for (raw, sum) in blocks {
            whole.combine(&sum);
            written = written.saturating_add(raw.len());
            out.write_all(&raw).map_err(|e| unwritten(&e))?;
        }
    }
    if from.number()? != written || from.checksum()? != whole.finalize() {
        return Err(damaged("a wrong checksum of the whole"));
    }
    if from.0.is_empty() { Ok(()) } else { Err(damaged("bytes after its end")) }
}

fn hash(bytes: &[u8]) -> crc32fast::Hasher {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes);
    hasher
}

fn unwritten(error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write the output: {error}")).help("nothing was changed")
}

/// Writes a file beside its destination and moves it there; returns its length. `_input` stays mapped meanwhile.
fn in_place(
    output: &Path,
    _input: &Bytes,
    contents: impl FnOnce(&mut BufWriter<Durable>) -> Result<()>,
) -> Result<u64> {
    let staging = Staging::alone(output)?;
    let len = staging.write_with(contents)?;
    staging.commit()?;
    Ok(len)
}
