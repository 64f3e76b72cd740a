//! What a search tries, and in which order: what is cheap and needs no data, then the amounts of each way to code weights,
//! then those ways behind what takes something away, then layers by themselves.

use super::hunt::{Hunt, Stop};
use super::line::{Line, Scale};
use super::objective::Aim;
use crate::error::Result;

/// A target to begin with where the budget names none.
const FIRST_TARGET_DB: f64 = 30.0;

/// Two steps that share a budget of noise may each leave half of it.
pub(super) const HALF_DB: f64 = 3.0;

/// Pipelines without an amount.
const PLAIN: &[&str] = &["none", "simplify", "simplify,fp16", "simplify,quant8=dynamic"];

/// All weights in 8 bits.
const EIGHT_BITS: &str = "simplify,quant8=weights";

/// The share of zeros to begin with, and how much less of them there are where channels go as well.
const FIRST_SPARSITY: f64 = 0.6;
const SHARED_SPARSITY: f64 = 0.1;

/// What int8 weights may cost more than the best and still be worth a look for their speed, as a share.
const NEARLY: f64 = 1.05;

/// A way to code weights: the pipeline of a target in decibels.
type Codec = fn(f64) -> String;

/// Weights in 4 bits and less.
const CODECS: &[Codec] = &[
    |target| format!("quant4=target={target:.1}:min-elements=256"),
    |target| format!("cluster=16:target={target:.1}:min-elements=256"),
    |target| format!("quant8=weights:target={target:.1}"),
    |target| format!("compress=target={target:.1}:min-elements=256"),
    |target| {
        let each = target + HALF_DB;
        format!("ternary=target={each:.1}:all=true,quant4=target={each:.1}:min-elements=256")
    },
    |target| {
        let each = target + HALF_DB;
        format!("ternary=target={each:.1}:all=true,cluster=16:target={each:.1}:min-elements=256")
    },
    |target| format!("quant4=block=128:target={target:.1}:min-elements=256"),
    |target| format!("quant4=block=64:symmetric=true:target={target:.1}:min-elements=256"),
];

/// The runtime whose vectors channels are rounded to: the one that results are timed in.
const RUNTIME: &str = if cfg!(target_arch = "aarch64") { "ort-arm64" } else { "ort-x64" };

/// A codec with the target it was best at, and how many bytes that left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coded {
    pub(super) codec: Codec,
    pub(super) target: f64,
    pub(super) bytes: u64,
}

impl Hunt {
    /// Tries everything, until nothing is left to try.
    ///
    /// # Errors
    /// Stops where time is up or files cannot be read or written.
    pub(super) fn run(&self) -> Result<(), Stop> {
        for pipeline in PLAIN {
            self.unless_too_long(self.measure(pipeline))?;
        }
        let eight_bits = self.unless_too_long(self.measure(EIGHT_BITS))?.and_then(|measured| measured.bytes);
        let wants_speed = self.objective.budget.bounds_latency() || self.objective.aims()[0] == Aim::Time;
        if !wants_speed {
            self.to_size("")?;
            let coded = self.codecs()?;
            // Integers take as many bytes as weights in 8 bits, and less time.
            let best = self.found().best().and_then(|best| best.bytes);
            let is_near = eight_bits.zip(best).is_some_and(|(eight, best)| eight as f64 <= NEARLY * best as f64);
            if is_near || self.gallery.is_some() {
                self.unless_too_long(self.integers())?;
            }
            let mut ratio: Option<f64> = None;
            for one in coded.iter().take(2) {
                let found = self.behind_fronts(&(one.codec)(one.target + HALF_DB))?;
                ratio = ratio.into_iter().chain(found).reduce(f64::max);
            }
            let sparsity = self.behind_zeros("", FIRST_SPARSITY)?;
            if let (Some(ratio), Some(sparsity)) = (ratio, sparsity) {
                // Two that share the noise.
                let channels = format!("channels={:.2}:for={RUNTIME},", ratio / 2.0);
                self.behind_zeros(&channels, sparsity - SHARED_SPARSITY)?;
            }
            return self.polish();
        }
        let integers = self.unless_too_long(self.integers())?.flatten();
        let coded = self.codecs()?;
        if let (Some(integers), Some(coded)) = (&integers, coded.first()) {
            self.unless_too_long(self.largest_in_few_bits(integers, coded))?;
        }
        if let Some(integers) = &integers {
            self.behind_fronts(&integers.steps())?;
        }
        if let Some(coded) = coded.first() {
            self.behind_fronts(&(coded.codec)(coded.target + HALF_DB))?;
        }
        self.polish()
    }

