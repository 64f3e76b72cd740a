//! Which form each tensor gets: the fewest bytes for a drift, or the least noise for a size.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::coded::Coded;
use super::form::Form;
use super::menu::{Menu, Offer};
use super::options::{Goal, file_bytes, too_large};
use crate::error::Result;
use crate::ir::Model;
use crate::pass::Cx;
use crate::passes::common::choose::{Choice, Item, choose as choose_within, exchange, predict, settle_by};
use crate::passes::common::drift::LEAST_MARGIN_DB;
use crate::passes::common::goal::worst;
use crate::passes::common::trial::Trial;
use crate::validate::Comparison;

/// A tensor is measured alone in the smallest forms that lose no more than this of what the layer gives, where there are any:
/// noise grows in proportion to that only about there.
const LOSSES: [f64; 2] = [0.1, 0.005];

/// How often the range of noises, in decibels, is halved in search of what fits into a size: to a thousandth of one.
const STEPS: usize = 18;
const NOISES_DB: (f64, f64) = (-40.0, 160.0);

/// How often a size is tried again with what names and shapes really take.
const MAX_SIZES: usize = 6;

/// The form of each tensor.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    /// Places in menus.
    pub(super) options: Vec<usize>,
    /// What the tensors become; `None` for what has no codes.
    pub(super) coded: Vec<Option<Coded>>,
    /// The noise of the worst output.
    pub(super) noise: f64,
}

/// What forms cost, in bytes and at the outputs.
pub(super) struct Rate {
    items: Vec<Item<usize>>,
}

impl Rate {
    /// Measures what each tensor takes from the outputs, and makes of that what it may mean: for each form by what was seen of
    /// one like it, or for all by the same. Which of that foresees best, results tell.
    ///
    /// # Errors
    /// Fails where no backend can run the model.
    pub(super) fn measured(model: &Model, menus: &[Menu], trial: &Trial<'_>, cx: &mut Cx<'_>) -> Result<[Self; 3]> {
        let env = cx.env;
        env.progress.start("measuring layers", menus.len() as u64);
        let seen = (0..menus.len()).into_par_iter().map(|index| {
            let menu = &menus[index];
            let mut seen: Vec<Seen> = Vec::new();
            for loss in LOSSES {
                let has_loss = |offer: &Offer| offer.coded.is_some() && offer.error > 0.0;
                let coded = || menu.options.iter().enumerate().filter(|(_, offer)| has_loss(offer));
                let small = coded().find(|(_, offer)| offer.error <= loss * menu.energy).or_else(|| coded().last());
                let Some((place, offer)) = small.filter(|(_, offer)| seen.iter().all(|seen| seen.error != offer.error))
                else {
                    continue;
                };
                let mut places: Vec<usize> = menus.iter().map(|menu| menu.options.len() - 1).collect();
                places[index] = place;
                let drift = trial.drift_alone(&draft(model, menus, &of_menus(menus, &places))?)?;
                seen.push(Seen { error: offer.error, noise: drift.iter().map(Comparison::noise_to_signal).collect() });
            }
            env.progress.advance(1);
            Ok(seen)
        });
        let seen = seen.collect::<Result<Vec<Vec<Seen>>>>()?;
        env.progress.finish();
        let of = |pick: &dyn Fn(&[Seen]) -> Vec<&Seen>| {
            let items = menus.iter().zip(&seen).map(|(menu, seen)| item(menu, &pick(seen)));
            Self { items: items.collect() }
        };
        Ok([
            of(&|seen| seen.iter().collect()),
            of(&|seen| seen.iter().take(1).collect()),
            of(&|seen| seen.iter().skip(seen.len().saturating_sub(1)).collect()),
        ])
    }

    /// The places in menus that are the cheapest for so much noise.
    pub(super) fn within(&self, noise: f64) -> Vec<usize> {
        exchange(&self.items, choose_within(&self.items, noise), noise)
    }

