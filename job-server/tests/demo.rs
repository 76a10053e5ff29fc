//! The command `demo` as a user runs it: the built binary, its output and its exit code.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Every text of the corpus and its language, by ISO 639-3.
const CORPUS: [(&str, &str); 42] = [
    ("garden/apple-tree.txt", "pol"),
    ("garden/compost.txt", "deu"),
    ("garden/jasmine.txt", "ara"),
    ("garden/moss.txt", "jpn"),
    ("garden/olive.txt", "ell"),
    ("garden/rain-barrel.txt", "nld"),
    ("harbour/ferry.txt", "nld"),
    ("harbour/fog.txt", "eng"),
    ("harbour/ice-breaker.txt", "fin"),
    ("harbour/lighthouse.txt", "swe"),
    ("harbour/nets.txt", "por"),
    ("harbour/pilots.txt", "ell"),
    ("harbour/shipyard.txt", "kor"),
    ("kitchen/bread.txt", "fra"),
    ("kitchen/coffee.txt", "ita"),
    ("kitchen/dumplings.txt", "cmn"),
    ("kitchen/noodles.txt", "jpn"),
    ("kitchen/pickles.txt", "hin"),
    ("kitchen/soup.txt", "pol"),
    ("kitchen/tea.txt", "tur"),
    ("letters/from-the-hills.txt", "hin"),
    ("letters/from-the-hives.txt", "ukr"),
    ("letters/from-the-mill.txt", "ces"),
    ("letters/to-the-new-tenant.txt", "eng"),
    ("letters/winter-cabin.txt", "fin"),
    ("railway/bridge.txt", "cmn"),
    ("railway/night-train.txt", "rus"),
    ("railway/platform.txt", "spa"),
    ("railway/signal-box.txt", "deu"),
    ("railway/station-clock.txt", "por"),
    ("railway/timetable.txt", "eng"),
    ("railway/tram.txt", "ukr"),
    ("scans/page-03.txt", "eng"),
    ("workshop/bookbinder.txt", "rus"),
    ("workshop/carpets.txt", "ara"),
    ("workshop/clockmaker.txt", "fra"),
    ("workshop/knives.txt", "swe"),
    ("workshop/lantern.txt", "kor"),
    ("workshop/potter.txt", "spa"),
    ("workshop/toymaker.txt", "ces"),
    ("workshop/violin.txt", "ita"),
    ("workshop/weaver.txt", "tur"),
];

const GERMAN: &str =
    "Der Wind kam von Westen, und niemand wollte heute noch einmal auf das Wasser hinausfahren.";

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_job-server"));
    command.arg("demo");
    command
}

fn run(command: &mut Command) -> (Output, String, String) {
    let output = command.output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the demo prints UTF-8");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

/// The rows of the table: file, ISO 639-3 or `undetermined`, words.
fn rows(stdout: &str) -> BTreeMap<String, (String, u64)> {
    let mut lines = stdout.lines().skip_while(|line| !line.starts_with("file "));
    let header = lines.next().expect("there is a table");
    assert!(header.ends_with("words"), "{header}");
    lines
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let (file, rest) = line.split_once("  ").expect("two columns at least");
            let code = match rest.split_once('(') {
                Some((_, rest)) => rest.split(')').next().expect("a code in parentheses"),
                None => "undetermined",
            };
            let words = line.rsplit(' ').next().expect("a last column").replace(',', "");
            (file.to_owned(), (code.to_owned(), words.parse().expect("a number of words")))
        })
        .collect()
}

#[test]
fn every_text_of_the_corpus_gets_its_language_and_the_broken_ones_fail_alone() {
    let (output, stdout, stderr) = run(&mut demo());
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    let rows = rows(&stdout);
    let found: Vec<(&str, &str)> =
        rows.iter().map(|(file, (code, _))| (file.as_str(), code.as_str())).collect();
    assert_eq!(found, CORPUS);
    for (file, (_, words)) in &rows {
        assert!((60..=250).contains(words), "{file} has {words} words");
    }
    let failures = stdout.split_once("2 failed in check:").expect("two files fail").1;
    assert!(failures.contains("is not a text in UTF-8 (1)\n    scans/page-04.bin.txt"), "{failures}");
    assert!(failures.contains("is empty (1)\n    scans/page-05.txt"), "{failures}");
    assert!(!failures.contains("failed in detect") && !failures.contains("failed in count"), "{failures}");
    assert_eq!(stderr, "");
}

