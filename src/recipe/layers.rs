//! What a recipe says of single layers: `[layer."NAME"]`, with `*` in the name for any characters.
//!
//! | key | what it becomes |
//! |---|---|
//! | `exclude = true` | `exclude=NAME` of every pass of the pipeline that has it |
//! | `exclude = ["quant8"]` | the same of these passes |
//! | `keep = true` | a step `keep=NAME` in front of all |
//! | `quant8.only = true` | `only=NAME` of that pass: any option that takes names |
//! | `prune.ratio = 0.9` | `ratio=NAME@0.9` of that pass: any option that takes a share for each name |

use std::collections::BTreeMap;

use toml::{Spanned, Value};

use super::file::Section;
use super::place::Source;
use super::values::{texts, wrong};
use crate::error::{Error, Result};
use crate::pass::LayerOption;
use crate::pass::pipeline::Pipeline;

/// One option for one layer, and the line that asks for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) option: LayerOption,
    span: std::ops::Range<usize>,
}

/// What a recipe says of layers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Layers {
    pub(super) rules: Vec<Rule>,
    /// Names to keep through all passes.
    pub(super) keep: Vec<String>,
}

impl Layers {
    /// Reads all sections, in the order of the layers' names.
    ///
    /// # Errors
    /// Names the line with what cannot be said of a layer.
    pub(super) fn read(sections: &BTreeMap<Spanned<String>, Section>, source: Source<'_>) -> Result<Self> {
        let mut layers = Self::default();
        for (layer, section) in sections {
            for (key, value) in section {
                layers.one(layer.get_ref(), key, value.get_ref()).map_err(|error| source.at(&key.span(), error))?;
            }
        }
        Ok(layers)
    }

    fn one(&mut self, layer: &str, key: &Spanned<String>, value: &Value) -> Result<()> {
        let mut push = |pass: Option<&str>, option: &str, share| {
            let (layer, pass, option) = (layer.to_owned(), pass.map(str::to_owned), option.to_owned());
            self.rules.push(Rule { option: LayerOption { layer, pass, option, share }, span: key.span() });
        };
        match (key.get_ref().as_str(), value) {
            ("exclude", Value::Boolean(true)) => push(None, "exclude", None),
            ("exclude", value) => {
                let passes = texts(value).filter(|passes| !passes.is_empty());
                let passes = passes.ok_or_else(|| wrong("exclude", "true, a pass, or a list of passes", value))?;
                passes.iter().for_each(|pass| push(Some(pass), "exclude", None));
            }
            ("keep", Value::Boolean(true)) if layer.contains('*') => {
                return Err(Error::usage("`keep` takes the name of one operator or value")
                    .found(format!("the pattern `{layer}`"))
                    .help("name them one by one, or leave them alone in some passes: exclude = [\"quant8\"]"));
            }
            ("keep", Value::Boolean(true)) => self.keep.push(layer.to_owned()),
            (pass, Value::Table(options)) => {
                for (option, value) in options {
                    let share = match value {
                        Value::Boolean(true) => None,
                        value => Some(number(value).ok_or_else(|| {
                            let expected = "true for an option that names layers, or a share from 0 to 1";
                            wrong(&format!("{pass}.{option}"), expected, value)
                        })?),
                    };
                    push(Some(pass), option, share);
                }
            }
            (key, value) => {
                return Err(Error::usage(format!("a layer has no `{key} = {value}`"))
                    .expected("exclude = true, exclude = [\"PASS\"], keep = true, or PASS.OPTION = true or a share")
                    .help("what no pass can do for a single layer cannot be asked for"));
            }
        }
        Ok(())
    }

    /// The pipeline with these options.
    ///
    /// # Errors
    /// Names the line with an option that the pipeline has no use for.
    pub(super) fn apply(&self, pipeline: Pipeline, source: Source<'_>) -> Result<Pipeline> {
        self.rules.iter().try_fold(pipeline, |pipeline, rule| {
            pipeline.with_layer(&rule.option).map_err(|error| source.at(&rule.span, error))
        })
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        // Shares are small.
        Value::Integer(number) => i32::try_from(*number).ok().map(f64::from),
        _ => None,
    }
}
