//! What an operator with weights costs to run in float, and how much of that integers save.
//!
//! Rough figures, measured with ONNX Runtime on one core of an x86-64 processor with 8-bit dot products: they only order
//! operators by what is lost where one of them stays float.

use std::cmp::Ordering;

use crate::ir::{Graph, NodeId, Tensor};
use crate::passes::quant8::kernel::SMALLEST_MATRIX;

/// Multiplications and additions a nanosecond of a dense product or convolution.
const DENSE_RATE: f64 = 40.0;

/// The same where every channel is convolved by itself, which moves more than it computes.
const DEPTHWISE_RATE: f64 = 8.0;

/// Estimated nanoseconds of one run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) float_ns: f64,
    pub(super) integer_ns: f64,
}

impl Cost {
    /// Of Conv, Gemm or MatMul with these weights and an output of that shape.
    pub(super) fn of(graph: &Graph, node: NodeId, weights: &Tensor, output: &[u64]) -> Self {
        let held = graph.node(node);
        let outputs = output.iter().product::<u64>() as f64;
        let extent = |axis: usize| weights.shape().get(axis).copied().unwrap_or(1).max(1);
        let speedup;
        let (terms, rate) = if held.is("Conv") {
            let area = output.iter().skip(2).product::<u64>();
            let groups = held.attr_int("group", 1);
            let is_depthwise = groups > 1 && extent(1) == 1;
            speedup = match () {
                () if is_depthwise => depthwise_speedup(area),
                () if groups > 1 => 0.8,
                () => dense_speedup(extent(1)),
            };
            (weights.len() as f64 / extent(0) as f64, if is_depthwise { DEPTHWISE_RATE } else { DENSE_RATE })
        } else {
            let columns = if held.attr_int("transB", 0) == 0 { extent(1) } else { extent(0) };
            let terms = weights.len() as f64 / columns as f64;
            speedup = match weights.len().cmp(&SMALLEST_MATRIX) {
                // In integers only behind others, which saves restoring what they read.
                Ordering::Less => 1.2,
                Ordering::Equal => 0.8,
                Ordering::Greater => 3.0,
            };
            (terms, DENSE_RATE)
        };
        let float_ns = outputs * terms / rate;
        Self { float_ns, integer_ns: float_ns / speedup }
    }

    /// What integers save.
    pub(super) fn saved_ns(self) -> f64 {
        self.float_ns - self.integer_ns
    }
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { float_ns: self.float_ns + other.float_ns, integer_ns: self.integer_ns + other.integer_ns }
    }
}

/// With few input channels there is little to multiply for what is moved.
fn dense_speedup(input_channels: u64) -> f64 {
    match input_channels {
        0..=4 => 0.34,
        5..=8 => 0.81,
        9..=16 => 1.7,
        _ => 3.3,
    }
}

/// Only small images gain, which fit into the nearest cache either way.
fn depthwise_speedup(area: u64) -> f64 {
    match area {
        0..=400 => 1.1,
        401..=1600 => 0.87,
        1601..=6400 => 0.76,
        _ => 0.42,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{DType, text};

    fn cost(source: &str, weights: &[u64], output: &[u64]) -> Cost {
        let source =
            format!("<ir_version: 8, opset_import: [\"\" : 13]> g (float x, float w) => (float y) {{ {source} }}");
        let model = text::parse(&source).unwrap();
        let tensor = Tensor::new(DType::F32, weights, vec![0; 4 * weights.iter().product::<u64>() as usize]).unwrap();
        Cost::of(&model.graph, model.graph.nodes()[0], &tensor, output)
    }

    #[test]
    fn integers_save_on_dense_operators_and_lose_on_thin_ones() {
        let dense = cost("y = Conv(x, w)", &[64, 64, 3, 3], &[1, 64, 56, 56]);
        assert_eq!(dense.float_ns, 64.0 * 56.0 * 56.0 * 576.0 / DENSE_RATE);
        assert!(dense.saved_ns() > 0.0);
        assert!(cost("y = Conv(x, w)", &[32, 3, 3, 3], &[1, 32, 112, 112]).saved_ns() < 0.0);
        assert!(cost("y = Conv<group = 32>(x, w)", &[32, 1, 3, 3], &[1, 32, 112, 112]).saved_ns() < 0.0);
        assert!(cost("y = MatMul(x, w)", &[384, 1536], &[1, 64, 1536]).saved_ns() > 0.0);
        assert!(cost("y = MatMul(x, w)", &[64, 64], &[1, 64]).saved_ns() < 0.0);
        assert!(cost("y = MatMul(x, w)", &[64, 10], &[1, 10]).saved_ns() > 0.0);
        let transposed = cost("y = Gemm<transB = 1>(x, w)", &[1536, 384], &[64, 1536]);
        assert_eq!(transposed, cost("y = Gemm(x, w)", &[384, 1536], &[64, 1536]));
    }
}
