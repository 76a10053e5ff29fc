//! Any text as a filter: nothing may panic, hang or outrun the stack, and what is read keeps to the bounds.
#![no_main]

use job_core::query::{FILTER_TERMS_MAX, Filter, TextTest, parse_filter};
use libfuzzer_sys::fuzz_target;

/// Comparisons in a tree, none of which asks for a text that no store can hold.
fn comparisons(filter: &Filter) -> usize {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            assert!(parts.len() > 1);
            parts.iter().map(comparisons).sum()
        }
        Filter::Text(_, test) => {
            let values = match test {
                TextTest::In(values) | TextTest::NotIn(values) => values.as_slice(),
                TextTest::Like(value) | TextTest::NotLike(value) | TextTest::Compare(_, value) => {
                    std::slice::from_ref(value)
                }
            };
            assert!(!values.is_empty() && values.iter().all(|value| !value.contains('\0')));
            1
        }
        Filter::Status(_) | Filter::Percentage(_) => 1,
    }
}

fuzz_target!(|data: &str| match parse_filter(data) {
    Ok(filter) => assert!(comparisons(&filter) <= FILTER_TERMS_MAX),
    Err(error) => assert!(error.message().chars().count() < 500, "{error}"),
});
