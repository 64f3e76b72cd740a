//! The inputs that calibration and validation run a model on: what `--inputs` names.
//!
//! | specification | samples |
//! |---|---|
//! | `FILE.npz` | one array per model input; see [`open`] for how arrays become samples |
//! | `FILE.npy` | the same for a model with a single input |
//! | `FOLDER` of `.npz` or `.npy` files | those of each file, in the order of their names |
//! | `FOLDER` of `test_data_set_N` folders | one each, from its `input_K.pb`; K is the position among the inputs |
//! | `FOLDER` with `input_K.pb` files | one |
//! | `FOLDER` of images or of `.wav` files, or of a folder for each class | one each, prepared as `:key=value` behind the path says |
//! | `FILE.jsonl` | an object a line, from the names of inputs to nested lists |
//! | `FILE.csv` | the token ids of one text a line |
//! | `synthetic[:N]` | N seeded random ones, 8 unless told |

mod arrays;
mod convert;
mod digest;
mod dims;
mod fit;
mod folder;
mod hints;
#[cfg(feature = "media")]
mod images;
mod lines;
#[cfg_attr(
    not(feature = "media"),
    allow(dead_code, reason = "a build that reads neither images nor sound only says that they are there")
)]
mod listing;
mod npy;
mod npz;
mod rows;
#[cfg(feature = "media")]
mod sound;
#[cfg_attr(
    not(feature = "media"),
    allow(dead_code, reason = "a build that reads neither images nor sound only says that they are there")
)]
mod spec;
mod stored;
mod synthetic;
mod tokens;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

pub use self::digest::{SampleDigests, digest, recorded_digests, sample_digests};
use crate::backend::NamedTensors;
use crate::error::{Error, Result, did_you_mean};
use crate::infer::Demand;
use crate::ir::{Signature, Tensor};

/// The number of samples of `synthetic` without a number.
pub const DEFAULT_SYNTHETIC_SAMPLES: usize = 8;

/// A fixed, ordered set of inputs for one model.
///
/// Samples are made or read when they are asked for; asking twice gives the same bits, from any thread.
pub trait Samples: Debug + Send + Sync {
    /// The number of samples; never zero.
    fn len(&self) -> usize;

    /// Always `false`: no source without samples can be opened.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inputs of one sample, in the order of the model's signature.
    ///
    /// # Errors
    /// Fails where `index` is out of range or a file can no longer be read.
    fn get(&self, index: usize) -> Result<NamedTensors>;

    /// The right classes of one sample, one for each row of a batch; `None` where the data has no labels.
    fn label(&self, index: usize) -> Option<Vec<i64>>;

    /// Lets a source that makes its inputs up settle on such as the model takes: `run` says whether it does. To be
    /// called before the samples are used; others than the first call, and other sources, do nothing.
    ///
    /// # Errors
    /// Passes on why `run` refused the most likely inputs, where it refused all.
    fn settle(&self, _run: &dyn Fn(&NamedTensors) -> Result<()>) -> Result<()> {
        Ok(())
    }

    /// What the samples are, in words for a report: "8 samples of `digits.npz`".
    fn describe(&self) -> String;
}

/// What is known about inputs beyond the signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// The values an integer input may take, both ends included, from what the graph does with it: the rows of the
    /// table that a Gather reads, for instance.
    pub integer_bounds: BTreeMap<String, (i64, i64)>,
    /// Values of integer inputs that choose between what the model can do: those it compares them with.
    pub integer_choices: BTreeMap<String, Vec<i64>>,
    /// Extents of symbolic dimensions by name.
    pub dims: BTreeMap<String, u64>,
    /// What must hold of extents for the model to run. A dimension without a name is called by its place: `x#1`.
    pub demands: Vec<Demand>,
}

/// How to open a data source.
#[derive(Debug, Clone, Copy)]
pub struct DataOptions<'a> {
    /// The inputs of the model the data is for.
    pub signature: &'a Signature,
    /// The seed of synthetic data.
    pub seed: u64,
    /// What is known about the inputs beyond the signature; only synthetic data uses it.
    pub hints: &'a Hints,
    /// Use only so many of the first samples.
    pub limit: Option<usize>,
}

