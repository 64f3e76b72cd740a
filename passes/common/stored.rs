//! Constants that are stored as something else, from which operators restore them.

use crate::error::Result;
use crate::ir::{DType, Graph, NodeSpec, Shape, Tensor, ValueId, ValueType};

/// Takes the contents out of a constant and stores named parts in its place, as the constant was stored: as initializers,
/// or as `Constant` operators, which function bodies need. The value stays, with a type, for an operator to define.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(in crate::passes) fn store_parts(
    graph: &mut Graph,
    value: ValueId,
    (dtype, shape): (DType, &[u64]),
    parts: Vec<(String, Tensor)>,
) -> Result<Vec<ValueId>> {
    let stored = match graph.producer(value) {
        Some((constant, _)) => {
            let add = |(name, tensor): (String, Tensor)| {
                graph.add_op(NodeSpec::new("Constant").attr("value", tensor), &[], &name, constant)
            };
            let stored = parts.into_iter().map(add).collect::<Result<Vec<ValueId>>>()?;
            graph.detach_node(constant)?;
            stored
        }
        None => {
            graph.take_initializer(value)?;
            parts.into_iter().map(|(name, tensor)| graph.add_initializer(&name, tensor)).collect()
        }
    };
    graph.set_type(value, ValueType::tensor(dtype, Some(Shape::fixed(shape.iter().copied()))))?;
    Ok(stored)
}
