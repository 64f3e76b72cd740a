//! Where drift is born, and where it is only passed on.
//!
//! Values that two models have in common are paired (`align`). Between neighbouring pairs lies a layer: what the
//! reference computes from the pairs before to the pair behind. Each layer of the reference is run on what the
//! *candidate* hands it (`feed`), which divides the drift of a value in two:
//!
//! ```text
//! reference   ... --> a --[ layer ]--> r          drift        = candidate - r
//! candidate   ... --> b --[ ...   ]--> candidate  passed on    = layer(b) - r
//!                     b --[ layer ]--> layer(b)   born here    = candidate - layer(b)
//! ```
//!
//! All layers are run at once, in a copy of the reference whose every paired value is an input of its own.

mod align;
mod feed;
mod measure;

use serde::Serialize;

use crate::backend::ModelBytes;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Graph, Model, ValueId};
use crate::shrink::Comparing;

/// More samples than that change little about which layer is worst, and cost memory and time.
const MAX_SAMPLES: usize = 8;

/// Where drift is born, layer by layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayersReport {
    /// How many values were compared.
    pub values: usize,
    /// How many of those have the same name in both models.
    pub by_name: usize,
    /// How many were found by what lies around them.
    pub by_alignment: usize,
    /// The number of samples.
    pub samples: usize,
    /// The layers, that first which adds most.
    pub layers: Vec<LayerDrift>,
}

/// What one layer adds to the drift, and what it passes on. All ratios are in decibels, the larger the better; `null`
/// where there is no drift.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerDrift {
    /// The operator of the reference that the layer ends with.
    pub op: String,
    /// Its name, or that of its output where it has none.
    pub node: String,
    /// The operators of the reference between the pairs, the last one included.
    pub operators: usize,
    /// The value the layer ends with, in the reference.
    pub value: String,
    /// The value of the candidate it is compared with.
    pub candidate_value: String,
    /// The drift of the value.
    pub snr_db: Option<f64>,
    /// What the layer adds.
    pub born_db: Option<f64>,
    /// What came in with its inputs.
    pub passed_on_db: Option<f64>,
    /// Whether more is born here than was passed on.
    pub is_born: bool,
}

/// Compares two models layer by layer.
///
/// # Errors
/// As [`measure`](crate::shrink::measure), and where the models have no value in common.
pub fn layers(
    (reference, reference_file): (&Model, &ModelBytes),
    (candidate, candidate_file): (&Model, &ModelBytes),
    samples: &dyn Samples,
    how: &Comparing<'_>,
) -> Result<LayersReport> {
    let pairs = align::pairs(&reference.graph, &candidate.graph)?;
    measure::measure((reference, candidate), (reference_file, candidate_file), &pairs, samples, how)
}

/// The values of two graphs that stand for each other, in the order of the reference.
///
/// # Errors
/// Fails where a graph has a cycle.
pub(crate) fn paired(reference: &Graph, candidate: &Graph) -> Result<Vec<(ValueId, ValueId)>> {
    Ok(align::pairs(reference, candidate)?.into_iter().map(|pair| (pair.reference, pair.candidate)).collect())
}
