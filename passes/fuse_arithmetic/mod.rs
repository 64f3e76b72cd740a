//! Merges arithmetic that follows arithmetic, where the result is rounded once in the place of twice.
//!
//! ```text
//! a = Add(x, two)             =>   y = Add(x, five)
//! y = Add(a, three)
//!
//! h = HardSigmoid(Conv(p))    =>   h = Clip(Conv'(p), 1, 2)
//! y = x + x h                      y = Mul(x, h)
//! ```
//!
//! The rules lie in [`constants`] (Add, Sub, Mul, Div of constants), [`gate`] (a value and the same times a HardSigmoid) and
//! [`products`] (Reciprocal and Mul, Log and Softmax, Min and Max, Gemm and Transpose, Einsum, sums of sums).
//!
//! Left alone are
//! 1. additions of constants with different signs: adding a large number and taking it away again rounds on purpose;
//! 2. factors that are so large or small that the product in between could overflow; integers are divided as they are;
//! 3. what lies between and is read elsewhere too, or is an output;
//! 4. factors before weights, although the weights could take them: runtimes know Gelu by its factor;
//! 5. `Pow(x, 2)`: runtimes multiply by themselves, and know LayerNormalization by it.

mod constants;
mod gate;
mod products;

use super::common::merge::{self, Rule};
use crate::error::Result;
use crate::ir::Model;
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Scope};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fuse-arithmetic",
    summary: "merges arithmetic that follows arithmetic: constants added or multiplied in turn, Log of Softmax, Gemm of Transpose, gates",
    effect: Effect::Rounding,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// By the operators that remarks name.
const RULES: &[Rule] = &[
    ("sum of a sum", constants::sum_of_sum),
    ("product of a product", constants::product_of_product),
    ("gate", gate::gate),
    ("quotient", products::quotient),
    ("LogSoftmax", products::log_softmax),
    ("Clip", products::clip),
    ("Gemm of Transpose", products::gemm_of_transpose),
    ("MatMul", products::matmul_of_einsum),
    ("reduction of a reduction", products::reduction_of_reduction),
];

#[derive(Debug)]
struct FuseArithmetic;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FuseArithmetic))
}

impl Pass for FuseArithmetic {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        merge::run(RULES, model, cx)
    }
}
