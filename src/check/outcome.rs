//! What came of each gate, in the one form that text, JSON, JUnit, SARIF and annotations are rendered from.

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::shrink::{Status, Validation};
use crate::validate::Gate;

/// What came of a gate, or of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed,
    /// It was not measured, and that is no failure.
    Skipped,
    /// It could not be told, and that is one.
    Unknown,
}

/// What sort of gate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// How far outputs may move.
    Drift,
    /// Bytes of the candidate.
    Size,
    /// Time of a run.
    Latency,
    /// Compression against the baseline's.
    BaselineRatio,
    /// Drift against the baseline's.
    BaselineDrift,
}

impl Rule {
    /// Every rule, in the order of reports.
    pub const ALL: &'static [Self] =
        &[Self::Drift, Self::Size, Self::Latency, Self::BaselineRatio, Self::BaselineDrift];

    /// The name in reports.
    pub fn id(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Size => "size",
            Self::Latency => "latency",
            Self::BaselineRatio => "baseline-ratio",
            Self::BaselineDrift => "baseline-drift",
        }
    }

    /// One line without a full stop: what the gate asks for.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Drift => "The outputs of the candidate stay close to those of the reference",
            Self::Size => "The candidate and its side files take no more bytes than allowed",
            Self::Latency => "A run of the candidate takes no longer than allowed, in times of the reference's",
            Self::BaselineRatio => "The compression ratio is not worse than that of the model accepted last",
            Self::BaselineDrift => "The drift is not worse than that of the model accepted last",
        }
    }
}

/// One gate and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GateResult {
    /// What sort of gate it is.
    pub rule: Rule,
    /// The gate as the user would write it, or the rule that always holds.
    pub gate: String,
    /// What came of it.
    pub outcome: Outcome,
    /// The output; `null` where the gate is about the whole model.
    pub output: Option<String>,
    /// What the gate asks for; empty where its name says it.
    pub expected: String,
    /// What was measured, or why nothing was.
    pub found: String,
}

impl GateResult {
    /// The gate with the output it is about: `logits: snr=30`.
    pub fn title(&self) -> String {
        match &self.output {
            Some(output) => format!("{output}: {}", self.gate),
            None => self.gate.clone(),
        }
    }

    /// What was asked for and what was found, in a line.
    pub fn message(&self) -> String {
        match (self.expected.is_empty(), self.outcome) {
            (false, Outcome::Failed) => format!("expected {}, found {}", self.expected, self.found),
            _ => self.found.clone(),
        }
    }
}

/// The gates on drift, those that hold too.
pub(super) fn of_drift(validation: &Validation, gates: &[Gate], refusal: Option<&Error>) -> Vec<GateResult> {
    let whole = |outcome, found: String| GateResult {
        rule: Rule::Drift,
        gate: "drift".to_owned(),
        outcome,
        output: None,
        expected: String::new(),
        found,
    };
    let Some(drift) = &validation.drift else {
        let reason = || refusal.map(|error| error.to_string().replace("\n  ", "; ")).unwrap_or_default();
        return vec![match validation.status {
            Status::Identical => whole(Outcome::Passed, "the files are identical, byte for byte".to_owned()),
            Status::Impossible => whole(Outcome::Unknown, reason()),
            _ => whole(Outcome::Failed, reason()),
        }];
    };
    let mut results: Vec<GateResult> = validation
        .failures
        .iter()
        .map(|failure| GateResult {
            rule: Rule::Drift,
            gate: failure.gate.clone(),
            outcome: Outcome::Failed,
            output: failure.output.clone(),
            expected: failure.expected.clone(),
            found: failure.found.clone(),
        })
        .collect();
    for gate in gates {
        let text = gate.to_string();
        // A default gate says in a failure that it is one.
        if validation.failures.iter().any(|failure| failure.gate.trim_end_matches(" (default)") == text) {
            continue;
        }
        let closest = drift.closest(gate);
        results.push(GateResult {
            rule: Rule::Drift,
            gate: text,
            outcome: Outcome::Passed,
            output: closest.as_ref().and_then(|closest| closest.output.clone()),
            expected: String::new(),
            found: closest.map(|closest| closest.text).unwrap_or_default(),
        });
    }
    results
}

/// The outcome of all gates: what is known to fail counts for more than what is not known.
pub(super) fn of_all(gates: &[GateResult]) -> Outcome {
    let any = |outcome| gates.iter().any(|gate| gate.outcome == outcome);
    match () {
        () if any(Outcome::Failed) => Outcome::Failed,
        () if any(Outcome::Unknown) => Outcome::Unknown,
        () => Outcome::Passed,
    }
}

/// Why the candidate is refused: for its drift first, where that is known.
pub(super) fn refusal(gates: &[GateResult], drift: Option<Error>) -> Option<Error> {
    let failed = gates.iter().filter(|gate| gate.outcome == Outcome::Failed && gate.rule != Rule::Drift);
    let others: Vec<&GateResult> = failed.collect();
    match (drift, others.first()) {
        (Some(error), Some(_)) if error.kind() != ErrorKind::CannotValidate => Some(error),
        (drift, None) => drift,
        (_, Some(first)) => {
            let kind = if first.rule == Rule::BaselineDrift { ErrorKind::Drift } else { ErrorKind::WorseFile };
            let more = match others.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            let error = Error::new(kind, format!("the candidate fails the gate {}{more}", first.title()))
                .expected(first.expected.clone())
                .found(first.found.clone());
            Some(match first.rule {
                Rule::BaselineDrift | Rule::BaselineRatio => {
                    error.help("where that is meant, accept the candidate with --update-baseline")
                }
                _ => error,
            })
        }
    }
}
