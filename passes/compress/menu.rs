//! What every tensor could be, and what each of that costs.

use rayon::prelude::*;

use super::coded::Coded;
use super::fit::{Group, round};
use super::form::{Form, Scale, Shared, shared};
use super::options::Settings;
use crate::calib::{self, Gram, Layer};
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{DType, Graph, Model};
use crate::pass::{Cx, Env, Scratch};
use crate::passes::common::rows::Rowed;
use crate::passes::common::stages::in_order;
use crate::passes::common::wanted::by_group;
use crate::passes::common::weights::each_weights;

/// Bytes of an initializer besides its contents and its name, and of a Cast behind one.
const INITIALIZER_BYTES: u64 = 16;
const CAST_BYTES: u64 = 60;

/// What 16-bit floats lose of a number at most is this part of it, which squared and averaged over all is a third of that.
const HALF_STEP: f64 = 1.0 / 2048.0;

/// A smaller form that has an error so many times less by the weights alone has less at the outputs too.
const CLEARLY: f64 = 1.25;

/// The forms of one tensor, the smallest first, each closer than all that are smaller; float last.
#[derive(Debug)]
pub(super) struct Menu {
    pub(super) rowed: Rowed,
    pub(super) options: Vec<Offer>,
    /// What the layer gives without any loss, or the weights, as a sum of squares.
    pub(super) energy: f64,
}

/// One form of one tensor.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) form: Form,
    /// Where weights are stored as codes.
    pub(super) coded: Option<Coded>,
    pub(super) bytes: f64,
    /// What the outputs of the layer lose, or the weights where nothing is known of those, as a sum of squares.
    pub(super) error: f64,
}

impl Menu {
    fn new(rowed: Rowed, name: &str, energy: f64, coded: Vec<(Shared, Coded)>) -> Self {
        let tensor = &rowed.weights.tensor;
        let mut all: Vec<Offer> = (coded.into_iter())
            .map(|(form, coded)| {
                let (bytes, error) = (coded.stored_bytes(name) as f64, coded.error);
                Offer { form: Form::Shared(form), coded: Some(coded), bytes, error }
            })
            .collect();
        let plain = |contents: u64, more: u64| (contents + INITIALIZER_BYTES + name.len() as u64 + more) as f64;
        if tensor.dtype() == DType::F32 {
            let bytes = plain(tensor.byte_len() / 2, CAST_BYTES + 3 * name.len() as u64);
            all.push(Offer { form: Form::Half, coded: None, bytes, error: energy * HALF_STEP.powi(2) / 3.0 });
        }
        let float = Offer { form: Form::Float, coded: None, bytes: plain(tensor.byte_len(), 0), error: 0.0 };
        all.retain(|offer| offer.error.is_finite() && offer.bytes < float.bytes);
        all.push(float);
        all.sort_by(|a, b| a.bytes.total_cmp(&b.bytes).then(a.error.total_cmp(&b.error)));
        let mut options: Vec<Offer> = Vec::new();
        for offer in all {
            if options.last().is_none_or(|last| offer.error < last.error) {
                options.push(offer);
            }
        }
        Self { rowed, options, energy }
    }
}

/// The weights of the main graph, in a stable order; says why where large constants are none.
pub(super) fn weights(graph: &Graph, settings: &Settings, cx: &mut Cx<'_>) -> Vec<Rowed> {
    let mut found = Vec::new();
    each_weights(graph, settings.min_elements, &settings.exclude, cx, |weights| {
        if !weights.tensor.is_finite() {
            return Err("some of its values are not finite".to_owned());
        }
        found.push(weights);
        Ok(())
    });
    found.into_iter().map(|weights| Rowed::new(graph, weights)).collect()
}

/// Menus by what is known of the weights alone.
///
/// # Errors
/// Fails where codes cannot be kept: the disk is full.
pub(super) fn plain(model: &Model, found: Vec<Rowed>, cx: &mut Cx<'_>) -> Result<Vec<Menu>> {
    let env = cx.env;
    env.progress.start("coding tensors", found.len() as u64);
    let menus = found.into_par_iter().map(|rowed| menu(model, rowed, None, env)).collect();
    env.progress.finish();
    menus
}

