//! `onnx-shrink check REFERENCE CANDIDATE`.

mod args;
mod github;
mod junit;
mod sarif;
mod text;

use std::path::Path;

use onnx_shrink::check::{CHECK_SCHEMA, CheckOptions, CheckReport, Checked, check};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::{Error, Result};

use super::args::Running;
use super::progress::Bars;
use super::report::check_folder;
use super::{json, style, to_stdout, to_stdout_json};

pub(super) use args::CheckArgs;

/// Runs the command; a candidate that fails a gate is an error after the comparison.
pub(super) fn run(args: &CheckArgs) -> Result<()> {
    if args.json_schema {
        return to_stdout(CHECK_SCHEMA.as_bytes());
    }
    let result = compare(args);
    if let (Err(error), true) = (&result, args.github) {
        to_stdout(github::error(error).as_bytes())?;
    }
    let Checked { report, refusal } = result?;
    write_reports(args, &report)?;
    if args.json {
        to_stdout_json(&report)?;
    } else if !args.common.quiet {
        to_stdout(text::render(&report, args.layers.unwrap_or(0)).as_bytes())?;
    }
    if args.github {
        to_stdout(github::annotations(&report).as_bytes())?;
        github::append_summary(&report)?;
    }
    if !args.common.quiet {
        report.warnings.iter().for_each(|text| style::warning(text));
    }
    refusal.map_or(Ok(()), Err)
}

fn compare(args: &CheckArgs) -> Result<Checked> {
    let (Some(reference), Some(candidate)) = (&args.reference, &args.candidate) else {
        return Err(Error::usage("two models are to be named").help("onnx-shrink check model.onnx small.onnx"));
    };
    // Before the work begins: a report that cannot be written should not cost an hour of it.
    [&args.junit, &args.sarif].into_iter().flatten().try_for_each(|path| check_folder(path))?;
    let Running { max_drift, backend, seed } = &args.running;
    let options = CheckOptions {
        inputs: args.inputs.clone(),
        gates: max_drift.iter().map(|gate| gate.parse()).collect::<Result<_>>()?,
        backend: backend.parse()?,
        seed: *seed,
        narrowing: Pipeline::default().after(args.narrowing.steps()?),
        max_size_bytes: args.max_size,
        max_ratio_loss: args.max_ratio_loss,
        max_drift_loss_db: args.max_drift_loss,
        max_latency_ratio: args.max_latency_ratio,
        baseline: args.baseline.clone(),
        update_baseline: args.update_baseline,
        layers: args.layers.is_some(),
    };
    check(reference, candidate, &options, &Bars::new(args.common.quiet))
}

fn write_reports(args: &CheckArgs, report: &CheckReport) -> Result<()> {
    let write = |path: &Path, contents: Vec<u8>| {
        std::fs::write(path, contents).map_err(|e| Error::io("write the report to", path, e))
    };
    if let Some(path) = &args.junit {
        write(path, junit::render(report).into_bytes())?;
    }
    if let Some(path) = &args.sarif {
        write(path, json(&sarif::render(report))?)?;
    }
    Ok(())
}
