//! Answers as text for people. What the server sent may hold anything, so control characters never reach the terminal.

use std::fmt::Write as _;

use job_core::Timestamp;
use serde_json::Value;

pub(super) use crate::table::printable;
use crate::table::{Align, Table};

/// Longest text in a column.
const CELL_CHARACTERS_MAX: usize = 60;

fn string(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}

fn cell(value: &Value) -> String {
    let text = string(value);
    match text.char_indices().nth(CELL_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn time(value: &Value) -> String {
    value.as_i64().map_or_else(String::new, |millis| Timestamp::from_millis(millis).to_string())
}

fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn percentage(job: &Value) -> String {
    job["percentageComplete"].as_f64().map_or_else(String::new, |percentage| format!("{percentage:.2}%"))
}

/// `3 of 10`, and how many failed.
pub(super) fn subtasks(task: &Value) -> String {
    let counts = &task["subtasks"];
    let number = |name: &str| counts[name].as_u64().unwrap_or_default();
    let mut text = match counts["total"].as_u64() {
        Some(total) => format!("{} of {total}", number("completed")),
        None if number("completed") > 0 => format!("{} of ?", number("completed")),
        None => String::new(),
    };
    if number("failed") > 0 {
        write!(text, " ({} failed)", number("failed")).expect("writing to a string cannot fail");
    }
    text
}

pub(super) fn job(job: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            writeln!(text, "{name:<12}  {value}").expect("writing to a string cannot fail");
        }
    };
    line("job", string(&job["id"]));
    line("name", string(&job["name"]));
    line("description", string(&job["description"]));
    line("type", string(&job["type"]));
    line("status", string(&job["status"]));
    line("complete", percentage(job));
    line("subtasks", subtasks(job));
    line("created", time(&job["createTime"]));
    line("started", time(&job["startTime"]));
    line("updated", time(&job["lastUpdateTime"]));
    line("finished", time(&job["finishTime"]));
    line("expected", time(&job["estimatedFinishTime"]));
    for (key, value) in job["labels"].as_object().into_iter().flatten() {
        line("label", format!("{}={}", printable(key), string(value)));
    }
    for blocker in entries(&job["blockedBy"]) {
        line(if blocker["jobId"].is_null() { "held because" } else { "waits for" }, self::blocker(blocker));
    }
    let failures = entries(&job["failures"]);
    for failure in failures {
        line("failure", reason(failure));
    }
    let more = job["failureCount"].as_u64().unwrap_or_default().saturating_sub(failures.len() as u64);
    if more > 0 {
        line("", format!("and {more} more failures"));
    }
    text
}

fn blocker(blocker: &Value) -> String {
    match blocker["jobId"].as_str() {
        Some(id) => format!("{} ({})", printable(id), string(&blocker["status"])),
        None => string(&blocker["reason"]),
    }
}

/// What keeps a job from running, or nothing.
pub(super) fn hindrance(job: &Value) -> String {
    let [first, rest @ ..] = entries(&job["blockedBy"]) else { return String::new() };
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    let word = if first["jobId"].is_null() { "held because" } else { "waits for" };
    format!("{word} {}{more}", blocker(first))
}

fn reason(failure: &Value) -> String {
    format!("{}: {}", string(&failure["failureSource"]), cell(&failure["failureMessage"]))
}

/// Failures that `wait` shows; the command `failures` shows all.
const REASONS_MAX: usize = 5;

/// Why a job failed, a line each.
pub(super) fn reasons(job: &Value) -> String {
    let failures = entries(&job["failures"]);
    let shown = &failures[..failures.len().min(REASONS_MAX)];
    let mut text: String = shown.iter().map(|failure| reason(failure) + "\n").collect();
    let count = job["failureCount"].as_u64().unwrap_or(failures.len() as u64);
    let more = count.saturating_sub(shown.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {more} more: see job failures\n"));
    }
    text
}

pub(super) fn jobs(jobs: &Value) -> String {
    let mut table = Table::new([
        ("JOB", Align::Left),
        ("STATUS", Align::Left),
        ("COMPLETE", Align::Right),
        ("CREATED", Align::Left),
        ("NAME", Align::Left),
    ]);
    for job in entries(jobs) {
        let created = time(&job["createTime"]);
        table.push([
            string(&job["id"]),
            string(&job["status"]),
            percentage(job),
            created,
            cell(&job["name"]),
        ]);
    }
    table.render()
}

pub(super) fn failures(failures: &Value) -> String {
    let mut table = Table::new([
        ("TASK", Align::Left),
        ("TIME", Align::Left),
        ("ID", Align::Left),
        ("SOURCE", Align::Left),
        ("MESSAGE", Align::Left),
    ]);
    for failure in entries(failures) {
        table.push([
            string(&failure["path"]),
            time(&failure["failureTime"]),
            cell(&failure["failureId"]),
            cell(&failure["failureSource"]),
            cell(&failure["failureMessage"]),
        ]);
    }
    table.render()
}

pub(super) fn tree(tree: &Value) -> String {
    let job = &tree["job"];
    let mut text = format!(
        "{}  {}  {}  {}\n",
        string(&job["id"]),
        string(&job["status"]),
        percentage(job),
        subtasks(job)
    );
    branches(&tree["tasks"], 1, &mut text);
    text
}

fn branches(tasks: &Value, level: usize, text: &mut String) {
    for task in entries(tasks) {
        let indent = "  ".repeat(level);
        if task["more"] == true {
            text.push_str(&format!("{indent}...\n"));
            continue;
        }
        let failed = if task["failed"] == true { "  failed" } else { "" };
        let line =
            format!("{indent}{}  {}  {}{failed}", string(&task["path"]), percentage(task), subtasks(task));
        text.push_str(line.trim_end());
        text.push('\n');
        branches(&task["tasks"], level + 1, text);
    }
}

pub(super) fn graph(graph: &Value) -> String {
    let mut table = Table::new([
        ("JOB", Align::Left),
        ("STATUS", Align::Left),
        ("COMPLETE", Align::Right),
        ("WAITS FOR", Align::Left),
    ]);
    for node in entries(&graph["nodes"]) {
        let edges = entries(&graph["edges"]).iter().filter(|edge| edge["dependent"] == node["id"]);
        let waits: Vec<String> = edges.map(|edge| string(&edge["prerequisite"])).collect();
        table.push([string(&node["id"]), string(&node["status"]), percentage(node), waits.join(", ")]);
    }
    let mut text = table.render();
    if graph["truncated"] == true {
        text.push_str("There are more jobs; --limit shows more of them.\n");
    }
    text
}
