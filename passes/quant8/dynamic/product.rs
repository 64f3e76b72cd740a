//! Which products can read activations that are quantized on the run, and where that pays.

use std::collections::BTreeSet;

use crate::infer::GraphFacts;
use crate::ir::{DType, Graph, NodeId, Port, Tensor, ValueId};
use crate::pass::Cx;
use crate::passes::quant8::affine::{Layout, weight_scales};
use crate::passes::quant8::levels::{Level, Levels};
use crate::passes::quant8::options::Settings;

/// With fewer rows or columns than this, quantizing the activations takes about as long as integers save.
const FEWEST_ROWS_OR_COLUMNS: u64 = 32;

/// From so many rows of activations on, the smallest matrix that integers multiply faster than floats: measured with ONNX
/// Runtime on x86-64.
const SMALLEST_MATRICES: [(u64, u64); 3] = [(128, 64 * 64), (16, 128 * 128), (0, 128 * 256)];

/// MatMul or Gemm with a constant matrix on the right.
#[derive(Debug, Clone)]
pub(super) struct Product {
    pub(super) node: NodeId,
    pub(super) input: ValueId,
    pub(super) weight: ValueId,
    pub(super) tensor: Tensor,
    /// The axis of the weights that the output channels lie on: 0 where the matrix is transposed.
    pub(super) axis: usize,
    /// A scale a channel.
    pub(super) scales: Vec<f32>,
    /// What the product is multiplied with.
    pub(super) alpha: f32,
    pub(super) bias: Option<Bias>,
}

/// What Gemm adds to its product.
#[derive(Debug, Clone)]
pub(super) enum Bias {
    /// As it is.
    Value(ValueId),
    /// A constant that takes in what Gemm multiplies it with.
    Scaled(ValueId, Tensor),
}

/// The products of a graph in topological order, and remarks for those that stay float; `facts` is what was inferred of
/// its values.
pub(super) fn products(
    graph: &Graph,
    order: &[NodeId],
    facts: &GraphFacts,
    settings: &Settings,
    levels: &Levels,
    cx: &mut Cx<'_>,
) -> Vec<Product> {
    let mut found = Vec::new();
    for &node in order {
        match product(graph, node, facts, settings, levels) {
            Ok(Some(product)) => found.push(product),
            Ok(None) => {}
            Err(reason) => cx.skipped(graph.site(node), format!("float arithmetic: {reason}")),
        }
    }
    drop_shared_weights(graph, &mut found, cx);
    found
}

/// The operator as a product; `None` where it is something else, the reason where it has to stay float.
fn product(
    graph: &Graph,
    node: NodeId,
    facts: &GraphFacts,
    settings: &Settings,
    levels: &Levels,
) -> Result<Option<Product>, String> {
    let held = graph.node(node);
    if !held.is_any(&["Gemm", "MatMul"]) {
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
    if levels.of(weight) > Level::Integers {
        return Ok(None);
    }
    if graph.value(weight).is_output() {
        return Err("its weights are an output of the graph".to_owned());
    }
    if tensor.rank() != 2 {
        return Err(format!("its weights have {} axes, not 2", tensor.rank()));
    }
    if !pays(tensor.shape(), least_rows(graph, facts, input)) {
        return Err(format!("{} weights are too few for integers to be faster", tensor.len()));
    }
    let is_transposed = held.is("Gemm") && held.attr_int("transB", 0) != 0;
    if held.is("Gemm") && held.attr_int("transA", 0) != 0 {
        return Err("transA".to_owned());
    }
    let axis = usize::from(!is_transposed);
    let layout = Layout::along(tensor.shape(), &(axis..axis + 1));
    let scales = weight_scales(&tensor, layout).ok_or("some of its weights are not finite")?;
    let alpha = if held.is("Gemm") { held.attr_float("alpha", 1.0) } else { 1.0 };
    if !scales.iter().all(|scale| (scale * alpha).abs() >= f32::MIN_POSITIVE && (scale * alpha).is_finite()) {
        return Err(format!("alpha is {alpha}"));
    }
    let bias = if held.is("Gemm") { bias(graph, node)? } else { None };
    Ok(Some(Product { node, input, weight, tensor, axis, scales, alpha, bias }))
}

/// How many rows the activations have at least: extents that vary count as 1.
fn least_rows(graph: &Graph, facts: &GraphFacts, input: ValueId) -> u64 {
    let inferred = facts.get(input).map(|fact| fact.to_type()).and_then(|ty| ty.shape().cloned());
    let Some(shape) = inferred.or_else(|| graph.value(input).shape()) else { return 1 };
    let rows = shape.between(0, shape.rank() as i64 - 1);
    rows.iter().map(|dim| dim.fixed().unwrap_or(1).max(1)).product()
}

/// Whether integers are faster: they save for every column what quantizing costs for every element once.
fn pays(shape: &[u64], rows: u64) -> bool {
    let smallest = SMALLEST_MATRICES.iter().find(|(least_rows, _)| rows >= *least_rows).map(|(_, smallest)| *smallest);
    shape.iter().all(|&extent| extent >= FEWEST_ROWS_OR_COLUMNS)
        && smallest.is_some_and(|smallest| shape.iter().product::<u64>() >= smallest)
}

fn bias(graph: &Graph, node: NodeId) -> Result<Option<Bias>, String> {
    let Some(value) = graph.input(node, 2) else { return Ok(None) };
    let beta = graph.node(node).attr_float("beta", 1.0);
    if beta == 1.0 {
        return Ok(Some(Bias::Value(value)));
    }
    let scaled = graph.constant(value).filter(|tensor| tensor.dtype() == DType::F32).and_then(|tensor| {
        let values: Vec<f32> = tensor.to_f32()?.into_iter().map(|value| value * beta).collect();
        Tensor::from_f32(tensor.shape(), &values).ok()
    });
    match scaled {
        Some(tensor) => Ok(Some(Bias::Scaled(value, tensor))),
        None => Err(format!("it multiplies what it adds with {beta}, and that is no constant")),
    }
}

/// Weights are quantized once, for all that read them: all must be products, with channels on the same axis.
fn drop_shared_weights(graph: &Graph, products: &mut Vec<Product>, cx: &mut Cx<'_>) {
    loop {
        let readers: BTreeSet<(NodeId, ValueId, usize)> =
            products.iter().map(|one| (one.node, one.weight, one.axis)).collect();
        let before = products.len();
        products.retain(|product| {
            let is_reader = |node| readers.contains(&(node, product.weight, product.axis));
            let fits = graph.uses(product.weight).iter().all(|one| one.port == Port::In(1) && is_reader(one.node));
            if !fits {
                let reason =
                    "float arithmetic: its weights are read by an operator that cannot share their quantization";
                cx.skipped(graph.site(product.node), reason);
            }
            fits
        });
        if products.len() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_matrices_pay_only_for_many_rows() {
        assert!(pays(&[64, 64], 128) && !pays(&[64, 64], 127));
        assert!(pays(&[128, 128], 16) && !pays(&[128, 128], 1));
        assert!(pays(&[128, 256], 1));
        assert!(!pays(&[16, 4096], 1000) && !pays(&[4096, 16], 1000));
    }
}
