//! `ternary`: each weight is zero, or a scale, or its negative (Li, Liu, Zhang, Liu: *Ternary Weight Networks*, 2016);
//! arithmetic stays in float.
//!
//! ```text
//! Conv(x, w)  =>  w = Mul(Reshape(Gather(codebook, Cast(codes)), shape), scale)    Conv(x, w)
//! ```
//!
//! Five weights are stored in a byte. Runtimes look them up once, when they load the model, so that it runs as fast as with
//! floats. With one scale for a tensor the table holds the weights themselves, and there is no Mul.
//!
//! With calibration data, layers are fitted one after the other to what they gave in the original (see `fit`), on some of
//! the samples; the result is used where it is closer to the original on the others than without. It is run against the
//! original; where it misses the target, the tensors whose noise costs most for their bytes stay float.
//!
//! Left alone:
//! 1. weights with values that are not finite, or of other types than 32-bit and 16-bit floats,
//! 2. weights that are inputs or outputs of a graph, or that something reads as other than factors of a product,
//! 3. weights that are too small to gain, and those of inner graphs and functions, which are not measured,
//! 4. the first and the last layers, unless asked for.

mod coded;
mod fit;
mod levels;
mod options;
mod plan;
mod sequence;
mod threshold;

use rayon::prelude::*;

use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Graph, Model};
use crate::pass::{Changed, Cx, Effect, Pass, PassInfo, Scope};
use crate::passes::common::fitted::closest;
use crate::passes::common::holdout::Parts;
use crate::passes::common::rows::Rowed;
use crate::passes::common::trial::Trial;
use crate::passes::common::within::where_it_runs;
use coded::Coded;
use options::Settings;

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "ternary",
    summary: "weights of three values, a scale with either sign and zero, five in a byte",
    effect: Effect::Lossy,
    scope: Scope::MainGraph,
    // Slice with bounds that are inputs.
    min_opset: Some(10),
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(Ternary { settings: Settings::new(opts) })),
};

#[derive(Debug)]
struct Ternary {
    settings: Settings,
}

impl Pass for Ternary {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        self.settings.exclude.check(model)?;
        cx.enter(&[]);
        let (candidates, plain) = self.candidates(&model.graph, cx)?;
        if candidates.is_empty() {
            return Ok(Changed::No);
        }
        let parts = Parts::new(cx.env.calibration, self.settings.repairs);
        let (fit, check) = (parts.fit(), parts.check());
        let coded = self.closest(model, &candidates, plain, fit.zip(check), cx)?;
        let are_coded = self.are_coded(model, (&candidates, &coded), check, cx)?;
        let original = model.graph.clone();
        let mut changed = Changed::No;
        for ((candidate, coded), is_coded) in candidates.iter().zip(&coded).zip(are_coded) {
            if is_coded {
                put(&original, &mut model.graph, (candidate, coded), self.settings.is_shared, cx)?;
                changed = Changed::Yes;
            }
        }
        Ok(changed)
    }
}

impl Ternary {
    /// The weights that get smaller, by their own magnitudes.
    fn candidates(&self, graph: &Graph, cx: &mut Cx<'_>) -> Result<(Vec<Rowed>, Vec<Coded>)> {
        let found = plan::candidates(graph, &self.settings, cx);
        let coded = found.par_iter().map(|candidate| plan::coded(candidate, &self.settings, cx.env.scratch));
        let coded = coded.collect::<Result<Vec<Coded>>>()?;
        let (mut candidates, mut gaining) = (Vec::new(), Vec::new());
        for (candidate, coded) in found.into_iter().zip(coded) {
            let weights = &candidate.weights;
            if coded.lookup.stored_bytes(graph.value(weights.value).name()) >= weights.tensor.byte_len() {
                let site = graph.site(weights.reader).with_tensor(graph.value(weights.value).describe());
                cx.skipped(site, "so few weights share a table that the file would not get smaller");
                continue;
            }
            candidates.push(candidate);
            gaining.push(coded);
        }
        Ok((candidates, gaining))
    }

    /// Weights fitted to samples, where outputs are closer with those on samples that nothing was fitted to.
    fn closest(
        &self,
        model: &Model,
        candidates: &[Rowed],
        plain: Vec<Coded>,
        parts: Option<(&dyn Samples, &dyn Samples)>,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<Coded>> {
        let Some((fit, check)) = parts else { return Ok(plain) };
        let all = vec![true; candidates.len()];
        let env = cx.env;
        let fitted = |_: &Trial<'_>| sequence::coded(model, candidates, &self.settings, fit, env);
        closest(model, plain, (fit, check), cx, fitted, |coded| levels::draft(model, candidates, coded, &all))
    }

    /// Which candidates are coded. Random inputs stand in for samples; a model that cannot be run on those is not measured.
    fn are_coded(
        &self,
        model: &Model,
        coded: (&[Rowed], &[Coded]),
        samples: Option<&dyn Samples>,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<bool>> {
        let lowest = || vec![true; coded.0.len()];
        let Some(target) = self.settings.target else { return Ok(lowest()) };
        where_it_runs(model, samples, cx, lowest, |samples, cx| levels::reach(model, coded, target, samples, cx))
    }
}

/// Puts coded weights in place and says so.
fn put(
    original: &Graph,
    graph: &mut Graph,
    (candidate, coded): (&Rowed, &Coded),
    is_shared: bool,
    cx: &mut Cx<'_>,
) -> Result<()> {
    let weights = &candidate.weights;
    let site = graph.site(weights.reader).with_tensor(graph.value(weights.value).describe());
    let bytes_after = coded.lookup.stored_bytes(graph.value(weights.value).name()) as f64;
    coded.put(original, graph, candidate)?;
    let figures = [
        ("snr_db", 10.0 * (coded.signal / coded.error).log10()),
        ("sparsity", coded.sparsity),
        ("bytes_before", weights.tensor.byte_len() as f64),
        ("bytes_after", bytes_after),
    ];
    let scale = if is_shared { "a scale in all" } else { "a scale a channel" };
    let fitted = if coded.is_fitted() { ", fitted" } else { "" };
    cx.measured(site, format!("{scale}, {}{fitted}", coded.lookup.describe()), &figures);
    Ok(())
}
