//! Constants in 16 bits in front of operators that go on computing in their own type.

use rayon::prelude::*;

use super::fit::{Misfit, fit, kept_snr_db, narrowed};
use super::{Half, HalfType};
use crate::error::{Result, Site};
use crate::ir::{DType, Graph, Model, NodeId, NodeSpec, Port, Tensor, ValueId};
use crate::pass::{Changed, Cx, Scratch};
use crate::passes::common::layout::Layout;
use crate::passes::common::role::{float_constant, role_of};
use crate::passes::common::stored::store_parts;

/// Tables from this size on are looked up before they are widened: what is looked up is little beside them.
const LARGE_TABLE_ELEMENTS: usize = 1 << 18;

/// Vectors up to this size stay as they are: a bias is a small part of a model, and each output feels the whole of its error.
const LARGEST_VECTOR_ELEMENTS: usize = 1 << 16;

/// What a constant is kept as.
struct Kept {
    tensor: Tensor,
    /// The stored values are those of the constant times two to this power.
    exponent: i32,
    snr_db: f64,
}

/// A constant that may be kept in 16 bits.
struct Candidate {
    value: ValueId,
    tensor: Tensor,
    /// The first operator that reads it: what restores it stands beside that.
    reader: NodeId,
    /// The operators that read it, where all of them look entries up in a large table.
    lookups: Vec<NodeId>,
    /// The channels of weights, whose errors are to cancel.
    channels: Option<Layout>,
}

impl Candidate {
    fn narrow(&self, half: HalfType, scratch: &Scratch) -> Result<std::result::Result<Kept, Misfit>> {
        let exponent = match fit(&self.tensor, half) {
            Ok(exponent) => exponent,
            Err(misfit) => return Ok(Err(misfit)),
        };
        let kept = narrowed(&self.tensor, half, exponent, self.channels)?;
        let snr_db = kept_snr_db(&self.tensor, &kept, exponent);
        let tensor = Tensor::new(kept.dtype(), kept.shape(), scratch.park(kept.data().clone())?)?;
        Ok(Ok(Kept { tensor, exponent, snr_db }))
    }
}

/// Keeps the large enough constants of every graph of the model in 16 bits.
///
/// # Errors
/// Fails where weights cannot be kept until they are written, or an edit fails, which is a defect.
pub(super) fn store(model: &mut Model, settings: &Half, cx: &mut Cx<'_>) -> Result<Changed> {
    let mut changed = Changed::No;
    model.edit_graphs(|graph, path| {
        cx.enter(path);
        changed |= store_graph(graph, settings, cx)?;
        Ok(())
    })?;
    cx.enter(&[]);
    Ok(changed)
}

fn store_graph(graph: &mut Graph, settings: &Half, cx: &mut Cx<'_>) -> Result<Changed> {
    let half = settings.half;
    let candidates = candidates(graph, settings, cx);
    let scratch = cx.env.scratch;
    let narrowed = candidates
        .par_iter()
        .map(|candidate| candidate.narrow(half, scratch))
        .collect::<Result<Vec<std::result::Result<Kept, Misfit>>>>()?;
    let mut changed = Changed::No;
    for (candidate, narrowed) in candidates.iter().zip(narrowed) {
        let site = graph.site(candidate.reader).with_tensor(graph.value(candidate.value).describe());
        let kept = match narrowed {
            Ok(kept) => kept,
            Err(misfit) => {
                cx.skipped(site, misfit.reason(half));
                continue;
            }
        };
        let cost = added_bytes(graph.value(candidate.value).name(), kept.exponent);
        if saved_bytes(&candidate.tensor) < 2 * cost {
            cx.skipped(site, "the power of two that it needs in 16 bits would cost too many bytes");
            continue;
        }
        if kept.exponent != 0 && settings.computes {
            // Restored by arithmetic, it would be computed in 16 bits by the next run.
            cx.skipped(site, "its values are too small for 16 bits");
            continue;
        }
        changed = Changed::Yes;
        let figures = figures(&candidate.tensor, kept.snr_db);
        let text = replace(graph, candidate, kept, half)?;
        cx.measured(site, text, &figures);
    }
    Ok(changed)
}

