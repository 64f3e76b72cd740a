//! Runs the pipeline of a golden and checks what every pass promises.

use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::Model;
use onnx_shrink::ir::text::{self, PrintOptions};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, Run, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::report::RemarkReport;
use onnx_shrink::pass::{Effect, Env, RemarkKind, Scratch};
use onnx_shrink::{ErrorKind, Result};

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
        (None, Ok(done)) => examine(golden, &model, &done, &mut outcome),
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

/// A model after a run, and what the run says of it.
struct Done {
    model: Model,
    run: Run,
}

fn run_pipeline(golden: &Golden, model: &Model) -> Result<Done> {
    let calibration = golden.calibration.as_ref().map(|spec| samples(spec, model)).transpose()?;
    let scratch = Scratch::in_memory();
    let env = Env { calibration: calibration.as_deref(), ..Env::plain(&scratch) };
    let mut model = model.clone();
    let plan = golden.pipeline.parse::<Pipeline>()?.plan()?;
    let run = manager::run(plan, &mut model, &env, &RunOptions::default())?;
    Ok(Done { model, run })
}

/// Opens seeded data for a model.
pub(super) fn samples(spec: &str, model: &Model) -> Result<Box<dyn Samples>> {
    let (signature, hints) = (model.signature(), Hints::from_graph(&model.graph));
    data::open(spec, &DataOptions { signature: &signature, seed: 0, hints: &hints, limit: None })
}

/// Holds a run against the promises of the passes that ran. The manager checked structure and signature.
fn examine(golden: &Golden, model: &Model, done: &Done, outcome: &mut Outcome) {
    let options =
        PrintOptions { full_data_up_to_elements: golden.full_data_up_to_elements, header: golden.has_header() };
    let print = |model: &Model| text::print(model, &options);
    let after = print(&done.model);
    let is_changed = bytes(model) != bytes(&done.model);
    let effect = done.run.steps.iter().map(|step| step.effect).max().unwrap_or(Effect::Exact);
    let mut complain = |what: String| outcome.complaints.push(what);

    let says_changed = done.run.changed().is_yes();
    if is_changed != says_changed {
        let verb = |changed| if changed { "changed" } else { "did not change" };
        complain(format!("the run says the model {}, but it {}", verb(says_changed), verb(is_changed)));
    }
    match run_pipeline(golden, &done.model) {
        Err(error) if golden.may_change_again && error.kind() == ErrorKind::Usage => {}
        Err(error) => complain(format!("a second run fails: {error}")),
        Ok(_) if effect == Effect::Lossy && golden.may_change_again => {}
        Ok(again) => {
            let text = print(&again.model);
            if text != after {
                complain(format!("a second run changes the graph once more:\n{text}"));
            } else if effect < Effect::Lossy && again.run.changed().is_yes() {
                complain("a second run says it changed something".to_owned());
            }
        }
    }
    if golden.is_executed
        && is_changed
        && let Err(complaint) = execute::compare(model, &done.model, effect)
    {
        complain(complaint);
    }
    let remarks: String = done.run.steps.iter().flat_map(|step| &step.remarks).map(remark_line).collect();
    outcome.sections = Some(Sections { before: print(model), after, remarks });
}

/// The file of a model.
pub(super) fn bytes(model: &Model) -> bytes::Bytes {
    onnx::encode(model, &EncodeOptions::default()).unwrap_or_else(|e| panic!("{e}")).to_bytes()
}

fn remark_line(remark: &RemarkReport) -> String {
    let kind = match remark.kind {
        RemarkKind::Applied => "applied",
        RemarkKind::Skipped => "skipped",
        RemarkKind::Note => "note",
    };
    let site = remark.at.as_ref().map(|site| format!(" {site}")).unwrap_or_default();
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
