//! Whether a drift report passes its gates.

use serde::Serialize;

use super::DriftReport;
use super::gates::{Condition, Gate, Metric, Tolerance};
use super::metrics::OutputDrift;
use crate::error::{Error, ErrorKind, Result, did_you_mean};

/// One condition that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The output; `null` where the condition is about the whole model.
    pub output: Option<String>,
    /// The gate as the user would write it, or the rule that always holds.
    pub gate: String,
    /// What the gate asks for.
    pub expected: String,
    /// What was measured.
    pub found: String,
}

/// The measurement nearest to the bound of a gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closest {
    /// The output; `None` where the gate is about the whole model.
    pub output: Option<String>,
    /// The value with its unit.
    pub text: String,
}

/// Which gates a result fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Every failed condition, in the order of outputs and gates; empty for a pass.
    pub failures: Vec<Failure>,
}

impl Verdict {
    /// Whether every gate holds.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// The verdict as a result.
    ///
    /// # Errors
    /// Fails with [`ErrorKind::Drift`] where a gate does not hold.
    pub fn into_result(self) -> Result<()> {
        let Some(first) = self.failures.first() else { return Ok(()) };
        let place = first.output.as_ref().map(|output| format!(" in output `{output}`")).unwrap_or_default();
        let others = match self.failures.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        Err(Error::new(ErrorKind::Drift, format!("the result drifted too far{place}{others}"))
            .expected(format!("{} (gate {})", first.expected, first.gate))
            .found(first.found.clone()))
    }
}

impl DriftReport {
    /// Holds the report against the gates.
    ///
    /// # Errors
    /// Fails where a gate names an output that does not exist, or a metric that nothing here has: a gate that cannot
    /// fail would give false comfort.
    pub fn judge(&self, gates: &[Gate]) -> Result<Verdict> {
        let mut failures = Vec::new();
        for output in &self.outputs {
            failures.extend(always_wrong(output));
        }
        for gate in gates {
            match &gate.0 {
                Condition::Tolerance(tolerance) => {
                    failures.extend(self.outputs.iter().filter_map(|output| beyond(*tolerance, output)));
                }
                Condition::Bound { metric: Metric::AccuracyDrop, bound, .. } => {
                    failures.extend(self.accuracy_fell(gate, *bound)?);
                }
                Condition::Bound { output, metric, bound } => {
                    failures.extend(self.out_of_bounds(gate, output.as_deref(), *metric, *bound)?);
                }
            }
        }
        Ok(Verdict { failures })
    }

    /// What comes closest to failing a gate: the output and its value. `None` where nothing has the metric.
    pub fn closest(&self, gate: &Gate) -> Option<Closest> {
        let (metric, name) = match &gate.0 {
            Condition::Tolerance(_) => (Metric::Snr, None),
            Condition::Bound { metric: Metric::AccuracyDrop, .. } => {
                let accuracy = self.accuracy.as_ref()?;
                let text = value_text(Metric::AccuracyDrop, accuracy.before - accuracy.after);
                return Some(Closest { output: None, text });
            }
            Condition::Bound { metric, output, .. } => (*metric, output.as_deref()),
        };
        let badness = |value: f64| if metric.is_minimum() { -value } else { value };
        let measured = self.outputs.iter().filter(|output| name.is_none_or(|name| name == output.name));
        let (output, value) = measured
            .filter_map(|output| Some((output, metric.of(output)?)))
            .max_by(|(_, a), (_, b)| badness(*a).total_cmp(&badness(*b)))?;
        let text = if value.is_infinite() { "equal values".to_owned() } else { value_text(metric, value) };
        Some(Closest { output: Some(output.name.clone()), text })
    }

    fn out_of_bounds(&self, gate: &Gate, name: Option<&str>, metric: Metric, bound: f64) -> Result<Vec<Failure>> {
        let names = || self.outputs.iter().map(|output| output.name.as_str());
        if let Some(name) = name
            && !names().any(|output| output == name)
        {
            let error = Error::usage(format!("drift gate `{gate}` names no output of the model"))
                .expected(names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
                .found(format!("`{name}`"));
            return Err(match did_you_mean(name, names()) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error,
            });
        }
        let outputs = self.outputs.iter().filter(|output| name.is_none_or(|name| name == output.name));
        let measured: Vec<(&OutputDrift, f64)> =
            outputs.filter_map(|output| Some((output, metric.of(output)?))).collect();
        // An output whose type changed has no metric left; that alone has failed the model.
        if measured.is_empty() && self.outputs.iter().all(|output| output.mismatch.is_none()) {
            return Err(Error::usage(format!("drift gate `{gate}` applies to no output"))
                .expected(match metric {
                    Metric::Top1 => "a float output with rows of scores",
                    Metric::Top5 => "a float output with rows of more than five scores",
                    _ => "a numeric output",
                })
                .found(names().collect::<Vec<_>>().join(", ")));
        }
        let minimum = metric.is_minimum();
        let holds = |value: f64| if minimum { value >= bound } else { value <= bound };
        Ok(measured
            .into_iter()
            .filter(|(_, value)| !holds(*value))
            .map(|(output, value)| Failure {
                output: Some(output.name.clone()),
                gate: gate.to_string(),
                expected: bound_text(metric, bound),
                found: value_text(metric, value),
            })
            .collect())
    }

