//! Progress against a naive model: the same rules, recomputed from the plain set of reports.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use job_core::progress::{Effects, Footprint, Percentage, ReportEvent, Reported, Tree, chunk_of};
use job_core::{Failure, TaskId, TaskPath, Timestamp};
use proptest::prelude::*;

/// Keeps what was said, and computes everything from it each time it is asked.
#[derive(Default, Clone)]
struct Model {
    complete: BTreeSet<TaskPath>,
    progress: BTreeMap<TaskPath, u64>,
    failures: BTreeMap<TaskPath, BTreeSet<String>>,
    totals: BTreeMap<TaskPath, u32>,
    children: BTreeMap<TaskPath, BTreeSet<u32>>,
}

fn prefixes(path: &TaskPath) -> Vec<TaskPath> {
    let numbers = path.numbers();
    (0..numbers.len()).map(|depth| TaskPath::new(&numbers[..depth]).unwrap()).collect()
}

impl Model {
    fn report(&mut self, task: &TaskId, event: &ReportEvent) {
        if *event == ReportEvent::Progress(Percentage::ZERO) {
            return;
        }
        let path = task.path();
        let ancestors = prefixes(path);
        if ancestors.iter().skip(1).any(|ancestor| self.is_complete(ancestor)) {
            return;
        }
        if let (true, Some((parent, number))) = (task.is_final(), path.split_last()) {
            let total = self.totals.entry(parent).or_default();
            *total = (*total).max(number);
        }
        if self.is_complete(path) {
            return;
        }
        for (parent, number) in ancestors.iter().zip(path.numbers()) {
            self.children.entry(parent.clone()).or_default().insert(*number);
        }
        match event {
            ReportEvent::Complete => {
                self.complete.insert(path.clone());
            }
            ReportEvent::Progress(percentage) => {
                let reported = percentage.steps().min(Percentage::REPORTED_MAX.steps());
                let known = self.progress.entry(path.clone()).or_default();
                *known = (*known).max(reported);
            }
            ReportEvent::Failed(failure) => {
                self.failures.entry(path.clone()).or_default().insert(failure.message.clone());
            }
        }
    }

    fn is_complete(&self, path: &TaskPath) -> bool {
        if self.complete.contains(path) {
            return true;
        }
        let Some(total) = self.totals.get(path) else { return false };
        (1..=*total).all(|number| self.is_complete(&path.child(number).unwrap()))
    }

    fn value(&self, path: &TaskPath) -> u64 {
        if self.is_complete(path) {
            return Percentage::FULL.steps();
        }
        let children = self.children.get(path).cloned().unwrap_or_default();
        let total = self.totals.get(path).copied();
        let divisor = total.unwrap_or_else(|| children.last().copied().unwrap_or(0) + 1);
        let counted = children.iter().filter(|number| total.is_none_or(|total| **number <= total));
        let sum: u64 = counted.map(|number| self.value(&path.child(*number).unwrap())).sum();
        let mean = (sum / u64::from(divisor)).min(Percentage::INCOMPLETE_MAX.steps());
        mean.max(self.progress.get(path).copied().unwrap_or(0))
    }

    fn failures(&self) -> BTreeSet<(TaskPath, String)> {
        let stands =
            |path: &TaskPath| !prefixes(path).iter().chain([path]).any(|above| self.is_complete(above));
        let standing = self.failures.iter().filter(|(path, _)| stands(path));
        standing.flat_map(|(path, texts)| texts.iter().map(|text| (path.clone(), text.clone()))).collect()
    }
}

fn failed(text: &str) -> ReportEvent {
    let time = Timestamp::from_millis(1);
    ReportEvent::Failed(Failure { id: "X".into(), time, source: "w".into(), message: text.into() })
}

/// The engine, with the failures that its effects leave standing.
#[derive(Default, Clone)]
struct Engine {
    tree: Tree,
    failures: BTreeSet<(TaskPath, String)>,
}

impl Engine {
    fn report(&mut self, task: &TaskId, event: &ReportEvent) -> Reported {
        let mut effects = Effects::default();
        let reported = self.tree.record(task, event, &mut effects);
        self.failures.extend(effects.failures.into_iter().map(|(path, failure)| (path, failure.message)));
        self.failures
            .retain(|(path, _)| !effects.recovered.iter().any(|recovered| path.is_within(recovered)));
        if self.tree.is_complete() {
            self.failures.clear();
        }
        reported
    }

    fn shown(&self) -> (u64, bool, BTreeSet<(TaskPath, String)>) {
        (self.tree.percentage().steps(), self.tree.is_complete(), self.failures.clone())
    }
}

