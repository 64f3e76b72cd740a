//! Subgraphs, functions, names and declared types, on models small enough to read.

use onnx_shrink::infer::{self, Fact, Inference};
use onnx_shrink::ir::{Model, text};

const HEADER: &str = "<ir_version: 8, opset_import: [\"\" : 17, \"local\" : 1]>\n";

fn parse(body: &str) -> Model {
    text::parse(&format!("{HEADER}{body}")).unwrap_or_else(|error| panic!("{error}"))
}

fn inferred(body: &str) -> (Model, Inference) {
    let model = parse(body);
    let inference = infer::infer(&model).unwrap();
    (model, inference)
}

/// The type of a value of the main graph, as text.
fn ty(body: &str, value: &str) -> String {
    let (model, inference) = inferred(body);
    let id = model.graph.find_value(value).unwrap();
    inference.main().get(id).map_or_else(String::new, |fact| fact.to_type().to_string())
}

#[test]
fn exporter_arithmetic_of_shapes_resolves() {
    let body = "g (float[N,3,H,W] x) => (float[] y) < int64[1] one = {-1}, int64 zero = {0}, int64[1] ax = {0} > {
        s = Shape(x)
        n = Gather(s, zero)
        m = Unsqueeze(n, ax)
        target = Concat<axis = 0>(m, one)
        y = Reshape(x, target)
    }";
    assert_eq!(ty(body, "y"), "float[N,3*H*W]");
}

#[test]
fn windows_keep_expressions() {
    let body = "g (float[N,3,H,8] x, float[4,3,3,3] w) => (float[] y) {
        a = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w)
        y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(a)
    }";
    assert_eq!(ty(body, "a"), "float[N,4,floor((H+1)/2),4]");
    assert_eq!(ty(body, "y"), "float[N,4,floor((H+1)/4),2]");
}

#[test]
fn branches_of_if_keep_what_they_share() {
    let body = "g (bool c, float[N,4] x, float[M,4] z) => (float[] y, float[] same) {
        y, same = If (c) <
            then_branch = t () => (float[] a, float[] b) { a = Relu(x)  b = Relu(x) },
            else_branch = e () => (float[] d, float[] f) { d = Relu(z)  f = Abs(x) }
        >
    }";
    assert_eq!(ty(body, "y"), "float[?,4]");
    assert_eq!(ty(body, "same"), "float[N,4]");
}

#[test]
fn a_known_condition_takes_its_branch() {
    let body = "g (float[N,4] x) => (float[] y) < int64 four = {4}, int64 axis = {1} > {
        s = Shape(x)
        width = Gather(s, axis)
        c = Equal(width, four)
        y = If (c) <
            then_branch = t () => (float[] a) { a = Relu(x) },
            else_branch = e () => (float[] d) { d = ReduceSum(x) }
        >
    }";
    assert_eq!(ty(body, "y"), "float[N,4]");
}

#[test]
fn what_a_loop_carries_must_be_stable() {
    let body = "g (float[2,N] grows, float[2,N] stays, int64 trips, bool go) => (float[] a, float[] b, float[] all) {
        a, b, all = Loop (trips, go, grows, stays) <
            body = l (int64 i, bool c, float[] g, float[] s) => (bool d, float[] h, float[] t, float[] each) {
                d = Identity(c)
                h = Concat<axis = 0>(g, s)
                t = Relu(s)
                each = Abs(s)
            }
        >
    }";
    assert_eq!(ty(body, "a"), "float[?,N]");
    assert_eq!(ty(body, "b"), "float[2,N]");
    assert_eq!(ty(body, "all"), "float[?,2,N]");
}

#[test]
fn a_function_is_inferred_for_each_call() {
    let (model, inference) = inferred(
        "g (float[N,4] x, float[7] z) => (float[] y, float[] v) {
        y = local.widen<at = 2>(x)
        v = local.widen<at = 0>(z)
    }
    <domain: \"local\", opset_import: [\"\" : 17]>
    widen <at> (a) => (b) {
        place = Constant<value_int: int = @at>()
        axes = Reshape(place, shape)
        shape = Constant<value_ints = [1]>()
        b = Unsqueeze(a, axes)
    }",
    );
    let of = |name: &str| inference.main().get(model.graph.find_value(name).unwrap()).unwrap().to_type().to_string();
    assert_eq!((of("y"), of("v")), ("float[N,4,1]".to_owned(), "float[1,7]".to_owned()));
    let body = &model.functions[0].body;
    let inside = inference.function(0).unwrap().get(body.find_value("b").unwrap()).unwrap();
    assert_eq!(inside, &Fact { dtype: Some(onnx_shrink::ir::DType::F32), ..Fact::default() });
}

#[test]
fn a_declared_type_helps_but_is_not_believed_against_the_operators() {
    let helped = "g (float[N,4] x) => (float[M,2] y) { y = com.example.Unknown(x) }";
    assert_eq!(ty(helped, "y"), "float[M,2]");
    let (model, inference) = inferred("g (float[N,4] x) => (float[N,5] y) { y = Relu(x) }");
    let [contradiction] = inference.contradictions() else { panic!("{:?}", inference.contradictions()) };
    assert_eq!((&*contradiction.declared, &*contradiction.inferred), ("float[N,5]", "float[N,4]"));
    assert_eq!(model.signature().outputs[0].ty.to_string(), "float[N,5]");
}

#[test]
fn writing_back_leaves_the_signature_alone() {
    let mut model = parse(
        "g (float[N,3,H,W] x) => (float[a,b] y) {
        f = Flatten(x)
        y = Relu(f)
    }",
    );
    let before = model.signature();
    let inference = infer::infer(&model).unwrap();
    assert_eq!(infer::write_back(&mut model, &inference).unwrap(), 1);
    assert_eq!(model.signature(), before);
    let value = model.graph.find_value("f").unwrap();
    assert_eq!(model.graph.value(value).ty().to_string(), "float[N,3*H*W]");
    // What was written reads back as the same expression, so a second time changes nothing.
    let inference = infer::infer(&model).unwrap();
    assert_eq!(infer::write_back(&mut model, &inference).unwrap(), 0);
}
