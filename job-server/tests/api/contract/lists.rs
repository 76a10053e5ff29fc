//! Listing, counting and filtering.

use job_core::progress::ReportEvent;

use super::row::{Row, ask, failed, get, later, post, progress, put, report, with};
use crate::server::BODY;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = jobs();
    rows.extend(parameters());
    rows.extend(sorting());
    rows.extend(wrong_parameters());
    rows.extend(filters());
    rows.extend(wrong_filters());
    rows.extend(pages());
    rows.extend(bulk());
    rows
}

/// What there is: a Active 50%, b Completed, c Failed, d Cancelled, e Paused, the others Waiting.
fn jobs() -> Vec<Row> {
    let mut rows = Vec::new();
    for (id, members) in [
        ("a", r#""name":"alpha","description":"D","labels":{"x":"1","tag:1":"v w"}"#),
        ("b", r#""name":"Beta","externalData":"E","labels":{"x":"2","y":null}"#),
        ("c", r#""name":"gamma*","labels":{"x":"10"}"#),
        ("d", r#""name":"O'Brien","labels":{"y":"(a,b)"}"#),
        ("e", r#""name":"a_b%c\\d""#),
        ("f_1", r#""labels":{"X":"1"}"#),
        ("G", r#""name":"a b""#),
    ] {
        rows.push(put("2", id, with(members), 201));
        // The order of creation is told apart in milliseconds.
        rows.push(later());
    }
    rows.extend([
        report("2", "a", ".1", ReportEvent::Complete),
        report("2", "b", "", ReportEvent::Complete),
        report("2", "c", ".1*", failed("no")),
        post("2", "P/jobs/d/cancel", 204),
        post("2", "P/jobs/e/pause", 204),
    ]);
    rows
}

fn list(cites: &'static str, query: &str, ids: &'static [&'static str]) -> Row {
    get(cites, format!("P/jobs?{query}")).ids(ids)
}

fn by_id(cites: &'static str, query: &str, ids: &'static [&'static str]) -> Row {
    list(cites, &format!("{query}&sort=jobId:asc"), ids)
}

/// §2.1.
fn parameters() -> Vec<Row> {
    const ALL: &[&str] = &["a", "b", "c", "d", "e", "f_1", "G"];
    vec![
        list("2.1", "", &["G", "f_1", "e", "d", "c", "b", "a"]),
        list("2.1", "sort=createTime:desc&limit=2", &["G", "f_1"]),
        by_id("2.1", "jobIdStartsWith=f_", &["f_1"]),
        by_id("2.1", "jobIdStartsWith=%25", &[]),
        by_id("2.1", "jobIdStartsWith=F", &[]),
        by_id("2.1", "jobIdStartsWith=f%5C", &[]),
        by_id("2.1", "jobIdStartsWith=", ALL),
        by_id("2.1", "statusType=NotCompleted", &["a", "c", "d", "e", "f_1", "G"]),
        by_id("2.1", "statusType=Completed", &["b"]),
        by_id("2.1", "statusType=Inactive", &["b", "c", "d"]),
        by_id("2.1", "statusType=NotFinished", &["a", "e", "f_1", "G"]),
        by_id("2.1", "statusType=All", ALL),
        by_id("2.1", "limit=3", &["a", "b", "c"]),
        by_id("2.1", "limit=0", ALL),
        by_id("2.1", "limit=2&offset=3", &["d", "e"]),
        by_id("2.1", "offset=0", ALL),
        by_id("2.1", "offset=7", &[]),
        by_id("2.1", "labelExist=x", &["a", "b", "c"]),
        by_id("2.1", "labelExist=y", &["b", "d"]),
        by_id("2.1", "labelExist=tag:1,X", &["a", "f_1"]),
        by_id("2.1", "labelExist=x,nothing,,", &["a", "b", "c"]),
        by_id("2.1", "labelExist=%20x", &[]),
        get("2.1", "P/jobs?labelExist=y&jobIdStartsWith=b")
            .member("/0/labels", serde_json::json!({"x": "2", "y": null})),
        get("2.1", "/job-service/v1/partitions/nobody/jobs").text("[]"),
        get("2.1", "/job-service/v1/partitions/nobody/jobStats/count").text("0"),
        get("1.2 #13", "P/jobStats/count").text("7").header("content-type", "application/json"),
        get("1.2 #13", "P/jobStats/count?statusType=NotFinished").text("4"),
        get("1.2 #13", "P/jobStats/count?jobIdStartsWith=f").text("1"),
        get("1.2 #13", "P/jobStats/count?filter=labels.x==*").text("3"),
        // It has no such parameter.
        get("1.2 #13", "P/jobStats/count?labelExist=nothing").text("7"),
        get("+Additions", "P/jobStats").json(serde_json::json!({
            "Active": 1, "Cancelled": 1, "Completed": 1, "Failed": 1, "Paused": 1, "Waiting": 2,
        })),
    ]
}

/// §2.1 `sort`, with the order of text of `differences.md`.
fn sorting() -> Vec<Row> {
    let sorted = |cites, sort: &str, ids| list(cites, &format!("sort={sort}"), ids);
    vec![
        sorted("2.1 sort", "jobId:asc", &["a", "b", "c", "d", "e", "f_1", "G"]),
        sorted("2.1 sort", "jobId:desc", &["G", "f_1", "e", "d", "c", "b", "a"]),
        sorted("2.1 sort", "name:asc", &["G", "e", "a", "b", "c", "d", "f_1"]),
        sorted("2.1 sort", "name:desc", &["f_1", "d", "c", "b", "a", "e", "G"]),
        // The job id breaks ties, by code points.
        sorted("2.1 sort +Correctness", "description:asc", &["a", "G", "b", "c", "d", "e", "f_1"]),
        sorted("2.1 sort +Correctness", "externalData:asc", &["b", "G", "a", "c", "d", "e", "f_1"]),
        sorted("2.1 sort", "createTime:asc", &["a", "b", "c", "d", "e", "f_1", "G"]),
        sorted("2.1 sort", "lastUpdateTime:asc&limit=1&filter=status==Waiting", &["f_1"]),
        sorted("2.1 sort +Correctness", "status:asc", &["a", "d", "b", "c", "e", "G", "f_1"]),
        sorted("2.1 sort", "percentageComplete:desc&limit=2", &["b", "a"]),
        // As text; those without the label are last, and first the other way round.
        sorted("2.1 sort", "labels.x:asc", &["a", "c", "b", "G", "d", "e", "f_1"]),
        sorted("2.1 sort", "labels.x:desc&filter=labels.x==*", &["b", "c", "a"]),
        sorted("2.1 sort +Correctness", "labels.tag:1:asc&limit=1", &["a"]),
    ]
}

/// §2.1, with the refusals of `differences.md`.
fn wrong_parameters() -> Vec<Row> {
    let wrong = |cites, query: &str| ask(cites, "GET", format!("P/jobs?{query}"), 400);
    vec![
        wrong("2.1", "sort=name").message("Invalid format for sort: name"),
        wrong("2.1", "sort=").message("Invalid format for sort: "),
        wrong("2.1", "sort=labels.:asc").message("Invalid format for label sort specified"),
        wrong("2.1", "sort=size:asc").message("Invalid value for sort field: size:asc"),
        wrong("2.1", "sort=name:ASC").message("Invalid value for sort direction: ASC"),
        // Sorting is looked at before the filter.
        wrong("2.1", "sort=name:up&filter=(").message("Invalid value for sort direction: up"),
        wrong("2.1 +Errors", "statusType=completed").message_has("statusType is \"completed\""),
        wrong("2.1 +Errors", "limit=-1").message_has("limit is \"-1\""),
        wrong("2.1 +Errors", "limit=10001").message_has("from 0 to 10000"),
        wrong("2.1 +Errors", "limit=ten").message_has("limit is \"ten\""),
        wrong("2.1 +Errors", "offset=-1").message_has("offset is \"-1\""),
        wrong("2.1 +Errors", "offset=1.5").message_has("offset is \"1.5\""),
    ]
}

fn encoded(filter: &str) -> String {
    percent_encoding::utf8_percent_encode(filter, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// §2.3.
fn filters() -> Vec<Row> {
    [
        ("id==a", &["a"][..]),
        ("id==A", &[]),
        ("id!=a", &["b", "c", "d", "e", "f_1", "G"]),
        ("id=in=(a,G,nobody)", &["a", "G"]),
        ("id=in=a", &["a"]),
        ("id=out=(a,b,c,d)", &["e", "f_1", "G"]),
        ("id=gt=e", &["f_1", "G"]),
        ("id>e", &["f_1", "G"]),
        ("id=ge=f_1", &["f_1", "G"]),
        ("id>=f_1", &["f_1", "G"]),
        ("id<b", &["a"]),
        ("id=lt=b", &["a"]),
        ("id<=b", &["a", "b"]),
        ("id=le=b", &["a", "b"]),
        // Wildcards; everything else in them is literal.
        ("name==a*", &["a", "e", "G"]),
        ("name==*a*", &["a", "b", "c", "e", "G"]),
        ("name==*_b*", &["e"]),
        ("name==*%*", &["e"]),
        ("name=='*\\\\*'", &["e"]),
        ("name!=a*", &["b", "c", "d"]),
        ("name=in=(gamma*)", &["c"]),
        // What is not there compares with nothing.
        ("name!=alpha", &["b", "c", "d", "e", "G"]),
        ("name==*", &["a", "b", "c", "d", "e", "G"]),
        ("labels.x==1", &["a"]),
        ("labels.X==1", &["f_1"]),
        ("labels.x!=1", &["b", "c"]),
        ("labels.x=out=(1,2)", &["c"]),
        ("labels.x==*", &["a", "b", "c"]),
        ("labels.y==*", &["d"]),
        ("labels.x=gt=1", &["b", "c"]),
        ("labels.tag:1=='v w'", &["a"]),
        ("status==Failed", &["c"]),
        ("status!=Waiting", &["a", "b", "c", "d", "e"]),
        ("status=in=(Paused,Cancelled)", &["d", "e"]),
        ("status=gt=Failed", &["e", "f_1", "G"]),
        ("status<Completed", &["a", "d"]),
        ("percentageComplete==50", &["a"]),
        ("percentageComplete==50.0", &["a"]),
        ("percentageComplete>=50", &["a", "b"]),
        ("percentageComplete=in=(50,1e2)", &["a", "b"]),
        // And binds more tightly than or; both have two spellings.
        ("id==a,id==b;status==Failed", &["a"]),
        ("(id==a,id==c);status==Failed", &["c"]),
        ("id==a or id==b and status==Failed", &["a"]),
        ("id==a , id==b", &["a", "b"]),
        ("( id==a or id==b ) and status==Completed", &["b"]),
        ("id == a", &["a"]),
        ("name==\"O'Brien\"", &["d"]),
        ("name=='O\\'Brien'", &["d"]),
        ("labels.y=='(a,b)'", &["d"]),
        ("name==gamma*;labels.x==10", &["c"]),
        // What the contract's own service lets out of the partition.
        ("name==\"x') OR ('1'='1\"", &[]),
        ("name=='x\\'); DROP TABLE job; --'", &[]),
    ]
    .into_iter()
    .map(|(filter, ids)| by_id("2.3", &format!("filter={}", encoded(filter)), ids))
    .collect()
}

/// §2.3, with the refusals of `differences.md`.
fn wrong_filters() -> Vec<Row> {
    let mut rows = Vec::new();
    for (filter, message) in [
        ("", "Unable to parse filter"),
        ("  ", "Unable to parse filter"),
        ("id", "Unable to parse filter"),
        ("id==", "Unable to parse filter"),
        ("==a", "Unable to parse filter"),
        ("id=like=a", "Unable to parse filter"),
        ("id==(a,b)", "Unable to parse filter"),
        ("id==a;", "Unable to parse filter"),
        ("(id==a", "Unable to parse filter"),
        ("id==a AND id==b", "Unable to parse filter"),
        ("id=='a", "Unable to parse filter"),
        ("createTime==1", "Unsupported filter key specified: createTime"),
        ("externalData==x", "Unsupported filter key specified: externalData"),
        ("ID==x", "Unsupported filter key specified: ID"),
        ("labels==x", "Unsupported filter key specified: labels"),
        ("percentageComplete==abc", "is not a number"),
        ("percentageComplete==1*", "1*"),
        ("status==Foo", "unknown status"),
        ("status==A*", "A*"),
    ] {
        let filter = encoded(filter);
        rows.push(ask("2.3 +Errors", "GET", format!("P/jobs?filter={filter}"), 400).message_has(message));
        rows.push(ask("2.3", "GET", format!("P/jobStats/count?filter={filter}"), 400).message_has(message));
        rows.push(post("2.3", format!("P/jobs:cancel?filter={filter}"), 400).message_has(message));
        rows.push(post("2.3", format!("P/jobs:delete?filter={filter}"), 400).message_has(message));
    }
    rows
}

/// Paging by cursors.
fn pages() -> Vec<Row> {
    let page = |query: &str| get("+Additions", format!("P/jobs?sort=jobId:asc&limit={query}"));
    vec![
        page("7").no_header("link"),
        page("5&offset=2").no_header("link"),
        page("5").ids(&["a", "b", "c", "d", "e"]).header_has("link", "/jobs?sort=jobId:asc&limit=5&after="),
        page("5").header_has("link", ">; rel=\"next\""),
        ask("+Additions", "GET", "P/jobs?after=x", 400).message_has("after is not a cursor"),
    ]
}

/// §1.2 #6 and #10, §3.7.
fn bulk() -> Vec<Row> {
    vec![
        post("1.2 #10", "P/jobs:cancel?jobIdStartsWith=f", 200)
            .text(r#"{"jobsCanceled":1}"#)
            .header("content-type", "application/json"),
        get("3.7", "P/jobs/f_1").member("/status", "Cancelled"),
        post("1.2 #10", "P/jobs:cancel?labelExist=x,y", 200).text(r#"{"jobsCanceled":1}"#),
        get("3.7", "P/jobs/a").member("/status", "Cancelled").contains(r#""percentageComplete":50.0"#),
        get("3.7", "P/jobs/b").member("/status", "Completed"),
        post("1.2 #10", format!("P/jobs:cancel?filter={}", encoded("id==nobody")), 200)
            .text(r#"{"jobsCanceled":0}"#),
        post("3.7", "P/jobs:cancel", 200).text(r#"{"jobsCanceled":2}"#),
        // Those that are cancelled already are finished.
        post("3.7", "P/jobs:cancel", 200).text(r#"{"jobsCanceled":0}"#),
        post("1.2 #6", "P/jobs%3Adelete?labelExist=X", 200).text(r#"{"jobsDeleted":1}"#),
        post("1.2 #6", "P/jobs:delete?jobIdStartsWith=a", 200).text(r#"{"jobsDeleted":1}"#),
        post("1.2 #6", format!("P/jobs:delete?filter={}", encoded("status==Failed")), 200)
            .text(r#"{"jobsDeleted":1}"#),
        put("3.6", "a", BODY, 201),
        report("3.6", "a", ".1", progress(1.0)),
        post("3.7", "P/jobs:delete", 200).text(r#"{"jobsDeleted":5}"#),
        get("3.7", "P/jobStats/count").text("0"),
    ]
}
