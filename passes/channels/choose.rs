//! Which classes go.

use std::collections::BTreeMap;

use super::loss::Ranked;
use super::options::{Amount, Options, Together};
use super::pieces::{self, Piece};
use super::score::Scores;
use super::site;
use crate::channels::{Class, Removal};
use crate::ir::{Graph, Model};
use crate::pass::Cx;
use crate::passes::common::exclude::Exclude;

/// A group that may lose classes.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The place of its graph among the pieces.
    pub(super) piece: usize,
    /// Its place among the groups of the graph.
    pub(super) group: usize,
    /// How many channels of its first layer a class is.
    pub(super) width: usize,
    /// The classes, the least first, with their scores.
    ranked: Ranked,
    /// What one class costs: multiplications, or weights where those are counted. `None` where scores say nothing by the
    /// side of costs.
    cost: Option<f64>,
    /// What sort of layers it is made of.
    kind: String,
}

/// What a model costs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    pub(super) multiplications: f64,
    pub(super) elements: f64,
}

/// The groups that nothing excludes, with their classes ranked.
/// The groups of the main graph that `losses` has are ranked by those.
pub(super) fn candidates(
    pieces: &[Piece],
    model: &Model,
    losses: &[Option<Ranked>],
    options: &Options,
    cx: &mut Cx<'_>,
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let seed = cx.env.seed;
    pieces::visit_each(model, &mut |place, graph, path| {
        let Some(piece) = pieces.get(place) else { return };
        if piece.channels.groups().is_empty() {
            return;
        }
        cx.enter(path);
        let scores = Scores::of(&piece.channels, graph, options.criterion);
        for (index, group) in piece.channels.groups().iter().enumerate() {
            if let Some(name) = excluded(piece, graph, index, &options.exclude) {
                cx.skipped(site(graph, group), format!("excluded by `{name}`"));
                continue;
            }
            let loss = losses.get(index).filter(|_| place == 0).cloned().flatten();
            let has_loss = loss.is_some();
            let ranked = loss.unwrap_or_else(|| {
                let name = group.layers.first().map(|&layer| graph.node_label(layer)).unwrap_or_default();
                let of = scores.group(&piece.channels, graph, group, options.criterion, (seed, &name));
                let mut ranked: Ranked = group.classes.iter().copied().zip(of).collect();
                if !losses.is_empty() {
                    as_shares(&mut ranked);
                }
                ranked.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                ranked
            });
            let cost = has_loss.then(|| cost(piece, graph, group.classes.first().copied(), options));
            let (width, kind) = (width(piece, index), kind(piece, graph, index));
            candidates.push(Candidate { piece: place, group: index, width, ranked, cost, kind });
        }
    });
    cx.enter(&[]);
    candidates
}

/// Makes scores comparable to parts of an energy.
fn as_shares(ranked: &mut Ranked) {
    let total = ranked.iter().map(|(_, score)| score * score).sum::<f64>();
    ranked.iter_mut().filter(|_| total > 0.0).for_each(|(_, score)| *score = *score * *score / total);
}

/// What a class costs, of all that the graph does.
fn cost(piece: &Piece, graph: &Graph, class: Option<Class>, options: &Options) -> f64 {
    let channels = &piece.channels;
    let (untouched, mut one) = (Removal::new(channels), Removal::new(channels));
    class.into_iter().for_each(|class| one.insert(class));
    match options.amount {
        Amount::Params(_) => channels.elements(graph, &untouched) - channels.elements(graph, &one),
        _ => channels.multiplications(&untouched) - channels.multiplications(&one),
    }
}

/// What sort of layers a group is made of: which axes of the constants of which operators its classes lie on, whatever
/// their extents (Fang et al. 2024, "Isomorphic Pruning for Vision Models", section 3.2).
fn kind(piece: &Piece, graph: &Graph, group: usize) -> String {
    let channels = &piece.channels;
    let Some(class) = channels.groups().get(group).and_then(|group| group.classes.first()) else {
        return String::new();
    };
    let mut kind = String::new();
    for constant in channels.constants() {
        let rank = graph.constant(constant.value).map_or(0, |tensor| tensor.rank());
        for axis in 0..rank {
            let has = |classes: Vec<Option<Class>>| classes.contains(&Some(*class));
            if !channels.axis_classes(constant, axis).is_some_and(has) {
                continue;
            }
            for one in graph.uses(constant.value) {
                if let crate::ir::Port::In(slot) = one.port {
                    kind += &format!("{} {slot} {axis};", graph.node(one.node).op_type());
                }
            }
        }
    }
    kind
}

