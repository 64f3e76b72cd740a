//! The operators with weights that get integer arithmetic: which they are, and what belongs to each.

use std::collections::BTreeSet;
use std::ops::Range;

use super::affine::{Layout, weight_scales};
use super::levels::Level;
use super::options::Settings;
use crate::ir::{DType, Graph, NodeId, Port, Tensor, ValueId};
use crate::pass::Cx;

/// Products with a smaller matrix take longer to quantize what they read than to compute in float; what an operator in
/// integers hands them is quantized already, and would have to be restored for them.
pub(super) const SMALLEST_MATRIX: usize = 64 * 64;

/// Conv, Gemm or MatMul with constant weights.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    pub(super) node: NodeId,
    /// The activation, in slot 0.
    pub(super) input: ValueId,
    /// The weights, in slot 1.
    pub(super) weight: ValueId,
    pub(super) tensor: Tensor,
    /// The axis of the weights that the output channels lie on.
    pub(super) axis: Range<usize>,
    /// A scale a channel.
    pub(super) scales: Vec<f32>,
    pub(super) bias: Option<Bias>,
    /// What the operator, with the operators a runtime merges into it, writes.
    pub(super) tail: Tail,
    /// Whether runtimes compute in integers only where the output is quantized too.
    pub(super) needs_quantized_output: bool,
    /// Channels of the input that are computed in float beside the integers.
    pub(super) outliers: Vec<usize>,
}

impl Kernel {
    /// Whether a float product is added to that of the integers.
    pub(super) fn is_split(&self) -> bool {
        !self.outliers.is_empty()
    }

    /// The same beside a float product of some channels. What follows reads the sum, so that neither an Add of a bias nor
    /// an activation function can be merged into the integers.
    #[must_use]
    pub(super) fn split(self, outliers: Vec<usize>) -> Self {
        let bias = self.bias.filter(|bias| bias.node == self.node);
        Self { outliers, bias, needs_quantized_output: false, ..self }
    }
}

/// A constant that is added to every channel of the output: an operand of the operator or of an Add behind it.
#[derive(Debug, Clone)]
pub(super) struct Bias {
    pub(super) node: NodeId,
    pub(super) slot: usize,
    pub(super) value: ValueId,
    pub(super) values: Vec<f32>,
}

/// Activations that runtimes merge into a float product in front of them, which then cannot become an integer one.
const MERGED_ACTIVATIONS: &[&str] =
    &["Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"];

/// The last value of an operator and the Relu or Clip that runtimes merge into the quantization of its output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) value: ValueId,
    /// The upper bound of the Relu (infinity) or Clip: a quantized range that begins below 0 or ends above it would keep
    /// them from being merged.
    pub(super) bound: Option<f32>,
}

/// What decides about the kernels of a graph besides the graph.
pub(super) struct Around<'a> {
    /// Values that cannot be quantized: nothing finite was seen of them.
    pub(super) barred: &'a BTreeSet<ValueId>,
    /// Values that are integers whether or not a product reads them: that lets small ones be kernels.
    pub(super) integers: &'a BTreeSet<ValueId>,
    pub(super) settings: &'a Settings,
}

/// The kernels of a graph in topological order, and remarks for those that stay float.
pub(super) fn kernels(graph: &Graph, order: &[NodeId], around: &Around<'_>, cx: &mut Cx<'_>) -> Vec<Kernel> {
    let mut found: Vec<Kernel> = Vec::new();
    for &node in order {
        match kernel(graph, node, around) {
            Ok(Some(kernel)) => found.push(kernel),
            Ok(None) => {}
            Err(reason) => cx.skipped(graph.site(node), format!("float arithmetic: {reason}")),
        }
    }
    drop_kernels_with_shared_weights(graph, &mut found, cx);
    found
}

/// Whether a product that is too small to be a kernel by itself reads one of these values.
pub(super) fn reads_small(graph: &Graph, values: &BTreeSet<ValueId>) -> bool {
    let is_small = |weight: ValueId| graph.constant(weight).is_some_and(|tensor| tensor.len() < SMALLEST_MATRIX);
    values.iter().flat_map(|&value| graph.uses(value)).any(|one| {
        one.port == Port::In(0)
            && graph.node(one.node).is_any(&["Gemm", "MatMul"])
            && graph.input(one.node, 1).is_some_and(is_small)
    })
}

/// The operator as a kernel; `None` where it is something else or quantized already, the reason where it has to stay float.
fn kernel(graph: &Graph, node: NodeId, around: &Around<'_>) -> Result<Option<Kernel>, String> {
    let Around { barred, integers, settings } = *around;
    let held = graph.node(node);
    if !held.is_any(&["Conv", "Gemm", "MatMul"]) {
        return Ok(None);
    }
    let (Some(input), Some(weight)) = (graph.input(node, 0), graph.input(node, 1)) else { return Ok(None) };
    if graph.constant(input).is_some_and(|t| t.dtype() == DType::F32) {
        return Err("its left operand is constant".to_owned());
    }
    let Some(tensor) = graph.constant(weight).filter(|t| t.dtype() == DType::F32) else { return Ok(None) };
    if settings.selection.excludes(graph, weight, &[node]) {
        return Err("excluded".to_owned());
    }
    if settings.levels.of(weight) > Level::Integers {
        // Whoever chose the level says why.
        return Ok(None);
    }
    if graph.value(weight).is_output() {
        return Err("its weights are an output of the graph".to_owned());
    }
    if !held.is("Conv") && tensor.len() < SMALLEST_MATRIX && !integers.contains(&input) {
        return Err(format!("{} weights are too few for integers to be faster", tensor.len()));
    }
    let axis = weight_axis(graph, node, &tensor)?;
    let scales =
        weight_scales(&tensor, Layout::along(tensor.shape(), &axis)).ok_or("some of its weights are not finite")?;
    let bias = bias(graph, node, scales.len())?;
    // The operator itself, or the Add behind it.
    let last = bias.as_ref().map_or(node, |bias| bias.node);
    let tail = tail(graph, last).ok_or("it writes nothing")?;
    let next = graph.output(last, 0).and_then(|output| graph.only_use(output));
    let is_merged = next.is_some_and(|(next, _)| graph.node(next).is_any(MERGED_ACTIVATIONS));
    let needs_quantized_output = held.is("Conv") || is_merged;
    if barred.contains(&input) || (needs_quantized_output && barred.contains(&tail.value)) {
        return Err("no finite value was seen around it".to_owned());
    }
    Ok(Some(Kernel {
        node,
        input,
        weight,
        tensor,
        axis,
        scales,
        bias,
        tail,
        needs_quantized_output,
        outliers: Vec::new(),
    }))
}

