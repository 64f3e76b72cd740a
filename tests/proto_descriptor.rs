//! Compares `proto/onnx.proto` with the schema inside the installed `onnx` Python package.
//!
//! Our schema is written by hand. A wrong field number or a missing `packed` would go unnoticed
//! by tests that read what we wrote ourselves, so the official library's descriptor is the judge.

#![allow(clippy::expect_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use protox::prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// What a schema says, as `tests/proto_descriptor.py` prints it: a key for each message, field and
/// enum value, with everything about it that matters in a file.
type Facts = BTreeMap<String, String>;

/// The exit status of the script when the package is not installed.
const NOT_INSTALLED: i32 = 3;

#[test]
fn schema_matches_the_official_one() {
    let ours = our_facts();
    let (theirs, release) = match official_facts() {
        Ok(found) => found,
        Err(reason) => return skip(&reason),
    };

    let newest = |facts: &Facts| facts.get("enum .onnx.Version value IR_VERSION").cloned();
    let differences = differences(&ours, &theirs);
    assert!(
        differences.is_empty(),
        "proto/onnx.proto (IR_VERSION {}) and {release} (IR_VERSION {}) differ in {} places:\n{}",
        newest(&ours).unwrap_or_default(),
        newest(&theirs).unwrap_or_default(),
        differences.len(),
        differences.join("\n"),
    );
}

/// The comparison is only worth something if it notices; this needs no Python.
#[test]
fn differences_are_found_in_both_directions() {
    let ours = our_facts();
    assert_eq!(differences(&ours, &ours), Vec::<String>::new());

    let field = "message .onnx.TensorProto field float_data";
    let packed = ours.get(field).expect("the schema has float_data");
    assert_eq!(packed, "number=4 label=LABEL_REPEATED type=TYPE_FLOAT type_name=- packed=true oneof=- default=-");

    let mut theirs = ours.clone();
    theirs.remove("enum .onnx.TensorProto.DataType value INT4");
    theirs.insert("message .onnx.GraphProto field extra".into(), "number=99".into());
    theirs.insert(field.into(), packed.replace("packed=true", "packed=false"));
    assert_eq!(
        differences(&ours, &theirs),
        [
            "only in proto/onnx.proto: enum .onnx.TensorProto.DataType value INT4 (number=22)".to_owned(),
            "only in the official schema: message .onnx.GraphProto field extra (number=99)".to_owned(),
            format!(
                "{field}:\n    ours:     {packed}\n    official: {}",
                packed.replace("packed=true", "packed=false")
            ),
        ]
    );
}

/// On a developer's machine the package is optional; in continuous integration a comparison that
/// never ran must not look like one that passed.
fn skip(reason: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "cannot compare with the official schema: {reason}");
    // Not `eprintln!`: the test harness would swallow the line of a test that passes.
    let _ = writeln!(io::stderr(), "SKIPPED schema_matches_the_official_one: {reason}");
}

fn differences(ours: &Facts, theirs: &Facts) -> Vec<String> {
    let mut keys: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter_map(|key| match (ours.get(key), theirs.get(key)) {
            (Some(a), Some(b)) if a == b => None,
            (Some(a), Some(b)) => Some(format!("{key}:\n    ours:     {a}\n    official: {b}")),
            (Some(a), None) => Some(format!("only in proto/onnx.proto: {key} ({a})")),
            (None, Some(b)) => Some(format!("only in the official schema: {key} ({b})")),
            (None, None) => None,
        })
        .collect()
}

/// The facts of the `onnx` package and its release, or why there are none.
fn official_facts() -> Result<(Facts, String), String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proto_descriptor.py");
    let mut reasons = String::new();
    for python in interpreters() {
        let shown = python.display();
        let separator = if reasons.is_empty() { "" } else { "; " };
        let output = match Command::new(&python).arg(&script).output() {
            Ok(output) => output,
            Err(error) => {
                write!(reasons, "{separator}cannot run {shown}: {error}").expect("a string takes any text");
                continue;
            }
        };
        let stderr = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(NOT_INSTALLED) {
            write!(reasons, "{separator}{shown}: {}", stderr.trim()).expect("a string takes any text");
            continue;
        }
        // Python ran and the package is there: anything else that goes wrong is a failure.
        assert!(output.status.success(), "{shown} {} failed ({}):\n{stderr}", script.display(), output.status);

        let stdout = String::from_utf8(output.stdout).expect("the script prints UTF-8");
        let mut facts = Facts::new();
        for line in stdout.lines() {
            let (key, value) = line.split_once('\t').expect("every line has a key, a tab and a value");
            add(&mut facts, key.to_owned(), value.to_owned());
        }
        return Ok((facts, stderr.trim().to_owned()));
    }
    Err(reasons)
}

