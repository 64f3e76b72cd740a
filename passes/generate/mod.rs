//! `generate`: a small network that is trained here makes the weights of all layers out of two bytes for a block of them;
//! arithmetic stays in float.
//!
//! ```text
//! Conv(x, w)  =>  w = Mul(Reshape(Gather(generator(), Cast(latents))), scale)    Conv(x, w)
//! ```
//!
//! The families it follows: a codebook of learned latents in front of a decoder (van den Oord, Vinyals, Kavukcuoglu: *Neural
//! Discrete Representation Learning*, 2017); residual vector quantization, with which training begins (Juang and Gray 1982);
//! blocks of weights as codes (Stock et al.: *And the Bit Goes Down*, 2020; Egiazarian et al.: *Extreme Compression of Large
//! Language Models via Additive Quantization*, 2024). Where those add up entries of codebooks, a network of two layers makes
//! blocks of embeddings of the two bytes, which takes fewer bytes than codebooks. Every number of it is trained.
//!
//! One generator serves all layers and is stored once, in 16 bits. Runtimes compute it once, when they load the model, so
//! that it runs as fast as with floats (see `emit`).
//!
//! With calibration data, layers are fitted one after the other to what they gave in the original (see `fit`), on some of
//! the samples; the result is used where it is closer to the original on the others than without. It is run against the
//! original; where it misses the target, the tensors whose noise costs most for their bytes
//! stay float.
//!
//! Left alone:
//! 1. weights with values that are not finite, or of other types than 32-bit and 16-bit floats,
//! 2. weights that are inputs or outputs of a graph, or that something reads as other than weights,
//! 3. weights that are too small to gain, all of them where they do not make up for the bytes of the generator,
//! 4. those of inner graphs and functions, which are not measured.

mod coded;
mod decoder;
mod emit;
mod fit;
mod gradient;
mod levels;
mod options;
mod plan;
mod residual;
mod sequence;
mod table;
mod train;

use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Graph, Model};
use crate::pass::{Changed, Cx, Effect, Pass, PassInfo, Scope};
use crate::passes::common::fitted::closest;
use crate::passes::common::holdout::Parts;
use crate::passes::common::rows::Rowed;
use crate::passes::common::trial::Trial;
use crate::passes::common::within::where_it_runs;
use coded::{Coded, Codes};
use options::Settings;
use train::{Trained, train};

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "generate",
    summary: "weights made by a small network, trained on them here, out of two bytes for a block",
    effect: Effect::Lossy,
    scope: Scope::MainGraph,
    // Slice with bounds that are inputs.
    min_opset: Some(10),
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(Generate { settings: Settings::new(opts)? })),
};

#[derive(Debug)]
struct Generate {
    settings: Settings,
}

impl Pass for Generate {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        self.settings.exclude.check(model)?;
        cx.enter(&[]);
        let candidates = plan::candidates(&model.graph, &self.settings, cx);
        if candidates.is_empty() {
            return Ok(Changed::No);
        }
        let trained = train(&plan::sample(&candidates, self.settings.block), self.settings.block, cx.env);
        let (candidates, coded) = self.gaining(&model.graph, candidates, &trained, cx)?;
        let parts = Parts::new(cx.env.calibration, self.settings.repairs);
        let (fit, check) = (parts.fit(), parts.check());
        let coded = self.closest(model, (&candidates, coded), &trained, fit.zip(check), cx)?;
        let are_coded = self.are_coded(model, (&candidates, &coded), check, cx)?;
        let chosen = candidates.iter().zip(&coded).zip(are_coded).filter(|(_, is_coded)| *is_coded);
        let chosen: Vec<(&Rowed, &Coded)> = chosen.map(|(pair, _)| pair).collect();
        if !pays(&model.graph, &chosen, &trained, cx) {
            return Ok(Changed::No);
        }
        let Some((first, _)) = chosen.first() else { return Ok(Changed::No) };
        let original = model.graph.clone();
        let table = emit::add_decoder(&mut model.graph, &trained.decoder, first.weights.reader)?;
        for pair in &chosen {
            pair.1.shift(&original, &mut model.graph, pair.0)?;
            put(&mut model.graph, *pair, (table, self.settings.block), cx)?;
        }
        Ok(Changed::Yes)
    }
}

