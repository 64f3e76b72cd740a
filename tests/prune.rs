//! `prune` on real models: accuracy and drift against what was measured, exact shares and patterns, the same bytes at any
//! number of threads, and zeros that stay zeros.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it measured"
)]

mod support;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use npyz::WriterBuilder;
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::error::Result;
use onnx_shrink::ir::{Model, Tensor, check};
use onnx_shrink::onnx::{self, EncodeOptions};
use onnx_shrink::pass::{Changed, Cx, Env, Opts, Scratch};
use onnx_shrink::passes;
use onnx_shrink::validate::{self, CompareOptions, DriftReport};
use support::sandbox::Sandbox;
use support::{corpus, session};

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn samples(path: &Path, model: &Model, limit: Option<usize>) -> Box<dyn Samples> {
    let (signature, hints) = (model.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit };
    data::open(&path.display().to_string(), &options).unwrap()
}

/// Runs a pass with options as a pipeline has them.
fn try_run(pass: &str, options: &str, model: &mut Model, calibration: Option<&dyn Samples>) -> Result<Changed> {
    let scratch = Scratch::in_memory();
    let env = Env { calibration, ..Env::plain(&scratch) };
    let info = passes::find(pass).unwrap();
    let pair = |option: &str| match option.split_once('=') {
        Some((key, value)) => (Some(key.to_owned()), value.to_owned()),
        None => (None, option.to_owned()),
    };
    let args: Vec<_> = options.split(':').map(pair).collect();
    let mut pass = (info.build)(&Opts::new(info, &args)?)?;
    let changed = pass.run(model, &mut Cx::new(&env, info.name))?;
    check::structure(model).unwrap();
    Ok(changed)
}

/// The model pruned with these options.
fn pruned(options: &str, original: &Model, calibration: Option<&dyn Samples>) -> Model {
    let mut model = original.clone();
    let options = format!("{options}:gzip=false");
    assert_eq!(try_run("prune", &options, &mut model, calibration).unwrap(), Changed::Yes, "{options}");
    assert_eq!(model.signature(), original.signature(), "{options}");
    model
}

fn encoded(model: &Model) -> Bytes {
    onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes()
}

fn drift(before: &Model, after: &Model, samples: &dyn Samples) -> DriftReport {
    validate::compare(&*session::load(before), &*session::load(after), samples, &CompareOptions::default()).unwrap()
}

/// Points of accuracy that pruning loses.
fn loss(before: &Model, after: &Model, test: &dyn Samples) -> f64 {
    let accuracy = drift(before, after, test).accuracy.unwrap();
    (accuracy.before - accuracy.after) * 100.0
}

fn snr_db(before: &Model, after: &Model, samples: &dyn Samples) -> f64 {
    drift(before, after, samples).outputs.iter().filter_map(|output| output.snr_db).fold(f64::INFINITY, f64::min)
}

/// Weights of Conv, Gemm and MatMul in the main graph, by name.
fn weights(model: &Model) -> Vec<(String, Tensor)> {
    let graph = &model.graph;
    let layers = graph.nodes().into_iter().filter(|&node| graph.node(node).is_any(&["Conv", "Gemm", "MatMul"]));
    let of = |node| {
        let value = graph.input(node, 1)?;
        Some((graph.value(value).name().to_owned(), graph.constant(value).filter(|tensor| tensor.rank() >= 2)?))
    };
    layers.filter_map(of).collect()
}

/// How many weights are zero, and how many there are.
fn zeros(model: &Model) -> (usize, usize) {
    let values: Vec<f32> = weights(model).iter().flat_map(|(_, tensor)| tensor.to_f32().unwrap()).collect();
    (values.iter().filter(|&&weight| weight == 0.0).count(), values.len())
}

/// A model of the corpus, 512 training digits without their labels, and the test digits; `None` where they are not here.
type Digits = (Model, Box<dyn Samples>, Box<dyn Samples>);

fn digits(name: &str) -> Option<Digits> {
    let files = [name, "mnist_train.npz", "mnist_test.npz"].map(corpus::file);
    let [Some(path), Some(train), Some(test)] = files else { return None };
    let model = onnx::read(&path).unwrap();
    let (train, test) = (batches(&train, &model, 512), batches(&test, &model, 2004));
    Some((model, train, test))
}