fn task_ids() -> impl Strategy<Value = TaskId> {
    prop::collection::vec((1..5u32, prop::bool::weighted(0.25)), 1..5).prop_map(|steps| {
        steps.into_iter().fold(TaskId::root(), |task, (number, mark)| task.child(number, mark).unwrap())
    })
}

fn events() -> impl Strategy<Value = ReportEvent> {
    prop_oneof![
        6 => Just(ReportEvent::Complete),
        1 => (0..=10_000u16).prop_map(|hundredths| ReportEvent::Progress(Percentage::from_hundredths(hundredths))),
        2 => "[a-c]".prop_map(|text| failed(&text)),
    ]
}

type Reports = Vec<(TaskId, ReportEvent)>;

/// Up to 64 reports, of which roughly a third arrive twice.
fn histories() -> impl Strategy<Value = Reports> {
    prop::collection::vec((task_ids(), events(), prop::bool::weighted(0.3)), 0..48).prop_map(|reports| {
        let repeats = reports.iter().filter(|(_, _, repeat)| *repeat);
        reports.iter().chain(repeats).map(|(task, event, _)| (task.clone(), event.clone())).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_agrees_with_the_model_after_every_report(history in histories()) {
        let (mut engine, mut model) = (Engine::default(), Model::default());
        let root = TaskPath::root();
        for (task, event) in &history {
            // Once the job is complete nothing counts any more; stores do not even ask.
            if model.is_complete(&root) {
                break;
            }
            engine.report(task, event);
            model.report(task, event);
            prop_assert_eq!(engine.tree.is_complete(), model.is_complete(&root), "{:?}", task);
            prop_assert_eq!(engine.tree.percentage().steps(), model.value(&root), "{:?}", task);
            if !engine.tree.is_complete() {
                prop_assert_eq!(&engine.failures, &model.failures(), "{:?}", task);
                prop_assert_eq!(engine.tree.failure_count() as usize, engine.failures.len());
                prop_assert_eq!(engine.tree.is_failed(), engine.tree.failure_count() > 0);
            }
        }
        let mut drift = Vec::new();
        engine.tree.recount(|path, what, stored, counted| drift.push((path.clone(), what, stored, counted)));
        prop_assert_eq!(drift, vec![]);
    }

    #[test]
    fn saying_everything_again_changes_nothing(history in histories()) {
        let mut engine = Engine::default();
        for (task, event) in &history {
            engine.report(task, event);
        }
        let before = engine.shown();
        for (task, event) in history.iter().rev() {
            prop_assert_eq!(engine.report(task, event), Reported::Duplicate, "{:?} {:?}", task, event);
        }
        prop_assert_eq!(engine.shown(), before);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// As long as workers agree on who is last. When they do not, a job that was complete by the smaller mark stays so.
    #[test]
    fn order_does_not_matter(history in histories(), seed in any::<u64>()) {
        let history: Reports = history.into_iter().map(|(task, event)| (with_last(&task, 4), event)).collect();
        let mut ordered = Engine::default();
        for (task, event) in &history {
            ordered.report(task, event);
        }
        let mut shuffled = history;
        let mut state = seed | 1;
        for i in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(i, (state >> 33) as usize % (i + 1));
        }
        let mut other = Engine::default();
        for (task, event) in &shuffled {
            other.report(task, event);
        }
        prop_assert_eq!(ordered.shown(), other.shown());
    }

    /// What a database does: for each batch only the rows of its footprint are in memory.
    #[test]
    fn a_tree_loaded_in_parts_behaves_like_a_whole_one(history in histories(), batch in 1..9usize, spread in 1..9_000u32) {
        let stretched: Reports = history.into_iter().map(|(task, event)| (stretch(&task, spread), event)).collect();
        let (mut whole, mut stored) = (Engine::default(), Rows::default());
        for reports in stretched.chunks(batch) {
            for (task, event) in reports {
                whole.report(task, event);
            }
            stored.record(reports);
            prop_assert_eq!(stored.percentage, whole.tree.percentage().steps());
        }
        let mut all = stored.load_all();
        let mut drift = Vec::new();
        all.recount(|path, what, stored, counted| drift.push((path.clone(), what, stored, counted)));
        prop_assert_eq!(drift, vec![]);
        prop_assert_eq!(all.is_complete(), whole.tree.is_complete());
    }
}

/// Marks exactly the siblings numbered `last`.
fn with_last(task: &TaskId, last: u32) -> TaskId {
    let numbers = task.path().numbers();
    numbers.iter().fold(TaskId::root(), |marked, number| marked.child(*number, *number == last).unwrap())
}

/// Spreads sibling numbers over several chunks.
fn stretch(task: &TaskId, spread: u32) -> TaskId {
    let depth = task.path().depth();
    task.path().numbers().iter().enumerate().fold(TaskId::root(), |stretched, (level, number)| {
        stretched.child(number * spread, level + 1 == depth && task.is_final()).unwrap()
    })
}

#[derive(Default)]
struct Rows {
    records: BTreeMap<TaskPath, Vec<u8>>,
    chunks: BTreeMap<(TaskPath, u32), Vec<u8>>,
    percentage: u64,
}

impl Rows {
    fn record(&mut self, reports: &[(TaskId, ReportEvent)]) {
        let mut tree = self.load(reports);
        let mut effects = Effects::default();
        for (task, event) in reports {
            tree.record(task, event, &mut effects);
        }
        for dropped in &effects.dropped {
            self.records.retain(|path, _| !path.is_within(dropped));
            self.chunks.retain(|(path, _), _| !path.is_within(dropped));
        }
        let changes = tree.drain();
        self.records.extend(changes.records);
        self.chunks.extend(changes.chunks.into_iter().map(|(path, index, bytes)| ((path, index), bytes)));
        self.percentage = tree.percentage().steps();
    }

    fn load(&self, reports: &[(TaskId, ReportEvent)]) -> Tree {
        let footprint = Footprint::of(reports.iter().map(|(task, _)| task.path()));
        let mut tree = Tree::default();
        for path in &footprint.parents {
            self.load_record(&mut tree, path);
        }
        for path in footprint.tasks.difference(&footprint.parents) {
            let parent = path.split_last().map(|(parent, _)| parent).unwrap_or_default();
            if tree.has_child_records(&parent) {
                self.load_record(&mut tree, path);
            }
        }
        for (parent, index) in &footprint.chunks {
            if let Some(bytes) = self.chunks.get(&(parent.clone(), *index)) {
                tree.load_chunk(parent, *index, bytes).unwrap();
            }
        }
        for (parent, number) in tree.recounts_needed(reports.iter().map(|(task, _)| task)) {
            for ((above, index), bytes) in &self.chunks {
                let loaded = footprint.chunks.contains(&(parent.clone(), *index));
                if *above == parent && *index >= chunk_of(number) && !loaded {
                    tree.load_chunk(&parent, *index, bytes).unwrap();
                }
            }
            for path in self.records.keys() {
                let beyond =
                    path.split_last().is_some_and(|(above, child)| above == parent && child > number);
                if beyond && !footprint.tasks.contains(path) && !footprint.parents.contains(path) {
                    self.load_record(&mut tree, path);
                }
            }
        }
        tree
    }

    fn load_record(&self, tree: &mut Tree, path: &TaskPath) {
        if let Some(bytes) = self.records.get(path) {
            tree.load_record(path, bytes).unwrap();
        }
    }

    fn load_all(&self) -> Tree {
        let mut tree = Tree::default();
        for (path, bytes) in &self.records {
            tree.load_record(path, bytes).unwrap();
        }
        for ((path, index), bytes) in &self.chunks {
            tree.load_chunk(path, *index, bytes).unwrap();
        }
        tree
    }
}

/// Every sequence of up to six reports over a small universe of them.
#[test]
fn every_permutation_of_small_histories_agrees() {
    let universe: Reports = [
        (".1", ReportEvent::Complete),
        (".2*", ReportEvent::Complete),
        (".1.1", ReportEvent::Complete),
        (".1.2*", ReportEvent::Complete),
        (".1", failed("boom")),
        (".2", ReportEvent::Progress(Percentage::from_hundredths(4_000))),
        (".3", ReportEvent::Complete),
    ]
    .into_iter()
    .map(|(task, event)| (task.parse().unwrap(), event))
    .collect();
    let mut histories = 0;
    visit(&universe, &mut Vec::new(), 6, &mut |history| {
        let (mut engine, mut model) = (Engine::default(), Model::default());
        let root = TaskPath::root();
        for (task, event) in history {
            if model.is_complete(&root) {
                break;
            }
            engine.report(task, event);
            model.report(task, event);
        }
        assert_eq!(engine.tree.percentage().steps(), model.value(&root), "{history:?}");
        assert_eq!(engine.tree.is_complete(), model.is_complete(&root), "{history:?}");
        assert_eq!(engine.failures, model.failures(), "{history:?}");
        histories += 1;
    });
    assert_eq!(histories, (0..=6).map(|length| 7usize.pow(length)).sum::<usize>());
}

fn visit(universe: &Reports, chosen: &mut Reports, longest: usize, see: &mut impl FnMut(&Reports)) {
    see(chosen);
    if chosen.len() < longest {
        for report in universe {
            chosen.push(report.clone());
            visit(universe, chosen, longest, see);
            chosen.pop();
        }
    }
}
