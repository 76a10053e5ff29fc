//! Job type definitions in a directory: one `ID.yaml` each.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use job_core::job_type::{DEFINITION_BYTES_MAX, DefinitionError, JobType, JobTypes};

use super::environment::configuration_property;

/// Loads every definition directly in `directory`.
///
/// # Errors
/// A sentence for the operator: the directory cannot be read, or a definition is wrong.
pub(super) fn load(directory: &Path) -> anyhow::Result<JobTypes> {
    let mut types = Vec::new();
    for file in definitions(directory)? {
        let text = read(&file.path)?;
        let job_type = JobType::load(&file.id, &text, &configuration_property)
            .with_context(|| format!("Error loading job type definitions from {}", directory.display()))?;
        types.push(job_type);
    }
    JobTypes::new(types).context("Error loading job type definitions")
}

/// Checks every definition in `directory` and prints what is wrong; 0 when all are right, 1 otherwise. Configuration
/// need not be there: what a definition needs is listed.
///
/// # Errors
/// A sentence for the operator when the directory cannot be read.
pub(crate) fn check(directory: &Path, out: &mut dyn std::io::Write) -> anyhow::Result<ExitCode> {
    let files = definitions(directory)?;
    let mut wrong = 0;
    for file in &files {
        let missing = RefCell::new(Vec::new());
        let configuration = |name: &str| {
            configuration_property(name).or_else(|| {
                missing.borrow_mut().push(name.to_owned());
                Some(String::new())
            })
        };
        let outcome = read(&file.path).and_then(|text| {
            JobType::load(&file.id, &text, &configuration).map_err(|error: DefinitionError| error.into())
        });
        match outcome {
            Ok(_) if missing.borrow().is_empty() => writeln!(out, "{}: right", file.id)?,
            Ok(_) => {
                let names = missing.borrow().join(", ");
                writeln!(out, "{}: right; needs the configuration {names}, which is not set here", file.id)?;
            }
            Err(error) => {
                wrong += 1;
                writeln!(out, "{error:#}")?;
            }
        }
    }
    writeln!(out, "{} definitions, {wrong} wrong", files.len())?;
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct DefinitionFile {
    id: String,
    path: PathBuf,
}

/// The regular files whose names end with `.yaml`, by name. Links count as what they lead to: that is how a cluster
/// mounts configuration.
fn definitions(directory: &Path) -> anyhow::Result<Vec<DefinitionFile>> {
    let unreadable =
        || format!("the directory of job type definitions cannot be read: {}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension() != Some(OsStr::new("yaml")) || !path.is_file() {
            continue;
        }
        let Some(id) = path.file_stem().and_then(OsStr::to_str) else {
            bail!("the name of a job type definition is not UTF-8: {}", path.display());
        };
        files.push(DefinitionFile { id: id.to_owned(), path });
    }
    files.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(files)
}

fn read(path: &Path) -> anyhow::Result<String> {
    let unreadable = || format!("the job type definition cannot be read: {}", path.display());
    let file = std::fs::File::open(path).with_context(unreadable)?;
    let mut text = String::new();
    // One byte more than is allowed is enough to refuse the rest.
    file.take(DEFINITION_BYTES_MAX as u64 + 1).read_to_string(&mut text).with_context(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str = "taskScript: '{}'\n";

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    #[test]
    fn every_yaml_file_is_a_type_and_nothing_else_is() {
        let directory =
            directory(&[("a b.yaml", RIGHT), ("B.yaml", RIGHT), ("c.yml", "["), ("d.YAML", "["), ("e", "[")]);
        std::fs::create_dir(directory.path().join("f.yaml")).unwrap();
        let types = load(directory.path()).unwrap();
        assert_eq!(types.iter().map(JobType::id).collect::<Vec<_>>(), ["B", "a b"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let wrong = directory(&[("a.yaml", RIGHT), ("b.yaml", "taskScript: '{'\n")]);
        let sentence = format!("{:#}", load(wrong.path()).unwrap_err());
        assert!(sentence.starts_with("Error loading job type definitions from "), "{sentence}");
        assert!(sentence.contains(": b: invalid taskDataScript: expected "), "{sentence}");
        let sentence = format!("{:#}", load(&wrong.path().join("none")).unwrap_err());
        assert!(sentence.contains("cannot be read"), "{sentence}");
    }

    #[test]
    fn a_check_reports_every_definition() {
        let needs = format!("{RIGHT}configurationProperties: [{{name: job-server-test-unset}}]\n");
        let directory = directory(&[
            ("a.yaml", RIGHT),
            ("b.yaml", "taskScript: '{'\n"),
            ("c.yaml", &needs),
            ("d.yaml", &"x".repeat(DEFINITION_BYTES_MAX + 5)),
        ]);
        let mut out = Vec::new();
        assert_eq!(check(directory.path(), &mut out).unwrap(), ExitCode::FAILURE);
        let out = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "a: right");
        assert!(lines[1].starts_with("b: invalid taskDataScript: "), "{out}");
        assert_eq!(
            lines[2],
            "c: right; needs the configuration JOB-SERVER-TEST-UNSET, which is not set here"
        );
        assert!(lines[3].contains("at most 65536 are allowed"), "{out}");
        assert_eq!(lines[4], "4 definitions, 2 wrong");
    }
}
