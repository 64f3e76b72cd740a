//! Reads one record of `operators.txt`; `operators.py` describes the format.
//!
//! The file is part of this crate and tests parse all of it, so that "no record" is answer enough for a line that is not
//! as it should be.

use bytes::Bytes;

use super::schema::{AllowedType, Arity, AttrKind, AttrSchema, Formal, Schema};
use crate::ir::{AttrValue, Attribute, DType};

/// The first line of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) domain: &'static str,
    pub(super) op_type: &'static str,
    pub(super) since_version: i64,
}

impl Key {
    /// Reads `[DOMAIN.]NAME VERSION FLAG..`.
    pub(super) fn parse(header: &'static str) -> Option<Self> {
        let mut words = header.split_whitespace();
        let (domain, op_type) = words.next().map(|name| name.rsplit_once('.').unwrap_or(("", name)))?;
        Some(Self { domain, op_type, since_version: words.next()?.parse().ok()? })
    }
}

/// Element types that come together: a name and its members.
pub(super) type Group = (&'static str, Vec<DType>);

/// Reads `NAME = TYPE..`.
pub(super) fn group(line: &'static str) -> Option<Group> {
    let (name, members) = line.split_once(" = ")?;
    Some((name, members.split_whitespace().map(DType::from_name).collect::<Option<_>>()?))
}

/// Reads a record: the header without its `op`, then the lines below it.
pub(super) fn schema(record: &'static str, groups: &[Group]) -> Option<Schema> {
    let mut lines = record.lines();
    let header = lines.next()?;
    let Key { domain, op_type, since_version } = Key::parse(header)?;
    let has_flag = |flag| header.split_whitespace().skip(2).any(|word| word == flag);
    let mut schema = Schema {
        domain,
        op_type,
        since_version,
        deprecated: has_flag("deprecated"),
        has_function: has_flag("function"),
        nondeterministic: has_flag("nondeterministic"),
        attributes: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        types: Vec::new(),
    };
    for line in lines {
        let (what, rest) = line.trim().split_once(' ')?;
        match what {
            "attr" => schema.attributes.push(attribute(rest)?),
            "in" => schema.inputs.push(formal(rest)?),
            "out" => schema.outputs.push(formal(rest)?),
            "type" => {
                let (name, types) = rest.split_once(" = ")?;
                schema.types.push((name, allowed_types(types, groups)?));
            }
            _ => return None,
        }
    }
    name_plain_types(&mut schema)?;
    Some(schema)
}

/// Inputs and outputs name a type variable or a type; the latter get an entry among the types too.
fn name_plain_types(schema: &mut Schema) -> Option<()> {
    for formal in schema.inputs.iter().chain(&schema.outputs) {
        if schema.types.iter().all(|(name, _)| *name != formal.type_name) {
            schema.types.push((formal.type_name, allowed_types(formal.type_name, &[])?));
        }
    }
    Some(())
}

/// Reads `NAME KIND [required | = DEFAULT]`.
fn attribute(line: &'static str) -> Option<AttrSchema> {
    let (declared, default) = match line.split_once(" = ") {
        Some((declared, default)) => (declared, Some(default)),
        None => (line, None),
    };
    let mut words = declared.split(' ');
    let name = words.next()?;
    let kind = AttrKind::from_name(words.next()?)?;
    let required = words.next() == Some("required");
    let default = match default {
        Some(text) => Some(Attribute::new(name, value(kind, text)?)),
        None => None,
    };
    Some(AttrSchema { name, kind, required, default })
}

fn value(kind: AttrKind, text: &'static str) -> Option<AttrValue> {
    // Strings hold neither quotes nor commas: `operators.py` sees to it.
    let string =
        |quoted: &'static str| Some(Bytes::from_static(quoted.strip_prefix('"')?.strip_suffix('"')?.as_bytes()));
    match kind {
        AttrKind::Int => text.parse().ok().map(AttrValue::Int),
        AttrKind::Float => text.parse().ok().map(AttrValue::Float),
        AttrKind::String => string(text).map(AttrValue::String),
        AttrKind::Ints => list(text)?.map(|item| item.parse().ok()).collect::<Option<_>>().map(AttrValue::Ints),
        AttrKind::Floats => list(text)?.map(|item| item.parse().ok()).collect::<Option<_>>().map(AttrValue::Floats),
        AttrKind::Strings => list(text)?.map(string).collect::<Option<_>>().map(AttrValue::Strings),
        _ => None,
    }
}

fn list(text: &'static str) -> Option<impl Iterator<Item = &'static str>> {
    let items = text.strip_prefix('[')?.strip_suffix(']')?;
    Some(items.split(", ").filter(|item| !item.is_empty()))
}

/// Reads `NAME TYPE [optional | variadic MIN [mixed]]`.
fn formal(line: &'static str) -> Option<Formal> {
    let mut words = line.split(' ');
    let (name, type_name) = (words.next()?, words.next()?);
    let arity = match words.next() {
        None => Arity::Single,
        Some("optional") => Arity::Optional,
        Some("variadic") => Arity::Variadic { min: words.next()?.parse().ok()? },
        Some(_) => return None,
    };
    Some(Formal { name, arity, homogeneous: words.next() != Some("mixed"), type_name })
}

fn allowed_types(words: &str, groups: &[Group]) -> Option<Vec<AllowedType>> {
    let mut types = Vec::new();
    for word in words.split_whitespace() {
        types.extend(expand(word, groups)?);
    }
    types.sort_unstable();
    Some(types)
}

/// The types one word stands for: a type, a group of types, or either inside `seq(..)` and the like.
fn expand(word: &str, groups: &[Group]) -> Option<Vec<AllowedType>> {
    if let Some((outer, inner)) = word.strip_suffix(')').and_then(|open| open.split_once('(')) {
        let (key, inner) = inner.split_once(',').filter(|_| outer == "map").unwrap_or(("", inner));
        let wrap = |element: AllowedType| match (outer, element) {
            ("seq", element) => Some(AllowedType::Sequence(Box::new(element))),
            ("optional", element) => Some(AllowedType::Optional(Box::new(element))),
            ("map", element) => Some(AllowedType::Map(DType::from_name(key)?, Box::new(element))),
            ("sparse_tensor", AllowedType::Tensor(dtype)) => Some(AllowedType::SparseTensor(dtype)),
            _ => None,
        };
        return expand(inner, groups)?.into_iter().map(wrap).collect();
    }
    if let Some((_, members)) = groups.iter().find(|(name, _)| *name == word) {
        return Some(members.iter().copied().map(AllowedType::Tensor).collect());
    }
    Some(vec![AllowedType::Tensor(DType::from_name(word)?)])
}
