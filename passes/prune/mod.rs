//! Magnitude pruning: the smallest weights become zero.
//!
//! ```text
//! // prune=0.5
//! < float[2,2] w = {0.1, -3, 2, -0.2} >     =>     < float[2,2] w = {0, -3, 2, 0} >
//! y = MatMul(x, w)                                 y = MatMul(x, w)
//! ```
//!
//! Of `n` weights exactly `floor(sparsity * n)` are zero afterwards, those that were zero before included, unless more
//! were: the smallest by magnitude, the first of equal ones. `scope=global`, the default, counts in all tensors
//! together and so spares layers with few but large weights; `scope=layer` counts in each tensor. `threshold` instead zeroes every weight of at most that magnitude. `method=random` picks by the
//! seed of the run and the name of the tensor: a baseline to compare with.
//!
//! Weights are constants that Conv, ConvTranspose, Gemm, MatMul, LSTM, GRU or RNN multiply with, in every graph; with
//! `embeddings=true` tables of Gather as well. Biases and normalizations are none. Left alone are
//! 1. what `exclude` names, as an operator or a tensor;
//! 2. weights that something reads as anything else, or that are outputs of a graph;
//! 3. weights that are not constant, or computed from constants at run time;
//! 4. quantized weights;
//! 5. tensors with fewer than two axes.

mod select;
mod targets;

use std::collections::BTreeMap;
use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::ir::{Model, Tensor, ValueId};
use crate::pass::{Changed, Cx, Effect, OptKind, OptSpec, Opts, Pass, PassInfo, Scope, counted};
use select::{Cut, Pruned, Score, Scored};
use targets::{Choice, Target};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "prune",
    summary: "zeroes the weights with the smallest magnitude",
    effect: Effect::Lossy,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[
        OptSpec {
            key: "sparsity",
            kind: OptKind::Ratio,
            default: Some("0.5"),
            help: "share of the weights that is zero afterwards",
        },
        OptSpec {
            key: "threshold",
            kind: OptKind::Float,
            default: None,
            help: "instead of a share: zero every weight of at most this magnitude",
        },
        OptSpec {
            key: "scope",
            kind: OptKind::Choice(&["layer", "global"]),
            default: Some("global"),
            help: "whether the share is one of each tensor or of all weights together",
        },
        OptSpec {
            key: "method",
            kind: OptKind::Choice(&["l1", "random"]),
            default: Some("l1"),
            help: "smallest magnitude, or at random from the seed, as a baseline",
        },
        OptSpec { key: "exclude", kind: OptKind::Names, default: None, help: "operator or tensor to leave alone" },
        OptSpec {
            key: "embeddings",
            kind: OptKind::Bool,
            default: Some("false"),
            help: "whether tables that Gather reads are pruned too",
        },
        OptSpec {
            key: "gzip",
            kind: OptKind::Bool,
            default: Some("true"),
            help: "whether to report the size of the weights after gzip, which takes longer than pruning",
        },
    ],
    build,
};

/// How much is pruned.
#[derive(Debug, Clone, Copy)]
enum Amount {
    PerLayer(f64),
    Global(f64),
    Threshold(f64),
}

#[derive(Debug)]
struct Prune {
    amount: Amount,
    is_random: bool,
    choice: Choice,
    measures_gzip: bool,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    let share = opts.float("sparsity").unwrap_or_default();
    let amount = match opts.float("threshold") {
        Some(threshold) => {
            if let Some(other) = ["sparsity", "scope", "method"].into_iter().find(|key| opts.is_given(key)) {
                return Err(Error::usage(format!("`prune` takes either `threshold` or `{other}`"))
                    .help("a threshold says for each weight on its own whether it goes"));
            }
            if threshold < 0.0 {
                return Err(Error::usage("option `threshold` of `prune` is a magnitude").found(threshold.to_string()));
            }
            Amount::Threshold(threshold)
        }
        None if opts.choice("scope") == "global" => Amount::Global(share),
        None => Amount::PerLayer(share),
    };
    Ok(Box::new(Prune {
        amount,
        is_random: opts.choice("method") == "random",
        choice: Choice { exclude: opts.names("exclude"), embeddings: opts.flag("embeddings") },
        measures_gzip: opts.flag("gzip"),
    }))
}

impl Pass for Prune {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let targets = targets::find(model, &self.choice, cx)?;
        if targets.is_empty() {
            cx.note("the model has no weights to prune");
            return Ok(Changed::No);
        }
        let results = self.prune(&targets, cx)?;
        report(&targets, &results, cx);
        let mut edits: BTreeMap<usize, Vec<(ValueId, Tensor)>> = BTreeMap::new();
        for (target, (pruned, _)) in targets.iter().zip(results) {
            let (graph, value) = target.place;
            if let Some(tensor) = pruned.tensor {
                edits.entry(graph).or_default().push((value, tensor));
            }
        }
        let changed = Changed::from(!edits.is_empty());
        targets::for_each_graph(model, |graph, number| {
            let edits = edits.remove(&number).unwrap_or_default();
            edits.into_iter().try_for_each(|(value, tensor)| graph.set_constant(value, tensor))
        })?;
        Ok(changed)
    }
}