    /// The target to begin with.
    pub(super) fn first_target(&self) -> f64 {
        self.objective.budget.least_db().unwrap_or(FIRST_TARGET_DB)
    }

    /// A line over the targets of a pipeline.
    pub(super) fn targets<'a>(&self, start: f64, most: usize, pipeline: &'a dyn Fn(f64) -> String) -> Line<'a> {
        Line { scale: Scale::Decibels, start, step: 4.0, range: (3.0, 120.0), most, pipeline }
    }

    /// The bound on size, met by each tensor as costs least: nothing has to be turned for it. `front` are steps before, each with
    /// a comma.
    fn to_size(&self, front: &str) -> Result<(), Stop> {
        let most = self.objective.budget.most_bytes(self.lab.bench().original().total_bytes());
        if self.objective.aims()[0] == Aim::Drift && most.is_finite() {
            let measured = self.measure(&format!("simplify,{front}compress=size={most:.0}:min-elements=256"));
            self.unless_too_long(measured)?;
        }
        Ok(())
    }

    /// Every codec at the target that serves best; that first which leaves least bytes.
    fn codecs(&self) -> Result<Vec<Coded>, Stop> {
        let mut found = Vec::new();
        for &codec in CODECS {
            let pipeline = |target: f64| format!("simplify,{}", codec(target));
            if let Some(target) = self.walk(&self.targets(self.first_target(), 4, &pipeline))? {
                let measured = self.measure(&pipeline(target))?;
                found.extend(measured.bytes.map(|bytes| Coded { codec, target, bytes }));
            }
        }
        found.sort_by_key(|coded| coded.bytes);
        Ok(found)
    }

    /// Steps behind what takes channels or layers away, or puts smaller ones in their place, which makes a model faster, too.
    /// Answers the share of channels that was best.
    fn behind_fronts(&self, steps: &str) -> Result<Option<f64>, Stop> {
        let factors = |target: f64| format!("simplify,lowrank=target={target:.1}:min-elements=256,{steps}");
        self.walk(&self.targets(self.first_target() + HALF_DB, 4, &factors))?;
        let channels = |ratio: f64| format!("simplify,channels={ratio:.2}:for={RUNTIME},{steps}");
        let ratio = self.walk(&Line {
            scale: Scale::Amount { least_step: 0.02 },
            start: 0.1,
            step: 0.1,
            range: (0.02, 0.8),
            most: 5,
            pipeline: &channels,
        })?;
        if self.lab.bench().calibration().is_some() {
            let layers = |number: f64| format!("simplify,layers={number},{steps}");
            let whole = Scale::Amount { least_step: 1.0 };
            self.walk(&Line { scale: whole, start: 1.0, step: 1.0, range: (1.0, 64.0), most: 4, pipeline: &layers })?;
        }
        Ok(ratio)
    }

    /// Few values behind zeros: of all codecs, the only one that zeros make smaller. `front` are steps before, each with a
    /// comma. Answers the share of zeros that was best.
    fn behind_zeros(&self, front: &str, start: f64) -> Result<Option<f64>, Stop> {
        let rest = format!("cluster=16:target={:.1}:min-elements=256", self.first_target() + HALF_DB);
        let prune = |sparsity: f64| format!("simplify,{front}prune={sparsity:.2}:gzip=false,{rest}");
        self.walk(&Line {
            scale: Scale::Amount { least_step: 0.02 },
            start,
            step: 0.12,
            range: (0.2, 0.98),
            most: 5,
            pipeline: &prune,
        })
    }

    /// A small thing on what is best: what is left in 32 bits.
    fn polish(&self) -> Result<(), Stop> {
        let best = self.found().best().map(|best| best.pipeline.clone());
        let Some(best) = best else { return Ok(()) };
        self.unless_too_long(self.measure_whole(&format!("{best},fp16").parse()?))?;
        Ok(())
    }
}
