//! What is particular to ONNX Runtime: finding its library, its types, and what happens without it.

use std::process::Command;

use onnx_shrink::backend::onnxruntime::OnnxRuntime;
use onnx_shrink::backend::tract::Tract;
use onnx_shrink::backend::{Backend, BackendChoice, LoadOptions, ModelBytes, load};
use onnx_shrink::ir::{DType, Tensor};
use onnx_shrink::onnx::proto::{ModelProto, StringStringEntryProto, tensor_proto::DataLocation};
use prost::Message;

use super::support::models::{bytes, floats, model, node, value};
use super::{ONE_THREAD, onnxruntime};

/// The variable that names the library of ONNX Runtime.
const LIBRARY: &str = "ORT_DYLIB_PATH";

/// A model that tract is refused.
fn only_for_onnxruntime() -> ModelBytes {
    bytes(&model(11, vec![node("Det", &["x"], vec![])], vec![value("x", DType::F32, &[2, 2])], vec![]))
}

/// The output of one of the probes below, run in a process of its own with a variable set.
fn probe(name: &str, variable: &str, content: &str) -> String {
    let program = std::env::current_exe().unwrap();
    let arguments = ["--exact", name, "--ignored", "--nocapture"];
    let output = Command::new(program).args(arguments).env(variable, content).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
#[ignore = "run by other tests, in a process of its own"]
fn probe_loading() {
    let error = OnnxRuntime.load(&only_for_onnxruntime(), &ONE_THREAD).unwrap_err();
    println!("ONNX RUNTIME {:?} {error}", error.kind());
    let error = load(BackendChoice::Auto, &only_for_onnxruntime(), &ONE_THREAD).unwrap_err();
    println!("AUTO {:?} {error}", error.kind());
    // What tract can run needs no ONNX Runtime.
    let relu = model(13, vec![node("Relu", &["x"], vec![])], vec![value("x", DType::F32, &[1])], vec![]);
    load(BackendChoice::Auto, &bytes(&relu), &ONE_THREAD).unwrap();
}

#[test]
fn a_library_that_is_none_is_an_error_and_no_abort() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libonnxruntime.so");
    std::fs::write(&file, "no library").unwrap();
    let another_library = if cfg!(target_os = "linux") { Some("libc.so.6") } else { None };
    for path in [file.to_str(), Some("/missing/libonnxruntime.so"), another_library].into_iter().flatten() {
        let text = probe("runtime::probe_loading", LIBRARY, path);
        assert!(text.contains("ONNX RUNTIME Unsupported cannot load ONNX Runtime"), "{text}");
        assert!(text.contains("AUTO CannotValidate no backend here can run this model"), "{text}");
        for part in ["Det `the_Det`", "tract: the operator `Det`", "pip install onnxruntime", LIBRARY, path] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
}

#[test]
fn onnxruntime_runs_what_tract_refuses() {
    let refused = only_for_onnxruntime();
    if onnxruntime(&refused, &ONE_THREAD).is_none() {
        return;
    }
    let session = load(BackendChoice::Auto, &refused, &ONE_THREAD).unwrap();
    assert_eq!(session.backend(), "onnxruntime");
    let input = Tensor::from_f32(vec![2, 2], &[2.0, 0.0, 0.0, 4.0]).unwrap();
    assert_eq!(session.run(&[("x".to_owned(), input)]).unwrap()[0].1.to_f32().unwrap(), [8.0]);
}

#[test]
fn auto_passes_on_inputs_that_tract_declines() {
    let maximum =
        bytes(&model(18, vec![node("ReduceMax", &["x"], vec![])], vec![value("x", DType::F32, &[1, 2])], vec![]));
    if onnxruntime(&maximum, &ONE_THREAD).is_none() {
        return;
    }
    let session = load(BackendChoice::Auto, &maximum, &ONE_THREAD).unwrap();
    let run = |value: f32| {
        let input = Tensor::from_f32(vec![1, 2], &[value; 2]).unwrap();
        session.run(&[("x".to_owned(), input)]).unwrap()[0].1.to_f32().unwrap()
    };
    assert_eq!((run(1.0), session.backend()), (vec![1.0], "tract"));
    assert_eq!((run(f32::NEG_INFINITY), session.backend()), (vec![f32::NEG_INFINITY], "onnxruntime"));
}

#[test]
fn every_type_passes_through_onnxruntime() {
    for &dtype in DType::ALL {
        let identity = model(21, vec![node("Identity", &["x"], vec![])], vec![value("x", dtype, &[2, 3])], vec![]);
        let mut identity = identity;
        identity.ir_version = Some(10);
        identity.graph.as_mut().unwrap().output = vec![value("y", dtype, &[2, 3])];
        let tensor = match dtype {
            DType::String => {
                Tensor::from_strings(vec![2, 3], ["a", "", "ü", "d", "e", "f"].map(Into::into).to_vec()).unwrap()
            }
            _ => {
                let size = dtype.byte_len(6).unwrap();
                Tensor::new(dtype, vec![2, 3], (0..size).map(|byte| (byte % 2) as u8).collect::<Vec<u8>>()).unwrap()
            }
        };
        let carried = dtype.is_float()
            || matches!(dtype, DType::Bool | DType::String)
            || (dtype.is_integer() && dtype.bits() >= 8);
        let result = match OnnxRuntime.load(&bytes(&identity), &ONE_THREAD) {
            Ok(session) => session.run(&[("x".to_owned(), tensor.clone())]),
            Err(error) if error.to_string().contains("not installed") => return,
            Err(error) => Err(error),
        };
        match result {
            Ok(results) => assert!(results[0].1.same_as(&tensor), "{dtype}"),
            Err(error) => {
                assert!(!carried, "{dtype}: {error}");
                assert_eq!(error.kind(), onnx_shrink::ErrorKind::Unsupported, "{dtype}: {error}");
            }
        }
    }
}

/// `t = x + w`, `y = Relu(t)`, with the weights in a file.
fn with_external_weights() -> ModelProto {
    let mut add = node("Add", &["x", "w"], vec![]);
    add.output = vec!["t".into()];
    let mut weights = floats("w", &[2], &[]);
    weights.raw_data = None;
    weights.data_location = Some(DataLocation::External as i32);
    let entry = |key: &str, value: &str| StringStringEntryProto { key: Some(key.into()), value: Some(value.into()) };
    weights.external_data = vec![entry("location", "weights.bin"), entry("offset", "4"), entry("length", "8")];
    model(13, vec![add, node("Relu", &["t"], vec![])], vec![value("x", DType::F32, &[2])], vec![weights])
}

#[test]
fn external_data_is_found_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let data: Vec<u8> = [9.0f32, 10.0, 20.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(folder.path().join("weights.bin"), data).unwrap();
    let path = folder.path().join("model.onnx");
    let encoded = with_external_weights().encode_to_vec();
    std::fs::write(&path, &encoded).unwrap();
    let tapped = LoadOptions { taps: vec!["t".into()], threads: 1, ..LoadOptions::default() };
    let input = || [("x".to_owned(), Tensor::from_f32(vec![2], &[1.0, -50.0]).unwrap())];
    let in_memory = ModelBytes::new(encoded.into(), Some(folder.path().to_path_buf()));
    for model in [ModelBytes::open(&path).unwrap(), in_memory] {
        for options in [&ONE_THREAD, &tapped] {
            let tract = Tract.load(&model, options).unwrap();
            for session in [Some(tract), onnxruntime(&model, options)].into_iter().flatten() {
                let results = session.run(&input()).unwrap();
                assert_eq!(results[0].1.to_f32().unwrap(), [11.0, 0.0], "{}", session.backend());
                if let Some((name, tap)) = results.get(1) {
                    assert_eq!((name.as_str(), tap.to_f32().unwrap()), ("t", vec![11.0, -30.0]));
                }
            }
        }
    }
}
