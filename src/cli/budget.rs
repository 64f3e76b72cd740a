//! `onnx-shrink MODEL --budget 'drift>=30dB,size<=5MB' -o BEST`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use onnx_shrink::pass::pipeline::{Pipeline, Step};
use onnx_shrink::report::words;
use onnx_shrink::search::{Budget, BudgetOptions, BudgetReport, within_budget};
use onnx_shrink::shrink::ShrinkOptions;
use onnx_shrink::{Error, Result};

use super::args::ShrinkArgs;
use super::progress::Bars;
use super::report::quoted;
use super::{style, to_stdout, to_stdout_json};

/// How long a search takes at most, unless told.
const DEFAULT_TIME: Duration = Duration::from_secs(600);

/// Options of the search.
#[derive(Debug, Args)]
#[command(next_help_heading = "Budget")]
pub(super) struct Searching {
    /// Instead of running a pipeline, look for the best one within these bounds: drift>=30dB,size<=5MB
    ///
    /// Terms, with commas between them: drift>=30dB (of every output, also written drift<=30dB), top1>=0.99,
    /// accuracy-drop<=0.01, size<=5MB (kB, MB, MiB, or 25% of the original), ratio>=4, latency<=0.8 (in times of the
    /// original's, or 5ms on this machine; in ONNX Runtime, on one thread). What is not bound is to be as good as possible:
    /// size first where drift is bound, then time, and drift first where it is not. Unless time is bound, nothing slower
    /// than the original is taken.
    ///
    /// The best so far is on disk throughout. A search that was stopped goes on where it was, if it is started again.
    #[arg(long, value_name = "TERMS", conflicts_with_all = ["passes", "dry_run", "stats", "stats_in", "no_validate",
          "report", "dump_each", "stop_after", "verify_each", "bisect"])]
    pub(super) budget: Option<String>,
    /// How long to look for the best: 90s, 10m, 2h [default: 10m]
    #[arg(long, value_name = "TIME", requires = "budget", value_parser = time)]
    pub(super) max_time: Option<Duration>,
    /// Where to remember measurements [default: a hidden folder beside the output]
    #[arg(long, value_name = "FOLDER", requires = "budget")]
    pub(super) cache: Option<PathBuf>,
    /// Keep all results that no other beats in size, drift and time, in this folder with an index
    #[arg(long, value_name = "FOLDER", requires = "budget")]
    pub(super) pareto: Option<PathBuf>,
}

/// A time: 90, 90s, 10m, 2h.
fn time(text: &str) -> Result<Duration, String> {
    let (number, seconds) = match text.char_indices().last() {
        Some((end, 's')) => (&text[..end], 1.0),
        Some((end, 'm')) => (&text[..end], 60.0),
        Some((end, 'h')) => (&text[..end], 3600.0),
        _ => (text, 1.0),
    };
    let time = number.trim().parse::<f64>().ok().map(|number| number * seconds);
    let time = time.and_then(|time| Duration::try_from_secs_f64(time).ok()).filter(|time| !time.is_zero());
    time.ok_or_else(|| "not a time, like 90s, 10m or 2h".to_owned())
}

/// Runs the command; that the budget cannot be met is an error after the report.
pub(super) fn run(args: &ShrinkArgs, model: &Path, budget: &str, base: ShrinkOptions, front: Vec<Step>) -> Result<()> {
    let budget: Budget = budget.parse()?;
    if base.output.is_none() {
        return Err(Error::usage("no output is named")
            .expected("-o FILE, for the best result so far")
            .help(format!("for instance: onnx-shrink {} --budget '{budget}' -o best.onnx", model.display())));
    }
    let options = BudgetOptions {
        budget,
        base: ShrinkOptions { pipeline: Pipeline::default().after(front.iter().cloned()), ..base },
        front,
        cache: args.searching.cache.clone(),
        max_time: args.searching.max_time.unwrap_or(DEFAULT_TIME),
        pareto: args.searching.pareto.clone(),
    };
    let found = within_budget(model, &options, Arc::new(Bars::new(args.common.quiet)))?;
    let report = &found.report;
    let command = report.best.as_ref().map(|best| command(model, &options, &report.backend, &best.pipeline));
    if args.json {
        let mut json =
            serde_json::to_value(report).map_err(|e| Error::usage(format!("cannot write the report: {e}")))?;
        if let (Some(fields), Some(command)) = (json.as_object_mut(), command) {
            fields.insert("command".to_owned(), command.into());
        }
        to_stdout_json(&json)?;
    } else if !args.common.quiet {
        to_stdout(render(report, command.as_deref(), options.pareto.as_deref()).as_bytes())?;
    }
    if !args.common.quiet {
        report.warnings.iter().for_each(|text| style::warning(text));
        if found.refusal.is_some() && report.output.is_some() {
            style::warning("the nearest result was written because of --force, although:");
        }
    }
    found.refusal.map_or(Ok(()), Err)
}

