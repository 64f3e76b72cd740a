//! Repairs: changes that make integer arithmetic more exact and need no labels, only runs on calibration data.
//!
//! | repair | what it does | cost when the model runs |
//! |---|---|---|
//! | [`equalize`] | gives the channels of an activation much the same range, before anything is quantized | none |
//! | [`rounding`] | rounds weights so that they make up for each other's errors on what they are multiplied with | none |
//! | [`bias`] | takes the mean error that quantization leaves in each channel out of the bias | none |
//!
//! Each is used where the outputs come out closer to the float model's with it than without, on calibration data.

pub(super) mod bias;
pub(super) mod equalize;
mod groups;
mod noise;
pub(super) mod rounding;
mod rows;
