//! The float weights of a graph, and why other large constants are none.

use super::exclude::Exclude;
use super::role::{Role, float_constant, role_of};
use crate::ir::{DType, Graph, NodeId, Tensor, ValueId};
use crate::pass::{Cx, OptKind, OptSpec};

/// The option that names weights to leave alone, for passes that go through [`each_weights`].
pub(in crate::passes) const EXCLUDE: OptSpec = OptSpec {
    key: "exclude",
    kind: OptKind::Names,
    default: None,
    help: "an operator or a weight to leave in float; `*` stands for any characters",
};

/// The option that says from which size on weights are worth it.
pub(in crate::passes) const MIN_ELEMENTS: OptSpec = OptSpec {
    key: "min-elements",
    kind: OptKind::UInt,
    default: Some("1024"),
    help: "weights of fewer elements stay float",
};

/// A constant of 32-bit or 16-bit floats that everything that reads it reads as weights.
#[derive(Debug, Clone)]
pub(in crate::passes) struct Weights {
    pub(in crate::passes) value: ValueId,
    /// The first operator that reads it.
    pub(in crate::passes) reader: NodeId,
    pub(in crate::passes) tensor: Tensor,
    pub(in crate::passes) role: Role,
}

/// Shows `take` all weights of a graph, in a stable order, and says why where large constants are none; so does `take`,
/// where it has no use for some.
pub(in crate::passes) fn each_weights(
    graph: &Graph,
    min_elements: u64,
    exclude: &Exclude,
    cx: &mut Cx<'_>,
    mut take: impl FnMut(Weights) -> Result<(), String>,
) {
    for value in graph.values() {
        let Some((reader, tensor)) = float_constant(graph, value) else { continue };
        let role = role_of(graph, value, tensor.shape());
        let refusal = match role {
            _ if (tensor.len() as u64) < min_elements => match role {
                Ok(_) => Err(format!("fewer than {min_elements} elements: stays float")),
                Err(_) => continue,
            },
            Err(reason) => Err(reason),
            Ok(_) if graph.value(value).is_input() => {
                Err("it is an input of the graph too: a caller may replace it".to_owned())
            }
            Ok(_) if exclude.has_weights(graph, value) => Err("excluded".to_owned()),
            Ok(_) if !matches!(tensor.dtype(), DType::F32 | DType::F16) => {
                Err("only 32-bit and 16-bit floats get fewer bits".to_owned())
            }
            Ok(role) => take(Weights { value, reader, tensor, role }),
        };
        if let Err(reason) = refusal {
            cx.skipped(graph.site(reader).with_tensor(graph.value(value).describe()), reason);
        }
    }
}
