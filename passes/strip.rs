//! Removes what is in the file for people: doc strings, metadata, names.
//!
//! ```text
//! // strip=names
//! [encoder.layer.0.conv] encoder.layer.0.conv.out = Conv(x, encoder.layer.0.conv.weight)
//! =>
//! b = Conv(x, a)
//! ```
//!
//! `docs`      doc strings of the model, its graphs, functions, operators, values, tensors and attributes
//! `metadata`  metadata of the same, but for keys of [`KEPT_METADATA`]
//! `traces`    what exporters note for their own debugging, such as the stack trace behind each operator: metadata of
//!             everything but the model under keys that begin with `pkg.`, and doc strings of operators with lines of source
//! `names`     operators lose their names; values inside of graphs get the shortest names that are free
//! `all`       all of these, and what tells more of its makers than of the model: training information, constants that
//!             nothing reads, names of the producer and of graphs that are paths. The written file is scanned for what is
//!             left of it ([`crate::privacy`]), and refused if there is anything
//!
//! Whatever the choice, `value_info` entries go that describe no value of their graph, or an initializer, which has its
//! type with it.
//!
//! Kept are the names of inputs and outputs of every graph, names that training information, quantization annotations
//! or sharding refer to, the name and version of the producer, and quantization annotations, which some runtimes need;
//! without `all`, training information as well.
//! A name that is as short as the new ones already stays, so that a second run changes nothing.

use crate::error::{Result, Site};
use crate::ir::{Graph, Model, Notes, ValueId};
use crate::pass::{Changed, Cx, Effect, OptKind, OptSpec, Opts, Pass, PassInfo, Scope, enumerate};
use crate::privacy::KEPT_METADATA;

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "strip",
    summary: "removes doc strings, metadata, traces or names that no runtime needs; all: whatever tells of its makers, with proof",
    effect: Effect::Exact,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[OptSpec {
        key: "what",
        kind: OptKind::Choice(&["docs", "metadata", "traces", "names", "all"]),
        default: Some("docs"),
        help: "what to remove besides unused value_info; give names last: other passes name their places by them",
    }],
    build,
};

/// The sorts of notes, by choice of the option, with the noun that remarks use for them.
const NOTES: &[(&str, &str, Notes)] = &[
    ("docs", "doc string", Notes { docs: true, metadata: false, names: false, traces: false }),
    ("metadata", "metadata record", Notes { docs: false, metadata: true, names: false, traces: false }),
    ("traces", "exporter's note", Notes { docs: false, metadata: false, names: false, traces: true }),
    ("names", "operator name", Notes { docs: false, metadata: false, names: true, traces: false }),
];

#[derive(Debug)]
struct Strip {
    what: String,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(Strip { what: opts.choice("what").to_owned() }))
}

impl Pass for Strip {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut removed = Vec::new();
        for &(_, noun, notes) in NOTES.iter().filter(|(choice, ..)| self.removes(choice)) {
            let mut count = model.drop_notes(notes);
            if notes.metadata {
                count += model.retain_metadata(|key| KEPT_METADATA.iter().any(|kept| key.starts_with(kept)));
            }
            model.edit_graphs(|graph, _| {
                count += graph.drop_notes(notes);
                Ok(())
            })?;
            removed.push((count, noun));
        }
        let (mut infos, mut renamed) = (0, 0);
        model.edit_graphs(|graph, _| {
            infos += drop_unused_value_info(graph)?;
            Ok(())
        })?;
        removed.push((infos, "unused value_info record"));
        if self.what == "all" {
            removed.extend(drop_traces(model)?);
        }
        if self.removes("names") {
            for (root, graph) in model.roots_mut() {
                renamed += shorten_names(graph, &root)?;
            }
        }
        let removed = enumerate(&removed).map(|words| format!("removed {words}"));
        let renamed = enumerate(&[(renamed, "value name")]).map(|words| format!("shortened {words}"));
        let done: Vec<String> = removed.into_iter().chain(renamed).collect();
        if done.is_empty() {
            return Ok(Changed::No);
        }
        cx.applied(Site::default(), done.join("; "));
        Ok(Changed::Yes)
    }
}

