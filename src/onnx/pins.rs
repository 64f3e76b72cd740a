//! Values that parts of a file besides its operators refer to by name, so that they must stay and keep their names.

use super::proto::{
    GraphProto, NodeDeviceConfigurationProto, StringStringEntryProto, TensorAnnotation, TrainingInfoProto,
};

/// The names in a list of quantization annotations.
pub(crate) fn in_annotations(annotations: &[TensorAnnotation]) -> Vec<String> {
    let mut names = Vec::new();
    for annotation in annotations {
        names.push(annotation.tensor_name().to_owned());
        names.extend(annotation.quant_parameter_tensor_names.iter().map(|entry| entry.value().to_owned()));
    }
    names
}

/// The names in the device configurations of one operator.
pub(crate) fn in_devices(configurations: &[NodeDeviceConfigurationProto]) -> Vec<String> {
    let specs = configurations.iter().flat_map(|configuration| &configuration.sharding_spec);
    specs.map(|spec| spec.tensor_name().to_owned()).collect()
}

/// Every name in a training section. Its graphs see the values of the main graph, so each name may be one of those.
pub(crate) fn in_training(sections: &[TrainingInfoProto]) -> Vec<String> {
    let mut names = Vec::new();
    for section in sections {
        for graph in section.initialization.iter().chain(&section.algorithm) {
            in_graph(graph, &mut names);
        }
        for StringStringEntryProto { key, value } in
            section.initialization_binding.iter().chain(&section.update_binding)
        {
            names.extend(key.iter().chain(value).cloned());
        }
    }
    names
}

fn in_graph(graph: &GraphProto, names: &mut Vec<String>) {
    for node in &graph.node {
        names.extend(node.input.iter().cloned());
        for attribute in &node.attribute {
            attribute.g.as_deref().into_iter().chain(&attribute.graphs).for_each(|inner| in_graph(inner, names));
        }
    }
    names.extend(graph.output.iter().map(|output| output.name().to_owned()));
}
