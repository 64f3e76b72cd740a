//! Which stretches go: those first that cost least, until there are as many as asked for or the goal would be missed.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::options::{Order, Settings};
use super::trunk::Stretch;
use super::{apply, decibels, site};
use crate::error::Result;
use crate::ir::{Model, ValueId};
use crate::pass::Cx;
use crate::passes::common::goal::{Goal, Judge, worst};
use crate::passes::common::trial::Trial;

/// So many stretches are run without at each step: those that turn their input least.
const SHORT_LIST: usize = 8;

/// How candidates are judged.
#[derive(Clone, Copy)]
pub(super) struct Tried<'c> {
    pub(super) trial: &'c Trial<'c>,
    pub(super) goal: Goal,
    /// The scores of the original, where the goal speaks of them.
    pub(super) judge: Option<&'c Judge<'c>>,
}

impl Tried<'_> {
    /// Whether the scores of a candidate are what is asked for.
    pub(super) fn has_scores(&self, candidate: &Model) -> Result<bool> {
        self.judge.map_or(Ok(true), |judge| judge.holds(candidate, self.goal))
    }
}

/// The choice of what goes.
#[derive(Clone, Copy)]
pub(super) struct Choosing<'c> {
    pub(super) model: &'c Model,
    pub(super) stretches: &'c [Stretch],
    /// How much each stretch turns what flows through it.
    pub(super) scores: &'c [f64],
    pub(super) tried: Tried<'c>,
    pub(super) limit: usize,
}

impl Choosing<'_> {
    /// Adds what costs least to what is removed, until the limit or the goal.
    pub(super) fn choose(&self, settings: &Settings, removed: &mut Vec<Stretch>, cx: &mut Cx<'_>) -> Result<()> {
        let Self { model, stretches, scores, .. } = *self;
        let budget = self.tried.goal.snr_db.map(|snr_db| 10f64.powf(-snr_db / 10.0));
        let mut refused: BTreeSet<ValueId> = BTreeSet::new();
        for _ in 0..self.limit {
            let mut open: Vec<usize> = (0..stretches.len())
                .filter(|&at| !removed.contains(&stretches[at]) && !refused.contains(&stretches[at].end))
                .collect();
            open.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
            open.truncate(match settings.order {
                Order::Influence => 1,
                Order::Drift => SHORT_LIST,
            });
            let noises: Vec<Result<std::result::Result<f64, String>>> =
                open.par_iter().map(|&at| self.noise_without(removed, &stretches[at])).collect();
            let mut best: Option<(f64, usize)> = None;
            for (&at, noise) in open.iter().zip(noises) {
                match noise? {
                    Ok(noise) if best.is_none_or(|(least, _)| noise < least) => best = Some((noise, at)),
                    Ok(_) => {}
                    Err(reason) => {
                        cx.skipped(model.graph.value_site(stretches[at].end), reason);
                        refused.insert(stretches[at].end);
                    }
                }
            }
            let Some((noise, at)) = best else { if open.is_empty() { break } else { continue } };
            if budget.is_some_and(|budget| noise > budget) {
                let text = format!("stays: without it, the drift is {}", decibels(noise));
                cx.skipped(site(&model.graph, &stretches[at]), text);
                break;
            }
            removed.push(stretches[at].clone());
            let cuts = apply::cuts(&model.graph, removed.iter());
            if self.tried.judge.is_some()
                && let Ok(candidate) = apply::without(model, &cuts)?
                && !self.tried.has_scores(&candidate)?
            {
                let missed = self.tried.goal.text();
                cx.skipped(site(&model.graph, &stretches[at]), format!("stays: without it, {missed} is missed"));
                removed.pop();
                break;
            }
        }
        Ok(())
    }

    /// The noise of the worst output without one stretch more; the reason where it cannot go.
    fn noise_without(&self, removed: &[Stretch], more: &Stretch) -> Result<std::result::Result<f64, String>> {
        let cuts = apply::cuts(&self.model.graph, removed.iter().chain([more]));
        Ok(match apply::without(self.model, &cuts)? {
            Ok(candidate) => Ok(worst(&self.tried.trial.drift(&candidate)?)),
            Err(reason) => Err(reason),
        })
    }
}