impl Strip {
    fn removes(&self, choice: &str) -> bool {
        self.what == choice || self.what == "all"
    }
}

/// Removes what is of no use to whoever runs the model.
fn drop_traces(model: &mut Model) -> Result<[(usize, &'static str); 3]> {
    let training = model.drop_training_info()?;
    let (mut paths, mut unread) = (model.drop_paths(), 0);
    model.edit_graphs(|graph, _| {
        paths += usize::from(graph.drop_path());
        unread += graph.drop_unread_sparse()?;
        for value in graph.values() {
            // The default of an input that nothing reads is no part of the signature.
            let is_default = graph.value(value).is_input() && graph.value(value).initializer().is_some();
            unread += match is_default && graph.is_unread(value) {
                true => graph.remove_value(value).map(|()| 1)?,
                false => usize::from(graph.remove_unread_constant(value)?),
            };
        }
        Ok(())
    })?;
    Ok([(training, "training section"), (paths, "path-like name"), (unread, "unread constant")])
}

fn drop_unused_value_info(graph: &mut Graph) -> Result<usize> {
    let mut dropped = graph.drop_stray_value_info();
    for value in graph.initializers() {
        dropped += usize::from(graph.drop_value_info(value)?);
    }
    Ok(dropped)
}

/// Gives the values of a graph and all inside of it the shortest names that are free. Returns how many were renamed.
fn shorten_names(graph: &mut Graph, path: &[String]) -> Result<usize> {
    let mut count = 0;
    graph.visit_outer_first(path, |graph, _| {
        count += graph.values().len();
        Ok(())
    })?;
    let mut names = ShortNames::for_count(count);
    let mut renamed = 0;
    graph.edit_outer_first(path, |graph, _| {
        for value in in_order_of_use(graph) {
            let held = graph.value(value);
            let is_free = !(held.is_input() || held.is_output() || held.is_outer() || held.is_pinned());
            if is_free && !held.is_sparse() && held.name().len() > names.length {
                let Some(name) = names.by_ref().find(|name| !graph.is_name_taken(name)) else { break };
                graph.rename_internal(value, &name)?;
                renamed += 1;
            }
        }
        Ok(())
    })?;
    Ok(renamed)
}

/// The values that operators of a graph write, and its initializers, in the order of the file.
fn in_order_of_use(graph: &Graph) -> Vec<ValueId> {
    let written = graph.nodes().into_iter().flat_map(|node| graph.node_outputs(node)).flatten();
    graph.initializers().into_iter().chain(written).collect()
}

/// Names of one length, a letter and then letters or digits, in order.
struct ShortNames {
    length: usize,
    next: u64,
}

impl ShortNames {
    /// Names as short as they can be for `count` values, even where as many of them are taken.
    fn for_count(count: usize) -> Self {
        let mut length = 1;
        while 26 * 36u64.pow(length as u32 - 1) < 2 * count as u64 {
            length += 1;
        }
        Self { length, next: 0 }
    }
}

impl Iterator for ShortNames {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut rest = self.next;
        self.next += 1;
        let mut name = vec![b'a'; self.length];
        for place in name.iter_mut().skip(1).rev() {
            *place = DIGITS[(rest % 36) as usize];
            rest /= 36;
        }
        name[0] = *DIGITS.get(rest as usize).filter(|digit| digit.is_ascii_lowercase())?;
        String::from_utf8(name).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::ShortNames;

    #[test]
    fn short_names_are_distinct_and_run_out() {
        let names: Vec<String> = ShortNames { length: 2, next: 0 }.collect();
        assert_eq!((names.len(), names[0].as_str(), names[36].as_str(), names[935].as_str()), (936, "aa", "ba", "z9"));
        assert_eq!(ShortNames::for_count(13).length, 1);
        assert_eq!(ShortNames::for_count(14).length, 2);
    }
}
