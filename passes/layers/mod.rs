//! `layers`: removes whole residual blocks or transformer layers.
//!
//! ```text
//! // layers=1
//! b = Add(f(a), a)                        y = h(b)
//! c = Add(g(b), b)            =>
//! y = h(c)
//! ```
//!
//! What can be removed is a stretch of the trunk: from one value to another of the same type, through which everything
//! from the first has to flow (`trunk.rs`). Which go is found by running the model without each, on calibration data: the
//! one that costs least goes, then the next, until there are as many as asked for or the goal would be missed
//! (`by=influence` asks only how much a stretch turns what flows through it: Men et al. 2024, "ShortGPT"). Where it brings
//! the result closer to the original, a factor a channel, found by least squares, takes the place of what went.
//!
//! A stretch stays where
//! 1. types of its ends are unknown or differ;
//! 2. it computes nothing with weights, or its branches do not meet in an Add;
//! 3. its end is an output of the model that cannot take the value of its start;
//! 4. something in it is to be kept, or named by other parts of the file.

mod apply;
mod choose;
mod measure;
mod options;
mod trunk;

use self::apply::Cut;
use self::choose::{Choosing, Tried};
use self::measure::Influence;
use self::options::Settings;
use self::trunk::{Stretch, Trunk};
use crate::data::Samples;
use crate::error::{Error, Result, did_you_mean};
use crate::infer;
use crate::ir::{Graph, Model, ValueId};
use crate::pass::{Changed, Cx, Effect, Pass, PassInfo, Scope, counted};
use crate::passes::common::goal::{Judge, worst};
use crate::passes::common::trial::Trial;

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "layers",
    summary: "removes residual blocks or transformer layers, those first that cost least",
    effect: Effect::Lossy,
    scope: Scope::MainGraph,
    // Below, Mul does not broadcast.
    min_opset: Some(7),
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(Layers { settings: Settings::new(opts)? })),
};

/// A factor a channel has to take away this part of the noise to be worth an operator.
const LEAST_GAIN: f64 = 0.05;

#[derive(Debug)]
struct Layers {
    settings: Settings,
}

impl Pass for Layers {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let inference = infer::infer(model)?;
        let graph = &model.graph;
        let trunk = Trunk::new(graph, inference.main())?;
        let stretches = trunk.stretches(self.settings.unit);
        let named = self.named(graph, &trunk, &stretches)?;
        if stretches.is_empty() && named.is_empty() {
            cx.note("no residual block whose ends have the same type: nothing can be removed");
            return Ok(Changed::No);
        }
        let mut removed = named;
        let limit = self.settings.limit(stretches.len());
        let Some(samples) = cx.env.calibration else {
            if limit > 0 || self.settings.goal.is_some() {
                return Err(no_data());
            }
            return self.finish(model, removed, None, cx);
        };
        let influences = measure::influences(model, &stretches, samples, cx.env)?;
        self.report(graph, &stretches, &influences, samples, cx);
        if self.settings.removes_identities {
            let idle = stretches.iter().zip(&influences).filter(|(_, influence)| influence.is_identity());
            removed.extend(idle.map(|(stretch, _)| stretch.clone()));
        }
        let trial = Trial::new(model, samples, cx.env)?;
        let judge = match self.settings.goal {
            Some(goal) if goal.has_scores() => Some(Judge::new(model, samples, trial.backend())?),
            _ => None,
        };
        let tried = Tried { trial: &trial, goal: self.settings.goal.unwrap_or_default(), judge: judge.as_ref() };
        let scores: Vec<f64> = influences.iter().map(Influence::score).collect();
        let choosing = Choosing { model, stretches: &stretches, scores: &scores, tried, limit };
        choosing.choose(&self.settings, &mut removed, cx)?;
        self.finish(model, removed, Some(tried), cx)
    }
}

fn no_data() -> Error {
    Error::usage("`layers` chooses by running the model, and needs calibration data")
        .found("no inputs")
        .help("give some with --inputs, or name what to remove: layers=remove=NAME")
}

impl Layers {
    /// What the user named.
    fn named(&self, graph: &Graph, trunk: &Trunk<'_>, stretches: &[Stretch]) -> Result<Vec<Stretch>> {
        let mut named = Vec::new();
        for name in &self.settings.remove {
            let found = stretches.iter().find(|stretch| label(graph, stretch.end) == *name);
            let single = || single(graph, trunk, name);
            named.push(found.cloned().or_else(single).ok_or_else(|| unknown(graph, stretches, name))?);
        }
        if let Some(name) = &self.settings.output {
            let ends = stretches.iter().rev().map(|stretch| stretch.end);
            let early = value_named(graph, name).and_then(|from| ends.clone().find_map(|end| trunk.stretch(from, end)));
            let early = early.filter(|stretch| stretch.start != stretch.end);
            named.push(early.ok_or_else(|| unknown(graph, stretches, name))?);
        }
        Ok(named)
    }

