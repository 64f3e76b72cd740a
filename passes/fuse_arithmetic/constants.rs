//! Constants that are added, or multiplied with, one after the other.

use super::super::common::merge::{Merge, Operand};
use super::super::common::pattern;
use crate::ir::{DType, Graph, NodeId, Tensor, ValueId};

/// Factors lie within, so that no product of two leaves the range of 32-bit floats, nor loses digits at its lower end.
const FACTORS: std::ops::RangeInclusive<f64> = 1e-18..=1e18;

/// An addition or subtraction of a constant after another one.
pub(super) fn sum_of_sum(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let (second, (source, first)) =
        (Step::of(graph, node, &["Add", "Sub"])?, Step::before(graph, node, &["Add", "Sub"])?);
    if opset < 7 {
        return None;
    }
    let sum = combine(
        &first.constant,
        &second.constant,
        &Rule {
            floats: &|a, b| {
                let (a, b) = (first.signed(a), second.signed(b));
                // A difference may be there to round: `x + 2^23 - 2^23`.
                (a * b >= 0.0).then_some(a + b)
            },
            integers: &|a, b| {
                let signed =
                    |step: &Step, number: i64| if step.op_type == "Sub" { number.wrapping_neg() } else { number };
                Some(signed(&first, a).wrapping_add(signed(&second, b)))
            },
        },
    )?;
    is_worth_it(graph, [&first, &second], &sum).then(|| takes("Add", source, sum))
}

/// A multiplication with a constant, or a division by one, after another one.
pub(super) fn product_of_product(graph: &Graph, node: NodeId, opset: i64) -> Option<Merge> {
    let (second, (source, first)) =
        (Step::of(graph, node, &["Mul", "Div"])?, Step::before(graph, node, &["Mul", "Div"])?);
    if opset < 7 {
        return None;
    }
    let product = combine(
        &first.constant,
        &second.constant,
        &Rule {
            floats: &|a, b| {
                let are_moderate = FACTORS.contains(&a.abs()) && FACTORS.contains(&b.abs());
                are_moderate.then(|| first.factor(a) * second.factor(b))
            },
            // An integer quotient is cut off.
            integers: &|a, b| (first.op_type == "Mul" && second.op_type == "Mul").then(|| a.wrapping_mul(b)),
        },
    )?;
    is_worth_it(graph, [&first, &second], &product).then(|| takes("Mul", source, product))
}

fn takes(op_type: &'static str, source: ValueId, constant: Tensor) -> Merge {
    Merge::becomes(op_type, vec![Some(Operand::Value(source)), Some(Operand::New(constant))])
}

/// Whether the constant that is made is no larger than one of those that go; those that others read too stay.
fn is_worth_it(graph: &Graph, steps: [&Step; 2], made: &Tensor) -> bool {
    let goes = |step: &&&Step| {
        let here = steps.iter().filter(|other| other.value == step.value).count();
        graph.use_count(step.value) == here
    };
    steps.iter().filter(goes).any(|step| made.byte_len() <= step.constant.byte_len())
}

/// An operator on a value and a constant.
struct Step {
    op_type: &'static str,
    value: ValueId,
    constant: Tensor,
}

