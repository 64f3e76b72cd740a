//! Where a layer's outputs can be shifted, one by one, without a new operator or a new tensor.

use crate::calib::Layer;
use crate::error::Result;
use crate::ir::{Graph, Tensor, ValueId};

/// A constant that shifts the outputs of a layer: its bias, one that is added behind it, or the means of a
/// BatchNormalization behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::passes) struct Bias {
    value: ValueId,
    /// What the constant changes by where outputs are to rise by 1.
    step: f64,
    /// What the outputs are, of what the weights give: `alpha` of a Gemm.
    scale: f64,
}

impl Bias {
    /// The constant that shifts a layer of `rows` outputs, and nothing else.
    pub(in crate::passes) fn of(graph: &Graph, layer: &Layer, rows: usize) -> Option<Self> {
        let held = graph.node(layer.node);
        let scale = if held.is("Gemm") { f64::from(held.attr_float("alpha", 1.0)) } else { 1.0 };
        let own = graph.input(layer.node, 2).filter(|_| held.is_any(&["Conv", "Gemm"]));
        if let Some(own) = own {
            let beta = if held.is("Gemm") { f64::from(held.attr_float("beta", 1.0)) } else { 1.0 };
            let step = (beta != 0.0).then(|| 1.0 / beta)?;
            return is_vector(graph, own, rows, 0).then_some(Self { value: own, step, scale });
        }
        let output = graph.output(layer.node, 0).filter(|&output| !graph.value(output).is_output())?;
        let (reader, slot) = graph.only_use(output)?;
        let reading = graph.node(reader);
        let trailing = if held.is("Conv") { graph.constant(layer.weights)?.rank().checked_sub(2)? } else { 0 };
        if reading.is("Add") {
            let value = graph.input(reader, 1 - slot.min(1))?;
            return is_vector(graph, value, rows, trailing).then_some(Self { value, step: 1.0, scale });
        }
        let is_normalized = reading.is("BatchNormalization")
            && held.is("Conv")
            && slot == 0
            && reading.attr_int("training_mode", 0) == 0
            && graph.node_outputs(reader).len() == 1;
        let value = graph.input(reader, 3).filter(|_| is_normalized)?;
        is_vector(graph, value, rows, 0).then_some(Self { value, step: -1.0, scale })
    }

    /// Shifts outputs of a copy by what its weights give too little, starting from the constant of the original.
    ///
    /// # Errors
    /// Fails only where an edit does, which is a defect.
    pub(in crate::passes) fn shift(self, original: &Graph, copy: &mut Graph, shifts: &[f64]) -> Result<()> {
        let Some(old) = original.constant(self.value) else { return Ok(()) };
        let shift = |row: usize| shifts.get(row).copied().unwrap_or(0.0);
        let new = old.map_f64(|row, value| value + self.step * self.scale * shift(row))?;
        if new.is_finite() { copy.set_constant(self.value, new) } else { Ok(()) }
    }
}

/// Whether a value is a constant with one number for each output, in front of so many axes of 1, that nothing else reads.
fn is_vector(graph: &Graph, value: ValueId, rows: usize, trailing: usize) -> bool {
    let Some(tensor) = graph.constant(value).filter(|tensor| tensor.dtype().is_float()) else { return false };
    let held = graph.value(value);
    let along = tensor.rank().checked_sub(1 + trailing).and_then(|axis| tensor.shape().get(axis));
    !held.is_input()
        && !held.is_output()
        && graph.only_use(value).is_some()
        && tensor.len() == rows
        && along.is_some_and(|&extent| extent == rows as u64)
        && Tensor::is_finite(&tensor)
}
