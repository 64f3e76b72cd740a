//! How far each weight tensor is quantized.

use std::collections::BTreeMap;

use crate::ir::ValueId;

/// How a weight tensor is kept and what computes with it, from the smallest and fastest to the most accurate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// 8-bit weights, multiplied with 8-bit activations where runtimes can.
    #[default]
    Integers,
    /// 8-bit weights, restored before float arithmetic.
    Weights,
    /// 16-bit float weights, restored before float arithmetic.
    Sixteen,
    /// As it was.
    Float,
}

/// The level of each weight tensor of the main graph; the first, but for those that were given another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Levels {
    given: BTreeMap<ValueId, Level>,
}

impl Levels {
    /// The level of a value of the main graph.
    pub(super) fn of(&self, value: ValueId) -> Level {
        self.given.get(&value).copied().unwrap_or_default()
    }

    /// The same with another level for one tensor.
    #[must_use]
    pub(super) fn with(mut self, value: ValueId, level: Level) -> Self {
        self.given.insert(value, level);
        self
    }
}
