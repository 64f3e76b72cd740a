//! What a rule sees of its operator, and where it puts what it finds.

use std::sync::Arc;

use super::fact::{Element, Extent, Fact, MAX_ELEMENTS};
use super::state::State;
use super::sym::SymExpr;
use crate::ir::{AttrRef, DType, Node};
use crate::opset;

/// The rule of an operator: fills in the outputs. `None` only ends it early; what was found until then stays.
pub(super) type Rule = fn(&mut Cx<'_, '_>) -> Option<()>;

/// The call of a function around an operator: where attributes that refer to the caller's are found.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) node: &'a Node,
    pub(super) above: Option<&'a Caller<'a>>,
}

/// One operator with what is known of its inputs.
pub(super) struct Cx<'a, 'm> {
    pub(super) node: &'a Node,
    /// The version of the operator set of the node's domain.
    pub(super) version: i64,
    pub(super) caller: Option<&'a Caller<'a>>,
    pub(super) inputs: Vec<Option<Fact>>,
    pub(super) outputs: Vec<Fact>,
    pub(super) state: &'a mut State<'m>,
}

impl<'a> Cx<'a, '_> {
    /// What is known of an input.
    pub(super) fn input(&self, slot: usize) -> Option<&Fact> {
        self.inputs.get(slot)?.as_ref()
    }

    /// Whether an input slot is taken.
    pub(super) fn has(&self, slot: usize) -> bool {
        self.input(slot).is_some()
    }

    /// The element type of an input.
    pub(super) fn dtype(&self, slot: usize) -> Option<DType> {
        self.input(slot)?.dtype
    }

    /// The extents of an input.
    pub(super) fn shape(&self, slot: usize) -> Option<Vec<Extent>> {
        self.input(slot)?.shape.clone()
    }

    /// The rank of an input.
    pub(super) fn rank(&self, slot: usize) -> Option<usize> {
        Some(self.input(slot)?.shape.as_ref()?.len())
    }

    /// The elements of an input, as far as they are followed.
    pub(super) fn elements(&self, slot: usize) -> Option<Arc<Vec<Element>>> {
        self.input(slot)?.contents.clone()
    }

    /// The integers of an input, where every one is known but for symbols.
    pub(super) fn expressions(&self, slot: usize) -> Option<Vec<SymExpr>> {
        self.input(slot)?.contents.as_ref()?.iter().map(|element| element.int().cloned()).collect()
    }

    /// The integers of an input, where every one is a number.
    pub(super) fn ints(&self, slot: usize) -> Option<Vec<i64>> {
        self.input(slot)?.contents.as_ref()?.iter().map(|element| element.int()?.as_int()).collect()
    }

    /// The one integer of an input.
    pub(super) fn scalar(&self, slot: usize) -> Option<SymExpr> {
        match self.input(slot)?.contents.as_ref()?.as_slice() {
            [Element::Int(value)] => Some(value.clone()),
            _ => None,
        }
    }

    /// The numbers of an input, where every one is known.
    pub(super) fn numbers(&self, slot: usize) -> Option<Vec<f64>> {
        self.input(slot)?.contents.as_ref()?.iter().map(Element::number).collect()
    }

    /// An attribute with the default of the specification; inside of a function as the caller has it.
    pub(super) fn attr(&self, name: &str) -> Option<AttrRef<'a>> {
        let mut value = opset::attribute(self.node, name, self.version)?;
        let mut caller = self.caller;
        while let AttrRef::Reference(reference) = value {
            let call = caller?;
            value = call.node.attr(reference)?;
            caller = call.above;
        }
        Some(value)
    }

    /// Whether the node, not the specification, says what the attribute is.
    pub(super) fn says(&self, name: &str) -> bool {
        self.node.attr(name).is_some()
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        match self.attr(name)? {
            AttrRef::Int(value) => Some(value),
            _ => None,
        }
    }

    /// A list of integers.
    pub(super) fn int_list(&self, name: &str) -> Option<&'a [i64]> {
        match self.attr(name)? {
            AttrRef::Ints(values) => Some(values),
            _ => None,
        }
    }

    /// A list of floats.
    pub(super) fn float_list(&self, name: &str) -> Option<&'a [f32]> {
        match self.attr(name)? {
            AttrRef::Floats(values) => Some(values),
            _ => None,
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match self.attr(name)? {
            AttrRef::String(value) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// An attribute that holds the number of an element type.
    pub(super) fn dtype_attr(&self, name: &str) -> Option<DType> {
        DType::from_onnx(i32::try_from(self.int(name)?).ok()?)
    }

    /// Sets the shape of an output.
    pub(super) fn set_shape(&mut self, slot: usize, shape: Vec<Extent>) {
        if let Some(output) = self.outputs.get_mut(slot) {
            output.shape = Some(shape);
        }
    }

    /// Sets the element type of an output.
    pub(super) fn set_dtype(&mut self, slot: usize, dtype: Option<DType>) {
        if let Some(output) = self.outputs.get_mut(slot) {
            output.dtype = dtype.or(output.dtype);
        }
    }

    /// Sets the elements of an output, where they are few enough to follow.
    pub(super) fn set_contents(&mut self, slot: usize, elements: Vec<Element>) {
        if let Some(output) = self.outputs.get_mut(slot)
            && elements.len() <= MAX_ELEMENTS
        {
            output.contents = Some(Arc::new(elements));
        }
    }
}

/// A known extent.
pub(super) fn fixed(extent: i64) -> Extent {
    Some(SymExpr::from(extent))
}

/// An axis counted from the front; `None` where it lies outside of the rank.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let counted = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&counted).then_some(counted as usize)
}

/// The number of elements; `None` where an extent is unknown.
pub(super) fn product(extents: &[Extent]) -> Extent {
    extents.iter().try_fold(SymExpr::from(1), |product, extent| product.mul(extent.as_ref()?))
}

/// The extents as numbers, where all of them are.
pub(super) fn numbers(extents: &[Extent]) -> Option<Vec<i64>> {
    extents.iter().map(|extent| extent.as_ref()?.as_int()).collect()
}

/// The extents as numbers that count at most [`MAX_ELEMENTS`] elements.
pub(super) fn small(extents: &[Extent]) -> Option<Vec<usize>> {
    let extents: Vec<usize> = numbers(extents)?.into_iter().map(|e| usize::try_from(e).ok()).collect::<Option<_>>()?;
    let count = extents.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))?;
    (count <= MAX_ELEMENTS && extents.iter().all(|&e| e <= MAX_ELEMENTS)).then_some(extents)
}
