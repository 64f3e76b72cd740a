//! The common operators of `ai.onnx.ml`.

use crate::infer::cx::{Cx, Rule, fixed};
use crate::infer::fact::Extent;
use crate::ir::{AttrRef, DType};

pub(super) fn rule(op_type: &str) -> Option<Rule> {
    Some(match op_type {
        "Binarizer" | "CategoryMapper" | "Imputer" | "Normalizer" | "Scaler" => super::elementwise::same_shape,
        "LabelEncoder" => label_encoder,
        "ArrayFeatureExtractor" => array_features,
        "OneHotEncoder" => one_hot,
        "LinearRegressor" => |cx| regressor(cx, "targets"),
        "TreeEnsembleRegressor" | "TreeEnsemble" => |cx| regressor(cx, "n_targets"),
        "SVMRegressor" => |cx| rows(cx, fixed(1), 0),
        "LinearClassifier" | "TreeEnsembleClassifier" | "SVMClassifier" => classifier,
        _ => return None,
    })
}

fn label_encoder(cx: &mut Cx<'_, '_>) -> Option<()> {
    let dtype = [("values_int64s", DType::I64), ("values_floats", DType::F32), ("values_strings", DType::String)];
    let found = dtype.iter().find(|(name, _)| cx.says(name)).map(|(_, dtype)| *dtype);
    let tensor = match cx.node.attr("values_tensor") {
        Some(AttrRef::Tensor(tensor)) => Some(tensor.dtype()),
        _ => None,
    };
    cx.set_dtype(0, tensor.or(found));
    super::elementwise::same_shape(cx)
}

fn array_features(cx: &mut Cx<'_, '_>) -> Option<()> {
    let mut shape = cx.shape(0)?;
    let picked = crate::infer::cx::product(&cx.shape(1)?);
    if shape.len() == 1 {
        shape.insert(0, fixed(1));
    }
    *shape.last_mut()? = picked;
    cx.set_shape(0, shape);
    Some(())
}

fn one_hot(cx: &mut Cx<'_, '_>) -> Option<()> {
    let categories = match (cx.attr("cats_int64s"), cx.attr("cats_strings")) {
        (Some(AttrRef::Ints(categories)), _) if !categories.is_empty() => categories.len(),
        (_, Some(AttrRef::Strings(categories))) => categories.len(),
        _ => return None,
    };
    let mut shape = cx.shape(0)?;
    shape.push(fixed(i64::try_from(categories).ok()?));
    cx.set_shape(0, shape);
    Some(())
}

/// The number of rows of the input: 1 for a vector.
fn row_count(cx: &Cx<'_, '_>) -> Option<Extent> {
    let shape = cx.shape(0)?;
    Some(if shape.len() == 1 { fixed(1) } else { shape.first()?.clone() })
}

fn rows(cx: &mut Cx<'_, '_>, width: Extent, slot: usize) -> Option<()> {
    let rows = row_count(cx)?;
    cx.set_shape(slot, vec![rows, width]);
    Some(())
}

fn regressor(cx: &mut Cx<'_, '_>, targets: &str) -> Option<()> {
    let width = cx.int(targets).and_then(fixed);
    rows(cx, width, 0)
}

fn classifier(cx: &mut Cx<'_, '_>) -> Option<()> {
    let labels = ["classlabels_strings", "classlabels_int64s", "classlabels_ints"];
    let strings = matches!(cx.attr("classlabels_strings"), Some(AttrRef::Strings(labels)) if !labels.is_empty());
    cx.set_dtype(0, Some(if strings { DType::String } else { DType::I64 }));
    let count = labels.iter().find_map(|name| match cx.attr(name)? {
        AttrRef::Strings(labels) if !labels.is_empty() => i64::try_from(labels.len()).ok(),
        AttrRef::Ints(labels) if !labels.is_empty() => i64::try_from(labels.len()).ok(),
        _ => None,
    });
    let rows_known = row_count(cx)?;
    cx.set_shape(0, vec![rows_known]);
    // Support vector machines may give a score for each pair of classes.
    let width = count.filter(|_| cx.node.op_type() != "SVMClassifier").and_then(fixed);
    rows(cx, width, 1)
}
