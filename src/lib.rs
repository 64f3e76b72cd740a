//! onnx-shrink makes ONNX models smaller and faster, proves how far the result drifted, and refuses to ship a worse file.
//!
//! # The way of the data
//! ```text
//! file --onnx::read--> ir::Model --pass::manager--> ir::Model --onnx::encode--> file --shrink--> judged, renamed
//!       mapped, not copied        each pass checked            streamed              original against result,
//!                                                                                   through a backend
//! ```
//!
//! # Where things are
//! | module | what it holds |
//! |---|---|
//! | [`shrink`], [`check`], [`inspect`] | what the commands do; start here |
//! | [`ir`] | the graph: queries, edits, structural check, textual syntax |
//! | [`onnx`] | files: decoding without copies, streaming encoding, side files |
//! | [`opset`] | facts about operators and their versions, and how to raise a model to a newer one |
//! | [`infer`] | types, shapes and small contents of values |
//! | [`pass`] | what a pass is; [`pass::pipeline`] parses `-p`, [`pass::manager`] runs it |
//! | [`passes`] | the passes, one a file, and the registry of them |
//! | [`backend`] | runtimes that execute a model: tract and ONNX Runtime |
//! | [`data`] | calibration and evaluation inputs |
//! | [`calib`] | second moments of what layers read, measured on calibration inputs |
//! | [`validate`] | drift: metrics, noise floor, gates |
//! | [`layers`] | where drift is born, layer by layer |
//! | [`report`] | the report of a run as JSON, Markdown and HTML |
//! | [`privacy`] | what a written model tells besides what it computes |
//! | [`recipe`] | a run in a TOML file: read, or written for a model |
//! | [`search`] | many pipelines on one model: sweeps, and the best one within a budget |
//! | [`reduce`] | a failing model cut down to what makes it fail |
//! | [`verify`] | whether a file is what its own pipeline makes of the original |
//! | [`container`] | `.onnxz`: a model packed without loss |
//! | [`output`] | writing a file so that nobody sees half of it |
//! | [`error`] | one error type that says what, where, and what to do |
//!
//! # Example
//! ```no_run
//! use onnx_shrink::pass::NoProgress;
//! use onnx_shrink::shrink::{ShrinkOptions, shrink};
//!
//! let mut options = ShrinkOptions::new("simplify,quant8".parse()?);
//! options.output = Some("small.onnx".into());
//! options.gates = vec!["snr=30".parse()?];
//! let shrunk = shrink("model.onnx".as_ref(), &options, &NoProgress)?;
//! match shrunk.refusal {
//!     None => assert!(shrunk.report.written),
//!     Some(reason) => eprintln!("not written: {reason}"),
//! }
//! # Ok::<(), onnx_shrink::Error>(())
//! ```

pub mod backend;
pub mod calib;
pub mod census;
pub mod channels;
pub mod check;
pub mod container;
pub mod data;
mod digest;
pub mod error;
pub mod infer;
pub mod input;
pub mod inspect;
pub mod ir;
pub mod layers;
pub mod onnx;
pub mod opset;
pub mod output;
pub mod pass;
#[path = "../passes/mod.rs"]
pub mod passes;
pub mod privacy;
pub mod recipe;
pub mod reduce;
pub mod report;
pub mod search;
pub mod shrink;
mod units;
pub mod validate;
pub mod verify;

pub use error::{Error, ErrorKind, Result, Site};
