//! The operator before a normalization: which one it is, and what its weights are.

use super::fold::ChannelLayout;
use crate::error::Result;
use crate::ir::{AttrRef, Graph, NodeId, Tensor, ValueId};

const WITH_WEIGHTS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];
const WITH_WEIGHTS_OR_ADD: &[&str] = &["Add", "Conv", "ConvTranspose", "Gemm", "MatMul"];

/// An operator that a normalization can be folded into.
pub(super) struct Producer {
    pub(super) node: NodeId,
    /// An `Add` of a constant between the operator and the normalization.
    add: Option<NodeId>,
    pub(super) weight_value: ValueId,
    pub(super) weight: Tensor,
    pub(super) layout: ChannelLayout,
    /// One entry a channel, with the factor `beta` of a Gemm applied.
    pub(super) bias: Vec<f64>,
    /// What the `Add` adds; one entry a channel.
    pub(super) added: Vec<f64>,
}

impl Producer {
    /// The operator before a normalization, or the reason why nothing can be folded into it.
    pub(super) fn find(graph: &Graph, batch_norm: NodeId, opset: i64) -> Result<Self, String> {
        let value = graph.input(batch_norm, 0).ok_or("it has no input")?;
        let mut node = writer(graph, value, WITH_WEIGHTS_OR_ADD)?;
        let mut constant = None;
        let mut add = None;
        if graph.node(node).is("Add") {
            if opset < 7 {
                return Err("an Add below operator set 7 broadcasts in another way".to_owned());
            }
            let (other, tensor) = constant_addend(graph, node)?;
            (add, constant) = (Some(node), Some(tensor));
            node = writer(graph, other, WITH_WEIGHTS)?;
        }
        let (weight_value, weight) = weight_of(graph, node)?;
        let layout = layout_of(graph, node, &weight, opset)?;
        let channels = layout.channels();
        let rank = if graph.node(node).is_any(&["Gemm", "MatMul"]) { 2 } else { weight.rank() };
        let added = match &constant {
            Some(tensor) => per_channel(tensor, channels, rank).ok_or("the `Add` before it adds more than a bias")?,
            None => vec![0.0; channels],
        };
        let bias = bias_of(graph, node, channels)?;
        let parameter_bytes = 4 * channels as u64 * weight.dtype().bits() / 8;
        if graph.use_count(weight_value) > 1 && weight.byte_len() > parameter_bytes {
            return Err(format!("other operators share the weights `{}`", graph.value(weight_value).name()));
        }
        Ok(Self { node, add, weight_value, weight, layout, bias, added })
    }

    /// Removes the `Add`, whose output nothing reads any more. The constant it added is listed in `unread`.
    pub(super) fn detach_add(&self, graph: &mut Graph, unread: &mut Vec<ValueId>) -> Result<()> {
        let Some(add) = self.add else {
            return Ok(());
        };
        let before = graph.output(self.node, 0);
        unread.extend(graph.node_inputs(add).into_iter().flatten().filter(|&input| Some(input) != before));
        graph.remove_node(add)
    }
}

/// The operator that writes a value which nothing else reads.
fn writer(graph: &Graph, value: ValueId, op_types: &[&str]) -> Result<NodeId, String> {
    let Some((node, _)) = graph.producer(value) else {
        return Err(format!("no operator of this graph writes its input `{}`", graph.value(value).name()));
    };
    let held = graph.node(node);
    if !held.is_any(op_types) {
        return Err(format!("it follows {}, which has no weights", held.op_type()));
    }
    if graph.only_use(value).is_none() {
        return Err(format!("its input `{}` is read elsewhere too, or is an output", graph.value(value).name()));
    }
    if held.attributes().iter().any(|attribute| matches!(attribute.value(), AttrRef::Reference(_))) {
        return Err(format!("attributes of {} depend on the caller of the function", held.op_type()));
    }
    Ok(node)
}

/// The input of an `Add` that is computed, and the constant that is added to it.
fn constant_addend(graph: &Graph, add: NodeId) -> Result<(ValueId, Tensor), String> {
    let (Some(a), Some(b)) = (graph.input(add, 0), graph.input(add, 1)) else {
        return Err("the `Add` before it lacks an input".to_owned());
    };
    match (graph.constant(a), graph.constant(b)) {
        (None, Some(tensor)) => Ok((a, tensor)),
        (Some(tensor), None) => Ok((b, tensor)),
        _ => Err("it follows Add, which has no weights".to_owned()),
    }
}

