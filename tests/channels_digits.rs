//! `channels` on nets for digits, calibrated on 512 digits without labels: what accuracy is left over 2,004 others.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic, and says what it measured"
)]

mod support;

use std::path::{Path, PathBuf};

use onnx_shrink::backend::NamedTensors;
use onnx_shrink::channels::{Channels, Removal};
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::error::Result;
use onnx_shrink::infer;
use onnx_shrink::ir::{Model, Tensor, check};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::{Changed, Cx, Env, Opts, Scratch};
use onnx_shrink::passes;
use onnx_shrink::validate::{self, CompareOptions, DriftReport};
use support::session;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn samples(path: &Path, model: &Model, limit: Option<usize>) -> Box<dyn Samples> {
    let signature = model.signature();
    let hints = Hints::default();
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit };
    data::open(&path.display().to_string(), &options).unwrap()
}

fn prune(model: &Model, options: &[(&str, &str)], calibration: &dyn Samples) -> Model {
    let scratch = Scratch::in_memory();
    let env = Env { calibration: Some(calibration), ..Env::plain(&scratch) };
    let info = passes::find("channels").unwrap();
    let args: Vec<_> = options.iter().map(|(key, value)| (Some((*key).to_owned()), (*value).to_owned())).collect();
    let mut pass = (info.build)(&Opts::new(info, &args).unwrap()).unwrap();
    let mut result = model.clone();
    assert_eq!(pass.run(&mut result, &mut Cx::new(&env, info.name)).unwrap(), Changed::Yes);
    check::structure(&result).unwrap();
    assert_eq!(result.signature(), model.signature());
    let again = pass.run(&mut result.clone(), &mut Cx::new(&env, info.name)).unwrap();
    assert_eq!(again, Changed::No, "{options:?}: a second run");
    result
}

fn multiplications(model: &Model) -> f64 {
    let facts = infer::infer(model).unwrap();
    let channels = Channels::analyze(&model.graph, facts.main(), model.opset()).unwrap();
    channels.multiplications(&Removal::new(&channels))
}

fn drift(before: &Model, after: &Model, samples: &dyn Samples) -> DriftReport {
    validate::compare(&*session::load(before), &*session::load(after), samples, &CompareOptions::default()).unwrap()
}

/// Digits of the corpus, some in a batch each.
#[derive(Debug)]
struct Digits {
    pixels: Vec<f32>,
    labels: Vec<i64>,
    batch: usize,
}

const PIXELS: usize = 28 * 28;

impl Digits {
    fn open(path: &Path, model: &Model, count: usize, batch: usize) -> Self {
        // The file is one batch of all.
        let all = samples(path, model, None);
        let (inputs, labels) = (all.get(0).unwrap(), all.label(0).unwrap());
        let pixels = inputs[0].1.to_f32().unwrap();
        assert_eq!(pixels.len(), labels.len() * PIXELS);
        Self { pixels: pixels[..count * PIXELS].to_vec(), labels: labels[..count].to_vec(), batch }
    }
}

impl Samples for Digits {
    fn len(&self) -> usize {
        self.labels.len() / self.batch
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        let shape = [self.batch as u64, 1, 28, 28];
        let pixels = &self.pixels[index * self.batch * PIXELS..][..self.batch * PIXELS];
        Ok(vec![("input".to_owned(), Tensor::from_f32(shape, pixels)?)])
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        Some(self.labels[index * self.batch..][..self.batch].to_vec())
    }

    fn describe(&self) -> String {
        format!("{} digits", self.labels.len())
    }
}

