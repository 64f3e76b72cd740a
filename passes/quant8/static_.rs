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

use super::options::Settings;
use super::range::{ActivationParameters, Range};
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
        let sources = plan.sources();
        let unknown: Vec<ValueId> = sources.keys().copied().filter(|value| !ranges.contains_key(value)).collect();
        if !unknown.is_empty() {
            ranges.extend(calibrate::ranges(model, &unknown, samples, cx.env)?);
        }
        let before = barred.len();
        barred.extend(sources.keys().filter(|value| ranges.get(value).is_none_or(|range| !range.is_usable())));
        if barred.len() > before {
            continue;
        }
        cx.append(draft);
        if plan.kernels.is_empty() {
            return Ok(Changed::No);
        }
        let mut covered: BTreeMap<ValueId, Range> = BTreeMap::new();
        for (value, &source) in &sources {
            let seen = ranges.get(value).copied().unwrap_or(Range::EMPTY);
            let range = covered.entry(source).or_insert(Range::EMPTY);
            *range = range.union(seen);
        }
        let parameters: BTreeMap<ValueId, ActivationParameters> = covered
            .into_iter()
            .map(|(source, range)| {
                let bound = plan.bounds.get(&source).copied().unwrap_or(f32::INFINITY);
                (source, range.parameters().bounded(bound))
            })
            .collect();
        qdq::apply(&mut model.graph, plan, &parameters, cx)?;
        return Ok(Changed::Yes);
    }
}