    /// The noise of the worst output, were that of single tensors to add up.
    pub(super) fn predicted(&self, places: &[usize]) -> f64 {
        predict(&self.items, places)
    }

    /// The bytes of tensors in these forms.
    pub(super) fn cost(&self, places: &[usize]) -> f64 {
        self.items
            .iter()
            .zip(places)
            .filter_map(|(item, &place)| item.options.get(place))
            .map(|choice| choice.cost)
            .sum()
    }

    /// The places with the least noise that cost no more than `room` bytes; `None` where none do.
    fn in_room(&self, room: f64) -> Option<Vec<usize>> {
        let lowest = vec![0; self.items.len()];
        let mut best = (self.cost(&lowest) <= room).then_some(lowest)?;
        let (mut too_noisy, mut too_large) = NOISES_DB;
        for _ in 0..STEPS {
            let middle = (too_noisy + too_large) / 2.0;
            let places = self.within(10f64.powf(-middle / 10.0));
            if self.cost(&places) <= room {
                too_noisy = middle;
                best = places;
            } else {
                too_large = middle;
            }
        }
        Some(best)
    }
}

/// A form of a tensor that was measured alone.
struct Seen {
    /// What the outputs of the layer lose.
    error: f64,
    /// The noise of each output of the model.
    noise: Vec<f64>,
}

impl Seen {
    /// The noise of each output where the layer loses so much, were it in proportion.
    fn scaled(&self, error: f64) -> Vec<f64> {
        self.noise.iter().map(|noise| noise * error / self.error).collect()
    }
}

/// What a tensor can be, by what forms with losses like that were seen to do.
fn item(menu: &Menu, seen: &[&Seen]) -> Item<usize> {
    let choice = |(level, offer): (usize, &Offer)| {
        let distance = |seen: &&&Seen| (seen.error / offer.error.max(f64::MIN_POSITIVE)).ln().abs();
        let nearest = seen.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        let noise = nearest.map(|seen| seen.scaled(offer.error)).unwrap_or_default();
        Choice { level, noise, cost: offer.bytes }
    };
    Item { value: menu.rowed.weights.value, options: menu.options.iter().enumerate().map(choice).collect() }
}

/// The codes that menus have for places in them.
pub(super) fn of_menus(menus: &[Menu], places: &[usize]) -> Vec<Option<Coded>> {
    menus.iter().zip(places).map(|(menu, &place)| menu.options.get(place)?.coded.clone()).collect()
}

/// The model with tensors as codes. What 16 bits lose is left out: no target feels it.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn draft(model: &Model, menus: &[Menu], coded: &[Option<Coded>]) -> Result<Model> {
    let mut draft = model.clone();
    for (menu, coded) in menus.iter().zip(coded) {
        if let Some(coded) = coded {
            coded.put(&model.graph, &mut draft.graph, &menu.rowed)?;
        }
    }
    Ok(draft)
}

/// What 16-bit floats save in a draft that has none.
fn saved_by_half(menus: &[Menu], places: &[usize]) -> f64 {
    let saved = menus.iter().zip(places).filter_map(|(menu, &place)| {
        let (offer, float) = (menu.options.get(place)?, menu.options.last()?);
        (offer.form == Form::Half).then_some(float.bytes - offer.bytes)
    });
    saved.sum()
}

/// The noise that a goal allows on the samples; `None` where it names none. Other data is not these.
pub(super) fn budget(goal: Goal) -> Option<f64> {
    match goal {
        Goal::Drift(snr_db) => Some(10f64.powf(-(snr_db + LEAST_MARGIN_DB) / 10.0)),
        Goal::Bytes(_) | Goal::Ratio(_) => None,
    }
}

/// The bytes of the file that forms lead to.
///
/// # Errors
/// Fails where the model cannot be written.
pub(super) fn bytes(draft: &Model, menus: &[Menu], places: &[usize]) -> Result<f64> {
    Ok(file_bytes(draft)? as f64 - saved_by_half(menus, places))
}

