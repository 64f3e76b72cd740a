//! The conditions a result can be held to.
//!
//! A gate is `[OUTPUT:]KEY=VALUE`, for instance `snr=30` or `logits:top1=0.99`. Without an output it holds for every
//! output that has the metric. Whatever the gates, a changed type or shape and a new NaN or infinity always fail.

use std::fmt;
use std::str::FromStr;

use super::metrics::OutputDrift;
use crate::error::{Error, Result, did_you_mean};

/// How much drift a pass may cause by its nature; the gate where the user gave none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tolerance {
    /// Equal bits.
    Exact,
    /// 60 dB. Integers may keep to that or be equal in 99.9 % of elements, as bools and strings must.
    Rounding,
    /// 10 dB. Integers may keep to that or be equal in 90 % of elements, as bools and strings must.
    Lossy,
}

/// What a gate bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The signal-to-noise ratio in decibels, at least.
    Snr,
    /// Agreement of the largest score, at least, 0 to 1.
    Top1,
    /// Agreement of the reference's largest score with the candidate's five largest, at least, 0 to 1.
    Top5,
    /// The largest difference, at most.
    MaxAbs,
    /// The relative length of the difference, at most.
    RelL2,
    /// The cosine between the outputs, at least.
    Cosine,
    /// The share of elements with equal bits, at least, 0 to 1.
    Equal,
    /// What accuracy may fall by, at most, 0 to 1; needs labels.
    AccuracyDrop,
}

impl Metric {
    /// Every metric, in the order help shows them.
    pub const ALL: &'static [Self] =
        &[Self::Snr, Self::Top1, Self::Top5, Self::MaxAbs, Self::RelL2, Self::Cosine, Self::Equal, Self::AccuracyDrop];

    /// The key of a gate.
    pub fn key(self) -> &'static str {
        match self {
            Self::Snr => "snr",
            Self::Top1 => "top1",
            Self::Top5 => "top5",
            Self::MaxAbs => "max-abs",
            Self::RelL2 => "rel-l2",
            Self::Cosine => "cosine",
            Self::Equal => "equal",
            Self::AccuracyDrop => "accuracy-drop",
        }
    }

    /// What the metric bounds, in a line for help.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Snr => "signal-to-noise ratio, at least so many decibels",
            Self::Top1 => "share of rows whose largest score stays in place, at least",
            Self::Top5 => "share of rows whose largest score stays among the five largest, at least",
            Self::MaxAbs => "largest difference, at most",
            Self::RelL2 => "length of the difference over that of the output, at most",
            Self::Cosine => "cosine between the outputs, at least",
            Self::Equal => "share of elements with equal bits, at least",
            Self::AccuracyDrop => "what accuracy falls by, at most; needs labels",
        }
    }

    /// Whether the bound is the least value allowed, not the greatest.
    pub(super) fn is_minimum(self) -> bool {
        !matches!(self, Self::MaxAbs | Self::RelL2 | Self::AccuracyDrop)
    }

    /// The bounds that make sense.
    fn range(self) -> (f64, f64) {
        match self {
            Self::Snr => (f64::MIN, f64::MAX),
            Self::MaxAbs | Self::RelL2 => (0.0, f64::MAX),
            Self::Cosine => (-1.0, 1.0),
            Self::Top1 | Self::Top5 | Self::Equal | Self::AccuracyDrop => (0.0, 1.0),
        }
    }

    pub(super) fn unit(self) -> &'static str {
        if self == Self::Snr { " dB" } else { "" }
    }

    /// The value for one output; `None` where the output has no such metric.
    pub(super) fn of(self, output: &OutputDrift) -> Option<f64> {
        let unless_infinite = |metric: Option<f64>, infinite| output.is_numeric().then(|| metric.unwrap_or(infinite));
        match self {
            Self::Snr => unless_infinite(output.snr_db, f64::INFINITY),
            Self::RelL2 => unless_infinite(output.rel_l2, f64::INFINITY),
            Self::Top1 => output.top1,
            Self::Top5 => output.top5,
            Self::MaxAbs => output.max_abs,
            Self::Cosine => output.cosine,
            Self::Equal => Some(output.equal),
            Self::AccuracyDrop => None,
        }
    }
}

