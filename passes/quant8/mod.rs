//! `quant8`: weights, and with calibration data activations too, in 8 bits.
//!
//! `mode=weights` stores weights as int8 with one scale a channel and leaves the arithmetic in float: a quarter of the
//! size at the same speed. `mode=static` makes Conv, Gemm and MatMul compute in integers, with ranges of activations
//! measured on calibration data: a quarter of the size, and several times the speed where the processor has the
//! instructions. What static leaves in float gets its weights quantized as `weights` does.

mod affine;
mod options;
mod role;
mod weights;

use crate::error::Result;
use crate::ir::Model;
use crate::pass::{Changed, Cx, Effect, Pass, PassInfo, Scope};
use options::Settings;

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "quant8",
    summary: "8-bit weights and, with calibration data, 8-bit arithmetic",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    // Below, Mul does not broadcast.
    min_opset: Some(7),
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
        weights::quantize(model, &self.settings, cx)
    }
}
