//! What passes did, in the form that reports have.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Changed, Cx, Effect, Remark, RemarkKind};
use crate::census::Census;

/// One pass that ran.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// The step as a user would write it.
    pub step: String,
    /// What the pass may do to results.
    pub effect: Effect,
    /// Which repetition of a preset it was, from 1.
    pub round: usize,
    /// Whether it changed the model.
    pub changed: bool,
    /// How long it took.
    pub seconds: f64,
    /// The model before.
    pub before: Census,
    /// The model after.
    pub after: Census,
    /// What it said, in order.
    pub remarks: Vec<RemarkReport>,
}

impl StepReport {
    /// Whether there is something to tell. A preset repeats its passes until none finds anything: that a later round did
    /// nothing is not.
    pub fn is_worth_telling(&self) -> bool {
        self.changed || (self.round == 1 && !self.remarks.is_empty())
    }

    /// The report of a pass from its context after the run.
    pub(crate) fn new(
        step: String,
        effect: Effect,
        round: usize,
        changed: Changed,
        seconds: f64,
        (before, after): (Census, Census),
        cx: Cx<'_>,
    ) -> Self {
        let remarks = cx.into_remarks().into_iter().map(RemarkReport::from).collect();
        Self { step, effect, round, changed: changed.is_yes(), seconds, before, after, remarks }
    }
}

/// One remark of a pass.
#[derive(Debug, Clone, Serialize)]
pub struct RemarkReport {
    /// What sort of remark it is.
    pub kind: RemarkKind,
    /// The place, as errors show it; `null` where the remark is about the whole model.
    pub at: Option<String>,
    /// What was done, or the reason why not.
    pub text: String,
    /// Figures behind the text, by name; units in the names.
    pub figures: BTreeMap<&'static str, f64>,
}

impl From<Remark> for RemarkReport {
    fn from(remark: Remark) -> Self {
        Self {
            kind: remark.kind,
            at: (!remark.site.is_empty()).then(|| remark.site.to_string()),
            text: remark.text,
            figures: remark.figures.into_iter().collect(),
        }
    }
}
