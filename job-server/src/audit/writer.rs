//! The file behind the audit log: one writer on a thread that may block, so that a slow disk stops no worker.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use job_core::Shutdown;
use tokio::sync::mpsc::{self, Permit, Receiver, Sender};
use tokio::sync::{Notify, oneshot};

/// Records that wait for the disk; a request that would add another waits too.
const WAITING_MAX: usize = 1_024;
/// Records that are taken to the blocking thread at once.
const BATCH_MAX: usize = 64;

/// A record as it is written, or somebody who waits for those before.
#[derive(Debug)]
pub(super) enum Item {
    Record(Vec<u8>),
    Complete(oneshot::Sender<()>),
}

/// Hands records over to the writer, which ends with this.
#[derive(Debug)]
pub(super) struct Writer {
    items: Sender<Item>,
    reopen: Arc<Notify>,
}

impl Writer {
    /// Opens the file at `path` and writes to it in the background.
    ///
    /// # Errors
    /// A sentence for the operator when the file cannot be opened.
    pub(super) fn start(path: &Path) -> anyhow::Result<Self> {
        let book = Book { path: path.to_owned(), file: append_to(path)?, is_failing: false, is_torn: false };
        let (items, waiting) = mpsc::channel(WAITING_MAX);
        let reopen = Arc::new(Notify::new());
        let tasks = Shutdown::new();
        tasks.spawn(work(book, waiting, Arc::clone(&reopen), tasks.clone()));
        Ok(Self { items, reopen })
    }

    /// Waits for room for a record; none when there is no writer any more. Cancel safe.
    pub(super) async fn room(&self) -> Option<Permit<'_, Item>> {
        self.items.reserve().await.ok()
    }

    /// Room for a record, if there is some now.
    pub(super) fn room_now(&self) -> Option<Permit<'_, Item>> {
        self.items.try_reserve().ok()
    }

    /// Opens the file anew, once what is being written is.
    pub(super) fn reopen(&self) {
        self.reopen.notify_one();
    }

    /// Waits until every record handed over so far is on the disk; answers whether that came about.
    pub(super) async fn complete(&self) -> bool {
        let (done, completed) = oneshot::channel();
        self.items.send(Item::Complete(done)).await.is_ok() && completed.await.is_ok()
    }
}

async fn work(mut book: Book, mut items: Receiver<Item>, reopen: Arc<Notify>, tasks: Shutdown) {
    loop {
        let mut batch = Vec::new();
        let is_reopened = tokio::select! {
            biased;
            () = reopen.notified() => true,
            received = items.recv_many(&mut batch, BATCH_MAX) => {
                if received == 0 {
                    return;
                }
                false
            }
        };
        let writing = tasks.spawn_blocking(move || {
            if is_reopened {
                book.reopen();
            }
            book.write(batch);
            book
        });
        match writing.await {
            Ok(written) => book = written,
            Err(error) => {
                tracing::error!(%error, "the audit log is not written any more: its records follow here");
                return;
            }
        }
    }
}

#[derive(Debug)]
struct Book {
    path: PathBuf,
    file: File,
    /// Whether the last record could not be written.
    is_failing: bool,
    /// Whether part of a record may have been.
    is_torn: bool,
}

impl Book {
    fn write(&mut self, batch: Vec<Item>) {
        for item in batch {
            match item {
                Item::Record(line) => self.add(&line),
                Item::Complete(done) => {
                    self.sync();
                    // Whoever asked may have given up.
                    let _ = done.send(());
                }
            }
        }
    }

    fn add(&mut self, line: &[u8]) {
        let begin: &[u8] = if self.is_torn { b"\n" } else { b"" };
        // One write, so that lines of several processes do not mix.
        match self.file.write_all(&[begin, line, b"\n"].concat()) {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the audit log is written to its file again");
                }
                self.is_torn = false;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    let file = self.path.display();
                    tracing::error!(
                        %error, %file, "the audit log cannot be written: until it can, its records follow here"
                    );
                }
                self.is_torn = true;
                super::log(line);
            }
        }
    }

    fn sync(&self) {
        match self.file.sync_data() {
            Ok(()) => {}
            // Pipes and terminals keep nothing.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {}
            Err(error) => tracing::error!(%error, "the last records of the audit log may not be on the disk"),
        }
    }

    fn reopen(&mut self) {
        match append_to(&self.path) {
            Ok(file) => (self.file, self.is_torn) = (file, false),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the audit log goes on in the old file");
            }
        }
    }
}

fn append_to(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).with_context(|| format!("the audit log {} cannot be opened", path.display()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_and_ends_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let file = append_to(&path).unwrap();
        let mut book = Book { path, file, is_failing: false, is_torn: false };
        for _ in 0..2 {
            book.add(b"lost");
            assert!(book.is_failing && book.is_torn);
        }
        std::fs::remove_file(&book.path).unwrap();
        book.reopen();
        assert!(book.is_failing, "not before something was written");
        book.add(b"kept");
        assert!(!book.is_failing);
        assert_eq!(std::fs::read(&book.path).unwrap(), b"kept\n");
        // Half a record was left behind: the next one is on a line of its own all the same.
        book.is_torn = true;
        book.add(b"whole");
        book.add(b"whole");
        assert_eq!(std::fs::read(&book.path).unwrap(), b"kept\n\nwhole\nwhole\n");
    }
}
