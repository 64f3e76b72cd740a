//! Runs the pipeline of a golden and checks what every pass promises.

use onnx_shrink::backend::BackendChoice;
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::text::{self, PrintOptions};
use onnx_shrink::ir::{Model, check};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::{Changed, Cx, Effect, Env, NoProgress, Opts, PassInfo, Remark, RemarkKind};
use onnx_shrink::{Error, Result, passes};

use super::execute;
use super::file::{Golden, Sections};

/// What came of a golden.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The text of graph and remarks; `None` where there is none to compare.
    pub(crate) sections: Option<Sections>,
    /// Promises that were not kept.
    pub(crate) complaints: Vec<String>,
}

/// Runs a golden.
pub(crate) fn run(golden: &Golden) -> Outcome {
    let mut outcome = Outcome::default();
    let model = match parse(golden) {
        Ok(model) => model,
        Err(error) => {
            outcome.complaints.push(format!("the graph does not parse: {error}"));
            return outcome;
        }
    };
    let result = run_pipeline(golden, &model);
    match (&golden.error, result) {
        (None, Ok(run)) => examine(golden, &model, run, &mut outcome),
        (None, Err(error)) => outcome.complaints.push(format!("the run fails: {error}")),
        (Some(_), Ok(_)) => outcome.complaints.push("the run succeeds, but an error is expected".to_owned()),
        (Some(part), Err(error)) => {
            if !error.to_string().contains(part) {
                outcome.complaints.push(format!("expected `{part}` in the error, found\n{error}"));
            }
        }
    }
    outcome
}

fn parse(golden: &Golden) -> Result<Model> {
    let mut model = text::parse(&golden.input)?;
    if let Some(version) = golden.opset {
        model.set_opset("", version);
    }
    Ok(model)
}

/// What the passes of a pipeline did.
struct Run {
    model: Model,
    remarks: Vec<Remark>,
    changed: Changed,
    effect: Effect,
}

fn run_pipeline(golden: &Golden, model: &Model) -> Result<Run> {
    let calibration = golden.calibration.as_ref().map(|spec| samples(spec, model)).transpose()?;
    let env = Env { seed: 0, calibration: calibration.as_deref(), backend: BackendChoice::Auto, progress: &NoProgress };
    let mut run = Run { model: model.clone(), remarks: Vec::new(), changed: Changed::No, effect: Effect::Exact };
    for step in golden.pipeline.split(',') {
        let (info, opts) = parse_step(step)?;
        let mut pass = (info.build)(&opts)?;
        let mut cx = Cx::new(&env, info.name);
        run.changed |= pass.run(&mut run.model, &mut cx)?;
        run.remarks.extend(cx.into_remarks());
        run.effect = run.effect.max(info.effect);
    }
    Ok(run)
}

fn parse_step(step: &str) -> Result<(&'static PassInfo, Opts)> {
    let (name, args) = step.split_once('=').map_or((step, None), |(name, args)| (name, Some(args)));
    let info = passes::find(name).ok_or_else(|| Error::usage(format!("no pass `{name}`")))?;
    let args: Vec<(Option<String>, String)> = args
        .into_iter()
        .flat_map(|args| args.split(':'))
        .map(|arg| match arg.split_once('=') {
            Some((key, value)) => (Some(key.to_owned()), value.to_owned()),
            None => (None, arg.to_owned()),
        })
        .collect();
    Ok((info, Opts::new(info, &args)?))
}

/// Opens seeded data for a model.
pub(super) fn samples(spec: &str, model: &Model) -> Result<Box<dyn Samples>> {
    let (signature, hints) = (model.signature(), Hints::default());
    data::open(spec, &DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None })
}

/// Holds a run against the promises of the passes that ran.
fn examine(golden: &Golden, model: &Model, run: Run, outcome: &mut Outcome) {
    let options =
        PrintOptions { full_data_up_to_elements: golden.full_data_up_to_elements, header: golden.has_header() };
    let print = |model: &Model| text::print(model, &options);
    let after = print(&run.model);
    let is_changed = bytes(model) != bytes(&run.model);
    let mut complain = |what: String| outcome.complaints.push(what);

    if is_changed != run.changed.is_yes() {
        complain(format!(
            "the pass returns {:?}, but the model {}",
            run.changed,
            if is_changed { "changed" } else { "did not change" }
        ));
    }
    if let Err(error) = check::structure(&run.model) {
        complain(format!("the result is no valid graph: {error}"));
    }
    if run.model.signature() != model.signature() {
        complain("the signature changed".to_owned());
    }
    match run_pipeline(golden, &run.model) {
        Err(error) => complain(format!("a second run fails: {error}")),
        Ok(_) if run.effect == Effect::Lossy && golden.may_change_again => {}
        Ok(again) => {
            let text = print(&again.model);
            if text != after {
                complain(format!("a second run changes the graph once more:\n{text}"));
            } else if run.effect < Effect::Lossy && again.changed.is_yes() {
                complain("a second run says it changed something".to_owned());
            }
        }
    }
    if golden.is_executed
        && is_changed
        && let Err(complaint) = execute::compare(model, &run.model, run.effect)
    {
        complain(complaint);
    }
    let remarks: String = run.remarks.iter().map(remark_line).collect();
    outcome.sections = Some(Sections { before: print(model), after, remarks });
}

/// The file of a model.
pub(super) fn bytes(model: &Model) -> bytes::Bytes {
    onnx::encode(model, &EncodeOptions::default()).unwrap_or_else(|e| panic!("{e}")).to_bytes()
}

fn remark_line(remark: &Remark) -> String {
    let kind = match remark.kind {
        RemarkKind::Applied => "applied",
        RemarkKind::Skipped => "skipped",
        RemarkKind::Note => "note",
    };
    let site = if remark.site.is_empty() { String::new() } else { format!(" {}", remark.site) };
    let figures: Vec<String> =
        remark.figures.iter().map(|(name, value)| format!("{name}={}", three_digits(*value))).collect();
    let figures = if figures.is_empty() { String::new() } else { format!(" ({})", figures.join(", ")) };
    format!("{kind}{site}: {}{figures}\n", remark.text)
}

/// A number rounded to three significant digits.
fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

#[test]
fn figures_have_three_significant_digits() {
    assert_eq!([1234.5, 0.012_345, 7.0, -99.96].map(three_digits), [1230.0, 0.0123, 7.0, -100.0]);
}