/// The first digits of a file, one a sample.
fn batches(path: &Path, model: &Model, count: usize) -> Box<dyn Samples> {
    let arrays = data::read_arrays(path).unwrap();
    let (digits, labels) = (&arrays["input"], &arrays["label"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digits.npz");
    let mut file = npyz::npz::NpzWriter::new(BufWriter::new(File::create(&path).unwrap()));
    let count = count.min(digits.shape()[0] as usize);
    let pixels = &digits.to_f32().unwrap()[..count * 784];
    let shape = [count as u64, 1, 1, 28, 28];
    let mut array = file.array("input", zip_options()).unwrap().default_dtype().shape(&shape).begin_nd().unwrap();
    array.extend(pixels).unwrap();
    array.finish().unwrap();
    let labels = &labels.to_i64().unwrap()[..count];
    let mut array =
        file.array("label", zip_options()).unwrap().default_dtype().shape(&[count as u64]).begin_nd().unwrap();
    array.extend(labels).unwrap();
    array.finish().unwrap();
    drop(file);
    samples(&path, model, None)
}

fn zip_options() -> npyz::zip::write::FileOptions {
    npyz::zip::write::FileOptions::default()
}

/// Prunes a model of the corpus and holds what it loses against the most that it may.
fn assert_loses_at_most(name: &str, bounds: &[(&str, f64)]) {
    let Some((original, train, test)) = digits(name) else { return };
    for (options, most) in bounds {
        let model = pruned(options, &original, Some(&*train));
        let (zeros, all) = zeros(&model);
        let loss = loss(&original, &model, &*test);
        println!("{name}, prune={options}: {zeros} of {all} weights are zero, {loss:.2} points are lost");
        assert!(loss <= *most + 1e-9, "{name}, prune={options}: {loss:.2} points are lost");
        if let Ok(share) = options.parse::<f64>() {
            assert_eq!(zeros, (share * all as f64 + 1e-9) as usize, "{name}, prune={options}");
        }
    }
}

#[test]
fn lenet_300_100_loses_little() {
    assert_loses_at_most("lenet_300_100.onnx", &[("0.8", 0.3), ("0.9", 0.5), ("pattern=2:4", 0.15)]);
}

/// What is told by what layers read beats magnitude, and the order of exact costs beats both.
#[test]
fn better_rules_lose_less() {
    let Some((original, train, test)) = digits("lenet_300_100.onnx") else { return };
    for share in ["0.8", "0.9"] {
        let of = |options: &str| {
            let options = format!("{share}:{options}");
            let loss = loss(&original, &pruned(&options, &original, Some(&*train)), &*test);
            println!("lenet_300_100, prune={options}: {loss:.2} points are lost");
            loss
        };
        let (exact, by_input) = (of("method=obs"), of("method=wanda"));
        let by_magnitude = of("method=l1:repair=false");
        assert!(exact <= by_input && by_input < by_magnitude, "{share}: {exact:.2}, {by_input:.2}, {by_magnitude:.2}");
    }
}

#[test]
fn lenet5_loses_little() {
    assert_loses_at_most("lenet5.onnx", &[("0.8", 0.3), ("0.9", 0.5), ("pattern=2:4", 0.15)]);
}

#[test]
fn a_residual_net_loses_little() {
    assert_loses_at_most("mnist_resnet_bn.onnx", &[("0.8", 0.3), ("0.9", 1.2), ("pattern=2:4", 0.15)]);
}

/// So much less noise a fit makes of half of a transformer, on 16 sequences.
const LEAST_GAIN_DB: f64 = 6.0;

/// Half of a transformer: SparseGPT and a fit against magnitude.
#[test]
fn a_transformer_by_column() {
    let Some(path) = corpus::file("minilm_l6.onnx") else { return };
    let original = onnx::read(&path).unwrap();
    let folder = path.parent().unwrap();
    let calibration = samples(&folder.join("minilm_l6.calib.npz"), &original, None);
    let test = samples(&folder.join("minilm_l6.eval.npz"), &original, None);
    // Whether a fit helps is asked in another test.
    let fitted = pruned("0.5:method=sparsegpt:repair=true", &original, Some(&*calibration));
    let by_magnitude = pruned("0.5:method=l1", &original, None);
    let (fitted, by_magnitude) = (snr_db(&original, &fitted, &*test), snr_db(&original, &by_magnitude, &*test));
    println!("minilm_l6, half: {fitted:.2} dB, by magnitude {by_magnitude:.2} dB");
    assert!(fitted >= by_magnitude + LEAST_GAIN_DB, "{fitted:.2} dB, by magnitude {by_magnitude:.2} dB");
}

/// Outputs on unseen data are no further off with a fit to few samples than by magnitude, or by magnitude and input, alone.
fn assert_few_samples_do_no_harm(original: &Model, (calibration, test): (&Path, &Path), cases: &[(&str, usize)]) {
    let test = samples(test, original, None);
    for (share, few) in cases {
        let calibration = samples(calibration, original, Some(*few));
        let of = |options: &str| {
            let model = pruned(&format!("{share}:{options}"), original, Some(&*calibration));
            snr_db(original, &model, &*test)
        };
        let fitted = of("method=auto");
        let (by_magnitude, by_input) = (of("method=l1:repair=false"), of("method=wanda:scope=layer:repair=false"));
        println!("{share}, {few} samples: {fitted:.2} dB, {by_magnitude:.2}, {by_input:.2}");
        assert!(fitted >= by_magnitude.max(by_input), "{share}, {few} samples: {fitted}, {by_magnitude}, {by_input}");
    }
}

#[test]
fn a_fit_to_few_digits_does_no_harm() {
    let data = (testdata("digits_calib.npz"), testdata("digits_test.npz"));
    let original = onnx::read(&testdata("lenet5.onnx")).unwrap();
    assert_few_samples_do_no_harm(&original, (&data.0, &data.1), &[("0.5", 8), ("0.5", 16), ("0.9", 8)]);
}

#[test]
fn a_fit_to_few_sequences_does_no_harm() {
    let files = ["minilm_l6.onnx", "minilm_l6.calib.npz", "minilm_l6.eval.npz"].map(corpus::file);
    let [Some(path), Some(calibration), Some(test)] = files else { return };
    // Two layers of the six show what all do, in a third of the time.
    let mut original = onnx::read(&path).unwrap();
    let ends = (2..6).map(|layer| format!("remove=/m/encoder/layer.{layer}/output/LayerNorm/LayerNormalization"));
    let options = format!("{}:scale=false", ends.collect::<Vec<_>>().join(":"));
    assert_eq!(try_run("layers", &options, &mut original, None).unwrap(), Changed::Yes);
    assert_few_samples_do_no_harm(&original, (&calibration, &test), &[("0.5", 8)]);
}

/// Convolutions with groups, depthwise ones too, are made up for like others.
#[test]
fn groups_are_made_up_for() {
    let source = "<ir_version: 8, opset_import: [\"\" : 17]> g (float[1,8,12,12] x) => (float[1,4,12,12] y) <
        float[8,1,3,3] d = rand(1), float[8] e = rand(2), float[8,4,3,3] w = rand(3), float[8] b = rand(4),
        float[4,8,1,1] v = rand(5)
    > { a = Conv<group = 8, pads = [1, 1, 1, 1]>(x, d, e) s = Relu(a)
        c = Conv<group = 2, pads = [1, 1, 1, 1]>(s, w, b) r = Relu(c) y = Conv(r, v) }";
    let original = onnx_shrink::ir::text::parse(source).unwrap();
    let (signature, hints) = (original.signature(), Hints::default());
    let data = |seed: u64| {
        let options = DataOptions { signature: &signature, seed, hints: &hints, limit: None };
        data::open("synthetic:80", &options).unwrap()
    };
    let (calibration, test) = (data(1), data(2));
    let of = |options: &str| snr_db(&original, &pruned(options, &original, Some(&*calibration)), &*test);
    let (plain, fitted) = (of("0.6:method=l1:scope=layer:repair=false"), of("0.6:method=l1:scope=layer"));
    println!("groups: {plain:.1} dB, fitted {fitted:.1} dB");
    assert!(fitted >= plain + 1.5, "{plain:.1} dB, fitted {fitted:.1} dB");
}

#[test]
fn patterns_and_shares_are_exact_and_a_second_run_does_nothing() {
    let original = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let calibration = samples(&testdata("digits_calib.npz"), &original, Some(16));
    let options = [
        "0.73:method=l1",
        "0.73:method=random",
        "0.73:method=wanda:scope=layer",
        "0.73:method=sparsegpt:scope=layer",
        "pattern=2:4:method=l1",
        "pattern=2:4:method=wanda",
        "pattern=2:4:method=sparsegpt",
        "0.73:block=1x4:method=sparsegpt",
    ];
    for options in options {
        let mut model = pruned(options, &original, Some(&*calibration));
        let (zeros, all) = zeros(&model);
        if options.starts_with("pattern") {
            weights(&model).iter().for_each(|(name, tensor)| assert_two_of_four(options, name, tensor));
        } else {
            // Shares of layers are rounded down one by one, to whole tiles.
            let most = (0.73 * all as f64) as usize;
            assert!(zeros <= most && zeros + 16 >= most, "{options}: {zeros} of {all}");
        }
        let again = try_run("prune", &format!("{options}:gzip=false"), &mut model, Some(&*calibration)).unwrap();
        assert_eq!(again, Changed::No, "{options}: a second run");
    }
}

/// Of four channels in a row at most two are read, at each place of a kernel.
fn assert_two_of_four(options: &str, name: &str, tensor: &Tensor) {
    let values = tensor.to_f32().unwrap();
    // Conv, and Gemm with transposed weights: [outputs, inputs, taps].
    let inputs = tensor.shape()[1] as usize;
    let taps = tensor.shape()[2..].iter().product::<u64>() as usize;
    for row in values.chunks(inputs * taps) {
        for tap in 0..taps {
            for start in (0..inputs).step_by(4) {
                let run = (start..inputs.min(start + 4)).filter(|input| row[input * taps + tap] != 0.0);
                assert!(run.count() <= 2, "{options}: {name}");
            }
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_at_any_number_of_threads() {
    let result = |threads: usize, options: &str| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let original = onnx::read(&testdata("mnist_resnet_bn.onnx")).unwrap();
            let calibration = samples(&testdata("digits_calib.npz"), &original, Some(8));
            encoded(&pruned(options, &original, Some(&*calibration)))
        })
    };
    for options in ["0.8:method=sparsegpt:scope=layer", "0.8"] {
        assert!(result(1, options) == result(3, options), "{options}");
    }
}

#[test]
fn a_fit_and_its_bias_are_worth_much_for_the_same_zeros() {
    let original = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let calibration = samples(&testdata("digits_calib.npz"), &original, None);
    let test = samples(&testdata("digits_test.npz"), &original, None);
    let of = |options: &str| snr_db(&original, &pruned(options, &original, Some(&*calibration)), &*test);
    let (plain, fitted) = (of("0.9:method=l1:repair=false"), of("0.9:method=l1"));
    println!("lenet5, nine of ten by magnitude: {plain:.1} dB, fitted {fitted:.1} dB");
    assert!(fitted >= plain + 2.0, "{fitted:.1} dB, {plain:.1} dB without a fit");
}

#[test]
fn a_goal_says_how_much_goes() {
    let original = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let calibration = samples(&testdata("digits_calib.npz"), &original, Some(40));
    let labelled = samples(&testdata("digits_test.npz"), &original, Some(60));
    let share = |model: &Model| {
        let (zeros, all) = zeros(model);
        zeros as f64 / all as f64
    };
    let fine = pruned("target=25:method=sparsegpt:scope=layer", &original, Some(&*calibration));
    let coarse = pruned("target=12:method=sparsegpt:scope=layer", &original, Some(&*calibration));
    println!("25 dB: {:.3}, 12 dB: {:.3}", share(&fine), share(&coarse));
    assert!(share(&fine) > 0.1 && share(&coarse) > share(&fine) + 0.1);
    assert!(snr_db(&original, &fine, &*labelled) > 20.0);
    let exact = pruned("acc-drop=0:method=sparsegpt:scope=layer", &original, Some(&*labelled));
    assert!(share(&exact) > 0.3 && loss(&original, &exact, &*labelled) < 2.0);
    let mut model = original.clone();
    let error = try_run("prune", "acc-drop=1", &mut model, Some(&*calibration)).unwrap_err();
    assert!(error.to_string().contains("label"), "{error}");
}

#[test]
fn steps_end_at_the_share() {
    let original = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let calibration = samples(&testdata("digits_calib.npz"), &original, Some(40));
    let test = samples(&testdata("digits_test.npz"), &original, None);
    for schedule in ["polynomial", "constant"] {
        let options = format!("0.9:scope=layer:method=sparsegpt:steps=3:schedule={schedule}");
        let model = pruned(&options, &original, Some(&*calibration));
        let (zeros, all) = zeros(&model);
        assert!(zeros <= all * 9 / 10 && zeros + 4 >= all * 9 / 10, "{options}: {zeros} of {all}");
        assert!(loss(&original, &model, &*test) < 10.0, "{options}");
    }
}

#[test]
fn a_mask_is_followed_and_made_up_for() {
    let original = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let calibration = samples(&testdata("digits_calib.npz"), &original, Some(40));
    let (name, tensor) = weights(&original).into_iter().next_back().unwrap();
    let mask: Vec<u8> = (0..tensor.len()).map(|element| u8::from(element % 3 == 0)).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.npz");
    let write = |name: &str| {
        let mut file = npyz::npz::NpzWriter::new(BufWriter::new(File::create(&path).unwrap()));
        let array = file.array(name, zip_options()).unwrap();
        let mut array = array.default_dtype().shape(tensor.shape()).begin_nd().unwrap();
        array.extend(&mask).unwrap();
        array.finish().unwrap();
    };
    write(&name);
    let options = format!("mask={}", path.display());
    for calibration in [None, Some(&*calibration)] {
        let model = pruned(&options, &original, calibration);
        let (_, masked) = weights(&model).into_iter().next_back().unwrap();
        let stays: Vec<u8> = masked.to_f32().unwrap().iter().map(|&weight| u8::from(weight != 0.0)).collect();
        assert!(stays == mask);
        assert!(!masked.same_as(&tensor));
    }
    write("no_such_tensor");
    let error = try_run("prune", &options, &mut original.clone(), None).unwrap_err();
    assert!(error.to_string().contains("no_such_tensor"), "{error}");
}

/// Zeros are zeros after `quant8` too, in each form that it stores weights in.
#[test]
fn zeros_stay_zeros_when_weights_get_eight_bits() {
    let original = onnx::read(&testdata("lenet5.onnx")).unwrap();
    let calibration = samples(&testdata("digits_calib.npz"), &original, Some(40));
    let sparse = pruned("pattern=2:4:method=sparsegpt", &original, Some(&*calibration));
    let expected: Vec<Vec<bool>> = weights(&sparse)
        .iter()
        .map(|(_, tensor)| tensor.to_f32().unwrap().iter().map(|&weight| weight == 0.0).collect())
        .collect();
    for mode in ["weights", "static"] {
        let mut model = sparse.clone();
        assert_eq!(try_run("quant8", &format!("mode={mode}"), &mut model, Some(&*calibration)).unwrap(), Changed::Yes);
        let graph = &model.graph;
        let levels: Vec<Vec<i64>> = (graph.values().into_iter())
            .filter_map(|value| graph.constant(value))
            .filter(|tensor| tensor.rank() >= 2 && tensor.dtype().bits() == 8)
            .map(|tensor| tensor.data().iter().map(|&byte| i64::from(byte as i8)).collect())
            .collect();
        let mut checked = 0;
        for zeros in &expected {
            let Some(levels) = levels.iter().find(|levels| levels.len() == zeros.len()) else { continue };
            assert!(zeros.iter().zip(levels).all(|(&is_zero, &level)| !is_zero || level == 0), "{mode}");
            checked += 1;
        }
        assert!(checked >= 2, "{mode}: {checked} tensors were found");
    }
}

/// With labels, the most that loses no more points than allowed, by the binary.
#[test]
fn points_that_may_be_lost_say_how_much_goes() {
    for (model, step, goes, most) in [
        ("lenet5.onnx", "prune=acc-drop=1:method=sparsegpt", "weights in", 1.5),
        ("mnist_resnet_bn.onnx", "channels=acc-drop=1", "of the multiplications", 1.5),
        ("mnist_resnet_bn.onnx", "layers=acc-drop=60", "on the calibration data", 60.0),
    ] {
        let sandbox = Sandbox(tempfile::tempdir().unwrap());
        let (model, labelled) = (testdata(model), testdata("digits_test.npz"));
        let (model, labelled) = (model.to_str().unwrap(), labelled.to_str().unwrap());
        let shrink = |labelled: &str| {
            let data = ["--inputs", labelled, "--eval-inputs", labelled];
            sandbox.run(&[&[model, "-p", step, "-o", "small.onnx", "--max-drift", "snr=0"], &data[..]].concat())
        };
        shrink(labelled).code(0).says(&[goes]);
        let (before, after) = (onnx::read(Path::new(model)).unwrap(), onnx::read(&sandbox.path("small.onnx")).unwrap());
        let lost = loss(&before, &after, &*samples(Path::new(labelled), &before, None));
        println!("{model}, {step}: {lost:.2} points are lost");
        assert!(lost <= most, "{model}, {step}: {lost:.2} points are lost");
        let unlabelled = testdata("digits_calib.npz");
        std::fs::remove_file(sandbox.path("small.onnx")).unwrap();
        assert_ne!(shrink(unlabelled.to_str().unwrap()).says(&["label"]).code, Some(0), "{step} without labels");
    }
}
