//! Samples from one `.npz` or `.npy` file or one folder of `input_K.pb` messages.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use prost::Message;

use super::fit::{Fitted, count_samples, fit};
use super::stored::Array;
use super::{Samples, check_index, convert, npz, plural};
use crate::backend::NamedTensors;
use crate::error::{Error, Result, did_you_mean};
use crate::ir::{Signature, Tensor};
use crate::onnx::mmap;
use crate::onnx::proto::TensorProto;

/// The name of the array that holds the right classes.
const LABEL: &str = "label";

/// Arrays that fit the inputs of a model.
#[derive(Debug)]
pub(super) struct ArraySamples {
    path: PathBuf,
    /// In the order of the signature.
    inputs: Vec<(String, Fitted)>,
    labels: Option<Vec<Vec<i64>>>,
    samples: usize,
}

impl ArraySamples {
    /// Loads a file or a folder of messages.
    ///
    /// # Errors
    /// Fails where it cannot be read or does not fit the inputs.
    pub(super) fn load(path: &Path, signature: &Signature) -> Result<Self> {
        let extension = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        let arrays = match extension.as_deref() {
            _ if path.is_dir() => read_messages(path, signature),
            Some("npz") => read_archive(path, signature),
            Some("npy") => read_single(path, signature),
            _ => Err(Error::usage(format!("`{}` is no kind of input data that is known", path.display()))
                .expected(super::KINDS)),
        };
        arrays.and_then(|arrays| Self::new(path, arrays, signature)).map_err(|e| e.in_file(path))
    }

    fn new(path: &Path, mut arrays: BTreeMap<String, Array>, signature: &Signature) -> Result<Self> {
        let mut inputs = Vec::with_capacity(signature.inputs.len());
        for input in &signature.inputs {
            let Some(array) = arrays.remove(&input.name) else { return Err(missing(&input.name, &arrays, signature)) };
            inputs.push((input.name.clone(), fit(input, array)?));
        }
        let label = arrays.remove(LABEL).map(Array::into_tensor).transpose()?;
        if let Some(extra) = arrays.keys().next() {
            return Err(extra_array(extra, signature));
        }
        let samples = agree_on_samples(&inputs)?;
        let labels = label.map(|label| split_labels(&label, samples)).transpose()?;
        Ok(Self { path: path.to_owned(), inputs, labels, samples: samples.unwrap_or(1) })
    }

    /// What was done to the values, for the report.
    pub(super) fn remarks(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().filter_map(|(_, fitted)| fitted.remark.as_deref())
    }
}

impl Samples for ArraySamples {
    fn len(&self) -> usize {
        self.samples
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        check_index(index, self.samples)?;
        self.inputs.iter().map(|(name, fitted)| Ok((name.clone(), fitted.sample(index)?))).collect()
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        self.labels.as_ref()?.get(index).cloned()
    }

    fn describe(&self) -> String {
        let mut text = format!("{} of `{}`", plural(self.samples, "sample"), self.path.display());
        for remark in self.remarks() {
            text.push_str(", ");
            text.push_str(remark);
        }
        text
    }
}

/// The arrays of an archive that the model takes, and the labels; the names of all others without reading them.
fn read_archive(path: &Path, signature: &Signature) -> Result<BTreeMap<String, Array>> {
    let mut archive = npz::Archive::open(path)?;
    let names = archive.names();
    let wanted = |name: &String| name == LABEL || signature.inputs.iter().any(|input| input.name == *name);
    if let Some(extra) = names.iter().find(|name| !wanted(name)) {
        // A misspelt input is better named as missing, with the array that was probably meant.
        if let Some(input) = signature.inputs.iter().find(|input| !names.contains(&input.name)) {
            return Err(missing_among(&input.name, names.iter().map(String::as_str), signature));
        }
        return Err(extra_array(extra, signature));
    }
    // All shapes first: a few compressed bytes can unfold to a large array that does not even fit.
    for input in signature.inputs.iter().filter(|input| names.contains(&input.name)) {
        count_samples(input, &archive.describe(&input.name)?)?;
    }
    names.into_iter().map(|name| archive.read(&name).map(|array| (name, array))).collect()
}

fn read_single(path: &Path, signature: &Signature) -> Result<BTreeMap<String, Array>> {
    let [input] = signature.inputs.as_slice() else {
        return Err(Error::usage("an .npy file holds one array, and the model takes several inputs")
            .expected(input_list(signature))
            .found(path.display().to_string())
            .help("save one array per input: numpy.savez(\"inputs.npz\", name=array, ...)"));
    };
    let array = npz::read_single(&input.name, path)?;
    Ok(BTreeMap::from([(input.name.clone(), array)]))
}

