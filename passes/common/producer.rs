//! The operator with weights that writes a value: which one it is, and what its weights are.

use super::affine::{Affine, ChannelLayout};
use super::{edit, facts, size};
use crate::error::Result;
use crate::ir::{Graph, NodeId, Tensor, ValueId};

const WITH_WEIGHTS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];
const WITH_WEIGHTS_OR_ADD: &[&str] = &["Add", "Conv", "ConvTranspose", "Gemm", "MatMul"];

/// An operator that arithmetic on its channels can be folded into.
pub(in crate::passes) struct Producer {
    pub(in crate::passes) node: NodeId,
    /// An `Add` of a constant between the operator and the arithmetic.
    add: Option<NodeId>,
    weight_value: ValueId,
    weight: Tensor,
    layout: ChannelLayout,
    /// Axes of the output, as far as constants that are broadcast to it must respect.
    rank: usize,
    channel_axis: usize,
    has_bias: bool,
    /// One entry a channel, with the factor `beta` of a Gemm applied.
    bias: Vec<f64>,
    /// What the `Add` adds; one entry a channel.
    added: Vec<f64>,
}

impl Producer {
    /// The operator with weights that writes a value, or the reason why nothing can be folded into it. With `past_add`
    /// an `Add` of one constant a channel may lie between.
    pub(in crate::passes) fn find(graph: &Graph, value: ValueId, opset: i64, past_add: bool) -> Result<Self, String> {
        let mut node = writer(graph, value, if past_add { WITH_WEIGHTS_OR_ADD } else { WITH_WEIGHTS })?;
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
        let rank = match graph.node(node).op_type() {
            "Gemm" => 2,
            "MatMul" if reads_matrix(graph, node) => 2,
            "MatMul" => facts::rank(graph, graph.output(node, 0)).unwrap_or(1),
            _ => weight.rank(),
        };
        let channel_axis = if graph.node(node).is("MatMul") { rank.saturating_sub(1) } else { 1 };
        let has_bias = !graph.node(node).is("MatMul") && graph.input(node, 2).is_some();
        let bias = bias_of(graph, node, channels)?;
        let mut found = Self {
            node,
            add,
            weight_value,
            weight,
            layout,
            rank,
            channel_axis,
            has_bias,
            bias,
            added: vec![0.0; channels],
        };
        if let Some(tensor) = constant {
            found.added = found.per_channel(&tensor).ok_or("the `Add` before it adds more than a bias")?;
        }
        Ok(found)
    }

    /// The number of channels of the output.
    pub(in crate::passes) fn channels(&self) -> usize {
        self.layout.channels()
    }

    /// Whether the channels are known to lie on that axis.
    pub(in crate::passes) fn has_channel_at(&self, axis: usize) -> bool {
        self.channel_axis == axis
    }

    /// One entry a channel from a constant that is broadcast to the output; `None` where it changes along another axis,
    /// or makes the result larger. A single entry counts for every channel.
    pub(in crate::passes) fn per_channel(&self, tensor: &Tensor) -> Option<Vec<f64>> {
        per_channel(tensor, self.channels(), self.rank, self.channel_axis)
    }

    /// The new weights, where they change, and the new bias, where there is one, for an operator that also does what
    /// `affine` does; or the reason why there are none. Weights that other operators share are copied where that takes no
    /// more than the `freed_bytes` of constants that go.
    pub(in crate::passes) fn fold(
        &self,
        graph: &Graph,
        affine: Affine,
        freed_bytes: u64,
    ) -> crate::Result<Result<Folded, String>> {
        let affine = affine.after_adding(&self.added);
        let is_shared = graph.use_count(self.weight_value) > 1;
        if !affine.only_adds() && is_shared && self.weight.byte_len() > freed_bytes {
            let name = graph.value(self.weight_value).name();
            return Ok(Err(format!("other operators share the weights `{name}`")));
        }
        let bias = affine.fold_bias(&self.bias);
        // Nothing to add, and nothing was added before: no bias of zeros then.
        let needs_bias = self.has_bias || bias.iter().any(|&value| value != 0.0);
        if needs_bias && graph.node(self.node).is("MatMul") && !reads_matrix(graph, self.node) {
            return Ok(Err("MatMul is not known to be one of two matrices".to_owned()));
        }
        let weight = if affine.only_adds() { None } else { Some(affine.fold_weight(&self.weight, self.layout)?) };
        let bias = match needs_bias {
            true => Some(Tensor::from_f64(self.weight.dtype(), [self.channels() as u64], &bias)?),
            false => None,
        };
        if !weight.as_ref().is_none_or(Tensor::is_finite) || !bias.as_ref().is_none_or(Tensor::is_finite) {
            return Ok(Err(format!("a folded weight would not be finite as `{}`", self.weight.dtype())));
        }
        Ok(Ok(Folded { weight, bias }))
    }

