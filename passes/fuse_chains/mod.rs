//! Merges neighbours of a kind, and drops pairs that undo each other.
//!
//! ```text
//! a = Transpose<perm = [0, 2, 1]>(x)      =>   y = Relu(x)
//! b = Transpose<perm = [0, 2, 1]>(a)
//! c = Relu(b)
//! y = Relu(c)
//! ```
//!
//! The rules lie in [`layout`] (Transpose, Reshape, Squeeze, Unsqueeze, Slice, Pad), [`parts`] (Concat, Split, Slice, Shape),
//! [`reduce`] (reductions, and axes they drop or keep), [`order`] (Transpose and Expand past operators that work element by
//! element) and [`values`] (Cast, Not, Neg, Relu, Clip, Max, Min, Where, QuantizeLinear). What comes first may have other
//! readers where that costs nothing: it stays for them.
//!
//! Left alone are
//! 1. a Reshape to a shape that is computed; also one with a 0, which stands for an extent of the shape in between, unless
//!    the shapes before and after both are known;
//! 2. conversions through a type that does not hold every value of the first one;
//! 3. axes counted from the back where the number of axes is not known;
//! 4. operators whose input is read elsewhere too, where nothing would be saved;
//! 5. sums of sums: another order of additions rounds in another way.

mod layout;
mod order;
mod parts;
mod reduce;
mod values;

use super::common::merge::{self, Rule};
use crate::error::Result;
use crate::ir::Model;
use crate::pass::{Changed, Cx, Effect, Opts, Pass, PassInfo, Scope};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fuse-chains",
    summary: "merges neighbours of a kind, such as Transpose, Reshape, Slice, Clip, and drops pairs that undo each other",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[],
    build,
};

/// By the pair of operators that remarks name.
const RULES: &[Rule] = &[
    ("Transpose of Transpose", layout::transpose_of_transpose),
    ("Transpose around others", order::transpose_around),
    ("operator of Transposes", order::operator_of_transposes),
    ("Concat of Transposes", order::concat_of_transposes),
    ("operator of Expand", order::operator_of_expand),
    ("Reshape of Reshape", layout::reshape_of_reshape),
    ("Squeeze of Unsqueeze", layout::squeeze_of_unsqueeze),
    ("Squeeze of Squeeze", layout::squeeze_of_squeeze),
    ("Unsqueeze of Squeeze", layout::unsqueeze_of_squeeze),
    ("Unsqueeze of Unsqueeze", layout::unsqueeze_of_unsqueeze),
    ("Unsqueeze of a reduction", reduce::unsqueeze_of_reduction),
    ("Squeeze of a reduction", reduce::squeeze_of_reduction),
    ("reduction of a reduction", reduce::extreme_of_extreme),
    ("Squeeze of Slice", layout::squeeze_of_slice),
    ("Slice of Slice", layout::slice_of_slice),
    ("Slice of Shape", parts::slice_of_shape),
    ("Concat of Concat", parts::concat_of_concat),
    ("Concat of Split", parts::concat_of_split),
    ("Split of Concat", parts::split_of_concat),
    ("Concat of Slices", parts::concat_of_slices),
    ("Pad of Pad", layout::pad_of_pad),
    ("Cast of Cast", values::cast_of_cast),
    ("pair that undoes itself", values::involution),
    ("repetition", values::repetition),
    ("Clip of Clip", values::clip_of_clip),
    ("Clip of Relu", values::clip_of_relu),
    ("Relu of Clip", values::relu_of_clip),
    ("Max or Min of the same", values::variadic),
    ("Where of Not", values::where_of_not),
    ("QuantizeLinear of DequantizeLinear", values::quantize_of_dequantize),
];

#[derive(Debug)]
struct FuseChains;

fn build(_: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FuseChains))
}

impl Pass for FuseChains {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        merge::run(RULES, model, cx)
    }
}
