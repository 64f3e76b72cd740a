//! What a graph is made of: each entry adds one operator, or the few that go together, where it finds what they read.

mod combine;
mod control;
mod elementwise;
mod function;
mod layout;
mod neural;
mod pairs;
mod patterns;
mod quantize;
mod reduce;
mod repeat;
mod select;
mod shapes;
mod width;

use super::draft::Draft;

/// Adds operators to a draft; `None` where no value fits, and then the draft is as it was but for unread constants.
pub(crate) type Draw = fn(&mut Draft, &str) -> Option<()>;

/// An entry: the operator it is about, since which operator set there is one, and how to add it.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) op: &'static str,
    pub(crate) since: i64,
    pub(crate) draw: Draw,
}

/// Every entry.
pub(crate) fn all() -> Vec<Entry> {
    let families: [&[(&'static str, i64, Draw)]; 14] = [
        elementwise::ENTRIES,
        combine::ENTRIES,
        select::ENTRIES,
        neural::ENTRIES,
        reduce::ENTRIES,
        layout::ENTRIES,
        shapes::ENTRIES,
        control::ENTRIES,
        quantize::ENTRIES,
        pairs::ENTRIES,
        patterns::ENTRIES,
        repeat::ENTRIES,
        function::ENTRIES,
        width::ENTRIES,
    ];
    families.concat().into_iter().map(|(op, since, draw)| Entry { op, since, draw }).collect()
}

/// Adds one entry at random.
pub(crate) fn add_any(draft: &mut Draft, entries: &[Entry]) {
    let entry = draft.one_of(entries);
    if draft.opset >= entry.since {
        // Nothing fits: another entry's turn.
        let _ = (entry.draw)(draft, entry.op);
    }
}

/// Results stay below, so that nothing overflows and single precision resolves sums.
const MAX_PEAK: f64 = 1e4;

/// Tensors stay below, so that thousands of graphs run in minutes.
const MAX_ELEMENTS: i64 = 4096;

/// A list attribute.
fn list(values: &[i64]) -> String {
    format!("[{}]", values.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))
}

/// The shape two shapes broadcast to.
fn broadcast(a: &[i64], b: &[i64]) -> Option<Vec<i64>> {
    let rank = a.len().max(b.len());
    let extent = |shape: &[i64], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let join = |axis| match (extent(a, axis), extent(b, axis)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    };
    let shape: Vec<i64> = (0..rank).map(join).collect::<Option<_>>()?;
    (shape.iter().product::<i64>() <= MAX_ELEMENTS).then_some(shape)
}
