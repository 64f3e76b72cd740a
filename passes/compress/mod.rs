//! `compress`: each weight tensor in the form that costs least for what it takes from the outputs, to reach a drift, a size
//! or a ratio; arithmetic stays in float.
//!
//! ```text
//! Conv(x, w)  =>  w = Mul(Reshape(Gather(codebook, Cast(codes)), shape), scale)    Conv(x, w)
//! ```
//!
//! One trade-off between the forms of other passes: 2 to 256 shared values (`cluster`; 3 with a scale a channel are
//! `ternary`, 256 are 8 bits), pruned weights and a mask (`prune`), 16-bit floats, or no change. Every form of every tensor is
//! made, with the errors that calibration data says matter made up for (GPTQ, see `fit`) and biases moved along; what it costs
//! in bytes is counted, what it takes from the output of its own layer is computed. What that is worth at the outputs of the
//! model is measured, by running it with one tensor at a time in a low form: noise at the outputs is in proportion to that
//! behind the layer (Malinovskii et al.: *Pushing the Limits of Large Language Model Quantization via the Linearity Theorem*,
//! 2024). Then the forms are chosen that meet the goal with the fewest bytes or the least noise (see `rate`), and the result
//! is run.
//!
//! Left alone:
//! 1. weights with values that are not finite, or of other types than 32-bit and 16-bit floats,
//! 2. weights that are inputs or outputs of a graph, or that something reads as other than weights,
//! 3. weights that are too small to gain, and those of inner graphs and functions, which are not measured.

mod coded;
mod fit;
mod form;
mod menu;
mod options;
mod rate;
mod refit;

use crate::error::{Error, Result};
use crate::ir::{Graph, Model};
use crate::pass::{Changed, Cx, Effect, Pass, PassInfo, Scope};
use crate::passes::common::half::{self, HalfType};
use crate::passes::common::holdout::Parts;
use crate::passes::common::trial::Trial;
use crate::passes::common::within::on_samples;
use form::Form;
use menu::Menu;
use options::Settings;
use rate::{Chosen, Rate};

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "compress",
    summary: "each weight tensor pruned, in shared values, or in 8 or 16 bits, as reaches a drift or a size best",
    effect: Effect::Lossy,
    scope: Scope::MainGraph,
    // CumSum.
    min_opset: Some(11),
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(Compress { settings: Settings::new(opts)? })),
};

#[derive(Debug)]
struct Compress {
    settings: Settings,
}

impl Pass for Compress {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        self.settings.exclude.check(model)?;
        cx.enter(&[]);
        let found = menu::weights(&model.graph, &self.settings, cx);
        if found.is_empty() {
            return self.settings.goal.unreachable_without_weights(model);
        }
        let goal = self.settings.goal;
        let (menus, chosen) = match cx.env.calibration {
            Some(all) => {
                let parts = Parts::new(Some(all), true);
                let (fitted, checked) = (parts.fit().unwrap_or(all), parts.check().unwrap_or(all));
                let menus = menu::fitted(model, found, fitted, cx)?;
                let trial = Trial::new(model, checked, cx.env)?;
                let rates = Rate::measured(model, &menus, &trial, cx)?;
                let (rate, chosen) = rate::choose(model, &menus, rates, goal, &trial)?;
                let chosen = refit::closer((model, &menus), (&rate, chosen), (goal, fitted), &trial, cx)?;
                (menus, chosen)
            }
            // Made-up inputs tell how tensors compare, and nothing that could be fitted to.
            None => {
                let menus = menu::plain(model, found, cx)?;
                let chosen = on_samples(model, None, cx.env, |samples| {
                    let trial = Trial::new(model, samples, cx.env)?;
                    let rates = Rate::measured(model, &menus, &trial, cx)?;
                    Ok(rate::choose(model, &menus, rates, goal, &trial)?.1)
                });
                let chosen = chosen.map_err(|error| match error.kind().is_no_run() {
                    true => Error::usage(
                        "`compress` measures what each tensor takes from the outputs, and cannot run the model",
                    )
                    .found(error.what().to_owned())
                    .help("give calibration data with --inputs, or name the forms yourself: cluster, ternary, quant4"),
                    false => error,
                })?;
                (menus, chosen)
            }
        };
        put(model, &menus, &chosen, cx)
    }
}

/// Puts every tensor in the form that was chosen and says so.
fn put(model: &mut Model, menus: &[Menu], chosen: &Chosen, cx: &mut Cx<'_>) -> Result<Changed> {
    let original: Graph = model.graph.clone();
    let mut changed = Changed::No;
    for (menu, (option, coded)) in menus.iter().zip(chosen.options.iter().zip(&chosen.coded)) {
        let weights = &menu.rowed.weights;
        let site = original.site(weights.reader).with_tensor(original.value(weights.value).describe());
        match (menu.options[*option].form, coded) {
            (Form::Half, _) => changed |= half::store_one(&mut model.graph, weights.value, HalfType::F16, cx)?,
            (form, Some(coded)) => {
                coded.put(&original, &mut model.graph, &menu.rowed)?;
                let bytes_after = coded.stored_bytes(original.value(weights.value).name()) as f64;
                let figures = [
                    ("kept", coded.kept),
                    ("bits_per_weight", 8.0 * bytes_after / weights.tensor.len().max(1) as f64),
                    ("snr_db", coded.snr_db()),
                    ("bytes_before", weights.tensor.byte_len() as f64),
                    ("bytes_after", bytes_after),
                ];
                cx.measured(site, format!("{form}, {}", coded.describe()), &figures);
                changed = Changed::Yes;
            }
            (_, None) => {
                cx.skipped(site, "stays float: what any other form takes from the outputs costs more than its bytes")
            }
        }
    }
    Ok(changed)
}