/// Forms that meet the goal, and what foresaw them: the cheapest for a drift, the closest for a size; float for all where only
/// that does.
///
/// # Errors
/// Fails where the smallest forms are too large for the goal.
pub(super) fn choose(
    model: &Model,
    menus: &[Menu],
    [first, others @ ..]: [Rate; 3],
    goal: Goal,
    trial: &Trial<'_>,
) -> Result<(Rate, Chosen)> {
    let mut search = Search { model, menus, trial, room: Room::new(model, menus, goal)?, known: BTreeMap::new() };
    let worth = |rate: &Rate, chosen: &Chosen| match budget(goal) {
        Some(_) => rate.cost(&chosen.options),
        None => chosen.noise,
    };
    let chosen = search.by(&first, goal)?;
    let mut best = (worth(&first, &chosen), first, chosen);
    for rate in others {
        let chosen = search.by(&rate, goal)?;
        let worth = worth(&rate, &chosen);
        if worth < best.0 {
            best = (worth, rate, chosen);
        }
    }
    Ok((best.1, best.2))
}

/// What a file may have.
struct Room {
    /// Bytes of all of it.
    most: f64,
    /// Bytes of tensors in their forms, as far as is known beforehand.
    tensors: f64,
}

impl Room {
    /// `None` where the goal leaves it open.
    fn new(model: &Model, menus: &[Menu], goal: Goal) -> Result<Option<Self>> {
        let Some(most) = goal.most_bytes(model)? else { return Ok(None) };
        let floats: f64 = menus.iter().filter_map(|menu| menu.options.last()).map(|offer| offer.bytes).sum();
        Ok(Some(Self { most, tensors: most - (file_bytes(model)? as f64 - floats) }))
    }
}

/// A search for forms.
struct Search<'s> {
    model: &'s Model,
    menus: &'s [Menu],
    trial: &'s Trial<'s>,
    room: Option<Room>,
    /// Noises of the worst output, by places in menus: what foresees differently often comes to the same.
    known: BTreeMap<Vec<usize>, f64>,
}

impl Search<'_> {
    /// Runs the model with tensors in these forms.
    fn run(&mut self, places: &[usize]) -> Result<Chosen> {
        let coded = of_menus(self.menus, places);
        let noise = match self.known.get(places) {
            Some(&noise) => noise,
            None => worst(&self.trial.drift(&draft(self.model, self.menus, &coded)?)?),
        };
        self.known.insert(places.to_vec(), noise);
        Ok(Chosen { options: places.to_vec(), coded, noise })
    }

    /// The bytes of the file with tensors in these forms.
    fn bytes(&self, places: &[usize]) -> Result<f64> {
        bytes(&draft(self.model, self.menus, &of_menus(self.menus, places))?, self.menus, places)
    }

    fn by(&mut self, rate: &Rate, goal: Goal) -> Result<Chosen> {
        if let Some(budget) = budget(goal) {
            let run = |places: &[usize]| self.run(places).map(|chosen| (chosen.noise, chosen));
            let found = settle_by(&rate.items, budget, |noise| rate.within(noise), run)?;
            let options = self.menus.iter().map(|menu| menu.options.len() - 1).collect();
            let coded = vec![None; self.menus.len()];
            return Ok(found.unwrap_or(Chosen { options, coded, noise: 0.0 }));
        }
        let (most, mut room) =
            self.room.as_ref().map_or((f64::INFINITY, f64::INFINITY), |room| (room.most, room.tensors));
        for _ in 0..MAX_SIZES {
            let Some(places) = rate.in_room(room) else { break };
            let over = self.bytes(&places)? - most;
            if over <= 0.0 {
                return self.run(&places);
            }
            room -= over;
        }
        let lowest = vec![0; self.menus.len()];
        let least = self.bytes(&lowest)?;
        if least <= most { self.run(&lowest) } else { Err(too_large(most, least as u64)) }
    }
}
