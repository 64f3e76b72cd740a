//! Which layers compute in integers: by rule, by the clock, and those with most bytes rather in few bits.
//!
//! `quant8` may ask the clock what integers speed up, and then gives other bytes on another day. A search has to name a
//! pipeline that gives the same: it looks at what the clock left in float, names those layers, and goes by rule for the rest.

use super::hunt::{Hunt, Stop};
use super::stages::{Coded, HALF_DB};
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId};
use crate::pass::Progress;
use crate::pass::pipeline::{Pipeline, Step};

/// Operators with weights that integers may serve.
const LAYERS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// 8-bit arithmetic as far as a target allows.
#[derive(Debug, Clone)]
pub(super) struct Integers {
    target: f64,
    /// Layers whose arithmetic stays float.
    float: Vec<String>,
}

impl Integers {
    /// The step, with another target and more layers left out.
    fn step(&self, target: f64, more: &[String]) -> String {
        let target = format!("{target:.1}");
        let mut options = vec![("", "auto"), ("target", target.as_str()), ("timing", "false")];
        options.extend(self.float.iter().chain(more).map(|name| ("exclude", name.as_str())));
        Step::new("quant8", &options).to_string()
    }

    /// The steps that leave all weights in 8 bits, with what can go wrong within half of the noise.
    pub(super) fn steps(&self) -> String {
        let step = self.step(self.target + HALF_DB, &[]);
        if self.float.is_empty() { step } else { format!("{step},{}", weights(&self.float)) }
    }
}

/// The step that codes the weights of some layers in 8 bits.
fn weights(layers: &[String]) -> String {
    let options: Vec<(&str, &str)> =
        [("", "weights")].into_iter().chain(layers.iter().map(|name| ("only", name.as_str()))).collect();
    Step::new("quant8", &options).to_string()
}

impl Hunt {
    /// 8-bit arithmetic at the target that serves best, with those layers in it that it speeds up; `None` where there is no
    /// data to measure ranges on, or nothing that holds.
    ///
    /// # Errors
    /// Stops where time is up or files cannot be read or written.
    pub(super) fn integers(&self) -> Result<Option<Integers>, Stop> {
        if self.lab.bench().calibration().is_none() {
            return Ok(None);
        }
        let plain = |target| Integers { target, float: Vec::new() };
        let pipeline = |target: f64| format!("simplify,{}", plain(target).step(target, &[]));
        let start = self.first_target();
        let Some(target) = self.walk(&self.targets(start, 3, &pipeline))? else { return Ok(None) };
        let by_rule = plain(target);
        // Asking the clock takes as long once more, and so does what comes of it.
        let has_time = 3.0 * self.measure(&pipeline(target))?.seconds < self.left().as_secs_f64();
        if !self.objective.is_timed() || !has_time {
            return Ok(Some(by_rule));
        }
        let ruled = self.layers_in_integers(&pipeline(target))?;
        let timed = self.layers_in_integers(&format!("simplify,quant8=auto:target={target:.1}"))?;
        let float: Vec<String> = ruled.into_iter().filter(|layer| !timed.contains(layer)).collect();
        if float.is_empty() {
            return Ok(Some(by_rule));
        }
        let by_clock = Integers { target, float };
        let text = format!("simplify,{},{}", by_clock.step(target, &[]), weights(&by_clock.float));
        let (fast, before) = (self.measure(&text)?, self.measure(&pipeline(target))?);
        let time = |one: &super::Measurement| one.speed.map_or(f64::INFINITY, |speed| speed.ratio);
        Ok(Some(if time(&fast) < time(&before) { by_clock } else { by_rule }))
    }

    /// Layers with most bytes in few bits and float arithmetic, the others in integers.
    ///
    /// # Errors
    /// As [`Self::integers`].
    pub(super) fn largest_in_few_bits(&self, integers: &Integers, coded: &Coded) -> Result<(), Stop> {
        let codec = (coded.codec)(coded.target + HALF_DB);
        let inside = self.layers_in_integers(&format!("simplify,{}", integers.step(integers.target, &[])))?;
        let mut layers = self.largest_layers()?;
        layers.retain(|layer| inside.contains(layer));
        // What stays float by the clock is coded, too.
        let mut count = 0;
        while count <= layers.len() {
            let step = integers.step(integers.target + HALF_DB, &layers[..count]);
            let measured = self.measure(&format!("simplify,{step},{codec}"))?;
            if count > 0 && !self.objective.holds(&measured)? {
                break;
            }
            count = (2 * count).max(1);
        }
        Ok(())
    }

    /// Layers that compute in integers after a pipeline.
    fn layers_in_integers(&self, pipeline: &str) -> Result<Vec<String>, Stop> {
        let Some(model) = self.model_after(pipeline)? else { return Ok(Vec::new()) };
        let graph = &model.graph;
        let is_integer = |node: NodeId| {
            let before = |value| graph.producer(value).map(|(node, _)| node);
            let read = graph.input(node, 0).and_then(before).filter(|&node| graph.node(node).is("DequantizeLinear"));
            read.and_then(|node| graph.input(node, 0)).is_some_and(|value| graph.constant(value).is_none())
        };
        Ok(layers(graph).filter(|&node| is_integer(node)).map(|node| graph.node_label(node)).collect())
    }

    /// Layers by the bytes of their weights, the largest first.
    fn largest_layers(&self) -> Result<Vec<String>, Stop> {
        let Some(model) = self.model_after("simplify")? else { return Ok(Vec::new()) };
        let graph = &model.graph;
        let bytes = |node: NodeId| {
            let weights = [0, 1].into_iter().filter_map(|place| graph.input(node, place));
            weights.filter_map(|value| graph.constant(value)).map(|tensor| tensor.byte_len()).sum::<u64>()
        };
        let mut found: Vec<(u64, String)> = layers(graph).map(|node| (bytes(node), graph.node_label(node))).collect();
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        Ok(found.into_iter().filter(|(bytes, _)| *bytes > 0).map(|(_, label)| label).collect())
    }

    /// The model that a pipeline leaves; `None` where it fails.
    fn model_after(&self, pipeline: &str) -> Result<Option<Model>, Stop> {
        if self.left().is_zero() || self.is_over() {
            return Err(Stop::TimeIsUp);
        }
        let pipeline: Pipeline = pipeline.parse::<Pipeline>()?.after(self.front.iter().cloned());
        let progress: &dyn Progress = &self.progress;
        self.progress.watcher().trying(&pipeline.to_string(), "looking at layers", Some(self.left()));
        Ok(self.lab.bench().model_after(&pipeline, progress).ok())
    }
}

fn layers(graph: &Graph) -> impl Iterator<Item = NodeId> + '_ {
    graph.nodes().into_iter().filter(|&node| graph.node(node).is_any(LAYERS))
}
