//! Taking a part out of a graph, to run it on its own: values become inputs, and inputs go. Changes the signature.

use super::broken;
use crate::error::Result;
use crate::ir::graph::{Graph, ValueId};
use crate::ir::signature::ValueType;
use crate::onnx::proto::ValueInfoProto;
use crate::onnx::types;

impl Graph {
    /// Makes a value that nothing defines an input of the graph, of the type it has.
    ///
    /// # Errors
    /// Fails where the value is defined, or nothing is known of its type.
    pub fn make_input(&mut self, value: ValueId) -> Result<()> {
        let is_defined = self.producer(value).is_some();
        let held = self.value_mut(value)?;
        if is_defined || held.is_input || held.init.is_some() || held.is_outer {
            return Err(broken(format!("`{}` is defined already", held.name())));
        }
        if held.ty == ValueType::Unknown {
            return Err(broken(format!("the type of `{}` is not known", held.name())));
        }
        let info = ValueInfoProto {
            name: Some(held.name.to_string()),
            r#type: types::to_proto(&held.ty),
            ..ValueInfoProto::default()
        };
        held.info = Some(Box::new(info));
        held.is_input = true;
        self.inputs.push(value);
        Ok(())
    }

    /// Removes the inputs that nothing reads.
    ///
    /// # Errors
    /// Fails where an edit does.
    pub fn drop_unread_inputs(&mut self) -> Result<()> {
        for input in self.inputs.clone() {
            if self.is_unread(input) {
                self.inputs.retain(|&other| other != input);
                self.value_mut(input)?.is_input = false;
                self.remove_value(input)?;
            }
        }
        Ok(())
    }
}