#[test]
fn the_corpus_in_the_binary_is_the_one_in_the_repository() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let (output, stdout, _) = run(demo().arg(corpus));
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(rows(&stdout).keys().collect::<Vec<_>>(), CORPUS.map(|(file, _)| file).to_vec());
}

#[test]
fn odd_names_are_taken_as_they_are() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a directory with spaces, ünd: 日本 {x}");
    fs::create_dir_all(directory.join("sub [1]/-deep")).unwrap();
    let names = [
        "plain.txt",
        "with space.txt",
        "ü: 本 {x} [y] *?.txt",
        "'quotes\" & $dollar.txt",
        "--flag.txt",
        "sub [1]/-deep/x.txt",
        "line\nbreak.txt",
    ];
    for name in names {
        fs::write(directory.join(name), GERMAN).unwrap();
    }
    fs::write(directory.join("digits.txt"), "123 456").unwrap();
    fs::write(directory.join("other.md"), GERMAN).unwrap();
    let (output, stdout, stderr) = run(demo().arg(&directory));
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    let rows = rows(&stdout);
    for name in names {
        // What a terminal would act on is replaced.
        let shown = name.replace('\n', "\u{FFFD}");
        assert_eq!(rows.get(&shown), Some(&("deu".to_owned(), 15)), "{shown}");
    }
    assert_eq!(rows["digits.txt"].0, "undetermined");
    assert_eq!(rows.len(), names.len() + 1);
}

#[cfg(unix)]
#[test]
fn a_pipe_among_the_texts_does_not_hang() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.txt"), GERMAN).unwrap();
    let made = Command::new("mkfifo").arg(directory.path().join("pipe.txt")).status().unwrap();
    assert!(made.success());
    std::os::unix::fs::symlink("nowhere", directory.path().join("dangling.txt")).unwrap();
    let (output, stdout, _) = run(demo().arg(directory.path()));
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert_eq!(rows(&stdout).keys().collect::<Vec<_>>(), ["a.txt"]);
    assert!(stdout.contains("is not a regular file (1)\n    pipe.txt"), "{stdout}");
}

#[test]
fn what_cannot_be_looked_at_is_one_sentence() {
    let empty = tempfile::tempdir().unwrap();
    let missing = empty.path().join("missing");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let zero = ["--synthetic".into(), "0".into()];
    let cases: [(&[OsString], &str); 4] = [
        (&[missing.into()], "cannot be read as a directory"),
        (&[file.into()], "cannot be read as a directory"),
        (&[empty.path().into()], "matches **/*.txt"),
        (&zero, "--synthetic"),
    ];
    for (arguments, sentence) in cases {
        let (output, _, stderr) = run(demo().args(arguments));
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.lines().next().unwrap().contains(sentence), "{stderr}");
    }
}

#[test]
fn without_a_report_the_exit_code_says_so() {
    let (output, stdout, _) = run(demo().args(["--glob", "["]));
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("The report could not be produced."), "{stdout}");
}

#[test]
fn generated_items_are_all_worked_on() {
    for items in ["1", "1000", "1001", "2000", "25000"] {
        let (output, stdout, stderr) = run(demo().args(["--synthetic", items, "--workers", "3"]));
        assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
        assert!(stdout.contains("100.00%  Completed"), "{stdout}");
        assert!(!stdout.contains("Wrong"), "{stdout}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_it_in_the_middle() {
    // More than can be done before the test has lost patience.
    let mut child = demo().args(["--synthetic", "1000000000"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let active = lines.any(|line| line.unwrap().contains("Active"));
    assert!(active, "it begins");
    interrupt(&child);
    assert!(lines.any(|line| line.unwrap().starts_with("Interrupted after ")));
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[cfg(unix)]
#[test]
fn the_api_stays_up_when_it_is_asked_to() {
    let mut child = demo().arg("--keep-serving").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let up = lines.find_map(|line| {
        let line = line.unwrap();
        Some(line.strip_prefix("The API is still up at http://")?.split('/').next()?.to_owned())
    });
    let address = up.expect("it says where");
    std::net::TcpStream::connect(&address).unwrap();
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(std::net::TcpStream::connect(&address).is_err());
}

#[cfg(unix)]
fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}
