//! `quant8`: weights, and with calibration data activations too, in 8 bits.
//!
//! `mode=weights` stores weights as int8 with one scale a channel and leaves the arithmetic in float: a quarter of the
//! size at the same speed. `mode=static` makes Conv, Gemm and MatMul compute in integers, with ranges of activations
//! measured on calibration data: a quarter of the size, and several times the speed where the processor has the
//! instructions. What static leaves in float gets its weights quantized as `weights` does.

mod affine;
mod calibrate;
mod kernel;
mod options;
mod plan;
mod qdq;
mod range;
mod role;
mod static_;
mod weights;

use crate::error::{Error, ErrorKind, Result};
use crate::ir::Model;
use crate::pass::{Changed, Cx, Effect, Pass, PassInfo, Scope};
use options::{Mode, Settings};

/// QuantizeLinear and DequantizeLinear with a scale a channel came with this operator set.
const FIRST_STATIC_OPSET: i64 = 13;

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
        self.settings.check_names(model)?;
        let mut changed = match self.settings.mode {
            Mode::Weights => Changed::No,
            Mode::Static => self.quantize_activations(model, cx)?,
            Mode::Auto => self.quantize_activations_if_possible(model, cx)?,
        };
        changed |= weights::quantize(model, &self.settings, cx)?;
        Ok(changed)
    }
}

impl Quant8 {
    fn quantize_activations(&self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let Some(samples) = cx.env.calibration else {
            return Err(Error::usage("`quant8=static` measures ranges of activations and needs calibration data")
                .found("no inputs")
                .help("give some with --inputs, or quantize only the weights: quant8=weights"));
        };
        let opset = model.opset();
        if opset < FIRST_STATIC_OPSET {
            return Err(Error::usage("`quant8=static` needs a newer operator set than the model has")
                .expected(format!("version {FIRST_STATIC_OPSET} or later of the default operator set"))
                .found(format!("version {opset}"))
                .help("raise it first, upgrade-opset=13,quant8=static, or quantize only the weights: quant8=weights"));
        }
        static_::quantize(model, &self.settings, samples, cx)
    }

    /// Quantizes activations where calibration data, operator set and backend allow it, and says why not otherwise.
    fn quantize_activations_if_possible(&self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let reason = match (cx.env.calibration, model.opset()) {
            (None, _) => "no calibration data was given".to_owned(),
            (_, opset) if opset < FIRST_STATIC_OPSET => {
                format!("operator set {opset} has no quantization of single channels, {FIRST_STATIC_OPSET} has")
            }
            _ => match self.quantize_activations(model, cx) {
                Ok(Changed::Yes) => {
                    cx.note("static: integer arithmetic, with ranges measured on the calibration data");
                    return Ok(Changed::Yes);
                }
                Ok(Changed::No) => "the main graph has no float operator that integers would serve".to_owned(),
                Err(error) if matches!(error.kind(), ErrorKind::CannotValidate | ErrorKind::Unsupported) => {
                    format!("the model could not be run on the calibration data: {}", error.what())
                }
                Err(error) => return Err(error),
            },
        };
        cx.note(format!("weights: arithmetic stays float, since {reason}"));
        Ok(Changed::No)
    }
}
