//! Arithmetic of single elements, as far as it can be done without running the model.

use crate::infer::fact::Element;
use crate::infer::sym::SymExpr;
use crate::ir::DType;

/// An operator of two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Min,
    Max,
    Equal,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

impl Binary {
    pub(super) fn named(op_type: &str) -> Option<Self> {
        Some(match op_type {
            "Add" => Self::Add,
            "Sub" => Self::Sub,
            "Mul" => Self::Mul,
            "Div" => Self::Div,
            "Mod" => Self::Mod,
            "Pow" => Self::Pow,
            "Min" => Self::Min,
            "Max" => Self::Max,
            "Equal" => Self::Equal,
            "Less" => Self::Less,
            "Greater" => Self::Greater,
            "LessOrEqual" => Self::LessOrEqual,
            "GreaterOrEqual" => Self::GreaterOrEqual,
            "And" => Self::And,
            "Or" => Self::Or,
            "Xor" => Self::Xor,
            _ => return None,
        })
    }

    /// The result for operands of an element type; comparisons yield 0 or 1.
    pub(super) fn apply(self, left: &Element, right: &Element, dtype: DType) -> Element {
        let known = match (left, right) {
            (Element::Int(l), Element::Int(r)) => self.integers(l, r, dtype),
            _ => left.number().zip(right.number()).and_then(|(l, r)| self.floats(l, r)),
        };
        match self {
            Self::And | Self::Or if known.is_none() => self.one_sided(left, right),
            _ => known.map_or(Element::Unknown, |element| fit(element, dtype)),
        }
    }

    /// A false operand decides And, a true one Or.
    fn one_sided(self, left: &Element, right: &Element) -> Element {
        let decides = SymExpr::from(i64::from(self == Self::Or));
        let found = [left, right].into_iter().any(|side| side.int() == Some(&decides));
        if found { Element::Int(decides) } else { Element::Unknown }
    }

    fn integers(self, left: &SymExpr, right: &SymExpr, dtype: DType) -> Option<Element> {
        let truth = |yes: bool, no: bool| (yes || no).then(|| Element::Int(SymExpr::from(i64::from(yes))));
        let value = match self {
            Self::Add => left.add(right),
            Self::Sub => left.sub(right),
            Self::Mul => left.mul(right),
            Self::Min => left.smaller(right),
            Self::Max => left.larger(right),
            Self::Div if dtype.is_float() => {
                return match left.exact_div(right) {
                    Some(quotient) => Some(Element::Int(quotient)),
                    None => self.floats(left.as_int()? as f64, right.as_int()? as f64),
                };
            }
            Self::Div => match (left.as_int(), right.as_int()) {
                // Integers are divided towards zero, which is down only where nothing is negative.
                (Some(l), Some(r)) => l.checked_div(r).map(SymExpr::from),
                _ if left.lower_bound()? >= 0 && right.lower_bound()? >= 0 => left.floor_div(right),
                _ => left.exact_div(right),
            },
            Self::Mod if dtype.is_float() => None,
            Self::Mod if left.lower_bound()? >= 0 && right.lower_bound()? > 0 => left.modulo(right),
            Self::Mod => None,
            Self::Pow => {
                let power = u32::try_from(right.as_int()?).ok()?;
                left.as_int()?.checked_pow(power).map(SymExpr::from)
            }
            Self::Equal => return truth(left == right, left.never_equals(right)),
            Self::Less => return truth(right.above(left), left.at_least(right)),
            Self::Greater => return truth(left.above(right), right.at_least(left)),
            Self::LessOrEqual => return truth(right.at_least(left), left.above(right)),
            Self::GreaterOrEqual => return truth(left.at_least(right), right.above(left)),
            Self::And => left.mul(right),
            Self::Or => left.larger(right),
            Self::Xor => return truth(left.as_int()? != right.as_int()?, left == right),
        };
        value.map(Element::Int)
    }

