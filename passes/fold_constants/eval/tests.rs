use std::slice::from_ref;

use super::*;
use crate::ir::NodeSpec;

fn i64s(shape: &[u64], values: &[i64]) -> Tensor {
    Tensor::from_i64(shape, values).unwrap()
}

fn f32s(values: &[f32]) -> Tensor {
    Tensor::from_f32(vec![values.len() as u64], values).unwrap()
}

fn bools(values: &[u8]) -> Tensor {
    Tensor::new(DType::Bool, vec![values.len() as u64], values.to_vec()).unwrap()
}

fn all(spec: NodeSpec, inputs: &[Tensor], outputs: u32, max_bytes: u64) -> Answer<Vec<Tensor>> {
    let node = Node { proto: spec.proto, attributes: spec.attributes, output_slots: outputs, ..Node::default() };
    let inputs: Vec<Option<Tensor>> = inputs.iter().cloned().map(Some).collect();
    evaluate(&Call { node: &node, opset: 18, inputs: &inputs, max_bytes })
}

fn one(spec: NodeSpec, inputs: &[Tensor]) -> Answer<Tensor> {
    all(spec, inputs, 1, 1 << 20).map(|mut results| results.remove(0))
}

fn op(op_type: &str, inputs: &[Tensor]) -> Answer<Tensor> {
    one(NodeSpec::new(op_type), inputs)
}

#[track_caller]
fn gives(result: Answer<Tensor>, shape: &[u64], values: &[i64]) {
    let tensor = result.unwrap();
    assert_eq!((tensor.shape(), tensor.to_i64().unwrap().as_slice()), (shape, values));
}

#[test]
fn slices_in_both_directions_and_beyond_the_ends() {
    let data = i64s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let slice = |start, end, axis, step| {
        let list = |value| i64s(&[1], &[value]);
        op("Slice", &[data.clone(), list(start), list(end), list(axis), list(step)])
    };
    gives(slice(1, 3, 1, 1), &[2, 2], &[2, 3, 5, 6]);
    gives(slice(-1, i64::MIN, 1, -1), &[2, 3], &[3, 2, 1, 6, 5, 4]);
    gives(slice(-1, i64::MIN, -1, -2), &[2, 2], &[3, 1, 6, 4]);
    gives(slice(5, 9, 0, 1), &[0, 3], &[]);
    gives(slice(0, i64::MAX, 0, i64::MAX), &[1, 3], &[1, 2, 3]);
    assert_eq!(slice(0, 1, 2, 1).err(), Some(Decline::NotHere));
    assert_eq!(slice(0, 1, 0, 0).err(), Some(Decline::NotHere));
}

