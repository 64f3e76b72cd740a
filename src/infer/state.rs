//! What a walk carries from operator to operator: symbols, what they turned out to equal, and the remaining budget.

use std::collections::{BTreeMap, BTreeSet};

use super::demand::{Conflict, Demands};
use super::fact::{Extent, Fact};
use super::sym::{SymExpr, Symbol};
use super::{Contradiction, GraphFacts};
use crate::error::Site;
use crate::ir::{Model, names_nothing};

/// A model that does not fit together needs no longer list than this.
const MAX_CONFLICTS: usize = 16;

/// How many equations are followed from one symbol to the next.
const MAX_CHAIN: usize = 64;

/// The state of a walk over a model.
pub(super) struct State<'m> {
    pub(super) model: &'m Model,
    /// Names that inputs of the model have for dimensions; only those can be part of an expression in a declared type.
    names: BTreeSet<String>,
    next_fresh: u32,
    /// Symbols below this number come from outside of a body that may not run, so nothing in it proves them equal.
    pub(super) bindable_from: u32,
    bindings: BTreeMap<u32, SymExpr>,
    pub(super) contradictions: Vec<Contradiction>,
    pub(super) conflicts: Vec<Conflict>,
    pub(super) demands: Demands,
    /// Why the inputs of the operator that is looked at do not go together, where they do not.
    misfit: Option<String>,
    /// How many operators may still be looked at: bodies are walked again for each call and until they are stable.
    pub(super) budget: usize,
    /// How deep the walk is inside subgraphs and functions.
    pub(super) depth: usize,
    pub(super) functions: BTreeMap<usize, GraphFacts>,
}

impl<'m> State<'m> {
    pub(super) fn new(model: &'m Model) -> Self {
        let inputs = model.graph.inputs().iter();
        let dims = inputs.filter_map(|&input| model.graph.value(input).ty().shape()).flat_map(|shape| &shape.0);
        let names = dims.filter_map(|dim| match dim {
            crate::ir::Dim::Sym(name) => Some(name.to_string()),
            _ => None,
        });
        Self {
            model,
            names: names.collect(),
            next_fresh: 0,
            bindable_from: 0,
            bindings: BTreeMap::new(),
            contradictions: Vec::new(),
            conflicts: Vec::new(),
            demands: Demands::default(),
            misfit: None,
            budget: model.node_count().saturating_mul(16).saturating_add(50_000),
            depth: 0,
            functions: BTreeMap::new(),
        }
    }

    /// What a name in a declared type stands for: an expression where it is one over names of the model's inputs, else a
    /// symbol of that name.
    pub(super) fn read_name(&mut self, text: &str) -> SymExpr {
        // Exporters write these for every dimension they know nothing of.
        if names_nothing(text) {
            return self.fresh();
        }
        match SymExpr::parse(text) {
            Some(expression)
                if expression.as_symbol().is_none()
                    && expression.as_int().is_none()
                    && !expression.any_symbol(|symbol| !self.names.contains(&symbol.to_string())) =>
            {
                expression
            }
            _ => SymExpr::named(text),
        }
    }

    /// A symbol that nothing is known of.
    pub(super) fn fresh(&mut self) -> SymExpr {
        let number = self.next_fresh;
        self.next_fresh = self.next_fresh.saturating_add(1);
        SymExpr::symbol(Symbol::Fresh(number))
    }

    /// The number of the next symbol: those from here on belong to what is walked next.
    pub(super) fn mark(&self) -> u32 {
        self.next_fresh
    }

    /// Gives every extent that nothing is known of a symbol, so that what depends on it stays comparable.
    pub(super) fn name_extents(&mut self, fact: &mut Fact) {
        for extent in fact.shape.iter_mut().flatten() {
            if extent.is_none() {
                *extent = Some(self.fresh());
            }
        }
    }

    /// The fact in terms of the symbols that are left.
    pub(super) fn resolve(&self, fact: &Fact) -> Fact {
        let bound = |symbol: &Symbol| matches!(symbol, Symbol::Fresh(n) if self.bindings.contains_key(n));
        if self.bindings.is_empty() || !fact.any_symbol(&bound) {
            return fact.clone();
        }
        fact.map_expressions(&|expression| self.resolve_expression(expression))
    }

