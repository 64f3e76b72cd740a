//! `bf16`: weights in 16 bits, with the range of 32.
//!
//! ```text
//! < float[512,512] w >   =>   < bfloat16[512,512] w_bf16 >
//! y = MatMul(x, w)            w = Cast<to = 1>(w_bf16)     y = MatMul(x, w)
//! ```
//!
//! As `fp16`, with 8 significant bits instead of 11 and with every number that a `float` can be: 18 dB less, and nothing
//! too large or too small. It is for models trained in that type, whose weights lose nothing. Runtimes compute the Cast
//! once, when they load the model; those that have no `bfloat16` at all cannot load it. Cast knows the type from operator
//! set 13 on. What is left as it is, is what `fp16` leaves, and `compute=bf16` changes the arithmetic as `compute=f16` does.
//! Few runtimes have kernels for that: ONNX Runtime's for the processor refuses such a model, so that here nothing can
//! validate it.

use super::common::half::{self, Half, HalfType};
use crate::pass::{Effect, PassInfo, Scope};

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "bf16",
    summary: "16-bit weights with the range of 32-bit floats; on request 16-bit arithmetic",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    // Cast has bfloat16 from there on.
    min_opset: Some(13),
    may_grow: false,
    options: &[half::compute(&["f32", "bf16"]), half::IO, half::MIN_ELEMENTS, half::EXCLUDE],
    build: |opts| Ok(Box::new(Half::new(HalfType::BF16, opts)?)),
};
