//! Which rule prunes which tensor, and the model that comes of it.

use super::allot::{self, Curve};
use super::budget::{self, Costs};
use super::measured::{self, Measured, Others};
use super::obs;
use super::options::{Amount, Method, Settings};
use super::pattern::Pattern;
use super::sequence::{self, Plan, Rule};
use super::targets::{self, Target};
use super::{alone, share_of};
use crate::calib::Idle;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Model, Tensor};
use crate::pass::{Cx, Env};

/// Multiplications that finding the exact order of all weights may take before column after column has to do: about a
/// minute.
const MOST_EXACT: f64 = 6e11;

/// Rows longer than this are never ordered exactly.
const LONGEST_EXACT: usize = 2048;

/// A model whose weights can be pruned to any amount by what its layers read.
#[derive(Debug)]
pub(super) struct Planner<'p> {
    /// What outputs are fitted to.
    original: &'p Model,
    model: &'p Model,
    /// Weights of the original.
    targets: &'p [Target],
    /// Those of the model.
    so_far: Vec<Target>,
    settings: &'p Settings,
    samples: &'p dyn Samples,
    /// Rows of layers that no output depends on.
    idle: Idle,
    env: &'p Env<'p>,
    measured: Vec<Measured>,
    others: Others,
    method: Method,
    /// What weights cost, where that is what decides.
    costs: Vec<Costs>,
    /// What layers add to the noise, where that decides how much each loses.
    curves: Vec<Curve>,
}

/// A pruned model.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) model: Model,
    /// Targets that went by magnitude, and why.
    pub(super) unfitted: Others,
}

impl<'p> Planner<'p> {
    /// Decides on a method and measures what weights cost, where that method asks for it.
    ///
    /// # Errors
    /// Fails where no backend can run the model, or a sample cannot be read or run.
    pub(super) fn new<'a: 'p>(
        (original, model): (&'p Model, &'p Model),
        targets: &'p [Target],
        settings: &'p Settings,
        samples: &'p dyn Samples,
        cx: &mut Cx<'a>,
    ) -> Result<Self> {
        let contents = targets::contents(model, targets)?;
        let with = |(target, tensor): (&Target, Tensor)| Target { tensor, ..target.clone() };
        let so_far: Vec<Target> = targets.iter().zip(contents).map(with).collect();
        let (measured, others) = measured::measured(original, targets)?;
        let (method, is_exact) = method(&measured, targets, settings, cx);
        let env = cx.env;
        let idle = Idle::of(original, samples, env)?;
        if let Some(mask) = idle.mask() {
            cx.note(format!("layers are fitted to what counts: no output depends on places where `{mask}` is 0"));
        }
        let (costs, curves) = (Vec::new(), Vec::new());
        let mut planner = Self {
            original,
            model,
            targets,
            so_far,
            settings,
            samples,
            idle,
            env,
            measured,
            others,
            method,
            costs,
            curves,
        };
        let is_global = matches!(settings.amount, Amount::Global(_)) && settings.pattern == Pattern::Free;
        let is_shared_out = is_global && is_exact;
        if is_global && !is_exact && method.needs_data() {
            // Costs of weights as if each were the only one to go say too little of what layers can do without.
            let measured = (planner.so_far.as_slice(), planner.measured.as_slice());
            planner.curves = allot::curves(model, measured, (samples, &planner.idle), env)?;
        }
        if method == Method::Obs || (method.needs_data() && is_shared_out) {
            let weighing = budget::Weighing {
                is_exact,
                pattern: settings.pattern,
                probe: settings.amount.share().filter(|_| is_shared_out),
            };
            planner.costs = budget::costs(model, (&planner.so_far, &planner.measured), weighing, samples, env)?;
        }
        Ok(planner)
    }

    pub(super) fn method(&self) -> Method {
        self.method
    }

    /// The model with so much pruned, what was before included.
    ///
    /// # Errors
    /// Fails where a model cannot be run.
    pub(super) fn prune(&self, amount: &Amount) -> Result<Planned> {
        let rules = self.rules(amount)?;
        let is_measured = |place: usize| self.measured.iter().any(|one| one.target == place);
        let contents = |(place, (target, rule)): (usize, (&Target, &Rule))| match rule {
            Rule::Settled(tensor) if !is_measured(place) => tensor.clone(),
            _ => target.tensor.clone(),
        };
        let contents: Vec<Tensor> = self.so_far.iter().zip(&rules).enumerate().map(contents).collect();
        let mut copy = self.model.clone();
        targets::place(&mut copy, &self.so_far, contents.clone())?;
        let plan = Plan {
            method: self.method,
            pattern: self.settings.pattern,
            repairs: self.settings.repairs.unwrap_or(true),
            rules: &rules,
        };
        let all = (self.targets, contents.as_slice(), self.measured.as_slice());
        let unmeasured = sequence::prune(self.original, &mut copy, all, plan, (self.samples, &self.idle), self.env)?;
        let mut unfitted = self.others.clone();
        unfitted.extend(unmeasured.into_iter().map(|place| (place, "what it reads cannot be measured")));
        Ok(Planned { model: copy, unfitted })
    }

    fn len(&self, place: usize) -> usize {
        self.targets.get(place).map_or(0, |target| target.tensor.len())
    }

