//! Real models run with a tap on every value: what comes out has the types and shapes that were inferred.

use std::collections::BTreeMap;

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors};
use onnx_shrink::data::{self, DataOptions, Hints};
use onnx_shrink::infer::{self, Element, Fact, Inference, SymExpr, Symbol};
use onnx_shrink::ir::{Model, Tensor};

use crate::corpus_table::reference;
use crate::support::{corpus, python};

const MODELS: [&str; 14] = [
    "lenet5",
    "lenet_300_100",
    "magika",
    "minilm_l6",
    "mnist_resnet_bn",
    "mobilenet_v2_random",
    "ppocr_v2_cls",
    "ppocr_v4_det",
    "ppocr_v6_det",
    "ppocr_v6_rec",
    "silero_vad",
    "silero_vad_op18",
    "tashkeel_int8",
    "wakeword",
];

/// The number that each symbol stands for in one run.
type Bindings = BTreeMap<Symbol, i64>;

#[test]
fn a_run_shows_what_was_inferred() {
    if corpus::file("manifest.json").is_none() {
        return;
    }
    if !python::has("onnx") {
        return corpus::skip("no Python with the package `onnx` (set PYTHON)");
    }
    let mut failures = Vec::new();
    for name in MODELS {
        let path = corpus::file(&format!("{name}.onnx")).unwrap();
        let (model, _) = reference(&path);
        let inference = infer::infer(&model).unwrap();
        let taps = taps(&model);
        let options = LoadOptions { taps: taps.clone(), threads: 1, ..LoadOptions::default() };
        let session = match backend::load(BackendChoice::Auto, &ModelBytes::open(&path).unwrap(), &options) {
            Ok(session) => session,
            Err(error) => {
                corpus::skip(&format!("no backend runs {name}: {error}"));
                continue;
            }
        };
        let signature = model.signature();
        let spec = path.with_extension("eval.npz").display().to_string();
        let hints = Hints::default();
        let samples =
            data::open(&spec, &DataOptions { signature: &signature, seed: 0, hints: &hints, limit: Some(2) }).unwrap();
        let mut compared = 0;
        for index in 0..samples.len() {
            let inputs = samples.get(index).unwrap();
            let mut bindings = bindings(&model, &inference, &inputs);
            for (value, tensor) in session.run(&inputs).unwrap() {
                let id = model.graph.find_value(&value).unwrap();
                let fact = inference.main().get(id).unwrap();
                if let Some(text) = difference(fact, &tensor, &mut bindings) {
                    failures.push(format!("{name}: `{value}` is {} in a run, {text}", tensor.type_text()));
                }
                compared += 1;
            }
        }
        println!("{name}: {compared} values of runs compared ({})", session.backend());
        assert!(compared >= 2 * taps.len());
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Every value of the main graph that an operator writes.
fn taps(model: &Model) -> Vec<String> {
    let graph = &model.graph;
    let written = graph.nodes().into_iter().flat_map(|node| graph.node_outputs(node)).flatten();
    written.map(|value| graph.value(value).name().to_owned()).collect()
}

/// What the inputs of a run tell of the symbols.
fn bindings(model: &Model, inference: &Inference, inputs: &NamedTensors) -> Bindings {
    let mut bindings = Bindings::new();
    for (name, tensor) in inputs {
        let fact = inference.main().get(model.graph.find_value(name).unwrap()).unwrap();
        for (extent, seen) in fact.shape.as_ref().unwrap().iter().zip(tensor.shape()) {
            bind(extent.as_ref(), *seen as i64, &mut bindings);
        }
    }
    bindings
}

/// Binds a lone symbol, and says whether an expression has the value that was seen. One whose symbols are not all
/// known says nothing yet.
fn bind(expression: Option<&SymExpr>, seen: i64, bindings: &mut Bindings) -> bool {
    let Some(expression) = expression else { return true };
    let value = expression.substitute(&|symbol| bindings.get(symbol).map(|value| SymExpr::from(*value)));
    match value.as_ref().and_then(SymExpr::as_int) {
        Some(value) => value == seen,
        None => {
            if let Some(symbol) = expression.as_symbol() {
                bindings.insert(symbol.clone(), seen);
            }
            true
        }
    }
}

fn difference(fact: &Fact, tensor: &Tensor, bindings: &mut Bindings) -> Option<String> {
    if fact.dtype.is_some_and(|dtype| dtype != tensor.dtype()) {
        return Some(format!("inferred {:?}", fact.dtype));
    }
    if let Some(shape) = &fact.shape {
        let fits = shape.len() == tensor.rank()
            && shape.iter().zip(tensor.shape()).all(|(e, seen)| bind(e.as_ref(), *seen as i64, bindings));
        if !fits {
            return Some(format!("inferred {}", fact.to_type()));
        }
    }
    let (contents, seen) = (fact.contents.as_ref()?, tensor.to_i64()?);
    let fits = contents.iter().zip(seen).all(|(element, seen)| bind(Element::int(element), seen, bindings));
    (!fits).then(|| format!("inferred {contents:?}"))
}
