//! Which jobs are selected.

use job_core::query::{
    Comparison, Filter, JobQuery, PercentageTest, Selection, StatusTest, StatusType, TextKey, TextTest,
};
use job_core::store::JobStore;
use job_core::{Job, JobStatus};

use super::fixture::{
    bring_to, complete, create, create_plain, ids, job, list_ids, progress, record, sorted_by,
};

async fn selected(store: &dyn JobStore, selection: Selection) -> Vec<String> {
    list_ids(store, &JobQuery { selection, ..sorted_by("createTime:asc") }).await
}

async fn filtered(store: &dyn JobStore, filter: Filter) -> Vec<String> {
    selected(store, Selection { filter: Some(filter), ..Selection::default() }).await
}

fn text(key: &TextKey, test: TextTest) -> Filter {
    Filter::Text(key.clone(), test)
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// A begin of an id is literal and case-sensitive.
pub async fn a_prefix_is_taken_literally(store: &dyn JobStore) {
    create_plain(store, &["a%b", "a%c", "aXb", "A%b", "a_b", "a\\b", "ab"], 1).await;
    let with = |prefix: &str| Selection { id_prefix: prefix.into(), ..Selection::default() };
    assert_eq!(selected(store, with("a%")).await, ["a%b", "a%c"]);
    assert_eq!(selected(store, with("a_")).await, ["a_b"]);
    assert_eq!(selected(store, with("a\\")).await, ["a\\b"]);
    assert_eq!(selected(store, with("A")).await, ["A%b"]);
    assert_eq!(selected(store, with("ab")).await, ["ab"]);
    assert_eq!(selected(store, with("")).await.len(), 7);
}

/// What cannot begin an id begins none, without being an error.
pub async fn an_impossible_prefix_selects_nothing(store: &dyn JobStore) {
    create_plain(store, &["a"], 1).await;
    for prefix in ["*", "a*", "a.b", &"a".repeat(49), "a\u{10ffff}"] {
        let selection = Selection { id_prefix: prefix.into(), ..Selection::default() };
        assert_eq!(selected(store, selection).await, Vec::<String>::new(), "{prefix}");
    }
}

/// The groups of statuses are the contract's.
pub async fn status_types_name_groups(store: &dyn JobStore) {
    for status in JobStatus::ALL {
        create_plain(store, &[status.as_str()], 1).await;
        bring_to(store, status.as_str(), status, 2).await;
    }
    use StatusType as T;
    for group in [T::All, T::NotCompleted, T::Completed, T::Inactive, T::NotFinished] {
        let expected: Vec<&str> =
            JobStatus::ALL.into_iter().filter(|s| group.includes(*s)).map(JobStatus::as_str).collect();
        let selection = Selection { status_type: group, ..Selection::default() };
        assert_eq!(selected(store, selection).await, expected, "{group:?}");
    }
}

/// Any of the labels, whatever its value.
pub async fn any_of_the_named_labels_is_enough(store: &dyn JobStore) {
    let mut null = job("null");
    null.labels.insert("a".into(), None);
    create(store, [job("a").with_label("a", "1"), job("b").with_label("b:c", ""), null, job("z")], 1).await;
    let with = |labels: &[&str]| Selection { labels_exist: texts(labels), ..Selection::default() };
    assert_eq!(selected(store, with(&["a"])).await, ["a", "null"]);
    assert_eq!(selected(store, with(&["a", "b:c"])).await, ["a", "b", "null"]);
    assert_eq!(selected(store, with(&["A", "b"])).await, Vec::<String>::new());
    assert_eq!(selected(store, with(&[])).await.len(), 4);
}

async fn named(store: &dyn JobStore) {
    let mut null = job("5");
    null.labels.insert("k".into(), None);
    let jobs = [
        job("1").with_name("Alpha").with_label("k", "alpha"),
        job("2").with_name("beta 50%").with_label("k", "b_ta"),
        job("3").with_name("").with_label("k", ""),
        job("4"),
        null.with_name("it's \"quoted\"; drop table job"),
        job("6").with_name("a\\b").with_label("other", "alpha"),
    ];
    create(store, jobs, 1).await;
}

/// Equality is exact.
pub async fn equal_texts_are_exactly_equal(store: &dyn JobStore) {
    named(store).await;
    let name = TextKey::Name;
    assert_eq!(filtered(store, text(&name, TextTest::In(texts(&["Alpha"])))).await, ["1"]);
    assert_eq!(filtered(store, text(&name, TextTest::In(texts(&["alpha"])))).await, Vec::<String>::new());
    assert_eq!(filtered(store, text(&name, TextTest::In(texts(&["", "a\\b"])))).await, ["3", "6"]);
    let quoted = "it's \"quoted\"; drop table job";
    assert_eq!(filtered(store, text(&name, TextTest::In(texts(&[quoted])))).await, ["5"]);
    assert_eq!(filtered(store, text(&name, TextTest::In(vec![]))).await, Vec::<String>::new());
}

/// Null follows SQL: an absent value is not different from anything.
pub async fn an_absent_text_satisfies_nothing(store: &dyn JobStore) {
    named(store).await;
    let label = TextKey::Label("k".into());
    assert_eq!(filtered(store, text(&label, TextTest::NotIn(texts(&["alpha"])))).await, ["2", "3"]);
    assert_eq!(filtered(store, text(&label, TextTest::NotIn(vec![]))).await, ["1", "2", "3"]);
    assert_eq!(filtered(store, text(&label, TextTest::NotLike("a*".into()))).await, ["2", "3"]);
    assert_eq!(filtered(store, text(&label, TextTest::Like("*".into()))).await, ["1", "2", "3"]);
    assert_eq!(filtered(store, text(&TextKey::Name, TextTest::NotIn(texts(&["x"])))).await.len(), 5);
    let compare = TextTest::Compare(Comparison::GreaterOrEqual, String::new());
    assert_eq!(filtered(store, text(&label, compare)).await, ["1", "2", "3"]);
}

/// Only the star is special in a pattern.
pub async fn patterns_know_stars_only(store: &dyn JobStore) {
    named(store).await;
    for (pattern, expected) in [
        ("A*", vec!["1"]),
        ("a*", vec!["6"]),
        ("*50%", vec!["2"]),
        ("%", vec![]),
        ("*%*", vec!["2"]),
        ("_lpha", vec![]),
        ("*\\*", vec!["6"]),
        ("", vec!["3"]),
        ("*e*a*", vec!["2", "5"]),
        ("*'*\"*", vec!["5"]),
        ("Alpha", vec!["1"]),
        ("**", vec!["1", "2", "3", "5", "6"]),
        ("Alpha*Alpha", vec![]),
    ] {
        assert_eq!(
            filtered(store, text(&TextKey::Name, TextTest::Like(pattern.into()))).await,
            expected,
            "{pattern}"
        );
    }
    assert_eq!(filtered(store, text(&TextKey::Label("k".into()), TextTest::Like("b_*".into()))).await, ["2"]);
}

/// Texts compare in the order listings are sorted by.
pub async fn texts_compare_as_they_sort(store: &dyn JobStore) {
    for (time, name) in ["A", "a", "B", "b", "C", "É", "é"].iter().enumerate() {
        create_plain(store, &[name], time as i64).await;
    }
    use Comparison as C;
    for (comparison, expected) in [
        (C::Greater, vec!["b", "C", "É", "é"]),
        (C::GreaterOrEqual, vec!["B", "b", "C", "É", "é"]),
        (C::Less, vec!["A", "a"]),
        (C::LessOrEqual, vec!["A", "a", "B"]),
    ] {
        let test = TextTest::Compare(comparison, "B".into());
        assert_eq!(filtered(store, text(&TextKey::Id, test)).await, expected, "{comparison:?}");
    }
}

/// Statuses are tested by name and compare alphabetically.
pub async fn statuses_are_tested_as_they_are_now(store: &dyn JobStore) {
    for status in JobStatus::ALL {
        create_plain(store, &[status.as_str()], 1).await;
        bring_to(store, status.as_str(), status, 2).await;
    }
    let of = |test| Filter::Status(test);
    let two = vec![JobStatus::Paused, JobStatus::Active];
    assert_eq!(filtered(store, of(StatusTest::In(two.clone()))).await, ["Active", "Paused"]);
    assert_eq!(
        filtered(store, of(StatusTest::NotIn(two))).await,
        ["Cancelled", "Completed", "Failed", "Waiting"]
    );
    let after = StatusTest::Compare(Comparison::Greater, JobStatus::Failed);
    assert_eq!(filtered(store, of(after)).await, ["Paused", "Waiting"]);
    let until = StatusTest::Compare(Comparison::LessOrEqual, JobStatus::Cancelled);
    assert_eq!(filtered(store, of(until)).await, ["Active", "Cancelled"]);
}

/// Percentages are tested as they are shown, with two decimals.
pub async fn percentages_are_tested_as_they_are_shown(store: &dyn JobStore) {
    create_plain(store, &["0", "33", "50", "100"], 1).await;
    record(store, &[progress("33", ".3*", 99.9), complete("50", ".1"), complete("100", "")], 2).await;
    // A third of 99.9 is 33.3.
    let of = |test| Filter::Percentage(test);
    assert_eq!(filtered(store, of(PercentageTest::In(vec![33.3, 100.0]))).await, ["100", "33"]);
    assert_eq!(filtered(store, of(PercentageTest::NotIn(vec![33.3, 0.0]))).await, ["100", "50"]);
    let compare = |comparison, value| of(PercentageTest::Compare(comparison, value));
    assert_eq!(filtered(store, compare(Comparison::Greater, 33.3)).await, ["100", "50"]);
    assert_eq!(filtered(store, compare(Comparison::GreaterOrEqual, 33.29)).await, ["100", "33", "50"]);
    assert_eq!(filtered(store, compare(Comparison::Less, -1e300)).await, Vec::<String>::new());
    assert_eq!(filtered(store, compare(Comparison::LessOrEqual, 1e300)).await.len(), 4);
    assert_eq!(filtered(store, of(PercentageTest::In(vec![33.300_000_1]))).await, Vec::<String>::new());
}

/// All of nothing is true, any of nothing is false.
pub async fn empty_conditions_mean_what_logic_says(store: &dyn JobStore) {
    create_plain(store, &["j"], 1).await;
    assert_eq!(filtered(store, Filter::And(vec![])).await, ["j"]);
    assert_eq!(filtered(store, Filter::Or(vec![])).await, Vec::<String>::new());
    assert_eq!(filtered(store, Filter::Or(vec![Filter::And(vec![]), Filter::Or(vec![])])).await, ["j"]);
}

/// Conditions nest.
pub async fn conditions_nest(store: &dyn JobStore) {
    named(store).await;
    let is = |id: &str| text(&TextKey::Id, TextTest::In(texts(&[id])));
    let label = text(&TextKey::Label("k".into()), TextTest::Like("*a*".into()));
    let either = Filter::Or(vec![is("1"), is("4"), is("6")]);
    assert_eq!(filtered(store, Filter::And(vec![either.clone(), label.clone()])).await, ["1"]);
    assert_eq!(filtered(store, Filter::Or(vec![either, label])).await, ["1", "2", "4", "6"]);
    let deep = (0..40).fold(is("2"), |inner, n| {
        if n % 2 == 0 { Filter::And(vec![inner]) } else { Filter::Or(vec![is("none"), inner]) }
    });
    assert_eq!(filtered(store, deep).await, ["2"]);
}

/// Many values in one test.
pub async fn a_test_may_name_many_values(store: &dyn JobStore) {
    create_plain(store, &["j1", "j999"], 1).await;
    let names: Vec<String> = (0..1_000).map(|n| format!("j{n}")).collect();
    assert_eq!(filtered(store, text(&TextKey::Id, TextTest::In(names))).await, ["j1", "j999"]);
}

/// Every part of a selection restricts.
pub async fn all_parts_of_a_selection_must_hold(store: &dyn JobStore) {
    let labelled = |id: &str| job(id).with_label("l", "1").with_name("n");
    create(
        store,
        [
            labelled("x1"),
            labelled("x2"),
            labelled("y"),
            job("x3").with_name("n"),
            job("x4").with_label("l", "1"),
        ],
        1,
    )
    .await;
    bring_to(store, "x2", JobStatus::Cancelled, 2).await;
    let selection = Selection {
        id_prefix: "x".into(),
        status_type: StatusType::NotFinished,
        labels_exist: texts(&["l"]),
        filter: Some(text(&TextKey::Name, TextTest::In(texts(&["n"])))),
    };
    assert_eq!(selected(store, selection).await, ["x1"]);
}

/// The matcher of job-core says exactly which jobs are selected, and every store agrees.
pub async fn the_store_selects_what_the_matcher_selects(store: &dyn JobStore) {
    named(store).await;
    let everything: Vec<Job> = store.list(&sorted_by("createTime:asc")).await.unwrap().jobs;
    let keys = [TextKey::Id, TextKey::Name, TextKey::Label("k".into()), TextKey::Label("nobody's".into())];
    let values = ["", "1", "3", "Alpha", "alpha", "ALPHA", "b", "beta 50%", "é", "'"];
    for key in &keys {
        for value in values {
            use Comparison as C;
            let value = value.to_owned();
            let mut tests = vec![
                TextTest::In(vec![value.clone()]),
                TextTest::NotIn(vec![value.clone()]),
                TextTest::Like(format!("{value}*")),
                TextTest::NotLike(format!("*{value}")),
            ];
            let comparisons = [C::Less, C::LessOrEqual, C::Greater, C::GreaterOrEqual];
            tests.extend(comparisons.map(|comparison| TextTest::Compare(comparison, value.clone())));
            for test in tests {
                let filter = text(key, test);
                let matching: Vec<Job> =
                    everything.iter().filter(|job| filter.matches(job)).cloned().collect();
                assert_eq!(filtered(store, filter.clone()).await, ids(&matching), "{filter:?}");
            }
        }
    }
}
