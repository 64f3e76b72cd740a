//! `@{...}`: doc strings, metadata and what else the ONNX syntax has no place for.

use super::super::lexer::Token;
use super::cursor::Cursor;
use crate::error::Result;
use crate::onnx::proto::{StringStringEntryProto, TensorAnnotation};

/// What stands between `@{` and `}`.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) doc_string: Option<String>,
    pub(super) metadata_props: Vec<StringStringEntryProto>,
    pub(super) denotation: Option<String>,
    pub(super) quantization_annotation: Vec<TensorAnnotation>,
}

/// Notes, where they are next; only the `allowed` ones.
pub(super) fn notes(cursor: &mut Cursor<'_>, allowed: &[&str]) -> Result<Notes> {
    let mut notes = Notes::default();
    if !cursor.take('@')? {
        return Ok(notes);
    }
    cursor.list('{', '}', |cursor| {
        let is_allowed = matches!(cursor.peek(), Token::Ident(word) if allowed.contains(word));
        if !is_allowed {
            return cursor.expected(allowed.join(" or "));
        }
        let key = cursor.identifier("a key")?;
        cursor.expect(':')?;
        match key {
            "doc_string" => notes.doc_string = Some(cursor.string()?),
            "metadata_props" => notes.metadata_props = pairs(cursor)?,
            "denotation" => notes.denotation = Some(cursor.string()?),
            _ => notes.quantization_annotation = annotations(cursor)?,
        }
        Ok(())
    })?;
    Ok(notes)
}

/// `["key": "value"]`.
pub(super) fn pairs(cursor: &mut Cursor<'_>) -> Result<Vec<StringStringEntryProto>> {
    cursor.list('[', ']', |cursor| {
        let key = Some(cursor.string()?);
        cursor.expect(':')?;
        Ok(StringStringEntryProto { key, value: Some(cursor.string()?) })
    })
}

/// `["tensor": ["SCALE_TENSOR": "scale"]]`.
fn annotations(cursor: &mut Cursor<'_>) -> Result<Vec<TensorAnnotation>> {
    cursor.list('[', ']', |cursor| {
        let tensor_name = Some(cursor.string()?);
        cursor.expect(':')?;
        Ok(TensorAnnotation { tensor_name, quant_parameter_tensor_names: pairs(cursor)? })
    })
}