/// The sizes of a tensor after gzip, before and after pruning.
#[derive(Debug, Clone, Copy, Default)]
struct GzipBytes {
    before: u64,
    after: u64,
}

impl Prune {
    /// Prunes every target, several at a time; the results do not depend on how many.
    fn prune(&self, targets: &[Target], cx: &Cx<'_>) -> Result<Vec<(Pruned, GzipBytes)>> {
        let score = |target: &Target| match self.is_random {
            true => Score::random(cx.env.seed, &target.name),
            false => Score::Magnitude,
        };
        let weights: Vec<Scored> =
            targets.iter().map(|target| Scored { tensor: target.tensor.clone(), score: score(target) }).collect();
        let global = match self.amount {
            Amount::Global(share) => {
                let total = weights.iter().map(|weight| weight.tensor.len()).sum();
                Some(Cut::smallest(&weights, share_of(total, share)).share_ties(&weights))
            }
            _ => None,
        };
        let progress = cx.env.progress;
        progress.start("prune", weights.len() as u64);
        let results = weights
            .par_iter()
            .enumerate()
            .map(|(index, weight)| {
                let cut = match self.amount {
                    Amount::Threshold(threshold) => Cut::at_magnitude(threshold),
                    Amount::PerLayer(share) => {
                        Cut::smallest(std::slice::from_ref(weight), share_of(weight.tensor.len(), share))
                    }
                    Amount::Global(_) => {
                        global.as_ref().and_then(|cuts| cuts.get(index)).copied().unwrap_or(Cut { score: 0, ties: 0 })
                    }
                };
                let pruned = weight.prune(cut, cx.env.scratch)?;
                let gzip = if self.measures_gzip { gzip_bytes(&weight.tensor, &pruned) } else { GzipBytes::default() };
                progress.advance(1);
                Ok((pruned, gzip))
            })
            .collect();
        progress.finish();
        results
    }
}

/// The number of weights that a share of them is.
fn share_of(count: usize, share: f64) -> u64 {
    // A decimal share is rarely exact in binary: 0.29 of 100 is 28.999999999999996.
    ((count as f64 * (share + f64::EPSILON)) as u64).min(count as u64)
}

fn gzip_bytes(before: &Tensor, pruned: &Pruned) -> GzipBytes {
    let size_before = gzip_len(before.data());
    let after = pruned.tensor.as_ref().map_or(size_before, |tensor| gzip_len(tensor.data()));
    GzipBytes { before: size_before, after }
}

fn gzip_len(data: &[u8]) -> u64 {
    let mut encoder = GzEncoder::new(Count(0), Compression::fast());
    // Counting cannot fail.
    let written = encoder.write_all(data).and_then(|()| encoder.finish());
    written.map_or(0, |count| count.0)
}

/// Counts what is written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0 += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn report(targets: &[Target], results: &[(Pruned, GzipBytes)], cx: &mut Cx<'_>) {
    let (mut elements, mut zeros, mut bytes, mut gzip) = (0, 0, 0, GzipBytes::default());
    for (target, (pruned, sizes)) in targets.iter().zip(results) {
        let count = target.tensor.len();
        elements += count;
        zeros += pruned.zeros_after;
        bytes += target.tensor.byte_len();
        gzip = GzipBytes { before: gzip.before + sizes.before, after: gzip.after + sizes.after };
        if pruned.tensor.is_some() {
            let (before, after) = (ratio(pruned.zeros_before, count), ratio(pruned.zeros_after, count));
            let text = format!(
                "{} of {count} weights are zero: {}, {} before",
                pruned.zeros_after,
                percent(after),
                percent(before)
            );
            let figures = [("sparsity", after), ("sparsity_before", before), ("elements", count as f64)];
            cx.measured(target.site.clone(), text, &figures);
        }
    }
    let mut text = format!(
        "{} of {elements} weights in {} are zero",
        percent(ratio(zeros, elements)),
        counted(targets.len(), "tensor")
    );
    if gzip.before > 0 {
        text += &format!("; their {bytes} bytes are {} after gzip, {} before pruning", gzip.after, gzip.before);
    }
    cx.note(text + "; zeros alone do not make an ONNX file smaller: compress it for transport");
}

fn ratio(part: u64, whole: usize) -> f64 {
    part as f64 / whole as f64
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        assert_eq!(share_of(100, 0.29), 29);
        assert_eq!(share_of(7, 0.5), 3);
        assert_eq!(share_of(7, 1.0), 7);
        assert_eq!(share_of(3, 0.333), 0);
    }

    #[test]
    fn zeros_compress() {
        let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert!(gzip_len(&noise) > 1000);
        assert!(gzip_len(&vec![0; 4096]) < 100);
    }
}
