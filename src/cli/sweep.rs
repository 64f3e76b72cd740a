//! `onnx-shrink sweep MODEL -p PIPELINE -p PIPELINE ...`.

use std::path::{Path, PathBuf};

use clap::Args;
use onnx_shrink::pass::pipeline::{Pipeline, Step};
use onnx_shrink::report::words;
use onnx_shrink::search::{Row, SweepOptions, SweepReport, Verdict, sweep};
use onnx_shrink::shrink::ShrinkOptions;
use onnx_shrink::{Error, Result};

use super::args::{Common, Narrowing, Running};
use super::progress::Bars;
use super::{style, to_stdout, to_stdout_json};

#[derive(Debug, Args)]
#[command(after_help = "Marked with * are results that no other beats in size, drift and time at once.")]
pub(in crate::cli) struct SweepArgs {
    /// The ONNX model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// A pipeline to run; repeat for more
    #[arg(short, long, value_name = "PIPELINE")]
    passes: Vec<String>,
    /// Read more pipelines from a file, one a line; what follows `#` is passed over
    #[arg(long, value_name = "FILE")]
    pipelines: Option<PathBuf>,
    /// Keep the results that hold to the gates, in this folder
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    #[command(flatten)]
    narrowing: Narrowing,
    /// Real inputs, to calibrate on and to compare on, as for a single run
    #[arg(long, value_name = "DATA")]
    inputs: Option<String>,
    /// Inputs to compare on, where they should be others than those to calibrate on
    #[arg(long, value_name = "DATA")]
    eval_inputs: Option<String>,
    #[command(flatten)]
    running: Running,
    /// Do not time results in ONNX Runtime
    #[arg(long)]
    no_timing: bool,
    /// Remember measurements in this folder, so that nothing is measured twice
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
    /// Print the table as comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

/// Runs the command. That pipelines fail or are refused is what their rows say, and no failure of the command.
pub(super) fn run(args: &SweepArgs) -> Result<()> {
    let Running { max_drift, backend, seed } = &args.running;
    let front: Vec<Step> = args.narrowing.steps()?;
    let read = |text: &str| -> Result<Pipeline> { Ok(text.parse::<Pipeline>()?.after(front.iter().cloned())) };
    let mut texts = args.passes.clone();
    if let Some(path) = &args.pipelines {
        texts.extend(lines(path)?);
    }
    let options = SweepOptions {
        pipelines: texts.iter().map(|text| read(text)).collect::<Result<_>>()?,
        base: ShrinkOptions {
            inputs: args.inputs.clone(),
            eval_inputs: args.eval_inputs.clone(),
            gates: max_drift.iter().map(|gate| gate.parse()).collect::<Result<_>>()?,
            backend: backend.parse()?,
            seed: *seed,
            ..ShrinkOptions::new(Pipeline::default().after(front.iter().cloned()))
        },
        keep: args.output.clone(),
        cache: args.cache.clone(),
        timing: !args.no_timing,
    };
    let report = sweep(&args.model, &options, &Bars::new(args.common.quiet))?;
    if args.json {
        to_stdout_json(&report)?;
    } else if args.csv {
        to_stdout(csv(&report).as_bytes())?;
    } else if !args.common.quiet {
        to_stdout(render(&report).as_bytes())?;
    }
    if !args.common.quiet {
        report.warnings.iter().for_each(|text| style::warning(text));
    }
    Ok(())
}

/// The pipelines in a file.
fn lines(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::usage(format!("there is no file `{}`", path.display()))
            .help("--pipelines names a file of pipelines, -p is one"),
        _ => Error::io("read the pipelines in", path, e),
    })?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn render(report: &SweepReport) -> String {
    let has_labels = report.accuracy.is_some();
    let mut header = vec!["", "pipeline", "bytes", "smaller", "drift", "top-1"];
    header.extend(has_labels.then_some("accuracy"));
    header.extend(["speed", "verdict"]);
    let mut table = style::table(&header, 2);
    let labelled = |accuracy: Option<f64>| has_labels.then(|| words::figure(accuracy, words::percent));
    let row = |first: [String; 6], accuracy: Option<f64>, last: [String; 2]| -> Vec<String> {
        first.into_iter().chain(labelled(accuracy)).chain(last).collect()
    };
    let original = ["", "(original)", &words::grouped(report.input.total_bytes()), "", "", ""].map(str::to_owned);
    table.add_row(row(original, report.accuracy, [String::new(), String::new()]));
    for one in &report.rows {
        let mark = if one.on_front { "*" } else { "" };
        let first = [
            mark.to_owned(),
            style::shortened(&one.measured.pipeline),
            words::figure(one.measured.bytes, words::grouped),
            words::figure(one.ratio, |ratio| format!("{ratio:.2} x")),
            drift(one),
            words::figure(one.top1, words::percent),
        ];
        let speed = words::figure(one.measured.speed, |speed| format!("x{:.2}", 1.0 / speed.ratio));
        table.add_row(row(first, one.accuracy, [speed, verdict(one).to_owned()]));
    }
    let mut text = style::lines(&table);
    for (number, one) in report.rows.iter().enumerate() {
        if let Some(reason) = &one.reason {
            text += &format!("{} {}: {reason}\n", number + 1, style::shortened(&one.measured.pipeline));
        }
    }
    text += &format!("compared on {}\n", report.data);
    text += &match &report.untimed {
        Some(reason) => format!("speed was not measured: {reason}\n"),
        None => "speed: of the original's in ONNX Runtime, on one thread, in turns\n".to_owned(),
    };
    for one in report.rows.iter().filter_map(|row| row.file.as_ref()) {
        text += &format!("wrote {one}\n");
    }
    text + &format!("{} in {:.2} s\n", onnx_shrink::pass::counted(report.rows.len(), "pipeline"), report.seconds)
}

fn drift(row: &Row) -> String {
    match row.measured.snr_db() {
        None => "-".to_owned(),
        Some(snr) => words::decibels(Some(snr).filter(|snr| snr.is_finite())),
    }
}

fn verdict(row: &Row) -> &'static str {
    match row.verdict {
        Verdict::Passed => "passed",
        Verdict::Refused => "refused",
        Verdict::Failed => "failed",
    }
}

fn csv(report: &SweepReport) -> String {
    let mut text = "pipeline,bytes,ratio,snr_db,top1,accuracy,latency_ratio,on_front,verdict,reason,file\n".to_owned();
    for row in &report.rows {
        let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
        let cells = [
            quoted(&row.measured.pipeline),
            row.measured.bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            number(row.ratio),
            number(row.snr_db),
            number(row.top1),
            number(row.accuracy),
            number(row.measured.speed.map(|speed| speed.ratio)),
            row.on_front.to_string(),
            verdict(row).to_owned(),
            quoted(row.reason.as_deref().unwrap_or_default()),
            quoted(row.file.as_deref().unwrap_or_default()),
        ];
        text += &(cells.join(",") + "\n");
    }
    text
}

/// A cell that may hold commas.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}
