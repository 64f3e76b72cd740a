//! A failing model cut down to what makes it fail.
//!
//! 1. The shortest beginning that fails, by halving; then the shortest end of that.
//! 2. Delta debugging (Zeller and Hildebrandt, 2002): of what is left, stretches of operators are taken out, long ones first;
//!    where that ends the failure, they are bypassed, if an input has the type of the output.
//! 3. Outputs that the failure can do without.
//!
//! ```text
//! x -> Conv -> a -> [ Relu -> b ] -> Exp -> y      =>      x -> Conv -> a        b -> Exp -> y     taken out
//!                                                          x -> Conv -> a -> Exp -> y               bypassed
//! ```
//! What an operator that was taken out has written becomes an input, of the type that inference or the file tells; where
//! neither does, the operator stays. Only operators of the main graph are taken out.

mod carve;

use crate::error::{Error, Result};
use crate::infer::{infer, write_back};
use crate::ir::{Model, NodeId};
use crate::pass::Progress;

use carve::{Cut, Fate, carve};

/// Says whether a model still fails in the way that matters.
pub type Oracle<'a> = dyn FnMut(&Model) -> Result<bool> + 'a;

/// What is left of a model.
#[derive(Debug)]
pub struct Reduced {
    /// The smallest model found that fails.
    pub model: Model,
    /// How many operators of the main graph there were, constants not counted.
    pub before: usize,
    /// How many are left.
    pub after: usize,
    /// How many models were tried.
    pub tries: usize,
}

/// Cuts a model down as far as it fails.
///
/// # Errors
/// Fails where the whole model does not fail, or `is_failing` does.
pub fn reduce(model: &Model, is_failing: &mut Oracle<'_>, progress: &dyn Progress) -> Result<Reduced> {
    if !is_failing(model)? {
        return Err(Error::usage("the whole model does not fail, so nothing of it would")
            .expected("a check that exits with 0 on the model: 0 means that it still fails")
            .help("put `!` in front of a command that exits with 0 where all is well"));
    }
    let mut typed = model.clone();
    let inference = infer(&typed)?;
    write_back(&mut typed, &inference)?;
    let order = typed.graph.topological_order()?;
    let nodes: Vec<NodeId> = order.into_iter().filter(|&node| !typed.graph.node(node).is("Constant")).collect();
    progress.start("reducing", nodes.len() as u64);
    let mut search = Search { model: &typed, is_failing, tries: 1, cut: Cut::whole(&nodes), progress };
    search.halve(&nodes)?;
    search.thin_out(&nodes)?;
    search.drop_outputs()?;
    let Search { cut, tries, .. } = search;
    progress.finish();
    let after = cut.kept();
    // Nothing was taken out, for instance of a model with a single operator: the file stays as it is.
    let model = match cut.is_whole(&nodes) {
        true => model.clone(),
        false => carve(&typed, &cut)?.unwrap_or_else(|| model.clone()),
    };
    Ok(Reduced { model, before: nodes.len(), after, tries })
}

struct Search<'a, 'b> {
    model: &'a Model,
    is_failing: &'a mut Oracle<'b>,
    tries: usize,
    /// The smallest so far that fails.
    cut: Cut,
    progress: &'a dyn Progress,
}

impl Search<'_, '_> {
    /// Tries a smaller cut and takes it where it fails, too.
    fn takes(&mut self, cut: Cut) -> Result<bool> {
        let Some(model) = carve(self.model, &cut)? else { return Ok(false) };
        self.tries += 1;
        let fails = (self.is_failing)(&model)?;
        if fails {
            self.progress.advance((self.cut.kept().saturating_sub(cut.kept())) as u64);
            self.cut = cut;
        }
        Ok(fails)
    }

    /// The shortest beginning, then the shortest end of it, as if a longer stretch failed whenever a shorter one does.
    fn halve(&mut self, nodes: &[NodeId]) -> Result<()> {
        let (mut low, mut high) = (0, nodes.len());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.takes(Cut::whole(&nodes[..middle]))? {
                true => high = middle,
                false => low = middle,
            }
        }
        let end = high;
        let (mut low, mut high) = (0, end);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.takes(Cut::whole(&nodes[middle..end]))? {
                true => low = middle,
                false => high = middle,
            }
        }
        Ok(())
    }

    /// Takes stretches out, of half of what is left down to single operators, until no single one can go.
    fn thin_out(&mut self, nodes: &[NodeId]) -> Result<()> {
        let left = |cut: &Cut| -> Vec<NodeId> { nodes.iter().copied().filter(|&node| cut.keeps(node)).collect() };
        let mut length = self.cut.kept().div_ceil(2);
        while length > 0 {
            let before = self.cut.kept();
            let candidates = left(&self.cut);
            for stretch in candidates.chunks(length) {
                let without = self.cut.with(stretch, Fate::Gone);
                if !self.takes(without)? {
                    let around = self.cut.with(stretch, Fate::Bypassed);
                    self.takes(around)?;
                }
            }
            let is_settled = self.cut.kept() == before;
            length = match length {
                1 if is_settled => 0,
                1 => 1,
                _ => length.min(self.cut.kept()).div_ceil(2),
            };
        }
        Ok(())
    }

    /// Drops outputs, one after the other.
    fn drop_outputs(&mut self) -> Result<()> {
        let Some(model) = carve(self.model, &self.cut)? else { return Ok(()) };
        let names: Vec<String> =
            model.graph.outputs().map(|output| model.graph.value(output).name().to_owned()).collect();
        for name in names {
            let mut cut = self.cut.clone();
            cut.unwanted.insert(name);
            self.takes(cut)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::text;
    use crate::pass::NoProgress;

    const NET: &str = "g (float[2,2] x) => (float[2,2] y, float[2,2] z) < float[2,2] w = iota > {
        a = MatMul(x, w)
        b = Relu(a)
        c = Exp(b)
        z = Neg(c)
        d = Sigmoid(c)
        y = Tanh(d)
    }";

    fn reduced(is_failing: impl Fn(&[&str]) -> bool) -> Result<Reduced> {
        let model = text::parse(NET).unwrap();
        let mut oracle = |model: &Model| {
            let nodes = model.graph.topological_order()?;
            let kinds: Vec<&str> = nodes.iter().map(|&node| model.graph.node(node).op_type()).collect();
            Ok(is_failing(&kinds))
        };
        reduce(&model, &mut oracle, &NoProgress)
    }

    #[test]
    fn one_operator_is_left_of_many() {
        let reduced = reduced(|kinds| kinds.contains(&"Exp")).unwrap();
        assert_eq!((reduced.before, reduced.after), (6, 1));
        let graph = &reduced.model.graph;
        assert_eq!((graph.node_count(), graph.inputs().len(), graph.outputs().len()), (1, 1, 1));
        assert!(graph.initializers().is_empty());
    }

    #[test]
    fn what_lies_between_two_operators_goes() {
        let reduced = reduced(|kinds| kinds.contains(&"MatMul") && kinds.contains(&"Tanh")).unwrap();
        assert_eq!(reduced.after, 2);
        assert!(crate::ir::check::structure(&reduced.model).is_ok());
    }

    #[test]
    fn a_model_that_does_not_fail_is_refused() {
        assert!(reduced(|_| false).unwrap_err().to_string().contains("does not fail"));
    }
}
