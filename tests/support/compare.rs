//! Comparing results with what was expected.

use onnx_shrink::backend::NamedTensors;
use onnx_shrink::ir::{DType, Tensor};

/// How far a float may lie from the expected one: `absolute + relative * |expected|`, where the precision of the type
/// over the range of the tensor is the least that is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    pub relative: f32,
    pub absolute: f32,
}

impl Tolerance {
    /// From `"relative absolute"`.
    pub fn parse(text: &str) -> Self {
        let numbers: Vec<f32> = text.split_whitespace().map(|number| number.parse().unwrap()).collect();
        Self { relative: numbers[0], absolute: numbers[1] }
    }

    /// For a tensor of the given type whose values go up to `peak`.
    fn over(self, dtype: DType, peak: f32) -> Self {
        let precision = if dtype == DType::F16 { 2e-3 } else { 1e-5 };
        Self { absolute: self.absolute.max(precision * peak), ..self }
    }

    fn accepts(self, found: f32, expected: f32) -> bool {
        let close = (found - expected).abs() <= self.absolute + self.relative * expected.abs();
        close || found == expected || (found.is_nan() && expected.is_nan())
    }
}

/// The first difference in words; `None` where all agree. Types, shapes, integers and strings must be equal.
pub fn first_difference(found: &NamedTensors, expected: &NamedTensors, tolerance: Tolerance) -> Option<String> {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).find_map(|((name, found), (_, expected))| {
        difference(found, expected, tolerance).map(|difference| format!("{name}: {difference}"))
    })
}

fn difference(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Option<String> {
    if found.type_text() != expected.type_text() {
        return Some(format!("type {} for {}", found.type_text(), expected.type_text()));
    }
    let (Some(left), Some(right)) = (found.to_f32(), expected.to_f32()) else {
        return (!found.same_contents(expected)).then(|| "contents differ".to_owned());
    };
    let peak = right.iter().filter(|value| value.is_finite()).fold(0.0, |peak: f32, value| peak.max(value.abs()));
    let tolerance = tolerance.over(found.dtype(), peak);
    let differing = left.iter().zip(&right).position(|(&l, &r)| !tolerance.accepts(l, r))?;
    Some(format!("{} for {} at {differing}", left[differing], right[differing]))
}

trait SameContents {
    fn same_contents(&self, other: &Self) -> bool;
}

impl SameContents for Tensor {
    fn same_contents(&self, other: &Self) -> bool {
        self.strings() == other.strings() && self.data() == other.data()
    }
}
