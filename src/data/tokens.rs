//! `.csv`: the token ids of one text a line, for models that take ids and what follows from them.
//!
//! A first line with the word `label` at its beginning or end says that the class of each text stands there: `label,ids`, or
//! `ids,label`.
//!
//! An input named like a mask is 1 at tokens and 0 at padding, one named like token types is 0, one named like positions
//! counts from 0.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::convert::convert;
use super::lines::{LABEL, Line, split};
use super::rows::{Batches, Rows, batch_of};
use super::spec::{Spec, positive};
use super::{DataOptions, Samples};
use crate::backend::NamedTensors;
use crate::error::{Error, Result};
use crate::ir::{DType, Signature, Tensor, TypedName};
use crate::onnx::mmap;

/// What stands behind the tokens of a line that is too short, unless it is told.
const DEFAULT_PAD: i64 = 0;

/// What an input is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Ids,
    Mask,
    Types,
    Positions,
}

/// An end of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

/// An input and what it is filled with.
type Filled = (String, Role, DType);

/// Lines of ids, read again when they are asked for.
#[derive(Debug)]
struct Tokens {
    path: PathBuf,
    file: Bytes,
    lines: Vec<Line>,
    /// Where the class of a text stands, where the file tells any.
    label: Option<End>,
    inputs: Vec<Filled>,
    pad: i64,
    /// The length to which lines are filled up; `None` leaves each as long as it is.
    length: Option<usize>,
    words: String,
}

/// Opens a file. Every line is read once, to find mistakes, and not kept.
///
/// # Errors
/// Names the line that does not hold ids or is too long, or the input that cannot be filled.
pub(super) fn open(path: &Path, mut spec: Spec, options: &DataOptions<'_>) -> Result<Box<dyn Samples>> {
    let limit = spec.read("limit", "a positive number of lines", positive)?;
    let pad = spec.read("pad", "the id of the padding", |text| text.parse::<i64>().ok())?;
    let length = spec.read("length", "a positive number of tokens", positive)?;
    spec.finish("token ids")?;
    let (inputs, fixed, batch) = inputs(options.signature)?;
    if let (Some(length), Some(fixed)) = (length, fixed)
        && length != fixed
    {
        return Err(Error::usage("option `length` does not fit the model")
            .expected(format!("{fixed} tokens"))
            .found(length.to_string()));
    }
    let file = mmap::map(path)?;
    let mut lines = split(&file);
    let label = lines.first().map(|first| header(path, &file, first)).transpose()?.flatten();
    if label.is_some() {
        lines.remove(0);
    }
    let mut tokens = Tokens {
        path: path.to_owned(),
        file,
        lines,
        label,
        inputs,
        pad: pad.unwrap_or(DEFAULT_PAD),
        length: None,
        words: String::new(),
    };
    let (mut longest, mut shortest) = (0, usize::MAX);
    for line in &tokens.lines {
        let count = tokens.fields(line)?.1.len();
        longest = longest.max(count);
        shortest = shortest.min(count);
        if let Some(most) = fixed.or(length).filter(|&most| count > most) {
            return Err(tokens
                .at(line, Error::invalid_data("a line has too many tokens"))
                .expected(format!("at most {most}"))
                .found(count.to_string())
                .help("cut the texts where the ids are made, so that they end as the model expects"));
        }
    }
    tokens.length = fixed.or(length).or((pad.is_some() || batch > 1).then_some(longest));
    tokens.words = match tokens.length {
        None => String::new(),
        Some(length) => {
            let assumed = if pad.is_none() && shortest < length { ", assumed pad=0" } else { "" };
            format!(" (filled up with {} to {length} tokens{assumed})", tokens.pad)
        }
    };
    Ok(Box::new(Batches::new(tokens, batch, limit)?))
}

/// The inputs with what each is filled with, the number of tokens where it is fixed, and the batch.
fn inputs(signature: &Signature) -> Result<(Vec<Filled>, Option<usize>, usize)> {
    let mut found = Vec::new();
    let (mut length, mut batch) = (None, 1);
    for input in &signature.inputs {
        let (Some(shape), Some(dtype)) = (input.ty.shape().filter(|shape| shape.rank() == 2), input.ty.dtype()) else {
            return Err(unfillable(input));
        };
        let name = input.name.to_ascii_lowercase();
        let role = match () {
            () if name.contains("mask") => Role::Mask,
            () if name.contains("token_type") || name.contains("segment") => Role::Types,
            () if name.contains("position") => Role::Positions,
            () if found.iter().all(|(_, role, _)| *role != Role::Ids) => Role::Ids,
            () => return Err(unfillable(input)),
        };
        if !dtype.is_integer() {
            return Err(unfillable(input));
        }
        length = length.or(shape.0[1].fixed().and_then(|extent| usize::try_from(extent).ok()));
        batch = batch.max(batch_of(shape, true));
        found.push((input.name.clone(), role, dtype));
    }
    match found.iter().any(|(_, role, _)| *role == Role::Ids) {
        true => Ok((found, length, batch)),
        false => Err(Error::usage("the model has no input that token ids could be for")),
    }
}

