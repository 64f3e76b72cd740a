//! Which zeros may stand together: patterns that kernels can skip, or that slices of a tensor make.

use crate::error::{Error, Result};

/// The form that zeros have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Pattern {
    /// Any weight may go.
    Free,
    /// Of each `of` weights in a row along the input axis `kept` stay.
    Of { kept: usize, of: usize },
    /// Tiles of so many outputs by so many inputs go as a whole.
    Block { outputs: usize, inputs: usize },
    /// Whole slices along an axis of the tensor go, those with the smallest norm.
    Slices { axis: usize, norm: f64 },
}

impl Pattern {
    /// Reads `N:M`.
    ///
    /// # Errors
    /// Fails on anything else, and on an N of more than M.
    pub(super) fn parse_of(text: &str) -> Result<Self> {
        let parts = text.split_once(':').and_then(|(kept, of)| Some((kept.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((kept, of)) if kept <= of && of > 0 => Ok(Self::Of { kept, of }),
            _ => Err(Error::usage("option `pattern` of `prune` says how many weights of how many stay")
                .expected("N:M with N at most M: 2:4, which a shell and a pipeline spell pattern=2%3A4 or pattern=2-4")
                .found(format!("`{text}`"))),
        }
    }

    /// Reads `RxC`.
    ///
    /// # Errors
    /// Fails on anything else.
    pub(super) fn parse_block(text: &str) -> Result<Self> {
        let parts = text.split_once('x').and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
        match parts {
            Some((outputs, inputs)) if outputs > 0 && inputs > 0 => Ok(Self::Block { outputs, inputs }),
            _ => Err(Error::usage("option `block` of `prune` gives the outputs and the inputs of a tile")
                .expected("RxC: 1x4 or 4x4")
                .found(format!("`{text}`"))),
        }
    }
}

/// How a tensor's elements lie: along the axis of its outputs, that of its inputs, and others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axes {
    pub(super) shape: Vec<usize>,
    pub(super) output: usize,
    pub(super) input: usize,
    /// Groups that the outputs are split into: tiles do not reach from one into the next.
    pub(super) groups: usize,
}

impl Axes {
    fn index(&self, element: usize, axis: usize) -> usize {
        let inner: usize = self.shape[axis + 1..].iter().product();
        element / inner % self.shape[axis]
    }

    /// The element without its place along some axes: a number for what is left.
    fn rest(&self, element: usize, without: &[usize]) -> usize {
        let axes = (0..self.shape.len()).filter(|axis| !without.contains(axis));
        axes.fold(0, |rest, axis| rest * self.shape[axis] + self.index(element, axis))
    }

    /// For each element the unit of the pattern that it belongs to; empty where each is one by itself.
    pub(super) fn units(&self, pattern: Pattern) -> Vec<u32> {
        let count: usize = self.shape.iter().product();
        let unit = |element: usize| match pattern {
            Pattern::Free => element,
            Pattern::Of { of, .. } => {
                let runs = self.shape[self.input].div_ceil(of);
                self.rest(element, &[self.input]) * runs + self.index(element, self.input) / of
            }
            Pattern::Block { outputs, inputs } => {
                let per_group = (self.shape[self.output] / self.groups).max(1);
                let (group, place) =
                    (self.index(element, self.output) / per_group, self.index(element, self.output) % per_group);
                let (down, across) = (per_group.div_ceil(outputs), self.shape[self.input].div_ceil(inputs));
                let rest = self.rest(element, &[self.output, self.input]);
                ((rest * self.groups + group) * down + place / outputs) * across
                    + self.index(element, self.input) / inputs
            }
            Pattern::Slices { axis, .. } => self.index(element, axis.min(self.shape.len() - 1)),
        };
        if pattern == Pattern::Free { Vec::new() } else { (0..count).map(|element| unit(element) as u32).collect() }
    }
}

/// Which elements go by their scores: `count` at most where there is a choice, and what the pattern says where not.
pub(super) fn choose(scores: &[f64], units: &[u32], pattern: Pattern, count: usize) -> Vec<bool> {
    let Pattern::Of { kept, .. } = pattern else { return smallest(scores, units, count) };
    let mut members: Vec<usize> = (0..scores.len()).collect();
    members.sort_by(|&a, &b| units[a].cmp(&units[b]).then(scores[a].total_cmp(&scores[b])).then(a.cmp(&b)));
    let mut goes = vec![false; scores.len()];
    for run in members.chunk_by(|&a, &b| units[a] == units[b]) {
        run.iter().take(run.len().saturating_sub(kept)).for_each(|&element| goes[element] = true);
    }
    goes
}

/// The units with the smallest sums of scores that together have at most `count` elements, the first of equal ones;
/// without units each element is one.
pub(super) fn smallest(scores: &[f64], units: &[u32], count: usize) -> Vec<bool> {
    let mut goes = vec![false; scores.len()];
    if units.is_empty() {
        if count == 0 {
            return goes;
        }
        let mut order: Vec<usize> = (0..scores.len()).collect();
        if count < scores.len() {
            order.select_nth_unstable_by(count - 1, |&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
        }
        order.iter().take(count).for_each(|&element| goes[element] = true);
        return goes;
    }
    let last = units.iter().max().map_or(0, |&unit| unit as usize + 1);
    let (mut sums, mut sizes) = (vec![0.0; last], vec![0usize; last]);
    for (&unit, score) in units.iter().zip(scores) {
        sums[unit as usize] += score;
        sizes[unit as usize] += 1;
    }
    // Units at an edge are smaller: the mean is what compares.
    let mean = |unit: usize| sums[unit] / sizes[unit].max(1) as f64;
    let mut order: Vec<usize> = (0..last).filter(|&unit| sizes[unit] > 0).collect();
    order.sort_by(|&a, &b| mean(a).total_cmp(&mean(b)).then(a.cmp(&b)));
    let (mut left, mut chosen) = (count, vec![false; last]);
    for unit in order {
        if sizes[unit] > left {
            break;
        }
        left -= sizes[unit];
        chosen[unit] = true;
    }
    goes.iter_mut().zip(units).for_each(|(goes, &unit)| *goes = chosen[unit as usize]);
    goes
}

/// How the columns of a layer's rows fall into groups.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    /// The group of each column; empty where each is one by itself.
    pub(super) groups: Vec<u32>,
    /// How many of each group stay, where that is what is asked for.
    kept: Option<usize>,
    /// Rows of a tile.
    rows: usize,
}

impl Columns {
    #[cfg(test)]
    pub(super) fn free(_: usize) -> Self {
        Self::default()
    }