    pub(super) fn resolve_expression(&self, expression: &SymExpr) -> Option<SymExpr> {
        self.resolve_chain(expression, MAX_CHAIN)
    }

    fn resolve_chain(&self, expression: &SymExpr, steps: usize) -> Option<SymExpr> {
        let bound = |symbol: &Symbol| matches!(symbol, Symbol::Fresh(n) if self.bindings.contains_key(n));
        if !expression.any_symbol(bound) {
            return Some(expression.clone());
        }
        let steps = steps.checked_sub(1)?;
        let next = expression.substitute(&|symbol| match symbol {
            Symbol::Fresh(number) => self.bindings.get(number).cloned(),
            Symbol::Named(_) => None,
        })?;
        self.resolve_chain(&next, steps)
    }

    /// Notes that two extents must be equal, and yields the better known of them. Only symbols that nobody named give
    /// way: a name of the user's is never replaced.
    pub(super) fn merge(&mut self, left: &Extent, right: &Extent) -> Extent {
        let (Some(left), Some(right)) = (left, right) else { return left.clone().or_else(|| right.clone()) };
        let (left, right) = (self.resolve_expression(left)?, self.resolve_expression(right)?);
        if left == right {
            return Some(left);
        }
        let free = |expression: &SymExpr| match expression.as_symbol() {
            Some(Symbol::Fresh(number)) if *number >= self.bindable_from => Some(*number),
            _ => None,
        };
        let (symbol, other) = match (free(&left), free(&right)) {
            // The younger gives way to the older.
            (Some(l), Some(r)) if l < r => (r, left.clone()),
            (Some(l), _) => (l, right.clone()),
            (None, Some(r)) => (r, left.clone()),
            (None, None) => {
                match left.as_int().zip(right.as_int()) {
                    Some((l, r)) => self.misfit(|| format!("{l} and {r}, which must be equal")),
                    None => self.demands.equal(&left, &right),
                }
                return Some(if right.as_int().is_some() { right } else { left });
            }
        };
        if other.any_symbol(|inner| *inner == Symbol::Fresh(symbol)) {
            return Some(left);
        }
        self.bindings.insert(symbol, other.clone());
        Some(other)
    }

    /// Says why the inputs of the operator that is looked at do not go together. The first reason counts.
    pub(super) fn misfit(&mut self, reason: impl FnOnce() -> String) {
        self.misfit.get_or_insert_with(reason);
    }

    /// Notes a conflict at an operator, where one was said. In a body that may not run there is none.
    pub(super) fn settle_misfit(&mut self, site: impl FnOnce() -> Site) {
        if let Some(reason) = self.misfit.take()
            && self.bindable_from == 0
            && self.conflicts.len() < MAX_CONFLICTS
        {
            self.conflicts.push(Conflict { site: site(), reason });
        }
    }

    /// Completes an inferred fact by the declared one, and notes where the two cannot both be true.
    pub(super) fn complete(&mut self, fact: &mut Fact, declared: &Fact, site: impl FnOnce() -> Site) {
        let differs = |l: &Extent, r: &Extent| match (l, r) {
            (Some(l), Some(r)) => l.as_int().zip(r.as_int()).is_some_and(|(l, r)| l != r),
            _ => false,
        };
        let types_differ = fact.dtype.zip(declared.dtype).is_some_and(|(l, r)| l != r);
        let shapes_differ = fact.shape.as_ref().zip(declared.shape.as_ref()).is_some_and(|(left, right)| {
            left.len() != right.len() || left.iter().zip(right).any(|(l, r)| differs(l, r))
        });
        if types_differ || shapes_differ {
            self.contradictions.push(Contradiction {
                site: site(),
                declared: declared.to_type().to_string(),
                inferred: fact.to_type().to_string(),
            });
            return;
        }
        fact.dtype = fact.dtype.or(declared.dtype);
        match (&mut fact.shape, &declared.shape) {
            (None, Some(shape)) => fact.shape = Some(shape.clone()),
            (Some(shape), Some(declared)) => {
                for (extent, declared) in shape.iter_mut().zip(declared) {
                    let is_free = extent.as_ref().is_none_or(|e| matches!(e.as_symbol(), Some(Symbol::Fresh(_))));
                    if is_free && declared.is_some() {
                        *extent = self.merge(declared, extent);
                    }
                }
            }
            _ => {}
        }
    }
}
