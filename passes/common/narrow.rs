//! Narrowing the shapes of inputs, and of all that follows from them.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result, Site};
use crate::infer::{self, Inference, SymExpr, Symbol};
use crate::ir::{Dim, Graph, Model, Shape, ValueId, ValueType, names_nothing};
use crate::pass::{Changed, Cx};

/// What is known of dimensions that were open.
#[derive(Debug, Default)]
pub(in crate::passes) struct Narrowing {
    /// Dimensions by name.
    pub(in crate::passes) names: BTreeMap<String, Dim>,
    /// Axes of inputs that have no name.
    pub(in crate::passes) axes: BTreeMap<(ValueId, usize), Dim>,
    /// The number of axes of inputs that declare none.
    pub(in crate::passes) ranks: BTreeMap<ValueId, usize>,
}

/// A number, or the name of a dimension that stays open.
///
/// # Errors
/// Fails on what is neither.
pub(in crate::passes) fn parse_dim(text: &str) -> Result<Dim> {
    if let Ok(extent) = text.parse::<u64>()
        && i64::try_from(extent).is_ok()
    {
        return Ok(Dim::Fixed(extent));
    }
    let is_name = text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    if is_name && !names_nothing(text) {
        return Ok(Dim::Sym(text.into()));
    }
    let what = if text.is_empty() { "an extent is missing".to_owned() } else { format!("`{text}` is no extent") };
    Err(Error::usage(what).expected("a number from 0 up, or a name of letters, digits, `_` and `.`"))
}

/// The names that inputs have for dimensions.
pub(in crate::passes) fn input_names(model: &Model) -> BTreeSet<String> {
    let inputs = model.graph.inputs().iter();
    let shapes = inputs.filter_map(|&input| model.graph.value(input).ty().shape());
    let names = shapes.flat_map(|shape| &shape.0).filter_map(|dim| match dim {
        Dim::Sym(name) if !names_nothing(name) => Some(name.to_string()),
        _ => None,
    });
    names.collect()
}

/// Narrows the inputs, infers the shapes of all other values from them, and says what became of the inputs. `refusal` is
/// what the error says where that cannot be.
///
/// # Errors
/// Fails where the operators of the model do not go together any more, or contradict what it declares.
pub(in crate::passes) fn run(
    model: &mut Model,
    narrowing: &Narrowing,
    cx: &mut Cx<'_>,
    refusal: &str,
) -> Result<Changed> {
    let before = infer::infer(model)?;
    let names = input_names(model);
    let mut trouble = None;
    // A name that is declared for what has another extent is a slip that harms nobody while dimensions are open. Where
    // such names lead to contradictions, what the operators say is right.
    for are_names_trusted in [true, false] {
        let mut draft = model.clone();
        rename(&mut draft, narrowing, &names, are_names_trusted)?;
        let after = infer::infer(&draft)?;
        trouble = new_trouble(&before, &after);
        if trouble.is_none() {
            infer::write_back(&mut draft, &after)?;
            declare_outputs(model, &mut draft, &after, narrowing, &names)?;
            return finish(model, draft, cx);
        }
    }
    let (site, expected, found) = trouble.unwrap_or_default();
    let error = Error::usage(refusal).at(site).found(found);
    let error = if expected.is_empty() { error } else { error.expected(expected) };
    Err(error.help("the model was made for other extents: choose those, or leave the dimension open"))
}

/// Takes over the draft, with a remark for each input that it changed.
fn finish(model: &mut Model, draft: Model, cx: &mut Cx<'_>) -> Result<Changed> {
    let inputs = model.graph.inputs().iter();
    let changed: Vec<(Site, String)> = inputs
        .filter_map(|&input| {
            let (old, new) = (model.graph.value(input), draft.graph.value(input));
            let text = || format!("`{}` became `{}`", old.ty(), new.ty());
            (old.ty() != new.ty()).then(|| (Site::tensor(new.name()), text()))
        })
        .collect();
    if changed.is_empty() {
        cx.skipped(Site::default(), "the inputs have these shapes already");
        return Ok(Changed::No);
    }
    *model = draft;
    changed.into_iter().for_each(|(site, text)| cx.applied(site, text));
    Ok(Changed::Yes)
}

/// What was no trouble before: where, what was expected, what was found.
fn new_trouble(before: &Inference, after: &Inference) -> Option<(Site, String, String)> {
    let conflict = after.conflicts().iter().find(|new| before.conflicts().iter().all(|old| old.site != new.site));
    if let Some(conflict) = conflict {
        return Some((conflict.site.clone(), String::new(), format!("it would read {}", conflict.reason)));
    }
    // Sites of values show their types, which change.
    let is_known = |site: &Site| {
        let name = |site: &Site| site.tensor.as_deref().and_then(|text| text.rsplit(' ').next().map(str::to_owned));
        before.contradictions().iter().any(|old| name(&old.site) == name(site))
    };
    let contradiction = after.contradictions().iter().find(|new| !is_known(&new.site))?;
    let declared = format!("{}, as the model declares it", contradiction.declared);
    Some((contradiction.site.clone(), declared, format!("{}, which follows from the inputs", contradiction.inferred)))
}

