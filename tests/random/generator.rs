//! Draws whole graphs.

use std::collections::BTreeSet;

use onnx_shrink::ir::DType;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::draft::{Draft, Value};
use super::operators::{self, add_any};

/// The operator sets graphs are drawn for.
const OPSETS: [i64; 14] = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

/// Operators of a graph, before those are dropped that nothing reads.
const OPERATORS: std::ops::RangeInclusive<usize> = 5..=60;

/// The graph of a seed.
pub(crate) fn draw(seed: u64) -> Draft {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let opset =
        if rand::Rng::random_range(&mut rng, 0..5) == 0 { 21 } else { OPSETS[(seed % OPSETS.len() as u64) as usize] };
    let mut draft = Draft::new(opset, rng);
    draft.is_symbolic = draft.chance(20);
    draft.is_quantized = draft.chance(40);
    draft.is_half = draft.chance(15);
    add_inputs(&mut draft);
    let entries = operators::all();
    let target = OPERATORS.start() + draft.below(OPERATORS.end() - OPERATORS.start() - 8);
    while draft.lines.len() < target {
        add_any(&mut draft, &entries);
    }
    choose_outputs(&mut draft);
    declare(&mut draft);
    draft.trim();
    hand_over_constants(&mut draft);
    draft
}

fn add_inputs(draft: &mut Draft) {
    let shapes: [&[i64]; 8] =
        [&[1, 3, 6, 6], &[2, 4, 5, 5], &[1, 4, 8], &[2, 3, 4], &[3, 4], &[2, 8], &[6], &[1, 1, 4, 4]];
    for _ in 0..1 + draft.below(3) {
        let shape = draft.one_of(&shapes).to_vec();
        let (low, high) = draft.one_of(&[(-1.0, 1.0), (-2.0, 3.0), (0.5, 2.0)]);
        add_input(draft, DType::F32, shape, low, high);
    }
    if draft.chance(40) {
        let shape = draft.one_of(&[vec![2], vec![3, 4], vec![]]);
        add_input(draft, DType::I64, shape, 0.0, 2.0);
    }
    if draft.chance(30) {
        let shape = draft.one_of(&[vec![1], vec![3, 4], vec![]]);
        add_input(draft, DType::Bool, shape, 0.0, 1.0);
    }
}

fn add_input(draft: &mut Draft, dtype: DType, shape: Vec<i64>, low: f64, high: f64) {
    let value = Value { name: draft.fresh("x"), dtype, shape, low, high, is_exact: true };
    draft.inputs.push(value.clone());
    draft.values.push(value);
}

/// Most of what nothing reads becomes an output, so that differences show; and some of what is read.
fn choose_outputs(draft: &mut Draft) {
    let read: BTreeSet<String> = draft.lines.iter().flat_map(|line| line.reads.iter().cloned()).collect();
    let written: BTreeSet<String> = draft.lines.iter().flat_map(|line| line.writes.iter().cloned()).collect();
    for value in draft.values.clone() {
        let percent = if read.contains(&value.name) { 8 } else { 90 };
        if written.contains(&value.name) && draft.chance(percent) {
            draft.outputs.push(value);
        }
    }
    if draft.outputs.is_empty() {
        let last = draft.values.iter().rfind(|value| written.contains(&value.name));
        draft.outputs.extend(last.cloned());
    }
}

/// Declares the types of all values, of some, or of none.
fn declare(draft: &mut Draft) {
    if draft.is_symbolic {
        // What is known here holds for one extent of the symbols only.
        return;
    }
    let percent = draft.one_of(&[0, 50, 100]);
    for value in draft.values.clone() {
        let is_output = draft.outputs.iter().any(|output| output.name == value.name);
        if !is_output && draft.chance(percent) {
            draft.declared.insert(value.name);
        }
    }
    let written: BTreeSet<&String> = draft.lines.iter().flat_map(|line| &line.writes).collect();
    draft.declared.retain(|name| written.contains(name));
}

/// Lists constants among the inputs: a few, whose defaults a caller may replace, or all of them, as old files do.
fn hand_over_constants(draft: &mut Draft) {
    let percent = draft.one_of(&[0, 0, 0, 0, 0, 0, 0, 30, 100]);
    for index in 0..draft.constants.len() {
        let is_handed = percent == 100 || draft.constants[index].value.is_float() && draft.chance(percent);
        draft.constants[index].is_input = is_handed;
    }
}
