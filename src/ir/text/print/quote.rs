//! Names and strings.

use std::fmt::{self, Write};

use super::super::lexer::is_identifier;
use super::super::parse::TYPE_WORDS;
use super::separate;
use crate::ir::DType;
use crate::onnx::proto::{StringStringEntryProto, TensorAnnotation};

/// A name: as it is where it can be told from everything else, else in quotes.
pub(super) fn name(out: &mut impl Write, name: &str) -> fmt::Result {
    let is_word = ["nan", "inf", "infinity"].iter().any(|word| name.eq_ignore_ascii_case(word));
    let is_fill = matches!(name, "rand" | "iota");
    if is_identifier(name) && !is_word && !is_fill && !TYPE_WORDS.contains(&name) && DType::from_name(name).is_none() {
        out.write_str(name)
    } else {
        quoted(out, name)
    }
}

/// A string in quotes.
pub(super) fn quoted(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\']) {
        write!(out, "{}\\{}", &rest[..at], &rest[at..=at])?;
        rest = &rest[at + 1..];
    }
    write!(out, "{rest}\"")
}

/// A string of bytes, usually UTF-8.
pub(super) fn byte_string(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return quoted(out, text);
    }
    write!(out, "b\"")?;
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => write!(out, "\\{}", byte as char)?,
            b' '..=b'~' => out.write_char(byte as char)?,
            _ => write!(out, "\\x{byte:02x}")?,
        }
    }
    out.write_char('"')
}

/// `["key": "value"]`.
pub(super) fn pairs(out: &mut impl Write, pairs: &[StringStringEntryProto]) -> fmt::Result {
    out.write_char('[')?;
    for (index, pair) in pairs.iter().enumerate() {
        separate(out, index)?;
        quoted(out, pair.key())?;
        out.write_str(": ")?;
        quoted(out, pair.value())?;
    }
    out.write_char(']')
}

/// What `@{...}` may hold.
#[derive(Debug, Default)]
pub(super) struct Notes<'a> {
    pub(super) doc_string: Option<&'a str>,
    pub(super) denotation: Option<&'a str>,
    pub(super) metadata_props: &'a [StringStringEntryProto],
    pub(super) quantization_annotation: &'a [TensorAnnotation],
}

/// Writes ` @{...}` of what is there, or nothing.
pub(super) fn notes(out: &mut impl Write, notes: &Notes<'_>) -> fmt::Result {
    let mut opening = " @{";
    for (key, text) in [("doc_string", notes.doc_string), ("denotation", notes.denotation)] {
        if let Some(text) = text.filter(|t| !t.is_empty()) {
            write!(out, "{opening}{key}: ")?;
            quoted(out, text)?;
            opening = ", ";
        }
    }
    if !notes.metadata_props.is_empty() {
        write!(out, "{opening}metadata_props: ")?;
        pairs(out, notes.metadata_props)?;
        opening = ", ";
    }
    if !notes.quantization_annotation.is_empty() {
        write!(out, "{opening}quantization_annotation: [")?;
        for (index, annotation) in notes.quantization_annotation.iter().enumerate() {
            separate(out, index)?;
            quoted(out, annotation.tensor_name())?;
            out.write_str(": ")?;
            pairs(out, &annotation.quant_parameter_tensor_names)?;
        }
        out.write_char(']')?;
        opening = ", ";
    }
    if opening == ", " { out.write_char('}') } else { Ok(()) }
}
