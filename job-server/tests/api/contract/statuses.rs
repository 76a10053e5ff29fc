//! What becomes of a job.

use job_core::progress::ReportEvent;

use super::row::{Row, ask, due, failed, get, is, post, progress, put, report, with};
use crate::server::BODY;

/// The statuses a job can be brought to, in the order of the contract's table.
const STATUSES: [&str; 6] = ["Waiting", "Active", "Paused", "Failed", "Cancelled", "Completed"];

/// Event, and the status after it for each of [`STATUSES`].
const REPORTS: [(&str, [&str; 6]); 4] = [
    ("progress", ["Active", "Active", "Paused", "Failed", "Cancelled", "Completed"]),
    ("complete", ["Completed", "Completed", "Completed", "Completed", "Cancelled", "Completed"]),
    ("failure", ["Failed", "Failed", "Failed", "Failed", "Cancelled", "Completed"]),
    ("subtask", ["Active", "Active", "Paused", "Failed", "Cancelled", "Completed"]),
];

/// Action, the answer to it and the status after it for each of [`STATUSES`].
const ACTIONS: [(&str, [(u16, &str); 6]); 3] = [
    (
        "cancel",
        [
            (204, "Cancelled"),
            (204, "Cancelled"),
            (204, "Cancelled"),
            (400, "Failed"),
            (204, "Cancelled"),
            (400, "Completed"),
        ],
    ),
    (
        "pause",
        [
            (204, "Paused"),
            (204, "Paused"),
            (204, "Paused"),
            (400, "Failed"),
            (400, "Cancelled"),
            (400, "Completed"),
        ],
    ),
    (
        "resume",
        [
            (400, "Waiting"),
            (204, "Active"),
            // To what it was, which is the first deviation of `differences.md` about statuses.
            (204, "Waiting"),
            (400, "Failed"),
            (400, "Cancelled"),
            (400, "Completed"),
        ],
    ),
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (place, status) in STATUSES.into_iter().enumerate() {
        for (event, after) in REPORTS {
            let id = leaked(format!("{event}-{status}"));
            rows.extend(in_status(id, status));
            rows.push(is("3.2", id, status));
            let (task, event) = match event {
                "progress" => (".7", progress(10.0)),
                "complete" => ("", ReportEvent::Complete),
                "failure" => (".7", failed("no")),
                _ => (".7", ReportEvent::Complete),
            };
            rows.push(report("3.2", id, task, event));
            rows.push(is("3.2", id, after[place]));
        }
        for (action, after) in ACTIONS {
            let id = leaked(format!("{action}-{status}"));
            let (answer, after) = after[place];
            rows.extend(in_status(id, status));
            let row = post("3.2, 3.4, 3.5", format!("P/jobs/{id}/{action}"), answer);
            rows.push(if answer == 400 { row.message(refusal(action, id, status)) } else { row.text("") });
            rows.push(is("3.2", id, after));
        }
        let id = leaked(format!("delete-{status}"));
        rows.extend(in_status(id, status));
        let active = if matches!(status, "Waiting" | "Active") { "true" } else { "false" };
        rows.extend([
            get("1.2 #7, 3.3", format!("P/jobs/{id}/isActive"))
                .text(active)
                .header("cacheablejobstatus", "true")
                .header("cache-control", "no-transform, max-age=5"),
            get("1.2 #8, 3.3", format!("P/jobs/{id}/status"))
                .text(leaked(format!("\"{status}\"")))
                .header("cacheablejobstatus", "true")
                .header("cache-control", "no-transform, max-age=5")
                .header("content-type", "application/json"),
            ask("3.2, 3.6", "DELETE", format!("P/jobs/{id}"), 204).text(""),
            ask("3.6", "GET", format!("P/jobs/{id}"), 404),
            ask("3.6", "DELETE", format!("P/jobs/{id}"), 404),
        ]);
    }
    rows.extend(details());
    rows
}

