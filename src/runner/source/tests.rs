//! Files that are written, and what a source may not hold.

use std::{io::Read, os::unix::fs::symlink};

use super::*;
use crate::plan::{image::Digest, job::RemoteFile};

fn listed(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let content = |text: &str| k8s_openapi::ByteString(text.as_bytes().to_vec());
    let files: Files = files.iter().map(|(path, text)| ((*path).to_owned(), content(text))).collect();
    let (list, source) = (folder.path().join("files.json"), folder.path().join("source"));
    fs::write(&list, serde_json::to_vec(&files).unwrap()).unwrap();
    (folder, list, source)
}

#[test]
fn files_are_written_where_they_say() {
    let (_folder, list, source) = listed(&[("a/b.yml", "text"), ("run.sh", "#!/bin/sh\n")]);
    write(&list, &source).unwrap();
    assert_eq!(fs::read_to_string(source.join("a/b.yml")).unwrap(), "text");
    let mode = |path: &str| fs::metadata(source.join(path)).unwrap().permissions().mode() & 0o111;
    assert_eq!((mode("a/b.yml"), mode("run.sh")), (0, 0o111));
    // The folders and the files.
    assert_eq!(confine::survey(&source), Ok(Survey { count: 3, ..Survey::default() }));
}

#[test]
fn a_file_that_would_be_elsewhere_is_refused() {
    for path in ["../a", "/etc/a", "a/../../b", ""] {
        let (_folder, list, source) = listed(&[(path, "text")]);
        assert_eq!(write(&list, &source).unwrap_err().reason, Reason::PathEscapesSource, "{path}");
    }
}

#[test]
fn links_pointers_and_devices_are_looked_at() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n";
    let (_folder, list, source) = listed(&[("a/b", "text"), ("a/c.bin", pointer)]);
    write(&list, &source).unwrap();
    symlink("../a/b", source.join("a/good")).unwrap();
    symlink("nowhere", source.join("a/dangling")).unwrap();
    symlink("../../etc", source.join("a/out")).unwrap();
    // What is behind a link is not looked at: it would be counted.
    let found = confine::survey(&source).unwrap();
    let (outward, pointers) = (vec!["a/out → ../../etc".to_owned()], vec!["a/c.bin".to_owned()]);
    assert_eq!(found, Survey { count: 6, outward, pointers });
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    assert_eq!(confine::survey(&source).unwrap_err().reason, Reason::SourceRejected);
}

#[test]
fn a_path_is_looked_at_when_it_is_used() {
    let (folder, list, source) = listed(&[("a/b", "text")]);
    write(&list, &source).unwrap();
    fs::write(folder.path().join("outside"), "").unwrap();
    // As a stage before could have done.
    symlink("../outside", source.join("late")).unwrap();
    symlink("a", source.join("folder")).unwrap();
    assert_eq!(inside(&source, "folder/b"), Ok(source.join("folder/b")));
    assert_eq!(inside(&source, "absent"), Ok(source.join("absent")));
    assert_eq!(inside(&source, "."), Ok(source.join(".")));
    let refused = inside(&source, "late").unwrap_err();
    assert_eq!(refused.reason, Reason::PathEscapesSource);
    assert!(refused.message.starts_with("late leads out of the source, by the link late to ../outside"), "{refused:?}");
    symlink("/etc/passwd", source.join("absolute")).unwrap();
    assert_eq!(inside(&source, "absolute").unwrap_err().reason, Reason::PathEscapesSource);
    symlink("circle", source.join("circle")).unwrap();
    assert_eq!(inside(&source, "circle").unwrap_err().reason, Reason::SourceRejected);
    assert_eq!(inside(&source, "a/b/c"), Ok(source.join("a/b/c")));
    assert_eq!(inside(&source, "../outside").unwrap_err().reason, Reason::PathEscapesSource);
}

/// The server of the file is nowhere: the cache is all that there is.
#[tokio::test]
async fn files_come_from_the_cache_that_the_job_names() {
    let cache = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut context = Context::below(folder.path());
    context.job.file_cache = Some(format!("http://{}", cache.local_addr().unwrap()));
    let sha256 = Digest::of(b"a file").to_string().replace("sha256:", "");
    let (url, path) = ("http://127.0.0.1:1/file".to_owned(), "files/a".to_owned());
    context.job.fetch = vec![RemoteFile { url, sha256, path }];
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = cache.accept().unwrap();
        let asked = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\na file").unwrap();
        asked
    });
    files::fetch(&context).await.unwrap();
    assert!(answering.join().unwrap() > 0);
    assert_eq!(fs::read(context.places.workspace.join("files/a")).unwrap(), b"a file");
}
