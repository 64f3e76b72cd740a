//! Raises the default operator set of the model, its functions and inner graphs; every operator keeps its meaning.
//!
//! ```text
//! // opset 11                                           // opset 13
//! s = Squeeze<axes = [0]>(x)                     =>     s = Squeeze(x, axes)
//! y = Softmax<axis = 1>(q)     (q of rank 3)     =>     y = Reshape(Softmax<axis = -1>(Flatten(q)), Shape(q))
//! ```
//!
//! Attributes that became inputs are initializers in the main graph and `Constant` nodes elsewhere. The version of the
//! file format follows where it must. Passes that need a newer operator set than the model has run this one first.
//!
//! Refused, with the model as it was, are operators whose old meaning a newer definition cannot express:
//! [`crate::opset::upgrade`] has the list. A model that is as new already stays as it is.

use crate::error::{Result, Site};
use crate::ir::Model;
use crate::opset::upgrade::upgrade;
use crate::pass::{Changed, Cx, Effect, OptKind, OptSpec, Opts, Pass, PassInfo, Scope};

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "upgrade-opset",
    summary: "raises the operator set of the model, so that passes and runtimes that need a newer one can take it",
    // The meaning is the same, but runtimes choose what to fuse by the version, and fused operators round otherwise.
    effect: Effect::Rounding,
    scope: Scope::AllGraphs,
    min_opset: None,
    may_grow: true,
    options: &[OptSpec {
        key: "to",
        kind: OptKind::UInt,
        default: Some("21"),
        help: "the version to raise it to, from 7 up; past 21 only where no operator of the model changed since",
    }],
    build,
};

#[derive(Debug)]
struct UpgradeOpset {
    to: i64,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    let to = opts.uint("to").and_then(|to| i64::try_from(to).ok()).unwrap_or(i64::MAX);
    Ok(Box::new(UpgradeOpset { to }))
}

impl Pass for UpgradeOpset {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let Some(upgraded) = upgrade(model, self.to)? else {
            cx.skipped(Site::default(), format!("the model is at opset {} already", model.opset()));
            return Ok(Changed::No);
        };
        let adapted: usize = upgraded.adapted.values().sum();
        cx.measured(Site::default(), upgraded.to_string(), &[("adapted", adapted as f64)]);
        Ok(Changed::Yes)
    }
}
