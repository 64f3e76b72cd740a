//! Extents for the dimensions that a model leaves open.
//!
//! A symbol has one extent in all inputs. In this order: a hint; a sum of other symbols and numbers (`past + 1`); 1 for
//! the first axis of any input and for names like `batch`; 224 for height and width of an image, which every usual
//! stride divides; 16 for everything else, a short sequence. Extents that operators cannot take give way to the nearest
//! that they can.
//!
//! What a graph asks for is not always seen before it runs, so other extents are offered behind these.

use std::collections::{BTreeMap, BTreeSet};

use super::Hints;
use crate::error::{Error, Result};
use crate::infer::{Demand, SymExpr, Symbol};
use crate::ir::{Dim, Shape, Signature, TypedName, ValueType, names_nothing};

/// A larger input is a mistake in a hint, not a test case.
const MAX_ELEMENTS: u64 = 1 << 31;

/// How far from the usual extent one is looked for that operators can take.
const MAX_DISTANCE: u64 = 4096;

/// Extents that many models take.
const USUAL: &[u64] = &[16, 32, 64, 128, 224, 512, 640, 1024, 4096, 16_000];

/// How often a demand may be looked at; a guess must not take longer than a run.
const MAX_CHECKS: usize = 100_000;

/// What a dimension is likely to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Batch,
    /// Colour channels, where a model leaves even these open.
    Channels,
    /// Height or width of an image.
    Image,
    Sequence,
}

impl Kind {
    /// Extents to try, the most likely first.
    const fn extents(self) -> &'static [u64] {
        match self {
            Self::Batch => &[1],
            Self::Channels => &[3, 1],
            Self::Image => &[224, 64, 640, 32],
            // Attention takes memory by the square: longer ones only where an operator asks for them.
            Self::Sequence => &[16, 512, 128, 64, 1024],
        }
    }
}

/// The name of a dimension that has none.
pub(super) fn axis_name(input: &str, axis: usize) -> String {
    format!("{input}#{axis}")
}

/// The open dimensions by name, with what they are likely to be, and those given by a hint.
struct Open {
    kinds: BTreeMap<String, Kind>,
    sums: BTreeSet<String>,
}

