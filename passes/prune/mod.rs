//! Pruning: weights become zero, and with calibration data those left make up for them.
//!
//! ```text
//! // prune=0.5
//! < float[2,2] w = {0.1, -3, 2, -0.2} >     =>     < float[2,2] w = {0, -3, 2, 0} >
//! y = MatMul(x, w)                                 y = MatMul(x, w)
//! ```
//!
//! Of `n` weights exactly `floor(sparsity * n)` are zero afterwards, those that were zero before included, unless more
//! were. `scope=global`, the default, counts in all tensors together; `scope=layer` counts in each tensor. `threshold`
//! instead zeroes every weight of at most that magnitude. Without calibration data the smallest magnitudes go, the first
//! of equal ones; `method=random` picks by the seed of the run and the name of the tensor: a baseline to compare with.
//!
//! With calibration data, layers are pruned one after the other, each for what the layers before, already pruned, really
//! hand on: weights left are fitted by least squares to what the layer gave in the original, then its bias. What goes is
//! told by what its loss costs the layer's output: one weight after the other (`method=obs`), column after column
//! (`method=sparsegpt`), or by magnitude times input (`method=wanda`). With `scope=global` all layers have one budget of
//! errors, so that those that can do without much lose more; where finding exact costs would take too long, each layer is
//! pruned alone to see what it adds to the noise of the outputs (`allot.rs`). Where there are few samples, a part of them that
//! nothing is fitted to says first whether a fit helps at all (`plain.rs`).
//!
//! `pattern=N:M`, `block=RxC` and `dim=` give zeros a form; `mask` is a file that says which weights go.
//!
//! Weights are constants that Conv, ConvTranspose, Gemm, MatMul, LSTM, GRU or RNN multiply with, in every graph; with
//! `embeddings=true` tables of Gather as well. Biases and normalizations are none. Weights of other operators than Conv,
//! Gemm and MatMul, of inner graphs, and those that several operators read go by magnitude and are not made up for.
//! Left alone are
//! 1. what `exclude` names, as an operator or a tensor;
//! 2. weights that something reads as anything else, or that are outputs of a graph;
//! 3. weights that are not constant, or computed from constants at run time;
//! 4. quantized weights;
//! 5. tensors with fewer than two axes.

mod allot;
mod alone;
mod budget;
mod measured;
mod obs;
mod options;
mod pattern;
mod plain;
mod plan;
mod reach;
mod report;
mod select;
mod sequence;
mod sparsegpt;
mod targets;
mod view;

use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{Model, Tensor};
use crate::pass::{Changed, Cx, Effect, Env, Opts, Pass, PassInfo, Scope};
use crate::passes::common::holdout::{FEW, Part, Parts};
use options::{Amount, Method, Settings};
use pattern::Pattern;
use plan::{Planned, Planner};
use targets::Target;

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "prune",
    summary: "zeroes the weights that matter least; calibration data tells which, and lets the others make up for them",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: options::OPTIONS,
    build,
};

#[derive(Debug)]
struct Prune {
    settings: Settings,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(Prune { settings: Settings::new(opts)? }))
}

impl Pass for Prune {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut targets = targets::find(model, &self.settings.choice, cx)?;
        if self.settings.keeps_ends {
            leave_ends(model, &mut targets, cx);
        }
        if targets.is_empty() {
            cx.note("the model has no weights to prune");
            return Ok(Changed::No);
        }
        let pruned = self.pruned(model, &targets, cx)?;
        let results: Vec<Tensor> = match &pruned {
            Pruned::Alone(tensors) => tensors.clone(),
            Pruned::Fitted(copy) => targets::contents(copy, &targets)?,
        };
        report::report(&targets, &results, &self.settings, cx);
        let is_changed = targets.iter().zip(&results).any(|(target, result)| !result.same_as(&target.tensor));
        if !is_changed {
            return Ok(Changed::No);
        }
        match pruned {
            Pruned::Alone(tensors) => targets::place(model, &targets, tensors)?,
            Pruned::Fitted(copy) => *model = *copy,
        }
        Ok(Changed::Yes)
    }
}

/// What pruning gives.
enum Pruned {
    /// The targets, each by itself.
    Alone(Vec<Tensor>),
    /// The model, in which more may have changed than the targets.
    Fitted(Box<Model>),
}

impl Prune {
    fn pruned(&self, model: &Model, targets: &[Target], cx: &mut Cx<'_>) -> Result<Pruned> {
        let settings = &self.settings;
        let samples = cx.env.calibration;
        let needs_data = settings.method.is_some_and(Method::needs_data)
            || settings.repairs == Some(true)
            || settings.goal.is_some()
            || settings.steps > 1;
        match samples {
            None if needs_data => Err(Error::usage("`prune` is to go by what layers read or give, and needs inputs")
                .found("no calibration data")
                .help("give some with --inputs, or prune without them: method=l1:repair=auto")),
            Some(samples) if needs_data || settings.repairs.is_none() => {
                match self.fitted(model, targets, samples, cx) {
                    Err(error) if error.kind().is_no_run() && !needs_data => {
                        cx.note(format!("weights go by magnitude: {}", error.what()));
                        self.alone(targets, cx.env)
                    }
                    result => result,
                }
            }
            _ => self.alone(targets, cx.env),
        }
    }

    fn alone(&self, targets: &[Target], env: &Env<'_>) -> Result<Pruned> {
        let settings = &self.settings;
        let method = settings.method.unwrap_or(Method::Magnitude);
        Ok(Pruned::Alone(alone::prune(targets, &settings.amount, method, settings, env)?))
    }

