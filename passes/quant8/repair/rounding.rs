//! Rounding of weights by what they are multiplied with: GPTQ for Conv, Gemm and MatMul.
//!
//! ```text
//! Conv(x, DequantizeLinear(w_quantized, w_scale))   the same operators and scales, other levels in w_quantized
//! ```
//!
//! The inputs of a layer are no independent numbers: neighbours in a patch are much the same, and whole channels follow
//! each other. Rounding each weight to nearest leaves errors that add up on such inputs; rounding one by one, and moving
//! those that are left so that they make up for it, does not. The moments are those of the float model, so that they serve
//! whatever else is in integers.
//!
//! Left alone: weights that several operators read, and layers whose rows cannot be told or hold what is not finite.

use std::collections::BTreeMap;

use super::rows;
use crate::calib::{self, Layer, layer_of};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Graph, ValueId};
use crate::passes::common::holdout::Part;
use crate::passes::quant8::affine::{Layout, QuantizedWeights};
use crate::passes::quant8::base::{Base, Candidate};
use crate::passes::quant8::kernel::Kernel;
use crate::passes::quant8::plan::Plan;

/// Samples that moments are measured on at most: patches of images are many in each.
const MAX_SAMPLES: usize = 128;

/// Layers whose inputs are held at the same time.
const LAYERS_A_RUN: usize = 16;

/// 8-bit weights by the tensors that they stand for.
pub(in crate::passes::quant8) type Rounded = BTreeMap<ValueId, QuantizedWeights>;

/// A kernel whose weights can be rounded anew.
struct Target<'p> {
    kernel: &'p Kernel,
    layer: Layer,
    scales: Vec<f32>,
}

/// Rounds the weights of a candidate that was made by a plan, with the scales they have there.
///
/// # Errors
/// Fails where the float model cannot be run on the samples, or weights cannot be kept until they are written.
pub(in crate::passes::quant8) fn round(
    base: &Base<'_>,
    samples: &dyn Samples,
    plan: &Plan,
    candidate: &Candidate<'_>,
) -> Result<Rounded> {
    let (float, quantized) = (&base.model().graph, &candidate.model.graph);
    let targets: Vec<Target<'_>> = plan.kernels.iter().filter_map(|kernel| target(float, quantized, kernel)).collect();
    let layers: Vec<Layer> = targets.iter().map(|target| target.layer.clone()).collect();
    let few = Part::spread(samples, MAX_SAMPLES);
    let progress = base.env().progress;
    progress.start("rounding weights", layers.len() as u64);
    let mut rounded = Rounded::new();
    for round in calib::rounds(&layers) {
        for layers in round.chunks(LAYERS_A_RUN) {
            let moments = calib::measure(base.model(), layers, &few, base.measuring())?;
            for target in targets.iter().filter(|target| layers.contains(&target.layer)) {
                progress.advance(1);
                let Some(grams) = moments.of(&target.layer) else { continue };
                let layout = Layout::along(target.kernel.tensor.shape(), &target.kernel.axis);
                let weights = integer_weights(target.kernel);
                let Some(mut found) = rows::round(&weights, layout, &target.scales, grams) else { continue };
                found.values = base.env().scratch.park(found.values)?;
                rounded.insert(target.kernel.weight, found);
            }
        }
    }
    progress.finish();
    Ok(rounded)
}

/// The kernel with the scales that its weights have in the candidate.
fn target<'p>(float: &Graph, quantized: &Graph, kernel: &'p Kernel) -> Option<Target<'p>> {
    if float.use_count(kernel.weight) != 1 {
        return None;
    }
    let layer = layer_of(float, kernel.node, kernel.tensor.shape())?;
    let (restored, _) = quantized.producer(quantized.input(kernel.node, 1)?)?;
    if !quantized.node(restored).is("DequantizeLinear") {
        return None;
    }
    let scales = quantized.constant(quantized.input(restored, 1)?)?.to_f32()?;
    Some(Target { kernel, layer, scales })
}

/// The weights that integers are multiplied with: those of outliers are zero.
fn integer_weights(kernel: &Kernel) -> Vec<f32> {
    let mut weights = kernel.tensor.to_f32().unwrap_or_default();
    let layout = Layout::along(kernel.tensor.shape(), &kernel.axis);
    for channel in 0..layout.channels {
        let places: Vec<usize> = layout.elements(channel, weights.len()).collect();
        kernel.outliers.iter().filter_map(|&outlier| places.get(outlier)).for_each(|&at| weights[at] = 0.0);
    }
    weights
}
