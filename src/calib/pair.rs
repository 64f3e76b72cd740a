//! Second moments between what the layers of two models read: a model and a compressed copy of it, side by side.
//!
//! The best weights for a layer of the copy are those that give what the original gives from what the copy reads. With
//! `x` what the layer reads in the original and `z` what it reads in the copy, least squares need `E[z z^T]` and
//! `E[x z^T]` only.

use std::collections::BTreeMap;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::gram::Gram;
use super::idle::{Idle, Places};
use super::layer::{Layer, Source};
use super::measure::BATCH;
use super::runner::Runner;
use super::unfold;
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{Model, Tensor};
use crate::pass::Env;

/// Sums over pairs of rows: `x` of the original and `z` of the copy, at the same places of the same samples.
#[derive(Debug, Clone, PartialEq)]
pub struct PairGram {
    copy: Gram,
    products: Vec<f64>,
    sums: Vec<f64>,
}

impl PairGram {
    /// Sums over no rows.
    pub fn new(dim: usize) -> Self {
        Self { copy: Gram::new(dim), products: vec![0.0; dim * dim], sums: vec![0.0; dim] }
    }

    /// Adds pairs of rows: as many of the original as of the copy, one behind the other. Says whether there were.
    pub fn add(&mut self, original: &[f64], copy: &[f64]) -> bool {
        let dim = self.copy.dim();
        if original.len() != copy.len() || dim == 0 || !copy.len().is_multiple_of(dim) {
            return false;
        }
        let count = copy.len() / dim;
        let matrix = |rows| MatRef::from_row_major_slice(rows, count, dim);
        let (own, products) = (&mut self.copy, &mut self.products);
        rayon::join(
            || own.add(copy),
            || {
                let products = MatMut::from_row_major_slice_mut(products, dim, dim);
                matmul(products, Accum::Add, matrix(original).transpose(), matrix(copy), 1.0, Par::Seq);
            },
        );
        for row in original.chunks_exact(dim) {
            self.sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        true
    }

    /// The sums over the rows of the copy alone.
    pub fn copy(&self) -> &Gram {
        &self.copy
    }

    /// `E[x z^T]`, row by row: the original down, the copy across; zeros where there were no rows.
    pub fn mean_cross_products(&self) -> Vec<f64> {
        let scale = 1.0 / self.copy.rows().max(1) as f64;
        self.products.iter().map(|sum| sum * scale).collect()
    }

    /// `E[x]`, of the original; zeros where there were no rows.
    pub fn original_means(&self) -> Vec<f64> {
        let scale = 1.0 / self.copy.rows().max(1) as f64;
        self.sums.iter().map(|sum| sum * scale).collect()
    }

    fn is_sound(&self) -> bool {
        self.copy.rows() > 0
            && self.copy.is_finite()
            && self.products.iter().chain(&self.sums).all(|sum| sum.is_finite())
    }
}

/// What was measured, by what the layers read.
#[derive(Debug, Default)]
pub struct PairMoments {
    by_source: BTreeMap<Source, Option<Vec<PairGram>>>,
}

impl PairMoments {
    /// The sums for a layer, one for each of its groups; `None` where it was not measured, its input did not fit, or held
    /// numbers that are not finite.
    pub fn of(&self, layer: &Layer) -> Option<&[PairGram]> {
        self.by_source.get(&layer.source)?.as_deref()
    }
}

/// Measures what layers of the main graph read in a model and in a copy that differs in its constants only, over all
/// samples. Of either, only what comes before those layers is run.
///
/// # Errors
/// Fails where no backend can run one of the models, or a sample cannot be read or run.
pub fn measure_pairs(
    original: &Model,
    copy: &Model,
    layers: &[Layer],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<PairMoments> {
    measure_pairs_without(&Idle::default(), (original, copy), layers, samples, env)
}

/// The same without rows that are idle.
///
/// # Errors
/// Fails where no backend can run one of the models, or a sample cannot be read or run.
pub fn measure_pairs_without(
    idle: &Idle,
    (original, copy): (&Model, &Model),
    layers: &[Layer],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<PairMoments> {
    let mut sums: Vec<(&Source, Option<Vec<PairGram>>)> = Vec::new();
    for layer in layers {
        if !sums.iter().any(|(source, _)| **source == layer.source) {
            sums.push((&layer.source, Some(vec![PairGram::new(layer.depth); layer.groups])));
        }
    }
    let values: Vec<_> = sums.iter().map(|(source, _)| source.input).collect();
    let before = Runner::up_to(original, &values, env.backend)?;
    let after = Runner::up_to(copy, &values, env.backend)?;
    for start in (0..samples.len()).step_by(BATCH) {
        let batch = (start..samples.len().min(start + BATCH)).into_par_iter();
        let held = batch
            .map(|index| {
                let inputs = samples.get(index)?;
                Ok((before.run(&inputs)?, after.run(&inputs)?, idle.places(&inputs)))
            })
            .collect::<Result<Vec<_>>>()?;
        sums.par_iter_mut().try_for_each(|(source, sums)| {
            for (before, after, places) in &held {
                let inputs = (before.of(source.input)?, after.of(source.input)?);
                add(sums, inputs, source, places.as_ref());
            }
            Ok::<(), Error>(())
        })?;
    }
    let sound = |sums: Vec<PairGram>| sums.iter().all(PairGram::is_sound).then_some(sums);
    let by_source = sums.into_iter().map(|(source, sums)| (source.clone(), sums.and_then(sound))).collect();
    Ok(PairMoments { by_source })
}

/// Adds the rows of one sample; nothing is known any more once one did not fit.
fn add(
    sums: &mut Option<Vec<PairGram>>,
    (original, copy): (&Tensor, &Tensor),
    source: &Source,
    places: Option<&Places>,
) {
    let Some(grams) = sums else { return };
    let among = places.and_then(|places| places.rows(original));
    let rows = |input| unfold::rows(input, &source.rows, source.depth, among.as_deref());
    let fits = match (rows(original), rows(copy)) {
        (Some(original), Some(copy)) => {
            grams.iter_mut().zip(original.iter().zip(&copy)).all(|(gram, (original, copy))| gram.add(original, copy))
        }
        _ => false,
    };
    if !fits {
        *sums = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendChoice;
    use crate::calib::layer_of;
    use crate::data::{self, DataOptions, Hints};
    use crate::ir::text;
    use crate::pass::Scratch;

    #[test]
    fn sums_are_those_of_the_definition() {
        let mut pair = PairGram::new(2);
        assert!(pair.add(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]));
        assert_eq!(pair.mean_cross_products(), [13.0, 15.0, 19.0, 22.0]);
        assert_eq!((pair.original_means(), pair.copy().means()), (vec![2.0, 3.0], vec![6.0, 7.0]));
        assert!(!pair.add(&[1.0, 2.0], &[1.0]) && !pair.add(&[1.0], &[1.0]));
        assert!(pair.is_sound());
        assert!(pair.add(&[f64::NAN, 0.0], &[0.0, 0.0]) && !pair.is_sound());
    }

    #[test]
    fn what_a_changed_layer_hands_on_is_paired_with_what_it_did() {
        let source = "<ir_version: 8, opset_import: [\"\" : 13]> g (float[2,3] x) => (float[2,2] y)
            <float[3,2] a = rand(1), float[2,2] b = rand(2)> { h = MatMul(x, a)
            y = MatMul(h, b) }";
        let original = text::parse(source).unwrap();
        let graph = &original.graph;
        let layers: Vec<Layer> = (graph.nodes().into_iter())
            .filter_map(|node| layer_of(graph, node, graph.constant(graph.input(node, 1)?)?.shape()))
            .collect();
        let mut copy = original.clone();
        let halved = graph.constant(layers[0].weights).unwrap().map_f64(|_, value| value / 2.0).unwrap();
        copy.graph.set_constant(layers[0].weights, halved).unwrap();
        let (signature, hints) = (original.signature(), Hints::default());
        let options = DataOptions { signature: &signature, seed: 3, hints: &hints, limit: None };
        let samples = data::open("synthetic:9", &options).unwrap();
        let scratch = Scratch::in_memory();
        let env = Env { backend: BackendChoice::Tract, ..Env::plain(&scratch) };
        let moments = measure_pairs(&original, &copy, &layers, &*samples, &env).unwrap();
        let pair = |layer: &Layer| moments.of(layer).unwrap()[0].clone();
        let (first, second) = (pair(&layers[0]), pair(&layers[1]));
        assert_eq!(first.mean_cross_products(), first.copy().mean_products());
        assert_eq!(second.copy().rows(), 18);
        for (cross, own) in second.mean_cross_products().iter().zip(second.copy().mean_products()) {
            assert!((cross - 2.0 * own).abs() < 1e-6, "{cross} for twice {own}");
        }
    }
}