    /// How each target is pruned.
    fn rules(&self, amount: &Amount) -> Result<Vec<Rule>> {
        if !self.method.needs_data() {
            let settled = alone::prune(&self.so_far, amount, self.method, self.settings, self.env)?;
            return Ok(settled.into_iter().map(Rule::Settled).collect());
        }
        // By magnitude, to begin with: so stays what is not measured.
        let share = amount.share().unwrap_or(0.0);
        let each = alone::prune(&self.so_far, &Amount::PerLayer(share), Method::Magnitude, self.settings, self.env)?;
        let mut rules: Vec<Rule> = each.into_iter().map(Rule::Settled).collect();
        let mut set = |place: usize, rule: Rule| {
            if let Some(old) = rules.get_mut(place) {
                *old = rule;
            }
        };
        let own = |place: usize| self.targets.get(place).and_then(|target| self.settings.ratio_of(target));
        if self.costs.is_empty() {
            for one in &self.measured {
                set(one.target, Rule::Share(own(one.target).unwrap_or(share)));
            }
            let is_global = matches!(amount, Amount::Global(_));
            let curves: Vec<Curve> =
                self.curves.iter().filter(|curve| is_global && own(curve.target).is_none()).cloned().collect();
            let count = self.due(share, |place| curves.iter().any(|curve| curve.target == place));
            for (place, goes) in allot::counts(&curves, count) {
                set(place, Rule::Share(goes as f64 / self.len(place).max(1) as f64));
            }
            return Ok(rules);
        }
        for (place, goes) in self.goes(amount, share) {
            let Some(target) = self.so_far.get(place) else { continue };
            set(
                place,
                match self.method {
                    Method::Obs => Rule::Settled(alone::masked(&target.tensor, &goes, self.env)?),
                    _ => Rule::Share(goes.iter().filter(|&&goes| goes).count() as f64 / goes.len().max(1) as f64),
                },
            );
        }
        Ok(rules)
    }

    /// Which weights go by what they cost.
    fn goes(&self, amount: &Amount, share: f64) -> Vec<(usize, Vec<bool>)> {
        if matches!(self.settings.pattern, Pattern::Of { .. }) {
            let finite = |costs: &Costs| costs.of_weights.iter().map(|cost| cost.is_finite()).collect();
            return self.costs.iter().map(|costs| (costs.target, finite(costs))).collect();
        }
        let own = |place: usize| self.targets.get(place).and_then(|target| self.settings.ratio_of(target));
        let single = |costs: &Costs, share: f64| {
            let goes = budget::cheapest(&[costs], share_of(costs.of_weights.len(), share));
            (costs.target, goes.concat())
        };
        let is_global = matches!(amount, Amount::Global(_));
        let (together, apart): (Vec<&Costs>, Vec<&Costs>) =
            self.costs.iter().partition(|costs| is_global && own(costs.target).is_none());
        let mut goes: Vec<(usize, Vec<bool>)> =
            apart.into_iter().map(|costs| single(costs, own(costs.target).unwrap_or(share))).collect();
        let count = self.due(share, |place| together.iter().any(|costs| costs.target == place));
        let places = together.iter().map(|costs| costs.target);
        goes.extend(places.zip(budget::cheapest(&together, count)));
        goes
    }

    /// How many weights of the targets that are weighed go, where a share of all with no share of their own does; what is not
    /// weighed loses its share by itself.
    fn due(&self, share: f64, is_weighed: impl Fn(usize) -> bool) -> usize {
        let own = |place: usize| self.targets.get(place).and_then(|target| self.settings.ratio_of(target));
        let free = (0..self.targets.len()).filter(|&place| own(place).is_none());
        let (weighed, rest): (Vec<usize>, Vec<usize>) = free.partition(|&place| is_weighed(place));
        let weights = |places: &[usize]| places.iter().map(|&place| self.len(place)).sum::<usize>();
        let due = share_of(weights(&weighed) + weights(&rest), share);
        let alone: usize = rest.iter().map(|&place| share_of(self.len(place), share)).sum();
        due.saturating_sub(alone).min(weights(&weighed))
    }
}

/// The method asked for, or the best that does not take too long; and whether exact costs can be had.
fn method(measured: &[Measured], targets: &[Target], settings: &Settings, cx: &mut Cx<'_>) -> (Method, bool) {
    let longest = measured.iter().max_by_key(|one| one.view.depth);
    let is_long = longest.is_some_and(|one| one.view.depth > LONGEST_EXACT);
    let cost: f64 = measured.iter().map(|one| obs::cost(one.view.rows, one.view.depth)).sum();
    let is_exact = !is_long && cost <= MOST_EXACT;
    let is_settled = matches!(settings.amount, Amount::Threshold(_) | Amount::Mask(_));
    if is_settled || matches!(settings.pattern, Pattern::Slices { .. }) {
        return (settings.method.unwrap_or(Method::Magnitude), is_exact);
    }
    let is_tiled = matches!(settings.pattern, Pattern::Block { .. });
    let method = match settings.method {
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
        None if is_tiled => Method::SparseGpt,
        None if !is_exact => {
            cx.note(format!("`obs` would take some {cost:.0e} multiplications: `sparsegpt` says which weights go"));
            Method::SparseGpt
        }
        None => Method::Obs,
    };
    (method, is_exact || method == Method::Obs)
}
