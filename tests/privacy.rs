//! `strip=all`, and the scan of the written bytes that proves it: traces of every kind are planted everywhere.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use onnx_shrink::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    StringStringEntryProto, TensorProto, TrainingInfoProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataLocation,
};
use onnx_shrink::privacy::{Scan, TraceKind, scan};
use prost::Message;
use support::sandbox::Sandbox;

const SECRET: &str = "secret";

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn tensor(name: &str, values: &[f32]) -> TensorProto {
    TensorProto {
        dims: vec![values.len() as i64],
        data_type: Some(1),
        name: text(name),
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..TensorProto::default()
    }
}

fn info(name: &str, dtype: i32) -> ValueInfoProto {
    let mut shape = onnx_shrink::onnx::proto::TensorShapeProto::default();
    if dtype == 1 {
        shape.dim.push(onnx_shrink::onnx::proto::tensor_shape_proto::Dimension {
            value: Some(onnx_shrink::onnx::proto::tensor_shape_proto::dimension::Value::DimValue(2)),
            ..Default::default()
        });
    }
    let tensor = onnx_shrink::onnx::proto::type_proto::Tensor { elem_type: Some(dtype), shape: Some(shape) };
    ValueInfoProto {
        name: text(name),
        r#type: Some(onnx_shrink::onnx::proto::TypeProto {
            value: Some(onnx_shrink::onnx::proto::type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: text(op),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attributes,
        ..NodeProto::default()
    }
}

fn branch(name: &str, body: Vec<NodeProto>, output: &str) -> AttributeProto {
    let graph = GraphProto { name: text("b"), node: body, output: vec![info(output, 1)], ..GraphProto::default() };
    AttributeProto {
        name: text(name),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }
}

fn constant(output: &str) -> NodeProto {
    let value = AttributeProto {
        name: text("value"),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(Box::new(tensor("", &[1.0, 2.0]))),
        ..AttributeProto::default()
    };
    node("Constant", &[], output, vec![value])
}

/// An If with a graph in each branch, and a call of a function; nothing to hide.
fn clean() -> ModelProto {
    let then_branch = branch("then_branch", vec![node("Add", &["x", "w"], "t", vec![])], "t");
    let else_branch = branch("else_branch", vec![node("Neg", &["x"], "e", vec![])], "e");
    let graph = GraphProto {
        name: text("g"),
        node: vec![
            node("If", &["c"], "i", vec![then_branch, else_branch]),
            NodeProto { domain: text("f"), ..node("Twice", &["i"], "y", vec![]) },
        ],
        initializer: vec![tensor("w", &[3.0, 4.0])],
        input: vec![info("x", 1), info("c", 9)],
        output: vec![info("y", 1)],
        ..GraphProto::default()
    };
    let opset = |domain: &str, version| OperatorSetIdProto { domain: text(domain), version: Some(version) };
    let function = FunctionProto {
        name: text("Twice"),
        domain: text("f"),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: vec![node("Add", &["a", "a"], "b", vec![])],
        opset_import: vec![opset("", 17)],
        ..FunctionProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        producer_name: text("maker"),
        graph: Some(graph),
        opset_import: vec![opset("", 17), opset("f", 1)],
        functions: vec![function],
        ..ModelProto::default()
    }
}

fn scanned(model: &ModelProto, folder: Option<&Path>) -> Scan {
    scan(&Bytes::from(model.encode_to_vec()), folder).unwrap()
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn then_branch(model: &mut ModelProto) -> &mut GraphProto {
    graph(model).node[0].attribute[0].g.as_mut().unwrap()
}

fn entry() -> Vec<StringStringEntryProto> {
    vec![StringStringEntryProto { key: text("author"), value: text(SECRET) }]
}

/// A trace, its kind, and how it is planted.
type Plant = (&'static str, TraceKind, fn(&mut ModelProto));

const PLANTS: &[Plant] = &[
    ("doc of the model", TraceKind::DocString, |m| m.doc_string = text(SECRET)),
    ("doc of the graph", TraceKind::DocString, |m| graph(m).doc_string = text(SECRET)),
    ("doc of an operator", TraceKind::DocString, |m| graph(m).node[1].doc_string = text(SECRET)),
    ("doc of an attribute", TraceKind::DocString, |m| graph(m).node[0].attribute[1].doc_string = text(SECRET)),
    ("doc of an input", TraceKind::DocString, |m| graph(m).input[0].doc_string = text(SECRET)),
    ("doc of an output", TraceKind::DocString, |m| graph(m).output[0].doc_string = text(SECRET)),
    ("doc of a tensor", TraceKind::DocString, |m| graph(m).initializer[0].doc_string = text(SECRET)),
    ("doc of a function", TraceKind::DocString, |m| m.functions[0].doc_string = text(SECRET)),
    ("doc in a function", TraceKind::DocString, |m| m.functions[0].node[0].doc_string = text(SECRET)),
    ("doc of a subgraph", TraceKind::DocString, |m| then_branch(m).doc_string = text(SECRET)),
    ("doc in a subgraph", TraceKind::DocString, |m| then_branch(m).node[0].doc_string = text(SECRET)),
    ("metadata of the model", TraceKind::Metadata, |m| m.metadata_props = entry()),
    ("metadata of an operator", TraceKind::Metadata, |m| graph(m).node[1].metadata_props = entry()),
    ("metadata in a subgraph", TraceKind::Metadata, |m| then_branch(m).node[0].metadata_props = entry()),
    ("metadata of a function", TraceKind::Metadata, |m| m.functions[0].metadata_props = entry()),
    ("path of the producer", TraceKind::Path, |m| m.producer_name = text("/opt/lab/export.py")),
    ("path in the version", TraceKind::Path, |m| m.producer_version = text("C:\\lab\\v2")),
    ("path of the graph", TraceKind::Path, |m| graph(m).name = text("runs/7/model.pt")),
    ("path of a subgraph", TraceKind::Path, |m| then_branch(m).name = text("runs/7/then")),
    ("user in the name of an operator", TraceKind::Path, |m| graph(m).node[0].name = text("/home/ann/net/If")),
    ("user in the name of a value", TraceKind::Path, |m| {
        graph(m).node[0].output[0] = "/Users/ann/i".to_owned();
        graph(m).node[1].input[0] = "/Users/ann/i".to_owned();
    }),
    ("training", TraceKind::Training, |m| {
        let step = GraphProto {
            name: text("step"),
            node: vec![node("Neg", &["w"], "n", vec![])],
            output: vec![info("n", 1)],
            ..GraphProto::default()
        };
        m.training_info = vec![TrainingInfoProto { algorithm: Some(step), ..TrainingInfoProto::default() }];
    }),
    ("unused initializer", TraceKind::UnusedTensor, |m| graph(m).initializer.push(tensor("unused", &[7.0]))),
    ("unused default of an input", TraceKind::UnusedTensor, |m| {
        graph(m).initializer.push(tensor("unused", &[7.0, 8.0]));
        graph(m).input.push(info("unused", 1));
    }),
    ("unused constant", TraceKind::UnusedTensor, |m| graph(m).node.push(constant("unused"))),
    ("unused constant in a subgraph", TraceKind::UnusedTensor, |m| then_branch(m).node.push(constant("unused"))),
    ("unused initializer in a subgraph", TraceKind::UnusedTensor, |m| {
        then_branch(m).initializer.push(tensor("unused", &[7.0]));
    }),
    ("unused constant in a function", TraceKind::UnusedTensor, |m| m.functions[0].node.push(constant("unused"))),
    ("unused sparse initializer", TraceKind::UnusedTensor, |m| {
        let mut indices = tensor("", &[]);
        (indices.dims, indices.data_type, indices.raw_data) = (vec![1], Some(7), Some(vec![0; 8].into()));
        let values = tensor("unused", &[7.0]);
        graph(m).sparse_initializer =
            vec![SparseTensorProto { values: Some(values), indices: Some(indices), dims: vec![2] }];
    }),
];

#[test]
fn every_trace_is_found_and_removed() {
    assert_eq!(scanned(&clean(), None).traces, []);
    for (name, kind, plant) in PLANTS {
        let mut model = clean();
        plant(&mut model);
        let traces = scanned(&model, None).traces;
        assert!(!traces.is_empty() && traces.iter().all(|trace| trace.kind == *kind), "{name}: {traces:?}");

        let sandbox = Sandbox(tempfile::tempdir().unwrap());
        fs::write(sandbox.path("m.onnx"), model.encode_to_vec()).unwrap();
        sandbox
            .run(&["m.onnx", "-p", "strip=all", "--no-validate", "-o", "o.onnx"])
            .code(0)
            .says(&["scanned", "no doc string"]);
        let written = Bytes::from(fs::read(sandbox.path("o.onnx")).unwrap());
        assert_eq!(scan(&written, None).unwrap().traces, [], "{name}");
        for word in [SECRET, "unused", "ann", "runs/7", "lab"] {
            assert!(!written.windows(word.len()).any(|part| part == word.as_bytes()), "{name}: `{word}` is left");
        }
    }
}

#[test]
fn all_at_once_computes_the_same() {
    let mut model = clean();
    PLANTS
        .iter()
        .filter(|(name, ..)| *name != "unused default of an input")
        .for_each(|(_, _, plant)| plant(&mut model));
    // Only one tensor may have the name.
    graph(&mut model).node.retain(|node| node.output[0] != "unused");
    graph(&mut model).sparse_initializer.clear();
    then_branch(&mut model).node.retain(|node| node.output[0] != "unused");
    then_branch(&mut model).initializer.clear();
    let sandbox = Sandbox(tempfile::tempdir().unwrap());
    fs::write(sandbox.path("m.onnx"), model.encode_to_vec()).unwrap();
    sandbox.run(&["m.onnx", "-p", "strip=all", "--no-validate", "-o", "o.onnx"]).code(0);
    let written = ModelProto::decode(fs::read(sandbox.path("o.onnx")).unwrap().as_slice()).unwrap();
    let operators = |model: &ModelProto| -> Vec<String> {
        model.graph.as_ref().unwrap().node.iter().map(|node| node.op_type().to_owned()).collect()
    };
    assert_eq!(operators(&written), ["If", "Twice"]);
    assert_eq!((written.producer_name(), written.training_info.len()), ("", 0));
}

#[test]
fn bytes_of_a_side_file_that_no_tensor_owns_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = clean();
    let weights = &mut graph(&mut model).initializer[0];
    let contents = weights.raw_data.take().unwrap();
    weights.data_location = Some(DataLocation::External as i32);
    let entry = |key: &str, value: &str| StringStringEntryProto { key: text(key), value: text(value) };
    weights.external_data = vec![entry("location", "w.data"), entry("offset", "16"), entry("length", "8")];
    let side = |before: &[u8; 16], after: &[u8]| {
        fs::write(folder.path().join("w.data"), [&before[..], &contents, after].concat()).unwrap();
        scanned(&model, Some(folder.path())).traces
    };
    assert_eq!(side(&[0; 16], &[]), []);
    assert_eq!(side(&[1; 16], &[])[0].kind, TraceKind::UnusedTensor);
    assert_eq!(side(&[0; 16], b"left over")[0].kind, TraceKind::UnusedTensor);
    let users = side(&[0; 16], b"/home/ann/x");
    assert!(users.iter().any(|trace| trace.kind == TraceKind::Path && trace.place.contains("w.data")), "{users:?}");
}

#[test]
fn what_cannot_be_removed_is_refused() {
    let sandbox = Sandbox(tempfile::tempdir().unwrap());
    let mut model = clean();
    graph(&mut model).output[0].name = text("/home/ann/y");
    graph(&mut model).node[1].output[0] = "/home/ann/y".to_owned();
    fs::write(sandbox.path("m.onnx"), model.encode_to_vec()).unwrap();
    let refused = sandbox.run(&["m.onnx", "-p", "strip=all", "--no-validate", "-o", "o.onnx"]);
    refused.code(1).says(&["strip=all", "/home/ann", "names of inputs and outputs"]);
    assert!(!sandbox.path("o.onnx").exists());
}