/// Menus by what layers read on some samples; of weights that no layer reads, by the weights alone.
///
/// # Errors
/// Fails where no backend can run the model, or a sample cannot be read or run, or the disk is full.
pub(super) fn fitted(model: &Model, found: Vec<Rowed>, samples: &dyn Samples, cx: &mut Cx<'_>) -> Result<Vec<Menu>> {
    let env = cx.env;
    env.progress.start("coding tensors", found.len() as u64);
    let layers = found.iter().filter_map(|rowed| rowed.layer.clone()).collect();
    let layers: Vec<Layer> = in_order(&model.graph, layers, |layer| layer)?;
    let mut menus: Vec<Option<Menu>> = found.iter().map(|_| None).collect();
    let mut add = |of: Vec<usize>, moments: Option<&calib::Moments>| -> Result<()> {
        let made = of.par_iter().map(|&index| {
            let rowed = found[index].clone();
            let grams = rowed.layer.as_ref().and_then(|layer| moments?.of(layer));
            Ok((index, menu(model, rowed, grams, env)?))
        });
        for (index, menu) in made.collect::<Result<Vec<(usize, Menu)>>>()? {
            menus[index] = Some(menu);
        }
        Ok(())
    };
    let among = |round: &[Layer]| {
        let is_in = |&index: &usize| match &found[index].layer {
            Some(layer) => round.contains(layer),
            None => round.is_empty(),
        };
        (0..found.len()).filter(is_in).collect::<Vec<usize>>()
    };
    add(among(&[]), None)?;
    for round in calib::rounds(&layers) {
        let moments = calib::measure(model, &round, samples, env)?;
        add(among(&round), Some(&moments))?;
    }
    env.progress.finish();
    Ok(menus.into_iter().flatten().collect())
}

fn menu(model: &Model, rowed: Rowed, grams: Option<&[Gram]>, env: &Env<'_>) -> Result<Menu> {
    let (rows, depth) = (rowed.rows(), rowed.depth());
    let name = model.graph.value(rowed.weights.value).name();
    let is_centred = rowed.bias.is_some();
    let groups =
        grams.and_then(|grams| by_group(&rows, grams, Gram::dim, |rows, gram| Group::plain(rows, gram, is_centred)));
    let energy = match &groups {
        Some(groups) => groups.iter().map(Group::energy).sum(),
        None => rows.iter().map(|&weight| f64::from(weight).powi(2)).sum(),
    };
    let coded = |form: Shared, groups: Option<&[Group]>, scratch: &Scratch| -> Result<(Shared, Coded)> {
        Ok((form, Coded::new(&rowed, name, &rows, round(&rows, depth, groups, form), scratch)?))
    };
    let forms = shared().into_par_iter().filter(|form| match form.scale {
        Scale::Block(block) => rowed.blocks(block).is_some(),
        Scale::None | Scale::Channel => true,
    });
    // What is only compared need not go to the disk.
    let in_memory = Scratch::in_memory();
    let scratch = if groups.is_some() { &in_memory } else { env.scratch };
    let plain = forms.map(|form| coded(form, None, scratch)).collect::<Result<Vec<(Shared, Coded)>>>()?;
    let coded = match &groups {
        Some(groups) => {
            let bytes = |coded: &Coded| coded.stored_bytes(name);
            let is_beaten = |one: &Coded| {
                plain.iter().any(|(_, other)| bytes(other) < bytes(one) && other.error * CLEARLY <= one.error)
            };
            let promising = plain.par_iter().filter(|(_, one)| !is_beaten(one));
            promising
                .map(|(form, _)| coded(*form, Some(groups), env.scratch))
                .collect::<Result<Vec<(Shared, Coded)>>>()?
        }
        None => plain,
    };
    env.progress.advance(1);
    Ok(Menu::new(rowed, name, energy, coded))
}