    fn accuracy_fell(&self, gate: &Gate, bound: f64) -> Result<Option<Failure>> {
        let Some(accuracy) = &self.accuracy else {
            return Err(Error::usage(format!("drift gate `{gate}` needs labels"))
                .expected("data with the right classes")
                .found("none")
                .help("add an array `label` to the .npz file"));
        };
        let drop = accuracy.before - accuracy.after;
        // A drop of exactly the bound must hold whatever the two shares round to.
        let holds = drop <= bound + f64::EPSILON;
        Ok((!holds).then(|| Failure {
            output: None,
            gate: gate.to_string(),
            expected: bound_text(Metric::AccuracyDrop, bound),
            found: format!("{drop:.6}: from {:.6} to {:.6}", accuracy.before, accuracy.after),
        }))
    }
}

/// What fails whatever the gates are.
fn always_wrong(output: &OutputDrift) -> Option<Failure> {
    let failure = |gate: &str, expected: String, found: String| {
        Some(Failure { output: Some(output.name.clone()), gate: gate.to_owned(), expected, found })
    };
    if let Some(mismatch) = &output.mismatch {
        return failure("same type and shape", mismatch.expected.clone(), mismatch.found.clone());
    }
    if output.new_non_finite > 0 {
        return failure(
            "no new NaN or infinity",
            "finite values where the reference has them".into(),
            format!("{} of {} are not", output.new_non_finite, output.elements),
        );
    }
    None
}

/// The failure of an output under a default gate. What has failed anyway is not reported twice.
fn beyond(tolerance: Tolerance, output: &OutputDrift) -> Option<Failure> {
    if always_wrong(output).is_some() || output.exact {
        return None;
    }
    let (least_db, least_equal) = tolerance.bounds();
    let is_float = output.is_numeric() && output.dtype_is_float();
    let snr_holds = Metric::Snr.of(output).is_some_and(|snr| snr >= least_db);
    let equal_holds = !is_float && output.equal >= least_equal;
    let finite_holds = tolerance == Tolerance::Lossy || output.changed_non_finite == 0;
    if tolerance != Tolerance::Exact && (snr_holds || equal_holds) && finite_holds {
        return None;
    }
    let expected = match tolerance {
        Tolerance::Exact => "equal bits".to_owned(),
        _ if is_float => bound_text(Metric::Snr, least_db),
        _ => format!("at least {least_equal} of the elements equal"),
    };
    let found = match Metric::Snr.of(output) {
        _ if !finite_holds => format!("{} NaN or infinite values changed", output.changed_non_finite),
        Some(snr) if is_float && snr.is_finite() => value_text(Metric::Snr, snr),
        _ => value_text(Metric::Equal, output.equal) + " of the elements equal",
    };
    let gate = Gate::tolerance(tolerance).to_string() + " (default)";
    Some(Failure { output: Some(output.name.clone()), gate, expected, found })
}

fn bound_text(metric: Metric, bound: f64) -> String {
    let side = if metric.is_minimum() { "at least" } else { "at most" };
    format!("{side} {bound}{}", metric.unit())
}

