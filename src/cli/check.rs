//! `onnx-shrink check REFERENCE CANDIDATE`.

use onnx_shrink::Result;
use onnx_shrink::check::{CheckOptions, Checked, check};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::shrink::Status;

use super::args::{CheckArgs, Running};
use super::progress::Bars;
use super::{drift_table, to_stdout, to_stdout_json};

/// Runs the command; a candidate that drifted too far is an error after the comparison.
pub(super) fn run(args: &CheckArgs) -> Result<()> {
    let Running { max_drift, backend, seed } = &args.running;
    let options = CheckOptions {
        inputs: args.inputs.clone(),
        gates: max_drift.iter().map(|gate| gate.parse()).collect::<Result<_>>()?,
        backend: backend.parse()?,
        seed: *seed,
        narrowing: Pipeline::default().after(args.narrowing.steps()?),
    };
    let Checked { report, refusal } = check(&args.reference, &args.candidate, &options, &Bars::new(args.common.quiet))?;
    if args.json {
        to_stdout_json(&report)?;
    } else if !args.common.quiet {
        let validation = &report.validation;
        let mut text = String::new();
        if let Some(drift) = &validation.drift {
            text += &drift_table::render(drift);
            text += &drift_table::setting(drift, validation.data.as_deref().unwrap_or("no data"));
        }
        text += &drift_table::failures(&validation.failures);
        text += &match validation.status {
            Status::Passed => format!("within the gate: {}\n", validation.gates.join(", ")),
            Status::Identical => "identical, byte for byte\n".to_owned(),
            _ => String::new(),
        };
        to_stdout(text.as_bytes())?;
    }
    refusal.map_or(Ok(()), Err)
}
