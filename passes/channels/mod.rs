//! Channel pruning: the least channels of every layer go, and the model becomes smaller and faster by what they cost.
//!
//! ```text
//! // channels=0.5
//! < float[4,3,3,3] w, float[8,4,1,1] v >          < float[2,3,3,3] w, float[8,2,1,1] v >
//! a = Conv(x, w)      [N,4,H,W]            =>     a = Conv(x, w)      [N,2,H,W]
//! y = Conv(a, v)      [N,8,H,W]                   y = Conv(a, v)      [N,8,H,W]
//! ```
//!
//! Channels that depend on each other go together: [`crate::channels`] finds the groups, through residual sums,
//! concatenations, shuffles and heads. `ratio` of each group goes, rounded down; with `scope=global` that share of all
//! channels, those with the lowest scores, with `scope=isomorphic` that of all groups made of the same sort of layers.
//! `flops` and `params` are targets instead: the smallest share that leaves at most that part of the multiplications, or of
//! the weights. `target`, `top1` and `acc-drop` are goals: the largest share that reaches them, found by trying.
//!
//! Without data, scores are those of all weights of a class, each tensor relative to its mean. With calibration data they
//! are what the layers that read a class lose with it once their other weights make up for it (`loss.rs`), and the layers
//! are then fitted to what they computed before, by least squares, one after the other (`repair.rs`; He, Zhang and Sun,
//! Channel Pruning for Accelerating Very Deep Neural Networks, 2017). Nothing is trained. Apart from that, the result is
//! that of the model with the weights set to zero.
//!
//! The record `onnx_shrink.channels` in the metadata says what was left by which options: the same options do nothing on
//! their own result.
//!
//! Left alone are
//! 1. what `exclude` names, as an operator or a tensor, with everything that goes with it;
//! 2. channels that something needs: outputs of the graph, softmax and statistics over them, operators that are not known;
//! 3. the last `min-channels` channels of a group, and always one.

mod attempt;
mod choose;
mod eliminate;
mod fit;
mod loss;
mod observe;
mod options;
mod pieces;
mod plan;
mod regress;
mod repair;
mod score;
mod tail;
mod window;

use std::collections::BTreeSet;

use crate::channels::{Group, Removal};
use crate::data::Samples;
use crate::error::{Error, Result, Site, did_you_mean};
use crate::ir::{Graph, Model};
use crate::pass::{Changed, Cx, Effect, Env, Pass, PassInfo, Scope, counted};
use crate::passes::common::exclude::Exclude;
use attempt::Attempt;
use loss::Ranked;
use observe::Data;
use options::{Amount, Options};
use pieces::Piece;
use score::Criterion;

/// Where the metadata say what was left.
const RECORD: &str = "onnx_shrink.channels";

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "channels",
    summary: "removes the least channels of layers, with all that depends on them",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(Prune { options: Options::new(opts)? })),
};

#[derive(Debug)]
struct Prune {
    options: Options,
}

impl Pass for Prune {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let pieces = pieces::analyze(model, cx.env.calibration)?;
        check_excluded(model, &self.options.exclude)?;
        if self.is_done(model, &pieces) {
            cx.note("these options have removed their share of this model's channels already");
            return Ok(Changed::No);
        }
        let losses = self.losses(model, &pieces, cx)?;
        let candidates = choose::candidates(&pieces, model, &losses, &self.options, cx);
        declined(&pieces, model, cx);
        let Some(attempt) = self.attempt(model, &pieces, &candidates, cx)? else { return Ok(Changed::No) };
        report(&pieces, model, &candidates, &attempt.removals, cx);
        if attempt.removals.iter().all(Removal::is_empty) {
            return Ok(Changed::No);
        }
        let (result, removals) = attempt.finish(&pieces)?;
        *model = result;
        let record = self.record(&pieces, &removals);
        model.set_metadata(RECORD, &record);
        Ok(Changed::Yes)
    }
}

/// Calibration data.
fn data_of<'a>(samples: &'a dyn Samples, env: &'a Env<'a>) -> Data<'a> {
    Data { samples, env }
}

impl Prune {
    /// What classes of the main graph cost, where data say it.
    fn losses(&self, model: &Model, pieces: &[Piece], cx: &mut Cx<'_>) -> Result<Vec<Option<Ranked>>> {
        let criterion = self.options.criterion;
        let needs_data = criterion.needs_data();
        if !needs_data && criterion != Criterion::Auto {
            return Ok(Vec::new());
        }
        let Some(samples) = cx.env.calibration else {
            return if needs_data { Err(no_data("criterion")) } else { Ok(Vec::new()) };
        };
        let Some(piece) = pieces.first() else { return Ok(Vec::new()) };
        let moves_others = criterion != Criterion::Energy;
        match loss::ranked(model, &piece.channels, data_of(samples, cx.env), moves_others) {
            Err(e) if !needs_data && e.kind().is_no_run() => {
                cx.note(format!("chosen by weights alone: no backend here runs the model: {}", e.what()));
                Ok(Vec::new())
            }
            losses => losses,
        }
    }

