//! `onnx-shrink MODEL -p PIPELINE -o OUT`.

use std::path::{Path, PathBuf};

use onnx_shrink::pass::RemarkKind;
use onnx_shrink::pass::pipeline::{Pipeline, Step};
use onnx_shrink::pass::report::StepReport;
use onnx_shrink::privacy::Scan;
use onnx_shrink::report::{self, words};
use onnx_shrink::shrink::{Bisection, Report, ShrinkOptions, Shrunk, Status, shrink};
use onnx_shrink::{Error, Result};

use super::args::{Running, ShrinkArgs};
use super::progress::Bars;
use super::report::{Reports, command_line};
use super::{budget, drift_table, style, to_stdout, to_stdout_json};

/// Runs the command; a result that is refused is an error after its report.
pub(super) fn run(args: &ShrinkArgs) -> Result<()> {
    if args.report_schema {
        return to_stdout(report::REPORT_SCHEMA.as_bytes());
    }
    let Some(model) = &args.model else {
        return Err(Error::usage("no model is named").expected("a model, or `model = \"model.onnx\"` in the recipe"));
    };
    if let Some(budget) = &args.searching.budget {
        return budget::run(args, model, budget, options(args)?, front(args)?);
    }
    if args.output.is_none() && !args.dry_run {
        return Err(Error::usage("no output is named")
            .expected("-o FILE, or --dry-run to write nothing")
            .help(format!("for instance: onnx-shrink {} -p {} -o small.onnx", model.display(), args.passes)));
    }
    let files = [&args.output, &args.stats].into_iter().flatten().chain(&args.stats_in).map(PathBuf::as_path);
    let data = [&args.inputs, &args.eval_inputs].into_iter().flatten().map(Path::new);
    let others: Vec<&Path> = [model.as_path()].into_iter().chain(files).chain(data).collect();
    let reports = Reports::reserve(&args.report, &others)?;
    let options = ShrinkOptions { detail: !reports.is_empty(), ..options(args)? };
    let Shrunk { report, refusal, detail } = shrink(model, &options, &Bars::new(args.common.quiet))?;
    if !reports.is_empty() {
        reports.write(&report::Report::new(report.clone(), detail, refusal.as_ref(), command_line()))?;
    }
    if args.json {
        to_stdout_json(&report)?;
    } else if !args.common.quiet {
        to_stdout(render(&report).as_bytes())?;
    }
    if !args.common.quiet {
        report.warnings.iter().for_each(|text| style::warning(text));
        if refusal.is_some() && report.written {
            style::warning("the result was written because of --force, although:");
        }
    }
    refusal.map_or(Ok(()), Err)
}

fn options(args: &ShrinkArgs) -> Result<ShrinkOptions> {
    let Running { max_drift, backend, seed } = &args.running;
    let pipeline = pipeline(args)?;
    let calibrates = || pipeline.to_string().split(',').any(|step| step.split('=').next() == Some("quant8"));
    if (args.stats.is_some() || !args.stats_in.is_empty()) && !calibrates() {
        return Err(Error::usage("--stats and --stats-in are of the calibration of `quant8`")
            .expected("a pipeline that runs it")
            .found(format!("`{pipeline}`")));
    }
    Ok(ShrinkOptions {
        output: args.output.clone(),
        inputs: args.inputs.clone(),
        eval_inputs: args.eval_inputs.clone(),
        stats_in: args.stats_in.clone(),
        stats: args.stats.clone(),
        gates: max_drift.iter().map(|gate| gate.parse()).collect::<Result<_>>()?,
        validate: !args.no_validate,
        identifies_original: !args.no_validate,
        drift_told: None,
        force: args.force,
        backend: backend.parse()?,
        seed: *seed,
        dump_each: args.dump_each.clone(),
        stop_after: args.stop_after,
        verify_each: args.verify_each,
        bisect: args.bisect,
        external_from_bytes: args.external_data,
        ..ShrinkOptions::new(pipeline)
    })
}

/// The passes, behind the steps that other options stand for: the pipeline alone says how the file was made.
fn pipeline(args: &ShrinkArgs) -> Result<Pipeline> {
    Ok(args.passes.parse::<Pipeline>()?.after(front(args)?))
}

