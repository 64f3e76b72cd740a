//! Folders of `.wav` files.
//!
//! Channels are averaged. Nothing is resampled: a filter that nobody chose would be a part of what is measured.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use hound::{SampleFormat, WavReader};
use rayon::prelude::*;

use super::listing::Listing;
use super::rows::{Batches, Rows, batch_of};
use super::spec::{Spec, fraction, positive};
use super::{DataOptions, Samples};
use crate::backend::NamedTensors;
use crate::error::{Error, Result};
use crate::ir::{DType, Tensor};

/// Sounds that are decoded when they are asked for.
#[derive(Debug)]
struct Sounds {
    listing: Listing,
    input: String,
    dtype: DType,
    rank: usize,
    /// The samples that the model takes, where that is fixed.
    length: Option<usize>,
    rate: u32,
    scale: f32,
}

/// Opens sounds. The header of each is read, its samples are not.
///
/// # Errors
/// Names the file that is no readable sound or has another rate, or the option that does not go with the model.
pub(super) fn open(listing: Listing, mut spec: Spec, options: &DataOptions<'_>) -> Result<Box<dyn Samples>> {
    let limit = spec.read("limit", "a positive number of files", positive)?;
    let rate = spec.read("rate", "samples a second, as in 16000", |text| text.parse().ok().filter(|&rate| rate > 0))?;
    let length = spec.read("length", "a positive number of samples", positive)?;
    let scale = spec.read("scale", "a number, 1 for values from -1 to 1 or 32768 for those of 16 bits", fraction)?;
    spec.finish("sound")?;
    let [input] = options.signature.inputs.as_slice() else {
        return Err(Error::usage("sound makes one input, and the model has another number of them")
            .expected("a model with one input")
            .found(options.signature.inputs.len().to_string())
            .help("give all inputs as arrays in an .npz file"));
    };
    let (Some(shape), Some(dtype)) = (input.ty.shape(), input.ty.dtype().filter(|dtype| dtype.is_float())) else {
        return Err(no_wave(&input.to_string()));
    };
    let rank = shape.rank();
    let is_mono = rank != 3 || matches!(shape.0[1].fixed(), None | Some(1));
    let Some(last) = shape.0.last().filter(|_| rank <= 3 && is_mono) else { return Err(no_wave(&input.to_string())) };
    let fixed = last.fixed().and_then(|extent| usize::try_from(extent).ok());
    if let (Some(length), Some(fixed)) = (length, fixed)
        && length != fixed
    {
        return Err(Error::usage("option `length` does not fit the input")
            .expected(format!("`{input}`"))
            .found(length.to_string()));
    }
    let first = listing.files.first().map(|(path, _)| reader(path)).transpose()?;
    let rate = rate.or(first.map(|first| first.spec().sample_rate)).unwrap_or_default();
    let used = limit.unwrap_or(usize::MAX).min(listing.files.len());
    listing.files[..used].par_iter().try_for_each(|(path, _)| check(path, rate))?;
    let (above, below) = scale.unwrap_or((1.0, 1.0));
    let batch = batch_of(shape, rank > 1);
    let (input, length, scale) = (input.name.clone(), fixed.or(length), above / below);
    let sounds = Sounds { listing, input, dtype, rank, length, rate, scale };
    Ok(Box::new(Batches::new(sounds, batch, limit)?))
}

fn no_wave(found: &str) -> Error {
    Error::usage("the input does not look like sound")
        .expected("floats of shape [N], [batch, N] or [batch, 1, N]")
        .found(format!("`{found}`"))
}

/// Whether the header can be read and tells the rate that the others have.
fn check(path: &Path, rate: u32) -> Result<()> {
    let reader = reader(path)?;
    let found = reader.spec().sample_rate;
    if reader.duration() == 0 {
        return Err(Error::invalid_data(format!("`{}` holds no sound", path.display())));
    }
    if found == rate {
        return Ok(());
    }
    Err(Error::invalid_data(format!("`{}` has another rate", path.display()))
        .expected(format!("{rate} samples a second"))
        .found(found.to_string())
        .help("nothing is resampled here: convert the files, or name their rate with rate="))
}

fn reader(path: &Path) -> Result<WavReader<BufReader<File>>> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    WavReader::new(BufReader::new(file)).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, error: hound::Error) -> Error {
    Error::invalid_data(format!("`{}` is no readable sound", path.display()))
        .expected("a .wav file with integers or floats")
        .found(error.to_string())
        .with_source(error)
        .help("mend or remove the file")
}

impl Sounds {
    /// The mean of the channels, from -1 to 1 times the scale.
    fn wave(&self, path: &Path) -> Result<Vec<f32>> {
        let mut reader = reader(path)?;
        let spec = reader.spec();
        let channels = usize::from(spec.channels.max(1));
        let wanted = self.length.unwrap_or(usize::MAX).saturating_mul(channels);
        let full = f64::from(spec.bits_per_sample.saturating_sub(1)).exp2() as f32;
        let values: std::result::Result<Vec<f32>, hound::Error> = match spec.sample_format {
            SampleFormat::Float => reader.samples::<f32>().take(wanted).collect(),
            SampleFormat::Int => reader.samples::<i32>().take(wanted).map(|value| Ok(value? as f32 / full)).collect(),
        };
        let values = values.map_err(|e| unreadable(path, e))?;
        let mean = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32 * self.scale;
        let mut wave: Vec<f32> = values.chunks_exact(channels).map(mean).collect();
        if let Some(length) = self.length {
            wave.resize(length, 0.0);
        }
        Ok(wave)
    }
}

impl Rows for Sounds {
    fn len(&self) -> usize {
        self.listing.files.len()
    }

    fn row(&self, index: usize) -> Result<NamedTensors> {
        let wave = self.wave(&self.listing.files[index].0)?;
        let mut shape = vec![1; self.rank];
        if let Some(last) = shape.last_mut() {
            *last = wave.len() as u64;
        }
        Ok(vec![(self.input.clone(), Tensor::from_floats(self.dtype, shape, &wave)?)])
    }

    fn label(&self, index: usize) -> Option<i64> {
        self.listing.files.get(index)?.1
    }

    fn describe(&self) -> String {
        let length = match self.length {
            Some(length) => format!(", cut or filled with zeros to {length} samples"),
            None => String::new(),
        };
        let (rate, scale) = (self.rate, self.scale);
        format!("{} ({rate} samples a second, values up to {scale}{length})", self.listing.describe())
    }
}