/// What brings a new job to a status. A Paused one was Waiting before.
fn in_status(id: &'static str, status: &str) -> Vec<Row> {
    let mut rows = vec![put("3.1", id, BODY, 201)];
    match status {
        "Active" => rows.push(report("3.2", id, ".1", ReportEvent::Complete)),
        "Paused" => rows.push(post("3.2", format!("P/jobs/{id}/pause"), 204)),
        "Failed" => rows.push(report("3.2", id, ".1", failed("before"))),
        "Cancelled" => rows.push(post("3.2", format!("P/jobs/{id}/cancel"), 204)),
        "Completed" => rows.push(report("3.2", id, "", ReportEvent::Complete)),
        _ => {}
    }
    rows
}

/// §1.4.
fn refusal(action: &str, id: &str, status: &str) -> String {
    match action {
        "cancel" => format!("job_id {{{id}}} cannot be cancelled"),
        "pause" => format!(
            "job_id {{{id}}} cannot be paused as it has a status of {{{status}}}. Only jobs with a status of Active or Waiting can be paused."
        ),
        _ => format!(
            "job_id {{{id}}} cannot be resumed as it has a status of {{{status}}}. Only jobs with a status of Paused can be resumed."
        ),
    }
}

/// What the table of §3.2 does not say.
fn details() -> Vec<Row> {
    vec![
        put("3.4", "twice", BODY, 201),
        report("3.4", "twice", ".1", ReportEvent::Complete),
        post("3.4", "P/jobs/twice/cancel", 204),
        get("3.4", "P/jobs/twice")
            .kept("cancelled", "/lastUpdateTime")
            .contains(r#""percentageComplete":50.0"#),
        post("3.4", "P/jobs/twice/cancel", 204),
        report("3.2", "twice", ".2", ReportEvent::Complete),
        get("3.4", "P/jobs/twice")
            .kept("cancelled", "/lastUpdateTime")
            .contains(r#""percentageComplete":50.0"#),
        put("3.5", "paused", BODY, 201),
        post("3.5", "P/jobs/paused/pause", 204),
        get("3.5", "P/jobs/paused").kept("paused", "/lastUpdateTime"),
        post("3.5", "P/jobs/paused/pause", 204),
        get("3.5", "P/jobs/paused").kept("paused", "/lastUpdateTime"),
        report("3.2", "paused", ".1", progress(40.0)),
        get("3.2", "P/jobs/paused").member("/status", "Paused").contains(r#""percentageComplete":20.0"#),
        post("3.5 +Correctness", "P/jobs/paused/resume", 204),
        post("+Correctness", "P/jobs:delete", 200),
        // Paused and cancelled jobs are not published.
        put("+Correctness", "held", BODY, 201),
        put("+Correctness", "stopped", BODY, 201),
        due("5.3", &["held", "stopped"]),
        post("+Correctness", "P/jobs/held/pause", 204),
        post("+Correctness", "P/jobs/stopped/cancel", 204),
        due("+Correctness", &[]),
        post("+Correctness", "P/jobs/held/resume", 204),
        due("+Correctness", &["held"]),
        // A failed job goes on, and is Completed when everything is.
        put("+Correctness", "mended", BODY, 201),
        report("+Correctness", "mended", ".1", failed("no")),
        report("+Correctness", "mended", ".2*", ReportEvent::Complete),
        get("3.2", "P/jobs/mended").member("/status", "Failed").member("/failureCount", 1),
        report("+Correctness", "mended", ".1", ReportEvent::Complete),
        get("+Correctness", "P/jobs/mended").member("/status", "Completed").member("/failureCount", 0),
        // Reports on what is not there are nothing.
        report("3.2", "nobody", ".1", ReportEvent::Complete),
        ask("3.2", "GET", "P/jobs/nobody", 404),
        // A job of the same id is another job.
        put("3.6", "again", with(r#""name":"first""#), 201),
        ask("3.6", "DELETE", "P/jobs/again", 204),
        put("3.6", "again", BODY, 201),
        get("3.6", "P/jobs/again").member("/name", ()),
        get("+Additions", "P/jobs/mended?wait=60").member("/status", "Completed"),
        ask("+Additions", "GET", "P/jobs/mended?wait=61", 400).message_has("from 0 to 60"),
        get("+Additions", "P/jobs/mended/tasks").text("[]"),
        get("+Additions", "P/jobs/mended/failures").text("[]"),
    ]
}

/// Rows hold ids of constants, and here of combinations of them.
fn leaked(text: String) -> &'static str {
    text.leak()
}