/// Opens what `--inputs` names.
///
/// Where an array has one dimension more than the input, the leading one is the sample; an array of equal rank serves
/// as it is for every sample. An array `label` that is no input holds the right classes: one for each sample, or one
/// for each row of a sample. Elements are converted only where that is harmless: integers in range, floats to a wider
/// type, and float64 to float32.
///
/// # Errors
/// Fails where the source cannot be read, has no samples, or does not fit the inputs; the array is named.
pub fn open(spec: &str, options: &DataOptions<'_>) -> Result<Box<dyn Samples>> {
    if options.limit == Some(0) {
        return Err(Error::usage("a limit of 0 samples leaves no data").help("give a limit of at least 1"));
    }
    let samples: Box<dyn Samples> = match spec.split_once(':') {
        None if spec == "synthetic" => Box::new(synthetic::Synthetic::new(DEFAULT_SYNTHETIC_SAMPLES, options)?),
        Some(("synthetic", count)) => Box::new(synthetic::Synthetic::new(parse_count(count)?, options)?),
        _ => open_path(spec, options)?,
    };
    Ok(match options.limit {
        Some(limit) if limit < samples.len() => Box::new(Limited { samples, limit }),
        _ => samples,
    })
}

/// Whether a specification asks for inputs that are made up.
pub fn is_synthetic(spec: &str) -> bool {
    spec == "synthetic" || spec.starts_with("synthetic:")
}

/// Reads the arrays of an `.npz` file, or the one of an `.npy` file under the name of the file, as they are.
///
/// # Errors
/// Fails where the file cannot be read.
pub fn read_arrays(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let tensor = npz::read_single(&name, path)?.into_tensor()?;
        return Ok(BTreeMap::from([(name, tensor)]));
    }
    let mut archive = npz::Archive::open(path)?;
    let names = archive.names();
    names.into_iter().map(|name| Ok((name.clone(), archive.read(&name)?.into_tensor()?))).collect()
}

fn parse_count(text: &str) -> Result<usize> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| {
        Error::usage("the number of synthetic samples is no positive number")
            .expected("synthetic:N, for instance synthetic:16")
            .found(format!("synthetic:{text}"))
    })
}

fn open_path(text: &str, options: &DataOptions<'_>) -> Result<Box<dyn Samples>> {
    let spec = spec::Spec::parse(text)?;
    let path = spec.path.clone();
    if !path.exists() {
        let help = match did_you_mean(text, ["synthetic"]) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("give {KINDS}"),
        };
        return Err(Error::usage(format!("input data `{}` does not exist", path.display())).help(help));
    }
    let members = if path.is_dir() { folder::members(&path)? } else { None };
    if let Some(members) = members {
        spec.finish("arrays")?;
        return Ok(Box::new(folder::FolderSamples::open(&path, members, options.signature)?));
    }
    if let Some(listing) = listing::Listing::find(&path)? {
        return open_media(listing, spec, options);
    }
    if path.is_dir() {
        return Err(Error::invalid_data(format!("folder `{}` holds no input data", path.display()))
            .expected(".npz or .npy files, images, folders of images, test_data_set_* folders, or input_0.pb")
            .found("none of these"));
    }
    let is = |wanted: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted));
    if is("csv") {
        return tokens::open(&path, spec, options);
    }
    spec.finish("arrays")?;
    match is("jsonl") {
        true => Ok(Box::new(lines::JsonLines::open(&path, options.signature)?)),
        false => Ok(Box::new(arrays::ArraySamples::load(&path, options.signature)?)),
    }
}

/// What `--inputs` takes, in words.
const KINDS: &str = "an .npz, .npy, .jsonl or .csv file, a folder of arrays, of images, of .wav files or of test_data_set_* folders, or synthetic[:N]";

#[cfg(feature = "media")]
fn open_media(listing: listing::Listing, spec: spec::Spec, options: &DataOptions<'_>) -> Result<Box<dyn Samples>> {
    match listing.medium {
        listing::Medium::Image => images::open(listing, spec, options),
        listing::Medium::Sound => sound::open(listing, spec, options),
    }
}

#[cfg(not(feature = "media"))]
fn open_media(listing: listing::Listing, _: spec::Spec, _: &DataOptions<'_>) -> Result<Box<dyn Samples>> {
    Err(Error::unsupported(format!("this build reads no {}", listing.medium.words()))
        .found(format!("`{}`", listing.path.display()))
        .help("build it with the feature `media`, or give arrays in an .npz file"))
}

/// The first samples of a source.
#[derive(Debug)]
struct Limited {
    samples: Box<dyn Samples>,
    limit: usize,
}

impl Samples for Limited {
    fn len(&self) -> usize {
        self.limit
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        check_index(index, self.limit)?;
        self.samples.get(index)
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        if index < self.limit { self.samples.label(index) } else { None }
    }

    fn settle(&self, run: &dyn Fn(&NamedTensors) -> Result<()>) -> Result<()> {
        self.samples.settle(run)
    }

    fn describe(&self) -> String {
        format!("the first {} of {}", self.limit, self.samples.describe())
    }
}

fn check_index(index: usize, samples: usize) -> Result<()> {
    if index < samples {
        return Ok(());
    }
    Err(Error::usage("no such sample").expected(format!("an index below {samples}")).found(index.to_string()))
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests;