/// The name that keeps a group as it is.
fn excluded<'a>(piece: &Piece, graph: &Graph, group: usize, exclude: &'a Exclude) -> Option<&'a str> {
    if exclude.is_empty() {
        return None;
    }
    let group = piece.channels.groups().get(group)?;
    let mut names: Vec<String> = group.layers.iter().map(|&layer| graph.node_label(layer)).collect();
    for constant in piece.channels.constants() {
        let rank = graph.constant(constant.value).map_or(0, |tensor| tensor.rank());
        let classes = (0..rank).filter_map(|axis| piece.channels.axis_classes(constant, axis));
        if classes.flatten().flatten().any(|class| group.classes.contains(&class)) {
            names.push(graph.value(constant.value).name().to_owned());
        }
    }
    exclude.matching(&names)
}

/// How many channels of its first layer a class of the group is.
fn width(piece: &Piece, group: usize) -> usize {
    let channels = &piece.channels;
    let Some((group, layer)) = channels.groups().get(group).and_then(|group| Some((group, *group.layers.first()?)))
    else {
        return 1;
    };
    let mut one = Removal::new(channels);
    group.classes.iter().take(1).for_each(|&class| one.insert(class));
    channels.output_channels(layer, &one).map_or(1, |(left, all)| (all - left).max(1))
}

/// Chooses the classes that go.
pub(super) fn choose(
    pieces: &[Piece],
    model: &Model,
    candidates: &[Candidate],
    options: &Options,
    cx: &mut Cx<'_>,
) -> Vec<Removal> {
    let plan = |share: f64| take(pieces, candidates, options, share);
    let (part, measure): (f64, fn(&Totals) -> f64) = match options.amount {
        Amount::Ratio(share) => return plan(share),
        Amount::Flops(part) => (part, |totals| totals.multiplications),
        Amount::Params(part) => (part, |totals| totals.elements),
        // The share of a goal is found by trying.
        Amount::Goal(_) => return plan(0.0),
    };
    let left = |removals: &[Removal]| {
        let (before, after) = totals(pieces, model, removals);
        if measure(&before) > 0.0 { measure(&after) / measure(&before) } else { 1.0 }
    };
    // The smallest share that reaches the target; what is left never grows with the share.
    let (mut low, mut high) = (0.0, 1.0);
    let most = plan(high);
    let least = left(&most);
    if least > part {
        cx.note(format!(
            "no share of the channels leaves as little as {part}: with all that can go, {least:.3} is left"
        ));
        return most;
    }
    for _ in 0..12 {
        let middle = (low + high) / 2.0;
        if left(&plan(middle)) <= part { high = middle } else { low = middle }
    }
    give_back(candidates, &plan(low), plan(high), |removals| left(removals) <= part)
}

/// Many groups lose one class more between two shares: gives it back to those that the target does not need it of, the
/// dearest first.
fn give_back(
    candidates: &[Candidate],
    less: &[Removal],
    mut more: Vec<Removal>,
    reaches: impl Fn(&[Removal]) -> bool,
) -> Vec<Removal> {
    let differs = |candidate: &Candidate| -> Option<(f64, Vec<(usize, Class)>)> {
        let (less, more) = (less.get(candidate.piece)?, more.get(candidate.piece)?);
        let only = |(class, _): &&(Class, f64)| more.contains(*class) && !less.contains(*class);
        let classes: Vec<&(Class, f64)> = candidate.ranked.iter().filter(only).collect();
        let dearest = classes.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
        Some((dearest, classes.iter().map(|(class, _)| (candidate.piece, *class)).collect()))
    };
    let mut steps: Vec<(f64, Vec<(usize, Class)>)> = candidates.iter().filter_map(differs).collect();
    steps.retain(|(_, classes)| !classes.is_empty());
    steps.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, classes) in steps {
        let mut fewer = more.clone();
        for (piece, class) in classes {
            if let Some(removal) = fewer.get_mut(piece) {
                removal.retain(class);
            }
        }
        if reaches(&fewer) {
            more = fewer;
        }
    }
    more
}

