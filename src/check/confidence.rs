//! Whether the samples are enough for what is asked of them.

use crate::shrink::Validation;
use crate::validate::{DriftReport, Gate, Metric, OutputDrift};

/// Below this, an interval over samples is mostly about the samples that happen to be there.
const FEW_SAMPLES: usize = 16;

/// What to know about how far the figures can be trusted.
pub(super) fn warnings(validation: &Validation, gates: &[Gate], inputs: Option<&str>) -> Vec<String> {
    let Some(drift) = &validation.drift else { return Vec::new() };
    let mut warnings = Vec::new();
    let is_made_up = inputs.is_none_or(crate::data::is_synthetic);
    if is_made_up {
        warnings.push("the inputs are made up: give real ones with --inputs before you trust the figures".to_owned());
    } else if drift.samples < FEW_SAMPLES {
        let samples = crate::pass::counted(drift.samples, "sample");
        warnings.push(format!("{samples} are few: {FEW_SAMPLES} or more would tell what the drift is on others"));
    }
    warnings.extend(gates.iter().filter_map(|gate| undecided(drift, gate)));
    warnings
}

/// A gate whose bound lies inside the interval of what was measured.
fn undecided(drift: &DriftReport, gate: &Gate) -> Option<String> {
    let (metric, bound, name) = gate.bound()?;
    let interval = |output: &OutputDrift| match metric {
        Metric::Snr => output.snr_interval95_db,
        Metric::Top1 => output.top1_interval95,
        _ => None,
    };
    let outputs = drift.outputs.iter().filter(|output| name.is_none_or(|name| name == output.name));
    let open = outputs.filter_map(|output| Some((output, interval(output)?)));
    let (output, (low, high)) = open.into_iter().find(|(_, (low, high))| (*low..*high).contains(&bound))?;
    let samples = crate::pass::counted(drift.samples, "sample");
    Some(format!(
        "{samples} do not settle the gate {gate}: with 95 % confidence `{}` lies between {low:.4} and {high:.4}",
        output.name
    ))
}
