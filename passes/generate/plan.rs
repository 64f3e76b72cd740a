//! Which weights are generated, and how they lie in blocks.
//!
//! Weights are a matrix with a row for each output channel. A block holds weights of neighbouring rows in the same place:
//! they are multiplied by the same input, so that what an error in a block costs hangs on one number.

use rayon::prelude::*;

use super::coded;
use super::options::Settings;
use crate::ir::Graph;
use crate::pass::Cx;
use crate::passes::common::rows::Rowed;
use crate::passes::common::weights::{Weights, each_weights};

/// Weights that can be generated. Where a block would lie across groups, which read other inputs, there is no layer to fit it to.
fn candidate(graph: &Graph, weights: Weights, block: usize) -> Rowed {
    let mut rowed = Rowed::new(graph, weights);
    let groups = rowed.layer.as_ref().map_or(1, |layer| layer.groups.max(1));
    if groups > 1 && !(rowed.channels() / groups).is_multiple_of(block) {
        (rowed.layer, rowed.bias) = (None, None);
    }
    rowed
}

/// The weights of the main graph, in a stable order; says why where large constants are none.
pub(super) fn candidates(graph: &Graph, settings: &Settings, cx: &mut Cx<'_>) -> Vec<Rowed> {
    let mut found = Vec::new();
    each_weights(graph, settings.min_elements, &settings.exclude, cx, |weights| {
        if !weights.tensor.is_finite() {
            return Err("some of its values are not finite".to_owned());
        }
        if weights.role.kept.is_empty() {
            return Err("its channels do not lie along neighbouring axes".to_owned());
        }
        found.push(candidate(graph, weights, settings.block));
        Ok(())
    });
    found
}

/// Blocks of all candidates together that training looks at, at most.
const MAX_BLOCKS: usize = 1 << 18;

/// Blocks of the candidates, divided by the magnitudes of their rows, one behind the other; many are thinned out evenly.
pub(super) fn sample(candidates: &[Rowed], block: usize) -> Vec<f32> {
    let count = |one: &Rowed| one.channels().div_ceil(block) * one.depth();
    let all: usize = candidates.iter().map(count).sum();
    let some = candidates.par_iter().map(|candidate| {
        let (rows, own) = (candidate.rows(), count(candidate));
        // Of a small tensor among large ones, at least one.
        let taken =
            if all <= MAX_BLOCKS { own } else { (own as u128 * MAX_BLOCKS as u128 / all as u128).max(1) as usize };
        let blocks = coded::blocks(&rows, &coded::magnitudes(&rows, candidate.depth()), block);
        let some = (0..taken).flat_map(|index| blocks[index * own / taken * block..][..block].to_vec());
        some.collect::<Vec<f32>>()
    });
    some.collect::<Vec<Vec<f32>>>().concat()
}
