//! gate
use crate::error::Result;
use crate::onnx::proto::ModelProto;

/// check
pub fn check(_model: &ModelProto) -> Result<()> {
    Ok(())
}
