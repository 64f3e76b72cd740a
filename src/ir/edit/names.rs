//! Names of values: fresh ones, other ones, and those that parts of the file outside of operators know.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use super::broken;
use crate::error::Result;
use crate::ir::graph::{Graph, NodeId, Port, ValueId};

/// The names in use in all graphs of a model, shared by them.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamePool(Arc<Mutex<HashSet<Arc<str>>>>);

impl NamePool {
    pub(crate) fn insert(&self, name: Arc<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    fn contains(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// A name nobody uses yet: `base`, or `base_1`, `base_2` ...
    pub(super) fn fresh(&self, base: &str) -> Arc<str> {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut candidate: Arc<str> = base.into();
        let mut number = 0u64;
        while base.is_empty() || names.contains(&candidate) {
            number += 1;
            candidate = format!("{base}_{number}").into();
            if !names.contains(&candidate) {
                break;
            }
        }
        names.insert(candidate.clone());
        candidate
    }
}

impl Graph {
    /// Gives a value another name, inside subgraphs that read it and in the graph's outputs too.
    pub(super) fn rename_value(&mut self, value: ValueId, name: &Arc<str>) -> Result<()> {
        let old = mem::replace(&mut self.value_mut(value)?.name, name.clone());
        self.names.remove(&old);
        self.names.insert(name.clone(), value);
        if let Some(info) = &mut self.value_mut(value)?.info {
            info.name = Some(name.to_string());
        }
        for output in &mut self.outputs {
            if output.value == value {
                output.info.name = Some(name.to_string());
            }
        }
        let readers: Vec<NodeId> = self
            .net
            .edges_directed(value.0, Direction::Outgoing)
            .filter(|edge| *edge.weight() == Port::Capture)
            .map(|edge| NodeId(edge.target()))
            .collect();
        for node in readers {
            self.rename_capture(node, &old, name)?;
        }
        Ok(())
    }

    /// Exchanges the names of two values, so that `b` becomes what readers by name, graph outputs among them, see as `a`.
    fn swap_names(&mut self, a: ValueId, b: ValueId) -> Result<()> {
        let (name_a, name_b) = (self.value(a).name.clone(), self.value(b).name.clone());
        let parked = self.pool.fresh("renamed");
        self.rename_value(a, &parked)?;
        self.rename_value(b, &name_a)?;
        self.rename_value(a, &name_b)
    }

    /// Makes `new` take the place of `old` everywhere, as an output of the graph too: there `new` takes over the name.
    /// `old` keeps its definition and has no readers left. Says why where that cannot be done, and changes nothing then.
    ///
    /// # Errors
    /// Fails where a value is not in the graph.
    pub fn replace_value(&mut self, old: ValueId, new: ValueId) -> Result<Result<(), &'static str>> {
        if self.value(old).is_output() {
            let held = self.value(new);
            if held.is_output() {
                return Ok(Err("both values are outputs of the graph"));
            }
            if held.is_input {
                return Ok(Err("an output of the graph would be one of its inputs"));
            }
            if held.is_outer {
                return Ok(Err("an output of the graph would be a value of an enclosing one"));
            }
            if held.init.is_some() || held.is_sparse {
                return Ok(Err("an output of the graph would be an initializer"));
            }
            if held.is_pinned || self.value(old).is_pinned {
                return Ok(Err("other parts of the file refer to the value by name"));
            }
            self.replace_reads(old, new)?;
            self.swap_names(old, new)?;
            let uses = mem::take(&mut self.value_mut(old)?.output_uses);
            self.value_mut(new)?.output_uses += uses;
            let name = self.value(new).name.to_string();
            for output in &mut self.outputs {
                if output.value == old {
                    output.value = new;
                    output.info.name = Some(name.clone());
                }
            }
            return Ok(Ok(()));
        }
        self.replace_reads(old, new)?;
        Ok(Ok(()))
    }

    /// Gives an internal value another name; `base` or the first free name after it. Inputs and outputs keep theirs.
    ///
    /// # Errors
    /// Fails where the value belongs to the signature, is read from an enclosing graph, or is pinned.
    pub fn rename_internal(&mut self, value: ValueId, base: &str) -> Result<()> {
        let held = self.value(value);
        if held.is_input || held.is_output() || held.is_outer || held.is_pinned {
            return Err(broken(format!("`{}` cannot be renamed here", held.name())));
        }
        let name = self.pool.fresh(base);
        self.rename_value(value, &name)
    }

    /// Whether some value of the model has that name.
    pub(crate) fn is_name_taken(&self, name: &str) -> bool {
        self.pool.contains(name)
    }

    /// Marks the value of that name, where there is one, as referred to by name from outside of operators.
    pub(crate) fn pin(&mut self, name: &str) -> Result<()> {
        match self.find_value(name) {
            Some(value) => self.value_mut(value).map(|held| held.is_pinned = true),
            None => Ok(()),
        }
    }
}