/// The command that makes the best result again.
fn command(model: &Path, options: &BudgetOptions, backend: &str, pipeline: &str) -> String {
    let base = &options.base;
    let mut words = vec!["onnx-shrink".to_owned(), model.display().to_string(), "-p".to_owned(), pipeline.to_owned()];
    let mut add = |key: &str, value: Option<String>| {
        words.extend(value.into_iter().flat_map(|value| [key.to_owned(), value]));
    };
    add("--inputs", base.inputs.clone());
    add("--eval-inputs", base.eval_inputs.clone());
    for gate in options.budget.gates().iter().chain(&base.gates) {
        add("--max-drift", Some(gate.to_string()));
    }
    add("--backend", Some(backend.to_owned()).filter(|backend| backend != "auto"));
    add("--seed", Some(base.seed.to_string()).filter(|seed| seed != "0"));
    add("-o", base.output.as_ref().map(|path| path.display().to_string()));
    if let Some(bytes) = base.external_from_bytes {
        words.push(format!("--external-data={bytes}"));
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn render(report: &BudgetReport, command: Option<&str>, pareto: Option<&Path>) -> String {
    let mut text = String::new();
    if let Some(best) = &report.best {
        let mut table = style::table(&["", "original", if report.met { "best" } else { "nearest" }, ""], 1);
        table.add_row([
            "bytes".to_owned(),
            words::grouped(report.input.total_bytes()),
            words::figure(best.bytes, words::grouped),
            words::figure(report.ratio, |ratio| format!("{ratio:.2} x smaller")),
        ]);
        let drift = words::decibels(best.snr_db().filter(|snr| snr.is_finite()));
        table.add_row(["drift".to_owned(), String::new(), drift, String::new()]);
        if let Some(top1) = best.top1() {
            table.add_row(["top-1".to_owned(), String::new(), words::percent(top1), String::new()]);
        }
        if let Some(before) = report.accuracy {
            let after = words::figure(best.accuracy().or(report.accuracy), words::percent);
            table.add_row(["accuracy".to_owned(), words::percent(before), after, String::new()]);
        }
        if let Some(speed) = best.speed {
            let (low, high) = speed.interval95;
            let spread = format!("95 % interval {:.2} .. {:.2}", 1.0 / high, 1.0 / low);
            table.add_row(["speed".to_owned(), String::new(), format!("x{:.2}", 1.0 / speed.ratio), spread]);
        }
        text += &style::lines(&table);
    }
    text += &format!("compared on {}\n", report.data);
    if let Some(reason) = &report.untimed {
        text += &format!("speed was not measured: {reason}\n");
    }
    if let Some(command) = command {
        text += &format!("made by: {command}\n");
    }
    if let Some(folder) = pareto {
        let count = onnx_shrink::pass::counted(report.front.len(), "result");
        text += &format!("{count} that no other beats, with index.json and index.md, in {}\n", folder.display());
    }
    let known = match report.from_cache {
        0 => String::new(),
        known => format!(", {known} of them known from before"),
    };
    let ended = if report.time_was_up { ", until time was up" } else { "" };
    let tried = onnx_shrink::pass::counted(report.tried, "pipeline");
    text += &format!("tried {tried}{known} in {:.0} s{ended}\n", report.seconds);
    match &report.output {
        Some(path) => text + &format!("wrote {path}\n"),
        None => text + "nothing was written\n",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn times_have_units() {
        let read = |text| super::time(text).ok();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(["90", "90s", "10m", "1.5h"].map(read), [seconds(90), seconds(90), seconds(600), seconds(5400)]);
        assert_eq!(["", "m", "-1s", "0", "1d", "é"].map(read), [None; 6]);
    }
}
