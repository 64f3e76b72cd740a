//! Walks from outer to inner graphs: for passes that need to know what an inner graph can see around it.

use super::graph::Graph;
use super::model::{Model, edit_inner, visit_graph};
use crate::error::Result;

impl Model {
    /// The graphs that lie in no other: the main graph, then the bodies of functions; each with the path to it.
    pub fn roots(&self) -> Vec<(Vec<String>, &Graph)> {
        let functions = self.functions.iter().map(|f| (vec![format!("function `{}`", f.name())], &f.body));
        std::iter::once((Vec::new(), &self.graph)).chain(functions).collect()
    }

    /// [`Model::roots`], to change them.
    pub fn roots_mut(&mut self) -> Vec<(Vec<String>, &mut Graph)> {
        let functions =
            self.functions.iter_mut().map(|f| (vec![format!("function `{}`", f.proto.name())], &mut f.body));
        std::iter::once((Vec::new(), &mut self.graph)).chain(functions).collect()
    }
}

impl Graph {
    /// Lets `visit` see this graph and all inside of it, outer graphs first, each with the path that leads to it.
    ///
    /// # Errors
    /// Passes on what `visit` returns.
    pub fn visit_outer_first(
        &self,
        path: &[String],
        mut visit: impl FnMut(&Self, &[String]) -> Result<()>,
    ) -> Result<()> {
        visit_graph(self, &mut path.to_vec(), &mut visit)
    }

    /// Lets `edit` change this graph and all inside of it, in the order of [`Graph::visit_outer_first`], and brings
    /// captures up to date. An edit must add and remove no operators with subgraphs.
    ///
    /// # Errors
    /// Passes on what `edit` returns.
    pub fn edit_outer_first(
        &mut self,
        path: &[String],
        mut edit: impl FnMut(&mut Self, &[String]) -> Result<()>,
    ) -> Result<()> {
        edit_below(self, &mut path.to_vec(), &mut edit)
    }
}

fn edit_below(
    graph: &mut Graph,
    path: &mut Vec<String>,
    edit: &mut impl FnMut(&mut Graph, &[String]) -> Result<()>,
) -> Result<()> {
    edit(graph, path)?;
    edit_inner(graph, path, &mut |inner, path| edit_below(inner, path, edit))
}
