//! Output assembled from pieces, so that weights are written from where they lie instead of being copied.

use std::io::{self, Write};

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

/// Fields of at least this many bytes become pieces of their own; smaller ones are cheaper to copy.
const SHARED_FROM_BYTES: usize = 1024;

#[derive(Debug)]
enum Piece {
    Owned(Vec<u8>),
    Shared(Bytes),
}

/// A protobuf message under construction.
#[derive(Debug, Default)]
pub(crate) struct Rope {
    pieces: Vec<Piece>,
    len: u64,
}

impl Rope {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Lets `write` append to the last piece of small fields.
    fn small(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.pieces.last(), Some(Piece::Owned(_))) {
            self.pieces.push(Piece::Owned(Vec::new()));
        }
        if let Some(Piece::Owned(buffer)) = self.pieces.last_mut() {
            let before = buffer.len();
            write(buffer);
            self.len += (buffer.len() - before) as u64;
        }
    }

    /// The fields of a message, without a header: for a message that is written in parts.
    pub(crate) fn fields(&mut self, message: &impl Message) {
        self.small(|buffer| message.encode_raw(buffer));
    }

    /// A message as a field.
    pub(crate) fn message(&mut self, tag: u32, message: &impl Message) {
        self.small(|buffer| {
            encode_key(tag, WireType::LengthDelimited, buffer);
            encode_varint(message.encoded_len() as u64, buffer);
            message.encode_raw(buffer);
        });
    }

    /// A string or byte field.
    pub(crate) fn string(&mut self, tag: u32, text: &str) {
        self.small(|buffer| {
            encode_key(tag, WireType::LengthDelimited, buffer);
            encode_varint(text.len() as u64, buffer);
            buffer.extend_from_slice(text.as_bytes());
        });
    }

    /// A field of bytes, shared instead of copied where that pays.
    pub(crate) fn bytes(&mut self, tag: u32, contents: &Bytes) {
        self.small(|buffer| {
            encode_key(tag, WireType::LengthDelimited, buffer);
            encode_varint(contents.len() as u64, buffer);
        });
        if contents.len() >= SHARED_FROM_BYTES {
            self.len += contents.len() as u64;
            self.pieces.push(Piece::Shared(contents.clone()));
        } else {
            self.small(|buffer| buffer.extend_from_slice(contents));
        }
    }

    /// A message that was assembled apart, as a field.
    pub(crate) fn nested(&mut self, tag: u32, child: Self) {
        self.small(|buffer| {
            encode_key(tag, WireType::LengthDelimited, buffer);
            encode_varint(child.len, buffer);
        });
        self.append(child);
    }

    fn append(&mut self, other: Self) {
        for piece in other.pieces {
            match piece {
                Piece::Owned(small) if small.len() < SHARED_FROM_BYTES => {
                    self.small(|buffer| buffer.extend_from_slice(&small));
                }
                piece => {
                    self.len += match &piece {
                        Piece::Owned(contents) => contents.len() as u64,
                        Piece::Shared(contents) => contents.len() as u64,
                    };
                    self.pieces.push(piece);
                }
            }
        }
    }

    /// Writes everything.
    pub(crate) fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Owned(contents) => out.write_all(contents),
            Piece::Shared(contents) => out.write_all(contents),
        })
    }
}

#[cfg(test)]
mod tests {
    use prost::encoding::{encoded_len_varint, key_len};

    use super::*;

    /// Bytes that a length-delimited field of `len` bytes takes.
    fn field_len(tag: u32, len: u64) -> u64 {
        (key_len(tag) + encoded_len_varint(len)) as u64 + len
    }

    #[test]
    fn nests_shared_pieces_without_changing_bytes() {
        let large = Bytes::from(vec![7u8; 5000]);
        let mut inner = Rope::default();
        inner.string(8, "w");
        inner.bytes(9, &large);
        let mut outer = Rope::default();
        outer.string(2, "g");
        outer.nested(5, inner);
        let mut written = Vec::new();
        outer.write_to(&mut written).unwrap();
        assert_eq!(written.len() as u64, outer.len());
        let inner_len = field_len(8, 1) + field_len(9, 5000);
        assert_eq!(outer.len(), field_len(2, 1) + field_len(5, inner_len));
        assert_eq!(&written[..3], &[0x12, 1, b'g']);
    }
}
