//! `quant16`: activations of 16 bits and weights of 8, for accelerators that compute with them (W8A16).
//!
//! ```text
//! y = Conv(x, w, b)   =>   x_q = QuantizeLinear(x, x_scale, x_zero)    x_d = DequantizeLinear(x_q, x_scale, x_zero)
//!                          w = DequantizeLinear(w_int8, w_scales)      b_d = DequantizeLinear(b_int32, b_scales)
//!                          y_f = Conv(x_d, w, b_d)                     y = DequantizeLinear(QuantizeLinear(y_f, ..), ..)
//! ```
//!
//! What `quant8=static` does, with zero points of `uint16`: the step of an activation is 257 times finer, so that next to
//! nothing is lost but what 8-bit weights lose. It is for models whose activations 8 bits do not hold. The pairs are ONNX's
//! own from operator set 21 on. Neural processors have kernels for them; ONNX Runtime's for processors do not, and compute
//! the pairs one by one, slower than the float model: that is for checking a result, not for running it. So nothing is timed
//! here, and no operator is left in float because processors would gain nothing.
//!
//! Left as they are
//! 1. what `exclude` names, what `only` does not name, and models that are quantized already;
//! 2. what `quant8=static` leaves: weights that are computed or shared with a graph inside, activations that are not finite;
//! 3. what costs most drift, where `target` is not reached otherwise.

use super::Quant8;
use super::options::{EXCLUDE, MIN_ELEMENTS, OBSERVER, ONLY, PERCENTILE, Settings};
use crate::pass::{Effect, OptKind, OptSpec, PassInfo, Scope};

/// What a user reads about the pass.
pub(in crate::passes) const INFO: PassInfo = PassInfo {
    name: "quant16",
    summary: "16-bit activations with 8-bit weights, for neural processors that compute with them; needs inputs",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    // QuantizeLinear has 16 bits from there on.
    min_opset: Some(21),
    may_grow: false,
    options: &[
        OptSpec {
            key: "target",
            kind: OptKind::Float,
            default: Some("30"),
            help: "the least signal-to-noise ratio in dB of any output, before a last Softmax or Sigmoid: what costs most of \
                   it stays float; 0: do not measure",
        },
        OBSERVER,
        PERCENTILE,
        ONLY,
        EXCLUDE,
        MIN_ELEMENTS,
    ],
    build: |opts| Ok(Box::new(Quant8 { settings: Settings::with_sixteen_bits(INFO.name, opts) })),
};
