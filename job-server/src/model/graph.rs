//! The dependency graph around a job.

use job_core::JobStatus;
use job_core::graph::{DependencyGraph, GraphEdge, GraphNode};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct GraphModel<'a> {
    nodes: Vec<NodeModel<'a>>,
    edges: Vec<EdgeModel<'a>>,
    truncated: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeModel<'a> {
    id: &'a str,
    name: Option<&'a str>,
    /// `missing` when no job of this id exists, as in `blockedBy`.
    status: &'static str,
    percentage_complete: Option<f64>,
}

#[derive(Debug, Serialize)]
struct EdgeModel<'a> {
    prerequisite: &'a str,
    dependent: &'a str,
}

impl<'a> GraphModel<'a> {
    pub(crate) fn new(graph: &'a DependencyGraph) -> Self {
        Self {
            nodes: graph.nodes.iter().map(NodeModel::new).collect(),
            edges: graph.edges.iter().map(EdgeModel::new).collect(),
            truncated: graph.is_truncated,
        }
    }
}

impl<'a> NodeModel<'a> {
    fn new(node: &'a GraphNode) -> Self {
        let known = node.known.as_ref();
        Self {
            id: node.job.as_str(),
            name: known.and_then(|job| job.name.as_deref()),
            status: known.map_or("missing", |job| JobStatus::as_str(job.status)),
            percentage_complete: known.map(|job| job.percentage.rounded()),
        }
    }
}

impl<'a> EdgeModel<'a> {
    fn new(edge: &'a GraphEdge) -> Self {
        Self { prerequisite: edge.prerequisite.as_str(), dependent: edge.dependent.as_str() }
    }
}
