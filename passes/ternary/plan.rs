//! Which weights become ternary.

use std::collections::BTreeSet;

use super::coded::{Coded, Levels};
use super::options::Settings;
use crate::error::Result;
use crate::ir::{Graph, Tensor, ValueId};
use crate::pass::{Cx, Scratch};
use crate::passes::common::ends::ends;
use crate::passes::common::role::{float_constant, role_of};
use crate::passes::common::rows::Rowed;
use crate::passes::common::weights::{Weights, each_weights};

/// The weights by their own magnitudes.
///
/// # Errors
/// Fails where they cannot be kept until they are written.
pub(super) fn coded(candidate: &Rowed, settings: &Settings, scratch: &Scratch) -> Result<Coded> {
    let rows = candidate.rows();
    let levels = Levels::nearest(&rows, candidate.depth(), settings.rule, settings.is_shared);
    Coded::new(candidate, &rows, &levels, settings.is_shared, scratch)
}

/// The weights of the main graph, in a stable order; says why where large constants are none.
pub(super) fn candidates(graph: &Graph, settings: &Settings, cx: &mut Cx<'_>) -> Vec<Rowed> {
    let mut found = Vec::new();
    each_weights(graph, settings.min_elements, &settings.exclude, cx, |weights| {
        if !weights.role.is_factor {
            return Err("ternary weights are for products and convolutions".to_owned());
        }
        if !weights.tensor.is_finite() {
            return Err("some of its values are not finite".to_owned());
        }
        found.push(weights);
        Ok(())
    });
    if settings.codes_ends {
        return found.into_iter().map(|weights| Rowed::new(graph, weights)).collect();
    }
    // Small layers are layers all the same: what is left out of them does not make another one the first.
    let all = products(graph);
    let ends: BTreeSet<ValueId> = ends(graph, &all).into_iter().filter_map(|place| all.get(place).copied()).collect();
    let (left, taken): (Vec<Weights>, Vec<Weights>) =
        found.into_iter().partition(|weights| ends.contains(&weights.value));
    for weights in left {
        let site = graph.site(weights.reader).with_tensor(graph.value(weights.value).describe());
        cx.skipped(site, "a first or last layer, which bears it least: left to another pass, or to `all=true`");
    }
    taken.into_iter().map(|weights| Rowed::new(graph, weights)).collect()
}

/// All constants of a graph that are weights of products, of any size.
fn products(graph: &Graph) -> Vec<ValueId> {
    let is_product = |&value: &ValueId| {
        let role = |(_, tensor): (_, Tensor)| role_of(graph, value, tensor.shape()).ok();
        float_constant(graph, value).and_then(role).is_some_and(|role| role.is_factor)
    };
    graph.values().into_iter().filter(is_product).collect()
}
