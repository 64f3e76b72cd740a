//! The report of a run for people and machines: one struct, which JSON prints and HTML and Markdown render.
//!
//! ```text
//! shrink --> shrink::Report   what was done and how it was judged
//!        --> Detail           what is only of interest to whoever reads a report: sizes by part, drift by layer
//!                         --> Report --> out.json, out.md, out.html
//! ```
//!
//! Equal runs give equal bytes, but for times, which are in the fields `seconds` of the JSON form and in one place at the end
//! of the others, and for speeds that a pass measured and says in a remark.

mod detail;
#[cfg(feature = "cli")]
mod html;
mod integers;
mod markdown;
mod verdict;
mod weights;
pub mod words;

use std::path::Path;

use serde::Serialize;

use crate::error::Error;
#[cfg(feature = "cli")]
use crate::error::Result;
use crate::shrink;

pub use detail::{Detail, OperatorSize};
pub use verdict::Verdict;
pub use weights::{Histogram, WeightSize};

pub(crate) use detail::collect;

/// What the field `schema` says: which schema describes the JSON form.
pub const REPORT_SCHEMA_ID: &str = "urn:onnx-shrink:report:1";

/// The JSON Schema of what [`Report`] serializes to.
pub const REPORT_SCHEMA: &str = include_str!("report.schema.json");

/// Everything that is known after a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`REPORT_SCHEMA_ID`].
    pub schema: &'static str,
    /// The name of the model's file.
    pub model: String,
    /// What came of it, in a sentence.
    pub verdict: Verdict,
    /// The command line that does it again; empty where there was none.
    pub command: String,
    /// What was done and how it was judged.
    #[serde(flatten)]
    pub run: shrink::Report,
    /// Sizes by part and drift by layer; absent where they were not asked for.
    #[serde(flatten)]
    pub detail: Option<Detail>,
}

impl Report {
    /// Puts together what is known. `command` is the command line.
    pub fn new(run: shrink::Report, detail: Option<Detail>, refusal: Option<&Error>, command: String) -> Self {
        let path = run.input.path.as_deref().unwrap_or_default();
        let name = Path::new(path).file_name().map_or_else(|| path.into(), |name| name.to_string_lossy());
        Self {
            schema: REPORT_SCHEMA_ID,
            model: name.into_owned(),
            verdict: Verdict::of(&run, refusal),
            command,
            run,
            detail,
        }
    }

    /// The report as Markdown, for a pull request or a wiki.
    pub fn to_markdown(&self) -> String {
        markdown::render(self)
    }

    /// The report as one HTML page that loads nothing.
    ///
    /// # Errors
    /// Fails where a chart cannot be drawn.
    #[cfg(feature = "cli")]
    pub fn to_html(&self) -> Result<String> {
        html::render(self)
    }
}
