//! Attributes of a node, with the defaults of the specification.
//!
//! `version` is that of the operator set of the node's domain, as the model or the function around the node imports it.
//! The typed forms answer `None` where the attribute has another type than asked for, and inside a function where the
//! caller of the function sets the value.

use bytes::Bytes;

use super::table::schema;
use crate::ir::{AttrRef, Node};

/// The attribute of that name: what the node says, else the default of the node's operator in that version.
pub fn attribute<'a>(node: &'a Node, name: &str, version: i64) -> Option<AttrRef<'a>> {
    let default = || schema(node.domain(), node.op_type(), version)?.attribute(name)?.default();
    node.attr(name).or_else(default)
}

/// An integer attribute, or its default.
pub fn int(node: &Node, name: &str, version: i64) -> Option<i64> {
    match attribute(node, name, version)? {
        AttrRef::Int(value) => Some(value),
        _ => None,
    }
}

/// A float attribute, or its default.
pub fn float(node: &Node, name: &str, version: i64) -> Option<f32> {
    match attribute(node, name, version)? {
        AttrRef::Float(value) => Some(value),
        _ => None,
    }
}

/// A list of integers, or its default.
pub fn ints<'a>(node: &'a Node, name: &str, version: i64) -> Option<&'a [i64]> {
    match attribute(node, name, version)? {
        AttrRef::Ints(values) => Some(values),
        _ => None,
    }
}

/// A list of floats, or its default.
pub fn floats<'a>(node: &'a Node, name: &str, version: i64) -> Option<&'a [f32]> {
    match attribute(node, name, version)? {
        AttrRef::Floats(values) => Some(values),
        _ => None,
    }
}

/// A list of byte strings, or its default.
pub fn strings<'a>(node: &'a Node, name: &str, version: i64) -> Option<&'a [Bytes]> {
    match attribute(node, name, version)? {
        AttrRef::Strings(values) => Some(values),
        _ => None,
    }
}

/// A UTF-8 string attribute, or its default.
pub fn string<'a>(node: &'a Node, name: &str, version: i64) -> Option<&'a str> {
    match attribute(node, name, version)? {
        AttrRef::String(value) => std::str::from_utf8(value).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::NodeSpec;
    use crate::opset::Arity;

    fn node(spec: NodeSpec) -> Node {
        Node { proto: spec.proto, attributes: spec.attributes, ..Node::default() }
    }

    #[test]
    fn a_node_speaks_before_its_operator() {
        let bn = node(NodeSpec::new("BatchNormalization").attr("momentum", 0.5));
        assert_eq!(float(&bn, "momentum", 15), Some(0.5));
        assert_eq!(float(&bn, "epsilon", 15), Some(1e-5));
        assert_eq!(int(&bn, "training_mode", 15), Some(0));
        assert_eq!(int(&bn, "spatial", 8), Some(1));
        assert_eq!(int(&bn, "spatial", 9), None);
        assert_eq!(int(&bn, "epsilon", 15), None, "a float is no integer");
    }

    #[test]
    fn defaults_follow_the_version() {
        let softmax = node(NodeSpec::new("Softmax"));
        assert_eq!(int(&softmax, "axis", 11), Some(1));
        assert_eq!(int(&softmax, "axis", 13), Some(-1));
        let clip = node(NodeSpec::new("Clip"));
        assert_eq!(float(&clip, "max", 6), Some(f32::MAX));
        assert_eq!(float(&clip, "max", 11), None);
    }

    #[test]
    fn every_kind_of_default_is_there() {
        let lstm = node(NodeSpec::new("LSTM"));
        assert_eq!(string(&lstm, "direction", 14), Some("forward"));
        assert_eq!(strings(&lstm, "activations", 14), None);
        let rnn = node(NodeSpec::new("RNN"));
        assert_eq!(strings(&rnn, "activations", 14), Some([Bytes::from("Tanh"), Bytes::from("Tanh")].as_slice()));
        let mvn = node(NodeSpec::new("MeanVarianceNormalization"));
        assert_eq!(ints(&mvn, "axes", 13), Some([0, 2, 3].as_slice()));
        assert_eq!(floats(&lstm, "activation_alpha", 14), None);
        let conv = node(NodeSpec::new("Conv").domain("com.example"));
        assert_eq!(int(&conv, "group", 11), None, "the Conv of another domain");
    }

    #[test]
    fn an_attribute_may_turn_into_an_input() {
        let squeeze = |version| schema("", "Squeeze", version).unwrap();
        assert!(squeeze(11).attribute("axes").is_some() && squeeze(11).inputs.len() == 1);
        assert!(squeeze(13).attribute("axes").is_none());
        let axes = squeeze(13).input(1).unwrap();
        assert_eq!((axes.name, axes.arity), ("axes", Arity::Optional));
        assert_eq!((squeeze(13).min_inputs(), squeeze(13).max_inputs()), (1, Some(2)));
    }
}