fn weight_of(graph: &Graph, node: NodeId) -> Result<(ValueId, Tensor), String> {
    let op_type = graph.node(node).op_type();
    let value = graph.input(node, 1).ok_or_else(|| format!("{op_type} has no weights"))?;
    let constant = graph.constant(value);
    let (name, why) = (graph.value(value).name(), graph.why_not_constant(value));
    let weight = constant.ok_or_else(|| format!("`{name}`, the weights of {op_type}, {why}"))?;
    Ok((value, weight))
}

fn layout_of(graph: &Graph, node: NodeId, weight: &Tensor, opset: i64) -> Result<ChannelLayout, String> {
    let held = graph.node(node);
    let shape = weight.shape();
    let layout = match held.op_type() {
        "Conv" if shape.len() > 2 => ChannelLayout::first_axis(shape),
        "ConvTranspose" if shape.len() > 2 => {
            usize::try_from(held.attr_int("group", 1)).ok().and_then(|groups| ChannelLayout::transposed(shape, groups))
        }
        "Gemm" | "MatMul" if opset < 7 => {
            return Err("a Gemm below operator set 7 broadcasts in another way".to_owned());
        }
        "Gemm" if shape.len() == 2 && held.attr_int("transB", 0) != 0 => ChannelLayout::first_axis(shape),
        "Gemm" if shape.len() == 2 => ChannelLayout::last_axis(shape),
        "MatMul" if shape.len() == 2 && reads_matrix(graph, node) => ChannelLayout::last_axis(shape),
        "MatMul" => return Err("MatMul is not known to be one of two matrices".to_owned()),
        _ => None,
    };
    layout.ok_or_else(|| format!("weights {} of {} have an unusual shape", weight.type_text(), held.op_type()))
}

/// Whether the left side of a MatMul is known to have two axes.
fn reads_matrix(graph: &Graph, node: NodeId) -> bool {
    let rank = |value: Option<ValueId>| value.and_then(|v| graph.value(v).shape()).map(|shape| shape.rank());
    let left = graph.input(node, 0);
    let is_flat = left.and_then(|v| graph.producer(v)).is_some_and(|(n, _)| graph.node(n).is_any(&["Flatten", "Gemm"]));
    is_flat || rank(left) == Some(2) || rank(graph.output(node, 0)) == Some(2)
}

fn bias_of(graph: &Graph, node: NodeId, channels: usize) -> Result<Vec<f64>, String> {
    let held = graph.node(node);
    let slot = if held.is("MatMul") { None } else { graph.input(node, 2) };
    let Some(value) = slot else {
        return Ok(vec![0.0; channels]);
    };
    let constant = graph.constant(value).and_then(|tensor| per_channel(&tensor, channels, 2));
    let name = graph.value(value).name();
    let bias = constant.ok_or_else(|| format!("bias `{name}` is not a constant with one entry a channel"))?;
    let beta = if held.is("Gemm") { f64::from(held.attr_float("beta", 1.0)) } else { 1.0 };
    Ok(bias.into_iter().map(|value| value * beta).collect())
}

/// One entry a channel from a constant that is broadcast to a value of `rank` axes, the channel being axis 1; `None`
/// where it changes along another axis. A single entry counts for every channel.
fn per_channel(tensor: &Tensor, channels: usize, rank: usize) -> Option<Vec<f64>> {
    let values = tensor.to_f64()?;
    if values.len() == 1 && tensor.rank() <= rank {
        return Some(vec![values[0]; channels]);
    }
    let axis = (tensor.rank() + 1).checked_sub(rank)?;
    let is_channel = tensor.rank() <= rank && tensor.shape().get(axis) == Some(&(channels as u64));
    (is_channel && values.len() == channels).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(shape: &[u64], rank: usize) -> Option<Vec<f64>> {
        let values: Vec<f32> = (0..shape.iter().product::<u64>()).map(|v| v as f32).collect();
        per_channel(&Tensor::from_f32(shape, &values).unwrap(), 3, rank)
    }

    #[test]
    fn a_bias_changes_along_the_channel_only() {
        let each = Some(vec![0.0, 1.0, 2.0]);
        assert_eq!(spread(&[3], 2), each);
        assert_eq!(spread(&[1, 3], 2), each);
        assert_eq!(spread(&[3, 1, 1], 4), each);
        assert_eq!(spread(&[1, 3, 1, 1], 4), each);
        assert_eq!(spread(&[], 4), Some(vec![0.0; 3]));
        // These run along the batch, the width, or two axes.
        assert_eq!(spread(&[3, 1], 2), None);
        assert_eq!(spread(&[3], 4), None);
        assert_eq!(spread(&[3, 1, 1, 1], 4), None);
        assert_eq!(spread(&[3, 3], 2), None);
        assert_eq!(spread(&[1, 1, 3, 1, 1], 4), None);
    }
}
