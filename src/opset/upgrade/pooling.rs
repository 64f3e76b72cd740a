//! `AveragePool`.

use super::spot::Spot;
use crate::error::Result;

/// `AveragePool` of opset 19 says what a window that `ceil_mode` adds at the end divides by: where padding counts, what
/// lies beyond it does not. Before, runtimes took the size of the kernel.
pub(super) fn average(spot: &mut Spot<'_>) -> Result<bool> {
    if spot.int("ceil_mode", 0)? != 0 && spot.int("count_include_pad", 0)? != 0 {
        return Err(
            spot.refuse("it counts padding and rounds its size up, where old and new versions divide differently")
        );
    }
    Ok(false)
}
