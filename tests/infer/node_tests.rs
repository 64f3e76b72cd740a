//! The node tests of the `onnx` package: no stored result contradicts what is inferred for its inputs' shapes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use onnx_shrink::infer::{self, Fact, SymExpr};
use onnx_shrink::onnx;
use onnx_shrink::onnx::proto::{ModelProto, TensorProto, ValueInfoProto};
use prost::Message;

use crate::support::{models, node_tests};

#[test]
fn stored_results_are_as_inferred() {
    let Some(folder) = node_tests::write() else { return };
    let mut cases: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let mut wrong = Vec::new();
    let mut unknown: BTreeMap<String, usize> = BTreeMap::new();
    let (mut outputs, mut known) = (0, 0);
    for case in cases {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let model = ModelProto::decode(fs::read(case.join("model.onnx")).unwrap().as_slice()).unwrap();
        // Once with every input variable, once with all of them constant: then contents are followed.
        for constant in [false, true] {
            let Some((model, results)) = with_shapes(&model, &case, constant) else { continue };
            let path = case.join("shaped.onnx");
            fs::write(&path, model.encode_to_vec()).unwrap();
            let model = onnx::read(&path).unwrap();
            let inference = infer::infer(&model).unwrap();
            for (value, result) in model.graph.outputs().zip(&results) {
                let fact = inference.main().get(value).cloned().unwrap_or_default();
                if let Some(text) = contradiction(&fact, result) {
                    wrong.push(format!("{name} ({constant}): {text}"));
                }
                outputs += 1;
                if fact.is_fully_known() {
                    known += 1;
                } else if constant {
                    let node = model.graph.nodes()[0];
                    *unknown.entry(model.graph.node(node).op_type().to_owned()).or_default() += 1;
                }
            }
        }
    }
    println!("{known} of {outputs} outputs of node tests fully known");
    println!("not fully known, by first operator, with constant inputs: {unknown:?}");
    assert!(wrong.is_empty(), "{} contradictions\n{}", wrong.len(), wrong.join("\n"));
    assert!(known * 10 > outputs * 7, "too little is known: {known} of {outputs}");
}

/// The model with the shapes of the first data set as those of its inputs and without types of its outputs, and the
/// stored results. `None` where a value is no dense tensor.
fn with_shapes(model: &ModelProto, case: &Path, constant: bool) -> Option<(ModelProto, Vec<TensorProto>)> {
    let folder = case.join("test_data_set_0");
    let mut model = model.clone();
    let graph = model.graph.as_mut()?;
    let read = |part: &str, index: usize| {
        let bytes = fs::read(folder.join(format!("{part}_{index}.pb"))).ok()?;
        TensorProto::decode(bytes.as_slice()).ok()
    };
    let inputs: Vec<TensorProto> = (0..graph.input.len()).map(|index| read("input", index)).collect::<Option<_>>()?;
    let results = (0..graph.output.len()).map(|index| read("output", index)).collect::<Option<_>>()?;
    for (info, tensor) in graph.input.iter_mut().zip(&inputs) {
        let dtype = onnx_shrink::ir::DType::from_onnx(tensor.data_type())?;
        *info = ValueInfoProto { name: info.name.clone(), ..models::value(info.name(), dtype, &tensor.dims) };
    }
    if constant {
        for (info, tensor) in graph.input.drain(..).zip(inputs) {
            graph.initializer.push(TensorProto { name: info.name, ..tensor });
        }
    }
    graph.value_info.clear();
    graph.output.iter_mut().for_each(|info| info.r#type = None);
    Some((model, results))
}

fn contradiction(fact: &Fact, result: &TensorProto) -> Option<String> {
    let dtype_differs = fact.dtype.is_some_and(|dtype| dtype.to_onnx() != result.data_type());
    let extents = fact.shape.as_ref().map(|shape| shape.iter().map(|e| e.as_ref().and_then(SymExpr::as_int)));
    let shape_differs = extents.is_some_and(|extents| {
        let extents: Vec<Option<i64>> = extents.collect();
        let differs = |(left, right): (&Option<i64>, &i64)| left.is_some_and(|left| left != *right);
        extents.len() != result.dims.len() || extents.iter().zip(&result.dims).any(differs)
    });
    let contents_differ = contents(fact, result);
    (dtype_differs || shape_differs || contents_differ)
        .then(|| format!("{} with {:?} for {} {:?}", fact.to_type(), fact.contents, result.data_type(), result.dims))
}

/// Whether followed integers differ from stored 64-bit ones.
fn contents(fact: &Fact, result: &TensorProto) -> bool {
    let (Some(contents), Some(raw)) = (&fact.contents, &result.raw_data) else { return false };
    if fact.dtype != Some(onnx_shrink::ir::DType::I64) {
        return false;
    }
    let stored = raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    contents.iter().zip(stored).any(|(element, stored)| element.number().is_some_and(|number| number != stored as f64))
}
