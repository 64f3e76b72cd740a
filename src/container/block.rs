//! A block: a few megabytes of a model file, coded by themselves, so that blocks can be coded side by side and memory
//! is bounded.
//!
//! Its bytes are sorted into streams: each large tensor is one, all small tensors of a kind are one, and the rest is
//! one. A block holds the streams' kinds, widths and lengths, then the pieces in the order of the file, each a stream
//! and a length, then the coded streams.

use rayon::prelude::*;

use super::plan::{Kind, Region};
use super::reader::{Reader, put};
use super::stream::{self, damaged};
use crate::error::Result;

/// Bytes of a file in one block.
pub(super) const BLOCK_BYTES: usize = 4 << 20;

/// Tensors of fewer bytes share a stream.
const SMALL_TENSOR_BYTES: usize = 2048;

/// Still shorter ones are not worth being told from what is around them.
const TINY_TENSOR_BYTES: usize = 32;

struct Stream {
    kind: Kind,
    width: usize,
    raw: Vec<u8>,
}

/// Codes the block that begins at `start` of the file.
pub(super) fn encode(file: &[u8], start: usize, regions: &[Region]) -> Result<Vec<u8>> {
    let end = (start + BLOCK_BYTES).min(file.len());
    let mut streams: Vec<Stream> = Kind::ALL.map(|kind| Stream { kind, width: 1, raw: Vec::new() }).into();
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    let mut at = start;
    let mut add = |streams: &mut Vec<Stream>, stream: usize, from: usize, to: usize| {
        let (Some(held), Some(bytes)) = (streams.get_mut(stream), file.get(from..to)) else { return };
        held.raw.extend(bytes);
        match pieces.last_mut() {
            Some((last, len)) if *last == stream => *len += bytes.len(),
            _ if bytes.is_empty() => {}
            _ => pieces.push((stream, bytes.len())),
        }
    };
    let first = regions.partition_point(|region| region.range.end <= start);
    for region in regions.iter().skip(first).take_while(|region| region.range.start < end) {
        let size = region.kind.size();
        // A tensor that begins in the block before goes on with a whole element.
        let into = start.saturating_sub(region.range.start).div_ceil(size) * size;
        let from = region.range.start + into;
        let to = from + region.range.end.min(end).saturating_sub(from) / size * size;
        if to.saturating_sub(from) < TINY_TENSOR_BYTES {
            continue;
        }
        add(&mut streams, 0, at, from);
        let stream = if to - from < SMALL_TENSOR_BYTES {
            Kind::ALL.iter().position(|kind| *kind == region.kind).unwrap_or(0)
        } else {
            streams.push(Stream { kind: region.kind, width: region.width, raw: Vec::new() });
            streams.len() - 1
        };
        add(&mut streams, stream, from, to);
        at = to;
    }
    add(&mut streams, 0, at, end);

    let coded: Vec<Vec<u8>> =
        streams.par_iter().map(|s| stream::encode(&s.raw, s.kind, s.width)).collect::<Result<_>>()?;
    let mut plan = Vec::new();
    put(&mut plan, streams.len());
    for stream in &streams {
        plan.push(Kind::ALL.iter().position(|kind| *kind == stream.kind).unwrap_or(0) as u8);
        put(&mut plan, stream.width);
        put(&mut plan, stream.raw.len());
    }
    put(&mut plan, pieces.len());
    for (stream, len) in pieces {
        put(&mut plan, stream);
        put(&mut plan, len);
    }
    let mut out = Vec::new();
    put(&mut out, plan.len());
    out.extend(stream::encode(&plan, Kind::Rest, 1)?);
    coded.iter().for_each(|coded| out.extend(coded));
    Ok(out)
}

/// Restores a block of `len` bytes, at most [`BLOCK_BYTES`].
///
/// # Errors
/// Fails where the block does not hold that.
pub(super) fn decode(packed: &[u8], len: usize) -> Result<Vec<u8>> {
    let mut from = Reader(packed);
    let plan_len = from.number()?;
    if len > BLOCK_BYTES || plan_len > 2 * BLOCK_BYTES {
        return Err(damaged("a block that is too large"));
    }
    let plan = stream::decode(&mut from, Kind::Rest, 1, plan_len)?;
    let mut plan = Reader(&plan);
    let mut streams = Vec::new();
    let mut total = 0usize;
    for index in 0..plan.number()? {
        let kind = Kind::ALL.get(usize::from(plan.byte()?)).copied().ok_or_else(|| damaged("an unknown kind"))?;
        let (width, raw_len) = (plan.number()?, plan.number()?);
        total = total.saturating_add(raw_len);
        // Each stream costs tables to begin with: so there are only as many as there is something in.
        if index >= Kind::ALL.len() && raw_len < SMALL_TENSOR_BYTES {
            return Err(damaged("a stream of its own for a small tensor"));
        }
        if total > len {
            return Err(damaged("streams longer than their block"));
        }
        streams.push(stream::decode(&mut from, kind, width.max(1), raw_len)?);
    }
    let mut readers: Vec<Reader<'_>> = streams.iter().map(|raw| Reader(raw)).collect();
    let mut out = Vec::with_capacity(len);
    for _ in 0..plan.number()? {
        let (stream, piece) = (plan.number()?, plan.number()?);
        let reader = readers.get_mut(stream).ok_or_else(|| damaged("a piece of no stream"))?;
        out.extend(reader.take(piece)?);
    }
    if out.len() != len || !from.0.is_empty() || !plan.0.is_empty() {
        return Err(damaged("a block of another length"));
    }
    Ok(out)
}
