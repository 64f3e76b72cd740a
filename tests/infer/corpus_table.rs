//! Real models without their `value_info`: nothing contradicts onnx.shape_inference or tract, and at least as much is known
//! as the better of the two knows.

use std::path::Path;
use std::process::Command;

use onnx_shrink::infer::{self, Fact, GraphFacts, SymExpr};
use onnx_shrink::ir::{Graph, Model, ValueId};
use onnx_shrink::onnx;

use crate::support::{corpus, python};

/// A value as the reference describes it.
pub(crate) struct Known {
    pub name: String,
    pub dtype: Option<i32>,
    pub extents: Option<Vec<String>>,
}

impl Known {
    fn parse(line: &str) -> Self {
        let mut parts = line.split('\t');
        let mut next = || parts.next().unwrap().to_owned();
        let (name, dtype, shape) = (next(), next(), next());
        let split = |shape: &str| shape.split(',').filter(|e| !e.is_empty()).map(str::to_owned).collect();
        Self { name, dtype: dtype.parse().ok(), extents: (shape != "-").then(|| split(&shape)) }
    }

    fn is_full(&self) -> bool {
        self.dtype.is_some() && self.extents.as_ref().is_some_and(|extents| extents.iter().all(|e| e != "?"))
    }

    /// Where the two cannot both be true.
    fn contradicts(&self, fact: &Fact) -> bool {
        if self.dtype.zip(fact.dtype).is_some_and(|(left, right)| left != right.to_onnx()) {
            return true;
        }
        let (Some(left), Some(right)) = (&self.extents, &fact.shape) else { return false };
        let differ = |(l, r): (&String, &Option<SymExpr>)| {
            let number = r.as_ref().and_then(SymExpr::as_int);
            l.parse::<i64>().ok().zip(number).is_some_and(|(l, r)| l != r)
        };
        left.len() != right.len() || left.iter().zip(right).any(differ)
    }
}

/// The model without `value_info`, and what the reference knows of it.
pub(crate) fn reference(path: &Path) -> (Model, Vec<Known>) {
    let folder = tempfile::tempdir().unwrap();
    let (model, known, _) = reference_in(&folder.path().join("stripped.onnx"), path);
    (model, known)
}

/// [`reference`] with the model left in a file, and how many values inside of subgraphs are fully known.
fn reference_in(stripped: &Path, path: &Path) -> (Model, Vec<Known>, usize) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/infer/reference.py");
    let output = Command::new(python::interpreter()).arg(script).arg(path).arg(stripped).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (values, inside) = text.trim_end().rsplit_once('\t').unwrap();
    let values = values.lines().filter(|line| !line.is_empty()).map(Known::parse).collect();
    (onnx::read(stripped).unwrap(), values, inside.parse().unwrap())
}

/// The values that operators write, in all graphs below: how many, and how many fully known.
fn count(graph: &Graph, facts: &GraphFacts) -> (usize, usize) {
    let (mut all, mut full) = (0, 0);
    for node in graph.nodes() {
        for value in graph.node_outputs(node).into_iter().flatten() {
            all += 1;
            full += usize::from(facts.get(value).is_some_and(Fact::is_fully_known));
        }
        for (index, inner) in graph.node(node).subgraphs().iter().enumerate() {
            let Some(facts) = facts.subgraph(node, index) else { continue };
            let (inner_all, inner_full) = count(&inner.graph, facts);
            all += inner_all;
            full += inner_full;
        }
    }
    (all, full)
}

/// The fully known values that operators in subgraphs write, without the outputs of the subgraphs, whose types are declared.
fn full_inside(graph: &Graph, facts: &GraphFacts) -> usize {
    let mut full = 0;
    for node in graph.nodes() {
        for (index, inner) in graph.node(node).subgraphs().iter().enumerate() {
            let Some(facts) = facts.subgraph(node, index) else { continue };
            let written = inner.graph.nodes().into_iter().flat_map(|node| inner.graph.node_outputs(node)).flatten();
            let is_full = |value: &ValueId| facts.get(*value).is_some_and(Fact::is_fully_known);
            full += written.filter(|&value| !inner.graph.value(value).is_output()).filter(is_full).count();
            full += full_inside(&inner.graph, facts);
        }
    }
    full
}

fn full_in_main(graph: &Graph, facts: &GraphFacts) -> usize {
    let written = graph.nodes().into_iter().flat_map(|node| graph.node_outputs(node)).flatten();
    written.filter(|value| facts.get(*value).is_some_and(Fact::is_fully_known)).count()
}

