//! The node tests of the `onnx` package, as files.

use std::fs;
use std::path::Path;
use std::process::Command;

use onnx_shrink::backend::NamedTensors;
use onnx_shrink::ir::{DType, Tensor};
use onnx_shrink::onnx::proto::{ModelProto, TensorProto};
use prost::Message;
use tempfile::TempDir;

use super::{corpus, models, python};

/// Cases whose outputs are random by definition.
pub const RANDOM: [&str; 2] = ["test_bernoulli", "test_training_dropout"];

/// A folder with a folder for each node test, written by Python; `None` where there is none.
pub fn write() -> Option<TempDir> {
    if !python::has("onnx.backend.test") {
        corpus::skip("no Python with the package `onnx` (set PYTHON)");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/node_tests.py");
    let written = Command::new(python::interpreter()).arg(script).arg(folder.path()).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    Some(folder)
}

/// The model with inputs turned into initializers.
pub fn with_constants(model: &ModelProto, constants: &[(String, Tensor)]) -> ModelProto {
    let mut model = model.clone();
    let graph = model.graph.as_mut().unwrap();
    for (name, tensor) in constants {
        graph.input.retain(|info| info.name() != name);
        let mut initializer = models::tensor(name, tensor.dtype(), &[], tensor.data().to_vec());
        initializer.dims = tensor.shape().iter().map(|&extent| extent as i64).collect();
        if let Some(strings) = tensor.strings() {
            initializer.raw_data = None;
            initializer.string_data = strings.to_vec();
        }
        graph.initializer.push(initializer);
    }
    model
}

/// The tensors of a data set; `None` where one has a type the crate cannot hold.
pub fn tensors<'a>(folder: &Path, part: &str, names: impl Iterator<Item = &'a str>) -> Option<NamedTensors> {
    let read = |(index, name): (usize, &str)| {
        let path = folder.join(format!("{part}_{index}.pb"));
        let proto = TensorProto::decode(fs::read(path).unwrap().as_slice()).unwrap();
        Some((name.to_owned(), tensor(&proto)?))
    };
    names.enumerate().map(read).collect()
}

fn tensor(proto: &TensorProto) -> Option<Tensor> {
    let dtype = DType::from_onnx(proto.data_type())?;
    let shape: Vec<u64> = proto.dims.iter().map(|&dim| dim as u64).collect();
    match (&proto.raw_data, dtype) {
        (_, DType::String) => Tensor::from_strings(shape, proto.string_data.clone()).ok(),
        (Some(raw), _) => Tensor::new(dtype, shape, raw.clone()).ok(),
        (None, DType::F32) => Tensor::from_f32(shape, &proto.float_data).ok(),
        (None, DType::I64) => Tensor::from_i64(shape, &proto.int64_data).ok(),
        (None, DType::I32) => Tensor::from_i32(shape, &proto.int32_data).ok(),
        // Eight bits and less: one byte, or one packed byte, in each integer.
        (None, _) if dtype.bits() <= 8 => {
            Tensor::new(dtype, shape, proto.int32_data.iter().map(|&v| v as u8).collect::<Vec<u8>>()).ok()
        }
        (None, _) if dtype.bits() == 16 => {
            let data: Vec<u8> = proto.int32_data.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect();
            Tensor::new(dtype, shape, data).ok()
        }
        (None, _) => None,
    }
}
