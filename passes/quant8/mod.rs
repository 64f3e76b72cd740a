//! `quant8`: weights, and with calibration data activations too, in 8 bits.
//!
//! `mode=weights` stores weights as int8 with one scale a channel and leaves the arithmetic in float: a quarter of the
//! size at the same speed. `mode=static` makes Conv, Gemm and MatMul compute in integers, with ranges of activations
//! measured on calibration data: a quarter of the size, and several times the speed where the processor has the
//! instructions. What static leaves in float gets its weights quantized as `weights` does. `mode=dynamic` makes MatMul and
//! Gemm compute in integers without calibration data, by measuring the range of their activations on every run.

mod affine;
mod base;
mod calibrate;
mod dynamic;
mod kernel;
mod levels;
mod merged;
mod observe;
mod options;
mod plan;
mod platform;
mod qdq;
pub(super) mod quant16;
mod quantized;
mod range;
mod repair;
mod saturate;
mod search;
mod select;
mod split;
mod taps;
mod weights;
mod within;

use base::Base;

use crate::backend::NamedTensors;
use crate::data::Samples;
use crate::error::{Error, ErrorKind, Result};
use crate::ir::Model;
use crate::pass::{Changed, Cx, Effect, Env, Pass, PassInfo, Scope};
use crate::passes::common::goal::Goal;
use options::{Mode, Settings};

/// QuantizeLinear and DequantizeLinear with a scale a channel came with this operator set.
const FIRST_STATIC_OPSET: i64 = 13;

/// What `auto` reaches on every output: less is of no use to most.
const DEFAULT_TARGET_DB: f64 = 20.0;

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "quant8",
    summary: "8-bit weights and, with calibration data, 8-bit arithmetic",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    // Below, Mul does not broadcast.
    min_opset: Some(7),
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(Quant8 { settings: Settings::new(opts) })),
};

#[derive(Debug)]
struct Quant8 {
    settings: Settings,
}

impl Pass for Quant8 {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        self.settings.selection.check(model)?;
        if let Some(found) = quantized::found(model)?.filter(|_| !self.settings.selection.is_chosen()) {
            cx.note(format!("left alone, since it is quantized already: {found}; only=NAME quantizes more of it"));
            return Ok(Changed::No);
        }
        let files = cx.env.statistics;
        if matches!(self.settings.mode, Mode::Weights | Mode::Dynamic)
            && (files.write.is_some() || !files.read.is_empty())
        {
            cx.note("statistics of activations are neither read nor written: this mode uses none");
        }
        match self.settings.mode {
            Mode::Weights => self.quantize_weights(model, cx),
            Mode::Static => {
                let samples = samples(cx.env).ok_or_else(|| self.no_data())?;
                Ok(self.quantize_by_measuring(model, samples, self.settings.goal, cx)?.0)
            }
            Mode::Dynamic => dynamic::quantize(model, &self.settings, cx),
            Mode::Auto => self.quantize_what_serves(model, cx),
        }
    }
}

/// What ranges are measured on; where statistics of it were given, the data itself need not be there.
fn samples<'a>(env: &Env<'a>) -> Option<&'a dyn Samples> {
    let recorded = (!env.statistics.read.is_empty()).then_some(&Recorded as &dyn Samples);
    env.calibration.or(recorded)
}

/// Data of which only statistics are left.
#[derive(Debug)]
struct Recorded;

impl Samples for Recorded {
    fn len(&self) -> usize {
        1
    }

    fn get(&self, _: usize) -> Result<NamedTensors> {
        Err(Error::usage("quantization needs calibration data for what the statistics do not tell")
            .expected("statistics that were recorded with the same options, and no `target`")
            .help("give the data with --inputs"))
    }

    fn label(&self, _: usize) -> Option<Vec<i64>> {
        None
    }

    fn describe(&self) -> String {
        "statistics".to_owned()
    }
}

impl Quant8 {
    fn no_data(&self) -> Error {
        let step = if self.settings.pass == INFO.name { "quant8=static" } else { self.settings.pass };
        Error::usage(format!("`{step}` measures ranges of activations and needs calibration data"))
            .found("no inputs")
            .help("give some with --inputs, or quantize only the weights: quant8=weights")
    }

    /// Weights alone, within the target.
    fn quantize_weights(&self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let levels = within::levels(model, &self.settings, cx)?;
        weights::quantize(model, &self.settings.with_levels(levels), cx)
    }

    /// Puts the best candidate in the place of the model, and says how many of its operators compute in integers.
    fn quantize_by_measuring<'a>(
        &self,
        model: &mut Model,
        samples: &'a dyn Samples,
        goal: Option<Goal>,
        cx: &mut Cx<'a>,
    ) -> Result<(Changed, usize)> {
        let mut base = Base::new(model, &self.settings, samples, cx.env)?;
        let candidate = match goal {
            Some(goal) => search::search(&mut base, model, &self.settings, goal, cx)?,
            None => {
                base.learn(std::slice::from_ref(&self.settings))?;
                base.candidate(&self.settings)?
            }
        };
        if candidate.kernels == 0 {
            // Nothing that a newer operator set would be needed for. Planning again says what stays float, and why.
            let settings = self.settings.with_levels(candidate.levels);
            let _ = base.plan(&settings, cx);
            return Ok((weights::quantize(model, &settings, cx)?, 0));
        }
        *model = candidate.model;
        cx.append(candidate.remarks);
        if !self.settings.platform.is_known {
            cx.note(
                "for runtimes that compute with 16-bit activations: those of processors restore floats around every \
                 operator instead, and take longer than for the float model",
            );
        }
        Ok((candidate.changed, candidate.kernels))
    }

    /// Quantizes activations where calibration data, operator set and backend allow it, and says why not otherwise.
    fn quantize_what_serves(&self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let Some(samples) = samples(cx.env) else {
            cx.note("weights: arithmetic stays float, since no calibration data was given");
            return self.quantize_weights(model, cx);
        };
        let goal = match cx.env.calibration {
            Some(_) => self.settings.goal.or(Some(Goal { snr_db: Some(DEFAULT_TARGET_DB), ..Goal::default() })),
            None => {
                cx.note("how far the result drifts was not measured: there are statistics, but no data to run it on");
                self.settings.goal
            }
        };
        let reason = match self.quantize_by_measuring(model, samples, goal, cx) {
            Ok((changed, 0)) => {
                cx.note("weights: arithmetic stays float, since there is no operator that integers serve");
                return Ok(changed);
            }
            Ok((changed, _)) => {
                cx.note("static: integer arithmetic, with ranges measured on the calibration data");
                return Ok(changed);
            }
            Err(error) if error.kind() == ErrorKind::CannotValidate => {
                format!("the model could not be run on the calibration data: {}", error.what())
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => error.what().to_owned(),
            Err(error) => return Err(error),
        };
        cx.note(format!("weights: arithmetic stays float, since {reason}"));
        self.quantize_weights(model, cx)
    }
}
