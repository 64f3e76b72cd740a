//! Random pipelines of everything that promises to keep the results.

use onnx_shrink::pass::Effect;
use onnx_shrink::passes;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Passes that change the signature, or need to be told what to do.
const LEFT_OUT: &[&str] = &["keep", "set-dim", "set-shape", "upgrade-opset"];

/// The steps of a pipeline, for a model at operator set `opset`.
pub(crate) fn draw(opset: i64, rng: &mut ChaCha8Rng) -> Vec<String> {
    let mut steps = Vec::new();
    if rng.random_range(0..4) == 0 {
        steps.push(format!("upgrade-opset={}", rng.random_range(opset..=21)));
    }
    match rng.random_range(0..4) {
        0 => steps.push("simplify".to_owned()),
        1 => steps.push(single(rng)),
        _ => {
            steps.extend((0..rng.random_range(2..8)).map(|_| single(rng)));
            if rng.random_range(0..3) == 0 {
                steps.push("simplify".to_owned());
            }
        }
    }
    steps
}

fn single(rng: &mut ChaCha8Rng) -> String {
    let keeping: Vec<&str> = passes::ALL
        .iter()
        .filter(|info| info.effect < Effect::Lossy && !LEFT_OUT.contains(&info.name))
        .map(|info| info.name)
        .collect();
    keeping[rng.random_range(0..keeping.len())].to_owned()
}

/// Whether a second run has nothing left to do: one pass settles at once, and `simplify` runs all of them until they do;
/// in other pipelines a pass may leave work for one that ran before it.
pub(crate) fn settles(steps: &[String]) -> bool {
    steps.len() == 1 || steps.last().is_some_and(|last| last == "simplify")
}
