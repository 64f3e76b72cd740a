//! What a budget asks for: `drift>=30dB,size<=5MB`.
//!
//! | term | bound |
//! |---|---|
//! | `drift>=30dB` | the signal-to-noise ratio of every output, at least; `drift<=30dB` says the same |
//! | `top1>=0.99` | agreement of the best score, at least; also `99%` |
//! | `accuracy-drop<=0.01` | what accuracy on labelled data falls by, at most; also `1%` |
//! | `size<=5MB` | bytes of the file with its side file, at most: `500kB`, `4MiB`, `25%` of the original, `0.25x` |
//! | `ratio>=4` | bytes of the original over those of the result, at least |
//! | `latency<=0.8` | time of a run in times of the original's, at most; also `80%`; `5ms` on this machine, on one thread |

use std::fmt;
use std::str::FromStr;

use super::measurement::Measurement;
use super::speed::Speed;
use crate::error::{Error, Result, did_you_mean};
use crate::units::{BYTES, number};
use crate::validate::Gate;

/// A bound on one thing.
#[derive(Debug, Clone, PartialEq)]
enum Term {
    /// How far the result may be from the original.
    Quality(Gate),
    Size(Size),
    Latency(Latency),
}

/// At most.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Size {
    Bytes(f64),
    /// A part of the original.
    Share(f64),
}

/// At most.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Latency {
    /// In times of the original's.
    Ratio(f64),
    Milliseconds(f64),
}

/// Bounds that hold together.
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    text: String,
    terms: Vec<Term>,
}

/// Names of terms, in the order of help.
const NAMES: &[&str] = &["drift", "top1", "accuracy-drop", "size", "ratio", "latency"];

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Budget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let terms = text.split(',').map(|term| parse(term.trim())).collect::<Result<Vec<Term>>>()?;
        let kinds: Vec<String> = terms.iter().map(Term::kind).collect();
        if let Some((_, twice)) = kinds.iter().enumerate().find(|(place, kind)| kinds[..*place].contains(kind)) {
            return Err(Error::usage(format!("the budget bounds `{twice}` twice")).found(format!("`{text}`")));
        }
        Ok(Self { text: text.to_owned(), terms })
    }
}

impl Budget {
    /// The bounds on drift, as gates.
    pub fn gates(&self) -> Vec<Gate> {
        let quality = |term: &Term| if let Term::Quality(gate) = term { Some(gate.clone()) } else { None };
        self.terms.iter().filter_map(quality).collect()
    }

    /// The bound on decibels, where there is one.
    pub(super) fn least_db(&self) -> Option<f64> {
        let gates = self.gates();
        gates.iter().filter_map(Gate::bound).find(|(metric, ..)| metric.key() == "snr").map(|(_, bound, _)| bound)
    }

    /// Whether it says how far the result may be from the original.
    pub(super) fn bounds_quality(&self) -> bool {
        self.terms.iter().any(|term| matches!(term, Term::Quality(_)))
    }

    pub(super) fn bounds_size(&self) -> bool {
        self.terms.iter().any(|term| matches!(term, Term::Size(_)))
    }

    pub(super) fn bounds_latency(&self) -> bool {
        self.terms.iter().any(|term| matches!(term, Term::Latency(_)))
    }

    /// The most bytes.
    pub(super) fn most_bytes(&self, original: u64) -> f64 {
        let bytes = |term: &Term| match term {
            Term::Size(Size::Bytes(bytes)) => Some(*bytes),
            Term::Size(Size::Share(share)) => Some(share * original as f64),
            _ => None,
        };
        self.terms.iter().filter_map(bytes).fold(f64::INFINITY, f64::min)
    }

    /// How many times longer than allowed a result takes; above 1 is too long, `None` where its time is not bound.
    pub(super) fn latency_over_bound(&self, speed: Option<Speed>) -> Option<f64> {
        let over = |term: &Term| match (term, speed) {
            (Term::Latency(Latency::Ratio(most)), Some(speed)) => Some(speed.ratio / most),
            // The original itself was not timed; it is not what such a bound asks for.
            (Term::Latency(Latency::Milliseconds(most)), Some(speed)) => {
                Some(speed.ms.map_or(f64::INFINITY, |ms| ms / most))
            }
            (Term::Latency(_), None) => Some(f64::INFINITY),
            _ => None,
        };
        self.terms.iter().find_map(over)
    }

    /// By which part of a bound a result misses it that misses most, with `gates` for those on drift; 0 where all hold but
    /// those on time.
    ///
    /// # Errors
    /// Fails where a gate does not fit the outputs or the data.
    pub(super) fn missed_by(&self, measured: &Measurement, gates: &[Gate], original_bytes: u64) -> Result<f64> {
        let mut worst = 0.0f64;
        if let Some(bytes) = measured.bytes {
            worst = worst.max(bytes as f64 / self.most_bytes(original_bytes) - 1.0);
        }
        if measured.refusal(gates)?.is_some() {
            let shortfall = match (self.least_db(), measured.snr_db()) {
                (Some(least), Some(snr)) if snr < least => (least - snr) / least.abs().max(1.0),
                // Missed by as much as cannot be put in decibels.
                (_, Some(_)) => 0.1,
                (_, None) => f64::INFINITY,
            };
            worst = worst.max(shortfall.max(f64::MIN_POSITIVE));
        }
        Ok(worst)
    }
}

impl Term {
    fn kind(&self) -> String {
        match self {
            Self::Quality(gate) => gate.to_string().split('=').next().unwrap_or_default().replace("snr", "drift"),
            Self::Size(_) => "size".to_owned(),
            Self::Latency(_) => "latency".to_owned(),
        }
    }
}

