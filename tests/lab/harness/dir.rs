//! A test's folder: gone after success, kept and named after a failure.

use std::{
    path::{Path, PathBuf},
    thread,
};

use tempfile::TempDir;

/// A folder of one test.
#[derive(Debug)]
pub(crate) struct TestDir {
    dir: Option<TempDir>,
}

impl TestDir {
    /// A new empty folder whose name begins with `prefix`.
    pub(crate) fn new(prefix: &str) -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("quorate-{prefix}-")).tempdir().unwrap();
        Self { dir: Some(dir) }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.as_ref().expect("taken only in drop").path()
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        if thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("kept: {}", dir.keep().display());
        }
    }
}
