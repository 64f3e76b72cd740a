//! Weights as 8-bit integers in front of operators that go on computing in float.
//!
//! ```text
//! Conv(x, w)    =>  w = Mul(Cast(w_quantized), w_scale)             Conv(x, w)
//! MatMul(x, w)  =>  w = DequantizeLinear(w_quantized, w_scale)      MatMul(x, w)
//! ```
//!
//! Runtimes compute Cast and Mul of constants once, when they load the model, so that the first form runs as fast as float
//! with the same rounded weights. They never do that for DequantizeLinear: it is computed on every run unless the runtime
//! has a kernel that reads 8-bit weights. Where it has one, in front of MatMul and Gemm, it depends on the processor and
//! the number of rows which form is faster, so the second is used on request only. The restored value keeps the name of
//! the weights, so whoever reads them, in whatever graph, reads on.
//!
//! Left alone: weights with values that are not finite, that are inputs or outputs of a graph, that something reads as
//! other than weights, that are too small to gain.

use rayon::prelude::*;

use super::affine::{Layout, QuantizedWeights, balance_weights, quantize_weights, weight_scales};
use super::levels::{Level, Levels};
use super::options::{Form, Settings};
use crate::error::Result;
use crate::ir::{DType, Graph, Model, NodeId, NodeSpec, Tensor, ValueId};
use crate::pass::{Changed, Cx};
use crate::passes::common::half::{self, HalfType};
use crate::passes::common::role::{Role, float_constant, role_of};
use crate::passes::common::stored::store_parts;

/// DequantizeLinear with one scale a channel came with this operator set.
const FIRST_OPSET_WITH_AXIS: i64 = 13;

/// Bytes of two operators and two initializers besides names and contents.
const OVERHEAD_BYTES: u64 = 120;

/// Weights that can be quantized.
pub(super) struct Candidate {
    pub(super) value: ValueId,
    pub(super) tensor: Tensor,
    pub(super) role: Role,
    /// The first operator that reads them: what restores them stands beside it.
    pub(super) reader: NodeId,
}

/// Quantizes the weights of every graph of the model.
///
/// # Errors
/// Fails where weights cannot be kept until they are written, or an edit fails, which is a defect.
pub(super) fn quantize(model: &mut Model, settings: &Settings, cx: &mut Cx<'_>) -> Result<Changed> {
    let opset = model.opset();
    let mut changed = Changed::No;
    model.edit_graphs(|graph, path| {
        cx.enter(path);
        // Levels are of the main graph's tensors.
        let levels = if path.is_empty() { settings.levels.clone() } else { Levels::default() };
        let candidates = candidates(graph, settings, &levels, cx);
        let is_wide = |candidate: &Candidate| levels.of(candidate.value) == Level::Sixteen;
        let (wide, candidates): (Vec<Candidate>, Vec<Candidate>) = candidates.into_iter().partition(is_wide);
        for candidate in wide {
            changed |= half::store_one(graph, candidate.value, HalfType::F16, cx)?;
        }
        let scratch = cx.env.scratch;
        // Entries of a table are looked up, not summed.
        let summed: Vec<bool> =
            candidates.iter().map(|c| !c.role.kept.is_empty() && !graph.node(c.reader).is("Gather")).collect();
        let quantized = candidates
            .par_iter()
            .zip(summed)
            .map(|(c, is_summed)| {
                let layout = Layout::along(c.tensor.shape(), &c.role.kept);
                let Some(scales) = weight_scales(&c.tensor, layout) else { return Ok(None) };
                let mut quantized = quantize_weights(&c.tensor, layout, scales);
                if is_summed {
                    balance_weights(&c.tensor, layout, &mut quantized);
                }
                quantized.values = scratch.park(quantized.values)?;
                Ok(Some(quantized))
            })
            .collect::<Result<Vec<Option<QuantizedWeights>>>>()?;
        for (candidate, quantized) in candidates.into_iter().zip(quantized) {
            let site = graph.site(candidate.reader).with_tensor(graph.value(candidate.value).describe());
            let Some(quantized) = quantized else {
                cx.skipped(site, "some of its values are not finite, or too large to restore");
                continue;
            };
            let form = choose_form(settings.form, &candidate, opset);
            let figures = figures(&candidate, &quantized);
            replace(graph, &candidate, quantized, form)?;
            cx.measured(site, describe(&candidate.role, form), &figures);
            changed = Changed::Yes;
        }
        Ok(())
    })?;
    cx.enter(&[]);
    Ok(changed)
}

/// The weights of one graph, in a stable order; says why where large constants are none.
pub(super) fn candidates(graph: &Graph, settings: &Settings, levels: &Levels, cx: &mut Cx<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    let has_run = restores_integers(graph);
    for value in graph.values() {
        let Some((reader, tensor)) = float_constant(graph, value) else { continue };
        if has_run && tensor.dtype() != DType::F32 && graph.node(reader).is("Cast") {
            // An earlier run kept it so, to reach its target.
            continue;
        }
        let site = || graph.site(reader).with_tensor(graph.value(value).describe());
        let role = role_of(graph, value, tensor.shape());
        if (tensor.len() as u64) < settings.min_elements {
            if role.is_ok() {
                cx.skipped(site(), format!("fewer than {} elements: stays float", settings.min_elements));
            }
            continue;
        }
        let is_excluded = || {
            let readers: Vec<NodeId> = graph.uses(value).iter().map(|one| one.node).collect();
            settings.selection.excludes(graph, value, &readers)
        };
        match role {
            Err(reason) => cx.skipped(site(), reason),
            Ok(_) if graph.value(value).is_input() => {
                cx.skipped(site(), "it is an input of the graph too: a caller may replace it");
            }
            Ok(_) if is_excluded() => cx.skipped(site(), "excluded"),
            // Whoever chose the level says why.
            Ok(_) if levels.of(value) == Level::Float => {}
            Ok(role) if !gets_smaller(graph, value, &tensor, &role) => {
                cx.skipped(site(), "so few weights share a scale that the file would not get smaller");
            }
            Ok(role) => found.push(Candidate { value, tensor, role, reader }),
        }
    }
    found
}

