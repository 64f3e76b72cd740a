//! `.jsonl`: an object a line, from the names of inputs to numbers in nested lists; a bare list where there is one input.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;

use super::convert::convert;
use super::{Samples, check_index, plural};
use crate::backend::NamedTensors;
use crate::error::{Error, Result, did_you_mean};
use crate::ir::{DType, Dim, Signature, Tensor, TypedName};
use crate::onnx::mmap;

/// The key of the right classes.
pub(super) const LABEL: &str = "label";

/// Lines that are read again when they are asked for.
#[derive(Debug)]
pub(super) struct JsonLines {
    path: PathBuf,
    file: Bytes,
    signature: Signature,
    lines: Vec<Line>,
    labels: Option<Vec<Vec<i64>>>,
}

/// A line that is not blank: its number from 1, and where it is.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) range: std::ops::Range<usize>,
}

/// The lines of a file that are not blank.
pub(super) fn split(file: &[u8]) -> Vec<Line> {
    let mut start = 0;
    let mut lines = Vec::new();
    for (index, line) in file.split(|&byte| byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            lines.push(Line { number: index + 1, range: start..start + line.len() });
        }
        start += line.len() + 1;
    }
    lines
}

impl JsonLines {
    /// Opens a file. Every line is read once, to find mistakes, and not kept.
    ///
    /// # Errors
    /// Names the line that is no JSON or does not fit the inputs.
    pub(super) fn open(path: &Path, signature: &Signature) -> Result<Self> {
        let file = mmap::map(path)?;
        let lines = split(&file);
        if lines.is_empty() {
            return Err(Error::invalid_data(format!("`{}` has no lines", path.display())));
        }
        let mut opened = Self { path: path.to_owned(), file, signature: signature.clone(), lines, labels: None };
        let labels = (0..opened.lines.len()).map(|index| Ok(opened.read(index)?.1)).collect::<Result<Vec<_>>>()?;
        if let Some(without) = labels.iter().position(Option::is_none)
            && labels.iter().any(Option::is_some)
        {
            return Err(opened.at(without, Error::invalid_data(format!("a line has no `{LABEL}`, and others have"))));
        }
        opened.labels = labels.into_iter().collect();
        Ok(opened)
    }

    fn at(&self, index: usize, error: Error) -> Error {
        let line = self.lines.get(index).map_or(0, |line| line.number);
        error.in_file(Path::new(&format!("{}:{line}", self.path.display())))
    }

    fn read(&self, index: usize) -> Result<(NamedTensors, Option<Vec<i64>>)> {
        self.parse(index).map_err(|e| self.at(index, e))
    }

    fn parse(&self, index: usize) -> Result<(NamedTensors, Option<Vec<i64>>)> {
        let line = &self.file[self.lines[index].range.clone()];
        let value: Value = serde_json::from_slice(line)
            .map_err(|e| Error::invalid_data("a line is no JSON").found(e.to_string()).with_source(e))?;
        let names = || self.signature.inputs.iter().map(|input| input.name.as_str());
        let mut object = match (value, self.signature.inputs.as_slice()) {
            (Value::Object(object), _) => object,
            (list @ Value::Array(_), [input]) => serde_json::Map::from_iter([(input.name.clone(), list)]),
            _ => {
                return Err(Error::invalid_data("a line is no object")
                    .expected(format!("a value for each of {}", names().collect::<Vec<_>>().join(", "))));
            }
        };
        let mut inputs = Vec::new();
        for input in &self.signature.inputs {
            let value = object.swap_remove(&input.name).ok_or_else(|| {
                let error = Error::invalid_data(format!("a line has nothing for input `{}`", input.name));
                match did_you_mean(&input.name, object.keys().map(String::as_str)) {
                    Some(meant) => error.help(format!("did you mean `{}` by `{meant}`?", input.name)),
                    None => error,
                }
            })?;
            inputs.push((input.name.clone(), tensor(input, &value)?));
        }
        let label = object.swap_remove(LABEL).map(|value| classes(&value)).transpose()?;
        if let Some(extra) = object.keys().next() {
            let error = Error::invalid_data(format!("`{extra}` is no input of the model"));
            return Err(match did_you_mean(extra, names().chain([LABEL])) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error,
            });
        }
        Ok((inputs, label))
    }
}

