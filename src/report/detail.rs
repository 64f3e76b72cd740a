//! What only a report shows: sizes by operator and weight, drift by layer, how weights are spread.

use std::collections::BTreeMap;

use serde::Serialize;

use super::weights::{self, Histogram, WeightSize};
use crate::check::{Fingerprint, fingerprint};
use crate::data::Samples;
use crate::error::Result;
use crate::input::Input;
use crate::inspect::operator_shares;
use crate::layers::{LayersReport, layers};
use crate::shrink::Comparing;

/// So many layers are shown.
pub(super) const MOST_LAYERS: usize = 20;

/// What only a report shows.
#[derive(Debug, Clone, Serialize)]
pub struct Detail {
    /// Sizes and hash of the model that was read.
    pub input_file: Fingerprint,
    /// Sizes and hash of the result, whether it was written or not.
    pub output_file: Fingerprint,
    /// Operators by kind, with the constants they are the first to read; those first that had most bytes.
    pub operators: Vec<OperatorSize>,
    /// The largest weights, that first which had most bytes.
    pub largest_weights: Vec<WeightSize>,
    /// Where drift is born; `null` where there is no data or it could not be measured.
    pub layers: Option<LayersReport>,
    /// Why there is no drift by layer.
    pub layers_reason: Option<String>,
    /// How the weights of the worst layers are spread.
    pub histograms: Vec<Histogram>,
}

/// The operators of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorSize {
    /// The operator, with its domain unless that is the default.
    pub operator: String,
    /// How many there were.
    pub nodes_before: u64,
    /// How many there are.
    pub nodes_after: u64,
    /// Bytes of the constants they read.
    pub bytes_before: u64,
    /// Bytes of the constants they read now.
    pub bytes_after: u64,
}

/// Compares original and result part by part. Without samples there is no drift by layer.
///
/// # Errors
/// Fails where a file cannot be read. That layers cannot be compared is no failure, the detail says why.
pub(crate) fn collect(
    before: &Input,
    after: &Input,
    samples: Result<&dyn Samples, &str>,
    how: &Comparing<'_>,
) -> Result<Detail> {
    let compared = samples.map_err(str::to_owned).and_then(|samples| {
        layers((&before.model, &before.file), (&after.model, &after.file), samples, how)
            .map_err(|error| error.what().to_owned())
    });
    let (layers, layers_reason) = match compared {
        Ok(layers) => (Some(layers), None),
        Err(reason) => (None, Some(reason)),
    };
    let pairs = weights::pairs(before, after);
    Ok(Detail {
        input_file: fingerprint(before)?,
        output_file: fingerprint(after)?,
        operators: operators(before, after)?,
        largest_weights: weights::largest(&pairs),
        histograms: weights::histograms(&pairs, after, layers.as_ref(), samples.ok(), how),
        layers,
        layers_reason,
    })
}

fn operators(before: &Input, after: &Input) -> Result<Vec<OperatorSize>> {
    let mut sizes: BTreeMap<String, OperatorSize> = BTreeMap::new();
    let mut add = |input: &Input, put: fn(&mut OperatorSize, u64, u64)| -> Result<()> {
        for share in operator_shares(&input.model)? {
            let size = sizes.entry(share.operator.clone()).or_insert_with(|| OperatorSize {
                operator: share.operator,
                nodes_before: 0,
                nodes_after: 0,
                bytes_before: 0,
                bytes_after: 0,
            });
            put(size, share.nodes, share.constant_bytes);
        }
        Ok(())
    };
    add(before, |size, nodes, bytes| (size.nodes_before, size.bytes_before) = (nodes, bytes))?;
    add(after, |size, nodes, bytes| (size.nodes_after, size.bytes_after) = (nodes, bytes))?;
    let mut sizes: Vec<OperatorSize> = sizes.into_values().collect();
    sizes.sort_by_key(|size| std::cmp::Reverse((size.bytes_before.max(size.bytes_after), size.nodes_before)));
    Ok(sizes)
}
