//! What a written model tells besides what it computes: a scan of its bytes.
//!
//! The proof behind `strip=all`. It reads the files as they ship, by the schema of ONNX and byte for byte, and not the graph
//! that the passes work on: what the passes do not know of, they cannot have removed.
//!
//! | kind | where it may be |
//! |---|---|
//! | doc string | model, graphs, functions, operators, attributes, values, tensors |
//! | metadata | the same, but for entries that runtimes read or this tool writes |
//! | path | names of the producer and of graphs; and, anywhere in the files, folders named after a user |
//! | training information | model |
//! | unused tensor | initializers, sparse ones, `Constant` operators that nothing reads; bytes of side files that belong to none |
//!
//! Contents of tensors and names that callers use, those of inputs and outputs, are the model's own; of them, only folders
//! named after a user are found.

mod bytes;
mod walk;

use std::fmt;
use std::path::Path;

use ::bytes::Bytes;
use prost::Message;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::ModelProto;

/// Metadata that stays, by the beginning of its key: what ONNX Runtime reads, and what this tool writes to say where the
/// file comes from.
pub const KEPT_METADATA: &[&str] = &["ort_config", "onnx_shrink."];

/// What sort of trace it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TraceKind {
    /// Text for people.
    DocString,
    /// An entry of some metadata.
    Metadata,
    /// The path of a file, or a folder named after a user.
    Path,
    /// How to train the model.
    Training,
    /// A constant that nothing reads.
    UnusedTensor,
}

impl fmt::Display for TraceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DocString => "doc string",
            Self::Metadata => "metadata",
            Self::Path => "path",
            Self::Training => "training information",
            Self::UnusedTensor => "unused tensor",
        })
    }
}

/// Something that a model tells besides what it computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// What sort of trace it is.
    pub kind: TraceKind,
    /// Where it is, in words.
    pub place: String,
    /// What it says; shortened.
    pub text: String,
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.place)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": `{}`", self.text) }
    }
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scan {
    /// Bytes that were read, side files included.
    pub bytes: u64,
    /// What was found, in the order of the file.
    pub traces: Vec<Trace>,
}

/// Scans a model and its side files, which lie in `folder`.
///
/// # Errors
/// Fails where the bytes are no model, or a side file cannot be read.
pub fn scan(model: &Bytes, folder: Option<&Path>) -> Result<Scan> {
    let proto = ModelProto::decode(model.clone())
        .map_err(|e| Error::invalid_model("the file cannot be scanned").found(e.to_string()).with_source(e))?;
    let mut walk = walk::Walk::new(ExternalFiles::new(folder));
    walk.model(&proto)?;
    let mut files = vec![("the model file".to_owned(), model.clone())];
    files.extend(walk.side_files()?);
    let mut traces = walk.traces;
    for (name, contents) in &files {
        traces.extend(bytes::folders_of_users(contents).map(|text| trace(TraceKind::Path, name, &text)));
    }
    Ok(Scan { bytes: files.iter().map(|(_, contents)| contents.len() as u64).sum(), traces })
}

/// So many characters of a text are shown.
const SHOWN: usize = 60;

fn trace(kind: TraceKind, place: &str, text: &str) -> Trace {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    Trace { kind, place: place.to_owned(), text: line.trim().to_owned() }
}
