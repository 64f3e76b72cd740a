//! Arithmetic element by element, and conversion between types.

use std::cmp::Ordering;

use super::numbers::Numbers;
use super::view::View;
use super::{Answer, Call, Decline, broadcast};
use crate::ir::{AttrRef, DType, Tensor};

/// More elements than this are left to a backend: widened integers take room.
const MAX_ELEMENTS: usize = 1 << 20;

/// An operation on two elements; `None` where the result is not certain.
type Binary<T> = fn(T, T) -> Option<T>;

/// Operators with numbers in and numbers of the same type out. From opset 7 on, where broadcasting got its rules.
pub(super) fn elementwise(call: &Call<'_>) -> Answer<Tensor> {
    if call.opset < 7 {
        return Err(Decline::NotHere);
    }
    let op_type = call.node.op_type();
    match op_type {
        "Neg" | "Abs" | "Sign" | "Not" | "Floor" | "Ceil" | "Round" | "Sqrt" | "Reciprocal" => unary(call, op_type),
        "Equal" | "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" => compare(call, op_type),
        "Add" | "Sub" | "Mul" | "Div" | "Mod" | "And" | "Or" | "Xor" if call.inputs.len() == 2 => fold(call, op_type),
        "Min" | "Max" | "Sum" => fold(call, op_type),
        _ => Err(Decline::NotHere),
    }
}

fn unary(call: &Call<'_>, op_type: &str) -> Answer<Tensor> {
    let tensor = call.input(0)?;
    check_size(call, tensor.dtype(), tensor.shape())?;
    let result = match Numbers::of(tensor).ok_or(Decline::NotHere)? {
        Numbers::Int(values) => {
            let apply: fn(i128) -> i128 = match (op_type, tensor.dtype() == DType::Bool) {
                ("Neg", false) => |v| -v,
                ("Abs", false) => i128::abs,
                ("Sign", false) => i128::signum,
                ("Not", true) => |v| 1 - v,
                _ => return Err(Decline::NotHere),
            };
            Numbers::Int(values.into_iter().map(apply).collect())
        }
        Numbers::F32(values) => {
            let apply: fn(f32) -> f32 = match op_type {
                "Neg" => |v| -v,
                "Abs" => f32::abs,
                "Floor" => f32::floor,
                "Ceil" => f32::ceil,
                "Round" => f32::round_ties_even,
                "Sqrt" => f32::sqrt,
                "Reciprocal" => f32::recip,
                _ => return Err(Decline::NotHere),
            };
            Numbers::F32(values.into_iter().map(apply).collect())
        }
    };
    result.into_tensor(tensor.dtype(), tensor.shape().to_vec()).ok_or(Decline::NotHere)
}

/// Operators of two inputs, or of any number of them, one after the other.
fn fold(call: &Call<'_>, op_type: &str) -> Answer<Tensor> {
    let mut result = call.input(0)?.clone();
    for slot in 1..call.inputs.len() {
        let right = call.input(slot)?;
        let dtype = result.dtype();
        let (dims, left_at, right_at) = pair(call, &result, right)?;
        let (left, right) = (Numbers::of(&result), Numbers::of(right));
        let combined = match (left.ok_or(Decline::NotHere)?, right.ok_or(Decline::NotHere)?) {
            (Numbers::Int(left), Numbers::Int(right)) => {
                let apply = integer_operation(op_type, dtype, call.node.attr_int("fmod", 0) != 0);
                zip(&left, &right, left_at, right_at, apply.ok_or(Decline::NotHere)?).map(Numbers::Int)
            }
            (Numbers::F32(left), Numbers::F32(right)) => {
                let apply = float_operation(op_type).ok_or(Decline::NotHere)?;
                zip(&left, &right, left_at, right_at, apply).map(Numbers::F32)
            }
            _ => return Err(Decline::NotHere),
        };
        result = combined.and_then(|numbers| numbers.into_tensor(dtype, dims)).ok_or(Decline::NotHere)?;
    }
    Ok(result)
}

fn integer_operation(op_type: &str, dtype: DType, truncates: bool) -> Option<Binary<i128>> {
    if dtype == DType::Bool {
        return Some(match op_type {
            "And" => |a, b| Some(a & b),
            "Or" => |a, b| Some(a | b),
            "Xor" => |a, b| Some(a ^ b),
            _ => return None,
        });
    }
    Some(match op_type {
        "Add" | "Sum" => i128::checked_add,
        "Sub" => i128::checked_sub,
        "Mul" => i128::checked_mul,
        // Towards zero.
        "Div" => i128::checked_div,
        "Mod" if truncates => i128::checked_rem,
        // With the sign of the divisor.
        "Mod" => |a, b| Some(a.checked_rem(b)?.checked_add(b)? % b),
        "Min" => |a, b| Some(a.min(b)),
        "Max" => |a, b| Some(a.max(b)),
        _ => return None,
    })
}