    /// Whether new weights and a new bias take more bytes than what goes with `consumer`: constants that others read stay,
    /// beside which those would come.
    pub(in crate::passes) fn is_larger(&self, graph: &Graph, consumer: NodeId, folded: &Folded) -> bool {
        let is_own = |value: ValueId| graph.use_count(value) == 1 && graph.constant(value).is_some();
        let read = |node: NodeId| graph.node_inputs(node).into_iter().flatten().collect::<Vec<ValueId>>();
        let gone: Vec<NodeId> = std::iter::once(consumer).chain(self.add).collect();
        let constants: Vec<ValueId> =
            gone.iter().flat_map(|&node| read(node)).filter(|&value| graph.constant(value).is_some()).collect();
        // The operator names what it reads.
        let naming = |slot: usize| match graph.input(self.node, slot) {
            Some(_) => 0,
            None => self.name_of_new(graph, slot).len() as u64 + 2,
        };
        let new = |slot: usize, tensor: &Option<Tensor>| {
            let Some(tensor) = tensor else { return 0 };
            let is_there = |&value: &ValueId| {
                !is_own(value) && graph.constant(value).is_some_and(|present| present.same_as(tensor))
            };
            match graph.input(self.node, slot) {
                Some(present) if is_own(present) => 0,
                _ if slot == 2 && constants.iter().any(is_there) => 0,
                _ => size::tensor_bytes(tensor, &self.name_of_new(graph, slot)) + naming(slot),
            }
        };
        let name = |value: Option<ValueId>| value.map_or(0, |value| graph.value(value).name().len() as u64);
        // The producer takes over the name of what the last one writes.
        let freed: u64 = gone.iter().map(|&node| size::node_bytes(graph, node)).sum::<u64>()
            + constants
                .iter()
                .filter(|&&value| is_own(value))
                .map(|&value| size::constant_bytes(graph, value))
                .sum::<u64>()
            + name(graph.output(self.node, 0));
        new(1, &folded.weight) + new(2, &folded.bias) + name(graph.output(consumer, 0)) > freed
    }

    /// The name of new weights, or of a new bias.
    fn name_of_new(&self, graph: &Graph, slot: usize) -> String {
        let weights = graph.value(self.weight_value).name();
        match graph.input(self.node, 2) {
            _ if slot == 1 => weights.to_owned(),
            Some(bias) => graph.value(bias).name().to_owned(),
            None => format!("{weights}_bias"),
        }
    }

    /// Removes the `Add`, whose output nothing reads any more. The constant it added is listed in `unread`.
    fn detach_add(&self, graph: &mut Graph, unread: &mut Vec<ValueId>) -> Result<()> {
        let Some(add) = self.add else {
            return Ok(());
        };
        let before = graph.output(self.node, 0);
        unread.extend(graph.node_inputs(add).into_iter().flatten().filter(|&input| Some(input) != before));
        graph.remove_node(add)
    }

