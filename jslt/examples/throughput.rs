//! How long an evaluation takes: `cargo run --release -p jslt --example throughput`.
//!
//! The script is of the kind that a job service runs for each task it starts: it turns the
//! parameters of a job, about 1 KiB of JSON, into a task of some ten members.
#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock of the machine itself")]
#![expect(clippy::print_stdout, reason = "the measurement is printed for whoever runs it")]

use std::hint::black_box;
use std::time::Instant;

use jslt::{CompileError, CompileOptions, Context, ObjectFilter, Script};
use serde_json::{Value, json};

const SCRIPT: &str = r#"
let bucket = fallback(.output.bucket, "default")

def location(name)
  "s3://" + $bucket + "/" + .tenant + "/" + $name

{
  "type"     : "transcode",
  "id"       : .job + "-" + .attempt,
  "priority" : if (.priority > 5) "high" else if (.priority > 2) "normal" else "low",
  "source"   : .input.url,
  "target"   : location(.output.name),
  "timeout"  : round(.input.seconds * 1.5) + 30,
  "codecs"   : [for (.output.formats) .codec if (.enabled)],
  "labels"   : {for (.labels) lowercase(.key) : .value},
  "language" : fallback(.input.language, .language, "en"),
  "valid"    : test(.job, "^[a-z0-9-]+$"),
  "input"    : {* - url : .},
  * - output, job, attempt, tenant : .
}
"#;

fn parameters() -> Value {
    json!({
        "job": "7f3c2a10-9d4e-4c1b-8a55-0f6e2d9b7c31",
        "tenant": "acme-media",
        "attempt": 3,
        "priority": 4,
        "language": "de",
        "input": {
            "url": "https://media.example.org/archive/2024/05/interview-with-the-mayor.mov",
            "seconds": 1834.25,
            "bytes": 9_823_112_231_u64,
            "checksum": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        },
        "output": {
            "bucket": "finished",
            "name": "interview-with-the-mayor.mp4",
            "formats": [
                {"codec": "h264", "width": 1920, "height": 1080, "enabled": true},
                {"codec": "h265", "width": 3840, "height": 2160, "enabled": true},
                {"codec": "av1", "width": 3840, "height": 2160, "enabled": false},
                {"codec": "vp9", "width": 1280, "height": 720, "enabled": true},
            ],
        },
        "labels": {"Team": "Ingest", "Cost-Centre": "4711", "Campaign": "elections", "Region": "eu-central"},
        "callbacks": ["https://hooks.example.org/done", "https://hooks.example.org/failed"],
        "notes": "Please keep the original sound track, the second channel carries the interpreter.",
    })
}

fn main() -> Result<(), CompileError> {
    const ROUNDS: u32 = 100_000;
    let options = CompileOptions::default().with_object_filter(ObjectFilter::KeepAll);
    let start = Instant::now();
    let script = Script::compile_with_options(SCRIPT, &options)?;
    println!("compiled in {:?}", start.elapsed());

    let input = parameters();
    let context = Context::default();
    let Ok(output) = script.evaluate(&input, &context) else {
        println!("the script fails");
        return Ok(());
    };
    println!("{} bytes in, {} bytes out", input.to_string().len(), output.to_string().len());
    let start = Instant::now();
    for _ in 0..ROUNDS {
        // The output is dropped inside the loop, as it would be by a user.
        let _ = black_box(script.evaluate(black_box(&input), &context));
    }
    println!("{:?} for an evaluation", start.elapsed() / ROUNDS);
    Ok(())
}
