//! Options of passes: their description, and values checked against it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::PassInfo;
use crate::error::{Error, Result, did_you_mean};

/// The form of an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptKind {
    /// A number from 0 to 1.
    Ratio,
    /// A whole number from 0 up.
    UInt,
    /// A finite number.
    Float,
    /// `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Names of operators or tensors; the option may be repeated.
    Names,
    /// Such names, each with a number from 0 to 1: `NAME@SHARE`.
    Shares,
    /// Words that the pass itself reads.
    Text,
    /// A file or folder.
    Path,
}

impl OptKind {
    /// The form in words, for help and errors.
    pub fn describe(self) -> String {
        match self {
            Self::Ratio => "a number from 0 to 1".to_owned(),
            Self::UInt => "a whole number".to_owned(),
            Self::Float => "a number".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Choice(words) => words.join("|"),
            Self::Names => "a name; may be repeated".to_owned(),
            Self::Shares => "NAME@SHARE, with a share from 0 to 1; may be repeated".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Path => "a path".to_owned(),
        }
    }

    fn accepts(self, value: &str) -> bool {
        match self {
            Self::Ratio => value.parse::<f64>().is_ok_and(|v| (0.0..=1.0).contains(&v)),
            Self::UInt => value.parse::<u64>().is_ok(),
            Self::Float => value.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Bool => matches!(value, "true" | "false"),
            Self::Choice(words) => words.contains(&value),
            Self::Names | Self::Shares | Self::Text | Self::Path => !value.is_empty(),
        }
    }

    /// Whether an option of that form is about single operators or tensors, and may be given once for each.
    pub fn is_by_name(self) -> bool {
        matches!(self, Self::Names | Self::Shares)
    }
}

/// One option of a pass.
#[derive(Debug, Clone, Copy)]
pub struct OptSpec {
    /// The key.
    pub key: &'static str,
    /// The form of the value.
    pub kind: OptKind,
    /// The value where none is given; without one the option is off.
    pub default: Option<&'static str>,
    /// One line without a full stop.
    pub help: &'static str,
}

/// The options of one step of a pipeline, checked against the pass and completed by its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opts {
    given: Vec<(&'static str, String)>,
    defaults: BTreeMap<&'static str, &'static str>,
}

impl Opts {
    /// Checks arguments as they stand in a pipeline: a key is optional on the first, where it is that of the pass's first
    /// option.
    ///
    /// # Errors
    /// Names an unknown or repeated option, or a value of the wrong form, with what was expected.
    pub fn new(info: &PassInfo, args: &[(Option<String>, String)]) -> Result<Self> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for (index, (key, value)) in args.iter().enumerate() {
            let spec = match key {
                Some(key) => info.options.iter().find(|o| o.key == key).ok_or_else(|| unknown_option(info, key))?,
                None if index == 0 => info.options.first().ok_or_else(|| {
                    Error::usage(format!("pass `{}` takes no options", info.name)).found(format!("`{value}`"))
                })?,
                // A number behind text goes on with it: `pattern=2:4`.
                None if is_number(value) && given.last().is_some_and(|(key, _)| is_text(info, key)) => {
                    if let Some((_, text)) = given.last_mut() {
                        *text += &format!(":{value}");
                    }
                    continue;
                }
                None => {
                    return Err(Error::usage(format!("an option of `{}` lacks its key", info.name))
                        .expected("key=value; only the first option may leave the key out")
                        .found(format!("`{value}`")));
                }
            };
            if !spec.kind.accepts(value) {
                return Err(wrong_value(info, spec, value));
            }
            if !spec.kind.is_by_name() && given.iter().any(|(k, _)| *k == spec.key) {
                return Err(Error::usage(format!("option `{}` of `{}` is given twice", spec.key, info.name)));
            }
            given.push((spec.key, value.clone()));
        }
        let defaults = info.options.iter().filter_map(|o| Some((o.key, o.default?))).collect();
        Ok(Self { given, defaults })
    }

    /// The options that were given, in order.
    pub fn given(&self) -> &[(&'static str, String)] {
        &self.given
    }

    /// Whether the option was given, default or not.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.iter().any(|(k, _)| *k == key)
    }

    /// The value as text: what was given, else the default.
    pub fn text(&self, key: &str) -> Option<&str> {
        let given = self.given.iter().find(|(k, _)| *k == key).map(|(_, value)| value.as_str());
        given.or_else(|| self.defaults.get(key).copied())
    }

    /// A `Ratio` or `Float` option.
    pub fn float(&self, key: &str) -> Option<f64> {
        self.text(key)?.parse().ok()
    }

    /// A `UInt` option.
    pub fn uint(&self, key: &str) -> Option<u64> {
        self.text(key)?.parse().ok()
    }

    /// A `Bool` option; off where it is neither given nor defaulted.
    pub fn flag(&self, key: &str) -> bool {
        self.text(key) == Some("true")
    }

    /// A `Choice` option; empty where it is neither given nor defaulted.
    pub fn choice(&self, key: &str) -> &str {
        self.text(key).unwrap_or_default()
    }

    /// Every value of a `Names` or `Shares` option, in order.
    pub fn names(&self, key: &str) -> Vec<String> {
        self.given.iter().filter(|(k, _)| *k == key).map(|(_, value)| value.clone()).collect()
    }

    /// A `Path` option.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }
}

fn is_number(value: &str) -> bool {
    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_text(info: &PassInfo, key: &str) -> bool {
    info.options.iter().any(|option| option.key == key && option.kind == OptKind::Text)
}

fn unknown_option(info: &PassInfo, key: &str) -> Error {
    let error = Error::usage(format!("pass `{}` has no option `{key}`", info.name));
    let known: Vec<&str> = info.options.iter().map(|o| o.key).collect();
    let error = if known.is_empty() { error } else { error.expected(known.join(", ")) };
    match did_you_mean(key, known) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error.help(format!("`onnx-shrink passes {}` describes its options", info.name)),
    }
}

fn wrong_value(info: &PassInfo, spec: &OptSpec, value: &str) -> Error {
    let error = Error::usage(format!("option `{}` of `{}` does not take `{value}`", spec.key, info.name))
        .expected(spec.kind.describe());
    match spec.kind {
        OptKind::Choice(words) => match did_you_mean(value, words.iter().copied()) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error,
        },
        _ => error,
    }
}
