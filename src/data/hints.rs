//! What a model does with its inputs, as far as synthetic data must know it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Hints, dims};
use crate::infer;
use crate::ir::{Dim, Graph, Model, NodeId, Port, ValueId, names_nothing};

/// Operators that hand the elements of their first input on as they are.
const CARRIERS: &[&str] = &[
    "Cast",
    "Concat",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Operators that compare.
const COMPARISONS: &[&str] = &["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"];

/// A constant with more elements is a table, not what a number is compared with.
const MAX_COMPARED: usize = 8;

/// More ways through a model than these are not tried.
const MAX_CHOICES: usize = 6;

impl Hints {
    /// Reads values of integer inputs off a graph: an input that ends up as the index of a table must stay inside it,
    /// and one that is compared with constants chooses between what the model can do.
    pub fn from_graph(graph: &Graph) -> Self {
        let mut hints = Self::default();
        for &input in graph.inputs() {
            let value = graph.value(input);
            if !value.dtype().is_some_and(|dtype| dtype.is_integer()) {
                continue;
            }
            let mut readings = Vec::new();
            follow(graph, input, &mut readings);
            let rows = readings.iter().filter_map(|reading| reading.table_rows()).min();
            if let Some(last) = rows.and_then(|rows| i64::try_from(rows).ok()?.checked_sub(1)).filter(|last| *last >= 0)
            {
                hints.integer_bounds.insert(value.name().to_owned(), (0, last));
            }
            let mut choices: Vec<i64> = Vec::new();
            for choice in readings.iter().flat_map(Reading::compared_with) {
                if choices.len() < MAX_CHOICES && !choices.contains(&choice) {
                    choices.push(choice);
                }
            }
            // Among many numbers, such as the words of a text, a constant marks the exceptions.
            if !choices.is_empty() && value.shape().is_some_and(|shape| shape.rank() <= 1) {
                hints.integer_choices.insert(value.name().to_owned(), choices);
            }
        }
        hints
    }

    /// [`Hints::from_graph`] of the main graph, and what its operators ask of the extents of inputs.
    pub fn from_model(model: &Model) -> Self {
        let hints = Self::from_graph(&model.graph);
        let demands = demands(model).unwrap_or_default();
        Self { demands, ..hints }
    }
}

/// What must hold of the dimensions of inputs, those without a name called by their place; `None` where nothing can be
/// inferred.
fn demands(model: &Model) -> Option<Vec<infer::Demand>> {
    let mut named = model.clone();
    for input in named.graph.inputs().to_vec() {
        let held = named.graph.value(input);
        let Some(mut shape) = held.ty().shape().cloned() else { continue };
        for (axis, dim) in shape.0.iter_mut().enumerate() {
            if matches!(dim, Dim::Unknown) || matches!(dim, Dim::Sym(name) if names_nothing(name)) {
                *dim = Dim::Sym(dims::axis_name(held.name(), axis).into());
            }
        }
        named.graph.declare_shape(input, &shape).ok()?;
    }
    Some(infer::infer(&named).ok()?.demands().to_vec())
}

/// One reading of a number: by an operator at an input slot.
struct Reading<'g> {
    graph: &'g Graph,
    node: NodeId,
    slot: u32,
}

/// Every reading of a value and of what carriers make of it, in graphs inside of this one, too.
fn follow<'g>(graph: &'g Graph, start: ValueId, readings: &mut Vec<Reading<'g>>) {
    let mut seen = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(value) = open.pop() {
        let name = graph.value(value).name();
        for reading in graph.uses(value) {
            let node = graph.node(reading.node);
            let Port::In(slot) = reading.port else {
                for inner in node.subgraphs() {
                    let captured = inner.graph.find_value(name).filter(|&value| inner.graph.value(value).is_outer());
                    captured.into_iter().for_each(|value| follow(&inner.graph, value, readings));
                }
                continue;
            };
            readings.push(Reading { graph, node: reading.node, slot });
            if node.does_any(CARRIERS) && (slot == 0 || node.does_any(&["Concat"])) {
                open.extend(
                    graph.node_outputs(reading.node).into_iter().flatten().filter(|&output| seen.insert(output)),
                );
            }
        }
    }
}