/// The interpreters to try, in this order. One named by `PYTHON` is the only one: whoever names it
/// wants that one compared.
fn interpreters() -> Vec<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(python) = set("PYTHON") {
        return vec![python];
    }
    let program = if cfg!(windows) { r"Scripts\python.exe" } else { "bin/python" };
    set("VIRTUAL_ENV").map(|root| root.join(program)).into_iter().chain([PathBuf::from("python3")]).collect()
}

fn our_facts() -> Facts {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let set = protox::compile(["onnx.proto"], [&folder]).expect("proto/onnx.proto compiles");
    let [file] = set.file.as_slice() else {
        unreachable!("the schema imports nothing, so there is one file");
    };
    let mut facts = Facts::new();
    file_facts(&mut facts, file);
    facts
}

fn file_facts(facts: &mut Facts, file: &FileDescriptorProto) {
    // proto2 is the default, and compilers leave it out.
    let syntax = file.syntax.as_deref().filter(|syntax| !syntax.is_empty()).unwrap_or("proto2");
    add(facts, "file syntax".into(), syntax.into());
    add(facts, "file package".into(), file.package().into());
    let scope = format!(".{}", file.package());
    for item in &file.enum_type {
        enum_facts(facts, item, &scope);
    }
    for message in &file.message_type {
        message_facts(facts, message, &scope);
    }
}

fn enum_facts(facts: &mut Facts, item: &EnumDescriptorProto, scope: &str) {
    let name = format!("{scope}.{}", item.name());
    add(facts, format!("enum {name}"), "present".into());
    for value in &item.value {
        add(facts, format!("enum {name} value {}", value.name()), format!("number={}", value.number()));
    }
}

fn message_facts(facts: &mut Facts, message: &DescriptorProto, scope: &str) {
    let name = format!("{scope}.{}", message.name());
    add(facts, format!("message {name}"), "present".into());
    for oneof in &message.oneof_decl {
        add(facts, format!("message {name} oneof {}", oneof.name()), "present".into());
    }
    for reserved in &message.reserved_range {
        for number in reserved.start()..reserved.end() {
            add(facts, format!("message {name} reserved number {number}"), "present".into());
        }
    }
    for reserved in &message.reserved_name {
        add(facts, format!("message {name} reserved name {reserved}"), "present".into());
    }
    for field in &message.field {
        add(facts, format!("message {name} field {}", field.name()), field_value(message, field));
    }
    for item in &message.enum_type {
        enum_facts(facts, item, &name);
    }
    for nested in &message.nested_type {
        message_facts(facts, nested, &name);
    }
}

fn field_value(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let oneof = match field.oneof_index {
        None => "-",
        Some(index) => usize::try_from(index)
            .ok()
            .and_then(|index| message.oneof_decl.get(index))
            .expect("a field's oneof is declared in its message")
            .name(),
    };
    // Through the enums, so that an unknown number fails here and not as a puzzling difference.
    let label = Label::try_from(field.label.unwrap_or_default()).expect("a known label");
    let kind = Type::try_from(field.r#type.unwrap_or_default()).expect("a known type");
    format!(
        "number={} label={} type={} type_name={} packed={} oneof={oneof} default={}",
        field.number(),
        label.as_str_name(),
        kind.as_str_name(),
        or_dash(field.type_name()),
        field.options.as_ref().is_some_and(|options| options.packed()),
        or_dash(field.default_value()),
    )
}

/// Adds a fact; two with one key would hide each other, and with them a difference.
fn add(facts: &mut Facts, key: String, value: String) {
    let twice = facts.insert(key.clone(), value);
    assert!(twice.is_none(), "{key} is described twice");
}
