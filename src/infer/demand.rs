//! What a model asks of the extents of its inputs: equations and lower bounds, and where numbers do not go together.

use std::collections::BTreeSet;

use super::sym::SymExpr;
use crate::error::Site;

/// A large model says the same again and again; this is more than any of them has to say.
const MAX_DEMANDS: usize = 512;

/// An operator whose inputs do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The operator.
    pub site: Site,
    /// What is wrong, as extents that were found: `3 and 4, which must be equal`.
    pub reason: String,
}

/// Something that extents must fulfil for a model to run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Demand {
    /// Both are the same number.
    Equal(SymExpr, SymExpr),
    /// Both are the same number, or one of them is 1.
    Broadcast(SymExpr, SymExpr),
    /// It is no less than 1.
    Positive(SymExpr),
}

impl Demand {
    /// Whether the demand is met where every symbol has the value that `value` gives; also where that cannot be told.
    pub fn is_met(&self, value: &dyn Fn(&super::Symbol) -> Option<SymExpr>) -> bool {
        let number = |expression: &SymExpr| expression.substitute(value)?.as_int();
        match self {
            Self::Equal(left, right) => number(left).zip(number(right)).is_none_or(|(left, right)| left == right),
            Self::Broadcast(left, right) => {
                let pair = number(left).zip(number(right));
                pair.is_none_or(|(left, right)| left == right || left == 1 || right == 1)
            }
            Self::Positive(extent) => number(extent).is_none_or(|extent| extent >= 1),
        }
    }

    /// Whether a symbol that fulfils a condition is in it.
    pub fn any_symbol(&self, condition: &dyn Fn(&super::Symbol) -> bool) -> bool {
        match self {
            Self::Equal(left, right) | Self::Broadcast(left, right) => {
                left.any_symbol(condition) || right.any_symbol(condition)
            }
            Self::Positive(extent) => extent.any_symbol(condition),
        }
    }
}

/// Demands, each once.
#[derive(Debug, Clone, Default)]
pub(super) struct Demands(BTreeSet<Demand>);

impl Demands {
    pub(super) fn equal(&mut self, left: &SymExpr, right: &SymExpr) {
        self.add(|| Demand::Equal(left.clone(), right.clone()));
    }

    pub(super) fn broadcast(&mut self, left: &SymExpr, right: &SymExpr) {
        self.add(|| Demand::Broadcast(left.clone(), right.clone()));
    }

    pub(super) fn positive(&mut self, extent: &SymExpr) {
        // A sum without anything negative in it is positive whatever its symbols are.
        if extent.as_int().is_none()
            && extent.lower_bound().is_none_or(|bound| bound < 1)
            && extent.as_symbol().is_none()
        {
            self.add(|| Demand::Positive(extent.clone()));
        }
    }

    fn add(&mut self, demand: impl FnOnce() -> Demand) {
        if self.0.len() < MAX_DEMANDS {
            self.0.insert(demand());
        }
    }

    /// Those about dimensions with names alone.
    pub(super) fn into_named(self, resolve: &dyn Fn(&SymExpr) -> Option<SymExpr>) -> Vec<Demand> {
        let resolved = self.0.into_iter().filter_map(|demand| match demand {
            Demand::Equal(left, right) => Some(Demand::Equal(resolve(&left)?, resolve(&right)?)),
            Demand::Broadcast(left, right) => Some(Demand::Broadcast(resolve(&left)?, resolve(&right)?)),
            Demand::Positive(extent) => Some(Demand::Positive(resolve(&extent)?)),
        });
        let named = |demand: &Demand| !demand.any_symbol(&|symbol| matches!(symbol, super::Symbol::Fresh(_)));
        resolved.filter(named).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
