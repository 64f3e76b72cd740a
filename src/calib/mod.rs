//! Second moments of what layers read, measured by running a model on calibration data.
//!
//! A layer multiplies rows of numbers by a matrix of weights. To first order, what changing its weights does to its output
//! depends on the rows only through `E[x x^T]`: the Hessian of the squared error, which methods that round or remove
//! weights one by one need (GPTQ, SparseGPT, Optimal Brain Surgeon).
//!
//! ```text
//! Conv(x, w)    rows: patches of the image, one set of moments for each group
//! Gemm(x, w)    rows: those of x, or its columns where it is transposed
//! MatMul(x, w)  rows: those of x, over all leading axes
//! ```
//!
//! Only sums are kept, so memory does not grow with the number of samples. Samples run in parallel and are added up in
//! their order, so the result does not depend on the number of threads.

mod gram;
mod idle;
mod layer;
mod measure;
mod pair;
mod runner;
mod session;
mod unfold;

pub use gram::Gram;
pub use idle::Idle;
pub use layer::{Layer, layer_of};
pub use measure::{Moments, measure, measure_without, rounds};
pub use pair::{PairGram, PairMoments, measure_pairs, measure_pairs_without};
pub(crate) use runner::{Ran, Runner};
pub(crate) use session::{load_fastest, load_model};
