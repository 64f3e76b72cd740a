//! Never slower: what integers do not speed up goes back to float arithmetic, region by region.

use std::collections::{BTreeMap, BTreeSet};

use super::Search;
use super::cost::Cost;
use super::stopwatch::Stopwatch;
use crate::error::{ErrorKind, Result};
use crate::ir::{Graph, NodeId, Port, ValueId};
use crate::pass::Cx;
use crate::passes::quant8::INFO;
use crate::passes::quant8::base::Candidate;
use crate::passes::quant8::levels::{Level, Levels};
use crate::passes::quant8::plan::Plan;

/// Less gain than this is noise of the clock.
const CLOCK_NOISE: f64 = 0.03;

/// Regions that are timed one by one at most.
const MAX_REGIONS: usize = 8;

impl<'a> Search<'_, 'a> {
    /// Takes operators back out of the integers where that makes the model faster.
    pub(super) fn never_slower(&mut self, candidate: Candidate<'a>, cx: &mut Cx<'_>) -> Result<Candidate<'a>> {
        let thin = self.without(&candidate.levels, |_, cost| cost.saved_ns() <= 0.0);
        let stopwatch = match self.stopwatch()? {
            Ok(stopwatch) => stopwatch,
            Err(reason) => {
                cx.note(format!("not timed, {reason}: operators that integers slow down as a rule stay float"));
                return match thin {
                    Some(thin) => self.rebuild(thin),
                    None => Ok(candidate),
                };
            }
        };
        let before = candidate.levels.clone();
        let mut best = (stopwatch.speedup(&candidate.model)?, candidate);
        self.try_faster(&stopwatch, &mut best, thin)?;
        for region in self.regions(&best.1.levels) {
            let levels = self.without(&best.1.levels, |value, _| region.contains(&value));
            self.try_faster(&stopwatch, &mut best, levels)?;
        }
        if best.0 < 1.0 + CLOCK_NOISE
            && let Some(none) = self.without(&best.1.levels, |_, _| true)
        {
            self.try_faster(&stopwatch, &mut best, Some(none.clone()))?;
            // Slower by less than can be told for sure is slower nevertheless.
            if best.0 < 1.0 {
                let float = self.build(none)?;
                best = (stopwatch.speedup(&float.model)?, float);
            }
        }
        let (speedup, candidate) = best;
        let candidate = if candidate.levels == before { candidate } else { self.rebuild(candidate.levels)? };
        cx.note(format!(
            "{} operators in integers: x{speedup:.2} of the float model's speed, in ONNX Runtime",
            candidate.kernels
        ));
        Ok(candidate)
    }

    /// Takes other levels where the clock says that they are faster.
    fn try_faster(
        &mut self,
        stopwatch: &Stopwatch,
        best: &mut (f64, Candidate<'a>),
        levels: Option<Levels>,
    ) -> Result<()> {
        let Some(levels) = levels else { return Ok(()) };
        let other = self.build(levels)?;
        let limit = best.0 * (1.0 + CLOCK_NOISE);
        let speedup = stopwatch.speedup_above(&other.model, limit)?;
        tracing::debug!(speedup, kernels = other.kernels, best = best.0, "timed");
        if speedup <= limit {
            return Ok(());
        }
        // What else the machine does may have hit one of them only: both have to say it twice.
        let (again, old) = (stopwatch.speedup(&other.model)?, stopwatch.speedup(&best.1.model)?);
        if again > old * (1.0 + CLOCK_NOISE) {
            *best = (speedup.min(again), other);
        } else {
            best.0 = best.0.max(old);
        }
        Ok(())
    }

    /// The weights of operators that hand integers to each other without a float in between, for the regions that are
    /// estimated to gain least; none where all is one region.
    fn regions(&self, levels: &Levels) -> Vec<BTreeSet<ValueId>> {
        let settings = self.settings.with_levels(levels.clone());
        let plan = self.base.plan(&settings, &mut Cx::new(self.base.env(), INFO.name));
        let found = regions(&self.base.model().graph, &plan);
        if found.len() < 2 {
            return Vec::new();
        }
        let saved = |region: &BTreeSet<ValueId>| {
            region.iter().filter_map(|weight| self.costs.get(weight)).map(|cost| cost.saved_ns()).sum::<f64>()
        };
        let mut found: Vec<(f64, BTreeSet<ValueId>)> =
            found.into_iter().map(|region| (saved(&region), region)).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found.into_iter().take(MAX_REGIONS).map(|(_, region)| region).collect()
    }

    /// The clock that may decide, or why there is none.
    fn stopwatch(&self) -> Result<std::result::Result<Stopwatch, &'static str>> {
        if !self.settings.is_timed {
            return Ok(Err("as asked"));
        }
        match Stopwatch::new(self.float, self.base.samples().get(0)?) {
            Ok(stopwatch) => Ok(Ok(stopwatch)),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(Err("since there is no ONNX Runtime")),
            Err(error) => Err(error),
        }
    }

    /// Levels with those operators out of the integers; `None` where none of them is in.
    fn without(&self, levels: &Levels, is_out: impl Fn(ValueId, Cost) -> bool) -> Option<Levels> {
        let mut changed = None;
        for (&value, &cost) in &self.costs {
            if levels.of(value) == Level::Integers && is_out(value, cost) {
                changed = Some(changed.unwrap_or_else(|| levels.clone()).with(value, Level::Weights));
            }
        }
        changed
    }
}

/// The weights of each region of a plan, in the order of the graph.
fn regions(graph: &Graph, plan: &Plan) -> Vec<BTreeSet<ValueId>> {
    let mut sets: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    let root = |sets: &BTreeMap<NodeId, NodeId>, mut node: NodeId| {
        while let Some(&next) = sets.get(&node) {
            node = next;
        }
        node
    };
    let kernels: BTreeSet<NodeId> = plan.kernels.iter().map(|kernel| kernel.node).collect();
    let tails: BTreeMap<ValueId, NodeId> = plan.kernels.iter().map(|kernel| (kernel.tail.value, kernel.node)).collect();
    for &value in &plan.written_by_integers {
        let before = |value: ValueId| graph.producer(value).map(|(node, _)| node);
        let writer = tails.get(&value).copied().or_else(|| {
            let node = before(value)?;
            if plan.integer_nodes.contains(&node) {
                return Some(node);
            }
            // A Relu or Clip that is merged into an integer operator.
            before(graph.input(node, 0)?).filter(|node| plan.integer_nodes.contains(node))
        });
        let Some(writer) = writer else { continue };
        for one in graph.uses(value) {
            let reads = matches!(one.port, Port::In(_))
                && (kernels.contains(&one.node) || plan.integer_nodes.contains(&one.node));
            let (a, b) = (root(&sets, writer), root(&sets, one.node));
            if reads && a != b {
                sets.insert(b, a);
            }
        }
    }
    let mut found: Vec<(NodeId, BTreeSet<ValueId>)> = Vec::new();
    for kernel in &plan.kernels {
        let region = root(&sets, kernel.node);
        match found.iter_mut().find(|(known, _)| *known == region) {
            Some((_, weights)) => {
                weights.insert(kernel.weight);
            }
            None => found.push((region, BTreeSet::from([kernel.weight]))),
        }
    }
    found.into_iter().map(|(_, weights)| weights).collect()
}
