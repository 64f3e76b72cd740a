//! Coding one run of bytes of one kind: a byte that names the coding, a length, the coded bytes.

use super::coder::{Decoder, Encoder};
use super::modelled;
use super::plan::Kind;
use super::reader::{Reader, put};
use crate::error::{Error, ErrorKind, Result};

/// Up to this many bytes, everything is tried.
const SMALL_BYTES: usize = 1 << 16;

/// Floats of which at least one in this many is zero are coded as a mask and the others.
const SPARSE_ONE_IN: usize = 16;

/// The zstd level for large planes. Level 3 finds short matches in exponents that cost more than
/// they save: a tenth more than level 1.
const PLANE_LEVEL: i32 = 1;

const STORED: u8 = 0;
const ZSTD: u8 = 1;
const MODELLED: u8 = 2;
const PLANES: u8 = 3;
const SPARSE: u8 = 4;

/// Codes `raw` in the smallest way that is known for its kind.
pub(super) fn encode(raw: &[u8], kind: Kind, width: usize) -> Result<Vec<u8>> {
    let elements = raw.len() / kind.size();
    match kind {
        Kind::Rest => bytes(raw, 19, None),
        Kind::Signed => bytes(raw, 3, Some((width, 0))),
        Kind::Unsigned => bytes(raw, 3, Some((width, 128))),
        Kind::Half | Kind::Single => {
            let zeros = raw.chunks_exact(kind.size()).filter(|element| is_zero(element)).count();
            let coded = if elements > 0 && zeros * SPARSE_ONE_IN >= elements {
                sparse(raw, kind, width)?
            } else {
                planes(raw, kind, width)?
            };
            if raw.len() > SMALL_BYTES {
                // What repeats does so in the planes as well, and another coding takes as long as the first.
                return Ok(coded);
            }
            let plain = bytes(raw, 19, None)?;
            Ok(if plain.len() < coded.len() { plain } else { coded })
        }
    }
}

/// Restores `len` bytes that [`encode`] coded as of that kind.
///
/// # Errors
/// Fails where the coded bytes do not hold that.
pub(super) fn decode(from: &mut Reader<'_>, kind: Kind, width: usize, len: usize) -> Result<Vec<u8>> {
    let coding = from.byte()?;
    let size = kind.size();
    match coding {
        PLANES if size > 1 && len.is_multiple_of(size) => {
            let parts =
                (0..size).map(|_| decode(from, Kind::Rest, width, len / size)).collect::<Result<Vec<Vec<u8>>>>()?;
            Ok(join(&parts, len, size))
        }
        SPARSE if size > 1 && len.is_multiple_of(size) => {
            let coded = from.sized()?;
            let mut mask = vec![false; len / size];
            modelled::mask(&mut Decoder::new(coded), &mut mask, width);
            let kept = mask.iter().filter(|kept| **kept).count();
            // One level down, so that what is nested is bounded.
            let parts = (0..size).map(|_| decode(from, Kind::Rest, 1, kept)).collect::<Result<Vec<Vec<u8>>>>()?;
            let values = join(&parts, kept * size, size);
            let mut raw = vec![0; len];
            let places = raw.chunks_exact_mut(size).zip(&mask).filter(|(_, kept)| **kept);
            for ((place, _), value) in places.zip(values.chunks_exact(size)) {
                place.copy_from_slice(value);
            }
            Ok(raw)
        }
        STORED => {
            let raw = from.sized()?;
            if raw.len() == len { Ok(raw.to_vec()) } else { Err(damaged("a run of another length")) }
        }
        ZSTD => {
            let raw = zstd::bulk::decompress(from.sized()?, len).map_err(|_| damaged("bytes that zstd cannot read"))?;
            if raw.len() == len { Ok(raw) } else { Err(damaged("a run of another length")) }
        }
        MODELLED => {
            let centre = if kind == Kind::Unsigned { 128 } else { 0 };
            let mut raw = vec![0; len];
            modelled::bytes(&mut Decoder::new(from.sized()?), &mut raw, width, centre);
            Ok(raw)
        }
        _ => Err(damaged("a coding that does not exist")),
    }
}