    /// Says what each stretch does to what flows through it, where that is next to nothing.
    fn report(
        &self,
        graph: &Graph,
        stretches: &[Stretch],
        influences: &[Influence],
        samples: &dyn Samples,
        cx: &mut Cx<'_>,
    ) {
        for (stretch, influence) in stretches.iter().zip(influences) {
            let what = match () {
                () if influence.is_identity() => "hands on what it reads",
                () if influence.is_constant(samples.len()) => "writes the same for all samples",
                () => continue,
            };
            let advice =
                if self.settings.removes_identities { "" } else { "; `identities=true` removes what does nothing" };
            cx.note(format!("`{}` {what} on this data{advice}", label(graph, stretch.end)));
        }
    }

    /// Removes what was chosen, with a factor a channel in its place where that serves.
    fn finish(
        &self,
        model: &mut Model,
        removed: Vec<Stretch>,
        tried: Option<Tried<'_>>,
        cx: &mut Cx<'_>,
    ) -> Result<Changed> {
        if removed.is_empty() {
            return Ok(Changed::No);
        }
        let mut cuts = apply::cuts(&model.graph, removed.iter());
        let plain = apply::without(model, &cuts)?.map_err(|reason| {
            Error::unsupported(format!("a layer cannot be removed: {reason}")).help("leave it in: name others")
        })?;
        let mut result = plain;
        if let (Some(tried), Some(samples)) = (tried, cx.env.calibration) {
            let mut noise = worst(&tried.trial.drift(&result)?);
            if self.settings.scales {
                let spans: Vec<Stretch> = cuts.iter().map(Cut::span).collect();
                let influences = measure::influences(model, &spans, samples, cx.env)?;
                for (cut, influence) in cuts.iter_mut().zip(&influences) {
                    cut.scales = influence.scales();
                }
                if let Ok(scaled) = apply::without(model, &cuts)? {
                    let scaled_noise = worst(&tried.trial.drift(&scaled)?);
                    // What holds without it has to hold with it.
                    let serves = || Ok::<bool, Error>(tried.has_scores(&scaled)? || !tried.has_scores(&result)?);
                    if scaled_noise < noise * (1.0 - LEAST_GAIN) && serves()? {
                        cx.note(format!(
                            "a factor a channel takes the place of what went: {} instead of {}",
                            decibels(scaled_noise),
                            decibels(noise)
                        ));
                        (result, noise) = (scaled, scaled_noise);
                    }
                }
            }
            cx.note(format!("{} on the calibration data", decibels(noise)));
        }
        for stretch in &removed {
            let figures = [("operators", stretch.operators.len() as f64), ("parameters", stretch.parameters as f64)];
            let text = format!("removed: {}", counted(stretch.operators.len(), "operator"));
            cx.measured(site(&model.graph, stretch), text, &figures);
        }
        *model = result;
        Ok(Changed::Yes)
    }
}

fn decibels(noise: f64) -> String {
    if noise == 0.0 { "no drift".to_owned() } else { format!("{:.1} dB", -10.0 * noise.log10()) }
}

/// What users call a stretch: the operator at its end.
fn label(graph: &Graph, end: ValueId) -> String {
    graph.producer(end).map_or_else(|| graph.value(end).name().to_owned(), |(node, _)| graph.node_label(node))
}

fn site(graph: &Graph, stretch: &Stretch) -> crate::error::Site {
    graph.producer(stretch.end).map_or_else(|| graph.value_site(stretch.end), |(node, _)| graph.site(node))
}

/// A value by its name, or the output of an operator by that of the operator.
fn value_named(graph: &Graph, name: &str) -> Option<ValueId> {
    let of_operator = || {
        let node = graph.nodes().into_iter().find(|&node| graph.node_label(node) == name)?;
        graph.output(node, 0)
    };
    graph.find_value(name).or_else(of_operator)
}

/// One operator whose output has the type of what it reads.
fn single(graph: &Graph, trunk: &Trunk<'_>, name: &str) -> Option<Stretch> {
    let node = graph.nodes().into_iter().find(|&node| graph.node_label(node) == name)?;
    let end = graph.output(node, 0)?;
    let inputs = graph.node_inputs(node).into_iter().flatten();
    inputs.filter(|&input| graph.constant(input).is_none()).find_map(|start| trunk.stretch(start, end))
}

fn unknown(graph: &Graph, stretches: &[Stretch], name: &str) -> Error {
    let labels: Vec<String> = stretches.iter().map(|stretch| label(graph, stretch.end)).collect();
    let error = Error::usage(format!("`{name}` is no layer that can be removed"))
        .expected("the operator at the end of a residual block or layer, or one that keeps the type of its input");
    match did_you_mean(name, labels.iter().map(String::as_str)) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None if labels.is_empty() => error.help("the model has no residual block"),
        None => error.help(format!("there are: {}", labels.join(", "))),
    }
}
