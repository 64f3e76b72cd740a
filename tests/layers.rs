//! `layers` on a real transformer: the layer that it removes is the one that costs least.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

mod support;

use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::ir::{Model, check};
use onnx_shrink::onnx;
use onnx_shrink::pass::{Cx, Env, Opts, RemarkKind, Scratch};
use onnx_shrink::passes;
use onnx_shrink::validate::{self, CompareOptions};
use support::session;

/// The model without some layers, and the operators at the ends of those.
fn without(model: &Model, options: &[(&str, &str)], samples: &dyn Samples) -> (Model, Vec<String>) {
    let scratch = Scratch::in_memory();
    let env = Env { calibration: Some(samples), ..Env::plain(&scratch) };
    let info = passes::find("layers").unwrap();
    let args: Vec<_> = options.iter().map(|(key, value)| (Some((*key).to_owned()), (*value).to_owned())).collect();
    let mut pass = (info.build)(&Opts::new(info, &args).unwrap()).unwrap();
    let mut cx = Cx::new(&env, info.name);
    let mut result = model.clone();
    let _ = pass.run(&mut result, &mut cx).unwrap();
    check::structure(&result).unwrap();
    let removed = cx.into_remarks().into_iter().filter(|remark| remark.kind == RemarkKind::Applied);
    (result, removed.map(|remark| remark.site.node.unwrap()).collect())
}

fn snr_db(before: &Model, after: &Model, samples: &dyn Samples) -> f64 {
    let drift = validate::compare(&*session::load(before), &*session::load(after), samples, &CompareOptions::default())
        .unwrap();
    drift.outputs.iter().filter_map(|output| output.snr_db).fold(f64::INFINITY, f64::min)
}

#[test]
fn the_layer_that_costs_least_goes() {
    let files = ["minilm_l6.onnx", "minilm_l6.calib.npz"].map(support::corpus::file);
    let [Some(path), Some(data)] = files else { return };
    let model = onnx::read(&path).unwrap();
    let (signature, hints) = (model.signature(), Hints::default());
    let options = DataOptions { signature: &signature, seed: 0, hints: &hints, limit: Some(4) };
    let samples = data::open(data.to_str().unwrap(), &options).unwrap();
    let plain = |option: (&'static str, &str)| without(&model, &[option, ("scale", "false")], &*samples);

    let (_, all) = plain(("drop", "6"));
    assert_eq!(all.len(), 6, "{all:?}");
    let single = |name: &String| snr_db(&model, &plain(("remove", name)).0, &*samples);
    let best = all.iter().map(single).fold(f64::NEG_INFINITY, f64::max);
    let (chosen, removed) = plain(("drop", "1"));
    assert_eq!(removed.len(), 1);
    assert_eq!(snr_db(&model, &chosen, &*samples), best, "{removed:?}");
}
