//! The form of a recipe file, with the places of what it says.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::{Spanned, Value};

/// Keys and values with their places; in the order of the keys.
pub(super) type Section = BTreeMap<Spanned<String>, Spanned<Value>>;

/// The keys of a recipe. Values that come in several forms are looked at later, so that errors about them can be exact.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) model: Option<String>,
    pub(super) output: Option<String>,
    pub(super) pipeline: Option<Spanned<Value>>,
    pub(super) inputs: Option<Spanned<Value>>,
    pub(super) eval_inputs: Option<Spanned<Value>>,
    #[serde(default)]
    pub(super) gates: Section,
    #[serde(default)]
    pub(super) input_shape: Section,
    #[serde(default)]
    pub(super) dim: Section,
    #[serde(default)]
    pub(super) keep: Vec<String>,
    #[serde(default)]
    pub(super) layer: BTreeMap<Spanned<String>, Section>,
    pub(super) seed: Option<u64>,
    pub(super) threads: Option<Spanned<u16>>,
    pub(super) backend: Option<Spanned<String>>,
    pub(super) external_data: Option<Spanned<Value>>,
    pub(super) report: Option<Spanned<Value>>,
}
