//! What the workers found out, by file. It stands in for the database an application would have.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::findings_file::{Fact, FindingsFile};
use super::language::DetectedLanguage;
use crate::table::{Align, Table, grouped};

/// What is known of one text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Finding {
    /// `None` until it was looked at.
    pub(super) language: Option<Language>,
    /// `None` until they are counted.
    pub(super) words: Option<usize>,
}

/// The result of a detection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Language {
    Detected(DetectedLanguage),
    /// The text has no letters to judge by.
    Undetermined,
}

/// Findings of all workers. A task that is delivered twice finds the same twice.
#[derive(Debug, Default)]
pub(super) struct Findings {
    by_file: Mutex<BTreeMap<String, Finding>>,
    report: Mutex<Option<Report>>,
    file: Option<FindingsFile>,
}

/// What the last job makes of all findings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) table: String,
    pub(super) files: usize,
    pub(super) languages: usize,
    pub(super) words: u64,
}

impl Findings {
    /// Findings that a killed process leaves behind, with those that one has left behind.
    pub(super) fn kept_in(path: &Path) -> io::Result<Self> {
        let (file, facts) = FindingsFile::open(path)?;
        let findings = Self { file: Some(file), ..Self::default() };
        facts.into_iter().for_each(|fact| findings.know(fact));
        Ok(findings)
    }

    pub(super) fn set_language(&self, file: &str, language: Option<DetectedLanguage>) -> io::Result<()> {
        let language = language.map(|language| (language.code.to_owned(), language.confidence));
        self.found(Fact::Language(file.to_owned(), language))
    }

    pub(super) fn set_words(&self, file: &str, words: usize) -> io::Result<()> {
        self.found(Fact::Words(file.to_owned(), words))
    }

    /// Begins anew.
    pub(super) fn forget(&self) -> io::Result<()> {
        self.by_file().clear();
        self.file.as_ref().map_or(Ok(()), FindingsFile::clear)
    }

    /// Leaves nothing behind.
    pub(super) fn remove_file(&self) {
        self.file.iter().for_each(FindingsFile::remove);
    }

    fn found(&self, fact: Fact) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.append(&fact)?;
        }
        self.know(fact);
        Ok(())
    }

    fn know(&self, fact: Fact) {
        let mut by_file = self.by_file();
        match fact {
            Fact::Words(file, words) => by_file.entry(file).or_default().words = Some(words),
            Fact::Language(file, language) => {
                let language =
                    language.and_then(|(code, confidence)| DetectedLanguage::of_code(&code, confidence));
                let language = language.map_or(Language::Undetermined, Language::Detected);
                by_file.entry(file).or_default().language = Some(language);
            }
        }
    }

    /// Puts the report together; an error when a text was not looked at from both sides.
    pub(super) fn make_report(&self) -> Result<(), String> {
        let report = report(&self.by_file())?;
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
        Ok(())
    }

    /// The report, once it was made.
    pub(super) fn report(&self) -> Option<Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Each change is one assignment, so a panic elsewhere leaves nothing half done.
    fn by_file(&self) -> MutexGuard<'_, BTreeMap<String, Finding>> {
        self.by_file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(by_file: &BTreeMap<String, Finding>) -> Result<Report, String> {
    let mut table = Table::new([
        ("file", Align::Left),
        ("language", Align::Left),
        ("confidence", Align::Right),
        ("words", Align::Right),
    ]);
    let mut languages = std::collections::BTreeSet::new();
    let mut words = 0;
    for (file, finding) in by_file {
        let (Some(language), Some(count)) = (&finding.language, finding.words) else {
            return Err(format!("{file} has a language or a number of words, but not both"));
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        words += count;
        let (name, confidence) = match language {
            Language::Detected(language) => {
                languages.insert(language.code);
                (format!("{} ({})", language.name, language.code), format!("{:.2}", language.confidence))
            }
            Language::Undetermined => ("undetermined".to_owned(), "-".to_owned()),
        };
        table.push([file.clone(), name, confidence, grouped(count)]);
    }
    Ok(Report { table: table.render(), files: by_file.len(), languages: languages.len(), words })
}

#[cfg(test)]
mod tests {
    use super::super::language::detect_language;
    use super::*;

    #[test]
    fn the_report_has_a_line_for_every_file() {
        let findings = Findings::default();
        findings.set_language("b.txt", detect_language("Wir gehen heute nicht in die Schule.")).unwrap();
        findings.set_words("b.txt", 1_007).unwrap();
        findings.set_words("a.txt", 2).unwrap();
        findings.set_language("a.txt", None).unwrap();
        findings.make_report().unwrap();
        let report = findings.report().unwrap();
        assert_eq!((report.files, report.languages, report.words), (2, 1, 1_009));
        let lines: Vec<&str> = report.table.lines().skip(2).collect();
        assert!(lines[0].starts_with("a.txt") && lines[0].contains("undetermined"), "{}", lines[0]);
        assert!(lines[1].contains("German (deu)") && lines[1].ends_with("1,007"), "{}", lines[1]);
    }

    #[test]
    fn half_a_finding_is_no_report() {
        let findings = Findings::default();
        findings.set_words("a.txt", 2).unwrap();
        assert!(findings.make_report().unwrap_err().contains("a.txt"));
        assert_eq!(findings.report(), None);
    }
}
