//! Makes a failing case smaller.

use super::draft::Draft;
use super::harness::{Failure, Judged};

/// Judges a graph under a pipeline.
pub(crate) type Judge<'a> = dyn Fn(&Draft, &[String]) -> Result<Judged, Failure> + 'a;

/// Tries a smaller case; a case has to fail in the same way to be taken.
pub(crate) fn shrink(
    draft: Draft,
    steps: Vec<String>,
    found: Failure,
    judge: &Judge<'_>,
) -> (Draft, Vec<String>, Failure) {
    let mut best = (draft, steps, found);
    while let Some(smaller) = candidates(&best.0, &best.1).into_iter().find_map(|(draft, steps)| {
        let failure = judge(&draft, &steps).err()?;
        (failure.sort == best.2.sort).then_some((draft, steps, failure))
    }) {
        best = smaller;
    }
    best
}

fn candidates(draft: &Draft, steps: &[String]) -> Vec<(Draft, Vec<String>)> {
    let mut found = Vec::new();
    for index in 0..if steps.len() > 1 { steps.len() } else { 0 } {
        let mut fewer = steps.to_vec();
        fewer.remove(index);
        found.push((draft.clone(), fewer));
    }
    for index in 0..if draft.outputs.len() > 1 { draft.outputs.len() } else { 0 } {
        let mut smaller = draft.clone();
        smaller.outputs.remove(index);
        smaller.trim();
        found.push((smaller, steps.to_vec()));
    }
    for index in (0..draft.lines.len()).rev() {
        found.extend(without_line(draft, index).map(|smaller| (smaller, steps.to_vec())));
    }
    found
}

/// The graph with what an operator writes as inputs.
fn without_line(draft: &Draft, index: usize) -> Option<Draft> {
    let mut smaller = draft.clone();
    let line = smaller.lines.remove(index);
    let value_of = |name: &String| draft.values.iter().find(|value| value.name == *name).cloned();
    let values: Vec<_> = line.writes.iter().map(value_of).collect::<Option<_>>()?;
    smaller.outputs.retain(|output| !line.writes.contains(&output.name));
    if smaller.outputs.is_empty() {
        return None;
    }
    smaller.inputs.extend(values);
    smaller.trim();
    Some(smaller)
}
