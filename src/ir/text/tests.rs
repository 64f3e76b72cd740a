//! Text to model to text.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use prost::Message;

use super::{PrintOptions, parse, print};
use crate::error::Error;
use crate::ir::{DType, Model, Tensor};
use crate::onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
};
use crate::onnx::{self, EncodeOptions};

const BARE: PrintOptions = PrintOptions { full_data_up_to_elements: u64::MAX, header: false };

/// Every part of the syntax, as the printer writes it.
const EVERYTHING: &str = r#"<
  ir_version: 10,
  opset_import: ["" : 21, "com.microsoft" : 1, "local" : 1, "my-domain" : 2],
  producer_name: "say \"hi\" \\",
  doc_string: "two
lines",
  model_version: 3,
  metadata_props: ["key": "value", "k": ""]
>
"main graph" (float[N,"a b",?,3] x @{doc_string: "an image", denotation: "IMAGE", metadata_props: ["a": "b"]}, bool c, ?[2] u, untyped, seq(float[]) s, optional(map(int64, float[2])) o, opaque(ai.x, t) q) => (float y, z) @{doc_string: "about", quantization_annotation: ["w": ["SCALE_TENSOR": "h"]]} <
  float[2,2] w = {1, -0.5, nan, -inf},
  int4[3] i4 = {-8, 7, 0},
  uint2[5] u2 = {0, 1, 2, 3, 1},
  float16[2] h = {1.0, 0.5},
  bool b = {1},
  string[3] t = {"a", "\"", b"\xff\\"},
  complex64[1] cc = {1, 2},
  float8e4m3fn[2] f8 = {255, 1},
  int64[0] none = {},
  sparse_tensor(float[9]) sp = {float[2] {1, 2}, int64[2] {0, 5}},
  float[2] "a/1"
> {
  ["n/1"] "a/1", "float" = com.microsoft.Foo:ov<s = "x\\n", raw = b"\xfe", f = 1.0, e = 1e20, n = nan, odd: float = 0x7fc00001, i = -3, is = [1, 2], fs = [1.0, 2.5], ss = ["a", "b"], "odd name" = 1, none: ints = [], t = int64[2] name {1, 2}, ts = [float {1}, float {2}], tp: type_proto = float[2], tps: type_protos = [float, seq(float)], sp: sparse_tensor = sparse_tensor(float[4]) {float[1] {1}, int64[1] {2}}>(x, "", w) @{doc_string: "why", metadata_props: ["layer": "1"]}
  y = If(c) <then_branch = g1 () => (float t1) {
    t1 = Identity(x)
  }, else_branch = "g 2" () => (t2) <
    float k = {2}
  > {
    t2 = Add(x, k)
  }>
  z = "my-domain"."My-Op"("a/1", "", "float")
  v = local.twice(x)
   = Drop(v)
}
<
  domain: "local",
  opset_import: ["" : 21],
  doc_string: "x + x"
>
twice <plain, alpha = 0.5> (x) => (y) {
  y = Foo<a: float = @alpha, b = @plain>(x)
}
"#;

/// Parses and prints a graph alone.
fn again(text: &str) -> String {
    print(&parse(text).unwrap(), &BARE)
}

fn error(text: &str) -> Error {
    parse(text).unwrap_err()
}

/// The message of a model with every way to say the same thing made one: typed data as raw data, empty strings as none.
fn canonical(model: &Model) -> ModelProto {
    let encoded = onnx::encode(model, &EncodeOptions::default()).unwrap();
    let mut proto = ModelProto::decode(encoded.to_bytes()).unwrap();
    proto.graph.iter_mut().for_each(graph);
    proto.functions.iter_mut().for_each(function);
    for import in &mut proto.opset_import {
        import.domain = Some(import.domain().to_owned());
    }
    proto
}

fn none_if_empty(text: &mut Option<String>) {
    *text = text.take().filter(|t| !t.is_empty());
}

fn function(proto: &mut FunctionProto) {
    none_if_empty(&mut proto.domain);
    none_if_empty(&mut proto.overload);
    proto.node.iter_mut().for_each(node);
    proto.attribute_proto.iter_mut().for_each(attribute);
    proto.value_info.iter_mut().for_each(info);
}

fn graph(proto: &mut GraphProto) {
    proto.name.get_or_insert_default();
    none_if_empty(&mut proto.doc_string);
    proto.node.iter_mut().for_each(node);
    proto.initializer.iter_mut().for_each(tensor);
    for sparse in &mut proto.sparse_initializer {
        sparse.values.iter_mut().chain(&mut sparse.indices).for_each(tensor);
    }
    proto.input.iter_mut().chain(&mut proto.output).chain(&mut proto.value_info).for_each(info);
}