/// One condition on a drift report.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate(pub(super) Condition);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Tolerance(Tolerance),
    Bound { output: Option<String>, metric: Metric, bound: f64 },
}

impl Gate {
    /// The gate for every output where the user gave none.
    pub fn tolerance(tolerance: Tolerance) -> Self {
        Self(Condition::Tolerance(tolerance))
    }

    /// The metric, the bound and the output that the gate is about, where it is about one.
    pub fn bound(&self) -> Option<(Metric, f64, Option<&str>)> {
        match &self.0 {
            Condition::Tolerance(Tolerance::Exact) => None,
            Condition::Tolerance(tolerance) => Some((Metric::Snr, tolerance.bounds().0, None)),
            Condition::Bound { output, metric, bound } => Some((*metric, *bound, output.as_deref())),
        }
    }
}

impl FromStr for Gate {
    type Err = Error;

    /// Reads `[OUTPUT:]KEY=VALUE`.
    fn from_str(text: &str) -> Result<Self> {
        let keys = || Metric::ALL.iter().map(|metric| metric.key());
        let Some((left, value)) = text.rsplit_once('=') else {
            return Err(Error::usage("a drift gate has no value")
                .expected(format!("[OUTPUT:]KEY=VALUE with a key of {}", keys().collect::<Vec<_>>().join(", ")))
                .found(text)
                .help("for instance snr=30"));
        };
        // Names of outputs contain colons, keys do not.
        let (output, key) = match left.rsplit_once(':') {
            Some((output, key)) => (Some(output.to_owned()), key.trim()),
            None => (None, left.trim()),
        };
        let Some(&metric) = Metric::ALL.iter().find(|metric| metric.key() == key) else {
            let error = Error::usage(format!("unknown drift metric `{key}`"))
                .expected(format!("one of {}", keys().collect::<Vec<_>>().join(", ")))
                .found(text);
            return Err(match did_you_mean(key, keys()) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error,
            });
        };
        let (low, high) = metric.range();
        let bound = value.trim().parse::<f64>().ok().filter(|bound| (low..=high).contains(bound));
        let bound = bound.ok_or_else(|| {
            let expected = match metric {
                Metric::Snr => "a number of decibels".to_owned(),
                Metric::MaxAbs | Metric::RelL2 => "a number from 0 up".to_owned(),
                _ => format!("a number from {low} to {high}"),
            };
            Error::usage(format!("drift gate `{key}` has no such bound")).expected(expected).found(value)
        })?;
        if metric == Metric::AccuracyDrop && output.is_some() {
            return Err(Error::usage("accuracy belongs to the whole model, not to one output")
                .expected("accuracy-drop=VALUE")
                .found(text));
        }
        Ok(Self(Condition::Bound { output, metric, bound }))
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Condition::Tolerance(Tolerance::Exact) => f.write_str("equal bits"),
            Condition::Tolerance(tolerance) => write!(f, "snr={}", tolerance.bounds().0),
            Condition::Bound { output: Some(output), metric, bound } => write!(f, "{output}:{}={bound}", metric.key()),
            Condition::Bound { output: None, metric, bound } => write!(f, "{}={bound}", metric.key()),
        }
    }
}

impl Tolerance {
    /// The least decibels, and the least share of equal elements where decibels mean little.
    pub(super) fn bounds(self) -> (f64, f64) {
        match self {
            Self::Exact => (f64::INFINITY, 1.0),
            Self::Rounding => (60.0, 0.999),
            Self::Lossy => (10.0, 0.9),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_it_prints() {
        for text in ["snr=30", "onnx::Out_0:max-abs=0.5", "top1=0.99", "rel-l2=0.1", "cosine=-1", "accuracy-drop=0.01"]
        {
            assert_eq!(text.parse::<Gate>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_makes_no_gate() {
        for text in ["snr", "snr=", "snr=NaN", "snr=inf", "top1=99", "max-abs=-1", "y:accuracy-drop=0", "=1"] {
            assert!(text.parse::<Gate>().is_err(), "{text}");
        }
        assert!("top-1=0.9".parse::<Gate>().unwrap_err().to_string().contains("did you mean `top1`"));
    }
}