/// Puts the new dimensions where the model names the old ones: in inputs always, elsewhere unless the name is not trusted.
fn rename(model: &mut Model, narrowing: &Narrowing, names: &BTreeSet<String>, are_names_trusted: bool) -> Result<()> {
    let inputs = model.graph.inputs().to_vec();
    for &input in &inputs {
        let held = model.graph.value(input);
        let declared = held.ty().shape().cloned();
        let unranked = || narrowing.ranks.get(&input).map(|&rank| Shape(vec![Dim::Unknown; rank]));
        let Some(mut shape) = declared.clone().or_else(unranked) else { continue };
        for (axis, dim) in shape.0.iter_mut().enumerate() {
            *dim = match narrowing.axes.get(&(input, axis)) {
                Some(wanted) => wanted.clone(),
                None => narrowing.dim(dim, names),
            };
        }
        if declared.as_ref() != Some(&shape) {
            model.graph.declare_shape(input, &shape)?;
        }
    }
    let is_main_input = |value: &ValueId| inputs.contains(value);
    rename_values(&mut model.graph, narrowing, names, are_names_trusted, &is_main_input)
}

/// Renames in all values of a graph and the graphs inside of it, but for some.
fn rename_values(
    graph: &mut Graph,
    narrowing: &Narrowing,
    names: &BTreeSet<String>,
    are_names_trusted: bool,
    is_done: &dyn Fn(&ValueId) -> bool,
) -> Result<()> {
    for value in graph.values() {
        if is_done(&value) {
            continue;
        }
        let Some(shape) = graph.value(value).ty().shape() else { continue };
        let renamed = narrowing.shape(shape, names, are_names_trusted);
        if renamed != *shape {
            graph.declare_shape(value, &renamed)?;
        }
    }
    for node in graph.nodes() {
        if graph.node(node).subgraphs().is_empty() {
            continue;
        }
        graph.edit_subgraphs(node, |subgraphs| {
            subgraphs.iter_mut().try_for_each(|inner| {
                rename_values(&mut inner.graph, narrowing, names, are_names_trusted, &|_| false)?;
                let outputs = inner.graph.outputs().len();
                for index in 0..outputs {
                    let Some(ValueType::Tensor(tensor)) = inner.graph.declared_output(index) else { continue };
                    let Some(shape) = &tensor.shape else { continue };
                    let renamed = narrowing.shape(shape, names, are_names_trusted);
                    if renamed != *shape {
                        inner.graph.declare_output_shape(index, &renamed)?;
                    }
                }
                Ok(())
            })
        })?;
    }
    Ok(())
}

/// Declares the outputs of the main graph: what is fixed stays, what became known is filled in.
fn declare_outputs(
    model: &Model,
    draft: &mut Model,
    after: &Inference,
    narrowing: &Narrowing,
    names: &BTreeSet<String>,
) -> Result<()> {
    let outputs: Vec<ValueId> = draft.graph.outputs().collect();
    for (index, value) in outputs.into_iter().enumerate() {
        let Some(ValueType::Tensor(tensor)) = model.graph.declared_output(index) else { continue };
        let Some(declared) = tensor.shape else { continue };
        let inferred = after.main().get(value).and_then(|fact| fact.to_type().shape().cloned());
        let inferred = inferred.filter(|shape| shape.rank() == declared.rank());
        let mut shape = narrowing.shape(&declared, names, true);
        if let Some(inferred) = inferred {
            for ((dim, old), inferred) in shape.0.iter_mut().zip(&declared.0).zip(inferred.0) {
                if old.fixed().is_none() && inferred.fixed().is_some() {
                    *dim = inferred;
                }
            }
        }
        if shape != declared {
            draft.graph.declare_output_shape(index, &shape)?;
        }
    }
    Ok(())
}

impl Narrowing {
    fn shape(&self, shape: &Shape, names: &BTreeSet<String>, are_names_trusted: bool) -> Shape {
        let dim = |dim: &Dim| match self.dim(dim, names) {
            new if new != *dim && !are_names_trusted && new.fixed().is_some() => Dim::Unknown,
            new => new,
        };
        Shape(shape.0.iter().map(dim).collect())
    }

    /// The dimension in terms of the new ones; `names` are those that inputs have.
    fn dim(&self, dim: &Dim, names: &BTreeSet<String>) -> Dim {
        let Dim::Sym(text) = dim else { return dim.clone() };
        if let Some(wanted) = self.names.get(&**text) {
            return wanted.clone();
        }
        let is_ours = |symbol: &Symbol| self.names.contains_key(&symbol.to_string());
        let is_foreign = |symbol: &Symbol| !is_ours(symbol) && !names.contains(&symbol.to_string());
        let expression = SymExpr::parse(text).filter(|e| e.any_symbol(is_ours) && !e.any_symbol(is_foreign));
        let replaced = expression.and_then(|expression| {
            expression.substitute(&|symbol| match self.names.get(&symbol.to_string())? {
                Dim::Fixed(extent) => i64::try_from(*extent).ok().map(SymExpr::from),
                Dim::Sym(name) => Some(SymExpr::named(name)),
                Dim::Unknown => None,
            })
        });
        replaced.map_or_else(|| dim.clone(), |expression| expression.to_dim())
    }
}
