//! Edits keep ports, names and captures in step.

use super::*;
use crate::ir::{Model, ValueType, check, text};
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, attribute_proto::AttributeType,
};
use prost::Message as _;

fn named(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }
}

fn op(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.into()),
        input: inputs.iter().map(|&s| s.into()).collect(),
        output: outputs.iter().map(|&s| s.into()).collect(),
        ..NodeProto::default()
    }
}

fn graph(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
    GraphProto {
        name: Some("g".into()),
        input: inputs.iter().map(|&s| named(s)).collect(),
        node: nodes,
        output: outputs.iter().map(|&s| named(s)).collect(),
        initializer: vec![TensorProto {
            name: Some("w".into()),
            data_type: Some(1),
            dims: vec![1],
            raw_data: Some(1.0f32.to_le_bytes().to_vec().into()),
            ..TensorProto::default()
        }],
        ..GraphProto::default()
    }
}

fn model(graph: GraphProto) -> Model {
    let proto = ModelProto { ir_version: Some(8), graph: Some(graph), ..ModelProto::default() };
    crate::onnx::decode(proto.encode_to_vec().into(), None).unwrap()
}

/// `If` whose then-branch reads `x` and `w` of the outer graph.
fn with_capture() -> Model {
    let inner =
        GraphProto { initializer: Vec::new(), ..graph(&[], vec![op("Add", &["a", "w"], &["inner"])], &["inner"]) };
    let branch = |name: &str| AttributeProto {
        name: Some(name.into()),
        g: Some(Box::new(inner.clone())),
        r#type: Some(AttributeType::Graph as i32),
        ..AttributeProto::default()
    };
    let mut choice = op("If", &["c"], &["y"]);
    choice.attribute = vec![branch("then_branch"), branch("else_branch")];
    model(graph(&["x", "c"], vec![op("Relu", &["x"], &["a"]), choice], &["y"]))
}

fn value(graph: &Graph, name: &str) -> ValueId {
    graph.find_value(name).unwrap()
}

#[test]
fn a_replacement_takes_over_the_name_of_an_output() {
    let mut model = model(graph(&["x"], vec![op("Relu", &["x"], &["a"]), op("Identity", &["a"], &["y"])], &["y"]));
    let g = &mut model.graph;
    let (a, y) = (value(g, "a"), value(g, "y"));
    let identity = g.producer(y).unwrap().0;
    g.replace_value(y, a).unwrap().unwrap();
    g.remove_node(identity).unwrap();
    assert_eq!(g.value(a).name(), "y");
    assert_eq!(g.outputs().collect::<Vec<_>>(), [a]);
    assert!(g.find_value("a").is_none());
    check::structure(&model).unwrap();
}

#[test]
fn an_input_never_becomes_an_output() {
    let mut model = model(graph(&["x"], vec![op("Identity", &["x"], &["y"])], &["y"]));
    let g = &mut model.graph;
    let (x, y) = (value(g, "x"), value(g, "y"));
    assert!(g.replace_value(y, x).unwrap().is_err());
    check::structure(&model).unwrap();
}

#[test]
fn captures_follow_a_replacement() {
    let mut model = with_capture();
    let g = &mut model.graph;
    let (a, x) = (value(g, "a"), value(g, "x"));
    assert_eq!(g.uses(a).len(), 1);
    g.replace_value(a, x).unwrap().unwrap();
    let relu = g.producer(a).unwrap().0;
    g.remove_node(relu).unwrap();
    check::structure(&model).unwrap();
    let g = &model.graph;
    let choice = g.producer(value(g, "y")).unwrap().0;
    assert_eq!(g.captures(choice), [value(g, "w"), value(g, "x")]);
    for subgraph in g.node(choice).subgraphs() {
        assert!(subgraph.graph.find_value("x").is_some_and(|v| subgraph.graph.value(v).is_outer()));
        assert!(subgraph.graph.find_value("a").is_none());
    }
}