/// The axis of output channels, where the operator is one that runtimes compute in integers.
fn weight_axis(graph: &Graph, node: NodeId, tensor: &Tensor) -> Result<Range<usize>, String> {
    let held = graph.node(node);
    let one = |axis: usize| axis..axis + 1;
    if held.is("Conv") {
        return if tensor.rank() >= 3 { Ok(one(0)) } else { Err("its weights have too few axes".to_owned()) };
    }
    if tensor.rank() != 2 {
        return Err(format!("its weights have {} axes, not 2", tensor.rank()));
    }
    if held.is("MatMul") {
        return Ok(one(1));
    }
    if held.attr_int("transA", 0) != 0 {
        return Err("transA".to_owned());
    }
    let has_bias = graph.input(node, 2).is_some();
    if held.attr_float("alpha", 1.0) != 1.0 || (has_bias && held.attr_float("beta", 1.0) != 1.0) {
        return Err("runtimes compute alpha and beta other than 1 in float".to_owned());
    }
    Ok(one(usize::from(held.attr_int("transB", 0) == 0)))
}

/// The bias of a kernel; an error where it has one that is not a constant of a number a channel.
fn bias(graph: &Graph, node: NodeId, channels: usize) -> Result<Option<Bias>, String> {
    if graph.node(node).is("MatMul") {
        return Ok(added_bias(graph, node, channels));
    }
    let Some(value) = graph.input(node, 2) else { return Ok(None) };
    match constant_bias(graph, value, channels) {
        Some(values) => Ok(Some(Bias { node, slot: 2, value, values })),
        None => Err("its bias is no constant of a number a channel".to_owned()),
    }
}

/// The constant operand of an Add that alone reads a product: runtimes merge the two.
pub(super) fn added_bias(graph: &Graph, product: NodeId, channels: usize) -> Option<Bias> {
    let (node, slot) = graph.only_use(graph.output(product, 0)?)?;
    let other = 1usize.checked_sub(slot).filter(|_| graph.node(node).is("Add"))?;
    let value = graph.input(node, other)?;
    // One of more axes might give the sum more axes than the product has.
    graph.constant(value).filter(|bias| bias.rank() == 1)?;
    let values = constant_bias(graph, value, channels)?;
    Some(Bias { node, slot: other, value, values })
}

fn constant_bias(graph: &Graph, value: ValueId, channels: usize) -> Option<Vec<f32>> {
    let tensor = graph.constant(value).filter(|t| t.dtype() == DType::F32)?;
    let fits = tensor.len() == channels && tensor.shape().last().copied() == Some(channels as u64);
    tensor.to_f32().filter(|values| fits && values.iter().all(|v| v.is_finite()))
}

/// The last value of an operator together with a Relu or Clip that alone reads its output.
pub(super) fn tail(graph: &Graph, node: NodeId) -> Option<Tail> {
    let value = graph.output(node, 0)?;
    let plain = Tail { value, bound: None };
    let Some((next, 0)) = graph.only_use(value) else { return Some(plain) };
    let bound = match graph.node(next) {
        held if held.is("Relu") => f32::INFINITY,
        held if held.is("Clip") => {
            let limit = |slot| graph.input(next, slot).map(|v| graph.constant(v).and_then(|t| t.scalar_f32()));
            match (limit(1), limit(2)) {
                (Some(Some(0.0)), None) => f32::INFINITY,
                (Some(Some(0.0)), Some(Some(max))) if max > 0.0 => max,
                _ => return Some(plain),
            }
        }
        _ => return Some(plain),
    };
    Some(Tail { value: graph.output(next, 0)?, bound: Some(bound) })
}

/// Weights are quantized once, for all that read them: all must be kernels, with channels on the same axis.
fn drop_kernels_with_shared_weights(graph: &Graph, kernels: &mut Vec<Kernel>, cx: &mut Cx<'_>) {
    loop {
        let readers: BTreeSet<(NodeId, ValueId, usize)> =
            kernels.iter().map(|k| (k.node, k.weight, k.axis.start)).collect();
        let before = kernels.len();
        kernels.retain(|kernel| {
            let fits = graph
                .uses(kernel.weight)
                .iter()
                .all(|one| one.port == Port::In(1) && readers.contains(&(one.node, kernel.weight, kernel.axis.start)));
            if !fits {
                let reason =
                    "float arithmetic: its weights are read by an operator that cannot share their quantization";
                cx.skipped(graph.site(kernel.node), reason);
            }
            fits
        });
        if kernels.len() == before {
            return;
        }
    }
}
