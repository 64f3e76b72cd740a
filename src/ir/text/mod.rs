//! ONNX's own textual syntax, as `onnx.parser` and `onnx.printer` implement it, with a few extensions.
//!
//! ```text
//! <ir_version: 8, opset_import: ["" : 17]>
//! g (float[N,3] x) => (float[N,2] y) <
//!   float[3,2] w = {1, 2, 3, 4, 5, 6},
//!   float[N,3] a
//! > {
//!   a = Identity(x)
//!   [fc] y = Gemm<alpha = 0.5>(a, w)
//! }
//! ```
//!
//! # Extensions
//! - `// ` begins a comment, like ONNX's `#`, anywhere between tokens.
//! - The header may be left out: operator set 17, IR version 10, version 1 of every other domain in use.
//! - `= rand(SEED)` and `= iota` fill a tensor; `= #0123456789abcdef` stands for data left out. It can be printed and
//!   compared, not parsed.
//! - float16 and bfloat16 elements with a decimal point or an exponent are values; without one they are bit patterns,
//!   as in ONNX. A hexadecimal literal is the bit pattern of any float: a NaN with a payload.
//! - `b"\xff"` is a string that is not UTF-8.
//! - Operators, domains, attributes and overloads whose names are no identifiers are quoted, as ONNX quotes values.
//! - Lists of graphs, tensors and types as attributes; sparse tensors as `sparse_tensor(float[9]) {VALUES, INDICES}`.
//! - `?` for an unknown element type.
//! - `@{doc_string: "...", metadata_props: ["key": "value"]}` after an operator, after a value in a list, or before the
//!   body of a graph; `denotation` after a value, `quantization_annotation` before the body of a graph.
//!
//! Elements of 2 and 4 bits are written one by one, and packed; ONNX's own parser does not pack them. Not carried:
//! training graphs, device configurations, denotations of dimensions, doc strings of attributes and tensors.

mod element;
mod fill;
mod lexer;
mod parse;
mod print;
#[cfg(test)]
mod tests;

pub use parse::parse;
pub use print::{PrintOptions, print, write};
