//! How long a pipeline will take, by what its passes took before.

use std::collections::BTreeMap;

use crate::pass::pipeline::Pipeline;
use crate::shrink::Attempt;

/// What passes took so far.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The longest run of each pass in seconds, by its name.
    passes: BTreeMap<String, f64>,
    /// The longest time in seconds that writing and comparing took.
    rest: f64,
}

impl Pace {
    /// Learns from an attempt.
    pub(super) fn learn(&mut self, attempt: &Attempt) {
        let steps = attempt.run.steps.iter().map(|step| (step.step.as_str(), step.seconds));
        self.add(steps, attempt.seconds);
    }

    fn add<'a>(&mut self, steps: impl Iterator<Item = (&'a str, f64)>, all: f64) {
        // What a preset repeats belongs together.
        let mut now: BTreeMap<String, f64> = BTreeMap::new();
        for (step, seconds) in steps {
            *now.entry(name(step).to_owned()).or_default() += seconds;
        }
        // Steps that were taken before, for another pipeline, are in the sum and not in the time.
        self.rest = self.rest.max(all - now.values().sum::<f64>());
        for (name, seconds) in now {
            let longest = self.passes.entry(name).or_default();
            *longest = longest.max(seconds);
        }
    }

    /// The seconds that a pipeline takes as far as is known: what never ran counts nothing.
    pub(super) fn seconds(&self, pipeline: &Pipeline) -> f64 {
        let steps = (0..pipeline.len()).map(|step| pipeline.part(step..step + 1).to_string());
        self.rest + steps.map(|step| self.passes.get(name(&step)).copied().unwrap_or_default()).sum::<f64>()
    }
}

/// The name of the pass of a step.
fn name(step: &str) -> &str {
    step.split('=').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_like_takes_as_long() {
        let mut pace = Pace::default();
        pace.add([("dce", 0.5), ("fp16", 1.0)].into_iter(), 4.0);
        pace.add([("dce", 0.5), ("quant4=target=30", 3.0), ("dce", 0.25)].into_iter(), 5.0);
        let seconds = |text: &str| pace.seconds(&text.parse().unwrap());
        assert_eq!(seconds("fp16"), 2.5 + 1.0);
        assert_eq!(seconds("dce,quant4=target=20"), 2.5 + 0.75 + 3.0);
        assert_eq!(seconds("cluster=16"), 2.5);
    }
}
