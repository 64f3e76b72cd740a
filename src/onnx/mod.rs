//! ONNX files: the schema, decoding, encoding, side files.

mod decode;
mod encode;
pub(crate) mod external;
mod foreign;
pub(crate) mod mmap;
pub(crate) mod pins;
pub mod proto;
mod rope;
pub(crate) mod types;

pub(crate) use decode::from_proto;
pub use decode::{decode, read};
pub(crate) use encode::value_infos;
pub use encode::{EncodeOptions, Encoded, encode};
