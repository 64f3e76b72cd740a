//! What can be said to `check`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::args::{Common, Narrowing, Running};

#[derive(Debug, Args)]
#[command(after_help = "Without --max-drift: 10 dB on every output. NaN, infinity or another shape always fails.")]
pub(in crate::cli) struct CheckArgs {
    /// The model that is right
    #[arg(value_name = "REFERENCE", required = true)]
    pub(in crate::cli) reference: Option<PathBuf>,
    /// The model to hold against it
    #[arg(value_name = "CANDIDATE", required = true)]
    pub(in crate::cli) candidate: Option<PathBuf>,
    /// Inputs to run both on: .npz, .npy, a folder, or synthetic[:N] [default: synthetic:4]
    #[arg(long, value_name = "DATA")]
    pub(in crate::cli) inputs: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) narrowing: Narrowing,
    #[command(flatten)]
    pub(in crate::cli) running: Running,
    /// Show where drift is born: compare layer by layer, the N worst first
    ///
    /// Each layer of the reference runs on what the candidate hands it, which divides the drift of its output in what the
    /// layer adds and what it passes on.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "10")]
    pub(in crate::cli) layers: Option<usize>,
    /// The most bytes the candidate may have, side files included
    #[arg(long, value_name = "BYTES", value_parser = bytes, help_heading = "Gates")]
    pub(in crate::cli) max_size: Option<u64>,
    /// The most time a run may take, in times of the reference's: 0.8
    ///
    /// Measured in ONNX Runtime, on one thread, in turns, with the first sample; skipped, with a line that says so, where
    /// there is no ONNX Runtime. Fails where the whole 95 % interval of the median lies above.
    #[arg(long, value_name = "RATIO", value_parser = positive, help_heading = "Gates")]
    pub(in crate::cli) max_latency_ratio: Option<f64>,
    /// Compare with the model that was accepted last, whose sizes, drift and hashes are in this file
    #[arg(long, value_name = "FILE", help_heading = "Gates")]
    pub(in crate::cli) baseline: Option<PathBuf>,
    /// Accept the candidate: write the baseline, if all other gates hold
    #[arg(long, help_heading = "Gates")]
    pub(in crate::cli) update_baseline: bool,
    /// What the compression ratio may lose against the baseline's, as a share of it [default: 0.01]
    #[arg(long, value_name = "SHARE", value_parser = share, help_heading = "Gates")]
    pub(in crate::cli) max_ratio_loss: Option<f64>,
    /// What the drift of an output may lose against the baseline's, in decibels [default: 1]
    #[arg(long, value_name = "DB", value_parser = not_negative, help_heading = "Gates")]
    pub(in crate::cli) max_drift_loss: Option<f64>,
    /// Print the comparison as JSON
    #[arg(long, help_heading = "Reports")]
    pub(in crate::cli) json: bool,
    /// Print the JSON Schema of --json
    #[arg(long, exclusive = true, help_heading = "Reports")]
    pub(in crate::cli) json_schema: bool,
    /// Write a JUnit XML file, one test case for each gate
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub(in crate::cli) junit: Option<PathBuf>,
    /// Write a SARIF 2.1.0 file, one result for each gate that does not hold
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub(in crate::cli) sarif: Option<PathBuf>,
    /// Print annotations for GitHub Actions, and append to the step summary
    #[arg(long, conflicts_with = "json", help_heading = "Reports")]
    pub(in crate::cli) github: bool,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

/// A number of bytes: 500000, 500kB, 4.5MB, 4MiB.
fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 7] = [
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("B", 1.0),
    ];
    let split = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (number, factor) = split.unwrap_or((text, 1.0));
    match number.trim().parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok((number * factor) as u64),
        _ => Err("not a number of bytes, like 500000, 500kB, 4.5MB or 4MiB".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |value| value > 0.0).ok_or_else(|| "not a number above 0".to_owned())
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |value| value >= 0.0).ok_or_else(|| "not a number from 0 up".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    number(text, |value| (0.0..=1.0).contains(&value)).ok_or_else(|| "not a number from 0 to 1".to_owned())
}

fn number(text: &str, suits: impl Fn(f64) -> bool) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite() && suits(*value))
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_have_units() {
        let read = |text| super::bytes(text).ok();
        assert_eq!(["12", "1.5kB", "2MiB", "3 MB"].map(read), [12, 1500, 2_097_152, 3_000_000].map(Some));
        assert_eq!(["", "-1", "MB", "x", "1TB"].map(read), [None; 5]);
    }
}