impl Step {
    /// An operator of one of two types, the first of which may have the constant on the left.
    fn of(graph: &Graph, node: NodeId, op_types: &[&'static str; 2]) -> Option<Self> {
        let op_type = op_types.iter().find(|op_type| graph.node(node).is(op_type))?;
        let (_, slot, constant) = pattern::constant_operand(graph, node)?;
        let value = graph.input(node, 1 - slot)?;
        (slot == 0 || *op_type == op_types[0]).then_some(Self { op_type, value, constant })
    }

    /// The one before, whose result nothing else reads, with the value it computes on.
    fn before(graph: &Graph, node: NodeId, op_types: &[&'static str; 2]) -> Option<(ValueId, Self)> {
        let (between, ..) = pattern::constant_operand(graph, node)?;
        graph.only_use(between)?;
        let (first, _) = graph.producer(between)?;
        let step = Self::of(graph, first, op_types)?;
        pattern::written_by(graph, between, step.op_type)?;
        let (source, ..) = pattern::constant_operand(graph, first)?;
        Some((source, step))
    }

    fn signed(&self, number: f64) -> f64 {
        if self.op_type == "Sub" { -number } else { number }
    }

    fn factor(&self, number: f64) -> f64 {
        if self.op_type == "Div" { 1.0 / number } else { number }
    }
}

/// How two numbers become one; `None` where they had better not.
struct Rule<'a> {
    floats: &'a dyn Fn(f64, f64) -> Option<f64>,
    integers: &'a dyn Fn(i64, i64) -> Option<i64>,
}

/// Two constants of one type as one, element by element; they have the same shape, or one of them a single element.
/// Floats are rounded once, integers wrap around.
fn combine(first: &Tensor, second: &Tensor, rule: &Rule<'_>) -> Option<Tensor> {
    let one_with_axes = |a: &Tensor, b: &Tensor| a.len() == 1 && a.rank() <= b.rank();
    let shape = match () {
        () if first.shape() == second.shape() || one_with_axes(second, first) => first.shape(),
        () if one_with_axes(first, second) => second.shape(),
        () => return None,
    };
    let count: usize = shape.iter().try_fold(1u64, |product, extent| product.checked_mul(*extent))?.try_into().ok()?;
    if first.dtype() != second.dtype() {
        return None;
    }
    match first.dtype() {
        dtype @ (DType::F32 | DType::F64) => {
            let made = each(&first.to_f64()?, &second.to_f64()?, count, rule.floats)?;
            Tensor::from_f64(dtype, shape, &made).ok().filter(Tensor::is_finite)
        }
        DType::I64 => Tensor::from_i64(shape, &each(&first.to_i64()?, &second.to_i64()?, count, rule.integers)?).ok(),
        DType::I32 => {
            let made = each(&first.to_i64()?, &second.to_i64()?, count, rule.integers)?;
            Tensor::from_i32(shape, &made.into_iter().map(|number| number as i32).collect::<Vec<_>>()).ok()
        }
        _ => None,
    }
}

fn each<T: Copy>(first: &[T], second: &[T], count: usize, rule: &dyn Fn(T, T) -> Option<T>) -> Option<Vec<T>> {
    let at = |list: &[T], place: usize| if list.len() == 1 { list.first().copied() } else { list.get(place).copied() };
    (0..count).map(|place| rule(at(first, place)?, at(second, place)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(shape: &[u64], values: &[f32]) -> Tensor {
        Tensor::from_f32(shape, values).unwrap()
    }

    fn sum(first: &Tensor, second: &Tensor) -> Option<Tensor> {
        combine(first, second, &Rule { floats: &|a, b| Some(a + b), integers: &|a, b| Some(a.wrapping_add(b)) })
    }

    #[test]
    fn a_single_element_counts_for_all() {
        let sum_of = |a: &Tensor, b: &Tensor| sum(a, b).map(|made| (made.shape().to_vec(), made.to_f32().unwrap()));
        let (list, one) = (floats(&[2], &[1.0, 2.0]), floats(&[], &[10.0]));
        assert_eq!(sum_of(&list, &one), Some((vec![2], vec![11.0, 12.0])));
        assert_eq!(sum_of(&one, &list), Some((vec![2], vec![11.0, 12.0])));
        // One with more axes makes the result have more.
        assert_eq!(sum_of(&list, &floats(&[1, 1], &[1.0])), None);
        assert_eq!(sum_of(&list, &floats(&[2, 1], &[1.0, 1.0])), None);
    }

    #[test]
    fn integers_wrap_around() {
        let made = sum(&Tensor::from_i32(vec![], &[i32::MAX]).unwrap(), &Tensor::from_i32(vec![], &[1]).unwrap());
        assert_eq!(made.unwrap().to_i64().unwrap(), [i64::from(i32::MIN)]);
    }
}
