//! Values of a recipe that come in several forms, as the words that the command line takes.

use toml::Value;

use super::file::Section;
use super::place::Source;
use crate::data;
use crate::error::{Error, Result};

/// A number, word or truth value as text.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) if number.is_finite() => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// One text or a list of them.
pub(super) fn texts(value: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => Some(vec![text(value)?]),
    }
}

/// The error for a value of the wrong form.
pub(super) fn wrong(key: &str, expected: &str, found: &Value) -> Error {
    Error::usage(format!("`{key}` does not take this value")).expected(expected).found(format!("`{found}`"))
}

/// What `--inputs` takes: text as it is, or a table with a path and the options that stand behind it.
pub(super) fn data(key: &str, value: &Value, resolve: &dyn Fn(&str) -> String) -> Result<String> {
    const FORM: &str = "a path, \"synthetic:16\", or a table: { path = \"images/\", crop = 224 }";
    let table = match value {
        Value::String(text) if data::is_synthetic(text) => return Ok(text.clone()),
        Value::String(text) if !text.is_empty() => return Ok(resolve(text)),
        Value::Table(table) => table,
        other => return Err(wrong(key, FORM, other)),
    };
    let Some(path) = table.get("path").and_then(Value::as_str).filter(|path| !path.is_empty()) else {
        return Err(wrong(key, FORM, value));
    };
    let mut spec = if data::is_synthetic(path) { path.to_owned() } else { resolve(path) };
    for (option, value) in table.iter().filter(|(option, _)| *option != "path") {
        let text = match value {
            Value::Array(values) => values.iter().map(scalar).collect::<Option<Vec<_>>>().map(|parts| parts.join("/")),
            value => scalar(value),
        };
        let text = text.filter(|text| !text.contains([':', ','])).ok_or_else(|| {
            wrong(&format!("{key}.{option}"), "a number, a word, or a list of numbers, one for each channel", value)
        })?;
        spec += &format!(":{option}={text}");
    }
    Ok(spec)
}

/// The gates: `snr = 30` for all outputs, `[gates.logits]` with `snr = 30` for one.
pub(super) fn gates(section: &Section, source: Source<'_>) -> Result<Vec<String>> {
    let mut gates = Vec::new();
    for (key, value) in section {
        let name = key.get_ref();
        let texts = match value.get_ref() {
            Value::Table(bounds) => bounds
                .iter()
                .map(|(metric, bound)| Some(format!("{name}:{metric}={}", scalar(bound)?)))
                .collect::<Option<Vec<_>>>(),
            bound => scalar(bound).map(|bound| vec![format!("{name}={bound}")]),
        };
        let form = || wrong(name, "METRIC = NUMBER, or METRIC = NUMBER in [gates.OUTPUT]", value.get_ref());
        gates.extend(texts.ok_or_else(|| source.at(&key.span(), form()))?);
        for gate in &gates {
            gate.parse::<crate::validate::Gate>().map_err(|error| source.at(&key.span(), error))?;
        }
    }
    Ok(gates)
}

/// The shapes of inputs: `x = "1x3x224x224"` or `x = [1, 3, "?", "W"]`.
pub(super) fn shapes(section: &Section, source: Source<'_>) -> Result<Vec<String>> {
    let shape = |value: &Value| match value {
        Value::Array(extents) => extents.iter().map(scalar).collect::<Option<Vec<_>>>().map(|parts| parts.join("x")),
        value => scalar(value),
    };
    named(section, source, ':', "a shape, as in \"1x3x224x224\" or [1, 3, \"?\", \"W\"]", shape)
}

/// Extents or new names of dimensions: `N = 1`.
pub(super) fn dims(section: &Section, source: Source<'_>) -> Result<Vec<String>> {
    named(section, source, '=', "a number, or a name", scalar)
}

fn named(
    section: &Section,
    source: Source<'_>,
    separator: char,
    expected: &str,
    read: impl Fn(&Value) -> Option<String>,
) -> Result<Vec<String>> {
    let one = |(key, value): (&toml::Spanned<String>, &toml::Spanned<Value>)| {
        let text = read(value.get_ref()).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| source.at(&key.span(), wrong(key.get_ref(), expected, value.get_ref())))?;
        Ok(format!("{}{separator}{text}", key.get_ref()))
    };
    section.iter().map(one).collect()
}
