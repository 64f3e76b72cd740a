//! Holds a model against the operator sets that it imports.
//!
//! Runtimes accept more than the specification allows, so what is found are warnings, and [`ir::check`](crate::ir::check)
//! knows nothing of them. Left alone are operators that the model defines by a function, operators of domains that are
//! not known, and domains that are imported in a version newer than the known ones (one warning says so).
//!
//! The verdict on a node is that of the official checker but for two rules that its package does not tell: a
//! BatchNormalization has one output or all, and LayerNormalization may have attributes that the specification does not
//! name.

use std::collections::{BTreeMap, BTreeSet};

use super::schema::{Arity, AttrKind, Formal, Schema, fewest, most};
use super::table::{canonical, latest, schema, versions};
use crate::error::Site;
use crate::ir::{Graph, Model, NodeId, ValueId};
use crate::onnx::proto::OperatorSetIdProto;

/// Where the operators of a model depart from what its operator sets define: operators that are unknown or withdrawn in
/// the imported version, wrong counts of inputs and outputs, attributes that are unknown, missing or of the wrong kind.
pub fn check(model: &Model) -> Vec<(Site, String)> {
    let defined = model.functions.iter().map(|function| (canonical(function.domain()), function.name())).collect();
    let mut imports = versions_by_domain(&model.proto.opset_import);
    if imports.is_empty() {
        // Files of the first IR versions import nothing and mean the first operator set.
        imports.insert("", 1);
    }
    let mut check = Check { defined, imports, findings: Vec::new() };
    check.newer_imports();
    check.graph(&model.graph, &mut Vec::new());
    for function in &model.functions {
        check.imports = versions_by_domain(&function.proto.opset_import);
        check.graph(&function.body, &mut vec![format!("function `{}`", function.name())]);
    }
    check.findings
}

fn versions_by_domain(imports: &[OperatorSetIdProto]) -> BTreeMap<&str, i64> {
    let mut versions = BTreeMap::new();
    for import in imports {
        versions.entry(canonical(import.domain())).or_insert(import.version());
    }
    versions
}

struct Check<'a> {
    /// Domain and name of the operators that functions of the model define.
    defined: BTreeSet<(&'a str, &'a str)>,
    /// The operator sets that the model, or the function under examination, imports.
    imports: BTreeMap<&'a str, i64>,
    findings: Vec<(Site, String)>,
}

impl Check<'_> {
    fn newer_imports(&mut self) {
        for (&domain, &version) in &self.imports {
            if let Some(known) = latest(domain).filter(|&known| known < version) {
                let what = format!(
                    "the model imports version {version} of {}, of which versions up to {known} are known: its operators \
                     are not checked",
                    set_name(domain)
                );
                self.findings.push((Site::default(), what));
            }
        }
    }

    fn graph(&mut self, graph: &Graph, path: &mut Vec<String>) {
        for id in graph.nodes() {
            for finding in self.node(graph, id) {
                self.findings.push((graph.site(id).in_path(path), finding));
            }
            for subgraph in graph.node(id).subgraphs() {
                path.push(format!("{} `{}`.{}", graph.node(id).op_type(), graph.node_label(id), subgraph.attribute));
                self.graph(&subgraph.graph, path);
                path.pop();
            }
        }
    }

    fn node(&self, graph: &Graph, id: NodeId) -> Vec<String> {
        let node = graph.node(id);
        let (domain, op_type) = (node.domain(), node.op_type());
        let Some(known) = latest(domain) else { return Vec::new() };
        if self.defined.contains(&(domain, op_type)) {
            return Vec::new();
        }
        let Some(&version) = self.imports.get(domain) else {
            return vec![format!("{} is not imported", set_name(domain))];
        };
        if version > known {
            return Vec::new();
        }
        match schema(domain, op_type, version) {
            None => vec![unknown(domain, op_type, version)],
            Some(schema) if schema.deprecated => {
                vec![format!("{} withdrew the operator in version {}", set_name(domain), schema.since_version)]
            }
            Some(schema) => {
                let mut findings = Vec::new();
                slots("input", &graph.node_inputs(id), &schema.inputs, &mut findings);
                slots("output", &graph.node_outputs(id), &schema.outputs, &mut findings);
                attributes(graph, id, schema, &mut findings);
                findings
            }
        }
    }
}

fn set_name(domain: &str) -> String {
    format!("the operator set `{}`", if domain.is_empty() { "ai.onnx" } else { domain })
}

fn unknown(domain: &str, op_type: &str, version: i64) -> String {
    match versions(domain, op_type).next() {
        Some(first) => format!("the operator came with version {first} of {}; imported is {version}", set_name(domain)),
        None => format!("{} has no such operator", set_name(domain)),
    }
}

fn slots(side: &str, values: &[Option<ValueId>], formals: &[Formal], findings: &mut Vec<String>) {
    let (count, fewest, most) = (values.len(), fewest(formals), most(formals));
    if count < fewest || most.is_some_and(|most| count > most) {
        let allowed = match most {
            Some(most) if most == fewest => format!("{fewest}"),
            Some(most) => format!("{fewest} to {most}"),
            None => format!("{fewest} or more"),
        };
        findings.push(format!("the number of {side}s is {count}; the operator takes {allowed}"));
    }
    for (value, formal) in values.iter().zip(formals) {
        if value.is_none() && formal.arity == Arity::Single {
            findings.push(format!("{side} `{}` is left empty", formal.name));
        }
    }
}

