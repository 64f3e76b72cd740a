//! Which step of a pipeline breaks a gate, and at which operator.
//!
//! The steps that ran are run again, one at a time, each followed by a comparison with the original. The first that breaks
//! a gate is then run on the model before it with all but the first operators kept as they are: the shortest beginning
//! that breaks the gate ends with the operator to look at.

use std::path::Path;

use serde::Serialize;

use super::job::Job;
use super::judge::Data;
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Model, NodeId};
use crate::pass::Effect;
use crate::pass::manager::Run;

/// Where a gate breaks first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bisection {
    /// The step, as it stands in the report.
    pub step: String,
    /// Which of the steps that ran it is, from 1.
    pub number: usize,
    /// The operator, in the words of errors; `null` where the step breaks the gate even without touching any operator it
    /// may be kept from.
    pub at: Option<String>,
    /// What the gate asks for, and what was found.
    pub why: String,
    /// How many models were compared with the original.
    pub comparisons: usize,
}

/// Finds the step and the operator; `None` where no step alone breaks a gate.
///
/// # Errors
/// Fails where a step or a comparison does, for another reason than drift.
pub(super) fn bisect(
    job: &Job<'_>,
    mut model: Model,
    run: &Run,
    data: &Data,
    folder: &Path,
) -> Result<Option<Bisection>> {
    let effect = run.effect.unwrap_or(Effect::Exact);
    let mut comparisons = 0;
    for (index, step) in run.steps.iter().enumerate().filter(|(_, step)| step.changed) {
        let before = model.clone();
        job.replay(&step.step, &mut model, data, folder)?;
        comparisons += 1;
        let Some(error) = breaks(job, &model, &step.step, effect, data)? else { continue };
        let words: Vec<String> =
            error.to_string().lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let why = words.join("; ");
        let at = first_operator(job, &before, &step.step, effect, data, folder, &mut comparisons)?;
        let at = at.map(|node| before.graph.site(node).to_string());
        return Ok(Some(Bisection { step: step.step.clone(), number: index + 1, at, why, comparisons }));
    }
    Ok(None)
}

/// The last operator of the shortest beginning of the model in which a step breaks a gate.
fn first_operator(
    job: &Job<'_>,
    before: &Model,
    step: &str,
    effect: Effect,
    data: &Data,
    folder: &Path,
    comparisons: &mut usize,
) -> Result<Option<NodeId>> {
    let order = before.graph.topological_order()?;
    let nodes: Vec<NodeId> = order.into_iter().filter(|&node| !before.graph.node(node).is("Constant")).collect();
    let mut is_bad = |open: usize| -> Result<bool> {
        let mut model = before.clone();
        nodes[open..].iter().try_for_each(|&node| model.graph.keep_node(node))?;
        // What cannot be done with operators kept is not what broke the gate.
        if job.replay(step, &mut model, data, folder).is_err() {
            return Ok(false);
        }
        *comparisons += 1;
        Ok(breaks(job, &model, step, effect, data)?.is_some())
    };
    if nodes.is_empty() || is_bad(0)? {
        return Ok(None);
    }
    let (mut good, mut bad) = (0, nodes.len());
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        match is_bad(middle)? {
            true => bad = middle,
            false => good = middle,
        }
    }
    Ok(nodes.get(bad - 1).copied())
}

/// Why a model is refused, where it is for its drift.
fn breaks(job: &Job<'_>, model: &Model, step: &str, effect: Effect, data: &Data) -> Result<Option<Error>> {
    match job.verify(model, step, effect, data) {
        Ok(()) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::Drift | ErrorKind::BrokenPass | ErrorKind::WorseFile) => {
            Ok(Some(error))
        }
        Err(error) => Err(error),
    }
}
