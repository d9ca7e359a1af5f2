//! Files elsewhere: S3 against a real server, HTTP against servers that know ranges and that do not.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hdfs_native_object_store::HdfsObjectStoreBuilder;
use object_store::ObjectStoreExt as _;
use thalweg_connect::sources::file::{FileConfig, FileInput, Place, S3Config};
use thalweg_core::ErrorKind;
use thalweg_core::env::Env;
use thalweg_core::source::{Chunk, Input, ReadLimit};

use super::{EVERYTHING, Line, lines};
use crate::support::env;

/// A server of `tests/services`, which ends with the test.
struct Service {
    process: Child,
    url: String,
}

impl Service {
    fn start(script: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/services").join(script);
        let mut process = Command::new(path)
            .arg("run")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(!url.is_empty(), "{script} says why there is no server");
        Self { process, url: url.trim_end().to_owned() }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// moto, which keeps buckets in memory.
struct S3(Service);

impl S3 {
    fn start() -> Self {
        Self(Service::start("s3.sh"))
    }

    /// Makes a bucket or an object.
    async fn put(&self, path: &str, bytes: impl Into<reqwest::Body>) {
        let url = format!("{}/{path}", self.0.url);
        let put = reqwest::Client::new().put(url).header("x-amz-acl", "public-read");
        let answer = put.body(bytes).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    fn place(&self, url: &str) -> Place {
        Place::S3(S3Config {
            url: url.to_owned(),
            anonymous: true,
            endpoint: Some(self.0.url.clone()),
            region: Some("us-east-1".to_owned()),
            ..S3Config::default()
        })
    }
}

/// An input, and where it is.
struct Reader {
    env: Env,
    config: FileConfig,
    input: FileInput,
    at: i64,
    manifest: Option<String>,
}

impl Reader {
    fn new(place: Place) -> Self {
        let env = env();
        let config = FileConfig { place, poll_interval: Duration::ZERO, ..FileConfig::new("") };
        let input = FileInput::new(config.clone(), &env).unwrap();
        Self { env, config, input, at: 0, manifest: None }
    }

    fn restart(&mut self) {
        self.input = FileInput::new(self.config.clone(), &self.env).unwrap();
        self.input.restore(self.manifest.as_deref()).unwrap();
    }

    async fn read(&mut self, limit: ReadLimit) -> thalweg_core::Result<Chunk> {
        let chunk = self.input.read(self.at, limit).await?;
        self.at = chunk.next;
        if chunk.manifest.is_some() {
            self.manifest.clone_from(&chunk.manifest);
        }
        Ok(chunk)
    }

    async fn drain(&mut self) -> Vec<Line> {
        let mut seen = Vec::new();
        for _ in 0..1000 {
            let chunk = self.read(EVERYTHING).await.unwrap();
            seen.extend(lines(&chunk));
            if chunk.at_end {
                return seen;
            }
            self.env.clock.step_to(self.env.clock.now().plus(Duration::from_millis(500)));
        }
        panic!("it does not end");
    }

    async fn texts(&mut self) -> Vec<String> {
        self.drain().await.into_iter().map(|(_, _, text)| text).collect()
    }
}

fn numbers(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("this is line number {number}\n")).collect()
}

#[tokio::test]
async fn objects_of_a_bucket_are_read_as_files_are() {
    let s3 = S3::start();
    s3.put("market", "").await;
    // Longer than a piece, so that one request is read on.
    let long = numbers(0..120_000);
    s3.put("market/day/1.txt", long.clone()).await;
    s3.put("market/day/2.txt", "x\ny\n").await;
    s3.put("market/day/2.csv", "no\n").await;
    s3.put("market/other/3.txt", "no\n").await;
    let mut reader = Reader::new(s3.place("s3://market/day/*.txt"));
    let expected: Vec<&str> = long.lines().chain(["x", "y"]).collect();
    let mut texts = Vec::new();
    let mut reads = 0;
    while texts.len() < expected.len() {
        let chunk = reader.read(ReadLimit { bytes_max: 700_000, ..EVERYTHING }).await.unwrap();
        texts.extend(lines(&chunk).into_iter().map(|(_, _, text)| text));
        reads += 1;
        if reads % 3 == 0 {
            reader.restart();
        }
        reader.env.clock.step_to(reader.env.clock.now().plus(Duration::from_millis(500)));
    }
    assert_eq!(texts, expected);

    // What comes later is read later; an object written anew under its name stops the source.
    s3.put("market/day/3.txt", "z\n").await;
    assert_eq!(reader.texts().await, ["z"]);
    s3.put("market/day/3.txt", "z\nmore\n").await;
    assert_eq!(reader.texts().await, ["more"], "growth is new data, whoever wrote it");
    s3.put("market/day/3.txt", "other\nmore\nand more\n").await;
    let error = reader.read(EVERYTHING).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
    assert!(error.chain().contains("s3://market/day/3.txt has changed"), "{}", error.chain());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_unavailable() {
    let s3 = S3::start();
    let mut reader = Reader::new(s3.place("s3://nowhere/*.txt"));
    let error = reader.read(EVERYTHING).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{}", error.chain());
    drop(s3);
}

#[tokio::test]
async fn files_of_hdfs_are_read_as_files_are() {
    let hdfs = Service::start("hdfs.sh");
    let store = HdfsObjectStoreBuilder::new().with_url(&hdfs.url).build().unwrap();
    let put = async |path: &str, text: &str| {
        store.put(&path.into(), text.to_owned().into()).await.unwrap();
    };
    let long = numbers(0..120_000);
    put("day/1.txt", &long).await;
    put("day/2.txt", "x\n").await;
    put("day/x.csv", "no\n").await;
    let mut reader = Reader::new(Place::Hdfs(format!("{}/day/*.txt", hdfs.url)));
    let expected: Vec<&str> = long.lines().chain(["x"]).collect();
    let chunk = reader.read(ReadLimit { bytes_max: 700_000, ..EVERYTHING }).await.unwrap();
    let mut texts: Vec<String> = lines(&chunk).into_iter().map(|(_, _, text)| text).collect();
    reader.restart();
    texts.extend(reader.texts().await);
    assert_eq!(texts, expected);

    put("day/3.txt", "z\n").await;
    assert_eq!(reader.texts().await, ["z"]);
    put("day/3.txt", "other\n").await;
    let error = reader.read(EVERYTHING).await.unwrap_err();
    assert!(error.chain().contains("/day/3.txt has changed"), "{}", error.chain());
    drop(store);
}

/// A server of one file; whether it knows ranges. Answers are counted.
struct Http {
    url: String,
    body: Arc<Mutex<Vec<u8>>>,
    answers: Arc<Mutex<usize>>,
}

impl Http {
    fn start(body: &[u8], knows_ranges: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a.txt?token=c0ffee", listener.local_addr().unwrap());
        let body = Arc::new(Mutex::new(body.to_vec()));
        let answers = Arc::new(Mutex::new(0));
        let (served, counted) = (Arc::clone(&body), Arc::clone(&answers));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { continue };
                let body = served.lock().unwrap().clone();
                *counted.lock().unwrap() += 1;
                // An error is a client that wants no more.
                thread::spawn(move || answer(connection, &body, knows_ranges).is_ok());
            }
        });
        Self { url, body, answers }
    }

