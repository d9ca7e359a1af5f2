//! Servers for the tests, from the scripts of `tests/services`.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::root;

fn script(name: &str) -> Command {
    let mut script = Command::new(root().join("tests/services").join(name));
    script.stdin(Stdio::null());
    script
}

/// A server that stops when this process ends: the script waits for the end of its stdin.
pub(crate) struct Server {
    pub(crate) url: String,
    _script: Child,
}

impl Server {
    pub(crate) fn start(name: &str) -> Self {
        let mut script = script(name);
        script.arg("run").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().expect("the script can be run");
        let output = script.stdout.take().expect("stdout is piped");
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).expect("the script prints a line");
        assert!(url.contains("://"), "{name} says why there is no server");
        Self { url: url.trim_end().to_owned(), _script: script }
    }
}

/// A server that can be stopped and started again, with the same URL.
pub(crate) struct Restartable {
    name: &'static str,
    folder: tempfile::TempDir,
    pub(crate) url: String,
}

impl Restartable {
    pub(crate) fn start(name: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
        let mut server = Self { name, folder, url: String::new() };
        server.url = server.run("start");
        server
    }

    pub(crate) fn stop(&self) {
        self.run("stop");
    }

    pub(crate) fn start_again(&self) {
        assert_eq!(self.run("start"), self.url);
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, verb: &str) -> String {
        let mut script = script(self.name);
        let output = script.arg(verb).arg(self.folder()).stderr(Stdio::inherit()).output();
        let output = output.expect("the script can be run");
        assert!(output.status.success(), "{} {verb} says why it failed", self.name);
        String::from_utf8(output.stdout).expect("a URL is text").trim_end().to_owned()
    }
}

impl Drop for Restartable {
    fn drop(&mut self) {
        // A second panic would end the process before the first is shown.
        if let Ok(mut stopping) = script(self.name).arg("stop").arg(self.folder()).spawn() {
            let _ = stopping.wait();
        }
    }
}