#[test]
fn moves_elements() {
    let data = i64s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    gives(op("Transpose", from_ref(&data)), &[3, 2], &[1, 4, 2, 5, 3, 6]);
    gives(op("Tile", &[data.clone(), i64s(&[2], &[2, 1])]), &[4, 3], &[1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
    gives(op("Tile", &[i64s(&[1, 2], &[1, 2]), i64s(&[2], &[1, 2])]), &[1, 4], &[1, 2, 1, 2]);
    gives(op("Expand", &[i64s(&[2, 1], &[7, 8]), i64s(&[3], &[2, 1, 2])]), &[2, 2, 2], &[7, 7, 8, 8, 7, 7, 8, 8]);
    gives(op("Reshape", &[data.clone(), i64s(&[3], &[0, -1, 1])]), &[2, 3, 1], &[1, 2, 3, 4, 5, 6]);
    assert_eq!(op("Reshape", &[data.clone(), i64s(&[1], &[5])]).err(), Some(Decline::NotHere));
    gives(one(NodeSpec::new("Gather").attr("axis", 1), &[data.clone(), i64s(&[2], &[-1, 0])]), &[2, 2], &[3, 1, 6, 4]);
    assert_eq!(op("Gather", &[data.clone(), i64s(&[], &[2])]).err(), Some(Decline::NotHere), "out of bounds");
    let column = i64s(&[2, 1], &[9, 8]);
    gives(one(NodeSpec::new("Concat").attr("axis", -1), &[data.clone(), column]), &[2, 4], &[1, 2, 3, 9, 4, 5, 6, 8]);
    gives(op("Squeeze", &[i64s(&[1, 2, 1], &[1, 2]), i64s(&[1], &[-1])]), &[1, 2], &[1, 2]);
    gives(op("Unsqueeze", &[i64s(&[2], &[1, 2]), i64s(&[2], &[0, -1])]), &[1, 2, 1], &[1, 2]);
    let parts = all(NodeSpec::new("Split").attr("axis", 1).attr("num_outputs", 2), &[data], 2, 1 << 20).unwrap();
    gives(Ok(parts[0].clone()), &[2, 2], &[1, 2, 4, 5]);
    gives(Ok(parts[1].clone()), &[2, 1], &[3, 6]);
}

#[test]
fn divides_as_the_specification_says() {
    let (left, right) = (i64s(&[4], &[7, -7, 7, -7]), i64s(&[4], &[2, 2, -2, -2]));
    gives(op("Div", &[left.clone(), right.clone()]), &[4], &[3, -3, -3, 3]);
    gives(op("Mod", &[left.clone(), right.clone()]), &[4], &[1, 1, -1, -1]);
    gives(one(NodeSpec::new("Mod").attr("fmod", 1), &[left.clone(), right]), &[4], &[1, -1, 1, -1]);
    assert_eq!(op("Div", &[left, i64s(&[], &[0])]).err(), Some(Decline::NotHere));
}

#[test]
fn declines_what_is_not_certain() {
    assert_eq!(op("Add", &[i64s(&[], &[i64::MAX]), i64s(&[], &[1])]).err(), Some(Decline::NotHere), "overflow");
    assert_eq!(op("Max", &[f32s(&[f32::NAN]), f32s(&[1.0])]).err(), Some(Decline::NotHere));
    assert_eq!(op("Max", &[f32s(&[-0.0]), f32s(&[0.0])]).err(), Some(Decline::NotHere));
    let to_int8 = |value| one(NodeSpec::new("Cast").attr("to", 3), &[f32s(&[value])]);
    gives(to_int8(-1.9), &[1], &[-1]);
    assert_eq!(to_int8(200.0).err(), Some(Decline::NotHere));
    assert_eq!(to_int8(f32::INFINITY).err(), Some(Decline::NotHere));
    assert_eq!(op("Softmax", &[f32s(&[1.0])]).err(), Some(Decline::NotHere));
}

#[test]
fn compares_and_chooses() {
    let (left, right) = (f32s(&[1.0, f32::NAN, 0.0]), f32s(&[1.0, f32::NAN, -0.0]));
    gives(op("Equal", &[left.clone(), right.clone()]), &[3], &[1, 0, 1]);
    gives(op("GreaterOrEqual", &[left, right]), &[3], &[1, 0, 1]);
    let (yes, no) = (i64s(&[2], &[1, 2]), i64s(&[], &[9]));
    gives(op("Where", &[bools(&[0, 1]), yes, no]), &[2], &[9, 2]);
    gives(op("And", &[bools(&[1, 1]), bools(&[0, 1])]), &[2], &[0, 1]);
    gives(op("Not", &[bools(&[1, 0])]), &[2], &[0, 1]);
}

#[test]
fn rounds_halves_to_even() {
    let rounded = op("Round", &[f32s(&[0.5, 1.5, -2.5])]).unwrap();
    assert_eq!(rounded.to_f32().unwrap(), [0.0, 2.0, -2.0]);
}

#[test]
fn reduces_integers() {
    let data = i64s(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    gives(op("ReduceProd", from_ref(&data)), &[1, 1], &[720]);
    let last = i64s(&[1], &[-1]);
    gives(one(NodeSpec::new("ReduceSum").attr("keepdims", 0), &[data.clone(), last.clone()]), &[2], &[6, 15]);
    gives(op("ReduceMax", &[data.clone(), last]), &[2, 1], &[3, 6]);
    gives(one(NodeSpec::new("ReduceMin").attr("noop_with_empty_axes", 1), &[data]), &[2, 3], &[1, 2, 3, 4, 5, 6]);
    assert_eq!(op("ReduceProd", &[i64s(&[0], &[])]).err(), Some(Decline::NotHere));
}

#[test]
fn counts_and_fills() {
    let range = |start, limit, delta| op("Range", &[i64s(&[], &[start]), i64s(&[], &[limit]), i64s(&[], &[delta])]);
    gives(range(0, 5, 2), &[3], &[0, 2, 4]);
    gives(range(3, -1, -2), &[2], &[3, 1]);
    gives(range(3, 3, 1), &[0], &[]);
    assert_eq!(range(i64::MIN, i64::MAX, 1).err(), Some(Decline::TooLarge));
    let two = i64s(&[1], &[2]);
    gives(one(NodeSpec::new("ConstantOfShape").attr("value", two), &[i64s(&[2], &[1, 2])]), &[1, 2], &[2, 2]);
    gives(one(NodeSpec::new("Shape").attr("start", -2), &[i64s(&[1, 2, 1], &[1, 2])]), &[2], &[2, 1]);
    gives(op("Size", &[i64s(&[1, 2, 1], &[1, 2])]), &[], &[2]);
}

#[test]
fn refuses_before_it_allocates() {
    let huge = i64s(&[2], &[1 << 20, 1 << 20]);
    assert_eq!(op("ConstantOfShape", from_ref(&huge)).err(), Some(Decline::TooLarge));
    assert_eq!(op("Expand", &[f32s(&[1.0]), huge.clone()]).err(), Some(Decline::TooLarge));
    assert_eq!(op("Tile", &[i64s(&[1, 1], &[1]), huge]).err(), Some(Decline::TooLarge));
    let overflowing = i64s(&[2], &[i64::MAX, i64::MAX]);
    assert_eq!(op("ConstantOfShape", &[overflowing]).err(), Some(Decline::TooLarge));
    assert_eq!(all(NodeSpec::new("Identity"), &[f32s(&[1.0])], 1, 0).unwrap().len(), 1, "nothing new");
}
