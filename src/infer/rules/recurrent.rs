//! Recurrent layers.

use crate::infer::cx::{Cx, Rule, fixed};
use crate::infer::fact::Extent;

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "LSTM" | "GRU" | "RNN" => recurrent,
        _ => return None,
    })
}

/// `[S, B, I]` to `[S, D, B, H]` and the last states, `[D, B, H]`; with layout 1 the batch comes first.
pub(super) fn recurrent(cx: &mut Cx<'_, '_>) -> Option<()> {
    let directions = fixed(if cx.text("direction") == Some("bidirectional") { 2 } else { 1 });
    let hidden = cx.int("hidden_size").filter(|size| *size > 0).map_or_else(|| recurrence_width(cx), fixed);
    let input: [Extent; 3] = cx.shape(0).and_then(|shape| shape.try_into().ok()).unwrap_or_default();
    let batch_first = cx.int("layout") == Some(1);
    let [first, second, width] = input;
    let (sequence, batch) = if batch_first { (second, first) } else { (first, second) };
    for slot in [5, 6] {
        let state = cx.shape(slot).unwrap_or_default();
        cx.state.merge(&batch, state.get(if batch_first { 0 } else { 1 }).unwrap_or(&None));
    }
    // DynamicQuantizeLSTM keeps its weights turned.
    if cx.node.op_type() != "DynamicQuantizeLSTM"
        && let Some(weight) = cx.shape(1)
    {
        cx.state.merge(&width, weight.get(2).unwrap_or(&None));
    }
    let (whole, last) = if batch_first {
        (vec![batch.clone(), sequence, directions.clone(), hidden.clone()], vec![batch, directions, hidden])
    } else {
        (vec![sequence, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden])
    };
    cx.set_shape(0, whole);
    cx.set_shape(1, last.clone());
    cx.set_shape(2, last);
    Some(())
}

/// The hidden size that the recurrence weight `[D, gates * H, H]` tells.
fn recurrence_width(cx: &Cx<'_, '_>) -> Extent {
    let [_, _, width]: [Extent; 3] = cx.shape(2)?.try_into().ok()?;
    // DynamicQuantizeLSTM keeps its weights turned, so that the last extent counts gates.
    if cx.node.op_type() == "DynamicQuantizeLSTM" { None } else { width }
}