    /// Layer after layer, on what they read.
    fn fitted(&self, model: &Model, targets: &[Target], samples: &dyn Samples, cx: &mut Cx<'_>) -> Result<Pruned> {
        let settings = &self.settings;
        let untouched = || Pruned::Alone(targets.iter().map(|target| target.tensor.clone()).collect());
        if settings.goal.is_none() && self.is_done(targets, cx.env)? {
            return Ok(untouched());
        }
        // What is fitted to some samples is checked on others.
        let parts = Parts::new(Some(samples), settings.goal.is_some());
        let (fit, check) = (parts.fit().unwrap_or(samples), parts.check().unwrap_or(samples));
        if settings.goal.is_none()
            && settings.repairs.is_none()
            && samples.len() < FEW
            && let Some((fit, check)) = Part::split(samples)
            && let Some(plain) = plain::better(self, model, targets, (samples, &fit, &check), cx)?
        {
            return Ok(Pruned::Fitted(Box::new(plain)));
        }
        let first = Planner::new((model, model), targets, settings, fit, cx)?;
        let Some(planned) = self.reached(model, targets, &first, (fit, check), cx)? else {
            cx.note("nothing is pruned: the least that was tried misses the goal");
            return Ok(untouched());
        };
        for (place, reason) in planned.unfitted {
            if let Some(target) = targets.get(place) {
                let text = format!("pruned without regard to what it is multiplied by: {reason}");
                cx.skipped(target.site.clone(), text);
            }
        }
        let made_up = if settings.repairs.unwrap_or(true) { ", and those left make up for them" } else { "" };
        cx.note(format!("`{}` says which weights go, on {}{made_up}", first.method().name(), fit.describe()));
        Ok(Pruned::Fitted(Box::new(planned.model)))
    }

    /// What goes, in steps, as far as the goal allows where there is one; `None` where it allows nothing.
    fn reached(
        &self,
        model: &Model,
        targets: &[Target],
        first: &Planner<'_>,
        (fit, check): (&dyn Samples, &dyn Samples),
        cx: &mut Cx<'_>,
    ) -> Result<Option<Planned>> {
        let settings = &self.settings;
        let env = cx.env;
        let series = |amount: &Amount| {
            let mut planned: Option<Planned> = None;
            for part in settings.parts() {
                let amount = amount.part(part);
                planned = Some(match &planned {
                    None => first.prune(&amount)?,
                    Some(before) => {
                        let mut unsaid = Cx::new(env, INFO.name);
                        let next = Planner::new((model, &before.model), targets, settings, fit, &mut unsaid)?;
                        next.prune(&amount)?
                    }
                });
            }
            planned.map_or_else(|| first.prune(amount), Ok)
        };
        match settings.goal {
            Some(goal) => reach::reach(model, settings, goal, check, cx, series),
            None => series(&settings.amount).map(Some),
        }
    }

    /// Whether there are as many zeros as asked for.
    fn is_done(&self, targets: &[Target], env: &Env<'_>) -> Result<bool> {
        let settings = &self.settings;
        let zeros = |target: &Target| report::zeros_of(&target.tensor) as usize;
        let has = |target: &Target, share: f64| zeros(target) >= share_of(target.tensor.len(), share);
        let (own, common): (Vec<&Target>, Vec<&Target>) =
            targets.iter().partition(|target| settings.ratio_of(target).is_some());
        Ok(match (settings.amount.share(), settings.pattern) {
            (None, _) | (_, Pattern::Of { .. } | Pattern::Block { .. } | Pattern::Slices { .. }) => {
                let settled = alone::prune(targets, &settings.amount, Method::Magnitude, settings, env)?;
                targets.iter().zip(&settled).all(|(target, settled)| settled.same_as(&target.tensor))
            }
            (Some(share), _) => {
                let is_common_done = match settings.amount {
                    Amount::Global(_) => {
                        let total = common.iter().map(|target| target.tensor.len()).sum();
                        let is_reached =
                            common.iter().map(|target| zeros(target)).sum::<usize>() >= share_of(total, share);
                        // Where layers do not share it out, each rounds its own down.
                        is_reached || common.iter().all(|target| has(target, share))
                    }
                    _ => common.iter().all(|target| has(target, share)),
                };
                is_common_done && own.iter().all(|target| settings.ratio_of(target).is_none_or(|r| has(target, r)))
            }
        })
    }
}

/// Takes the layers at the ends off the targets.
fn leave_ends(model: &Model, targets: &mut Vec<Target>, cx: &mut Cx<'_>) {
    let ends = measured::ends(model, targets);
    let mut place = 0;
    targets.retain(|target| {
        let stays = !ends.contains(&place);
        place += 1;
        if !stays {
            cx.skipped(target.site.clone(), "a layer at an end stays dense");
        }
        stays
    });
}

/// The number of weights that a share of them is.
fn share_of(count: usize, share: f64) -> usize {
    // A decimal share is rarely exact in binary: 0.29 of 100 is 28.999999999999996.
    ((count as f64 * (share + f64::EPSILON)) as usize).min(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        assert_eq!(share_of(100, 0.29), 29);
        assert_eq!(share_of(7, 0.5), 3);
        assert_eq!(share_of(7, 1.0), 7);
        assert_eq!(share_of(3, 0.333), 0);
    }
}
