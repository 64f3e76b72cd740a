//! `quant4`: weights in 4 bits, in blocks with a scale each; arithmetic stays in float.
//!
//! ```text
//! MatMul(x, w)  =>  w = Reshape(Mul(Sub(Cast(levels), Cast(zeros)), Cast(scales)), shape)    MatMul(x, w)
//! ```
//!
//! Runtimes compute what restores the weights once, when they load the model, so that it runs as fast as with floats. For
//! MatMul and Gemm there are kernels that read 4 bits: `format=dq` and `format=matmulnbits` (see `emit`).
//!
//! With calibration data, weights are rounded one after the other, each error made up for by those that are left (GPTQ),
//! layer after layer, on what the layers before really give. The result is run against the original; where it misses the
//! target, the tensors whose noise costs most for their bytes get 8 bits or stay float. That is measured on samples that the
//! rounding has not seen.
//!
//! Left alone:
//! 1. weights with values that are not finite, or of other types than 32-bit and 16-bit floats,
//! 2. weights that are inputs or outputs of a graph, or that something reads as other than weights,
//! 3. weights that are too small to gain.
//!
//! Inner graphs and functions, whose tensors are not measured, get 8 bits.

mod code;
mod emit;
mod gptq;
mod grid;
mod layout;
mod levels;
mod options;
mod packed;
mod plan;
mod sequence;

use rayon::prelude::*;

use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{Graph, Model};
use crate::pass::{Changed, Cx, Effect, Pass, PassInfo, Scope};
use crate::passes::common::holdout::Parts;
use crate::passes::common::within::where_it_runs;
use levels::Level;
use options::{Format, Method, Settings};
use packed::Packed;
use plan::Candidate;

/// What a user reads about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "quant4",
    summary: "4-bit weights in blocks, rounded by what calibration data says matters",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    // The first with 4-bit integers.
    min_opset: Some(21),
    may_grow: false,
    options: options::OPTIONS,
    build: |opts| Ok(Box::new(Quant4 { settings: Settings::new(opts) })),
};

#[derive(Debug)]
struct Quant4 {
    settings: Settings,
}

impl Pass for Quant4 {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        self.settings.exclude.check(model)?;
        if self.settings.method == Method::Gptq && cx.env.calibration.is_none() {
            return Err(Error::usage("`quant4=gptq` weighs errors by the inputs of layers and needs calibration data")
                .found("no inputs")
                .help("give some with --inputs, or round without them: quant4=hqq"));
        }
        let mut changed = self.quantize_main_graph(model, cx)?;
        changed |= self.quantize_inner_graphs(model, cx)?;
        cx.enter(&[]);
        Ok(changed)
    }
}

impl Quant4 {
    fn quantize_main_graph(&self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let settings = &self.settings;
        cx.enter(&[]);
        let candidates = plan::candidates(&model.graph, settings, cx);
        if candidates.is_empty() {
            return Ok(Changed::No);
        }
        // What is fitted to some samples is checked on others.
        let is_fitted = matches!(settings.method, Method::Auto | Method::Gptq);
        let parts = Parts::new(cx.env.calibration, is_fitted && settings.target.is_some());
        let (fit, check) = (parts.fit().or(cx.env.calibration), parts.check());
        let packed = self.packed(model, &candidates, fit.filter(|_| is_fitted), cx)?;
        let levels = self.levels(model, &candidates, &packed, check, cx)?;
        let mut changed = Changed::No;
        let mut is_runtime_specific = false;
        for ((candidate, four), level) in candidates.iter().zip(packed).zip(levels) {
            let packed = match level {
                Level::Four => four,
                Level::Eight => candidate.coded_in_eight_bits(cx.env.scratch)?,
                Level::Float => continue,
            };
            is_runtime_specific |=
                emit(&mut model.graph, candidate, &packed, settings.format, cx)? == Format::MatMulNBits;
            changed = Changed::Yes;
        }
        if is_runtime_specific {
            let (domain, version) = emit::RUNTIME_DOMAIN;
            model.set_opset(domain, version);
        }
        Ok(changed)
    }

    /// All candidates in 4 bits.
    fn packed(
        &self,
        model: &Model,
        candidates: &[Candidate],
        samples: Option<&dyn Samples>,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<Packed>> {
        let settings = &self.settings;
        if let Some(samples) = samples {
            match sequence::packed(model, candidates, settings, samples, cx.env) {
                Err(error) if error.kind().is_no_run() && settings.method == Method::Auto => {
                    cx.note(format!("weights are rounded by themselves: {}", error.what()));
                }
                result => return result,
            }
        }
        candidates.par_iter().map(|candidate| candidate.coded(settings, cx.env.scratch)).collect()
    }

    /// How many bits each candidate gets. Random inputs stand in for samples; a model that cannot be run on those is not
    /// measured.
    fn levels(
        &self,
        model: &Model,
        candidates: &[Candidate],
        packed: &[Packed],
        samples: Option<&dyn Samples>,
        cx: &mut Cx<'_>,
    ) -> Result<Vec<Level>> {
        let lowest = || candidates.iter().map(Level::lowest).collect();
        let Some(target) = self.settings.target else { return Ok(lowest()) };
        where_it_runs(model, samples, cx, lowest, |samples, cx| {
            levels::reach(model, candidates, packed, target, samples, cx)
        })
    }

    fn quantize_inner_graphs(&self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut changed = Changed::No;
        model.edit_graphs(|graph, path| {
            if path.is_empty() {
                return Ok(());
            }
            cx.enter(path);
            for candidate in plan::candidates(graph, &self.settings, cx) {
                let packed = candidate.coded_in_eight_bits(cx.env.scratch)?;
                emit(graph, &candidate, &packed, Format::Cast, cx)?;
                changed = Changed::Yes;
            }
            Ok(())
        })?;
        Ok(changed)
    }
}

/// Puts packed weights in place and says so; gives back the format they have.
fn emit(graph: &mut Graph, candidate: &Candidate, packed: &Packed, wanted: Format, cx: &mut Cx<'_>) -> Result<Format> {
    let place = candidate.place();
    let site = graph.site(candidate.reader).with_tensor(graph.value(candidate.value).describe());
    let is_four_bits = packed.grid.is_four_bits();
    let format = emit::format_of(wanted, graph, place, packed.layout.block, is_four_bits);
    emit::replace(graph, place, packed, format)?;
    let restored = match format {
        Format::Cast => "restored by standard arithmetic",
        Format::Dq => "restored by DequantizeLinear",
        Format::MatMulNBits => "multiplied by MatMulNBits",
    };
    let blocks = match packed.layout.blocks() {
        1 => "a scale a row".to_owned(),
        _ => format!("a scale for {} weights", packed.layout.block),
    };
    let figures = [
        ("snr_db", 10.0 * (packed.signal / packed.error).log10()),
        ("bytes_before", candidate.tensor.byte_len() as f64),
        ("bytes_after", packed.stored_bytes() as f64),
    ];
    cx.measured(site, format!("{} bits, {blocks}, {restored}", if is_four_bits { 4 } else { 8 }), &figures);
    Ok(format)
}
