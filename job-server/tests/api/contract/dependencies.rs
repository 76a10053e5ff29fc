//! Prerequisites and dependents.

use job_core::progress::ReportEvent;
use serde_json::json;

use super::row::{FAILURE_MILLIS, Row, ask, due, failed, get, is, post, put, report, with};
use crate::server::BODY;

fn after(ids: &str) -> String {
    with(&format!(r#""prerequisiteJobIds":{ids}"#))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = syntax();
    rows.extend(creation());
    rows.extend(hand_off());
    rows.extend(propagation());
    rows
}

/// §5.1.
fn syntax() -> Vec<Row> {
    let waits = |id: &'static str, for_whom: &[&str]| {
        let missing = |job: &&str| json!({"jobId": job, "status": "missing"});
        let blockers: Vec<_> = for_whom.iter().map(missing).collect();
        get("5.1", format!("P/jobs/{id}")).member("/blockedBy", blockers)
    };
    vec![
        put("5.1", "plain", after(r#"["one"]"#), 201),
        waits("plain", &["one"]),
        put("5.1", "options", after(r#"["one,other,,","two,"]"#), 201),
        waits("options", &["one", "two"]),
        put("5.1", "pre-created", after(r#"["one,pc"]"#), 201),
        waits("pre-created", &[]),
        put("5.1", "pre-created-late", after(r#"["one,x,pc"]"#), 201),
        waits("pre-created-late", &[]),
        put("5.1", "no-trimming", after(r#"["one, pc"]"#), 201),
        waits("no-trimming", &["one"]),
        put("5.1", "case", after(r#"["one,PC"]"#), 201),
        waits("case", &["one"]),
        put("5.1", "merged", after(r#"["one","two","one"]"#), 201),
        waits("merged", &["one", "two"]),
        put("5.1", "pc-wins", after(r#"["one","one,pc"]"#), 201),
        waits("pc-wins", &[]),
        put("1.5, 5.1", "blank", after(r#"[null,""," \t","one"]"#), 201),
        waits("blank", &["one"]),
        put("5.1 +Errors", "long", after(&format!(r#"["{}"]"#, "i".repeat(49))), 400)
            .message_has("prerequisiteJobIds[0]"),
        post("5.1", "P/jobs:delete", 200),
    ]
}

/// §5.2 and §5.3.
fn creation() -> Vec<Row> {
    let mut rows = Vec::new();
    for id in ["waiting", "active", "paused", "cancelled", "failed", "failed2", "completed"] {
        rows.push(put("5.2", id, BODY, 201));
    }
    rows.extend([
        report("5.2", "active", ".1", ReportEvent::Complete),
        post("5.2", "P/jobs/paused/pause", 204),
        post("5.2", "P/jobs/cancelled/cancel", 204),
        report("5.2", "failed", ".1", failed("no")),
        report("5.2", "failed2", ".1", failed("no")),
        report("5.2", "completed", "", ReportEvent::Complete),
        put("5.2", "on-missing", after(r#"["nobody"]"#), 201),
        get("5.2 +Additions", "P/jobs/on-missing")
            .member("/status", "Waiting")
            .member("/blockedBy", json!([{"jobId": "nobody", "status": "missing"}])),
        put("5.2", "on-pc", after(r#"["nobody,pc"]"#), 201),
        put("5.2", "on-three", after(r#"["waiting,pc","active,pc","paused,pc"]"#), 201),
        get("5.2", "P/jobs/on-three").member(
            "/blockedBy",
            json!([
                {"jobId": "active", "status": "Active"},
                {"jobId": "paused", "status": "Paused"},
                {"jobId": "waiting", "status": "Waiting"},
            ]),
        ),
        put("5.2", "on-cancelled", after(r#"["cancelled"]"#), 201),
        get("5.2 +Correctness", "P/jobs/on-cancelled")
            .member("/blockedBy", json!([{"jobId": "cancelled", "status": "Cancelled"}])),
        put("5.2", "on-failed", after(r#"["waiting","failed"]"#), 400)
            .message("One or more prerequisite jobs have failed. Failed Job IDs: failed"),
        put("5.2", "on-failed", after(r#"["failed","failed2"]"#), 400)
            .message("One or more prerequisite jobs have failed. Failed Job IDs: failed, failed2"),
        ask("5.2", "GET", "P/jobs/on-failed", 404),
        put("5.2", "on-completed", after(r#"["completed"]"#), 201),
        get("5.2 +Additions", "P/jobs/on-completed")
            .member("/blockedBy", json!([]))
            .member("/prerequisiteJobIds", json!(["completed"])),
        put("5.2 +Correctness", "itself", after(r#"["itself"]"#), 400).message_has("itself"),
        put("5.2 +Correctness", "first", after(r#"["second"]"#), 201),
        put("5.2 +Correctness", "second", after(r#"["third"]"#), 201),
        put("5.2 +Correctness", "third", after(r#"["first"]"#), 400).message_has("first"),
        put("5.3", "delayed", with(r#""delay":3600"#), 201),
        get("5.3 +Additions", "P/jobs/delayed").member("/delay", 3600),
        put("5.3", "delayed-on-completed", with(r#""delay":3600,"prerequisiteJobIds":["completed"]"#), 201),
        // What is due: everything whose prerequisites are complete and whose delay is over, and only that.
        due("5.3 +Correctness", &["active", "on-completed", "on-pc", "waiting"]),
        post("5.3", "P/jobs:delete", 200),
    ]);
    rows
}

/// §5.4.
fn hand_off() -> Vec<Row> {
    vec![
        put("5.4", "a", BODY, 201),
        put("5.4", "b", BODY, 201),
        put("5.4", "both", after(r#"["a","b"]"#), 201),
        put("5.4", "one", after(r#"["a"]"#), 201),
        put("5.4", "later", with(r#""delay":3600,"prerequisiteJobIds":["a"]"#), 201),
        put("5.4 +Correctness", "paused", after(r#"["a"]"#), 201),
        post("5.4 +Correctness", "P/jobs/paused/pause", 204),
        put("5.4 +Correctness", "cancelled", after(r#"["a"]"#), 201),
        post("5.4 +Correctness", "P/jobs/cancelled/cancel", 204),
        due("5.4", &["a", "b"]),
        get("+Additions", "P/jobs/b/dependencies").json(json!({
            "nodes": [
                {"id": "b", "name": null, "status": "Waiting", "percentageComplete": 0.0},
                {"id": "both", "name": null, "status": "Waiting", "percentageComplete": 0.0},
            ],
            "edges": [{"prerequisite": "b", "dependent": "both"}],
            "truncated": false,
        })),
        report("5.4", "a", "", ReportEvent::Complete),
        due("5.4", &["b", "one"]),
        get("5.4", "P/jobs/both").member("/prerequisiteJobIds", json!(["b", "a"])),
        post("5.4 +Correctness", "P/jobs/paused/resume", 204),
        due("5.4 +Correctness", &["b", "one", "paused"]),
        report("5.4", "b", ".1*", ReportEvent::Complete),
        due("5.4", &["both", "one", "paused"]),
        // Waiting for a job that is deleted, and comes back.
        put("3.6", "p", BODY, 201),
        put("3.6", "q", after(r#"["p"]"#), 201),
        ask("3.6", "DELETE", "P/jobs/p", 204),
        get("3.6 +Correctness", "P/jobs/q")
            .member("/blockedBy", json!([{"jobId": "p", "status": "missing"}])),
        put("3.6", "p", BODY, 201),
        report("3.6", "p", "", ReportEvent::Complete),
        due("3.6", &["both", "one", "paused", "q"]),
        post("5.4", "P/jobs:delete", 200),
    ]
}

/// §5.5.
fn propagation() -> Vec<Row> {
    let shown = json!([{
        "failureId": "RESULT_EXCEPTION", "failureTime": FAILURE_MILLIS,
        "failureSource": "dependencies:root:W", "failureMessage": "why",
    }]);
    vec![
        put("5.5", "root", BODY, 201),
        put("5.5", "child", after(r#"["root"]"#), 201),
        put("5.5", "grandchild", after(r#"["child","elsewhere"]"#), 201),
        put("5.5", "paused", after(r#"["root"]"#), 201),
        post("5.5", "P/jobs/paused/pause", 204),
        put("5.5 +Correctness", "cancelled", after(r#"["root"]"#), 201),
        post("5.5", "P/jobs/cancelled/cancel", 204),
        report("5.5", "root", ".1", failed("why")),
        get("5.5", "P/jobs/child")
            .member("/status", "Failed")
            .contains(r#""percentageComplete":0.0"#)
            .member("/failures", shown.clone())
            .member("/blockedBy", json!([])),
        get("5.5", "P/jobs/grandchild").member("/status", "Failed").member("/failures", shown.clone()),
        get("5.5", "P/jobs/paused").member("/status", "Failed").member("/failures", shown),
        is("5.5 +Correctness", "cancelled", "Cancelled"),
        due("5.5", &[]),
        report("5.5", "root", "", ReportEvent::Complete),
        is("5.5", "root", "Completed"),
        is("5.5", "child", "Failed"),
        // Cancelling and deleting do not propagate.
        put("5.5", "stopped", BODY, 201),
        put("5.5", "gone", BODY, 201),
        put("5.5", "waits", after(r#"["stopped","gone"]"#), 201),
        post("5.5", "P/jobs/stopped/cancel", 204),
        ask("5.5", "DELETE", "P/jobs/gone", 204),
        is("5.5", "waits", "Waiting"),
    ]
}

/// §5.3 and §6.6, in a partition that the configuration suspends.
pub(super) fn suspended_rows() -> Vec<Row> {
    vec![
        put("5.3, 6.6", "j", BODY, 201),
        get("6.6 +Additions", "P/jobs/j")
            .member("/status", "Waiting")
            .member("/blockedBy", json!([{"reason": "the partition is suspended"}])),
        due("5.3, 6.6", &[]),
        put("5.3", "done", BODY, 201),
        report("5.3", "done", "", ReportEvent::Complete),
        put("5.3", "on-completed", after(r#"["done"]"#), 201),
        put("5.4 +Correctness", "first", BODY, 201),
        put("5.4 +Correctness", "second", after(r#"["first"]"#), 201),
        report("5.4 +Correctness", "first", "", ReportEvent::Complete),
        due("5.4 +Correctness", &[]),
        get("+Additions", "/job-service/v1/suspendedPartitions").json(json!([{"partitionId": "suspended"}])),
        post("+Additions", "/job-service/v1/partitions/suspended/resume", 204),
        due("+Additions", &["j", "on-completed", "second"]),
        get("+Additions", "P/jobs/j").member("/blockedBy", json!([])),
        post("+Additions", "/job-service/v1/partitions/suspended/suspend", 204),
        due("+Additions", &[]),
    ]
}