/// The messages `input_K.pb` of a folder, as ONNX keeps its test data; K is the position among the inputs.
fn read_messages(path: &Path, signature: &Signature) -> Result<BTreeMap<String, Array>> {
    let mut arrays = BTreeMap::new();
    for (position, input) in signature.inputs.iter().enumerate() {
        let file = path.join(format!("input_{position}.pb"));
        if !file.is_file() {
            return Err(Error::invalid_data(format!("input `{}` has no data", input.name))
                .expected(format!("file `{}` for `{input}`", file.display()))
                .found("no such file"));
        }
        let message = TensorProto::decode(mmap::map(&file)?).map_err(|e| {
            Error::invalid_data(format!("`{}` holds no ONNX tensor", file.display()))
                .found(e.to_string())
                .with_source(e)
        })?;
        let tensor = Tensor::from_proto(message, None).map_err(|e| {
            Error::invalid_data(format!("`{}` holds a malformed ONNX tensor: {}", file.display(), e.what()))
                .with_source(e)
        })?;
        arrays.insert(input.name.clone(), Array::Memory(tensor));
    }
    let surplus = path.join(format!("input_{}.pb", signature.inputs.len()));
    if surplus.is_file() {
        return Err(Error::invalid_data("there is data for more inputs than the model has")
            .expected(input_list(signature))
            .found(surplus.display().to_string()));
    }
    Ok(arrays)
}

/// The number of samples that the arrays have in front; `None` where none has any.
fn agree_on_samples(inputs: &[(String, Fitted)]) -> Result<Option<usize>> {
    let mut counts = inputs.iter().filter_map(|(name, fitted)| Some((name, fitted.samples?)));
    let Some((first, samples)) = counts.next() else { return Ok(None) };
    match counts.find(|(_, count)| *count != samples) {
        None => Ok(Some(samples)),
        Some((other, count)) => Err(Error::invalid_data("arrays differ in the number of samples")
            .expected(format!("{samples} in `{other}`, as in `{first}`"))
            .found(format!("{count}"))),
    }
}

/// The labels of each sample: one each, or one for each row of a batch.
fn split_labels(label: &Tensor, samples: Option<usize>) -> Result<Vec<Vec<i64>>> {
    let classes = convert::to_classes(label)?;
    match (samples, label.shape()) {
        // One batch: a label for each of its rows.
        (None, [_] | []) => Ok(vec![classes]),
        (Some(samples), [first] | [first, _]) if *first == samples as u64 => {
            Ok(classes.chunks(classes.len().max(1) / samples.max(1)).map(<[i64]>::to_vec).collect())
        }
        _ => Err(Error::invalid_data("array `label` does not fit the samples")
            .expected(match samples {
                Some(samples) => format!("[{samples}], or [{samples}, rows] for batches"),
                None => "[rows]: one label for each row of the batch".into(),
            })
            .found(label.type_text())),
    }
}

fn missing(name: &str, left: &BTreeMap<String, Array>, signature: &Signature) -> Error {
    missing_among(name, left.keys().map(String::as_str), signature)
}

fn missing_among<'a>(name: &str, found: impl Iterator<Item = &'a str> + Clone, signature: &Signature) -> Error {
    let names: Vec<String> = found.clone().map(|name| format!("`{name}`")).collect();
    let error = Error::invalid_data(format!("input `{name}` has no array"))
        .expected(input_list(signature))
        .found(if names.is_empty() { "no arrays".into() } else { names.join(", ") });
    let unclaimed = found.filter(|found| !signature.inputs.iter().any(|input| input.name == **found));
    match did_you_mean(name, unclaimed) {
        Some(meant) => error.help(format!("did you mean `{name}` by the array `{meant}`?")),
        None => error,
    }
}

fn extra_array(name: &str, signature: &Signature) -> Error {
    let error = Error::invalid_data(format!("array `{name}` is no input of the model"))
        .expected(input_list(signature))
        .found(format!("`{name}`"));
    let known = signature.inputs.iter().map(|input| input.name.as_str()).chain([LABEL]);
    match did_you_mean(name, known) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error.help(format!("only the array `{LABEL}`, the right classes, may stand beside the inputs")),
    }
}

fn input_list(signature: &Signature) -> String {
    let inputs: Vec<String> = signature.inputs.iter().map(|input| format!("`{input}`")).collect();
    if inputs.is_empty() { "no inputs".into() } else { inputs.join(", ") }
}
