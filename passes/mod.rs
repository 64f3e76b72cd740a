//! The passes, one a file, and the registry of all of them.

mod quant8;

use crate::pass::PassInfo;

/// Every pass, in the order in which lists show them.
pub const ALL: &[PassInfo] = &[quant8::INFO];

/// The pass of that name.
pub fn find(name: &str) -> Option<&'static PassInfo> {
    ALL.iter().find(|info| info.name == name)
}
