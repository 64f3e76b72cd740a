//! Whether weights are to make up for those that go where there are few samples: asked of some that nothing was fitted to.

use super::options::{Amount, Method, Settings};
use super::pattern::Pattern;
use super::plan::Planner;
use super::targets::{self, Target};
use super::{INFO, Prune, alone};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::{Cx, Env};
use crate::passes::common::goal::worst;
use crate::passes::common::trial::Trial;

/// The model with weights that go without being made up for, where its outputs are closer than those of one that was fitted;
/// `None` where the fit is the better one. A word says so. What is fitted here is fitted to `fit`, and both are checked on
/// `check`; of those that are not, what goes is told by all samples in the end.
///
/// # Errors
/// Fails where no backend can run a model, or a sample cannot be read or run.
pub(super) fn better(
    prune: &Prune,
    model: &Model,
    targets: &[Target],
    (samples, fit, check): (&dyn Samples, &dyn Samples, &dyn Samples),
    cx: &mut Cx<'_>,
) -> Result<Option<Model>> {
    let (settings, env) = (&prune.settings, cx.env);
    let mut unsaid = Cx::new(env, INFO.name);
    let first = Planner::new((model, model), targets, settings, fit, &mut unsaid)?;
    let Some(fitted) = prune.reached(model, targets, &first, (fit, check), &mut unsaid)? else { return Ok(None) };
    let trial = Trial::new(model, check, env)?;
    let noise = |candidate: &Model| Ok::<f64, crate::error::Error>(worst(&trial.drift(candidate)?));
    let fitted_noise = noise(&fitted.model)?;
    let mut best: Option<(f64, Method)> = None;
    for &method in methods(settings) {
        let noise = noise(&without_fit(model, targets, settings, method, fit, env)?)?;
        if best.is_none_or(|(least, _)| noise < least) {
            best = Some((noise, method));
        }
    }
    let decibels = |noise: f64| -10.0 * noise.log10();
    match best {
        Some((noise, method)) if noise < fitted_noise => {
            cx.note(format!(
                "weights left do not make up for others: {:.1} dB where they do, {:.1} dB by `{}` alone, on {}",
                decibels(fitted_noise),
                decibels(noise),
                method.name(),
                check.describe()
            ));
            without_fit(model, targets, settings, method, samples, env).map(Some)
        }
        _ => Ok(None),
    }
}

/// Rules by which weights go without a fit: the user's, or those that there are.
fn methods(settings: &Settings) -> &'static [Method] {
    match settings.method {
        Some(Method::Magnitude) => &[Method::Magnitude],
        Some(Method::Random) => &[Method::Random],
        Some(Method::Wanda) => &[Method::Wanda],
        _ if settings.amount.share().is_none() || matches!(settings.pattern, Pattern::Slices { .. }) => {
            &[Method::Magnitude]
        }
        _ => &[Method::Magnitude, Method::Wanda],
    }
}

fn without_fit(
    model: &Model,
    targets: &[Target],
    settings: &Settings,
    method: Method,
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Model> {
    if method != Method::Wanda {
        let mut pruned = model.clone();
        targets::place(&mut pruned, targets, alone::prune(targets, &settings.amount, method, settings, env)?)?;
        return Ok(pruned);
    }
    // As its authors have it, each layer loses the same share.
    let amount = settings.amount.share().map_or_else(|| settings.amount.clone(), Amount::PerLayer);
    let settings = Settings { method: Some(method), repairs: Some(false), amount, ..settings.clone() };
    let mut unsaid = Cx::new(env, INFO.name);
    let planner = Planner::new((model, model), targets, &settings, samples, &mut unsaid)?;
    Ok(planner.prune(&settings.amount)?.model)
}