    fn place(&self) -> Place {
        let headers = vec![("authorization".to_owned(), "Bearer hush-hush".to_owned())];
        Place::Http { url: self.url.clone(), headers }
    }
}

fn answer(mut connection: TcpStream, body: &[u8], knows_ranges: bool) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte)? > 0 {
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).to_ascii_lowercase();
    assert!(request.contains("authorization: bearer hush-hush"), "{request}");
    let range = request.split_once("range: bytes=").and_then(|(_, rest)| {
        let (from, to) = rest.split_once("\r\n")?.0.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
    });
    let all = body.len();
    let (head, part) = match range.filter(|_| knows_ranges) {
        Some((from, _)) if from >= all => {
            (format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{all}"), &body[..0])
        }
        Some((from, to)) => {
            let to = to.min(all - 1);
            let head = format!("206 Partial Content\r\nContent-Range: bytes {from}-{to}/{all}");
            (head, &body[from..=to])
        }
        None => ("200 OK".to_owned(), body),
    };
    let length = part.len();
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    connection.write_all(head.as_bytes())?;
    connection.write_all(part)
}

#[tokio::test]
async fn a_file_over_http_is_read_in_ranges_or_whole() {
    let long = numbers(0..120_000);
    for knows_ranges in [true, false] {
        let http = Http::start(long.as_bytes(), knows_ranges);
        let mut reader = Reader::new(http.place());
        assert_eq!(reader.texts().await, long.lines().collect::<Vec<_>>());
        let answers = *http.answers.lock().unwrap();
        assert!(answers < 20, "{answers} requests for 3.5 MB");
        let manifest = reader.manifest.clone().unwrap_or_default();
        assert!(!manifest.contains("c0ffee") && manifest.contains("token=***"), "{manifest}");

        http.body.lock().unwrap().extend_from_slice(b"more\n");
        reader.restart();
        assert_eq!(reader.texts().await, ["more"]);
        http.body.lock().unwrap()[..4].copy_from_slice(b"that");
        reader.restart();
        let error = reader.read(EVERYTHING).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{}", error.chain());
        assert!(!error.chain().contains("c0ffee"), "{}", error.chain());
    }
}

#[tokio::test]
async fn an_empty_file_over_http_is_empty() {
    for knows_ranges in [true, false] {
        let http = Http::start(b"", knows_ranges);
        assert_eq!(Reader::new(http.place()).texts().await, [""; 0]);
    }
}