/// The steps that other options stand for.
fn front(args: &ShrinkArgs) -> Result<Vec<Step>> {
    let names: Vec<(&str, &str)> =
        args.keep.iter().enumerate().map(|(i, name)| (if i == 0 { "" } else { "name" }, name.as_str())).collect();
    if names.iter().any(|(_, name)| name.is_empty()) {
        return Err(Error::usage("`--keep` needs the name of an operator or value"));
    }
    let keep = (!names.is_empty()).then(|| Step::new("keep", &names));
    Ok(args.narrowing.steps()?.into_iter().chain(keep).collect())
}

fn render(report: &Report) -> String {
    let mut text = String::new();
    if !report.steps.is_empty() {
        text += &steps(&report.steps);
        text.push('\n');
    }
    let (before, after) = (&report.input, &report.output);
    let mut table = style::table(&["", "before", "after", ""], 1);
    table.add_row([
        "bytes".to_owned(),
        words::grouped(before.total_bytes()),
        words::grouped(after.total_bytes()),
        format!("{:.2} x smaller", report.ratio),
    ]);
    table.add_row([
        "operators".to_owned(),
        words::grouped(before.census.nodes),
        words::grouped(after.census.nodes),
        String::new(),
    ]);
    table.add_row([
        "zero weights".to_owned(),
        words::percent(before.sparsity),
        words::percent(after.sparsity),
        String::new(),
    ]);
    text += &style::lines(&table);
    text.push('\n');
    let validation = &report.validation;
    if let Some(drift) = &validation.drift {
        text += &drift_table::render(drift);
        text += &drift_table::setting(drift, validation.data.as_deref().unwrap_or("no data"));
    }
    text += &drift_table::failures(&validation.failures);
    if let Some(scan) = &report.scan {
        text += &scanned(scan);
    }
    if let Some(bisection) = &report.bisection {
        text += &first_break(bisection);
    }
    text += &verdict(report);
    text
}

/// What the file still tells of its makers.
fn scanned(scan: &Scan) -> String {
    scan.traces.iter().fold(words::scanned(scan) + "\n", |text, trace| text + &format!("  {trace}\n"))
}

/// Where a gate breaks first.
fn first_break(bisection: &Bisection) -> String {
    let Bisection { step, number, at, why, comparisons } = bisection;
    let place = at.as_ref().map_or_else(String::new, |at| format!(", at {at}"));
    format!("the gate breaks first in step {number}, {step}{place} ({comparisons} comparisons)\n  {why}\n")
}

fn steps(steps: &[StepReport]) -> String {
    let mut table = style::table(&["pass", "effect", "operators", "constants", "applied", "skipped", "seconds"], 2);
    let mut notes = String::new();
    let mut idle: Vec<&str> = Vec::new();
    for step in steps {
        let count = |kind| step.remarks.iter().filter(|remark| remark.kind == kind).count();
        if step.changed || (step.round == 1 && count(RemarkKind::Skipped) > 0) {
            table.add_row([
                step.step.clone(),
                if step.changed { step.effect.to_string() } else { "nothing done".to_owned() },
                words::difference(step.before.nodes, step.after.nodes),
                words::difference(step.before.constant_bytes, step.after.constant_bytes),
                count(RemarkKind::Applied).to_string(),
                count(RemarkKind::Skipped).to_string(),
                format!("{:.2}", step.seconds),
            ]);
        } else if step.round == 1 && count(RemarkKind::Note) == 0 {
            // A preset repeats its passes until none finds anything: that the last round is idle says nothing.
            idle.push(&step.step);
        }
        for remark in step.remarks.iter().filter(|remark| remark.kind == RemarkKind::Note) {
            notes += &format!("{}: {}\n", step.step, remark.text);
        }
    }
    let mut text = if table.is_empty() { String::new() } else { style::lines(&table) };
    if !idle.is_empty() {
        text += &format!("nothing to do for {}\n", idle.join(", "));
    }
    text + &notes
}

fn verdict(report: &Report) -> String {
    let validation = &report.validation;
    let reason = validation.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let judged = match validation.status {
        Status::Passed => format!("within the gate: {}", validation.gates.join(", ")),
        Status::Failed => format!("refused{reason}"),
        Status::Identical => "identical to the input, byte for byte".to_owned(),
        Status::Skipped => format!("not compared{reason}"),
        Status::Impossible => format!("could not be compared{reason}"),
    };
    let written = match &report.output.path {
        Some(path) if report.written => format!("wrote {}", Path::new(path).display()),
        Some(path) => format!("did not write {path}"),
        None => "dry run: nothing written".to_owned(),
    };
    format!("{judged}\n{written} in {:.2} s\n", report.seconds)
}