impl Reading<'_> {
    /// How many rows the table has that the operator looks up in.
    fn table_rows(&self) -> Option<u64> {
        let (graph, op) = (self.graph, self.graph.node(self.node));
        if op.does_any(&["Gather", "GatherElements"]) && self.slot == 1 {
            let shape = graph.value(graph.input(self.node, 0)?).shape()?;
            let axis = op.attr_int("axis", 0);
            let axis = if axis < 0 { axis + i64::try_from(shape.rank()).ok()? } else { axis };
            return shape.0.get(usize::try_from(axis).ok()?)?.fixed();
        }
        if op.does_any(&["OneHot"]) && self.slot == 0 {
            let depth = graph.constant(graph.input(self.node, 1)?)?;
            return depth.to_i64()?.first().and_then(|&depth| u64::try_from(depth).ok());
        }
        None
    }

    /// The constants the operator compares with; where it asks for more or less than one, what is just that first.
    fn compared_with(&self) -> Vec<i64> {
        let op = self.graph.node(self.node);
        if !op.does_any(COMPARISONS) {
            return Vec::new();
        }
        let other = self.graph.input(self.node, if self.slot == 0 { 1 } else { 0 });
        let constant = other.and_then(|other| self.graph.constant(other)).filter(|c| c.len() <= MAX_COMPARED);
        let numbers = constant.and_then(|constant| constant.to_i64()).unwrap_or_default();
        let step = match (op.op_type(), self.slot) {
            ("Greater", 0) | ("Less", 1) => 1,
            ("Greater", _) | ("Less", _) => -1,
            _ => 0,
        };
        let both = |number: i64| [number.saturating_add(step), number];
        let mut found: Vec<i64> = numbers.into_iter().flat_map(both).collect();
        let mut seen = BTreeMap::new();
        found.retain(|number| seen.insert(*number, ()).is_none());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::text;

    fn bounds(text: &str) -> Vec<(String, (i64, i64))> {
        let model = text::parse(text).unwrap_or_else(|e| panic!("{e}"));
        Hints::from_graph(&model.graph).integer_bounds.into_iter().collect()
    }

    #[test]
    fn follows_an_index_to_its_table() {
        let found = bounds(
            "g (int32[N] ids, int64[N] types) => (float[N,2] a, float[3,N] b)
             < float[5,2] words = rand(1), float[3,4] columns = rand(2) > {
               wide = Cast<to = 7>(ids)
               flat = Identity(wide)
               a = Gather(words, flat)
               b = Gather<axis = -1>(columns, types)
             }",
        );
        assert_eq!(found, [("ids".to_owned(), (0, 4)), ("types".to_owned(), (0, 3))]);
    }

    #[test]
    fn a_number_that_is_compared_takes_what_it_is_compared_with() {
        let model = text::parse(
            "g (int64 rate, int64[1] count, int64[N,S] words) => (bool y, bool[1] z, bool[N,S] w)
             < int64 high = {16000}, int64[1] few = {3}, int64 pad = {0} > {
               wide = Identity(rate)
               a = Equal(wide, high)
               y = If(a) <
                 then_branch = t () => (bool p) { p = Identity(a) },
                 else_branch = e () => (bool[1] q) {
                   low = Constant<value = int64[1] {8000}>()
                   q = Equal(rate, low)
                 }
               >
               z = Greater(count, few)
               w = Equal(words, pad)
             }",
        )
        .unwrap_or_else(|e| panic!("{e}"));
        let choices = Hints::from_graph(&model.graph).integer_choices;
        let found: Vec<(&str, &[i64])> = choices.iter().map(|(name, c)| (name.as_str(), c.as_slice())).collect();
        assert_eq!(found, [("count", &[4, 3][..]), ("rate", &[8000, 16000][..])]);
    }

    #[test]
    fn operators_ask_for_extents() {
        let model = text::parse(
            "g (float[N,?] x, float[M,4] y) => (float z) < float[6,4] w = rand(1) > {
               a = MatMul(x, w)
               z = Concat<axis = 1>(a, y)
             }",
        )
        .unwrap_or_else(|e| panic!("{e}"));
        let demands: Vec<String> = Hints::from_model(&model).demands.iter().map(|d| format!("{d:?}")).collect();
        assert_eq!(demands.len(), 2, "{demands:?}");
    }

    #[test]
    fn takes_the_smallest_of_several_tables() {
        let found = bounds(
            "g (int64[N] ids) => (float[N,2] y) < float[5,2] v = rand(1), float[3,2] w = rand(2) > {
               a = Gather(v, ids)
               b = Gather(w, ids)
               y = Add(a, b)
             }",
        );
        assert_eq!(found, [("ids".to_owned(), (0, 2))]);
    }

    #[test]
    fn knows_nothing_of_numbers_that_are_computed_with() {
        assert!(bounds("g (int64[N] x) => (int64[N] y) { y = Add(x, x) }").is_empty());
    }
}
