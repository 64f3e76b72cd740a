//! What is known of one value.

use std::sync::Arc;

use super::sym::{SymExpr, Symbol};
use crate::ir::{DType, Dim, Shape, Tensor, ValueType};

/// One extent of a tensor; `None` where nothing is known of it.
pub type Extent = Option<SymExpr>;

/// The most elements whose values are followed.
pub const MAX_ELEMENTS: usize = 1024;

/// The most elements of a float constant whose values are followed.
const MAX_FLOATS: usize = 64;

/// One element of a small tensor.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Element {
    /// Nothing is known.
    #[default]
    Unknown,
    /// An integer, 0 or 1 for booleans; in a float tensor a float with the value of an integer.
    Int(SymExpr),
    /// A float that is no integer.
    Float(f64),
}

impl Element {
    /// A float, which becomes an integer where it has the value of one.
    pub fn float(value: f64) -> Self {
        // Beyond 2^53 a float has no single integer that it stands for.
        let limit = (1u64 << 53) as f64;
        match value {
            v if v.is_nan() => Self::Unknown,
            v if v.fract() == 0.0 && v.abs() < limit => Self::Int(SymExpr::from(v as i64)),
            v => Self::Float(v),
        }
    }

    /// The integer, where it is one.
    pub fn int(&self) -> Option<&SymExpr> {
        match self {
            Self::Int(value) => Some(value),
            _ => None,
        }
    }

    /// The number, where no symbol is in it.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => value.as_int().map(|v| v as f64),
            Self::Float(value) => Some(*value),
            Self::Unknown => None,
        }
    }
}

/// What is known of one value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fact {
    /// The element type; `None` where it is not known or the value is no dense tensor.
    pub dtype: Option<DType>,
    /// The extents; `None` where not even the rank is known.
    pub shape: Option<Vec<Extent>>,
    /// The elements in row-major order, of tensors that take part in the arithmetic of shapes.
    pub contents: Option<Arc<Vec<Element>>>,
    /// What the elements of the sequence are, or what the optional value holds.
    pub element: Option<Box<Fact>>,
}

impl Fact {
    /// A tensor of a type and shape.
    pub fn tensor(dtype: DType, shape: Vec<Extent>) -> Self {
        Self { dtype: Some(dtype), shape: Some(shape), ..Self::default() }
    }

