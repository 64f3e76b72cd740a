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
//! errors, so that those that can do without much lose more.
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

mod alone;
mod bias;
mod budget;
mod fit;
mod layers;
mod obs;
mod options;
mod pattern;
mod report;
mod select;
mod sequence;
mod sparsegpt;
mod targets;
mod view;

use std::collections::BTreeMap;

use crate::data::Samples;
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Model, Tensor, ValueId};
use crate::pass::{Changed, Cx, Effect, Env, Opts, Pass, PassInfo, Scope};
use layers::Measured;
use options::{Amount, Method, Settings};
use pattern::Pattern;
use sequence::{Plan, Rule};
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

/// Multiplications that finding the exact order of all weights may take before column after column has to do: about a
/// minute.
const MOST_EXACT: f64 = 6e11;

/// Rows longer than this are never ordered exactly.
const LONGEST_EXACT: usize = 2048;

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
        report::report(&targets, &results, self.settings.measures_gzip, cx);
        let is_changed = targets.iter().zip(&results).any(|(target, result)| !result.same_as(&target.tensor));
        if !is_changed {
            return Ok(Changed::No);
        }
        match pruned {
            Pruned::Alone(tensors) => place(model, &targets, tensors)?,
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
        let needs_data = settings.method.is_some_and(Method::needs_data) || settings.repairs == Some(true);
        match samples {
            None if needs_data => Err(Error::usage("`prune` is to weigh weights by what layers read, and needs inputs")
                .found("no calibration data")
                .help("give some with --inputs, or prune without them: method=l1:repair=auto")),
            Some(samples) if needs_data || settings.repairs.is_none() => {
                match self.fitted(model, targets, samples, cx) {
                    Err(error) if is_no_run(&error) && !needs_data => {
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
        let targets: Vec<&Target> = targets.iter().collect();
        let method = settings.method.unwrap_or(Method::Magnitude);
        Ok(Pruned::Alone(alone::prune(&targets, &settings.amount, method, settings.pattern, env)?))
    }

    /// Layer after layer, on what they read.
    fn fitted(&self, model: &Model, targets: &[Target], samples: &dyn Samples, cx: &mut Cx<'_>) -> Result<Pruned> {
        let settings = &self.settings;
        let (measured, others) = layers::measured(model, targets)?;
        let method = self.method(&measured, targets, cx);
        if method.needs_data() && self.is_done(targets) {
            return Ok(Pruned::Alone(targets.iter().map(|target| target.tensor.clone()).collect()));
        }
        let rules = if method.needs_data() {
            self.rules(model, targets, &measured, method, samples, cx)?
        } else {
            let all: Vec<&Target> = targets.iter().collect();
            let settled = alone::prune(&all, &settings.amount, method, settings.pattern, cx.env)?;
            if targets.iter().zip(&settled).all(|(target, settled)| settled.same_as(&target.tensor)) {
                return Ok(Pruned::Alone(settled));
            }
            settled.into_iter().map(|tensor| Some(Rule::Settled(tensor))).collect()
        };
        let mut copy = model.clone();
        let contents = targets.iter().zip(&rules).map(|(target, rule)| match rule {
            Some(Rule::Settled(tensor)) => tensor.clone(),
            _ => target.tensor.clone(),
        });
        let is_measured = |place: usize| measured.iter().any(|one| one.target == place);
        let contents: Vec<Tensor> = contents.collect();
        let untouched: Vec<Tensor> = (contents.into_iter().zip(targets).enumerate())
            .map(|(place, (tensor, target))| if is_measured(place) { target.tensor.clone() } else { tensor })
            .collect();
        place(&mut copy, targets, untouched)?;
        let repairs = settings.repairs.unwrap_or(true);
        let plan = Plan { method, pattern: settings.pattern, repairs, rules: &rules };
        let unfitted = sequence::prune(model, &mut copy, (targets, &measured), plan, samples, cx.env)?;
        for (place, reason) in others {
            by_magnitude(targets, place, reason, cx);
        }
        for place in unfitted {
            by_magnitude(targets, place, "what it reads never varies, or cannot be measured", cx);
        }
        let made_up = if repairs { ", and those left make up for them" } else { "" };
        cx.note(format!("`{}` says which weights go, on {}{made_up}", method.name(), samples.describe()));
        Ok(Pruned::Fitted(Box::new(copy)))
    }

    /// The method asked for, or the best that does not take too long.
    fn method(&self, measured: &[Measured], targets: &[Target], cx: &mut Cx<'_>) -> Method {
        let settings = &self.settings;
        let is_settled = matches!(settings.amount, Amount::Threshold(_) | Amount::Mask(_));
        if is_settled || matches!(settings.pattern, Pattern::Slices { .. }) {
            return settings.method.unwrap_or(Method::Magnitude);
        }
        let cost: f64 = measured.iter().map(|one| obs::cost(one.view.rows, one.view.depth)).sum();
        let longest = measured.iter().max_by_key(|one| one.view.depth);
        let is_long = longest.is_some_and(|one| one.view.depth > LONGEST_EXACT);
        let is_tiled = matches!(settings.pattern, Pattern::Block { .. });
        match settings.method {
            Some(Method::Obs) if is_tiled => {
                cx.note("`obs` takes weights one by one: tiles go by `sparsegpt`");
                Method::SparseGpt
            }
            Some(Method::Obs) if is_long => {
                let name = longest.and_then(|one| targets.get(one.target)).map_or("", |target| target.name.as_str());
                cx.note(format!("`obs` would take too long for the rows of `{name}`: `sparsegpt`"));
                Method::SparseGpt
            }
            Some(method) => method,
            None if cost > MOST_EXACT || is_long || is_tiled => Method::SparseGpt,
            None => Method::Obs,
        }
    }

    /// Whether there are as many zeros as asked for.
    fn is_done(&self, targets: &[Target]) -> bool {
        let zeros: Vec<usize> = targets.iter().map(|target| report::zeros_of(&target.tensor) as usize).collect();
        match (&self.settings.amount, self.settings.pattern) {
            (_, pattern @ Pattern::Of { .. }) => targets.iter().all(|target| {
                let mut scores = Vec::with_capacity(target.tensor.len());
                target.tensor.for_each_f64(|weight| scores.push(weight.abs()));
                let goes = pattern::choose(&scores, &target.axes.units(pattern), pattern, 0);
                goes.iter().zip(&scores).all(|(&goes, &score)| !goes || score == 0.0)
            }),
            (Amount::Global(share), _) => {
                let total = targets.iter().map(|target| target.tensor.len()).sum();
                zeros.iter().sum::<usize>() >= share_of(total, *share)
            }
            (Amount::PerLayer(share), _) => {
                targets.iter().zip(zeros).all(|(target, zeros)| zeros >= share_of(target.tensor.len(), *share))
            }
            _ => false,
        }
    }

    /// What goes by what layers read, for each target.
    fn rules(
        &self,
        model: &Model,
        targets: &[Target],
        measured: &[Measured],
        method: Method,
        samples: &dyn Samples,
        cx: &Cx<'_>,
    ) -> Result<Vec<Option<Rule>>> {
        let settings = &self.settings;
        let is_of = matches!(settings.pattern, Pattern::Of { .. });
        let share = match settings.amount {
            Amount::PerLayer(share) | Amount::Global(share) => share,
            _ => 0.0,
        };
        let is_global = matches!(settings.amount, Amount::Global(_));
        let mut rules: Vec<Option<Rule>> = vec![None; targets.len()];
        let is_weighed = method == Method::Obs || (is_global && !is_of);
        let both = (targets, measured);
        let costs = match is_weighed {
            true => budget::costs(model, both, method, settings.pattern, samples, cx.env)?,
            false => Vec::new(),
        };
        let count = |target: usize| targets.get(target).map_or(0, |target| target.tensor.len());
        let goes: Vec<Vec<bool>> = if is_of {
            let infinite = |costs: &budget::Costs| costs.of_weights.iter().map(|cost| cost.is_finite()).collect();
            costs.iter().map(infinite).collect()
        } else if is_global {
            let total: usize = targets.iter().map(|target| target.tensor.len()).sum();
            let weighed: usize = costs.iter().map(|costs| count(costs.target)).sum();
            let others: usize = (0..targets.len())
                .filter(|&target| costs.iter().all(|costs| costs.target != target))
                .map(|target| share_of(count(target), share))
                .sum();
            budget::cheapest(&costs, share_of(total, share).saturating_sub(others).min(weighed))
        } else {
            let of_layer = |costs: &budget::Costs| {
                budget::cheapest(std::slice::from_ref(costs), share_of(count(costs.target), share)).concat()
            };
            costs.iter().map(of_layer).collect()
        };
        for (costs, goes) in costs.iter().zip(&goes) {
            let (Some(target), Some(rule)) = (targets.get(costs.target), rules.get_mut(costs.target)) else { continue };
            *rule = Some(match method {
                Method::Obs => Rule::Settled(alone::masked(&target.tensor, goes, cx.env)?),
                _ => Rule::Share(goes.iter().filter(|&&goes| goes).count() as f64 / goes.len().max(1) as f64),
            });
        }
        if method != Method::Obs && !is_global || is_of && method != Method::Obs {
            for one in measured {
                if let Some(rule) = rules.get_mut(one.target) {
                    *rule = Some(Rule::Share(share));
                }
            }
        }
        // What is not weighed goes by magnitude.
        let rest: Vec<usize> = (0..targets.len()).filter(|&place| matches!(rules.get(place), Some(None))).collect();
        let left: Vec<&Target> = rest.iter().filter_map(|&place| targets.get(place)).collect();
        let amount = Amount::PerLayer(share);
        let settled = alone::prune(&left, &amount, Method::Magnitude, settings.pattern, cx.env)?;
        for (place, tensor) in rest.into_iter().zip(settled) {
            if let Some(rule) = rules.get_mut(place) {
                *rule = Some(Rule::Settled(tensor));
            }
        }
        Ok(rules)
    }
}

/// Takes the layers at the ends off the targets.
fn leave_ends(model: &Model, targets: &mut Vec<Target>, cx: &mut Cx<'_>) {
    let ends = layers::ends(model, targets);
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

/// Says that a target went by magnitude.
fn by_magnitude(targets: &[Target], place: usize, reason: &str, cx: &mut Cx<'_>) {
    if let Some(target) = targets.get(place) {
        cx.skipped(target.site.clone(), format!("pruned without regard to what it is multiplied by: {reason}"));
    }
}

/// Puts new contents in the place of the targets.
fn place(model: &mut Model, targets: &[Target], tensors: Vec<Tensor>) -> Result<()> {
    let mut edits: BTreeMap<usize, Vec<(ValueId, Tensor)>> = BTreeMap::new();
    for (target, tensor) in targets.iter().zip(tensors) {
        let (graph, value) = target.place;
        if !tensor.same_as(&target.tensor) {
            edits.entry(graph).or_default().push((value, tensor));
        }
    }
    targets::for_each_graph(model, |graph, number| {
        let edits = edits.remove(&number).unwrap_or_default();
        edits.into_iter().try_for_each(|(value, tensor)| graph.set_constant(value, tensor))
    })
}

/// Whether nothing here could run the model, which is no fault of it.
fn is_no_run(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::CannotValidate | ErrorKind::Unsupported)
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