fn float_operation(op_type: &str) -> Option<Binary<f32>> {
    Some(match op_type {
        "Add" => |a, b| Some(a + b),
        "Sub" => |a, b| Some(a - b),
        "Mul" => |a, b| Some(a * b),
        "Div" => |a, b| Some(a / b),
        "Min" => |a, b| extremum(a, b, a < b),
        "Max" => |a, b| extremum(a, b, a > b),
        _ => return None,
    })
}

/// Runtimes differ in what a NaN does to an extremum, and in which of two zeros they take.
fn extremum(a: f32, b: f32, is_first: bool) -> Option<f32> {
    if a.to_bits() == b.to_bits() && !a.is_nan() {
        return Some(a);
    }
    a.partial_cmp(&b).is_some_and(Ordering::is_ne).then_some(if is_first { a } else { b })
}

fn compare(call: &Call<'_>, op_type: &str) -> Answer<Tensor> {
    let (left, right) = (call.input(0)?, call.input(1)?);
    let (dims, left_at, right_at) = pair(call, left, right)?;
    let accepts: fn(Option<Ordering>) -> bool = match op_type {
        "Equal" => |order| order == Some(Ordering::Equal),
        "Less" => |order| order == Some(Ordering::Less),
        "Greater" => |order| order == Some(Ordering::Greater),
        "LessOrEqual" => |order| matches!(order, Some(Ordering::Less | Ordering::Equal)),
        _ => |order| matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    };
    let numbers = |tensor| Numbers::of(tensor).ok_or(Decline::NotHere);
    let places = left_at.places().zip(right_at.places());
    let results: Vec<u8> = match (numbers(left)?, numbers(right)?) {
        (Numbers::Int(l), Numbers::Int(r)) => places.map(|(a, b)| u8::from(accepts(l[a].partial_cmp(&r[b])))).collect(),
        (Numbers::F32(l), Numbers::F32(r)) => places.map(|(a, b)| u8::from(accepts(l[a].partial_cmp(&r[b])))).collect(),
        _ => return Err(Decline::NotHere),
    };
    Tensor::new(DType::Bool, dims, results).map_err(|_| Decline::NotHere)
}

/// The shape that two tensors of one type broadcast to, and both under that shape.
fn pair<'a>(call: &Call<'_>, left: &'a Tensor, right: &'a Tensor) -> Answer<(Vec<u64>, View<'a>, View<'a>)> {
    if left.dtype() != right.dtype() {
        return Err(Decline::NotHere);
    }
    let dims = broadcast(left.shape(), right.shape()).ok_or(Decline::NotHere)?;
    check_size(call, left.dtype(), &dims)?;
    let view = |tensor| View::broadcast(tensor, &dims).ok_or(Decline::NotHere);
    let (left, right) = (view(left)?, view(right)?);
    Ok((dims, left, right))
}

fn zip<T: Copy>(left: &[T], right: &[T], left_at: View<'_>, right_at: View<'_>, apply: Binary<T>) -> Option<Vec<T>> {
    left_at.places().zip(right_at.places()).map(|(a, b)| apply(*left.get(a)?, *right.get(b)?)).collect()
}

fn check_size(call: &Call<'_>, dtype: DType, dims: &[u64]) -> Answer<()> {
    match call.allowed(dtype, dims)? {
        elements if elements <= MAX_ELEMENTS => Ok(()),
        _ => Err(Decline::NotHere),
    }
}

/// `Cast` and `CastLike` between integers, bools and 32-bit floats, where the result is certain.
pub(super) fn cast(call: &Call<'_>) -> Answer<Tensor> {
    let tensor = call.input(0)?;
    let to = match call.node.attr("to") {
        Some(AttrRef::Int(number)) => i32::try_from(number).ok().and_then(DType::from_onnx),
        None if call.node.is("CastLike") => Some(call.input(1)?.dtype()),
        _ => None,
    };
    let to = to.ok_or(Decline::NotHere)?;
    if to == tensor.dtype() {
        return Ok(tensor.clone());
    }
    check_size(call, to, tensor.shape())?;
    let cast = match (Numbers::of(tensor).ok_or(Decline::NotHere)?, to) {
        (Numbers::Int(values), DType::F32) => Numbers::F32(values.into_iter().map(|v| v as f32).collect()),
        (Numbers::F32(values), DType::Bool) => Numbers::Int(values.into_iter().map(|v| i128::from(v != 0.0)).collect()),
        // Towards zero; what does not fit, infinity and NaN, is found when the result is written.
        (Numbers::F32(values), _) if values.iter().all(|v| v.is_finite()) => {
            Numbers::Int(values.into_iter().map(|v| v as i128).collect())
        }
        (Numbers::Int(values), _) => Numbers::Int(values),
        _ => return Err(Decline::NotHere),
    };
    cast.into_tensor(to, tensor.shape().to_vec()).ok_or(Decline::NotHere)
}
