//! Dependencies as graphs: a cycle is refused exactly when there is one, and the walk over dependents finds them all.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use job_core::JobId;
use job_core::dependency::{CycleError, check_cycle, transitive_dependents};
use proptest::prelude::*;

type Graph = BTreeMap<u8, BTreeSet<u8>>;

fn id(node: u8) -> JobId {
    JobId::new(format!("j{node}")).unwrap()
}

fn node(job: &JobId) -> u8 {
    job.as_str()[1..].parse().unwrap()
}

fn targets(graph: &Graph, from: u8) -> Vec<JobId> {
    graph.get(&from).into_iter().flatten().map(|to| id(*to)).collect()
}

/// Every node that can be reached over at least one edge, by the dullest possible means.
fn reachable(graph: &Graph, from: u8) -> BTreeSet<u8> {
    let mut found = BTreeSet::new();
    loop {
        let next: BTreeSet<u8> =
            found.iter().chain([&from]).flat_map(|at| graph.get(at).into_iter().flatten().copied()).collect();
        if next.is_subset(&found) {
            return found;
        }
        found.extend(next);
    }
}

fn graphs() -> impl Strategy<Value = Graph> {
    prop::collection::vec((0..30u8, prop::collection::btree_set(0..30u8, 0..4)), 0..30)
        .prop_map(|edges| edges.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cycle_is_refused_exactly_when_there_is_one(graph in graphs(), new in 0..30u8) {
        let unmet = targets(&graph, new);
        let refused = check_cycle(&id(new), &unmet, |job| targets(&graph, node(job)));
        prop_assert_eq!(refused.is_err(), reachable(&graph, new).contains(&new));
        if let Err(CycleError::Cycle(way)) = refused {
            prop_assert_eq!(way.first(), Some(&id(new)));
            prop_assert_eq!(way.last(), Some(&id(new)));
            for step in way.windows(2) {
                prop_assert!(graph[&node(&step[0])].contains(&node(&step[1])), "{:?}", way);
            }
        }
    }

    /// Jobs created one after the other, refusing those that close a cycle, never leave one behind.
    #[test]
    fn no_accepted_graph_has_a_cycle(wanted in graphs()) {
        let mut accepted = Graph::new();
        for (new, prerequisites) in &wanted {
            let unmet: Vec<JobId> = prerequisites.iter().map(|prerequisite| id(*prerequisite)).collect();
            if check_cycle(&id(*new), &unmet, |job| targets(&accepted, node(job))).is_ok() {
                accepted.insert(*new, prerequisites.clone());
            }
        }
        for job in accepted.keys() {
            prop_assert!(!reachable(&accepted, *job).contains(job));
        }
    }

    #[test]
    fn every_dependent_is_found_once_nearest_first(graph in graphs(), root in 0..30u8) {
        let found = transitive_dependents(&id(root), |job| targets(&graph, node(job)));
        let unique: BTreeSet<u8> = found.iter().map(node).collect();
        let mut expected = reachable(&graph, root);
        expected.remove(&root);
        prop_assert_eq!(found.len(), unique.len());
        prop_assert_eq!(&unique, &expected);
        let direct = graph.get(&root).cloned().unwrap_or_default();
        let nearest = direct.iter().filter(|at| **at != root).count();
        prop_assert!(found.iter().take(nearest).all(|job| direct.contains(&node(job))));
    }
}