    pub(super) fn of(groups: Vec<u32>, kept: usize) -> Self {
        Self { groups, kept: Some(kept), rows: 1 }
    }

    /// The columns of rows that run over `channels` inputs at `taps` places each.
    pub(super) fn new(pattern: Pattern, channels: usize, taps: usize) -> Self {
        let groups = |width: usize| {
            let runs = channels.div_ceil(width);
            (0..channels * taps).map(|column| ((column % taps) * runs + column / taps / width) as u32).collect()
        };
        match pattern {
            Pattern::Of { kept, of } => Self::of(groups(of), kept),
            Pattern::Block { outputs, inputs } => Self { groups: groups(inputs), kept: None, rows: outputs },
            _ => Self::default(),
        }
    }

    /// How many of each group stay, where that is asked for.
    pub(super) fn kept(&self) -> Option<usize> {
        self.kept
    }

    pub(super) fn is_of(&self) -> bool {
        self.kept.is_some()
    }

    pub(super) fn group(&self, column: usize) -> usize {
        self.groups.get(column).map_or(column, |&group| group as usize)
    }

    /// The columns with those of a group side by side.
    pub(super) fn order(&self, dim: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by_key(|&column| self.group(column));
        order
    }

    /// The places of the group that begins at a place of that order, and how many of it stay.
    pub(super) fn group_at(&self, order: &[usize], place: usize) -> Option<(std::ops::Range<usize>, usize)> {
        let kept = self.kept?;
        let group = self.group(order[place]);
        if place > 0 && self.group(order[place - 1]) == group {
            return None;
        }
        let len = order[place..].iter().take_while(|&&column| self.group(column) == group).count();
        Some((place..place + len, kept))
    }

    /// The tile of each element of `rows` rows of these columns; empty where each is one by itself.
    pub(super) fn tiles(&self, columns: &[usize], rows: usize) -> Vec<u32> {
        if self.groups.is_empty() {
            return Vec::new();
        }
        let first = columns.iter().map(|&column| self.group(column)).min().unwrap_or(0);
        let last = columns.iter().map(|&column| self.group(column)).max().unwrap_or(0);
        let across = last - first + 1;
        let of_row =
            |row: usize| columns.iter().map(move |&c| (row / self.rows.max(1) * across + self.group(c) - first) as u32);
        (0..rows).flat_map(of_row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes(shape: &[usize], output: usize, input: usize) -> Axes {
        Axes { shape: shape.to_vec(), output, input, groups: 1 }
    }

    #[test]
    fn patterns_are_read() {
        assert_eq!(Pattern::parse_of("2:4").unwrap(), Pattern::Of { kept: 2, of: 4 });
        assert_eq!(Pattern::parse_block("4x1").unwrap(), Pattern::Block { outputs: 4, inputs: 1 });
        assert!(Pattern::parse_of("4:2").is_err() && Pattern::parse_of("2").is_err());
        assert!(Pattern::parse_block("0x4").is_err() && Pattern::parse_block("4").is_err());
    }

    #[test]
    fn runs_lie_along_the_inputs() {
        // Conv [1 output, 3 inputs, 2 taps]: pairs of inputs for each tap; MatMul [4 inputs, 2 outputs].
        let pairs = Pattern::Of { kept: 1, of: 2 };
        assert_eq!(axes(&[1, 3, 2], 0, 1).units(pairs), [0, 2, 0, 2, 1, 3]);
        assert_eq!(axes(&[4, 2], 1, 0).units(pairs), [0, 2, 0, 2, 1, 3, 1, 3]);
        assert_eq!(Columns::new(pairs, 3, 2).groups, [0, 2, 0, 2, 1, 3]);
    }

    #[test]
    fn of_each_run_the_largest_stay() {
        let pattern = Pattern::Of { kept: 1, of: 2 };
        let units = axes(&[1, 5], 0, 1).units(pattern);
        assert_eq!(choose(&[3.0, 1.0, 2.0, 2.0, 9.0], &units, pattern, 0), [false, true, true, false, false]);
    }

    #[test]
    fn tiles_go_as_a_whole_and_never_more_than_asked_for() {
        let pattern = Pattern::Block { outputs: 2, inputs: 2 };
        let units = axes(&[2, 4], 0, 1).units(pattern);
        assert_eq!(units, [0, 0, 1, 1, 0, 0, 1, 1]);
        let scores = [9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(choose(&scores, &units, pattern, 5), [false, false, true, true, false, false, true, true]);
        assert_eq!(choose(&scores, &units, pattern, 3), [false; 8]);
    }
}
