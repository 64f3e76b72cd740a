//! Weights in side files: read where they may lie, refused elsewhere, written beside the model.

use std::fs;
use std::path::Path;

use onnx_shrink::ErrorKind;
use onnx_shrink::ir::DType;
use onnx_shrink::onnx::proto::{
    GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto, tensor_proto::DataLocation,
};
use onnx_shrink::onnx::{self, EncodeOptions};
use prost::Message;
use tempfile::TempDir;

/// A model whose only weight, `float[4]`, lies at `location`.
fn model_with(location: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    let entry = |(key, value): (&str, &str)| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    let weight = TensorProto {
        name: Some("w".into()),
        dims: vec![4],
        data_type: Some(DType::F32.to_onnx()),
        data_location: Some(DataLocation::External as i32),
        external_data: [("location", location)].iter().chain(entries).map(|&e| entry(e)).collect(),
        ..TensorProto::default()
    };
    let value = |name: &str| ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() };
    let node = NodeProto {
        op_type: Some("Add".into()),
        input: vec!["x".into(), "w".into()],
        output: vec!["y".into()],
        ..NodeProto::default()
    };
    let graph = GraphProto {
        node: vec![node],
        initializer: vec![weight],
        input: vec![value("x")],
        output: vec![value("y")],
        ..GraphProto::default()
    };
    ModelProto { ir_version: Some(8), graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
}

fn weights() -> Vec<u8> {
    [1.0f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A folder `models` with the model inside a larger temporary folder.
fn folder_with(model: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("models")).unwrap();
    fs::write(folder.path().join("models/m.onnx"), model).unwrap();
    folder
}

fn refusal(folder: &TempDir) -> String {
    let error = onnx::read(&folder.path().join("models/m.onnx")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
    error.to_string()
}

#[test]
fn reads_offset_and_length() {
    let folder = folder_with(&model_with("sub/w.bin", &[("offset", "8"), ("length", "16")]));
    fs::create_dir(folder.path().join("models/sub")).unwrap();
    let mut contents = vec![0xff; 8];
    contents.extend(weights());
    fs::write(folder.path().join("models/sub/w.bin"), contents).unwrap();
    let model = onnx::read(&folder.path().join("models/m.onnx")).unwrap();
    let w = model.graph.find_value("w").unwrap();
    assert_eq!(model.graph.constant(w).unwrap().to_f32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn refuses_paths_that_leave_the_folder() {
    let outside = |folder: &TempDir| fs::write(folder.path().join("w.bin"), weights()).unwrap();
    for location in ["../w.bin", "sub/../../w.bin", "..\\w.bin"] {
        let folder = folder_with(&model_with(location, &[]));
        outside(&folder);
        assert!(refusal(&folder).contains("`..` leaves the folder"), "{location}");
    }
    for location in ["/etc/hostname", "C:\\w.bin", "\\\\host\\w.bin"] {
        let folder = folder_with(&model_with(location, &[]));
        assert!(refusal(&folder).contains("absolute path"), "{location}");
    }
}

#[cfg(unix)]
#[test]
fn refuses_links_that_leave_the_folder() {
    let folder = folder_with(&model_with("w.bin", &[]));
    fs::write(folder.path().join("secret"), weights()).unwrap();
    std::os::unix::fs::symlink("../secret", folder.path().join("models/w.bin")).unwrap();
    assert!(refusal(&folder).contains("symbolic link"));

    let folder = folder_with(&model_with("sub/w.bin", &[]));
    fs::create_dir(folder.path().join("elsewhere")).unwrap();
    fs::write(folder.path().join("elsewhere/w.bin"), weights()).unwrap();
    std::os::unix::fs::symlink("../elsewhere", folder.path().join("models/sub")).unwrap();
    assert!(refusal(&folder).contains("symbolic link"));

    let folder = folder_with(&model_with("w.bin", &[]));
    fs::write(folder.path().join("secret"), weights()).unwrap();
    fs::hard_link(folder.path().join("secret"), folder.path().join("models/w.bin")).unwrap();
    assert!(refusal(&folder).contains("hard link"));
}

#[cfg(unix)]
#[test]
fn follows_links_that_stay_inside() {
    let folder = folder_with(&model_with("w.bin", &[]));
    fs::write(folder.path().join("models/real.bin"), weights()).unwrap();
    std::os::unix::fs::symlink("real.bin", folder.path().join("models/w.bin")).unwrap();
    onnx::read(&folder.path().join("models/m.onnx")).unwrap();
}

#[test]
fn checks_offset_and_length_against_the_file() {
    let max = u64::MAX.to_string();
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("offset", "4"), ("length", "16")], "lies outside"),
        (&[("length", "12")], "do not fit"),
        (&[("offset", &max), ("length", "16")], "lies outside"),
        (&[("offset", "-1")], "not a number of bytes"),
        (&[("offset", "8")], "lies outside"),
    ];
    for (entries, expected) in cases {
        let folder = folder_with(&model_with("w.bin", entries));
        fs::write(folder.path().join("models/w.bin"), weights()).unwrap();
        let text = refusal(&folder);
        assert!(text.contains(expected) && text.contains('w'), "{entries:?}: {text}");
    }
}

#[test]
fn a_missing_side_file_is_named() {
    let folder = folder_with(&model_with("w.bin", &[]));
    let error = onnx::read(&folder.path().join("models/m.onnx")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("w.bin"), "{error}");
}

/// Writes a model with all its weights in a side file, and reads that again.
fn externalise(source: &Path, folder: &Path) -> (u64, u64) {
    let model = onnx::read(source).unwrap();
    let options = EncodeOptions { external_from_bytes: Some(1024), side_file_name: "m.onnx.data".into() };
    let encoded = onnx::encode(&model, &options).unwrap();
    let (mut main, mut side) = (Vec::new(), Vec::new());
    encoded.write_model(&mut main).unwrap();
    encoded.write_side(&mut side).unwrap();
    assert_eq!((main.len() as u64, side.len() as u64), (encoded.len(), encoded.side_len()));
    fs::write(folder.join("m.onnx"), &main).unwrap();
    fs::write(folder.join("m.onnx.data"), &side).unwrap();
    let again = onnx::read(&folder.join("m.onnx")).unwrap();
    for id in model.graph.initializers() {
        let name = model.graph.value(id).name();
        let (before, after) = (model.graph.constant(id), again.graph.constant(again.graph.find_value(name).unwrap()));
        assert!(before.unwrap().same_as(&after.unwrap()), "{name} changed");
    }
    (encoded.len(), encoded.side_len())
}

#[test]
fn large_weights_move_to_a_side_file_and_back() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lenet5.onnx");
    let folder = tempfile::tempdir().unwrap();
    let (main, side) = externalise(&source, folder.path());
    assert!(main < 16 * 1024, "{main} bytes left in the model");
    assert!(side > 1_600_000, "only {side} bytes in the side file");

    // Without a side file to write, the weights come back into the model.
    let inlined = onnx::encode(&onnx::read(&folder.path().join("m.onnx")).unwrap(), &EncodeOptions::default()).unwrap();
    assert_eq!(inlined.side_len(), 0);
    let bytes = inlined.to_bytes();
    let back = onnx::decode(bytes, None).unwrap();
    assert_eq!(back.node_count(), 8);
}
