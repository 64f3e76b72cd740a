//! `fp16`: weights in 16 bits.
//!
//! ```text
//! < float[512,512] w >         =>     < float16[512,512] w_f16 >
//! y = MatMul(x, w)                    w = Cast<to = 1>(w_f16)     y = MatMul(x, w)
//!
//! < float[30522,384] table >   =>     < float16[30522,384] table >
//! y = Gather(table, ids)              y_f16 = Gather(table, ids)     y = Cast<to = 1>(y_f16)
//! ```
//!
//! The arithmetic stays what it was. Runtimes compute the Cast of a constant once, when they load the model; entries of
//! a large table are looked up first, so that the table stays small in memory too. A constant keeps its name, so whoever
//! reads it, in whatever graph, reads on.
//!
//! The errors of the weights of a channel cancel: a few weights are rounded to the second closest number for that. A tensor
//! loses no more than rounding of ordinary values takes, 66 dB of signal to noise. One of values so small that `float16`
//! has fewer digits for them is kept times a power of two, which a Mul takes back exactly. Left as they are
//! 1. what `exclude` names, as an operator or a tensor;
//! 2. tensors with a number beyond 65504, which is never clamped, and those whose values are too far apart;
//! 3. biases and other vectors, and tensors of fewer than `min-elements`: they are a small part of a model and of
//!    large effect, and each Cast takes bytes, too;
//! 4. constants that are inputs or outputs of a graph, or that other parts of the file name;
//! 5. what operators of quantization and of other operator sets read: they may need a constant.
//!
//! ```text
//! // compute=f16
//! < float[512,512] w >         =>     < float16[512,512] w >
//! a = MatMul(x, w)                    x_f16 = Cast<to = 10>(x)    a = MatMul(x_f16, w)
//! y = Exp(a)                          a_f32 = Cast<to = 1>(a)     y = Exp(a_f32)
//! ```
//!
//! makes the arithmetic of the main graph, and of the graphs inside of it, one of `float16`; inputs and outputs stay what they
//! are, unless `io=convert` gives callers `float16` too, and so does what goes in and out of loops. Float stay, with a Cast before and after, operators
//! 1. that have no `float16` by their schema, or are none of ONNX itself; inputs that are floats by their schema, too;
//! 2. whose results grow fast, that sum many numbers, magnify errors of small numbers, carry a state, read positions;
//! 3. that read a constant which does not fit, or what such a constant may have made too large, up to where a Softmax,
//!    a normalization or the like makes it small again; with calibration data, what was seen decides instead;
//! 4. that compute sizes and positions with what was cast from integers;
//! 5. of quantized arithmetic, random ones, those on sequences, calls of functions, and those that `exclude` names.
//!
//! Constants that only such operators read are kept as without the option.

use super::common::half::{self, Half, HalfType};
use crate::pass::{Effect, PassInfo, Scope};

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fp16",
    summary: "16-bit float weights, half the size at the same speed; on request 16-bit arithmetic",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    // Below, Mul does not broadcast.
    min_opset: Some(7),
    may_grow: false,
    options: &[half::compute(&["f32", "f16"]), half::IO, half::MIN_ELEMENTS, half::EXCLUDE],
    build: |opts| Ok(Box::new(Half::new(HalfType::F16, opts)?)),
};