fn attributes(graph: &Graph, id: NodeId, schema: &Schema, findings: &mut Vec<String>) {
    let node = graph.node(id);
    let since = schema.since_version;
    for attribute in node.attributes() {
        let name = attribute.name();
        match (schema.attribute(name), AttrKind::of(attribute)) {
            // ONNX leaves names with two underscores in front to whoever wants them.
            (None, _) if name.starts_with("__") => {}
            (None, _) => findings.push(format!("attribute `{name}` is unknown to version {since} of the operator")),
            (Some(known), Some(kind)) if kind != known.kind => {
                findings.push(format!("attribute `{name}` is of kind {kind}; the operator takes {}", known.kind));
            }
            _ => {}
        }
    }
    for required in schema.attributes.iter().filter(|attribute| attribute.required) {
        if node.attr(required.name).is_none() {
            findings.push(format!("attribute `{}` is missing", required.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::NodeSpec;
    use crate::onnx::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
    use prost::Message;

    fn model(opset: i64, spec: NodeSpec, inputs: &[&str]) -> ModelProto {
        let named = |name: &str| ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() };
        let node = NodeProto {
            attribute: spec.attributes.iter().map(|attribute| attribute.proto().clone()).collect(),
            input: inputs.iter().map(|&name| name.into()).collect(),
            output: vec!["y".into()],
            ..spec.proto
        };
        let graph = GraphProto { node: vec![node], input: vec![named("x")], ..GraphProto::default() };
        ModelProto {
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(opset) }],
            graph: Some(graph),
            ..ModelProto::default()
        }
    }

    fn findings_of(model: &ModelProto) -> Vec<String> {
        let model = crate::onnx::decode(model.encode_to_vec().into(), None).unwrap();
        check(&model).into_iter().map(|(site, finding)| format!("{site}: {finding}")).collect()
    }

    /// The findings about a model of one node that reads `x` or, where the name is empty, nothing.
    fn findings(opset: i64, spec: NodeSpec, inputs: &[&str]) -> Vec<String> {
        findings_of(&model(opset, spec, inputs))
    }

    #[test]
    fn a_node_within_its_operator_set_passes() {
        assert!(findings(13, NodeSpec::new("Clip"), &["x", "", "x"]).is_empty());
        assert!(findings(10, NodeSpec::new("Clip").attr("min", 0.0), &["x"]).is_empty());
        assert!(findings(13, NodeSpec::new("Concat").attr("axis", 1), &["x"; 20]).is_empty());
        assert!(findings(13, NodeSpec::new("Thing").domain("com.example"), &[]).is_empty());
        assert!(findings(13, NodeSpec::new("Relu").attr("__note", 1), &["x"]).is_empty());
    }

    #[test]
    fn attributes_are_held_against_the_imported_version() {
        let clip = || NodeSpec::new("Clip").attr("min", 0.0);
        assert_eq!(
            findings(11, clip(), &["x"]),
            ["Clip `y`: attribute `min` is unknown to version 11 of the operator"]
        );
        let flatten = NodeSpec::new("Flatten").attr("axis", 1.0);
        assert_eq!(
            findings(13, flatten, &["x"]),
            ["Flatten `y`: attribute `axis` is of kind float; the operator takes int"]
        );
        assert_eq!(findings(13, NodeSpec::new("Concat"), &["x"]), ["Concat `y`: attribute `axis` is missing"]);
    }

    #[test]
    fn slots_are_counted() {
        let add = |inputs| findings(13, NodeSpec::new("Add"), inputs);
        assert_eq!(add(&["x"]), ["Add `y`: the number of inputs is 1; the operator takes 2"]);
        assert_eq!(add(&["x", ""]), ["Add `y`: input `B` is left empty"]);
        let clip = findings(13, NodeSpec::new("Clip"), &["x"; 4]);
        assert_eq!(clip, ["Clip `y`: the number of inputs is 4; the operator takes 1 to 3"]);
    }

    #[test]
    fn operators_outside_of_the_imported_version_are_named() {
        let gelu = || NodeSpec::new("Gelu");
        assert_eq!(
            findings(17, gelu(), &["x"]),
            ["Gelu `y`: the operator came with version 20 of the operator set `ai.onnx`; imported is 17"]
        );
        assert_eq!(
            findings(17, NodeSpec::new("Scatter"), &["x"; 3]),
            ["Scatter `y`: the operator set `ai.onnx` withdrew the operator in version 11"]
        );
        assert_eq!(
            findings(17, NodeSpec::new("Crop"), &["x"]),
            ["Crop `y`: the operator set `ai.onnx` has no such operator"]
        );
        assert_eq!(
            findings(17, gelu().domain("com.microsoft"), &["x"]),
            ["Gelu `y`: the operator set `com.microsoft` is not imported"]
        );
    }

    #[test]
    fn a_version_from_the_future_is_said_once() {
        let found = findings(1000, NodeSpec::new("Crop"), &[]);
        assert!(matches!(found.as_slice(), [one] if one.contains("imports version 1000")), "{found:?}");
    }

    #[test]
    fn functions_define_operators_and_have_operator_sets_of_their_own() {
        let mut model = model(17, NodeSpec::new("Crop"), &["x"]);
        model.functions = vec![FunctionProto {
            name: Some("Crop".into()),
            domain: Some("ai.onnx".into()),
            input: vec!["a".into()],
            output: vec!["b".into()],
            node: vec![NodeProto {
                op_type: Some("Gelu".into()),
                input: vec!["a".into()],
                output: vec!["b".into()],
                ..NodeProto::default()
            }],
            opset_import: vec![OperatorSetIdProto { domain: Some("ai.onnx".into()), version: Some(20) }],
            ..FunctionProto::default()
        }];
        assert!(findings_of(&model).is_empty());
        model.functions[0].opset_import[0].version = Some(19);
        let found = findings_of(&model);
        assert!(
            matches!(found.as_slice(), [one] if one.starts_with("function `Crop`, Gelu `b`: the operator came with")),
            "{found:?}"
        );
    }
}
