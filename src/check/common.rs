//! What two models can be compared on.

use crate::error::Result;
use crate::ir::{Model, Shape};
use crate::pass::pipeline::Pipeline;
use crate::shrink::narrowed;

/// The reference with the shapes of inputs that both models take.
///
/// # Errors
/// Fails where the steps of `narrowing` do not fit the reference.
pub(super) fn common_model(reference: &Model, candidate: &Model, narrowing: &Pipeline) -> Result<Model> {
    let mut common = narrowed(reference, narrowing)?.unwrap_or_else(|| reference.clone());
    let theirs = candidate.signature();
    for input in common.graph.inputs().to_vec() {
        let held = common.graph.value(input);
        let other = theirs.inputs.iter().find(|other| other.name == held.name()).and_then(|other| other.ty.shape());
        let (Some(shape), Some(other)) = (held.ty().shape(), other) else { continue };
        if shape.rank() != other.rank() || held.initializer().is_some() {
            continue;
        }
        let narrower = shape.0.iter().zip(&other.0).map(|(dim, other)| match (dim.fixed(), other.fixed()) {
            (None, Some(_)) => other.clone(),
            _ => dim.clone(),
        });
        let narrower = Shape(narrower.collect());
        common.graph.declare_shape(input, &narrower)?;
    }
    Ok(common)
}