/// Leaves so much of the multiplications, and holds the points of accuracy lost against what may be; without the repair
/// more are.
fn assert_loses_at_most(name: &str, flops: f64, most_points: f64) {
    let files = ["mnist_train.npz", "mnist_test.npz"].map(support::corpus::file);
    let [Some(train), Some(test)] = files else { return };
    let model = onnx::read(&testdata(name)).unwrap();
    let (calibration, test) = (Digits::open(&train, &model, 512, 1), Digits::open(&test, &model, 2004, 12));
    let part = flops.to_string();
    let lost = |options: &[(&str, &str)]| {
        let result = prune(&model, options, &calibration);
        let left = multiplications(&result) / multiplications(&model);
        // A channel of a thin first layer is a twentieth of the next.
        assert!(left <= flops && left > flops - 0.06, "{name}: {left:.3} of the multiplications are left");
        let accuracy = drift(&model, &result, &test).accuracy.unwrap();
        (accuracy.before - accuracy.after) * 100.0
    };
    let (with, without) = (lost(&[("flops", &part)]), lost(&[("flops", &part), ("repair", "false")]));
    println!("{name} at {flops}: {with:.2} points lost, {without:.2} without the repair");
    assert!(with <= most_points, "{name} at {flops}: {with:.2} points lost");
    assert!(without > with, "{name} at {flops}: {with:.2} points lost, {without:.2} without the repair");
}

#[test]
fn lenet5_at_half_the_multiplications() {
    assert_loses_at_most("lenet5.onnx", 0.5, 0.3);
}

#[test]
fn a_residual_net_at_half_the_multiplications() {
    assert_loses_at_most("mnist_resnet_bn.onnx", 0.5, 0.3);
}

#[test]
fn a_residual_net_at_less_than_a_third_of_the_multiplications() {
    assert_loses_at_most("mnist_resnet_bn.onnx", 0.31, 1.0);
}

/// Convolutions with groups are fitted like others.
#[test]
fn groups_are_made_up_for() {
    // Sixteen channels of two numbers: any of them tell the others.
    let source = "<ir_version: 8, opset_import: [\"\" : 17]> g (float[1,2,12,12] x) => (float[1,4,12,12] y) <
        float[16,2,1,1] u = rand(1), float[8,8,3,3] w = rand(2), float[8] c = rand(3), float[4,8,1,1] v = rand(4)
    > { t = Conv(x, u) o = Conv<group = 2, pads = [1, 1, 1, 1]>(t, w, c) q = Relu(o) y = Conv(q, v) }";
    let model = onnx_shrink::ir::text::parse(source).unwrap();
    let (signature, hints) = (model.signature(), Hints::default());
    let data = |seed: u64| {
        let options = DataOptions { signature: &signature, seed, hints: &hints, limit: None };
        data::open("synthetic:80", &options).unwrap()
    };
    let (calibration, test) = (data(1), data(2));
    let of = |repair: &str| {
        let result = prune(&model, &[("ratio", "0.25"), ("exclude", "v"), ("repair", repair)], &*calibration);
        drift(&model, &result, &*test).outputs[0].snr_db.unwrap()
    };
    let (with, without) = (of("true"), of("false"));
    println!("groups: {with:.1} dB, {without:.1} dB without the repair");
    assert!(with >= without + 30.0, "{with:.1} dB, {without:.1} dB without the repair");
}

#[test]
fn goals_are_reached() {
    let model = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let calibration = samples(&testdata("digits_calib.npz"), &model, None);
    for (key, goal) in [("target", "20"), ("top1", "1")] {
        let result = prune(&model, &[(key, goal)], &*calibration);
        let left = multiplications(&result) / multiplications(&model);
        let output = &drift(&model, &result, &*calibration).outputs[0];
        println!("{key}={goal}: {left:.2} of the multiplications are left, {:?} dB, {:?}", output.snr_db, output.top1);
        assert!(left < 0.7, "{key}={goal}: {left:.2} of the multiplications are left");
        match key {
            "target" => assert!(output.snr_db.unwrap() >= 20.0, "{:?} dB", output.snr_db),
            _ => assert!(output.top1.unwrap() >= 0.99, "{:?}", output.top1),
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_number_of_threads() {
    let result = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let model = onnx::read(&testdata("mnist_resnet_bn.onnx")).unwrap();
            let calibration = samples(&testdata("digits_calib.npz"), &model, Some(40));
            let result = prune(&model, &[("ratio", "0.4"), ("scope", "global")], &*calibration);
            onnx::encode(&result, &EncodeOptions::default()).unwrap().to_bytes()
        })
    };
    assert!(result(1) == result(3));
}
