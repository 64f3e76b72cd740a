//! Which tensors are generated, so that the result reaches a target in as few bytes as can be.

use super::coded::Coded;
use super::emit::stored_bytes;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Cx;
use crate::passes::common::rows::Rowed;
use crate::passes::common::within::{Codable, Codables, coded_within};

/// The model with those of the candidates coded for which that is said.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn draft(model: &Model, candidates: &[Rowed], coded: &[Coded], are_coded: &[bool]) -> Result<Model> {
    let mut draft = model.clone();
    for ((candidate, coded), _) in candidates.iter().zip(coded).zip(are_coded).filter(|(_, is_coded)| **is_coded) {
        coded.place(&model.graph, &mut draft.graph, candidate)?;
    }
    Ok(draft)
}

/// Which candidates are coded so that every output has a signal-to-noise ratio of `target` dB, measured by running.
///
/// # Errors
/// Fails where no backend can run the model on the samples.
pub(super) fn reach(
    model: &Model,
    (candidates, coded): (&[Rowed], &[Coded]),
    target: f64,
    samples: &dyn Samples,
    cx: &mut Cx<'_>,
) -> Result<Vec<bool>> {
    let tensor = |(candidate, coded): (&Rowed, &Coded)| {
        let (value, name) = (candidate.weights.value, model.graph.value(candidate.weights.value).name());
        Codable { value, coded_bytes: stored_bytes(coded, name), float_bytes: candidate.weights.tensor.byte_len() }
    };
    let tensors: Vec<Codable> = candidates.iter().zip(coded).map(tensor).collect();
    let with = |are_coded: &[bool]| draft(model, candidates, coded, are_coded);
    let codables = Codables { tensors: &tensors, coded: "generated", draft: &with };
    coded_within(model, &codables, target, samples, cx)
}