    fn floats(self, left: f64, right: f64) -> Option<Element> {
        let truth = |yes: bool| Some(Element::Int(SymExpr::from(i64::from(yes))));
        let value = match self {
            Self::Add => left + right,
            Self::Sub => left - right,
            Self::Mul => left * right,
            Self::Div => left / right,
            Self::Min => left.min(right),
            Self::Max => left.max(right),
            Self::Less => return truth(left < right),
            Self::Greater => return truth(left > right),
            Self::LessOrEqual => return truth(left <= right),
            Self::GreaterOrEqual => return truth(left >= right),
            _ => return None,
        };
        Some(Element::float(value))
    }
}

/// An operator of one element.
pub(super) fn unary(op_type: &str, element: &Element, dtype: DType) -> Element {
    let result = match (op_type, element) {
        ("Neg", Element::Int(value)) => value.times(-1).map(Element::Int),
        ("Neg", Element::Float(value)) => Some(Element::Float(-value)),
        ("Abs" | "Relu", Element::Int(value)) if value.lower_bound().is_some_and(|bound| bound >= 0) => {
            Some(element.clone())
        }
        ("Abs", Element::Int(value)) => value.as_int().and_then(i64::checked_abs).map(|v| Element::Int(v.into())),
        ("Not", Element::Int(value)) => SymExpr::from(1).sub(value).map(Element::Int),
        ("Floor" | "Ceil" | "Round" | "Identity", Element::Int(_)) => Some(element.clone()),
        ("Identity", Element::Float(_)) => Some(element.clone()),
        ("Floor", Element::Float(value)) => Some(Element::float(value.floor())),
        ("Ceil", Element::Float(value)) => Some(Element::float(value.ceil())),
        ("Round", Element::Float(value)) => Some(Element::float(value.round_ties_even())),
        ("Sqrt", other) => other.number().map(|value| Element::float(value.sqrt())),
        ("Reciprocal", other) => other.number().map(|value| Element::float(1.0 / value)),
        _ => None,
    };
    result.map_or(Element::Unknown, |element| fit(element, dtype))
}

/// An element of one type turned into another.
pub(super) fn cast(element: &Element, to: DType) -> Element {
    match (element, to) {
        (Element::Int(value), DType::Bool) => match value.as_int() {
            Some(number) => Element::Int(SymExpr::from(i64::from(number != 0))),
            None if value.lower_bound().is_some_and(|bound| bound > 0) => Element::Int(SymExpr::from(1)),
            None => Element::Unknown,
        },
        (Element::Float(value), to) if to.is_integer() => fit(Element::float(value.trunc()), to),
        (other, to) => fit(other.clone(), to),
    }
}

/// The element as a tensor of the type holds it; unknown where the type cannot hold it exactly.
pub(super) fn fit(element: Element, dtype: DType) -> Element {
    match (&element, dtype) {
        (_, DType::I64) => element,
        (Element::Float(value), DType::F32) => Element::float(f64::from(*value as f32)),
        (Element::Float(_), DType::F64) => element,
        (Element::Int(value), _) => match value.as_int() {
            None if matches!(dtype, DType::I32 | DType::U32 | DType::U64 | DType::F32 | DType::F64) => element,
            Some(number) if holds(dtype, number) => element,
            _ => Element::Unknown,
        },
        _ => Element::Unknown,
    }
}

fn holds(dtype: DType, number: i64) -> bool {
    let within = |low: i64, high: i64| (low..=high).contains(&number);
    match dtype {
        DType::I64 => true,
        DType::I32 => within(i64::from(i32::MIN), i64::from(i32::MAX)),
        DType::I16 => within(i64::from(i16::MIN), i64::from(i16::MAX)),
        DType::I8 => within(-128, 127),
        DType::U64 => number >= 0,
        DType::U32 => within(0, i64::from(u32::MAX)),
        DType::U16 => within(0, 0xffff),
        DType::U8 => within(0, 255),
        DType::Bool => within(0, 1),
        DType::F64 => within(-(1 << 53), 1 << 53),
        DType::F32 => within(-(1 << 24), 1 << 24),
        DType::F16 => within(-2048, 2048),
        DType::BF16 => within(-256, 256),
        _ => false,
    }
}
