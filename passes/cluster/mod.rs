//! `cluster`: the weights of a tensor share a few values (Han, Mao, Dally: *Deep Compression*, 2016, section 3); arithmetic
//! stays in float.
//!
//! ```text
//! Conv(x, w)  =>  w = Reshape(Gather(codebook, Cast(codes)), shape)    Conv(x, w)
//! ```
//!
//! Runtimes look the weights up once, when they load the model, so that it runs as fast as with floats. A byte holds several
//! codes where there are few values, and the codebook then has a row for each byte. Where most weights are zero, a bit for each
//! and codes for the others take fewer bytes (see `common/sparse`).
//!
//! The result is run against the original; where it misses the target, the tensors whose noise costs most for their bytes
//! get 256 values or stay float. Weights that are zero stay zero.
//!
//! Left alone:
//! 1. weights with values that are not finite, or of other types than 32-bit and 16-bit floats,
//! 2. weights that are inputs or outputs of a graph, or that something reads as other than weights,
//! 3. weights that are too small to gain.
//!
//! Inner graphs and functions, whose tensors are not measured, get 256 values.

mod coded;
mod levels;
mod options;

use rayon::prelude::*;

use crate::error::Result;
use crate::ir::{Graph, Model};
use crate::pass::{Changed, Cx, Effect, Env, Pass, PassInfo, Scope};
use crate::passes::common::kmeans::codebook;
use crate::passes::common::weights::{Weights, each_weights};
use crate::passes::common::within::where_it_runs;
use coded::Coded;
use levels::{Candidate, Level};
use options::Settings;

/// Values where no more are needed for any task: a byte each.
const MOST_VALUES: usize = 256;

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "cluster",
    summary: "a few values that all weights of a tensor share, and a short code for each weight",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    // CumSum.
    min_opset: Some(11),
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(Cluster { settings: Settings::new(opts)? })),
};

#[derive(Debug)]
struct Cluster {
    settings: Settings,
}

impl Pass for Cluster {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        self.settings.exclude.check(model)?;
        cx.enter(&[]);
        let candidates = self.candidates(&model.graph, self.settings.values, cx)?;
        let levels = self.levels(model, &candidates, cx)?;
        let mut changed = Changed::No;
        for (candidate, level) in candidates.iter().zip(levels) {
            if let Some(coded) = candidate.at(level) {
                put(&mut model.graph, &candidate.weights, coded, cx)?;
                changed = Changed::Yes;
            }
        }
        model.edit_graphs(|graph, path| {
            if path.is_empty() {
                return Ok(());
            }
            cx.enter(path);
            for candidate in self.candidates(graph, MOST_VALUES, cx)? {
                put(graph, &candidate.weights, &candidate.few, cx)?;
                changed = Changed::Yes;
            }
            Ok(())
        })?;
        cx.enter(&[]);
        Ok(changed)
    }
}

impl Cluster {
    /// The weights of a graph that get smaller by sharing so many values, coded.
    fn candidates(&self, graph: &Graph, values: usize, cx: &mut Cx<'_>) -> Result<Vec<Candidate>> {
        let Settings { min_elements, exclude, .. } = &self.settings;
        let mut found = Vec::new();
        each_weights(graph, *min_elements, exclude, cx, |weights| {
            let is_finite = weights.tensor.to_f32().is_some_and(|values| values.iter().all(|value| value.is_finite()));
            if !is_finite {
                return Err("some of its values are not finite".to_owned());
            }
            found.push(weights);
            Ok(())
        });
        let coded = found
            .par_iter()
            .map(|weights| self.coded(weights, graph.value(weights.value).name(), values, cx.env))
            .collect::<Result<Vec<Coded>>>()?;
        let mut candidates = Vec::new();
        for (weights, few) in found.into_iter().zip(coded) {
            let name = graph.value(weights.value).name();
            if few.stored_bytes(name) >= weights.tensor.byte_len() {
                let site = graph.site(weights.reader).with_tensor(graph.value(weights.value).describe());
                cx.skipped(site, "so few weights share the values that the file would not get smaller");
                continue;
            }
            let many = match values < MOST_VALUES {
                true => Some(self.coded(&weights, name, MOST_VALUES, cx.env)?),
                false => None,
            };
            let many = many.filter(|many| many.stored_bytes(name) < weights.tensor.byte_len());
            candidates.push(Candidate { weights, few, many });
        }
        Ok(candidates)
    }

    fn coded(&self, weights: &Weights, name: &str, values: usize, env: &Env<'_>) -> Result<Coded> {
        let (numbers, settings) = (weights.tensor.to_f32().unwrap_or_default(), &self.settings);
        Coded::new(
            weights,
            &codebook(&numbers, values, settings.start, env.seed),
            (name, settings.is_in_bytes),
            env.scratch,
        )
    }

    /// How many values each tensor gets. Random inputs stand in for samples; a model that cannot be run on those is not
    /// measured.
    fn levels(&self, model: &Model, candidates: &[Candidate], cx: &mut Cx<'_>) -> Result<Vec<Level>> {
        let lowest = || vec![Level::Few; candidates.len()];
        let Some(target) = self.settings.target.filter(|_| !candidates.is_empty()) else { return Ok(lowest()) };
        where_it_runs(model, cx.env.calibration, cx, lowest, |samples, cx| {
            levels::reach(model, candidates, target, samples, cx)
        })
    }
}

/// Puts coded weights in place and says so.
fn put(graph: &mut Graph, weights: &Weights, coded: &Coded, cx: &mut Cx<'_>) -> Result<()> {
    let site = graph.site(weights.reader).with_tensor(graph.value(weights.value).describe());
    let bytes_after = coded.stored_bytes(graph.value(weights.value).name()) as f64;
    coded.put(graph, weights)?;
    let bits = 8.0 * bytes_after / weights.tensor.len().max(1) as f64;
    let figures = [
        ("kept", coded.kept),
        ("bits_per_weight", bits),
        ("snr_db", 10.0 * (coded.signal / coded.error).log10()),
        ("bytes_before", weights.tensor.byte_len() as f64),
        ("bytes_after", bytes_after),
    ];
    cx.measured(site, format!("{} values, {}", coded.values, coded.describe()), &figures);
    Ok(())
}