fn info(proto: &mut ValueInfoProto) {
    none_if_empty(&mut proto.doc_string);
    proto.r#type.iter_mut().for_each(|ty| none_if_empty(&mut ty.denotation));
}

fn node(proto: &mut NodeProto) {
    for text in [&mut proto.name, &mut proto.domain, &mut proto.overload, &mut proto.doc_string] {
        none_if_empty(text);
    }
    proto.attribute.iter_mut().for_each(attribute);
}

fn attribute(proto: &mut AttributeProto) {
    none_if_empty(&mut proto.doc_string);
    none_if_empty(&mut proto.ref_attr_name);
    proto.t.as_deref_mut().into_iter().chain(&mut proto.tensors).for_each(tensor);
    proto.g.as_deref_mut().into_iter().chain(&mut proto.graphs).for_each(graph);
    for sparse in proto.sparse_tensor.as_deref_mut().into_iter().chain(&mut proto.sparse_tensors) {
        sparse.values.iter_mut().chain(&mut sparse.indices).for_each(tensor);
    }
}

fn tensor(proto: &mut TensorProto) {
    none_if_empty(&mut proto.name);
    proto.doc_string = None;
    let read = Tensor::from_proto(proto.clone(), None).unwrap();
    if read.dtype() == DType::String {
        return;
    }
    *proto = TensorProto {
        name: proto.name.take(),
        dims: std::mem::take(&mut proto.dims),
        data_type: proto.data_type,
        raw_data: Some(read.data().clone()),
        ..TensorProto::default()
    };
}

fn assert_survives(model: &Model, what: &str) {
    let text = print(model, &PrintOptions::full());
    let parsed = parse(&text).unwrap_or_else(|e| panic!("{what}: {e}"));
    // Bytes, because messages with a NaN in them are not equal to themselves.
    assert!(
        canonical(&parsed).encode_to_vec() == canonical(model).encode_to_vec(),
        "{what} changed on its way through the text"
    );
    assert!(print(&parsed, &PrintOptions::full()) == text, "{what}: the text of the text differs");
}

#[test]
fn prints_a_graph_as_the_conventions_show_it() {
    let text = "\
g (float[N,3] x) => (float[N,2] y) <
  float[3,2] w = {1, 2, 3, 4, 5, 6}
> {
  a = Identity(x)
  [fc] c = Gemm(a, w)
  y = Identity(c)
}
";
    assert_eq!(again(text), text);
}

#[test]
fn every_part_of_the_syntax_comes_back_as_it_was() {
    let model = parse(EVERYTHING).unwrap();
    assert_eq!(print(&model, &PrintOptions::full()), EVERYTHING);
    assert_survives(&model, "the text");
}

#[test]
fn what_the_text_leaves_out_is_said() {
    let mut model = parse("g (float x) => (float y) { y = Relu(x) }").unwrap();
    model.proto.training_info.push(crate::onnx::proto::TrainingInfoProto::default());
    assert!(print(&model, &PrintOptions::default()).starts_with("// The model has training graphs, which"));
}

#[test]
fn comments_may_stand_anywhere() {
    let text =
        "// first\ng // name\n(float x // an input\n, # ONNX's own\nfloat y) => (float z) {\n// op\nz = Add(x, y) }";
    assert_eq!(again(text), "g (float x, float y) => (float z) {\n  z = Add(x, y)\n}\n");
}

#[test]
fn attributes_may_stand_after_inputs_and_have_types() {
    let text = "g (float[2] x) => (float[2] y) { y = Foo (x) <a: float = 1, b: ints = [1], t = int64[1] = {2}> }";
    assert!(again(text).contains("y = Foo<a = 1.0, b = [1], t = int64[1] {2}>(x)"), "{}", again(text));
}

#[test]
fn a_header_may_be_left_out() {
    let model = parse("g (float x) => (float y) { a = com.microsoft.Foo(x) y = Relu(a) }").unwrap();
    assert_eq!(model.opsets(), [(String::new(), 17), ("com.microsoft".to_owned(), 1)]);
    assert_eq!(model.ir_version(), 10);
}