/// Keeps one constant in 16 bits, restored beside its first reader, and says so; nothing where it does not fit them.
///
/// # Errors
/// Fails where it cannot be kept until it is written, or an edit fails, which is a defect.
pub(in crate::passes) fn store_one(
    graph: &mut Graph,
    value: ValueId,
    half: HalfType,
    cx: &mut Cx<'_>,
) -> Result<Changed> {
    let Some((reader, tensor)) = float_constant(graph, value).filter(|(_, tensor)| tensor.dtype() == DType::F32) else {
        return Ok(Changed::No);
    };
    let channels = channels(graph, value, reader, tensor.shape());
    let candidate = Candidate { value, tensor, reader, lookups: Vec::new(), channels };
    let site = graph.site(reader).with_tensor(graph.value(value).describe());
    match candidate.narrow(half, cx.env.scratch)? {
        Ok(kept) => {
            let figures = figures(&candidate.tensor, kept.snr_db);
            let text = replace(graph, &candidate, kept, half)?;
            cx.measured(site, text, &figures);
            Ok(Changed::Yes)
        }
        Err(misfit) => {
            cx.skipped(site, misfit.reason(half));
            Ok(Changed::No)
        }
    }
}

/// The constants of one graph that are worth it, in a stable order; says why where others are left alone.
fn candidates(graph: &Graph, settings: &Half, cx: &mut Cx<'_>) -> Vec<Candidate> {
    let mut found = Vec::new();
    for value in graph.values() {
        let Some((reader, tensor)) = float_constant(graph, value) else { continue };
        if !matches!(tensor.dtype(), DType::F32 | DType::F64) {
            continue;
        }
        let held = graph.value(value);
        let site = || -> Site { graph.site(reader).with_tensor(held.describe()) };
        match () {
            () if is_vector(&tensor) => {}
            () if (tensor.len() as u64) < settings.min_elements => {
                cx.skipped(site(), format!("fewer than {} elements: stays as it is", settings.min_elements));
            }
            () if saved_bytes(&tensor) < 2 * added_bytes(held.name(), 0) => {
                cx.skipped(site(), "what restores it would take most of the bytes that it saves");
            }
            () if held.is_pinned() => cx.skipped(site(), "other parts of the file refer to it by name"),
            () if held.is_input() => {
                cx.skipped(site(), "it is an input of the graph too: a caller may replace it");
            }
            () if held.is_output() => cx.skipped(site(), "it is an output of its graph"),
            () if settings.exclude.has_weights(graph, value) => cx.skipped(site(), "excluded"),
            () => match constant_reader(graph, value) {
                Some(reader) => {
                    cx.skipped(site(), format!("{reader} reads it, and may need a constant"));
                }
                None => {
                    let lookups = lookups(graph, value);
                    let channels = channels(graph, value, reader, tensor.shape());
                    found.push(Candidate { value, tensor, reader, lookups, channels });
                }
            },
        }
    }
    found
}

/// Whether all elements lie along one axis, and are few.
fn is_vector(tensor: &Tensor) -> bool {
    tensor.len() <= LARGEST_VECTOR_ELEMENTS && tensor.shape().iter().filter(|&&extent| extent != 1).count() <= 1
}

/// The channels of a constant that something multiplies with. What is looked up in a table is not summed.
fn channels(graph: &Graph, value: ValueId, reader: NodeId, shape: &[u64]) -> Option<Layout> {
    let role = role_of(graph, value, shape).ok().filter(|role| !role.kept.is_empty())?;
    (!graph.node(reader).is("Gather")).then(|| Layout::along(shape, &role.kept))
}

/// An operator that reads a value and that runtimes may refuse, or not fuse, unless it is stored as it is: those of
/// quantization, and those of other operator sets.
fn constant_reader(graph: &Graph, value: ValueId) -> Option<Site> {
    for one in graph.uses(value) {
        let held = graph.node(one.node);
        let is_quantization = held.op_type().starts_with("QLinear")
            || held.is_any(&["QuantizeLinear", "DequantizeLinear", "ConvInteger", "MatMulInteger"]);
        match one.port {
            Port::In(_) if is_quantization || !held.domain().is_empty() => return Some(graph.site(one.node)),
            Port::Capture => {
                let name = graph.value(value).name();
                for inner in held.subgraphs() {
                    let captured = inner.graph.find_value(name).filter(|&v| inner.graph.value(v).is_outer());
                    if let Some(site) = captured.and_then(|captured| constant_reader(&inner.graph, captured)) {
                        return Some(site);
                    }
                }
            }
            _ => {}
        }
    }
    None
}