    /// What is known of a constant.
    pub fn constant(tensor: &Tensor) -> Self {
        let extent = |&extent: &u64| i64::try_from(extent).ok().map(SymExpr::from);
        let mut fact = Self::tensor(tensor.dtype(), tensor.shape().iter().map(extent).collect());
        // Small floats are scales of Resize; larger ones are weights, which no shape depends on.
        let limit = if tensor.dtype().is_float() { MAX_FLOATS } else { MAX_ELEMENTS };
        if tensor.len() <= limit {
            let ints = || tensor.to_i64().map(|v| v.into_iter().map(|v| Element::Int(SymExpr::from(v))).collect());
            let floats = || tensor.to_f32().map(|v| v.into_iter().map(|v| Element::float(f64::from(v))).collect());
            let exact = matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16);
            fact.contents = ints().or_else(|| floats().filter(|_| exact)).map(Arc::new);
        }
        fact
    }

    /// What a declared type says. Names are read by `name`.
    pub(super) fn declared(ty: &ValueType, name: impl Fn(&str) -> SymExpr) -> Self {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => i64::try_from(*extent).ok().map(SymExpr::from),
            Dim::Sym(text) => Some(name(text)),
            Dim::Unknown => None,
        };
        let shape = ty.shape().map(|shape| shape.0.iter().map(extent).collect());
        Self { dtype: ty.dtype(), shape, ..Self::default() }
    }

    /// Whether type, rank and every extent are known, as a number, a name the model has, or an expression of those.
    pub fn is_fully_known(&self) -> bool {
        let named = |symbol: &Symbol| matches!(symbol, Symbol::Named(_));
        let known = |extent: &Extent| extent.as_ref().is_some_and(|e| !e.any_symbol(|symbol| !named(symbol)));
        self.dtype.is_some() && self.shape.as_ref().is_some_and(|shape| shape.iter().all(known))
    }

    /// The type as the intermediate representation holds it. An extent that has no text which reads back as itself, or
    /// that nobody named, becomes unknown.
    pub fn to_type(&self) -> ValueType {
        let Some(dtype) = self.dtype else { return ValueType::Unknown };
        let shape = self.shape.as_ref().map(|shape| Shape(shape.iter().map(dim).collect()));
        ValueType::tensor(dtype, shape)
    }

    /// The shape as errors show it: `[N,3]`, `?` for an extent that nothing is known of.
    pub fn shape_text(&self) -> String {
        let text = |extent: &Extent| extent.as_ref().map_or_else(|| "?".to_owned(), SymExpr::to_string);
        match &self.shape {
            Some(shape) => format!("[{}]", shape.iter().map(text).collect::<Vec<_>>().join(",")),
            None => "[...]".to_owned(),
        }
    }

    /// What holds of both: of a value that may be the one or the other.
    pub(super) fn join(&self, other: &Self) -> Self {
        let shape = match (&self.shape, &other.shape) {
            (Some(left), Some(right)) if left.len() == right.len() => {
                Some(left.iter().zip(right).map(|(l, r)| l.clone().filter(|_| l == r)).collect())
            }
            _ => None,
        };
        let contents = match (&self.contents, &other.contents) {
            (Some(left), Some(right)) if left.len() == right.len() => {
                let both = left.iter().zip(right.iter());
                let joined: Vec<Element> =
                    both.map(|(l, r)| if l == r { l.clone() } else { Element::Unknown }).collect();
                let useful = joined.is_empty() || joined.iter().any(|element| *element != Element::Unknown);
                useful.then(|| Arc::new(joined))
            }
            _ => None,
        };
        let element = match (&self.element, &other.element) {
            (Some(left), Some(right)) => Some(Box::new(left.join(right))),
            _ => None,
        };
        Self { dtype: self.dtype.filter(|_| self.dtype == other.dtype), shape, contents, element }
    }

    /// The fact with every expression put through `map`; what `map` has nothing for becomes unknown.
    pub(super) fn map_expressions(&self, map: &dyn Fn(&SymExpr) -> Option<SymExpr>) -> Self {
        let element = |element: &Element| match element {
            Element::Int(value) => map(value).map_or(Element::Unknown, Element::Int),
            other => other.clone(),
        };
        Self {
            dtype: self.dtype,
            shape: self.shape.as_ref().map(|s| s.iter().map(|e| e.as_ref().and_then(map)).collect()),
            contents: self.contents.as_ref().map(|c| Arc::new(c.iter().map(element).collect())),
            element: self.element.as_ref().map(|inner| Box::new(inner.map_expressions(map))),
        }
    }

    /// Whether a symbol that fulfils a condition is in the fact.
    pub(super) fn any_symbol(&self, condition: &dyn Fn(&Symbol) -> bool) -> bool {
        let extents = self.shape.iter().flatten().flatten();
        let elements = self.contents.iter().flat_map(|c| c.iter()).filter_map(Element::int);
        extents.chain(elements).any(|expression| expression.any_symbol(condition))
            || self.element.as_ref().is_some_and(|inner| inner.any_symbol(condition))
    }
}

impl SymExpr {
    /// The expression as the file can say it; unknown where it has no text that reads back as itself.
    pub fn to_dim(&self) -> Dim {
        dim(&Some(self.clone()))
    }
}

/// An extent as the file can say it.
pub(super) fn dim(extent: &Extent) -> Dim {
    let Some(expression) = extent else { return Dim::Unknown };
    if let Some(number) = expression.as_int() {
        return u64::try_from(number).map_or(Dim::Unknown, Dim::Fixed);
    }
    if let Some(Symbol::Named(name)) = expression.as_symbol() {
        return Dim::Sym(name.clone());
    }
    let text = expression.to_string();
    let is_fresh = expression.any_symbol(|symbol| matches!(symbol, Symbol::Fresh(_)));
    if is_fresh || SymExpr::parse(&text).as_ref() != Some(expression) {
        return Dim::Unknown;
    }
    Dim::Sym(text.into())
}
