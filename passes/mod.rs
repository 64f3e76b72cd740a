//! The passes, one a file, and the registry of all of them.

mod dce;
mod dedup_initializers;
mod eliminate_identity;
mod fold_constants;
mod fuse_bn;
mod inline_if;
mod prune;
mod quant8;
mod strip;

use crate::pass::PassInfo;

/// Every pass, in the order in which lists show them.
pub const ALL: &[PassInfo] = &[
    dce::INFO,
    eliminate_identity::INFO,
    fold_constants::INFO,
    inline_if::INFO,
    dedup_initializers::INFO,
    strip::INFO,
    fuse_bn::INFO,
    prune::INFO,
    quant8::INFO,
];

/// The pass of that name.
pub fn find(name: &str) -> Option<&'static PassInfo> {
    ALL.iter().find(|info| info.name == name)
}