#[test]
fn fills_hang_on_their_seed_alone() {
    let text = "g () => (float[4] y) <float[4] a = rand(1), float[4] b = rand(1), float[4] c = rand(2), int64[3] i = iota> \
                { s, r = Foo<value = float[2] rand(3)>(a, b, c, i) y = Relu(r) }";
    let model = parse(text).unwrap();
    let data = |name| model.graph.constant(model.graph.find_value(name).unwrap()).unwrap();
    assert!(data("a").same_as(&data("b")) && !data("a").same_as(&data("c")));
    assert_eq!(data("i").to_i64(), Some(vec![0, 1, 2]));
    // A change of these numbers changes every golden.
    assert!(print(&model, &BARE).contains("float[4] c = {"), "{}", print(&model, &BARE));
}

#[test]
fn long_data_is_a_hash_of_the_contents() {
    let options = PrintOptions { full_data_up_to_elements: 2, header: false };
    let line = |data: &str| print(&parse(&format!("g () => (y) <float[3] y = {{{data}}}> {{}}")).unwrap(), &options);
    let text = line("1, 2, 3");
    assert!(text.contains("float[3] y = #"), "{text}");
    assert_eq!(text, line("1, 2, 3"));
    assert_ne!(text, line("1, 2, 4"));
    assert_ne!(text, line("2, 1, 3"));
    assert_eq!(error(&text).what(), "the data of a tensor is not in the text at line 2, column 16");
}

#[test]
fn errors_name_the_place_what_was_expected_and_what_was_found() {
    for (text, place, expected, found) in [
        ("g (float x) = (float y) {}", "line 1, column 13", "`=>`", "`=`"),
        ("g (float x) => (float y) {\n  y = Relu x)\n}", "line 2, column 12", "`(`", "`x`"),
        ("g () => (y) <int8[1] y = {300}> {}", "line 1, column 27", "an element of type int8", "`300`"),
        ("g () => (y) {", "line 1, column 14", "an operator or `}`", "the end of the text"),
        ("g () => (y) <int8[2] y = {1}> {}", "line 1, column 26", "2", "1"),
        ("<ir_versio: 1> g () => () {}", "line 1, column 2", "ir_version", "`ir_versio`"),
        ("g () => (y) { y = Foo<a: ints = [1.5]>() }", "line 1, column 33", "ints", "floats"),
    ] {
        let error = error(text).to_string();
        assert!(error.contains(place), "{text}: {error}");
        assert!(error.contains(expected) && error.contains(found), "{text}: {error}");
    }
}

#[test]
fn graphs_that_cannot_be_are_refused() {
    assert_eq!(error("g () => (y) { y = Relu(x) }").what(), "value `x` is used, but nothing defines it");
    let deep = "y = If<a = g () => () { ".repeat(10_000);
    assert!(error(&format!("g () => () {{ {deep}")).what().starts_with("nested more than 64 deep"));
    let deep = "seq(".repeat(10_000);
    assert!(error(&format!("g ({deep}")).what().starts_with("nested more than 64 deep"));
    assert!(error("g () => (y) <float[100000,100000] y = iota> {}").what().starts_with("too many elements"));
}

fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no ../shared/corpus beside the crate");
        assert!(std::env::var_os("CI").is_none(), "CI needs ../shared/corpus");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "onnx")).collect();
    paths.sort();
    paths
}

#[test]
fn corpus_models_survive_the_text() {
    for path in corpus() {
        let model = onnx::read(&path).unwrap();
        let text = print(&model, &PrintOptions::default());
        assert!(text.len() > 1000, "{}: {text}", path.display());
        // Printing megabytes of numbers takes long in a build without optimisation; hashes were made above.
        if std::fs::metadata(&path).unwrap().len() < 3 << 20 {
            assert_survives(&model, &path.display().to_string());
        }
    }
}

/// Something to put into a text: a sign, a word, or nothing.
fn scrap() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(
            &[
                "", "<", ">", "(", ")", "[", "]", "{", "}", "=", "=>", ",", ":", "@", "?", "#", "//", "\"", "\\",
                "b\"", "-"
            ][..]
        )
        .prop_map(str::to_owned),
        proptest::sample::select(
            &["float", "seq", "nan", "0x", "1e", "iota", "rand(1)", "graph", "é", "99999999999"][..]
        )
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the text, there is a model or an error; and what was read once is printed and read again the same.
    #[test]
    fn damaged_texts_are_read_or_refused(
        edits in proptest::collection::vec((0.0..1.0f64, 0..12usize, scrap()), 1..4)
    ) {
        let mut text: Vec<char> = EVERYTHING.chars().collect();
        for (place, removed, scrap) in edits {
            let at = (place * text.len() as f64) as usize;
            let end = (at + removed).min(text.len());
            text.splice(at..end, scrap.chars());
        }
        let text: String = text.into_iter().collect();
        if let Ok(model) = parse(&text) {
            assert_survives(&model, &text);
        }
    }
}