#[test]
fn knows_no_less_than_others_and_never_contradicts_them() {
    let Some(manifest) = corpus::file("manifest.json") else { return };
    if !python::has("onnx") {
        return corpus::skip("no Python with the package `onnx` (set PYTHON)");
    }
    let mut paths: Vec<_> =
        std::fs::read_dir(manifest.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    println!("model                 values  known here   main: here  onnx  tract  inside: here  onnx");
    let mut failures = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let folder = tempfile::tempdir().unwrap();
        let stripped = folder.path().join("stripped.onnx");
        let (model, known, inside) = reference_in(&stripped, &path);
        let inference = infer::infer(&model).unwrap();
        let here_inside = full_inside(&model.graph, inference.main());
        let by_tract = known_to_tract(&stripped, &model, inference.main(), &mut failures);
        let (all, full) = count(&model.graph, inference.main());
        let (here, theirs) =
            (full_in_main(&model.graph, inference.main()), known.iter().filter(|known| known.is_full()).count());
        println!("{name:20} {all:7} {full:11} {here:12} {theirs:5} {by_tract:6} {:13} {inside:5}", here_inside);
        if here_inside < inside {
            failures.push(format!("{name}: {} known in subgraphs, onnx knows {inside}", here_inside));
        }
        if here < theirs.max(by_tract) {
            failures.push(format!("{name}: {here} known, onnx knows {theirs}, tract {by_tract}"));
        }
        for one in &known {
            let value = model.graph.find_value(&one.name).unwrap();
            let fact = inference.main().get(value).unwrap();
            if one.contradicts(fact) {
                failures.push(format!(
                    "{name}: `{}` is {} here, onnx says {:?}",
                    one.name,
                    fact.to_type(),
                    one.extents
                ));
            }
            if std::env::var_os("INFER_GAPS").is_some() && one.is_full() && !fact.is_fully_known() {
                println!("  gap: {name} {} {} for {:?}", one.name, fact.to_type(), one.extents);
            }
        }
        for contradiction in inference.contradictions() {
            failures.push(format!("{name}: {contradiction:?}"));
        }
        if std::env::var_os("INFER_GAPS").is_some() {
            print_unknown(&model.graph, inference.main(), 6);
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// How many values of the main graph tract knows fully; what it knows otherwise than inference goes to `failures`.
#[cfg(feature = "tract")]
fn known_to_tract(path: &Path, model: &Model, facts: &GraphFacts, failures: &mut Vec<String>) -> usize {
    let graph = &model.graph;
    let known = crate::tract_facts::fully_known(path);
    let written = graph.nodes().into_iter().flat_map(|node| graph.node_outputs(node)).flatten();
    let mut count = 0;
    for value in written {
        let name = graph.value(value).name();
        let Some(theirs) = known.get(name) else { continue };
        count += 1;
        let Some(ours) = facts.get(value).and_then(|fact| fact.shape.as_ref()) else {
            println!("  only tract: `{name}` {theirs:?}");
            continue;
        };
        let number = |extent: &Option<SymExpr>| extent.as_ref().and_then(SymExpr::as_int);
        let differ = |(ours, theirs): (&Option<SymExpr>, &Option<i64>)| {
            number(ours).zip(*theirs).is_some_and(|(ours, theirs)| ours != theirs)
        };
        if ours.len() != theirs.len() || ours.iter().zip(theirs).any(differ) {
            failures.push(format!("`{name}` is {ours:?} here, tract says {theirs:?}"));
        }
    }
    count
}

#[cfg(not(feature = "tract"))]
fn known_to_tract(_: &Path, _: &Model, _: &GraphFacts, _: &mut Vec<String>) -> usize {
    0
}

/// The first operators whose results are not fully known: where a rule is missing.
fn print_unknown(graph: &Graph, facts: &GraphFacts, count: usize) {
    let nodes = graph.topological_order().unwrap().into_iter();
    let unknown = nodes.flat_map(|node| graph.node_outputs(node).into_iter().flatten().map(move |value| (node, value)));
    let unknown = unknown.filter(|(_, value)| !facts.get(*value).is_some_and(Fact::is_fully_known));
    for (node, value) in unknown.take(count) {
        let inputs: Vec<String> = graph
            .node_inputs(node)
            .into_iter()
            .flatten()
            .map(|input| facts.get(input).map_or_else(|| "outer".into(), |f| f.to_type().to_string()))
            .collect();
        println!("  unknown: {} {} of {inputs:?}", graph.site(node), graph.value(value).name());
    }
}
