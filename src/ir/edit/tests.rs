//! Edits on small graphs, with and without captures.

use super::*;
use crate::ir::{Model, ValueType, check};
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
