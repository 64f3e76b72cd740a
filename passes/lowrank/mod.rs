//! `lowrank`: a layer becomes two or three in a row, with fewer weights and fewer multiplications.
//!
//! ```text
//! MatMul(x, w)     =>  MatMul(MatMul(x, w_first), w_last)        w = w_first w_last
//! Gemm(x, w, b)    =>  Gemm(MatMul(x, w_first), w_last, b)
//! Conv 1x1         =>  Conv 1x1, Conv 1x1
//! Conv k x k       =>  Conv 1x1, Conv k x k, Conv 1x1, or without one of the ends    (Tucker-2, Kim et al. 2016)
//!                  or  Conv k x 1, Conv 1 x k                                        (Jaderberg et al. 2014)
//! ```
//!
//! Without data, the weights are what is missed least (truncated SVD). With calibration data, it is what a layer gives, for
//! which weights are whitened by the second moments of what it reads (see `problem`); layers are then fitted one after the
//! other to what they gave in the original, from what those before really hand on, and their biases with them. That is done
//! on some of the samples, and used where the others come out closer.
//!
//! Left alone:
//! 1. layers that would not get smaller, or would take as many multiplications, and those already in factors,
//! 2. weights with values that are not finite, or of other types than 32-bit and 16-bit floats,
//! 3. weights that are inputs or outputs of a graph, that several operators read, or that come through others,
//! 4. convolutions in groups, transposed ones, and products of more than two dimensions of weights,
//! 5. inner graphs and functions, which are not measured.

mod emit;
mod factored;
mod form;
mod levels;
mod menu;
mod options;
mod plan;
mod problem;
mod sequence;
mod solver;

use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Graph, Model};
use crate::pass::{Changed, Cx, Effect, Pass, PassInfo, Scope};
use crate::passes::common::fitted::closest;
use crate::passes::common::holdout::Parts;
use crate::passes::common::trial::Trial;
use crate::passes::common::within::where_it_runs;
use factored::Factored;
use levels::Menu;
use options::{Amount, Settings};
use plan::Candidate;

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "lowrank",
    summary: "two or three layers of few weights in the place of one, where that saves bytes and multiplications",
    effect: Effect::Lossy,
    scope: Scope::MainGraph,
    min_opset: None,
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(LowRank { settings: Settings::new(opts)? })),
};

#[derive(Debug)]
struct LowRank {
    settings: Settings,
}

impl Pass for LowRank {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        self.settings.exclude.check(model)?;
        cx.enter(&[]);
        let candidates = plan::candidates(model, &self.settings, cx);
        if candidates.is_empty() {
            return Ok(Changed::No);
        }
        let parts = Parts::new(cx.env.calibration, self.settings.repairs);
        let (fit, check) = (parts.fit(), parts.check());
        let options = self.options(model, &candidates, fit, cx)?;
        let (candidates, options) = self.gaining(model, candidates, options, cx);
        let menu = Menu { model, candidates: &candidates, options: &options };
        let found = match self.settings.amount {
            _ if candidates.is_empty() => Vec::new(),
            Amount::Target(target) => {
                // Random inputs stand in for samples; where the model runs on none, nothing is known to reach the target.
                let whole = || vec![None; candidates.len()];
                where_it_runs(model, check, cx, whole, |check, cx| levels::reach(menu, target, fit, check, cx))?
            }
            _ => by_amount(menu, fit.zip(check), cx)?,
        };
        let original = model.graph.clone();
        let mut changed = Changed::No;
        for (candidate, factored) in candidates.iter().zip(&found) {
            if let Some(factored) = factored {
                put(&original, &mut model.graph, candidate, factored, cx)?;
                changed = Changed::Yes;
            }
        }
        Ok(changed)
    }
}

impl LowRank {
    /// What each layer may become: by what it gives, or by its weights where there is no data to tell.
    fn options(
        &self,
        model: &Model,
        candidates: &[Candidate],
        fit: Option<&dyn Samples>,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<Vec<Factored>>> {
        let amounts = menu::amounts(self.settings.amount);
        if let Some(fit) = fit {
            match sequence::by_outputs(model, candidates, &amounts, fit, cx.env) {
                Err(error) if error.kind().is_no_run() => {
                    cx.note(format!("layers are factorised by their weights: {}", error.what()));
                }
                options => return options,
            }
        }
        sequence::by_weights(model, candidates, &amounts, cx.env)
    }

    /// The layers that have any options; says of the others that they get no smaller.
    fn gaining(
        &self,
        model: &Model,
        candidates: Vec<Candidate>,
        options: Vec<Vec<Factored>>,
        cx: &mut Cx<'_>,
    ) -> (Vec<Candidate>, Vec<Vec<Factored>>) {
        let (mut gaining, mut kept) = (Vec::new(), Vec::new());
        for (candidate, options) in candidates.into_iter().zip(options) {
            if options.is_empty() {
                let site = model.graph.site(candidate.layer.node);
                let site = site.with_tensor(model.graph.value(candidate.weights.value).describe());
                cx.skipped(site, self.settings.amount.why_nothing(&candidate.geometry));
                continue;
            }
            gaining.push(candidate);
            kept.push(options);
        }
        (gaining, kept)
    }
}

/// Every layer with as much of it left as was asked for, fitted to samples where others come out closer with that than with
/// factors of the weights alone.
fn by_amount(
    menu: Menu<'_>,
    parts: Option<(&dyn Samples, &dyn Samples)>,
    cx: &mut Cx<'_>,
) -> Result<Vec<Option<Factored>>> {
    let Menu { model, candidates, options } = menu;
    let given: Vec<Option<Factored>> = options.iter().map(|options| options.first().cloned()).collect();
    let Some((fit, check)) = parts else { return Ok(given) };
    let env = cx.env;
    let plain = sequence::plain(candidates, &given, env)?;
    let fitted =
        |trial: &Trial<'_>| levels::closer(model, candidates, given, Some(fit), trial, env).map(|closer| closer.found);
    closest(model, plain, (fit, check), cx, fitted, |found| {
        let chosen: Vec<Option<&Factored>> = found.iter().map(Option::as_ref).collect();
        levels::draft(model, candidates, &chosen)
    })
}

/// Puts layers in the place of one and says so.
fn put(original: &Graph, graph: &mut Graph, candidate: &Candidate, factored: &Factored, cx: &mut Cx<'_>) -> Result<()> {
    let weights = &candidate.weights;
    let name = original.value(weights.value).name();
    let site = original.site(candidate.layer.node).with_tensor(original.value(weights.value).describe());
    emit::put(original, graph, candidate, factored)?;
    let whole = candidate.geometry.whole();
    let figures = [
        ("snr_db", factored.snr_db()),
        ("bytes_before", weights.tensor.byte_len() as f64),
        ("bytes_after", factored.stored_bytes(name) as f64),
        ("macs_before", whole.macs as f64),
        ("macs_after", factored.cost.macs as f64),
    ];
    cx.measured(site, candidate.geometry.describe(factored.form), &figures);
    Ok(())
}