impl Generate {
    /// The weights that get smaller, by themselves.
    fn gaining(
        &self,
        graph: &Graph,
        found: Vec<Rowed>,
        trained: &Trained,
        cx: &mut Cx<'_>,
    ) -> Result<(Vec<Rowed>, Vec<Coded>)> {
        let (mut candidates, mut gaining) = (Vec::new(), Vec::new());
        cx.env.progress.start("choosing latents", found.len() as u64);
        for candidate in found {
            let (rows, weights) = (candidate.rows(), &candidate.weights);
            let codes = Codes::nearest(&rows, candidate.depth(), &trained.table);
            let coded = Coded::new(&candidate, &rows, codes, &trained.table, cx.env.scratch)?;
            cx.env.progress.advance(1);
            if emit::stored_bytes(&coded, graph.value(weights.value).name()) >= weights.tensor.byte_len() {
                let site = graph.site(weights.reader).with_tensor(graph.value(weights.value).describe());
                cx.skipped(site, "so few weights that the file would not get smaller");
                continue;
            }
            candidates.push(candidate);
            gaining.push(coded);
        }
        cx.env.progress.finish();
        Ok((candidates, gaining))
    }

    /// Weights fitted to samples, where outputs are closer with those on samples that nothing was fitted to.
    fn closest(
        &self,
        model: &Model,
        (candidates, plain): (&[Rowed], Vec<Coded>),
        trained: &Trained,
        parts: Option<(&dyn Samples, &dyn Samples)>,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<Coded>> {
        let Some((fit, check)) = parts.filter(|_| !candidates.is_empty()) else { return Ok(plain) };
        let all = vec![true; candidates.len()];
        let (env, alone) = (cx.env, plain.clone());
        let fitted = |_: &Trial<'_>| sequence::coded(model, (candidates, &alone), &trained.table, fit, env);
        closest(model, plain, (fit, check), cx, fitted, |coded| levels::draft(model, candidates, coded, &all))
    }

    /// Which candidates are coded. Random inputs stand in for samples; a model that cannot be run on those is not measured.
    fn are_coded(
        &self,
        model: &Model,
        coded: (&[Rowed], &[Coded]),
        samples: Option<&dyn Samples>,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<bool>> {
        let lowest = || vec![true; coded.0.len()];
        let Some(target) = self.settings.target.filter(|_| !coded.0.is_empty()) else { return Ok(lowest()) };
        where_it_runs(model, samples, cx, lowest, |samples, cx| levels::reach(model, coded, target, samples, cx))
    }
}

/// Whether the weights get smaller by more bytes than the generator takes; says so where they do not.
fn pays(graph: &Graph, chosen: &[(&Rowed, &Coded)], trained: &Trained, cx: &mut Cx<'_>) -> bool {
    let of_floats = |(candidate, _): &(&Rowed, &Coded)| candidate.weights.tensor.byte_len();
    let of_codes =
        |(candidate, coded): &(&Rowed, &Coded)| emit::stored_bytes(coded, graph.value(candidate.weights.value).name());
    let floats: u64 = chosen.iter().map(of_floats).sum();
    let (codes, generator): (u64, u64) = (chosen.iter().map(of_codes).sum(), emit::decoder_bytes(&trained.decoder));
    let pays = codes + generator < floats;
    if !pays && !chosen.is_empty() {
        cx.note(format!(
            "all stays float: {floats} bytes of weights, against {codes} of codes and {generator} of the generator"
        ));
    }
    pays
}

/// Puts codes in the place of weights and says so.
fn put(
    graph: &mut Graph,
    (candidate, coded): (&Rowed, &Coded),
    table: (crate::ir::ValueId, usize),
    cx: &mut Cx<'_>,
) -> Result<()> {
    let weights = &candidate.weights;
    let site = graph.site(weights.reader).with_tensor(graph.value(weights.value).describe());
    let bytes_after = emit::stored_bytes(coded, graph.value(weights.value).name()) as f64;
    emit::put(graph, candidate, coded, table)?;
    let figures = [
        ("snr_db", 10.0 * (coded.signal / coded.error).log10()),
        ("bytes_before", weights.tensor.byte_len() as f64),
        ("bytes_after", bytes_after),
    ];
    let fitted = if coded.is_fitted() { ", fitted" } else { "" };
    cx.measured(site, format!("two bytes for {} weights{fitted}", table.1), &figures);
    Ok(())
}
