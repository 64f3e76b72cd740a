//! The passes, one a file, and the registry of all of them.

mod bf16;
mod channels;
mod cluster;
mod common;
mod compress;
mod dce;
mod dedup_initializers;
mod eliminate_carried;
mod eliminate_common;
mod eliminate_identity;
mod eliminate_nop;
mod fold_constants;
mod fold_reshape;
mod fp16;
mod freeze_defaults;
mod fuse_activations;
mod fuse_arithmetic;
mod fuse_bn;
mod fuse_chains;
mod fuse_conv;
mod fuse_pad;
mod generate;
mod inline_if;
mod inline_loop;
mod keep;
mod layers;
mod lowrank;
mod prune;
mod quant4;
mod quant8;
mod set_dim;
mod set_shape;
mod strip;
mod ternary;
mod upgrade_opset;

use crate::pass::PassInfo;

/// Every pass, in the order in which lists show them.
pub const ALL: &[PassInfo] = &[
    set_shape::INFO,
    set_dim::INFO,
    keep::INFO,
    freeze_defaults::INFO,
    upgrade_opset::INFO,
    inline_if::INFO,
    inline_loop::INFO,
    fold_constants::INFO,
    fold_reshape::INFO,
    dce::INFO,
    eliminate_identity::INFO,
    eliminate_nop::INFO,
    eliminate_carried::INFO,
    eliminate_common::INFO,
    dedup_initializers::INFO,
    fuse_chains::INFO,
    fuse_bn::INFO,
    fuse_conv::INFO,
    fuse_pad::INFO,
    fuse_activations::INFO,
    fuse_arithmetic::INFO,
    strip::INFO,
    prune::INFO,
    layers::INFO,
    channels::INFO,
    quant8::INFO,
    quant8::quant16::INFO,
    quant4::INFO,
    cluster::INFO,
    ternary::INFO,
    lowrank::INFO,
    generate::INFO,
    compress::INFO,
    fp16::INFO,
    bf16::INFO,
];

/// The pass of that name.
pub fn find(name: &str) -> Option<&'static PassInfo> {
    ALL.iter().find(|info| info.name == name)
}