/// Whether weights are restored from 8 bits by Cast and Mul, as this pass leaves them.
fn restores_integers(graph: &Graph) -> bool {
    let is_restored = |node: &NodeId| {
        let input = graph.input(*node, 0).and_then(|value| graph.constant(value));
        let output = graph.output(*node, 0).and_then(|value| graph.only_use(value));
        input.is_some_and(|tensor| tensor.dtype() == DType::I8)
            && output.is_some_and(|(reader, _)| graph.node(reader).is("Mul"))
    };
    graph.nodes().iter().filter(|&&node| graph.node(node).is("Cast")).any(is_restored)
}

fn gets_smaller(graph: &Graph, value: ValueId, tensor: &Tensor, role: &Role) -> bool {
    let element_bytes = tensor.dtype().bits() / 8;
    let scales = Layout::along(tensor.shape(), &role.kept).channels as u64;
    let names = 8 * graph.value(value).name().len() as u64;
    tensor.len() as u64 + scales * element_bytes + OVERHEAD_BYTES + names < tensor.byte_len()
}

/// The form for one tensor. DequantizeLinear gives 32-bit floats below operator set 19, and has one axis.
fn choose_form(form: Form, candidate: &Candidate, opset: i64) -> Form {
    let fits =
        opset >= FIRST_OPSET_WITH_AXIS && candidate.tensor.dtype() == DType::F32 && candidate.role.kept.len() <= 1;
    if form == Form::Dq && fits && candidate.role.has_dq_kernel { Form::Dq } else { Form::Cast }
}

fn describe(role: &Role, form: Form) -> String {
    let scales = match role.kept.len() {
        0 => "one scale".to_owned(),
        1 => format!("a scale for each entry of axis {}", role.kept.start),
        _ => format!("a scale for each entry of axes {} to {}", role.kept.start, role.kept.end - 1),
    };
    let restored = if form == Form::Cast { "Cast and Mul" } else { "DequantizeLinear" };
    format!("int8 weights, {scales}, restored by {restored}")
}

fn figures(candidate: &Candidate, quantized: &QuantizedWeights) -> [(&'static str, f64); 3] {
    let scale_bytes = quantized.scales.len() as u64 * candidate.tensor.dtype().bits() / 8;
    [
        ("snr_db", quantized.energy.snr_db()),
        ("bytes_before", candidate.tensor.byte_len() as f64),
        ("bytes_after", (quantized.values.len() as u64 + scale_bytes) as f64),
    ]
}

/// Puts 8-bit weights and what restores them in the place of a constant, stored as the constant was: as initializers, or
/// as `Constant` operators, which function bodies need.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn replace(graph: &mut Graph, candidate: &Candidate, quantized: QuantizedWeights, form: Form) -> Result<()> {
    let Candidate { value, tensor, role, reader } = candidate;
    let (dtype, shape) = (tensor.dtype(), tensor.shape());
    let name = graph.value(*value).name().to_owned();
    let scale_shape: Vec<u64> = match form {
        Form::Dq | Form::DqWithZeroPoints => role.kept.clone().map(|axis| shape[axis]).collect(),
        _ if role.kept.is_empty() => Vec::new(),
        _ => (0..shape.len()).map(|axis| if role.kept.contains(&axis) { shape[axis] } else { 1 }).collect(),
    };
    let mut parts = vec![
        (format!("{name}_quantized"), Tensor::new(DType::I8, shape, quantized.values)?),
        (format!("{name}_scale"), Tensor::from_floats(dtype, scale_shape.clone(), &quantized.scales)?),
    ];
    if form == Form::DqWithZeroPoints {
        let zeros = vec![0; quantized.scales.len()];
        parts.push((format!("{name}_zero_point"), Tensor::from_i8(scale_shape, &zeros)?));
    }
    let stored = store_parts(graph, *value, (dtype, shape), parts)?;
    let near = *reader;
    if form != Form::Cast {
        let axis = role.kept.start as i64;
        let spec = NodeSpec::new("DequantizeLinear");
        let spec = if role.kept.is_empty() { spec } else { spec.attr("axis", axis) };
        let inputs: Vec<Option<ValueId>> = stored.into_iter().map(Some).collect();
        graph.add_node(spec, &inputs, &[*value], near)?;
        return Ok(());
    }
    let [values, scales] = stored[..] else { return Ok(()) };
    let cast = NodeSpec::new("Cast").attr("to", i64::from(dtype.to_onnx()));
    let cast = graph.add_op(cast, &[values], &format!("{name}_cast"), near)?;
    graph.add_node(NodeSpec::new("Mul"), &[Some(cast), Some(scales)], &[*value], near)?;
    Ok(())
}