fn classes(value: &Value) -> Result<Vec<i64>> {
    let found = match value {
        Value::Array(values) => values.iter().map(Value::as_i64).collect(),
        value => value.as_i64().map(|class| vec![class]),
    };
    found.ok_or_else(|| Error::invalid_data(format!("`{LABEL}` does not hold classes")).expected("integers"))
}

/// The tensor of nested lists, with a batch of one in front where only that is missing.
fn tensor(input: &TypedName, value: &Value) -> Result<Tensor> {
    let mut shape = Vec::new();
    let mut inner = value;
    while let Value::Array(values) = inner {
        shape.push(values.len() as u64);
        let Some(first) = values.first() else { break };
        inner = first;
    }
    let mut leaves = Vec::new();
    if !flatten(value, &shape, &mut leaves) {
        return Err(Error::invalid_data(format!("the lists for input `{}` differ in length or depth", input.name)));
    }
    if let Some(dims) = input.ty.shape() {
        if dims.rank() == shape.len() + 1 && matches!(dims.0.first().and_then(Dim::fixed), None | Some(1)) {
            shape.insert(0, 1);
        }
        let fits = |(dim, extent): (&Dim, &u64)| dim.fixed().is_none_or(|fixed| fixed == *extent);
        if dims.rank() != shape.len() || !dims.0.iter().zip(&shape).all(fits) {
            return Err(Error::invalid_data(format!("the lists for input `{}` do not fit it", input.name))
                .expected(input.to_string())
                .found(format!("{shape:?}")));
        }
    }
    let Some(dtype) = input.ty.dtype() else {
        return Err(Error::unsupported(format!("input `{input}` cannot be given in JSON")));
    };
    typed(dtype, shape, &leaves).ok_or_else(|| {
        Error::invalid_data(format!("a value for input `{}` is of another kind", input.name))
            .expected(dtype.to_string())
    })
}

/// Collects what the lists hold; `false` where they do not all have the same lengths.
fn flatten<'a>(value: &'a Value, shape: &[u64], leaves: &mut Vec<&'a Value>) -> bool {
    match (value, shape.split_first()) {
        (Value::Array(values), Some((&length, inner))) => {
            values.len() as u64 == length && values.iter().all(|value| flatten(value, inner, leaves))
        }
        (Value::Array(_), None) | (_, Some(_)) => false,
        (leaf, None) => {
            leaves.push(leaf);
            true
        }
    }
}

fn typed(dtype: DType, shape: Vec<u64>, leaves: &[&Value]) -> Option<Tensor> {
    if dtype == DType::String {
        let strings = leaves.iter().map(|leaf| leaf.as_str().map(|text| Bytes::copy_from_slice(text.as_bytes())));
        return Tensor::from_strings(shape, strings.collect::<Option<_>>()?).ok();
    }
    if dtype == DType::Bool {
        let bits = leaves.iter().map(|leaf| leaf.as_bool().map(u8::from)).collect::<Option<Vec<u8>>>()?;
        return Tensor::new(dtype, shape, bits).ok();
    }
    if dtype.is_float() {
        let float = |leaf: &&Value| leaf.as_f64().map(|value| value as f32).filter(|value| value.is_finite());
        return Tensor::from_floats(dtype, shape, &leaves.iter().map(float).collect::<Option<Vec<f32>>>()?).ok();
    }
    let integers = leaves.iter().map(|leaf| leaf.as_i64()).collect::<Option<Vec<i64>>>()?;
    Some(convert(&Tensor::from_i64(shape, &integers).ok()?, dtype)?.0)
}

impl Samples for JsonLines {
    fn len(&self) -> usize {
        self.lines.len()
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        check_index(index, self.lines.len())?;
        Ok(self.read(index)?.0)
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        self.labels.as_ref()?.get(index).cloned()
    }

    fn describe(&self) -> String {
        format!("{} of `{}`", plural(self.lines.len(), "sample"), self.path.display())
    }
}
