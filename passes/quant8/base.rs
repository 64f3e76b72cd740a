//! The float model that candidates are quantized from, with what was measured on it.

use std::collections::{BTreeMap, BTreeSet};

use super::calibrate::{Measured, Wanted};
use super::kernel::{Around, Kernel};
use super::levels::Levels;
use super::observe::{Observer, Recording, Statistics, fingerprint};
use super::options::Settings;
use super::plan::Plan;
use super::platform::Platform;
use super::range::{ActivationParameters, Range};
use super::repair::rounding::Rounded;
use super::split::{self, Split};
use super::{FIRST_STATIC_OPSET, calibrate, kernel, plan, qdq, saturate, weights};
use crate::backend::BackendChoice;
use crate::data::{Samples, sample_digests};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{Model, NodeId, ValueId};
use crate::opset::upgrade::{Upgraded, upgrade};
use crate::pass::{Changed, Cx, Env};

/// A float model in an operator set that can express quantization, and the ranges of its activations.
///
/// Measuring takes runs of the model, so it is done for many candidates at once ([`learn`](Self::learn)); building one is
/// cheap then, and several can be built in parallel.
pub(super) struct Base<'a> {
    model: Model,
    /// What raising the operator set did, where that was needed.
    upgraded: Option<Upgraded>,
    order: Vec<NodeId>,
    samples: &'a dyn Samples,
    env: &'a Env<'a>,
    observer: Observer,
    platform: Platform,
    /// The pass that remarks come from.
    pass: &'static str,
    measured: Measured,
    /// The same, with the backend that measures.
    measuring: Env<'a>,
    /// Activations with outlier channels; not known until the first candidates are.
    splits: Option<BTreeMap<ValueId, Split>>,
    /// Weights that were rounded by what they are multiplied with; the rest is to nearest.
    rounded: Rounded,
}

/// A quantized model.
pub(super) struct Candidate<'a> {
    pub(super) model: Model,
    /// The levels it was made by.
    pub(super) levels: Levels,
    /// How many operators compute in integers.
    pub(super) kernels: usize,
    /// Whether it differs from the float model.
    pub(super) changed: Changed,
    /// What there is to say about it, should it be the one.
    pub(super) remarks: Cx<'a>,
}

impl<'a> Base<'a> {
    /// A copy of the model; raised to the first operator set with scales of single channels, where it is older and
    /// something could compute in integers then.
    ///
    /// # Errors
    /// `Unsupported` where an operator cannot be expressed in the newer set.
    pub(super) fn new(model: &Model, settings: &Settings, samples: &'a dyn Samples, env: &'a Env<'a>) -> Result<Self> {
        let mut raised = model.clone();
        let upgraded = upgrade(&mut raised, FIRST_STATIC_OPSET)?;
        let order = raised.graph.topological_order()?;
        let (observer, platform, measured) = (settings.observer, settings.platform, Measured::default());
        let base = Self {
            model: raised,
            upgraded,
            order,
            samples,
            env,
            measuring: *env,
            observer,
            platform,
            pass: settings.pass,
            measured,
            splits: None,
            rounded: Rounded::new(),
        };
        if base.upgraded.is_some() && base.plan(settings, &mut base.draft()).kernels.is_empty() {
            let model = model.clone();
            return Ok(Self { order: model.graph.topological_order()?, model, upgraded: None, ..base });
        }
        Ok(base)
    }

    /// The same for a model that computes what this one does, with other constants: nothing is measured of it yet.
    ///
    /// # Errors
    /// Fails where the graph has a cycle.
    pub(super) fn with_model(&self, model: Model) -> Result<Self> {
        let (order, upgraded) = (model.graph.topological_order()?, self.upgraded.clone());
        Ok(Self {
            model,
            upgraded,
            order,
            measured: Measured::default(),
            splits: None,
            rounded: Rounded::new(),
            ..*self
        })
    }

    /// The float model, raised where that was needed.
    pub(super) fn model(&self) -> &Model {
        &self.model
    }