fn value_text(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Snr => format!("{value:.2} dB"),
        // Enough digits that a value just outside of its bound does not read as the bound.
        _ => format!("{value:.6e}").parse::<f64>().map_or_else(|_| value.to_string(), |rounded| rounded.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{DType, Tensor};
    use crate::validate::{Accuracy, Comparison};

    fn report(outputs: &[(&str, Tensor, Tensor)]) -> DriftReport {
        DriftReport {
            backend_reference: "test".into(),
            backend_candidate: "test".into(),
            samples: 1,
            outputs: outputs.iter().map(|(n, a, b)| Comparison::of(a, b).finish(n.to_string())).collect(),
            noise: None,
            accuracy: None,
        }
    }

    fn scores(values: [f32; 2]) -> Tensor {
        Tensor::from_f32(vec![1, 2], &values).unwrap()
    }

    fn failures(report: &DriftReport, gates: &[&str]) -> Vec<String> {
        let gates: Vec<Gate> = gates.iter().map(|gate| gate.parse().unwrap()).collect();
        report.judge(&gates).unwrap().failures.into_iter().map(|failure| failure.gate).collect()
    }

    #[test]
    fn holds_every_metric_against_its_side() {
        // 20 dB, max-abs 0.5, rel-l2 0.1, top1 1.
        let report = report(&[("y", scores([3.0, 4.0]), scores([3.0, 4.5]))]);
        assert!(failures(&report, &["snr=19.9", "max-abs=0.5", "rel-l2=0.11", "top1=1", "cosine=0.99"]).is_empty());
        let strict = ["snr=20.1", "max-abs=0.4", "rel-l2=0.09", "cosine=0.9999", "equal=0.6", "y:snr=21"];
        assert_eq!(failures(&report, &strict), strict);
    }

    #[test]
    fn default_gates_follow_the_effect() {
        let passes = |tolerance, before: [f32; 2], after: [f32; 2]| {
            let report = report(&[("y", scores(before), scores(after))]);
            report.judge(&[Gate::tolerance(tolerance)]).unwrap().passed()
        };
        assert!(passes(Tolerance::Exact, [3.0, 4.0], [3.0, 4.0]));
        assert!(!passes(Tolerance::Exact, [3.0, 0.0], [3.0, -0.0]));
        assert!(passes(Tolerance::Rounding, [3.0, 4.0], [3.0, 4.004]));
        assert!(!passes(Tolerance::Rounding, [3.0, 4.0], [3.0, 4.006]));
        assert!(passes(Tolerance::Lossy, [3.0, 4.0], [3.0, 5.5]));
        assert!(!passes(Tolerance::Lossy, [3.0, 4.0], [3.0, 5.6]));
        assert!(!passes(Tolerance::Lossy, [3.0, 4.0], [3.0, f32::NAN]));
        assert!(!passes(Tolerance::Rounding, [3.0, f32::INFINITY], [3.0, 4.0]));
    }

    #[test]
    fn classes_may_differ_in_a_tenth() {
        let classes = |last: i64| Tensor::from_i64(vec![10], &[1, 1, 1, 1, 1, 1, 1, 1, 1, last]).unwrap();
        let gate = [Gate::tolerance(Tolerance::Lossy)];
        assert!(report(&[("class", classes(1), classes(900))]).judge(&gate).unwrap().passed());
        let flags = |last| Tensor::new(DType::Bool, vec![2], vec![1, last]).unwrap();
        assert!(!report(&[("flag", flags(1), flags(0))]).judge(&gate).unwrap().passed());
    }

    #[test]
    fn new_nan_and_changed_shapes_fail_without_any_gate() {
        let nan = report(&[("y", scores([3.0, 4.0]), scores([3.0, f32::NAN]))]);
        assert_eq!(failures(&nan, &[]), ["no new NaN or infinity"]);
        let shape = report(&[("y", scores([3.0, 4.0]), Tensor::from_f32(vec![2], &[3.0, 4.0]).unwrap())]);
        let failure = &shape.judge(&["snr=30".parse().unwrap()]).unwrap().failures[0];
        assert_eq!((failure.expected.as_str(), failure.found.as_str()), ("float[1,2]", "float[2]"));
    }

    #[test]
    fn a_gate_that_cannot_fail_is_an_error() {
        let report = report(&[("scores", scores([3.0, 4.0]), scores([3.0, 4.0]))]);
        let judge = |gate: &str| report.judge(&[gate.parse().unwrap()]).unwrap_err().to_string();
        assert!(judge("score:snr=3").contains("did you mean `scores`"));
        assert!(judge("top5=1").contains("applies to no output"));
        assert!(judge("accuracy-drop=0.1").contains("needs labels"));
    }

    #[test]
    fn accuracy_may_fall_by_just_the_bound() {
        let mut report = report(&[("y", scores([3.0, 4.0]), scores([3.0, 4.0]))]);
        report.accuracy = Some(Accuracy { before: 0.9, after: 0.8, samples: 10, interval95: (0.49, 0.94) });
        assert!(failures(&report, &["accuracy-drop=0.1"]).is_empty());
        assert_eq!(failures(&report, &["accuracy-drop=0.09"]), ["accuracy-drop=0.09"]);
    }

    #[test]
    fn turns_into_an_error_that_names_the_worst() {
        let report = report(&[("y", scores([3.0, 4.0]), scores([3.0, 4.5]))]);
        let verdict = report.judge(&["snr=30".parse().unwrap(), "max-abs=0.1".parse().unwrap()]).unwrap();
        let error = verdict.into_result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Drift);
        let text = error.to_string();
        assert!(text.contains("`y` (and 1 more)") && text.contains("20.00 dB"), "{text}");
    }
}
