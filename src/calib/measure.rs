//! Runs the model and adds up.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::gram::Gram;
use super::idle::{Idle, Places};
use super::layer::{Layer, Source};
use super::runner::{Ran, Runner};
use super::unfold;
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{Model, Tensor, ValueId};
use crate::pass::Env;

/// Samples whose inputs of layers are held at the same time. A constant, so that sums do not depend on the machine.
pub(super) const BATCH: usize = 8;

/// Sums that are held at the same time, in bytes: what needs more is measured in several rounds.
const ROUND_BYTES: u64 = 512 << 20;

/// What was measured, by what the layers read.
#[derive(Debug, Default)]
pub struct Moments {
    by_source: BTreeMap<Source, Option<Vec<Gram>>>,
}

impl Moments {
    /// The sums for a layer, one for each of its groups; `None` where it was not measured, its input did not fit, or held
    /// numbers that are not finite.
    pub fn of(&self, layer: &Layer) -> Option<&[Gram]> {
        self.by_source.get(&layer.source)?.as_deref()
    }
}

/// Splits layers, in their order, into rounds whose sums fit into memory together.
pub fn rounds(layers: &[Layer]) -> Vec<Vec<Layer>> {
    let mut rounds: Vec<Vec<Layer>> = Vec::new();
    let mut held = 0;
    for layer in layers {
        let is_new = !rounds.last().is_some_and(|round| round.iter().any(|other| other.shares_rows(layer)));
        let bytes = if is_new { layer.moment_bytes() } else { 0 };
        match rounds.last_mut() {
            Some(round) if held + bytes <= ROUND_BYTES => {
                round.push(layer.clone());
                held += bytes;
            }
            _ => {
                rounds.push(vec![layer.clone()]);
                held = layer.moment_bytes();
            }
        }
    }
    rounds
}

/// Measures what layers of the main graph read, over all samples.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub fn measure(model: &Model, layers: &[Layer], samples: &dyn Samples, env: &Env<'_>) -> Result<Moments> {
    measure_without(&Idle::default(), model, layers, samples, env)
}

/// The same without rows that are idle.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub fn measure_without(
    idle: &Idle,
    model: &Model,
    layers: &[Layer],
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Moments> {
    let mut sums: Vec<(&Source, Option<Vec<Gram>>)> = Vec::new();
    for layer in layers {
        if !sums.iter().any(|(source, _)| **source == layer.source) {
            sums.push((&layer.source, Some(vec![Gram::new(layer.depth); layer.groups])));
        }
    }
    let values: Vec<ValueId> = sums.iter().map(|(source, _)| source.input).collect();
    let runner = Runner::whole(model, &values, env.backend)?;
    for start in (0..samples.len()).step_by(BATCH) {
        let batch = (start..samples.len().min(start + BATCH)).into_par_iter();
        let held = batch
            .map(|index| {
                let inputs = samples.get(index)?;
                Ok((runner.run(&inputs)?, idle.places(&inputs)))
            })
            .collect::<Result<Vec<(Ran<'_>, Option<Places>)>>>()?;
        sums.par_iter_mut().try_for_each(|(source, sums)| {
            held.iter().try_for_each(|(ran, places)| {
                add(sums, ran.of(source.input)?, source, places.as_ref());
                Ok::<(), Error>(())
            })
        })?;
    }
    let finite = |sums: Vec<Gram>| sums.iter().all(|gram| gram.is_finite() && gram.rows() > 0).then_some(sums);
    let by_source = sums.into_iter().map(|(source, sums)| (source.clone(), sums.and_then(finite))).collect();
    Ok(Moments { by_source })
}

/// Adds the rows of one sample; nothing is known any more once one did not fit.
fn add(sums: &mut Option<Vec<Gram>>, input: &Tensor, source: &Source, places: Option<&Places>) {
    let Some(grams) = sums else { return };
    let among = places.and_then(|places| places.rows(input));
    match unfold::rows(input, &source.rows, source.depth, among.as_deref()) {
        Some(rows) => grams.iter_mut().zip(rows).for_each(|(gram, rows)| gram.add(&rows)),
        None => *sums = None,
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

    const SOURCE: &str = "<ir_version: 8, opset_import: [\"\" : 13]> g (float[3,4] x) => (float[3,2] y)
        <float[4,5] a = rand(1), float[5,2] b = rand(2), float[5,2] c = rand(3)> {
        h = MatMul(x, a)
        p = MatMul(h, b)
        q = MatMul(h, c)
        y = Add(p, q)
    }";

    fn layers(model: &Model) -> Vec<Layer> {
        let graph = &model.graph;
        let layer = |node| layer_of(graph, node, graph.constant(graph.input(node, 1)?)?.shape());
        graph.nodes().into_iter().filter_map(layer).collect()
    }

    #[test]
    fn moments_do_not_depend_on_the_number_of_threads() {
        let model = text::parse(SOURCE).unwrap();
        let layers = layers(&model);
        assert_eq!(layers.len(), 3);
        assert!(layers[1].shares_rows(&layers[2]) && !layers[0].shares_rows(&layers[1]));
        let (signature, hints) = (model.signature(), Hints::default());
        let options = DataOptions { signature: &signature, seed: 3, hints: &hints, limit: None };
        let samples = data::open("synthetic:11", &options).unwrap();
        let scratch = Scratch::in_memory();
        let env = Env { backend: BackendChoice::Tract, ..Env::plain(&scratch) };
        let of = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let moments = pool.install(|| measure(&model, &layers, &*samples, &env)).unwrap();
            layers.iter().map(|layer| moments.of(layer).unwrap().to_vec()).collect::<Vec<_>>()
        };
        let one = of(1);
        assert_eq!(one, of(3));
        assert_eq!((one[0][0].rows(), one[0][0].dim(), one[1][0].dim()), (33, 4, 5));
        assert_eq!(one[1], one[2]);
    }

    #[test]
    fn rounds_keep_the_order_and_fit() {
        let model = text::parse(SOURCE).unwrap();
        let mut layers = layers(&model);
        assert_eq!(rounds(&layers).len(), 1);
        layers.iter_mut().for_each(|layer| layer.depth = 8000);
        // The last two share their sums.
        let sizes: Vec<usize> = rounds(&layers).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 2]);
    }
}
