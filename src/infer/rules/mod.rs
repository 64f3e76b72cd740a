//! The rules of operators, one file a family.

mod arithmetic;
mod attention;
mod classical;
mod contrib;
mod conv;
mod elementwise;
mod gather;
mod generate;
mod matmul;
mod normalize;
mod quantize;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod sequence;
mod slice;

use super::cx::Rule;

/// The rule of an operator; `None` where there is none, and its outputs have what the specification says of their
/// element types.
pub(super) fn of(domain: &str, op_type: &str) -> Option<Rule> {
    match domain {
        "" => [
            elementwise::rule,
            conv::rule,
            matmul::rule,
            reshape::rule,
            slice::rule,
            gather::rule,
            reduce::rule,
            normalize::rule,
            generate::rule,
            resize::rule,
            quantize::rule,
            recurrent::rule,
            sequence::rule,
            attention::rule,
        ]
        .into_iter()
        .find_map(|family: fn(&str) -> Option<Rule>| family(op_type)),
        "com.microsoft" => contrib::rule(op_type),
        "ai.onnx.ml" => classical::rule(op_type),
        _ => None,
    }
}
