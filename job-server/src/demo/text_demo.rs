//! The demo on texts: three batches over one directory and a report that waits for two of them.
#![expect(clippy::print_stdout, reason = "the demo speaks to whoever started it")]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use job_batch_glob::{GLOB_BATCH, GlobPlugin};
use job_core::Shutdown;
use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::worker::Worker as _;
use job_core::worker::batch::{BATCH_KIND, BatchWorker};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;
use serde_json::{Value, json};

use super::client::Client;
use super::corpus::Corpus;
use super::earlier_run::begin;
use super::failure_groups::render_failures;
use super::findings::{Findings, Report};
use super::stage::{Stage, Watched, host, open_queue, open_store};
use super::text_workers::{CheckText, CountWords, DetectLanguage, MakeReport, Texts};
use super::{DemoArgs, EXIT_INTERRUPTED, usage_error};
use crate::table::{grouped, printable};

const BATCH_QUEUE: &str = "demo-batches";
const CHECK_QUEUE: &str = "demo-check";
const DETECT_QUEUE: &str = "demo-detect";
const COUNT_QUEUE: &str = "demo-count";
const REPORT_QUEUE: &str = "demo-report";

const CHECK: &str = "check";
const DETECT: &str = "detect";
const COUNT: &str = "count";
const REPORT: &str = "report";

/// Works on the texts of a directory; 1 when there is no report at the end.
pub(super) async fn run(args: &DemoArgs, interrupt: &Shutdown) -> anyhow::Result<ExitCode> {
    let corpus = match &args.directory {
        None => Corpus::unpack()?,
        Some(directory) => match Corpus::open(directory) {
            Ok(corpus) => corpus,
            Err(sentence) => return Ok(usage_error(&sentence)),
        },
    };
    let store = open_store(args).await?;
    let queue = open_queue(args)?;
    let findings = Arc::new(match &store {
        None => Findings::default(),
        Some(_) => Findings::kept_in(&args.findings)
            .with_context(|| format!("--findings: {} cannot be used", shown(&args.findings)))?,
    });
    let texts = Texts { directory: corpus.directory().to_owned(), findings: Arc::clone(&findings) };
    let store = store.unwrap_or_else(|| Arc::new(MemoryStore::new()));
    let queue = queue.unwrap_or_else(|| Arc::new(MemoryQueue::new()));
    let stage = start(store, queue, &texts, args.workers.get()).await?;
    match &args.directory {
        None => println!("Looking at the texts that this program carries"),
        Some(directory) => println!("Looking at {} under {}", args.glob, shown(directory)),
    }
    println!("The API is at {}\n", stage.client.jobs_url());
    let play = async {
        begin(&stage.client, &jobs(args), stage.clock.now(), || findings.forget()).await?;
        let jobs = [CHECK, DETECT, COUNT, REPORT].map(|job| stage.observed(job));
        stage.watch(jobs.into(), |_| String::new()).await
    };
    let watched = tokio::select! {
        watched = play => watched?,
        () = interrupt.stopping() => {
            println!("Interrupted.");
            stage.stop().await;
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
    };
    println!();
    let report = report(&findings, &watched);
    print_report(report.as_ref());
    let failed = print_failures(&stage.client, &watched).await?;
    if !failed && report.as_ref().is_some_and(|report| report.files == 0) {
        stage.stop().await;
        findings.remove_file();
        return Ok(usage_error(&format!(
            "no file under {} matches {}",
            shown(corpus.directory()),
            args.glob
        )));
    }
    if args.keep_serving {
        stage.serve_on(interrupt).await;
    }
    stage.stop().await;
    findings.remove_file();
    Ok(if report.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The report; made again when the process that made it was killed before it could show it.
fn report(findings: &Findings, watched: &Watched) -> Option<Report> {
    if !watched.job(REPORT).is_some_and(|job| job.is_completed()) {
        return None;
    }
    findings.report().or_else(|| findings.make_report().ok().and_then(|()| findings.report()))
}

async fn start(
    store: Arc<dyn JobStore>,
    queue: Arc<dyn TaskQueue>,
    texts: &Texts,
    workers: usize,
) -> anyhow::Result<Stage> {
    let plugin = GlobPlugin::new(&texts.directory);
    Stage::start(store, queue, |engine| {
        host(engine, BATCH_QUEUE, 2, |runner| runner.register(BatchWorker::new().with_plugin(plugin)))?;
        host(engine, CHECK_QUEUE, workers, |runner| runner.register(CheckText(texts.clone())))?;
        host(engine, DETECT_QUEUE, workers, |runner| runner.register(DetectLanguage(texts.clone())))?;
        host(engine, COUNT_QUEUE, workers, |runner| runner.register(CountWords(texts.clone())))?;
        host(engine, REPORT_QUEUE, 1, |runner| runner.register(MakeReport(texts.clone())))?;
        Ok(())
    })
    .await
}

/// The report comes first: a job may wait for jobs that do not exist yet.
fn jobs(args: &DemoArgs) -> [(&'static str, Value); 4] {
    let glob = &args.glob;
    let mut jobs = [
        (REPORT, report_job()),
        (CHECK, batch_job("Check that every file is a text", glob, CheckText::KIND, CHECK_QUEUE)),
        (DETECT, batch_job("Detect the language of every text", glob, DetectLanguage::KIND, DETECT_QUEUE)),
        (COUNT, batch_job("Count the words of every text", glob, CountWords::KIND, COUNT_QUEUE)),
    ];
    // Jobs over another directory are other jobs.
    for (_, job) in &mut jobs {
        job["externalData"] = args.directory.as_deref().map_or_else(|| "the corpus".to_owned(), shown).into();
    }
    jobs
}

fn report_job() -> Value {
    json!({
        "name": "Report on all texts",
        "prerequisiteJobIds": [DETECT, COUNT],
        "task": {
            "taskClassifier": MakeReport::KIND,
            "taskApiVersion": 1,
            "taskData": {},
            "taskPipe": REPORT_QUEUE,
        },
    })
}

fn batch_job(name: &str, glob: &str, kind: &str, queue: &str) -> Value {
    json!({
        "name": name,
        "task": {
            "taskClassifier": BATCH_KIND,
            "taskApiVersion": 1,
            "taskData": {
                "batchDefinition": glob,
                "batchType": GLOB_BATCH,
                "taskMessageType": kind,
                "targetPipe": queue,
            },
            "taskPipe": BATCH_QUEUE,
        },
    })
}

fn print_report(report: Option<&Report>) {
    let Some(report) = report else { return println!("The report could not be produced.") };
    if report.files == 0 {
        return;
    }
    println!("{}", report.table);
    println!(
        "{} texts, {} languages, {} words",
        grouped(report.files as u64),
        report.languages,
        grouped(report.words)
    );
}

/// Answers whether there were any.
async fn print_failures(client: &Client, watched: &Watched) -> anyhow::Result<bool> {
    let mut any = false;
    for job in &watched.jobs {
        let count = job.latest.as_ref().map_or(0, |answer| answer.failure_count);
        if count == 0 {
            continue;
        }
        any = true;
        println!("\n{} failed in {}:", grouped(count), job.id);
        let failures = client.failures(job.id).await?;
        print!("{}", render_failures(&failures));
        if count > failures.len() as u64 {
            println!("  only the first {} are shown", grouped(failures.len() as u64));
        }
    }
    Ok(any)
}

fn shown(directory: &Path) -> String {
    printable(&directory.display().to_string())
}