#[test]
fn captures_are_dropped_with_their_last_reader() {
    let mut model = with_capture();
    let g = &mut model.graph;
    let choice = g.producer(value(g, "y")).unwrap().0;
    g.edit_subgraphs(choice, |subgraphs| {
        for subgraph in subgraphs {
            let inner = &mut subgraph.graph;
            let add = inner.producer(value(inner, "inner")).unwrap().0;
            let a = value(inner, "a");
            inner.set_input(add, 1, Some(a))?;
            inner.remove_value(value(inner, "w"))?;
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(model.graph.captures(choice), [value(&model.graph, "a")]);
    check::structure(&model).unwrap();
}

#[test]
fn fresh_names_avoid_those_of_inner_graphs() {
    let mut model = with_capture();
    let fresh = model.graph.add_value("inner", ValueType::Unknown);
    assert_eq!(model.graph.value(fresh).name(), "inner_1");
}

#[test]
fn what_is_in_use_is_not_removed() {
    let mut model = with_capture();
    let g = &mut model.graph;
    let (w, a) = (value(g, "w"), value(g, "a"));
    assert_eq!(g.remove_value(w).unwrap_err().kind(), ErrorKind::BrokenPass);
    let relu = g.producer(a).unwrap().0;
    assert_eq!(g.remove_node(relu).unwrap_err().kind(), ErrorKind::BrokenPass);
    check::structure(&model).unwrap();
}

#[test]
fn a_cycle_is_found_and_named() {
    let mut model = model(graph(&["x"], vec![op("Add", &["x", "w"], &["a"]), op("Relu", &["a"], &["y"])], &["y"]));
    let g = &mut model.graph;
    let (a, y) = (value(g, "a"), value(g, "y"));
    let add = g.producer(a).unwrap().0;
    g.set_input(add, 1, Some(y)).unwrap();
    let error = check::structure(&model).unwrap_err();
    assert!(error.to_string().contains("cycle"), "{error}");
}

#[test]
fn what_other_parts_of_the_file_name_stays_under_its_name() {
    let annotated = "@{quantization_annotation: [\"a\": [\"SCALE_TENSOR\": \"s\"]]}";
    let text = format!("g (float[2] x) => (float[2] y) {annotated} <float s = {{1}}> {{ a = Neg(x) y = Relu(x) }}");
    let mut model = text::parse(&text).unwrap();
    let g = &mut model.graph;
    let (a, s) = (value(g, "a"), value(g, "s"));
    assert_eq!((g.use_count(a), g.is_unread(s)), (1, false));
    assert!(g.constant(s).is_none(), "training or a runtime may change it");
    assert!(g.rename_internal(a, "b").is_err());
    assert!(g.remove_node(g.producer(a).unwrap().0).is_err());
    assert!(!g.remove_unread_constant(s).unwrap());
}

#[test]
fn a_cleared_output_leaves_its_slot_to_those_after_it() {
    let mut model = text::parse("g (x) => (y) { a, y, b, c = LSTM(x) d = Relu(b) }").unwrap();
    let g = &mut model.graph;
    let node = g.producer(value(g, "y")).unwrap().0;
    for slot in [0, 3] {
        g.clear_output(node, slot).unwrap();
    }
    let names: Vec<_> = g.node_outputs(node).into_iter().map(|o| o.map_or("", |o| g.value(o).name())).collect();
    assert_eq!(names, ["", "y", "b"]);
    assert!(g.clear_output(node, 2).is_err(), "`b` is read");
    assert!(g.find_value("a").is_none());
    check::structure(&model).unwrap();
}

#[test]
fn an_inner_graph_reads_what_it_captures() {
    let text = "g (c, x) => (y) <float[1] w = {1}> {
        y = If(c) <then_branch = t () => (p) <float[1] own = {1}> { p = Add(x, own) }>
    }";
    let mut model = text::parse(text).unwrap();
    let node = model.graph.producer(value(&model.graph, "y")).unwrap().0;
    let capture = |graph: &mut Graph| {
        let (own, w) = (value(graph, "own"), graph.capture_outer("w")?);
        graph.replace_reads(own, w)?;
        assert!(graph.remove_unread_constant(own)?);
        graph.capture_outer("p").map(|_| ())
    };
    let error = model.graph.edit_subgraphs(node, |inner| capture(&mut inner[0].graph)).unwrap_err();
    assert!(error.what().contains("`p` is defined in the inner graph"), "{error}");
    let w = value(&model.graph, "w");
    assert!(model.graph.captures(node).contains(&w));
    check::structure(&model).unwrap();
}

#[test]
fn a_name_that_an_inner_graph_redefines_is_no_replacement() {
    let text = "g (c, x) => (y) {
        a = Identity(x)
        y = If(c) <then_branch = t () => (p) { x = Neg(a) p = Add(x, a) }>
    }";
    let mut model = text::parse(text).unwrap();
    let g = &mut model.graph;
    let (a, x) = (value(g, "a"), value(g, "x"));
    assert_eq!(g.replace_reads(a, x).unwrap_err().kind(), ErrorKind::InvalidModel);
}

#[test]
fn a_frozen_default_is_a_constant() {
    let mut model = text::parse("g (x, float[1] w) => (y) <float[1] w = {1}> { y = Add(x, w) }").unwrap();
    let g = &mut model.graph;
    let (w, x) = (value(g, "w"), value(g, "x"));
    assert!(g.constant(w).is_none());
    g.freeze_default(w).unwrap();
    assert!(g.constant(w).is_some() && g.inputs() == [x]);
    assert!(g.freeze_default(x).is_err());
}

#[test]
fn clones_draw_names_on_their_own() {
    let inner = graph(&[], vec![op("Neg", &["x"], &["z"])], &["z"]);
    let mut branch = op("If", &["c"], &["y"]);
    branch.attribute.push(AttributeProto {
        name: Some("then_branch".into()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(Box::new(inner)),
        ..AttributeProto::default()
    });
    let original = model(graph(&["x", "c"], vec![branch], &["y"]));
    let fresh_inside = |model: &mut Model| {
        let node = model.graph.nodes()[0];
        let add = |inner: &mut [crate::ir::Subgraph]| {
            let value = inner[0].graph.add_value("new", ValueType::Unknown);
            Ok(inner[0].graph.value(value).name().to_owned())
        };
        model.graph.edit_subgraphs(node, add).unwrap()
    };
    let (mut first, mut second) = (original.clone(), original.clone());
    let outer = first.graph.add_value("new", ValueType::Unknown);
    assert_eq!(first.graph.value(outer).name(), "new");
    assert_eq!(fresh_inside(&mut first), "new_1");
    assert_eq!(fresh_inside(&mut second), "new");
}