    /// Gives the operator its new weights and the output of `consumer`, which did the arithmetic and goes, with all that
    /// is not read any more.
    ///
    /// # Errors
    /// Fails where an edit does.
    pub(in crate::passes) fn absorb(self, graph: &mut Graph, consumer: NodeId, folded: Folded) -> crate::Result<()> {
        let mut unread: Vec<ValueId> = graph
            .node_inputs(consumer)
            .into_iter()
            .flatten()
            .filter(|&v| graph.constant_behind_identity(v).is_some())
            .collect();
        let output = graph.output(consumer, 0);
        graph.detach_node(consumer)?;
        self.detach_add(graph, &mut unread)?;
        let target = self.node;
        let between = graph.output(target, 0);
        if let Some(output) = output {
            graph.set_output(target, 0, output)?;
        }
        if let Some(between) = between {
            graph.remove_value(between)?;
        }
        let names = [1, 2].map(|slot| self.name_of_new(graph, slot));
        if let Some(weight) = folded.weight {
            unread.push(put(graph, target, 1, weight, &names[0])?);
        }
        if let Some(bias) = folded.bias {
            // A constant that other operators go on reading need not be there twice.
            let is_same = |&value: &ValueId| {
                graph.use_count(value) > 0 && graph.constant(value).is_some_and(|tensor| tensor.same_as(&bias))
            };
            match unread.iter().copied().find(is_same) {
                Some(same) => {
                    unread.extend(graph.input(target, 2));
                    graph.set_input(target, 2, Some(same))?;
                }
                None => unread.push(put(graph, target, 2, bias, &names[1])?),
            }
            if graph.node(target).is("MatMul") {
                graph.set_op_type(target, "Gemm")?;
            }
            graph.remove_attr(target, "beta")?;
        }
        edit::drop_unread_constants(graph, unread)
    }
}

/// What an operator computes with after the arithmetic behind it was folded in.
pub(in crate::passes) struct Folded {
    /// New weights; `None` where they stay.
    weight: Option<Tensor>,
    /// The new bias; `None` where there is none.
    bias: Option<Tensor>,
}

/// Makes an input slot read a tensor: in place where nothing else reads the constant there, else as a new initializer.
/// Returns the value that the slot read before, or reads still.
fn put(graph: &mut Graph, node: NodeId, slot: usize, tensor: Tensor, name: &str) -> crate::Result<ValueId> {
    let present = graph.input(node, slot);
    if let Some(present) = present.filter(|&present| graph.use_count(present) == 1 && graph.constant(present).is_some())
    {
        graph.set_constant(present, tensor)?;
        return Ok(present);
    }
    let own = graph.add_initializer(name, tensor);
    graph.set_input(node, slot, Some(own))?;
    Ok(present.unwrap_or(own))
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
    if facts::depends_on_caller(held) {
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
        "MatMul" if shape.len() == 2 => ChannelLayout::last_axis(shape),
        _ => None,
    };
    layout.ok_or_else(|| format!("weights {} of {} have an unusual shape", weight.type_text(), held.op_type()))
}

/// Whether a MatMul with a matrix on its right is known to be one of two matrices.
fn reads_matrix(graph: &Graph, node: NodeId) -> bool {
    facts::rank(graph, graph.input(node, 0)) == Some(2) || facts::rank(graph, graph.output(node, 0)) == Some(2)
}

fn bias_of(graph: &Graph, node: NodeId, channels: usize) -> Result<Vec<f64>, String> {
    let held = graph.node(node);
    let slot = if held.is("MatMul") { None } else { graph.input(node, 2) };
    let Some(value) = slot else {
        return Ok(vec![0.0; channels]);
    };
    let constant = graph.constant(value).and_then(|tensor| per_channel(&tensor, channels, 2, 1));
    let name = graph.value(value).name();
    let bias = constant.ok_or_else(|| format!("bias `{name}` is not a constant with one entry a channel"))?;
    let beta = if held.is("Gemm") { f64::from(held.attr_float("beta", 1.0)) } else { 1.0 };
    Ok(bias.into_iter().map(|value| value * beta).collect())
}

/// One entry a channel from a constant that is broadcast to a value of `rank` axes, the channel being axis `channel_axis`;
/// `None` where it changes along another axis. A single entry counts for every channel.
fn per_channel(tensor: &Tensor, channels: usize, rank: usize, channel_axis: usize) -> Option<Vec<f64>> {
    let values = tensor.to_f64()?;
    if values.len() == 1 && tensor.rank() <= rank {
        return Some(vec![values[0]; channels]);
    }
    let axis = (tensor.rank() + channel_axis).checked_sub(rank)?;
    let is_channel = tensor.rank() <= rank && tensor.shape().get(axis) == Some(&(channels as u64));
    (is_channel && values.len() == channels).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(shape: &[u64], rank: usize) -> Option<Vec<f64>> {
        let values: Vec<f32> = (0..shape.iter().product::<u64>()).map(|v| v as f32).collect();
        per_channel(&Tensor::from_f32(shape, &values).unwrap(), 3, rank, 1)
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
