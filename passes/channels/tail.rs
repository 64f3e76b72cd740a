//! What becomes of a layer's output before anything else reads it: where its bias is, the normalization behind it, and
//! the residual sum that it goes into.
//!
//! ```text
//! o = Conv(x, w)                      the bias is that of the sum: the mean of the normalization takes it in,
//! n = BatchNormalization(o, ..)  =>   and `o` is what the sum less the other branch would be before the
//! s = Add(n, other)                   normalization
//! ```

use crate::error::Result;
use crate::ir::{Graph, NodeId, Tensor, ValueId};
use crate::passes::common::affine::Affine;

/// Factors smaller than this part of the largest are not divided by: their channels carry nothing.
const LEAST_FACTOR: f64 = 1e-4;

/// The way of a layer's output.
#[derive(Debug, Clone)]
pub(super) struct Tail {
    /// What the weights and the bias together give.
    pub(super) output: ValueId,
    /// The bias, where one can be fitted.
    pub(super) bias: Option<Bias>,
    /// The normalization with fixed statistics behind it.
    norm: Option<Affine>,
    /// The sum that nothing but this layer and another branch goes into.
    pub(super) sum: Option<Sum>,
}

/// A sum of a layer's output, normalized where it is, and another value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    pub(super) output: ValueId,
    pub(super) other: ValueId,
}

/// A constant that holds the bias.
#[derive(Debug, Clone)]
pub(super) struct Bias {
    value: ValueId,
    /// Whether it is the mean of a normalization, which is subtracted.
    is_mean: bool,
}

impl Bias {
    /// The bias before the fit, for each output; 0 stands for the mean as it is.
    pub(super) fn start(&self, graph: &Graph) -> Option<Vec<f64>> {
        let values = graph.constant(self.value)?.to_f32()?;
        Some(values.into_iter().map(|v| if self.is_mean { 0.0 } else { f64::from(v) }).collect())
    }

    /// Writes the bias of the outputs from `first` on, of those with `stays`.
    ///
    /// # Errors
    /// Fails where the graph is another one.
    pub(super) fn write(&self, graph: &mut Graph, first: usize, bias: &[f64], stays: &[bool]) -> Result<()> {
        let Some(tensor) = graph.constant(self.value) else { return Ok(()) };
        let Some(mut values) = tensor.to_f32() else { return Ok(()) };
        let places = values.iter_mut().zip(stays).skip(first).zip(bias).filter(|((_, stays), _)| **stays);
        for ((value, _), bias) in places {
            *value = if self.is_mean { (f64::from(*value) - bias) as f32 } else { *bias as f32 };
        }
        graph.set_constant(self.value, Tensor::from_floats(tensor.dtype(), tensor.shape(), &values)?)
    }
}

impl Tail {
    /// Follows the output of a layer; `None` where it has a bias that others read too, or that is computed.
    pub(super) fn of(graph: &Graph, node: NodeId) -> Option<Self> {
        let mut output = graph.output(node, 0)?;
        let mut bias = match graph.input(node, 2) {
            Some(value) => Some(Bias { value: own_vector(graph, value)?, is_mean: false }),
            None => None,
        };
        let mut end = output;
        if bias.is_none()
            && graph.node(node).is("MatMul")
            && let Some((sum, value)) = added_vector(graph, output)
        {
            (output, end) = (sum, sum);
            bias = Some(Bias { value, is_mean: false });
        }
        let mut norm = None;
        if let Some((normalized, affine, mean)) = normalization(graph, end) {
            end = normalized;
            norm = Some(affine);
            bias = bias.or_else(|| Some(Bias { value: own_vector(graph, mean)?, is_mean: true }));
        }
        Some(Self { output, bias, norm, sum: residual(graph, end) })
    }

    /// What the layer itself gives where values behind its normalization are these, position by position.
    pub(super) fn undo(&self, rows: &mut [f64]) {
        let Some(norm) = &self.norm else { return };
        let largest = norm.factor.iter().fold(0.0, |largest: f64, factor| largest.max(factor.abs()));
        for row in rows.chunks_mut(norm.factor.len().max(1)) {
            for ((value, factor), shift) in row.iter_mut().zip(&norm.factor).zip(&norm.shift) {
                let divisor = if factor.abs() > LEAST_FACTOR * largest { *factor } else { f64::INFINITY };
                *value = (*value - shift) / divisor;
            }
        }
    }
}

/// A constant vector of floats that nothing else reads.
fn own_vector(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let tensor = graph.constant(value)?;
    (tensor.rank() == 1 && tensor.dtype().is_float() && graph.use_count(value) == 1).then_some(value)
}