    /// What goes, and what that makes of the model; `None` where nothing reaches the goal.
    fn attempt(
        &self,
        model: &Model,
        pieces: &[Piece],
        candidates: &[choose::Candidate],
        cx: &mut Cx<'_>,
    ) -> Result<Option<Attempt>> {
        let options = &self.options;
        if let Amount::Goal(goal) = options.amount {
            let samples = cx.env.calibration.ok_or_else(|| no_data(goal.name()))?;
            let plan = |share| choose::take(pieces, candidates, options, share);
            let found = attempt::search(model, pieces, goal, options.repairs, samples, cx.env, plan)?;
            if found.is_none() {
                cx.note(format!("no share of the channels reaches {}", goal.text()));
            }
            return Ok(found);
        }
        let removals = choose::choose(pieces, model, candidates, options, cx);
        let Some(samples) = cx.env.calibration.filter(|_| options.repairs) else {
            return Ok(Some(Attempt::unrepaired(model, removals)));
        };
        match attempt::repaired(model, pieces, removals.clone(), data_of(samples, cx.env), cx) {
            Err(e) if e.kind().is_no_run() => {
                cx.note(format!("nothing is repaired: no backend here runs the model: {}", e.what()));
                Ok(Some(Attempt::unrepaired(model, removals)))
            }
            attempt => attempt.map(Some),
        }
    }

    /// Whether the model is what the same options have left.
    fn is_done(&self, model: &Model, pieces: &[Piece]) -> bool {
        let untouched: Vec<Removal> = pieces.iter().map(|piece| Removal::new(&piece.channels)).collect();
        let now = self.record(pieces, &untouched);
        model.metadata().any(|(key, value)| key == RECORD && value == now)
    }

    /// The options, and how many channels each layer has left.
    fn record(&self, pieces: &[Piece], removals: &[Removal]) -> String {
        let mut record = format!("{} left", self.options.text);
        for (piece, removal) in pieces.iter().zip(removals) {
            for layer in piece.channels.layers() {
                // A layer with one channel has none to lose.
                let left = piece.channels.output_channels(layer, removal).map_or(1, |(left, _)| left);
                record += &format!(" {left}");
            }
        }
        record
    }
}

fn no_data(option: &str) -> Error {
    Error::usage(format!("`{option}` of `channels` is measured by running the model, and needs calibration data"))
        .found("no inputs")
        .help("give some with --inputs")
}

/// The first layer of a group, as remarks name it.
fn site(graph: &Graph, group: &Group) -> Site {
    group.layers.first().map(|&layer| graph.site(layer)).unwrap_or_default()
}

fn declined(pieces: &[Piece], model: &Model, cx: &mut Cx<'_>) {
    pieces::visit_each(model, &mut |place, graph, path| {
        let Some(piece) = pieces.get(place) else { return };
        cx.enter(path);
        for declined in piece.channels.declined() {
            let barrier = &declined.barrier;
            let all = piece.channels.output_channels(declined.layer, &Removal::new(&piece.channels));
            let of = match all {
                Some((_, all)) if all > declined.channels => {
                    format!("{} of its {all} channels stay", declined.channels)
                }
                _ => format!("its {} stay", counted(declined.channels, "channel")),
            };
            let by = barrier.site.to_string();
            cx.skipped(graph.site(declined.layer), format!("{of}: {by}{}{}", gap(&by), barrier.reason));
        }
    });
    cx.enter(&[]);
}

fn gap(by: &str) -> &'static str {
    if by.is_empty() { "" } else { " " }
}

fn report(pieces: &[Piece], model: &Model, candidates: &[choose::Candidate], removals: &[Removal], cx: &mut Cx<'_>) {
    pieces::visit_each(model, &mut |place, graph, path| {
        let (Some(piece), Some(removal)) = (pieces.get(place), removals.get(place)) else { return };
        cx.enter(path);
        for candidate in candidates.iter().filter(|candidate| candidate.piece == place) {
            let Some(group) = piece.channels.groups().get(candidate.group) else { continue };
            let all = group.classes.len();
            let left = group.classes.iter().filter(|&&class| !removal.contains(class)).count();
            if left == all {
                continue;
            }
            let what = if candidate.width == 1 { "channels" } else { "bundles of channels" };
            let with = match group.layers.len() {
                0 | 1 => String::new(),
                more => format!(", with those of {}", counted(more - 1, "other layer")),
            };
            let wide = if candidate.width == 1 { String::new() } else { format!(" of {}", candidate.width) };
            let figures = [("channels", (all * candidate.width) as f64), ("left", (left * candidate.width) as f64)];
            cx.measured(site(graph, group), format!("{left} of {all} {what}{wide} stay{with}"), &figures);
        }
    });
    cx.enter(&[]);
    let (before, after) = choose::totals(pieces, model, removals);
    if before.multiplications > 0.0 && removals.iter().any(|removal| !removal.is_empty()) {
        cx.note(format!(
            "{:.1} % of the multiplications and {:.1} % of the weights are left; check the accuracy, and train on where \
             that can be done",
            100.0 * after.multiplications / before.multiplications,
            100.0 * after.elements / before.elements
        ));
    }
}

/// Fails where a name that is to be left out is that of nothing.
fn check_excluded(model: &Model, exclude: &Exclude) -> Result<()> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    model.visit_graphs(|graph, _| {
        names.extend(graph.nodes().into_iter().map(|node| graph.node_label(node)));
        names.extend(graph.values().into_iter().map(|value| graph.value(value).name().to_owned()));
        Ok(())
    })?;
    let Some(name) = exclude.unknown_among(&names) else { return Ok(()) };
    let error = Error::usage(format!("`channels` cannot leave out `{name}`: the model has no such operator or tensor"));
    Err(match did_you_mean(name, names.iter().map(String::as_str)) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error.help("`onnx-shrink inspect MODEL` lists operators and tensors"),
    })
}
