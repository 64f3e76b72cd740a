//! Integer arithmetic around Conv, Gemm and MatMul, in the form that runtimes recognise.
//!
//! ```text
//! y = Relu(Conv(x, w, b))  =>  x_dq = DequantizeLinear(QuantizeLinear(x))
//!                              y = DequantizeLinear(QuantizeLinear(Relu(Conv(x_dq, w_dq, b_dq))))
//! ```
//!
//! Activations are uint8 with one scale and zero point a value, weights int8 with a scale a channel, biases int32 with the
//! scale of the products they are added to. Only the main graph is quantized so: what others compute is not measured.
//!
//! Left in float: products of two activations, constant left operands, Gemm with transA, alpha or beta, and small
//! matrices, for which integers are slower.

use std::collections::{BTreeMap, BTreeSet};

use super::affine::{ActivationParameters, Range};
use super::options::Settings;
use super::{calibrate, kernel, plan, qdq};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Model, ValueId};
use crate::pass::{Changed, Cx};

/// Quantizes the main graph with ranges measured on samples.
///
/// # Errors
/// Fails where no backend can run the model on the samples; the model is as it was then.
pub(super) fn quantize(
    model: &mut Model,
    settings: &Settings,
    samples: &dyn Samples,
    cx: &mut Cx<'_>,
) -> Result<Changed> {
    let order = model.graph.topological_order()?;
    let mut barred: BTreeSet<ValueId> = BTreeSet::new();
    let mut ranges: BTreeMap<ValueId, Range> = BTreeMap::new();
    loop {
        // Remarks of plans that are given up would be said twice.
        let mut draft = Cx::new(cx.env, super::INFO.name);
        let kernels = kernel::kernels(&model.graph, &order, &barred, settings, &mut draft);
        let plan = plan::plan(&model.graph, &order, kernels, &barred);
        let unknown: Vec<ValueId> = plan.sources().into_iter().filter(|v| !ranges.contains_key(v)).collect();
        if !unknown.is_empty() {
            ranges.extend(calibrate::ranges(model, &unknown, samples, cx.env)?);
        }
        let unseen = |value: &ValueId| ranges.get(value).is_none_or(|range| !range.is_usable());
        let before = barred.len();
        barred.extend(plan.sources().into_iter().filter(unseen));
        if barred.len() > before {
            continue;
        }
        if plan.kernels.is_empty() {
            cx.append(draft);
            return Ok(Changed::No);
        }
        cx.append(draft);
        let parameters: BTreeMap<ValueId, ActivationParameters> = plan
            .sources()
            .into_iter()
            .filter_map(|source| {
                let parameters = ranges.get(&source)?.parameters();
                let bound = plan.bounds.get(&source);
                Some((source, bound.map_or(parameters, |&bound| parameters.bounded(bound))))
            })
            .collect();
        qdq::apply(&mut model.graph, plan, &parameters, cx)?;
        return Ok(Changed::Yes);
    }
}