/// The operators that read a large table, where all of them look entries up in it.
fn lookups(graph: &Graph, value: ValueId) -> Vec<NodeId> {
    let is_large = graph.constant(value).is_some_and(|tensor| tensor.len() >= LARGE_TABLE_ELEMENTS);
    let lookup = |one: &crate::ir::Use| {
        let output = graph.output(one.node, 0)?;
        let is_lookup = one.port == Port::In(0) && graph.node(one.node).is("Gather");
        (is_lookup && !graph.value(output).is_pinned()).then_some(one.node)
    };
    let all: Option<Vec<NodeId>> = graph.uses(value).iter().map(lookup).collect();
    all.filter(|_| is_large).unwrap_or_default()
}

/// Bytes that a constant gets smaller by.
fn saved_bytes(tensor: &Tensor) -> u64 {
    tensor.byte_len() - 2 * tensor.len() as u64
}

/// Bytes that restoring a constant of that name takes: a Cast, and a Mul by a power of two where there is one. The names
/// of what is stored and of what lies between them are those of the constant and a few letters more.
fn added_bytes(name: &str, exponent: i32) -> u64 {
    let name = name.len() as u64;
    let cast = 2 * name + 40;
    if exponent == 0 { cast } else { cast + 4 * name + 70 }
}

fn figures(tensor: &Tensor, snr_db: f64) -> Vec<(&'static str, f64)> {
    let mut figures = vec![("bytes_before", tensor.byte_len() as f64), ("bytes_after", 2.0 * tensor.len() as f64)];
    if snr_db.is_finite() {
        figures.insert(0, ("snr_db", snr_db));
    }
    figures
}

/// Puts what is kept and what restores it in the place of a constant, and says so.
fn replace(graph: &mut Graph, candidate: &Candidate, kept: Kept, half: HalfType) -> Result<String> {
    let &Candidate { value, ref tensor, reader, ref lookups, .. } = candidate;
    let Kept { tensor: kept, exponent, .. } = kept;
    let (dtype, narrow) = (tensor.dtype(), half.dtype());
    if !lookups.is_empty() && exponent == 0 {
        graph.set_constant(value, kept)?;
        for &lookup in lookups {
            widen_after(graph, lookup, dtype, half)?;
        }
        return Ok(format!("kept as {narrow}, entries restored by Cast once they are looked up"));
    }
    let name = graph.value(value).name().to_owned();
    let mut parts = vec![(format!("{name}_{}", half.suffix()), kept)];
    if exponent != 0 {
        let scale = Tensor::from_f64(dtype, [], &[2f64.powi(-exponent)])?;
        parts.push((format!("{name}_scale"), scale));
    }
    let stored = store_parts(graph, value, (dtype, tensor.shape()), parts)?;
    let cast = NodeSpec::new("Cast").attr("to", i64::from(dtype.to_onnx()));
    match stored[..] {
        [kept] => {
            graph.add_node(cast, &[Some(kept)], &[value], reader)?;
            Ok(format!("kept as {narrow}, restored by Cast"))
        }
        [kept, scale] => {
            let wide = graph.add_op(cast, &[kept], &format!("{name}_cast"), reader)?;
            graph.add_node(NodeSpec::new("Mul"), &[Some(wide), Some(scale)], &[value], reader)?;
            Ok(format!("kept as {narrow} times 2^{exponent}, which keeps its small values; restored by Cast and Mul"))
        }
        _ => Ok(String::new()),
    }
}

/// Lets an operator write a narrow value, and a Cast after it the value that it wrote.
fn widen_after(graph: &mut Graph, node: NodeId, dtype: DType, half: HalfType) -> Result<()> {
    let Some(wide) = graph.output(node, 0) else { return Ok(()) };
    let name = format!("{}_{}", graph.value(wide).name(), half.suffix());
    let narrow = graph.add_value(&name, crate::ir::ValueType::Unknown);
    graph.set_output(node, 0, narrow)?;
    let cast = NodeSpec::new("Cast").attr("to", i64::from(dtype.to_onnx()));
    graph.add_node(cast, &[Some(narrow)], &[wide], node)?;
    Ok(())
}
