//! Where two models that should be the same differ first.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::ir::Model;

/// The first difference in words: metadata, operators, constants, or something else.
///
/// # Errors
/// Fails where a graph has a cycle.
pub(super) fn first(expected: &Model, found: &Model) -> Result<String> {
    let metadata = |model: &Model| -> BTreeMap<String, String> {
        model.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let (ours, theirs) = (metadata(expected), metadata(found));
    let key = ours.keys().chain(theirs.keys()).find(|key| ours.get(*key) != theirs.get(*key));
    if let Some(key) = key {
        let value = |of: &BTreeMap<String, String>| of.get(key).map_or("none".to_owned(), |value| format!("`{value}`"));
        return Ok(format!("metadata `{key}` is {} instead of {}", value(&theirs), value(&ours)));
    }
    let operators = |model: &Model| -> Result<Vec<String>> {
        let graph = &model.graph;
        Ok(graph.topological_order()?.into_iter().map(|node| graph.site(node).to_string()).collect())
    };
    let (ours, theirs) = (operators(expected)?, operators(found)?);
    if let Some(place) = (0..ours.len().max(theirs.len())).find(|&place| ours.get(place) != theirs.get(place)) {
        let name = |of: &[String]| of.get(place).cloned().unwrap_or_else(|| "no operator".to_owned());
        return Ok(format!("operator {} is {} instead of {}", place + 1, name(&theirs), name(&ours)));
    }
    let (ours, theirs) = (&expected.graph, &found.graph);
    for value in ours.initializers() {
        let name = ours.value(value).name();
        let other = theirs.find_value(name).and_then(|value| theirs.value(value).initializer());
        let same = match (ours.value(value).initializer(), other) {
            (Some(ours), Some(theirs)) => ours.same_as(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        if !same {
            return Ok(format!("the first constant that differs is `{}`", ours.value(value).describe()));
        }
    }
    Ok("operators and constants of the main graph are the same".to_owned())
}
