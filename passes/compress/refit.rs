//! Layer after layer, once forms are chosen: each is fitted to what it gave in the original, from what those before it,
//! already compressed, hand on. What that wins is spent on smaller forms, where a drift is the goal.

use super::coded::Coded;
use super::fit::{Group, round};
use super::form::Form;
use super::menu::Menu;
use super::options::Goal;
use super::rate::{Chosen, Rate, budget, bytes, draft, of_menus};
use crate::calib::PairGram;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::Model;
use crate::pass::{Cx, Env};
use crate::passes::common::fitted::in_turn;
use crate::passes::common::goal::worst;
use crate::passes::common::trial::Trial;
use crate::passes::common::wanted::by_group;

/// Fewer samples than this say too little to change weights by: what is closer on those is not on others.
const LEAST_SAMPLES: usize = 32;

/// How often smaller forms are tried.
const MAX_TRIES: usize = 6;

/// Choices for amounts of noise closer together than this are much the same.
const LEAST_STEP: f64 = 1.05;

/// The chosen forms, fitted one after the other where that brings outputs closer on samples that nothing was fitted to, and
/// smaller ones as far as that allows.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run.
pub(super) fn closer(
    (model, menus): (&Model, &[Menu]),
    (rate, chosen): (&Rate, Chosen),
    (goal, fitted): (Goal, &dyn Samples),
    trial: &Trial<'_>,
    cx: &mut Cx<'_>,
) -> Result<Chosen> {
    if fitted.len() < LEAST_SAMPLES {
        return Ok(chosen);
    }
    let run = |places: &[usize], coded: Vec<Option<Coded>>| -> Result<(Chosen, Model)> {
        let coded = refitted((model, menus), (places, coded), fitted, cx.env)?;
        let draft = draft(model, menus, &coded)?;
        let noise = worst(&trial.drift(&draft)?);
        Ok((Chosen { options: places.to_vec(), coded, noise }, draft))
    };
    let (first, first_draft) = run(&chosen.options, chosen.coded.clone())?;
    let is_small_enough = match goal.most_bytes(model)? {
        Some(most) => bytes(&first_draft, menus, &first.options)? <= most,
        None => true,
    };
    let db = |noise: f64| -10.0 * noise.log10();
    cx.note(format!(
        "layers fitted one after the other to {}: {:.1} -> {:.1} dB",
        fitted.describe(),
        db(chosen.noise),
        db(first.noise)
    ));
    let mut best = if first.noise < chosen.noise && is_small_enough { first } else { chosen };
    let Some(budget) = budget(goal) else { return Ok(best) };
    // What noise was predicted for choices that were fitted: the most that did, the least that was too much.
    let (mut enough, mut too_much) = (rate.predicted(&best.options), f64::INFINITY);
    let mut known = vec![(best.options.clone(), true)];
    while known.len() <= MAX_TRIES && too_much > enough * LEAST_STEP {
        let next = match too_much.is_finite() {
            true => (enough * too_much).sqrt(),
            false => enough * (budget / best.noise).max(LEAST_STEP),
        };
        let places = rate.within(next);
        let is_enough = match known.iter().find(|(known, _)| *known == places) {
            Some((_, is_enough)) => *is_enough,
            None => {
                let (fitted, _) = run(&places, of_menus(menus, &places))?;
                tracing::debug!(predicted = next, noise = fitted.noise, budget, "other forms were fitted");
                let is_enough = fitted.noise <= budget;
                if is_enough && rate.cost(&fitted.options) < rate.cost(&best.options) {
                    best = fitted;
                }
                known.push((places, is_enough));
                is_enough
            }
        };
        let is_lowest = best.options.iter().all(|&place| place == 0);
        if is_lowest {
            break;
        }
        *(if is_enough { &mut enough } else { &mut too_much }) = next;
    }
    Ok(best)
}

/// Codes for the forms of layers, in the order in which the model computes those; other tensors keep the codes they have.
fn refitted(
    (model, menus): (&Model, &[Menu]),
    (places, mut coded): (&[usize], Vec<Option<Coded>>),
    samples: &dyn Samples,
    env: &Env<'_>,
) -> Result<Vec<Option<Coded>>> {
    let (mut copy, mut layers) = (model.clone(), Vec::new());
    for (index, (menu, coded)) in menus.iter().zip(&coded).enumerate() {
        match (coded, &menu.rowed.layer) {
            (Some(_), Some(layer)) => layers.push((index, layer)),
            (Some(coded), None) => coded.put(&model.graph, &mut copy.graph, &menu.rowed)?,
            (None, _) => {}
        }
    }
    let given = coded.clone();
    let fit = |index: usize, pairs: Option<&[PairGram]>| {
        let (menu, given) = (&menus[index], &given[index]);
        let rows = menu.rowed.rows();
        let is_centred = menu.rowed.bias.is_some();
        let groups = pairs.and_then(|pairs| {
            let dim = |pair: &PairGram| pair.copy().dim();
            by_group(&rows, pairs, dim, |rows, pair| Group::corrected(rows, pair, is_centred))
        });
        match (groups, menu.options.get(places[index]).map(|offer| offer.form)) {
            (Some(groups), Some(Form::Shared(form))) => {
                let rounded = round(&rows, menu.rowed.depth(), Some(&groups), form);
                let name = model.graph.value(menu.rowed.weights.value).name();
                Coded::new(&menu.rowed, name, &rows, rounded, env.scratch).map(Some)
            }
            _ => Ok(given.clone()),
        }
    };
    in_turn(model, layers, (&mut copy, samples), env, fit, |index, found, copy| {
        if let Some(found) = &found {
            found.put(&model.graph, &mut copy.graph, &menus[index].rowed)?;
        }
        coded[index] = found;
        Ok(())
    })?;
    Ok(coded)
}
