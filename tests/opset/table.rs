//! The table of operators against the packages it was made from.

use std::collections::BTreeSet;

use onnx_shrink::ir::AttrRef;
use onnx_shrink::opset::{self, Arity, Formal, Schema};

use crate::support::corpus;

const TABLE: &str = include_str!("../../src/opset/operators.txt");

#[test]
fn the_table_says_what_the_installed_packages_say() {
    let Some(output) = crate::run("opset/table.py", &[], &["onnx", "onnxruntime"]) else { return };
    let mut theirs = BTreeSet::new();
    for line in output.lines() {
        match line.split_once(' ') {
            Some(("package", package)) => {
                let recorded = TABLE.lines().any(|header| header.strip_prefix("# ") == Some(package));
                if !recorded {
                    return corpus::skip(&format!("the table was made with another release than {package}"));
                }
            }
            Some(("newest", version)) => assert_eq!(version, opset::latest_opset().to_string()),
            _ => assert!(theirs.insert(line.to_owned()), "twice in the packages: {line}"),
        }
    }
    let ours: BTreeSet<String> = opset::all().flat_map(facts).collect();
    let only_ours = ours.difference(&theirs).map(|line| format!("  table only:    {line}"));
    let only_theirs = theirs.difference(&ours).map(|line| format!("  packages only: {line}"));
    let differences: Vec<String> = only_ours.chain(only_theirs).collect();
    assert!(ours.len() > 8000, "only {} facts", ours.len());
    assert!(differences.is_empty(), "{} differences\n{}", differences.len(), differences.join("\n"));
}

/// A record in the lines of `table.py`.
fn facts(schema: &'static Schema) -> Vec<String> {
    let most = |limit: Option<usize>| limit.map_or("none".to_owned(), |limit| limit.to_string());
    let mut facts = vec![
        format!("deprecated={}", python_bool(schema.deprecated)),
        format!("inputs {}..{}", schema.min_inputs(), most(schema.max_inputs())),
        format!("outputs {}..{}", schema.min_outputs(), most(schema.max_outputs())),
    ];
    if schema.domain != "com.microsoft" {
        facts.push(format!("function={}", python_bool(schema.has_function)));
        facts.push(format!("nondeterministic={}", python_bool(schema.nondeterministic)));
    }
    for attribute in &schema.attributes {
        let default = attribute.default().map_or(String::new(), |value| format!("={}", default_text(value)));
        facts.push(format!(
            "attr {} {} required={} default{default}",
            attribute.name,
            attribute.kind.name().to_uppercase(),
            python_bool(attribute.required)
        ));
    }
    for (side, formals) in [("in", &schema.inputs), ("out", &schema.outputs)] {
        facts.extend(formals.iter().enumerate().map(|(place, formal)| formal_text(side, place, formal, schema)));
    }
    let key = format!("{}:{}:{}", schema.domain, schema.op_type, schema.since_version);
    facts.into_iter().map(|fact| format!("{key} {fact}")).collect()
}

fn formal_text(side: &str, place: usize, formal: &Formal, schema: &Schema) -> String {
    let types: BTreeSet<String> = schema.types(formal).iter().map(ToString::to_string).collect();
    let plain = format!("tensor({})", formal.type_name);
    let variable = if types.len() == 1 && types.contains(&plain) { "" } else { formal.type_name };
    let arity = match formal.arity {
        Arity::Single => "Single",
        Arity::Optional => "Optional",
        Arity::Variadic { .. } => "Variadic",
    };
    let types = types.into_iter().collect::<Vec<_>>().join(",");
    let homogeneous = python_bool(formal.homogeneous);
    format!("{side} {place} {} {arity} homogeneous={homogeneous} var={variable} {types}", formal.name)
}

fn default_text(value: AttrRef<'_>) -> String {
    let bits = |value: &f32| format!("{:08x}", value.to_bits());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match value {
        AttrRef::Float(value) => bits(&value),
        AttrRef::Int(value) => value.to_string(),
        AttrRef::String(value) => text(value),
        AttrRef::Floats(values) => values.iter().map(bits).collect::<Vec<_>>().join("|"),
        AttrRef::Ints(values) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join("|"),
        AttrRef::Strings(values) => values.iter().map(|value| text(value)).collect::<Vec<_>>().join("|"),
        other => panic!("a default that the table cannot hold: {other:?}"),
    }
}

fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
