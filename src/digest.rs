//! SHA-256 of what a result hangs on.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::ir::Tensor;

/// The hash in hexadecimal digits.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Adds tensors with their names, types and shapes. Lengths stand before what may vary in length, so that no two lists
/// look the same.
pub(crate) fn add_tensors(hash: &mut Sha256, tensors: &[(String, Tensor)]) {
    for (name, tensor) in tensors {
        add_text(hash, name);
        add_text(hash, &tensor.type_text());
        match tensor.strings() {
            Some(strings) => strings.iter().for_each(|string| add_bytes(hash, string)),
            None => add_bytes(hash, tensor.data()),
        }
    }
}

/// Adds a text.
fn add_text(hash: &mut Sha256, text: &str) {
    add_bytes(hash, text.as_bytes());
}

fn add_bytes(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}
