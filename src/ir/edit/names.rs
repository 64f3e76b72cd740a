//! Fresh names.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The names in use in all graphs of a model, shared by them.
#[derive(Debug, Clone, Default)]
pub(crate) struct NamePool(Arc<Mutex<HashSet<Arc<str>>>>);

impl NamePool {
    /// A pool of its own with the same names.
    pub(in crate::ir) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())))
    }

    pub(crate) fn insert(&self, name: Arc<str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    }

    pub(super) fn contains(&self, name: &str) -> bool {
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