/// Concrete shapes of all inputs, in order; the most likely ones first, and never none.
///
/// # Errors
/// Fails where the rank of an input is unknown or its extents multiply to more than can be held.
pub(super) fn concrete_shapes(signature: &Signature, hints: &Hints) -> Result<Vec<Vec<Vec<u64>>>> {
    let open = Open::of(signature, hints)?;
    let attempts = open.kinds.values().map(|kind| kind.extents().len()).max().unwrap_or(1);
    let mut checks = MAX_CHECKS;
    let mut candidates: Vec<(usize, BTreeMap<String, u64>)> = Vec::new();
    for attempt in 0..attempts {
        let usual = open.extents(attempt, hints);
        let mut mended = usual.clone();
        open.mend(&mut mended, hints, &mut checks);
        for extents in [mended, usual] {
            let unmet = hints.demands.iter().filter(|demand| !is_met(demand, &extents)).count();
            if candidates.iter().all(|(_, present)| *present != extents) {
                candidates.push((unmet, extents));
            }
        }
    }
    candidates.sort_by_key(|(unmet, _)| *unmet);
    let shapes = |(_, extents): &(usize, BTreeMap<String, u64>)| -> Result<Vec<Vec<u64>>> {
        let extents = open.with_sums(extents);
        signature.inputs.iter().map(|input| concrete_shape(input, &extents)).collect()
    };
    let (mut found, mut refusal) = (Vec::new(), None);
    for candidate in &candidates {
        match shapes(candidate) {
            Ok(shapes) if found.contains(&shapes) => {}
            Ok(shapes) => found.push(shapes),
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    match refusal {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// The name that a dimension goes by; `None` where its extent is known.
fn name_of(input: &TypedName, axis: usize, dim: &Dim) -> Option<String> {
    match dim {
        Dim::Fixed(_) => None,
        Dim::Sym(name) if !names_nothing(name) => Some(name.to_string()),
        Dim::Sym(_) | Dim::Unknown => Some(axis_name(&input.name, axis)),
    }
}

fn concrete_shape(input: &TypedName, extents: &BTreeMap<String, u64>) -> Result<Vec<u64>> {
    let shape = known_shape(input)?;
    let extent = |(axis, dim): (usize, &Dim)| {
        let named = || name_of(input, axis, dim).and_then(|name| extents.get(&name).copied());
        dim.fixed().or_else(named).unwrap_or(1)
    };
    let extents: Vec<u64> = shape.0.iter().enumerate().map(extent).collect();
    let elements = extents.iter().try_fold(1_u64, |product, &extent| product.checked_mul(extent));
    if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
        return Err(Error::unsupported(format!("synthetic data for input `{}` would be too large", input.name))
            .expected(format!("at most {MAX_ELEMENTS} elements"))
            .found(format!("{} with extents {extents:?}", input.ty)));
    }
    Ok(extents)
}

fn known_shape(input: &TypedName) -> Result<&Shape> {
    input.ty.shape().ok_or_else(|| {
        let what = match &input.ty {
            ValueType::Other(_) => "is no tensor",
            _ => "has an unknown rank",
        };
        Error::unsupported(format!("no synthetic data for input `{}`: it {what}", input.name))
            .expected("a tensor of known rank")
            .found(input.ty.to_string())
            .help("give real inputs: --inputs FILE.npz")
    })
}

impl Open {
    fn of(signature: &Signature, hints: &Hints) -> Result<Self> {
        let (mut kinds, mut sums) = (BTreeMap::new(), BTreeSet::new());
        for input in &signature.inputs {
            let shape = known_shape(input)?;
            for (axis, dim) in shape.0.iter().enumerate() {
                let Some(name) = name_of(input, axis, dim) else { continue };
                if name.contains('+') && !hints.dims.contains_key(&name) {
                    sums.insert(name.clone());
                }
                let is_batch = matches!(dim, Dim::Sym(name) if is_batch(name));
                let kind = if is_batch { Kind::Batch } else { kind_of(shape, axis) };
                let known = kinds.entry(name).or_insert(kind);
                if axis == 0 {
                    *known = kind;
                }
            }
        }
        Ok(Self { kinds, sums })
    }

    fn extents(&self, attempt: usize, hints: &Hints) -> BTreeMap<String, u64> {
        let usual = |kind: Kind| kind.extents().get(attempt).or(kind.extents().last()).copied().unwrap_or(1);
        let extent = |(name, kind): (&String, &Kind)| {
            (name.clone(), hints.dims.get(name).copied().unwrap_or_else(|| usual(*kind)))
        };
        self.kinds.iter().map(extent).collect()
    }

    /// The extents, sums of others set right.
    fn with_sums(&self, extents: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
        let mut all = extents.clone();
        for sum in &self.sums {
            let addends = sum.split('+').map(str::trim);
            let known = |addend: &str| addend.parse().ok().or_else(|| extents.get(addend).copied());
            if let Some(total) = addends.map(known).try_fold(0_u64, |total, addend| total.checked_add(addend?)) {
                all.insert(sum.clone(), total);
            }
        }
        all
    }
}

fn is_met(demand: &Demand, extents: &BTreeMap<String, u64>) -> bool {
    demand.is_met(&|symbol| {
        let Symbol::Named(name) = symbol else { return None };
        extents.get(&**name).and_then(|&extent| i64::try_from(extent).ok()).map(SymExpr::from)
    })
}

impl Open {
    /// Changes extents that operators cannot take to the nearest that they can, one demand after the other.
    fn mend(&self, extents: &mut BTreeMap<String, u64>, hints: &Hints, checks: &mut usize) {
        // Mending one may break another: a few rounds settle what can be settled.
        for _ in 0..3 {
            let mut is_settled = true;
            for demand in &hints.demands {
                if is_met(demand, extents) {
                    continue;
                }
                is_settled = false;
                // An extent of 1 goes with every other, but hides what the other should be.
                let stricter = match demand {
                    Demand::Broadcast(left, right) => Some(Demand::Equal(left.clone(), right.clone())),
                    _ => None,
                };
                let groups = self.groups(demand, extents, hints);
                let mut tries =
                    stricter.iter().chain([demand]).flat_map(|demand| groups.iter().map(move |g| (demand, g)));
                // The first that helps counts.
                let _ = tries.any(|(demand, group)| mend_group(extents, group, demand, checks));
            }
            if is_settled {
                return;
            }
        }
    }

    /// The dimensions that a demand is about, together where they have one extent, as the sides of an image, then each
    /// alone; batches last.
    fn groups(&self, demand: &Demand, extents: &BTreeMap<String, u64>, hints: &Hints) -> Vec<Vec<String>> {
        let is_asked = |name: &&String| {
            let is_in = |symbol: &Symbol| matches!(symbol, Symbol::Named(named) if **named == ***name);
            !hints.dims.contains_key(*name) && demand.any_symbol(&is_in)
        };
        let mut names: Vec<String> = extents.keys().filter(is_asked).cloned().collect();
        names.sort_by_key(|name| self.kinds.get(name) == Some(&Kind::Batch));
        let inner: Vec<String> =
            names.iter().filter(|name| self.kinds.get(*name) != Some(&Kind::Batch)).cloned().collect();
        let first = inner.first().and_then(|name| extents.get(name));
        let is_square = inner.len() > 1 && inner.iter().all(|name| extents.get(name) == first);
        is_square.then_some(inner).into_iter().chain(names.into_iter().map(|name| vec![name])).collect()
    }
}

/// Finds an extent for some dimensions that meets a demand.
fn mend_group(extents: &mut BTreeMap<String, u64>, names: &[String], demand: &Demand, checks: &mut usize) -> bool {
    let Some(usual) = names.first().and_then(|name| extents.get(name)).copied() else { return false };
    let near = (1..=MAX_DISTANCE).flat_map(|step| [usual.checked_sub(step), usual.checked_add(step)]);
    // Where anything above a bound will do, a usual extent beats the bound itself.
    let usual_ones = USUAL.iter().map(|&extent| Some(extent));
    let order: Vec<u64> = match demand {
        Demand::Positive(_) => usual_ones.chain(near).flatten().collect(),
        Demand::Equal(..) | Demand::Broadcast(..) => near.flatten().collect(),
    };
    let set = |extents: &mut BTreeMap<String, u64>, extent: u64| {
        for name in names {
            extents.insert(name.clone(), extent);
        }
    };
    for extent in order.into_iter().filter(|extent| *extent >= 1) {
        let Some(left) = checks.checked_sub(1) else { break };
        *checks = left;
        set(extents, extent);
        if is_met(demand, extents) {
            return true;
        }
    }
    set(extents, usual);
    false
}

fn is_batch(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("batch") || name == "n" || name == "bs"
}

fn kind_of(shape: &Shape, axis: usize) -> Kind {
    if axis == 0 {
        return Kind::Batch;
    }
    match image_axes(shape) {
        Some((channel, _)) if axis == channel => Kind::Channels,
        Some((_, spatial)) if spatial.contains(&axis) => Kind::Image,
        _ if is_state(shape) => Kind::Batch,
        _ => Kind::Sequence,
    }
}

/// Whether the shape is that of the state of a recurrent layer: layers, an open batch, features.
fn is_state(shape: &Shape) -> bool {
    let [layers, batch, features] = shape.0.as_slice() else { return false };
    layers.fixed().is_some_and(|layers| layers > 1) && batch.fixed().is_none() && features.fixed().is_some()
}

/// The channel axis and the spatial axes of a batch of images: rank 4, at most four channels.
fn image_axes(shape: &Shape) -> Option<(usize, [usize; 2])> {
    let [_, second, _, last] = shape.0.as_slice() else { return None };
    let few = |dim: &Dim| dim.fixed().is_some_and(|extent| (1..=4).contains(&extent));
    if few(second) || (second.fixed().is_none() && last.fixed().is_none()) {
        Some((1, [2, 3]))
    } else if few(last) {
        Some((3, [1, 2]))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::SymExpr;
    use crate::ir::DType;

    /// A signature with inputs x0, x1 ... of these shapes.
    fn signature(inputs: &[&str]) -> Signature {
        let inputs = inputs.iter().enumerate().map(|(index, text)| input(format!("x{index}"), text)).collect();
        Signature { inputs, outputs: vec![] }
    }

    fn input(name: String, text: &str) -> TypedName {
        let dim = |text: &str| match text.parse() {
            Ok(extent) => Dim::Fixed(extent),
            Err(_) if text == "?" => Dim::Unknown,
            Err(_) => Dim::Sym(text.into()),
        };
        let shape = Shape(text.split(',').map(dim).collect());
        TypedName { name, ty: ValueType::tensor(DType::F32, Some(shape)) }
    }

    fn shapes(inputs: &[&str], hints: &[(&str, u64)]) -> Vec<Vec<u64>> {
        let signature = signature(inputs);
        let dims = hints.iter().map(|(name, extent)| (name.to_string(), *extent)).collect();
        concrete_shapes(&signature, &Hints { dims, ..Hints::default() }).unwrap().remove(0)
    }

    #[test]
    fn images_are_224_wide() {
        assert_eq!(shapes(&["N,3,H,W"], &[]), [[1, 3, 224, 224]]);
        assert_eq!(shapes(&["?,?,?,3"], &[]), [[1, 224, 224, 3]]);
        assert_eq!(shapes(&["?,3,48,?"], &[]), [[1, 3, 48, 224]]);
    }

    #[test]
    fn a_cache_is_no_image() {
        assert_eq!(shapes(&["batch,12,past,64"], &[]), [[1, 12, 16, 64]]);
    }

    #[test]
    fn a_symbol_has_one_extent_everywhere() {
        assert_eq!(shapes(&["b,s", "s"], &[]), [vec![1, 1], vec![1]]);
        assert_eq!(shapes(&["b,s", "b,s,8"], &[("s", 5)]), [vec![1, 5], vec![1, 5, 8]]);
    }

    #[test]
    fn adds_up_symbols() {
        assert_eq!(shapes(&["b,1", "b,past + 1", "b,12,past,64"], &[("past", 7)])[1], [1, 8]);
    }

    #[test]
    fn a_single_open_dimension_between_others_is_the_batch() {
        assert_eq!(shapes(&["?,?", "2,?,128"], &[]), [vec![1, 16], vec![2, 1, 128]]);
        assert_eq!(shapes(&["1,T,80"], &[]), [[1, 16, 80]]);
    }

    fn with_demands(inputs: &[&str], demands: Vec<Demand>) -> Vec<Vec<Vec<u64>>> {
        let signature = signature(inputs);
        concrete_shapes(&signature, &Hints { demands, ..Hints::default() }).unwrap()
    }

    #[test]
    fn extents_meet_what_operators_ask_for() {
        let number = SymExpr::from;
        let read = |text| SymExpr::parse(text).unwrap();
        let six = Demand::Equal(SymExpr::named("x0#1"), number(6));
        let long = Demand::Positive(read("floor((T-400)/160)+1"));
        assert_eq!(with_demands(&["N,?"], vec![six])[0], [[1, 6]]);
        assert_eq!(with_demands(&["N,T"], vec![long])[0], [[1, 512]]);
        // The sides of an image change together, a length before a batch, and 77 positions are no 1.
        let square = Demand::Equal(read("floor(H/8)*floor(W/8)"), number(100));
        assert_eq!(with_demands(&["N,3,H,W"], vec![square])[0], [[1, 3, 87, 87]]);
        let parts = Demand::Equal(read("N*T"), number(25));
        assert_eq!(with_demands(&["N,T"], vec![parts])[0], [[1, 25]]);
        let positions = Demand::Broadcast(SymExpr::named("T"), number(77));
        assert_eq!(with_demands(&["N,T"], vec![positions])[0], [[1, 77]]);
    }

    #[test]
    fn other_extents_come_after_the_first() {
        let all = with_demands(&["N,S"], vec![]);
        assert!(all.len() > 4 && all.contains(&vec![vec![1, 512]]), "{all:?}");
        assert_eq!(with_demands(&["1,8"], vec![]), [[[1, 8]]]);
    }
}
