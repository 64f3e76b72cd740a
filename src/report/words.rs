//! Figures and names as reports and the command line show them.

use crate::pass::RemarkKind;
use crate::privacy::Scan;
use crate::validate::OutputDrift;

/// A number with its digits in groups: `22,713,344`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes, short: `1.73 MB`.
#[cfg(any(feature = "cli", test))]
pub(super) fn bytes(bytes: u64) -> String {
    let scaled = |unit: f64, name: &str| format!("{:.3} {name}", Significant(bytes as f64 / unit));
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => scaled(1e3, "kB"),
        1_000_000..1_000_000_000 => scaled(1e6, "MB"),
        _ => scaled(1e9, "GB"),
    }
}

/// A number with as many digits as the precision says.
#[cfg(any(feature = "cli", test))]
struct Significant(f64);

#[cfg(any(feature = "cli", test))]
impl std::fmt::Display for Significant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = f.precision().unwrap_or(3);
        let before = if self.0 >= 100.0 { 3 } else { 1 + usize::from(self.0 >= 10.0) };
        write!(f, "{:.*}", digits.saturating_sub(before), self.0)
    }
}

/// How a result compares in size.
pub(super) fn ratio(ratio: f64) -> String {
    match ratio {
        ratio if (0.995..1.005).contains(&ratio) => "of the same size".to_owned(),
        ratio if ratio >= 1.0 => format!("{ratio:.2} x smaller"),
        ratio if ratio > 0.0 => format!("{:.2} x larger", 1.0 / ratio),
        _ => "of unknown size".to_owned(),
    }
}

/// A sentence, from what begins in the middle of one.
#[cfg(feature = "cli")]
pub(super) fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map_or_else(String::new, |first| first.to_uppercase().chain(rest).collect())
}

/// What a scan for traces of a model's makers came to, in a sentence without a full stop; traces are listed behind it.
pub fn scanned(scan: &Scan) -> String {
    let bytes = grouped(scan.bytes);
    match scan.traces.len() {
        0 => format!("scanned {bytes} bytes: no doc string, metadata, path, training information or unused tensor"),
        traces => format!("scanned {bytes} bytes: {} found", crate::pass::counted(traces, "trace")),
    }
}

/// A share as percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A ratio in decibels, or that there is no drift.
pub fn decibels(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "none".to_owned(), |db| format!("{db:.1} dB"))
}

/// The drift of an output, in a few words.
pub fn drift(output: &OutputDrift) -> String {
    match output.snr_db {
        _ if output.mismatch.is_some() => "another shape".to_owned(),
        _ if output.exact => "exact".to_owned(),
        Some(snr) => format!("{snr:.1} dB"),
        None if output.is_numeric() => "equal".to_owned(),
        None => format!("{} equal", percent(output.equal)),
    }
}

/// A figure that may be missing.
pub fn figure<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

/// What sort of remark it is, in front of its text.
pub(super) fn remark_kind(kind: RemarkKind) -> &'static str {
    match kind {
        RemarkKind::Applied => "done: ",
        RemarkKind::Skipped => "left alone: ",
        RemarkKind::Note => "",
    }
}

/// The element type of a tensor type: `float` of `float[64,3]`.
#[cfg(feature = "cli")]
pub(super) fn element(ty: &str) -> &str {
    ty.split('[').next().unwrap_or(ty)
}

/// How much was added or taken away.
pub fn difference(before: u64, after: u64) -> String {
    match after.cmp(&before) {
        std::cmp::Ordering::Less => format!("-{}", grouped(before - after)),
        std::cmp::Ordering::Equal => "0".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", grouped(after - before)),
    }
}

/// A name of at most `width` characters, none of which would break a chart, a table or a terminal. A longer one is cut in the
/// middle: its ends tell more than what lies between.
pub fn shortened(name: &str, width: usize) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let length = name.chars().count();
    if length <= width {
        return name;
    }
    let part = (width / 2).saturating_sub(2);
    name.chars().take(part).chain("...".chars()).chain(name.chars().skip(length - part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let shown: Vec<String> = [0, 999, 1_000, 442_502, 1_725_610, 45_000_000, 2_500_000_000].map(bytes).to_vec();
        assert_eq!(shown, ["0 B", "999 B", "1.00 kB", "443 kB", "1.73 MB", "45.0 MB", "2.50 GB"]);
        assert_eq!(ratio(3.899), "3.90 x smaller");
        assert_eq!(ratio(0.5), "2.00 x larger");
    }

    #[test]
    fn groups_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (22_713_344, "22,713,344")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(shortened("conv1.weight", 60), "conv1.weight");
        let long = format!("start{}end", "é".repeat(100));
        let short = shortened(&long, 60);
        assert!(short.starts_with("start") && short.ends_with("end") && short.chars().count() <= 60);
    }
}
