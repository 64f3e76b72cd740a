//! What several passes share: facts about values, edits that clean up behind them, shapes, folding of arithmetic into
//! weights, roles of constants and other forms of storing them, values for them to share, fitting what is left of weights, and the choice of what to
//! quantize less.

pub(super) mod affine;
pub(super) mod balance;
pub(super) mod bias;
pub(super) mod choose;
pub(super) mod drift;
pub(super) mod edit;
pub(super) mod ends;
pub(super) mod exclude;
pub(super) mod facts;
pub(super) mod feedback;
pub(super) mod fitted;
pub(super) mod glob;
pub(super) mod goal;
pub(super) mod half;
pub(super) mod holdout;
pub(super) mod inferred;
pub(super) mod inline;
pub(super) mod kmeans;
pub(super) mod layout;
pub(super) mod least_squares;
pub(super) mod lookup;
pub(super) mod merge;
pub(super) mod narrow;
mod optimal;
pub(super) mod packing;
pub(super) mod pattern;
pub(super) mod producer;
pub(super) mod reduction;
pub(super) mod role;
pub(super) mod rows;
pub(super) mod size;
pub(super) mod sparse;
pub(super) mod stages;
pub(super) mod stored;
pub(super) mod trial;
pub(super) mod wanted;
pub(super) mod weights;
pub(super) mod within;
