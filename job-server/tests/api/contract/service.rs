//! The service itself: media types, headers, errors, and what is not about a job.

use serde_json::json;

use super::row::{Row, ask, get, post, put, with};
use crate::server::BODY;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        get("1.2 #1", "/job-service/v1/ping")
            .text(r#"{"success" : true}"#)
            .header("content-type", "application/json"),
        get("1.1", "admin:/ping").text("pong\n"),
        ask("1.1", "GET", "/job-service-ui", 302).header("location", "/job-service-ui/"),
        get("1.1", "/job-service-ui/").header("content-type", "text/html; charset=utf-8"),
        get("1.1", "/job-service-ui/opentext-config.js")
            .header("content-type", "text/javascript; charset=utf-8"),
        get("1.1", "/job-service-ui/api-docs/swagger.yaml").header("content-type", "text/x-yaml"),
        get("1.1", "/health-check?type=ALIVE").text("[]").header("cache-control", "no-store"),
        get("1.1 correlation", "/job-service/v1/ping")
            .with_header("CAF-Correlation-Id: my id")
            .header("caf-correlation-id", "my id"),
        get("1.1 correlation", "/job-service/v1/ping").header_length("caf-correlation-id", 36),
        get("1.1 correlation", "/job-service/v1/ping")
            .with_header("CAF-Correlation-Id: ")
            .header_length("caf-correlation-id", 36),
        ask("1.1 correlation", "GET", "/nowhere", 404)
            .with_header("CAF-Correlation-Id: c")
            .header("caf-correlation-id", "c"),
        put("1.1 correlation", "j", with(r#""name":"N""#), 201)
            .with_header("CAF-Correlation-Id: of the request")
            .header("caf-correlation-id", "of the request"),
        get("1.1 correlation +", "P/jobs/j").member("/correlationId", "of the request"),
        get("1.1 compression", "P/jobs/j")
            .with_header("Accept-Encoding: gzip")
            .header("content-encoding", "gzip"),
        get("1.1 compression", "P/jobs/j").no_header("content-encoding"),
        get("1.1 compression", "P/jobs/j/status")
            .with_header("Accept-Encoding: gzip")
            .no_header("content-encoding"),
        get("1.1 media types", "P/jobs").header("content-type", "application/json"),
        post("1.1 media types", "P/jobs/j/pause", 204).text("").no_header("content-type"),
        put("1.1 media types", "k", BODY, 201).with_header("Content-Type: application/json; charset=utf-8"),
        ask("1.1 media types +Errors", "PUT", "P/jobs/text", 415)
            .with_header("Content-Type: text/plain")
            .message_has("application/json"),
        // What the contract itself would rather not answer with 500.
        ask("1.4 +Errors", "GET", "/job-service/v1/nothing", 404).message_has("nothing at this path"),
        ask("1.4 +Errors", "PATCH", "P/jobs/j", 405)
            .header("allow", "GET, PUT, DELETE, HEAD")
            .message_has("expected one of"),
        ask("1.4 +Errors", "GET", "P/jobs/j/cancel", 405).header("allow", "POST"),
        put("1.4 +Errors", "bad", "{\"name\":}", 400)
            .message_has("Unable to process JSON: name: expected value at line 1 column 9"),
        put("1.4 +Errors", "bad", "{\"name\":[]}", 400).message_has("name: an array is given"),
        put("1.4 +Errors", "bad", "", 400).message_has("the body is empty"),
        put("1.4", "unknown", with(r#""unknown":{"x":1}"#), 201),
        ask("1.4", "GET", "P/jobs/none", 404).message("job_id {none} not found"),
        ask("1.4", "GET", "P/jobs/none/status", 404)
            .message("job_id {none} not found")
            .no_header("cacheablejobstatus"),
        ask("1.4", "DELETE", "P/jobs/none", 404).message("job_id {none} not found"),
        post("1.4", "P/jobs/none/cancel", 404).message("job_id {none} not found"),
        post("1.4", "P/jobs/none/pause", 404).message("job_id {none} not found"),
        post("1.4", "P/jobs/none/resume", 404).message("job_id {none} not found"),
        get("1.2 #7, 3.3", "P/jobs/none/isActive").text("false").header("cacheablejobstatus", "true"),
        get("+Additions", "/job-service/v1/jobTypes").json(json!([{
            "id": "known",
            "jobParametersSchema": {
                "type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false,
            },
        }])),
    ];
    rows.extend(identifiers());
    rows
}

/// §1.3.
fn identifiers() -> Vec<Row> {
    const PARTITIONS: &str = "/job-service/v1/partitions";
    let characters = ["%2E", "%2C", "%3A", "%3B", "%2A", "%3F", "%21", "%7C", "%28", "%29"];
    let emoji = "%F0%9F%98%80";
    let mut rows = Vec::new();
    for character in characters {
        rows.push(
            ask("1.3", "GET", format!("{PARTITIONS}/a{character}b/jobs"), 400)
                .message("The partition ID contains one or more invalid characters."),
        );
        rows.push(
            ask("1.3", "GET", format!("P/jobs/a{character}b"), 400)
                .message("The job identifier contains one or more invalid characters."),
        );
    }
    rows.extend([
        get("1.3", format!("{PARTITIONS}/{}/jobs", "p".repeat(40))).text("[]"),
        ask("1.3", "GET", format!("{PARTITIONS}/{}/jobs", "p".repeat(41)), 400)
            .message("The partition ID is longer than 40 characters."),
        // In UTF-16 units, of which each of these has two.
        get("1.3", format!("{PARTITIONS}/{}/jobs", emoji.repeat(20))).text("[]"),
        ask("1.3", "GET", format!("{PARTITIONS}/{}/jobs", emoji.repeat(21)), 400)
            .message("The partition ID is longer than 40 characters."),
        put("1.3", "i".repeat(48), BODY, 201),
        put("1.3 +Errors", "i".repeat(49), BODY, 400).message_has("longer than 48 characters"),
        // The partition is looked at before the job, and the job before the rest.
        ask("1.3", "GET", format!("{PARTITIONS}/a%2E/jobs/b%2E"), 400)
            .message("The partition ID contains one or more invalid characters."),
        put("1.3", "b%2E", "{", 400).message("The job identifier contains one or more invalid characters."),
        put("1.3", "a%20b%7B1%7D%2Fc", BODY, 201).header(
            "location",
            "http://{address}/job-service/v1/partitions/{partition}/jobs/a%20b%7B1%7D%2Fc",
        ),
        get("1.3", "P/jobs/a%20b%7B1%7D%2Fc").member("/id", "a b{1}/c"),
        get("1.3", "P/jobs/a%20b%7B1%7D%2Fc/status").text("\"Waiting\""),
        ask("1.3", "GET", "P/jobs/J", 404).message("job_id {J} not found"),
        get("2.1", format!("{PARTITIONS}/Service/jobs")).text("[]"),
    ]);
    rows
}