fn unfillable(input: &TypedName) -> Error {
    Error::usage(format!("input `{}` cannot be filled from token ids", input.name))
        .expected("integers of shape [batch, tokens]: ids, and masks, token types or positions by their names")
        .found(format!("`{input}`"))
        .help("give all inputs as arrays in an .npz file, or by name in a .jsonl file")
}

impl Tokens {
    fn at(&self, line: &Line, error: Error) -> Error {
        error.in_file(Path::new(&format!("{}:{}", self.path.display(), line.number)))
    }

    /// The class, where there is one, and the ids of a line.
    fn fields(&self, line: &Line) -> Result<(Option<i64>, Vec<i64>)> {
        let text = String::from_utf8_lossy(&self.file[line.range.clone()]);
        let id = |field: &str| {
            field.trim().parse::<i64>().map_err(|_| {
                let error = Error::invalid_data("a line holds something else than token ids");
                self.at(line, error).expected("integers with commas between them").found(format!("`{}`", field.trim()))
            })
        };
        let mut ids = text.trim().split(',').map(id).collect::<Result<Vec<i64>>>()?;
        let label = match self.label {
            None => None,
            Some(_) if ids.len() < 2 => {
                let error = Error::invalid_data(format!("a line has a `{LABEL}` and no token, or none of both"));
                return Err(self.at(line, error).expected("the class and the ids of a text, with commas between them"));
            }
            Some(End::Front) => Some(ids.remove(0)),
            Some(End::Back) => ids.pop(),
        };
        Ok((label, ids))
    }
}

/// Where the first line says that classes stand; `None` where it is no header.
///
/// # Errors
/// Fails where it says that they stand where they cannot be told from tokens.
fn header(path: &Path, file: &Bytes, line: &Line) -> Result<Option<End>> {
    let text = String::from_utf8_lossy(&file[line.range.clone()]).to_ascii_lowercase();
    let fields: Vec<&str> = text.trim().split(',').map(str::trim).collect();
    match fields.iter().position(|field| *field == LABEL) {
        None => Ok(None),
        Some(0) => Ok(Some(End::Front)),
        Some(place) if place + 1 == fields.len() => Ok(Some(End::Back)),
        Some(_) => {
            Err(Error::invalid_data(format!("`{LABEL}` stands between the tokens, of which lines have more or fewer"))
                .in_file(path)
                .expected(format!("a first line `{LABEL},ids` or `ids,{LABEL}`"))
                .found(format!("`{}`", text.trim())))
        }
    }
}

impl Rows for Tokens {
    fn len(&self) -> usize {
        self.lines.len()
    }

    fn row(&self, index: usize) -> Result<NamedTensors> {
        let line = &self.lines[index];
        let (_, mut ids) = self.fields(line)?;
        let count = ids.len();
        let length = self.length.unwrap_or(count);
        ids.resize(length, self.pad);
        let values = |role: Role| -> Vec<i64> {
            match role {
                Role::Ids => ids.clone(),
                Role::Mask => (0..length).map(|at| i64::from(at < count)).collect(),
                Role::Types => vec![0; length],
                Role::Positions => (0..length as i64).collect(),
            }
        };
        let input = |(name, role, dtype): &Filled| {
            let tensor = Tensor::from_i64(vec![1, length as u64], &values(*role))?;
            let (tensor, _) = convert(&tensor, *dtype).ok_or_else(|| {
                self.at(line, Error::invalid_data(format!("an id does not fit into input `{name}`")))
                    .expected(dtype.to_string())
            })?;
            Ok((name.clone(), tensor))
        };
        self.inputs.iter().map(input).collect()
    }

    fn label(&self, index: usize) -> Option<i64> {
        self.fields(self.lines.get(index)?).ok()?.0
    }

    fn describe(&self) -> String {
        format!("`{}`{}", self.path.display(), self.words)
    }
}
