//! What a pass is given besides the model: data, a backend, a seed; and where its remarks go.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Scratch;
use crate::backend::BackendChoice;
use crate::data::Samples;
use crate::error::{Result, Site};
use crate::infer::{self, Trusted};
use crate::ir::Model;

/// How far long work has come. Implemented by the command line; the library never prints.
pub trait Progress: Sync {
    /// A stretch of work of `total` steps begins; it replaces the one before.
    fn start(&self, what: &str, total: u64);
    /// So many more steps are done.
    fn advance(&self, steps: u64);
    /// The stretch is done.
    fn finish(&self);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// What stays the same for every pass of a pipeline.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The seed of everything random.
    pub seed: u64,
    /// Calibration data, where the user gave some.
    pub calibration: Option<&'a dyn Samples>,
    /// The backend that runs models.
    pub backend: BackendChoice,
    /// Where new weights are kept.
    pub scratch: &'a Scratch,
    /// Who wants to know how far the work has come.
    pub progress: &'a dyn Progress,
    /// Where statistics of activations are read from and written to.
    pub statistics: StatisticsFiles<'a>,
}

/// Files of what calibration measured, so that shards of a data set can be measured on many machines.
#[derive(Debug, Clone, Copy, Default)]
pub struct StatisticsFiles<'a> {
    /// Files that are merged and stand for the data they were measured on.
    pub read: &'a [PathBuf],
    /// The file to write.
    pub write: Option<&'a Path>,
}

impl<'a> Env<'a> {
    /// No data, no files, any backend, seed 0, and nobody who watches.
    pub fn plain(scratch: &'a Scratch) -> Self {
        let statistics = StatisticsFiles::default();
        Self { seed: 0, calibration: None, backend: BackendChoice::Auto, scratch, progress: &NoProgress, statistics }
    }
}

impl std::fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Env").field("seed", &self.seed).field("calibration", &self.calibration).finish_non_exhaustive()
    }
}

/// What sort of remark it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RemarkKind {
    /// Something was changed.
    Applied,
    /// Something matched and was left alone, for the reason given.
    Skipped,
    /// Something the user should know.
    Note,
}

/// What a pass says about one place, or about the whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct Remark {
    /// The pass.
    pub pass: &'static str,
    /// What sort of remark it is.
    pub kind: RemarkKind,
    /// The place; empty where it is about the whole model.
    pub site: Site,
    /// What was done, or the reason why not.
    pub text: String,
    /// Figures behind the text, by name; units in the names.
    pub figures: Vec<(&'static str, f64)>,
}

/// What inference found out about a model; nothing where it is not to be relied on.
pub(super) type Learnt = Option<Arc<Trusted>>;

/// The context a pass runs in.
#[derive(Debug)]
pub struct Cx<'a> {
    /// Data, backend, seed and progress.
    pub env: &'a Env<'a>,
    pass: &'static str,
    path: Vec<String>,
    remarks: Vec<Remark>,
    /// What was said of places that were left alone, by a hash of place and reason.
    skipped: BTreeSet<u64>,
    /// What an earlier pass learnt of the model as this one got it, for whoever asks first.
    given: Option<Learnt>,
    /// What was learnt of it last.
    learnt: Option<Learnt>,
}

impl<'a> Cx<'a> {
    /// A context for one pass.
    pub fn new(env: &'a Env<'a>, pass: &'static str) -> Self {
        let skipped = BTreeSet::new();
        Self { env, pass, path: Vec::new(), remarks: Vec::new(), skipped, given: None, learnt: None }
    }

    /// The same, where it is known what inference says of the model.
    pub(super) fn with_learnt(mut self, given: Option<Learnt>) -> Self {
        self.given = given;
        self
    }

    /// What was learnt of the model, which holds as long as nothing has changed it.
    pub(super) fn take_learnt(&mut self) -> Option<Learnt> {
        self.learnt.take().or_else(|| self.given.take())
    }

    /// What inference knows of the model the pass runs on; `None` where it is not to be relied on. Who asks first asks
    /// before anything is changed, and may get what an earlier pass has learnt.
    ///
    /// # Errors
    /// Fails on a graph with a cycle.
    pub(crate) fn trusted(&mut self, model: &Model) -> Result<Option<Arc<Trusted>>> {
        let known = match self.given.take() {
            Some(known) => known,
            None => infer::trusted(model)?.map(Arc::new),
        };
        self.learnt = Some(known.clone());
        Ok(known)
    }

    /// Says which graph the following remarks are about: the path that
    /// [`Model::edit_graphs`](crate::ir::Model::edit_graphs) gives.
    pub fn enter(&mut self, path: &[String]) {
        path.clone_into(&mut self.path);
    }

    /// Something was changed.
    pub fn applied(&mut self, site: Site, text: impl Into<String>) {
        self.push(RemarkKind::Applied, site, text.into(), &[]);
    }

    /// Something was changed, with figures; units in their names.
    pub fn measured(&mut self, site: Site, text: impl Into<String>, figures: &[(&'static str, f64)]) {
        self.push(RemarkKind::Applied, site, text.into(), figures);
    }

    /// Something matched and was left alone. What is said of one place again and again is kept once.
    pub fn skipped(&mut self, site: Site, reason: impl Into<String>) {
        self.push(RemarkKind::Skipped, site, reason.into(), &[]);
    }

    /// Something the user should know about the whole result.
    pub fn note(&mut self, text: impl Into<String>) {
        self.push(RemarkKind::Note, Site::default(), text.into(), &[]);
    }

    /// Takes over what was said in a context of the same pass that was made for a draft.
    pub fn append(&mut self, draft: Self) {
        self.remarks.extend(draft.remarks);
    }

    /// What was said, in order.
    pub fn into_remarks(self) -> Vec<Remark> {
        self.remarks
    }

    fn push(&mut self, kind: RemarkKind, site: Site, text: String, figures: &[(&'static str, f64)]) {
        let site = if self.path.is_empty() { site } else { site.in_path(&self.path) };
        if kind == RemarkKind::Skipped {
            let mut hasher = DefaultHasher::new();
            (&site, &text).hash(&mut hasher);
            if !self.skipped.insert(hasher.finish()) {
                return;
            }
        }
        tracing::debug!(pass = self.pass, ?kind, %site, "{text}");
        self.remarks.push(Remark { pass: self.pass, kind, site, text, figures: figures.to_vec() });
    }
}