/// The sum of a product and a vector of its own that follows it, and that vector.
fn added_vector(graph: &Graph, output: ValueId) -> Option<(ValueId, ValueId)> {
    let (node, slot) = graph.only_use(output)?;
    if !graph.node(node).is("Add") {
        return None;
    }
    let vector = own_vector(graph, graph.input(node, 1 - slot.min(1))?)?;
    Some((graph.output(node, 0)?, vector))
}

/// The normalization with fixed statistics that alone reads a value: its output, what it does, and the mean's constant.
fn normalization(graph: &Graph, value: ValueId) -> Option<(ValueId, Affine, ValueId)> {
    let (node, 0) = graph.only_use(value)? else { return None };
    let held = graph.node(node);
    let is_fixed = held.attr_int("training_mode", 0) == 0 && held.attr_int("spatial", 1) == 1;
    let has_statistics = graph.node_outputs(node).into_iter().skip(1).any(|output| output.is_some());
    if !held.is("BatchNormalization") || !is_fixed || has_statistics {
        return None;
    }
    let vector = |slot: usize| {
        let values = graph.constant_behind_identity(graph.input(node, slot)?)?.to_f32()?;
        Some(values.into_iter().map(f64::from).collect::<Vec<f64>>())
    };
    let (scale, shift, mean, variance) = (vector(1)?, vector(2)?, vector(3)?, vector(4)?);
    let is_even = [&shift, &mean, &variance].iter().all(|other| other.len() == scale.len());
    let epsilon = f64::from(held.attr_float("epsilon", 1e-5));
    let affine = Affine::of_batch_norm(&scale, &shift, &mean, &variance, epsilon);
    let is_sound = is_even && affine.factor.iter().chain(&affine.shift).all(|v| v.is_finite());
    is_sound.then_some(())?;
    Some((graph.output(node, 0)?, affine, graph.input(node, 3)?))
}

/// The sum with another computed value that alone reads a value.
fn residual(graph: &Graph, value: ValueId) -> Option<Sum> {
    let (node, slot) = graph.only_use(value)?;
    if !graph.node(node).is("Add") {
        return None;
    }
    let other = graph.input(node, 1 - slot.min(1))?;
    (graph.constant(other).is_none()).then_some(())?;
    Some(Sum { output: graph.output(node, 0)?, other })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::text;

    #[test]
    fn the_way_to_a_residual_sum_is_followed_back() {
        let graph = "g (float[1,1,2,2] x) => (float[1,1,2,2] y) <
            float[1,1,1,1] w = {1}, float[1] s = {4}, float[1] b = {1}, float[1] m = {3}, float[1] v = {3}
        > { o = Conv(x, w) n = BatchNormalization<epsilon = 1.0>(o, s, b, m, v) y = Add(n, x) }";
        let model = text::parse(graph).unwrap();
        let mut graph = model.graph.clone();
        let tail = Tail::of(&graph, graph.nodes()[0]).unwrap();
        assert_eq!(graph.value(tail.output).name(), "o");
        let sum = tail.sum.unwrap();
        assert_eq!((graph.value(sum.output).name(), graph.value(sum.other).name()), ("y", "x"));
        // n = 2 o - 5.
        let mut rows = [1.0, 5.0];
        tail.undo(&mut rows);
        assert_eq!(rows, [3.0, 5.0]);
        let bias = tail.bias.unwrap();
        assert_eq!(bias.start(&graph), Some(vec![0.0]));
        bias.write(&mut graph, 0, &[0.5], &[true]).unwrap();
        let mean = graph.find_value("m").unwrap();
        assert_eq!(graph.constant(mean).unwrap().to_f32().unwrap(), [2.5]);
    }

    #[test]
    fn a_shared_bias_is_left_alone() {
        let graph = "g (float[1,1,2,2] x) => (float[1,1,2,2] y) <float[1,1,1,1] w = {1}, float[1] b = {1}> {
            o = Conv(x, w, b) y = Conv(o, w, b) }";
        let model = text::parse(graph).unwrap();
        assert!(Tail::of(&model.graph, model.graph.nodes()[0]).is_none());
    }

    #[test]
    fn the_bias_of_a_product_is_what_is_added_to_it() {
        let graph = "g (float[1,2] x) => (float[1,2] y) <float[2,2] w = iota, float[2] b = {1, 2}> {
            o = MatMul(x, w) a = Add(b, o) y = Add(a, x) }";
        let model = text::parse(graph).unwrap();
        let tail = Tail::of(&model.graph, model.graph.nodes()[0]).unwrap();
        assert_eq!(model.graph.value(tail.output).name(), "a");
        assert_eq!(tail.bias.unwrap().start(&model.graph), Some(vec![1.0, 2.0]));
        assert_eq!(model.graph.value(tail.sum.unwrap().other).name(), "x");
    }
}