fn parse(text: &str) -> Result<Term> {
    let wrong = || {
        Error::usage("a term of the budget cannot be read")
            .expected("terms like drift>=30dB, top1>=0.99, accuracy-drop<=0.01, size<=5MB, ratio>=4, latency<=0.8")
            .found(format!("`{text}`"))
    };
    let place = text.find(['<', '>', '=']).ok_or_else(wrong)?;
    let (name, rest) = (text[..place].trim(), &text[place..]);
    let value = rest.trim_start_matches(['<', '>', '=']);
    let sign = &rest[..rest.len() - value.len()];
    let (name, is_least) = match name {
        "drift" | "snr" => ("drift", None),
        "top1" => ("top1", Some(true)),
        "accuracy-drop" | "acc-drop" => ("accuracy-drop", Some(false)),
        "size" => ("size", Some(false)),
        "ratio" => ("ratio", Some(true)),
        "latency" => ("latency", Some(false)),
        other => {
            let error = Error::usage(format!("a budget has no term `{other}`"))
                .expected(format!("one of {}", NAMES.join(", ")))
                .found(format!("`{text}`"));
            return Err(match did_you_mean(other, NAMES.iter().copied()) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error,
            });
        }
    };
    let found_least = match sign {
        "<=" | "<" => Some(false),
        ">=" | ">" => Some(true),
        "=" => None,
        _ => return Err(wrong()),
    };
    // Drift in decibels is the more the less there is of it: both signs can only mean one thing.
    if let (Some(wanted), Some(found)) = (is_least, found_least)
        && wanted != found
    {
        let (bound, sign) = if wanted { ("least", ">=") } else { ("most", "<=") };
        return Err(Error::usage(format!("a budget bounds `{name}` by the {bound} that is allowed"))
            .expected(format!("`{name}{sign}{}`", value.trim()))
            .found(format!("`{text}`")));
    }
    term(name, value.trim()).ok_or_else(wrong)
}

fn term(name: &str, value: &str) -> Option<Term> {
    let gate = |key: &str, bound: f64| Some(Term::Quality(format!("{key}={bound}").parse().ok()?));
    match name {
        "drift" => gate("snr", number(value, &[("dB", 1.0), ("db", 1.0), ("", 1.0)])?),
        "top1" => gate("top1", number(value, SHARES)?),
        "accuracy-drop" => gate("accuracy-drop", number(value, SHARES)?),
        "size" => match number(value, &[("%", 0.01), ("x", 1.0)]) {
            Some(share) => Some(Term::Size(Size::Share(positive(share)?))),
            None => Some(Term::Size(Size::Bytes(positive(number(value, BYTES)?)?))),
        },
        "ratio" => Some(Term::Size(Size::Share(1.0 / positive(number(value, &[("x", 1.0), ("", 1.0)])?)?))),
        "latency" => match number(value, &[("ms", 1.0), ("us", 1e-3)]) {
            Some(ms) => Some(Term::Latency(Latency::Milliseconds(positive(ms)?))),
            None => {
                let ratio = number(value, &[("%", 0.01), ("x", 1.0), ("", 1.0)])?;
                Some(Term::Latency(Latency::Ratio(positive(ratio)?)))
            }
        },
        _ => None,
    }
}

const SHARES: &[(&str, f64)] = &[("%", 0.01), ("", 1.0)];

fn positive(number: f64) -> Option<f64> {
    (number > 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(text: &str) -> Budget {
        text.parse().unwrap()
    }

    fn gates(text: &str) -> Vec<String> {
        budget(text).gates().iter().map(Gate::to_string).collect()
    }

    #[test]
    fn drift_is_bound_below_whichever_way_it_is_written() {
        for text in ["drift>=30dB", "drift<=30dB", "drift<=30 dB", "drift=30", "snr>=30"] {
            assert_eq!(gates(text), ["snr=30"], "{text}");
            assert_eq!(budget(text).least_db(), Some(30.0));
        }
        assert_eq!(gates("top1>=99%, accuracy-drop<=0.5%"), ["top1=0.99", "accuracy-drop=0.005"]);
    }

    #[test]
    fn sizes_have_units() {
        let bytes = |text: &str| budget(text).most_bytes(1000);
        assert_eq!(["size<=5MB", "size<=5KB", "size<=1KiB", "size<=700"].map(bytes), [5e6, 5e3, 1024.0, 700.0]);
        assert_eq!(["size<=25%", "size<=0.25x", "ratio>=4"].map(bytes), [250.0; 3]);
        assert_eq!(bytes("drift>=30"), f64::INFINITY);
    }

    #[test]
    fn times_are_ratios_or_milliseconds() {
        let speed = Speed { ratio: 0.5, interval95: (0.4, 0.6), ms: Some(10.0), laps: 9, races: 1 };
        let over = |text: &str, speed| budget(text).latency_over_bound(speed);
        assert_eq!(over("latency<=0.5", Some(speed)), Some(1.0));
        assert_eq!(over("latency<=25%", Some(speed)), Some(2.0));
        assert_eq!(over("latency<=5ms", Some(speed)), Some(2.0));
        assert_eq!(over("latency<=5ms", None), Some(f64::INFINITY));
        assert_eq!(over("size<=5", Some(speed)), None);
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text: &str| text.parse::<Budget>().unwrap_err().to_string();
        assert!(error("sise<=5MB").contains("did you mean `size`"));
        assert!(error("size>=5MB").contains("`size<=5MB`"));
        assert!(error("size<=5MB,ratio>=2").contains("twice"));
        for text in
            ["", "drift", "drift>=", "drift>=fast", "size<=-1", "latency<=0", "size<=>5", "top1>=2", "drift>=30,"]
        {
            assert!(!error(text).is_empty(), "{text}");
        }
    }
}