    /// The samples that ranges are measured on.
    pub(super) fn samples(&self) -> &'a dyn Samples {
        self.samples
    }

    /// Lets ranges be chosen in another way, which [`learn`](Self::learn) has to be told of, and returns how they were.
    pub(super) fn observe_by(&mut self, observer: Observer) -> Observer {
        let lacks = |one: &Statistics| one.histogram().is_none();
        if observer.needs_histogram() && self.measured.statistics.values().any(lacks) {
            self.measured.statistics.clear();
        }
        std::mem::replace(&mut self.observer, observer)
    }

    /// Lets candidates have these weights, and returns those that they had.
    pub(super) fn round(&mut self, rounded: Rounded) -> Rounded {
        std::mem::replace(&mut self.rounded, rounded)
    }

    /// Lets another backend measure.
    pub(super) fn measure_with(&mut self, backend: BackendChoice) {
        self.measuring.backend = backend;
    }

    /// What measures the model.
    pub(super) fn measuring(&self) -> &Env<'a> {
        &self.measuring
    }

    /// Data, backend and progress.
    pub(super) fn env(&self) -> &'a Env<'a> {
        self.env
    }

    /// Measures whatever candidates with these settings need to know.
    ///
    /// # Errors
    /// Fails where no backend can run the model on the samples.
    pub(super) fn learn(&mut self, variants: &[Settings]) -> Result<()> {
        if let (None, Some(settings)) = (&self.splits, variants.first()) {
            self.exchange_statistics(settings)?;
            self.splits = Some(self.find_splits(settings, variants)?);
        }
        loop {
            let wanted = self.unknown(variants);
            if wanted.statistics.is_empty() {
                return Ok(());
            }
            // What turns out not to be finite changes the plans, which may ask for more then.
            self.measured.statistics.extend(self.measure(&wanted)?.statistics);
        }
    }

    /// The statistics that candidates with these settings need and that were not measured yet.
    fn unknown(&self, variants: &[Settings]) -> Wanted {
        let sources = variants.iter().flat_map(|settings| self.plan(settings, &mut self.draft()).sources().into_keys());
        // Beside outliers, the range of the rest is known from the channels.
        let is_split = |value: &ValueId| self.splits.as_ref().is_some_and(|splits| splits.contains_key(value));
        let is_known = |value: &ValueId| self.measured.statistics.contains_key(value) || is_split(value);
        let statistics = sources.filter(|value| !is_known(value)).collect();
        Wanted { statistics, histograms: self.observer.needs_histogram(), ..Wanted::default() }
    }

    /// Reads statistics from files, or measures all that any plan may ask for, where the user wants them in a file.
    fn exchange_statistics(&mut self, settings: &Settings) -> Result<()> {
        let files = self.env.statistics;
        if files.read.is_empty() && files.write.is_none() {
            return Ok(());
        }
        let graph = &self.model.graph;
        let model = fingerprint(&self.model)?;
        let name = |value: ValueId| graph.value(value).name().to_owned();
        let recording = match Recording::read(files.read, &model)? {
            Some(recording) => recording,
            None => {
                // Independent of what the samples are like, so that those of all shards can be merged.
                let plan = self.plan(settings, &mut self.draft());
                let statistics = plan.values.keys().chain(&plan.joined).copied().collect();
                let channels = split::candidates(graph, &plan).into_iter().collect();
                let measured = self.measure(&Wanted { statistics, histograms: true, channels })?;
                let statistics = measured.statistics.into_iter().map(|(value, one)| (name(value), one)).collect();
                let channels = measured.channels.into_iter().map(|(value, one)| (name(value), one)).collect();
                let data = (self.samples.len() as u64, sample_digests(self.samples)?);
                Recording::new(model, data, statistics, channels)
            }
        };
        if let Some(path) = files.write {
            recording.write(path)?;
        }
        let find = |name: &str| graph.find_value(name);
        self.measured = Measured {
            statistics: recording.statistics.into_iter().filter_map(|(name, one)| Some((find(&name)?, one))).collect(),
            channels: recording.channels.into_iter().filter_map(|(name, one)| Some((find(&name)?, one))).collect(),
        };
        Ok(())
    }

    fn measure(&self, wanted: &Wanted) -> Result<Measured> {
        calibrate::measure(&self.model, wanted, self.samples, &self.measuring)
    }

    /// A model quantized by these settings, which [`learn`](Self::learn) must have been told of.
    ///
    /// # Errors
    /// Fails where weights cannot be kept until they are written, or an edit fails, which is a defect.
    pub(super) fn candidate(&self, settings: &Settings) -> Result<Candidate<'a>> {
        let mut remarks = self.draft();
        let plan = self.plan(settings, &mut remarks);
        let parameters = self.parameters(&plan)?;
        let (mut model, kernels) = (self.model.clone(), plan.kernels.len());
        let (levels, mut settings) = (settings.levels.clone(), settings.clone());
        if kernels > 0 {
            if let Some(upgraded) = &self.upgraded {
                remarks.note(format!("{upgraded}: scales of single channels need it"));
            }
            let target = qdq::Target { platform: self.platform, opset: model.opset() };
            let beside = qdq::apply(&mut model.graph, plan, &parameters, &self.rounded, target, &mut remarks)?;
            settings.levels = beside.keep(&settings.levels);
        }
        let mut changed = weights::quantize(&mut model, &settings, &mut remarks)?;
        if kernels > 0 {
            changed = Changed::Yes;
        }
        Ok(Candidate { model, levels, kernels, changed, remarks })
    }

    /// The operators that these settings would have compute in integers, by the weights they read.
    pub(super) fn plan(&self, settings: &Settings, cx: &mut Cx<'a>) -> Plan {
        let measured = self.measured.statistics.iter();
        let barred: BTreeSet<ValueId> =
            measured.filter(|(_, one)| !one.range().is_usable()).map(|(value, _)| *value).collect();
        let mut first = self.draft();
        let plan = self.plan_around(&Around { barred: &barred, integers: &BTreeSet::new(), settings }, &mut first);
        let integers = plan.integers(&self.model.graph, &self.order);
        if kernel::reads_small(&self.model.graph, &integers) {
            return self.plan_around(&Around { barred: &barred, integers: &integers, settings }, cx);
        }
        cx.append(first);
        plan
    }

    fn plan_around(&self, around: &Around<'_>, cx: &mut Cx<'_>) -> Plan {
        let graph = &self.model.graph;
        let mut kernels = kernel::kernels(graph, &self.order, around, cx);
        if let Some(splits) = &self.splits {
            let split = |kernel: Kernel| match splits.get(&kernel.input) {
                Some(found) => kernel.split(found.outliers.clone()),
                None => kernel,
            };
            kernels = kernels.into_iter().map(split).collect();
        }
        plan::plan(graph, &self.order, kernels, around.barred)
    }

    /// Measures which activations have outliers, and in the same runs what candidates without any need to know.
    fn find_splits(&mut self, settings: &Settings, variants: &[Settings]) -> Result<BTreeMap<ValueId, Split>> {
        let values = split::candidates(&self.model.graph, &self.plan(settings, &mut self.draft()));
        if settings.outliers == 0 || values.is_empty() {
            return Ok(BTreeMap::new());
        }
        let is_unknown = |value: &ValueId| !self.measured.channels.contains_key(value);
        let channels: BTreeSet<ValueId> = values.iter().copied().filter(is_unknown).collect();
        if !channels.is_empty() {
            let measured = self.measure(&Wanted { channels, ..self.unknown(variants) })?;
            self.measured.statistics.extend(measured.statistics);
            self.measured.channels.extend(measured.channels);
        }
        let choose = |value: ValueId| {
            let channels = self.measured.channels.get(&value)?;
            Some((value, Split::choose(&channels.ranges()?, settings.outliers)?))
        };
        Ok(values.into_iter().filter_map(choose).collect())
    }

    /// What quantizes each source of a plan.
    fn parameters(&self, plan: &Plan) -> Result<BTreeMap<ValueId, ActivationParameters>> {
        let mut covered: BTreeMap<ValueId, Range> = BTreeMap::new();
        for (value, source) in plan.sources() {
            let split = self.splits.as_ref().and_then(|splits| splits.get(&value)).map(|split| split.range);
            let observed = || self.measured.statistics.get(&value).map(|one| self.observer.range(one));
            let seen = split.or_else(observed).ok_or_else(|| {
                let name = self.model.graph.value(value).name();
                Error::new(ErrorKind::BrokenPass, format!("the range of `{name}` was not measured"))
            })?;
            let range = covered.entry(source).or_insert(Range::EMPTY);
            *range = range.union(seen);
        }
        let ends = saturate::bounds(&self.model.graph, plan);
        let parameters = covered.into_iter().map(|(source, range)| {
            let range = ends.get(&source).map_or(range, |&ends| range.within(ends));
            let bound = plan.bounds.get(&source).copied().unwrap_or(f32::INFINITY);
            (source, self.platform.parameters(range).bounded(bound, self.platform.steps))
        });
        Ok(parameters.collect())
    }

    fn draft(&self) -> Cx<'a> {
        Cx::new(self.env, self.pass)
    }
}
