//! What the specification says of every operator in every version: attributes with defaults, inputs, outputs, types.
//!
//! [`schema`] finds the facts, [`attribute`] and its typed forms read an attribute of a node with the default that the
//! node's version gives it, and [`check`](check()) lists where a model departs from what its operator sets allow.
//! The facts lie in `operators.txt`, which `operators.py` writes; they cover the domains of ONNX and `com.microsoft`.

mod attribute;
mod check;
mod parse;
mod schema;
mod table;
pub mod upgrade;

pub use attribute::{attribute, float, floats, int, ints, string, strings};
pub use check::check;
pub use schema::{AllowedType, Arity, AttrKind, AttrSchema, Formal, Schema};
pub use table::{all, domains, latest, latest_opset, schema, versions};