/// An error about a file whose contents contradict themselves.
pub(super) fn damaged(found: &str) -> Error {
    Error::invalid_model("the packed model is damaged")
        .expected("what `onnx-shrink pack` wrote")
        .found(found)
        .help("copy the file again, or pack the model again")
}

fn is_zero(element: &[u8]) -> bool {
    element.iter().all(|byte| *byte == 0)
}

/// Plain, by zstd, or by the model of rows of a width around a centre: the smallest of what is tried.
fn bytes(raw: &[u8], level: i32, model: Option<(usize, u8)>) -> Result<Vec<u8>> {
    let packed = zstd::bulk::compress(raw, level)
        .map_err(|e| Error::new(ErrorKind::Io, "zstd failed to compress").with_source(e))?;
    let mut best = (STORED, raw.to_vec());
    if packed.len() < best.1.len() {
        best = (ZSTD, packed);
    }
    if let Some((width, centre)) = model {
        let mut encoder = Encoder::new();
        modelled::bytes(&mut encoder, &mut raw.to_vec(), width, centre);
        let coded = encoder.finish();
        if coded.len() < best.1.len() {
            best = (MODELLED, coded);
        }
    }
    let mut out = vec![best.0];
    put(&mut out, best.1.len());
    out.extend(best.1);
    Ok(out)
}

/// One run for each byte of an element. The sign goes to the low end, so that the exponent is whole in its byte.
fn planes(raw: &[u8], kind: Kind, width: usize) -> Result<Vec<u8>> {
    let mut out = vec![PLANES];
    put_planes(&mut out, raw, kind, width)?;
    Ok(out)
}

fn sparse(raw: &[u8], kind: Kind, width: usize) -> Result<Vec<u8>> {
    let size = kind.size();
    let mut mask: Vec<bool> = raw.chunks_exact(size).map(|element| !is_zero(element)).collect();
    let mut encoder = Encoder::new();
    modelled::mask(&mut encoder, &mut mask, width);
    let coded = encoder.finish();
    let mut out = vec![SPARSE];
    put(&mut out, coded.len());
    out.extend(coded);
    let values: Vec<u8> = raw.chunks_exact(size).filter(|element| !is_zero(element)).flatten().copied().collect();
    put_planes(&mut out, &values, kind, 1)?;
    Ok(out)
}

fn put_planes(out: &mut Vec<u8>, raw: &[u8], kind: Kind, width: usize) -> Result<()> {
    for plane in split(raw, kind.size()) {
        let small = plane.len() <= SMALL_BYTES;
        out.extend(bytes(&plane, if small { 19 } else { PLANE_LEVEL }, small.then_some((width, 0)))?);
    }
    Ok(())
}

/// The planes of elements of two or four bytes, the lowest first.
fn split(raw: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = raw.len() / size;
    let mut planes = vec![Vec::with_capacity(count); size];
    for element in raw.chunks_exact(size) {
        let turned = match *element {
            [a, b] => u32::from(u16::from_le_bytes([a, b]).rotate_left(1)),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).rotate_left(1),
            _ => 0,
        };
        for (plane, byte) in planes.iter_mut().zip(turned.to_le_bytes()) {
            plane.push(byte);
        }
    }
    planes
}

/// The inverse of [`split`].
fn join(planes: &[Vec<u8>], len: usize, size: usize) -> Vec<u8> {
    let mut raw = Vec::with_capacity(len);
    for at in 0..len / size {
        let byte = |plane: usize| planes.get(plane).and_then(|plane| plane.get(at)).copied().unwrap_or(0);
        if size == 2 {
            raw.extend(u16::from_le_bytes([byte(0), byte(1)]).rotate_right(1).to_le_bytes());
        } else {
            raw.extend(u32::from_le_bytes([byte(0), byte(1), byte(2), byte(3)]).rotate_right(1).to_le_bytes());
        }
    }
    raw
}
