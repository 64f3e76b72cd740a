//! Statistics of calibration: shards merge into what one run over all samples would have given, byte for byte.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use onnx_shrink::backend::{BackendChoice, NamedTensors};
use onnx_shrink::data::Samples;
use onnx_shrink::error::Result;
use onnx_shrink::ir::{Model, Tensor, text};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::manager::{self, RunOptions};
use onnx_shrink::pass::pipeline::Pipeline;
use onnx_shrink::pass::{Env, Scratch, StatisticsFiles};

/// Samples of different lengths, whose range grows from one to the next; from `first` on.
#[derive(Debug)]
struct Growing {
    first: usize,
    count: usize,
}

impl Samples for Growing {
    fn len(&self) -> usize {
        self.count
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        let index = self.first + index;
        let rows = 1 + index % 3;
        let size = 1.5f32.powi(index as i32 % 11);
        let value = |i: usize| size * (((i * 7919 + index * 31) % 1009) as f32 / 504.0 - 1.0);
        let x: Vec<f32> = (0..rows * 64).map(value).collect();
        let scale = Tensor::from_f32([1], &[1.0 + index as f32])?;
        Ok(vec![("x".to_owned(), Tensor::from_f32([rows as u64, 64], &x)?), ("scale".to_owned(), scale)])
    }

    fn label(&self, _: usize) -> Option<Vec<i64>> {
        None
    }

    fn describe(&self) -> String {
        "growing samples".to_owned()
    }
}

const MODEL: &str = r#"<ir_version: 8, opset_import: ["" : 13]>
g (float[N,64] x, float[1] scale) => (float[N,96] y) <
  float[64,80] v = rand(1), float[80,96] w = rand(2), float[80] b = rand(3)
> {
  scaled = Mul(x, scale)
  p = MatMul(scaled, v)
  h = Add(p, b)
  r = Relu(h)
  y = MatMul(r, w)
}"#;

fn shrunk(pipeline: &str, samples: Option<&dyn Samples>, read: &[PathBuf], write: Option<&Path>) -> Result<Bytes> {
    let mut model: Model = text::parse(MODEL)?;
    let scratch = Scratch::in_memory();
    let env = Env {
        calibration: samples,
        backend: BackendChoice::Tract,
        statistics: StatisticsFiles { read, write },
        ..Env::plain(&scratch)
    };
    manager::run(pipeline.parse::<Pipeline>()?.plan()?, &mut model, &env, &RunOptions::default())?;
    Ok(onnx::encode(&model, &EncodeOptions::default())?.to_bytes())
}

const OBSERVERS: [&str; 5] = ["minmax", "moving", "percentile:percentile=99", "entropy", "mse"];

#[test]
fn merged_shards_give_the_bytes_of_one_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let record = |first: usize, count: usize, name: &str| {
        shrunk("quant8=static", Some(&Growing { first, count }), &[], Some(&file(name))).unwrap();
        file(name)
    };
    let whole = record(0, 24, "whole.json");
    let shards = [record(17, 7, "c.json"), record(0, 5, "a.json"), record(5, 12, "b.json")];
    let merged = file("merged.json");
    shrunk("quant8=static", None, &shards, Some(&merged)).unwrap();
    assert!(std::fs::read(&merged).unwrap() == std::fs::read(&whole).unwrap(), "the files differ");
    for observer in OBSERVERS {
        let pipeline = format!("quant8=static:observer={observer}");
        let at_once = shrunk(&pipeline, Some(&Growing { first: 0, count: 24 }), &[], None).unwrap();
        let from_shards = shrunk(&pipeline, None, &shards, None).unwrap();
        assert!(at_once == from_shards, "{observer}");
    }
}

#[test]
fn every_observer_gives_the_same_bytes_at_any_number_of_threads() {
    for observer in OBSERVERS {
        let result = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let samples = Growing { first: 0, count: 9 };
            pool.install(|| shrunk(&format!("quant8=static:observer={observer}"), Some(&samples), &[], None).unwrap())
        };
        assert!(result(1) == result(3), "{observer}");
    }
}

#[test]
fn observers_choose_ranges_of_their_own() {
    let samples = Growing { first: 0, count: 24 };
    // The least squared error is that of the whole range here: what is large decides.
    let results = ["minmax", "moving", "percentile:percentile=99", "entropy"]
        .map(|o| shrunk(&format!("quant8=static:observer={o}"), Some(&samples), &[], None).unwrap());
    for (index, one) in results.iter().enumerate() {
        assert!(!results[..index].contains(one), "observer {} gives what another does", index);
    }
}

#[test]
fn statistics_of_another_model_or_without_what_is_needed_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stats.json");
    let samples = Growing { first: 0, count: 3 };
    shrunk("quant8=static", Some(&samples), &[], Some(&file)).unwrap();
    let files = [file];
    let other = shrunk("prune,quant8=static", None, &files, None).unwrap_err().to_string();
    assert!(other.contains("another model") && other.contains("stats.json"), "{other}");
    let target = shrunk("quant8=static:target=90", None, &files, None).unwrap_err().to_string();
    assert!(target.contains("needs calibration data") && target.contains("--inputs"), "{target}");
    let missing = shrunk("quant8=static", None, &[folder.path().join("none.json")], None).unwrap_err().to_string();
    assert!(missing.contains("cannot read statistics from"), "{missing}");
}

/// Samples of which a few channels are much larger than the rest; it is counted how often one is read.
#[derive(Debug, Default)]
struct Counting {
    reads: AtomicUsize,
}

impl Samples for Counting {
    fn len(&self) -> usize {
        5
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let size = |channel: usize| if channel % 40 == 3 { 100.0 } else { 1.0 };
        let value = |i: usize| size(i / 4) * ((i * 7919 + index * 31) % 1009) as f32 / 1009.0;
        let x: Vec<f32> = (0..512).map(value).collect();
        Ok(vec![("x".to_owned(), Tensor::from_f32([1, 128, 2, 2], &x)?)])
    }

    fn label(&self, _: usize) -> Option<Vec<i64>> {
        None
    }

    fn describe(&self) -> String {
        "counted samples".to_owned()
    }
}

/// Outliers are found in the same runs that ranges are measured in, also where keeping them apart changes what is quantized.
#[test]
fn every_sample_is_run_once() {
    let source = r#"<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,128,2,2] x) => (float[1,80] y) <float[128,80] w = rand(1)> {
          m = ReduceMean<axes = [2, 3], keepdims = 1>(x)
          f = Flatten(m)
          y = Gemm(f, w)
        }"#;
    let (mut model, samples) = (text::parse(source).unwrap(), Counting::default());
    let scratch = Scratch::in_memory();
    let env = Env { calibration: Some(&samples), ..Env::plain(&scratch) };
    let plan = "quant8=static".parse::<Pipeline>().unwrap().plan().unwrap();
    manager::run(plan, &mut model, &env, &RunOptions::default()).unwrap();
    assert!(model.graph.find_value("w_outliers").is_some());
    assert_eq!(samples.reads.into_inner(), 5);
}
