//! The largest weights of a model, as layers that a recipe could leave alone.

use std::cmp::Reverse;
use std::fmt::Write;

use super::advice::Advice;
use super::quoted;
use crate::error::Result;
use crate::ir::{Model, Port};
use crate::pass::manager::{self, RunOptions};
use crate::pass::pipeline::Pipeline;
use crate::pass::{Env, Scratch};
use crate::report::words::{grouped, percent};

/// So many are shown.
const SHOWN: usize = 8;

/// Lists the layers under the names they have once the model is simplified, which is when lossy passes see them.
///
/// # Errors
/// Fails where simplifying does.
pub(super) fn write(text: &mut String, model: &Model, advice: &Advice) -> Result<()> {
    if !advice.has_weights {
        return Ok(());
    }
    let mut simple = model.clone();
    let scratch = Scratch::in_memory();
    manager::run("simplify".parse::<Pipeline>()?.plan()?, &mut simple, &Env::plain(&scratch), &RunOptions::default())?;
    let graph = &simple.graph;
    let (mut layers, mut total) = (Vec::new(), 0);
    for value in graph.values() {
        let Some(tensor) = graph.constant(value).filter(|tensor| tensor.dtype().is_float()) else { continue };
        total += tensor.byte_len();
        let uses = graph.uses(value);
        let reader = uses.iter().find(|reading| matches!(reading.port, Port::In(_)));
        if let Some(reader) = reader.filter(|_| tensor.rank() >= 2) {
            let operator = graph.node(reader.node).op_type().to_owned();
            layers.push((tensor.byte_len(), graph.node_label(reader.node), operator, tensor.type_text()));
        }
    }
    layers.sort_by_key(|layer| Reverse(layer.0));
    layers.dedup_by(|one, other| one.1 == other.1);
    if layers.is_empty() {
        return Ok(());
    }
    *text += "\n# Single layers, by name, `*` standing for any characters. The largest:\n";
    for (bytes, name, operator, ty) in layers.iter().take(SHOWN) {
        let share = percent(*bytes as f64 / total.max(1) as f64);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# [layer.{}]  # {operator}, {ty}, {} bytes, {share}", quoted(name), grouped(*bytes));
        *text += "# exclude = true\n";
    }
    Ok(())
}
