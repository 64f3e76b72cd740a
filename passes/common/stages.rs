//! The order in which layers are compressed when each is fitted to what those before it, already compressed, hand on.

use crate::calib::Layer;

/// Layers, in the order in which the model computes them, as stages: those that read the same rows together, in the order
/// of the first of them, since what an earlier stage reads cannot have changed since; runs of stages where there would be
/// more than `most`, since each stage costs a run over all samples.
pub(in crate::passes) fn stages<T: Clone>(ordered: &[T], layer: impl Fn(&T) -> &Layer, most: usize) -> Vec<Vec<T>> {
    let mut stages: Vec<Vec<T>> = Vec::new();
    for one in ordered {
        let shares = |stage: &&mut Vec<T>| stage.first().is_some_and(|other| layer(other).shares_rows(layer(one)));
        match stages.iter_mut().find(shares) {
            Some(stage) => stage.push(one.clone()),
            None => stages.push(vec![one.clone()]),
        }
    }
    let length = stages.len().div_ceil(most).max(1);
    stages.chunks(length).map(<[Vec<T>]>::concat).collect()
}
