//! What tract infers of a model that has no `value_info`.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use prost::Message;
use tract_onnx::prelude::InferenceModelExt;
use tract_onnx::tract_hir::infer::{Factoid, InferenceFact};
use tract_onnx::tract_hir::internal::ToDim;

/// The extents of the values of which tract knows type and shape, by name; `None` for an extent that is no number.
/// Nothing, where tract does not read the model.
pub(crate) fn fully_known(path: &Path) -> BTreeMap<String, Vec<Option<i64>>> {
    let proto = tract_onnx::pb::ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
    let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
    let parsed = catch_unwind(AssertUnwindSafe(|| onnx.parse(&proto, None)));
    let Ok(Ok(parsed)) = parsed else { return BTreeMap::new() };
    let mut model = parsed.model;
    // What it finds before it gives up counts.
    let analysed = catch_unwind(AssertUnwindSafe(|| model.analyse(true)));
    if !matches!(analysed, Ok(Ok(_))) {
        println!("  tract gives up on {}", path.display());
    }
    let known = |fact: &InferenceFact| {
        let is_known = fact.datum_type.is_concrete() && !fact.shape.is_open();
        let extents: Vec<_> = fact.shape.dims().map(|dim| dim.concretize()).collect::<Option<_>>()?;
        is_known.then(|| extents.iter().map(|extent| extent.to_dim().to_i64().ok()).collect())
    };
    let facts = parsed.outlets_by_name.iter().filter_map(|(name, outlet)| {
        let fact = model.outlet_fact(*outlet).ok()?;
        Some((name.clone(), known(fact)?))
    });
    facts.collect()
}
