//! Subtask accounting alone: completions per second on one core, and bytes per completed sibling.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use job_benches::{measure, shuffle};
use job_core::progress::{Effects, ReportEvent, Tree};
use job_core::{TaskId, TaskPath};

const ROUNDS: usize = 5;

fn task(numbers: &[u32], last: bool) -> TaskId {
    let (number, parents) = numbers.split_last().expect("not the job itself");
    TaskId::new(TaskPath::new(parents).expect("valid")).child(*number, last).expect("valid")
}

fn flat(count: u32) -> Vec<TaskId> {
    (1..=count).map(|number| task(&[number], number == count)).collect()
}

fn nested(width: u32) -> Vec<TaskId> {
    let inner = |parent| {
        (1..width).map(move |number| task(&[parent, number], false)).chain([task(&[parent, width], true)])
    };
    // The job's own final mark comes last, as the parent's final response does.
    (1..width)
        .flat_map(inner)
        .chain((1..=width).map(|number| task(&[width, number], number == width)))
        .chain([task(&[width], true)])
        .collect()
}

fn run(tasks: &[TaskId], tree: &mut Tree) {
    let mut effects = Effects::default();
    for task in tasks {
        tree.record(task, &ReportEvent::Complete, &mut effects);
    }
    assert!(tree.is_complete(), "every completion must be there");
}

fn completions(name: &str, mut tasks: Vec<TaskId>) -> f64 {
    let units = tasks.len() as u64;
    let ordered =
        measure(&format!("{name}, in order"), units, ROUNDS, Tree::default, |tree| run(&tasks, tree));
    shuffle(&mut tasks);
    measure(&format!("{name}, shuffled"), units, ROUNDS, Tree::default, |tree| run(&tasks, tree));
    ordered.per_second()
}

fn bytes_per_sibling(count: u32) {
    let mut tree = Tree::default();
    let mut effects = Effects::default();
    for number in 2..=count {
        tree.record(&task(&[number], number == count), &ReportEvent::Complete, &mut effects);
    }
    let bits = tree.heap_bytes() as f64 * 8.0 / f64::from(count);
    println!("{count} siblings, all but one complete: {bits:.2} bits each in memory");
}

fn main() {
    let mut rates = Vec::new();
    for count in [10_000, 100_000, 1_000_000, 10_000_000] {
        rates.push((count, completions(&format!("{count} flat siblings"), flat(count))));
    }
    let nested_rate = completions("1,000 x 1,000 nested", nested(1_000));
    let million = rates[2].1;
    println!("nested to flat at a million: {:.2}", nested_rate / million);
    println!("10^7 to 10^4: {:.2}", rates[3].1 / rates[0].1);
    bytes_per_sibling(1_000_000);
    bytes_per_sibling(10_000_000);
}