/// What the model costs before and after.
pub(super) fn totals(pieces: &[Piece], model: &Model, removals: &[Removal]) -> (Totals, Totals) {
    let (mut before, mut after) = (Totals::default(), Totals::default());
    pieces::visit_each(model, &mut |place, graph, _| {
        let (Some(piece), Some(removal)) = (pieces.get(place), removals.get(place)) else { return };
        let untouched = Removal::new(&piece.channels);
        for (totals, removal) in [(&mut before, &untouched), (&mut after, removal)] {
            totals.multiplications += piece.channels.multiplications(removal);
            totals.elements += piece.channels.elements(graph, removal);
        }
    });
    (before, after)
}

/// Takes a share of the classes of each group, or of all.
pub(super) fn take(pieces: &[Piece], candidates: &[Candidate], options: &Options, share: f64) -> Vec<Removal> {
    let mut removals: Vec<Removal> = pieces.iter().map(|piece| Removal::new(&piece.channels)).collect();
    let counts = match options.together {
        Together::None => candidates.iter().map(|candidate| share_of(candidate.ranked.len(), share)).collect(),
        Together::Kinds => counts_by_kind(candidates, share),
        Together::All => counts_of_all(&candidates.iter().enumerate().collect::<Vec<_>>(), candidates.len(), share),
    };
    for (candidate, count) in candidates.iter().zip(counts) {
        let all = candidate.ranked.len();
        let left = left_after(all, count, candidate.width, options.round_to, options.min_channels);
        if let Some(removal) = removals.get_mut(candidate.piece) {
            candidate.ranked.iter().take(all - left).for_each(|(class, _)| removal.insert(*class));
        }
    }
    removals
}

/// How many classes of each candidate are among the share with the lowest scores of its kind.
fn counts_by_kind(candidates: &[Candidate], share: f64) -> Vec<usize> {
    let mut kinds: BTreeMap<&str, Vec<(usize, &Candidate)>> = BTreeMap::new();
    for (place, candidate) in candidates.iter().enumerate() {
        kinds.entry(&candidate.kind).or_default().push((place, candidate));
    }
    let mut counts = vec![0; candidates.len()];
    for alike in kinds.values() {
        let of_kind = counts_of_all(alike, candidates.len(), share);
        counts.iter_mut().zip(of_kind).for_each(|(count, more)| *count += more);
    }
    counts
}

/// How many classes of each of some candidates are among the share of theirs with the lowest scores; of losses, with the
/// lowest for what the class costs. Places are those among `count` candidates.
fn counts_of_all(some: &[(usize, &Candidate)], count: usize, share: f64) -> Vec<usize> {
    let are_losses = some.iter().all(|(_, candidate)| candidate.cost.is_some_and(|cost| cost > 0.0));
    let mut all: Vec<(f64, usize)> = Vec::new();
    for (place, candidate) in some {
        let cost = candidate.cost.filter(|_| are_losses).unwrap_or(1.0);
        all.extend(candidate.ranked.iter().map(|(_, score)| (score / cost, *place)));
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut counts = vec![0; count];
    for (_, place) in all.iter().take(share_of(all.len(), share)) {
        if let Some(count) = counts.get_mut(*place) {
            *count += 1;
        }
    }
    counts
}

/// The number of classes that a share of them is.
fn share_of(count: usize, share: f64) -> usize {
    // A decimal share is rarely exact in binary: 0.29 of 100 is 28.999999999999996.
    ((count as f64 * (share + f64::EPSILON)) as usize).min(count)
}

/// How many of `all` classes, `width` channels each, stay where `count` were to go.
fn left_after(all: usize, count: usize, width: usize, round_to: usize, min_channels: usize) -> usize {
    let least = min_channels.div_ceil(width.max(1)).max(1);
    let left = (all - count.min(all)).max(least).min(all);
    let rounded = (left..=all).find(|left| (left * width).is_multiple_of(round_to));
    rounded.unwrap_or(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_rounded_up() {
        assert_eq!(left_after(64, 32, 1, 1, 1), 32);
        assert_eq!(left_after(64, 30, 1, 8, 1), 40);
        assert_eq!(left_after(20, 15, 1, 8, 1), 8);
        assert_eq!(left_after(20, 3, 1, 8, 1), 20);
        assert_eq!(left_after(12, 6, 64, 8, 1), 6);
        assert_eq!(left_after(16, 16, 1, 1, 1), 1);
        assert_eq!(left_after(16, 12, 2, 1, 16), 8);
        assert_eq!(left_after(4, 2, 1, 1, 16), 4);
    }

    #[test]
    fn shares_are_exact() {
        assert_eq!((share_of(100, 0.29), share_of(7, 0.5), share_of(7, 1.0)), (29, 3, 7));
    }
}
