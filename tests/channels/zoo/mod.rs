//! Small nets of many architectures, built as exporters write them.

mod attention;
mod dense;
mod generative;
mod mobile;
mod plain;
mod recurrent;
mod residual;

use onnx_shrink::ir::Model;

/// Every net with its name.
pub fn all() -> Vec<(&'static str, Model)> {
    [plain::all(), residual::all(), dense::all(), mobile::all(), generative::all(), attention::all(), recurrent::all()]
        .into_iter()
        .flatten()
        .collect()
}
