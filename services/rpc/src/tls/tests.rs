use std::{
    fs,
    io::Write,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::{
    fixture::{Authority, Folder},
    *,
};

fn later(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

type Damage<'a> = &'a dyn Fn(&TlsFiles);

#[test]
fn each_way_in_which_files_cannot_be_used_is_told_with_the_file() {
    let authority = Authority::new("first");
    let (issued, other) = (authority.issue(1), authority.issue(2));
    let check = |damage: Damage, expected: &[&str]| {
        let folder = Folder::new(&issued, &authority.pem());
        damage(&folder.files());
        let error = ReloadingTls::load(&folder.files()).err().map(|error| error.to_string()).unwrap();
        for expected in expected {
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
        assert!(!error.contains("MII"), "{error:?} says what is in a file");
    };
    let write = |path: &Path, text: &str| fs::write(path, text).unwrap();
    check(
        &|files| fs::remove_file(&files.certificate).unwrap(),
        &["certificate file", "tls.crt", "No such file"],
    );
    check(&|files| fs::remove_file(&files.key).unwrap(), &["key file", "tls.key"]);
    check(&|files| fs::remove_file(&files.authorities).unwrap(), &["authorities file", "ca.crt"]);
    check(&|files| write(&files.certificate, ""), &["tls.crt", "no certificate in PEM"]);
    check(&|files| write(&files.certificate, &issued.key), &["tls.crt", "no certificate in PEM"]);
    check(&|files| write(&files.key, &issued.certificate), &["tls.key", "no private key in PEM"]);
    check(&|files| write(&files.authorities, "# none yet\n"), &["ca.crt", "no certificate in PEM"]);
    check(&|files| write(&files.key, &other.key), &["tls.key does not belong", "tls.crt", "issued together"]);
    let damaged = issued.certificate.replace("-----END", "----END");
    check(&|files| write(&files.certificate, &damaged), &["tls.crt", "damaged"]);
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    check(&|files| write(&files.certificate, no_certificate), &["tls.crt", "cannot be used"]);
    check(&|files| write(&files.authorities, no_certificate), &["ca.crt", "cannot be used"]);
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    check(&|files| write(&files.key, no_key), &["tls.key", "cannot be used"]);
}

#[test]
fn a_file_of_the_greatest_length_is_read_and_a_longer_one_is_not() {
    let authority = Authority::new("first");
    let folder = Folder::new(&authority.issue(1), &authority.pem());
    let mut long = authority.pem();
    long.push_str(&"\n".repeat(TLS_FILE_BYTES_MAX as usize - long.len()));
    fs::write(folder.files().authorities, &long).unwrap();
    folder.load();
    long.push('\n');
    fs::write(folder.files().authorities, &long).unwrap();
    assert!(matches!(ReloadingTls::load(&folder.files()), Err(TlsError::TooLong { .. })));
}

#[test]
fn changed_files_are_used_once_they_go_together_and_not_looked_at_more_often_than_said() {
    let authority = Authority::new("first");
    let folder = Folder::new(&authority.issue(1), &authority.pem());
    let tls = folder.load();
    let first = tls.0.current();
    assert!(Arc::ptr_eq(&first, &tls.0.current_at(later(2))), "nothing has changed");

    let next = authority.issue(2);
    fs::write(folder.files().certificate, &next.certificate).unwrap();
    assert!(Arc::ptr_eq(&first, &tls.0.current_at(later(4))), "the key is still the earlier one");
    fs::write(folder.files().key, &next.key).unwrap();
    // It looked at what it takes for two seconds from now.
    assert!(Arc::ptr_eq(&first, &tls.0.current_at(later(4))));
    let second = tls.0.current_at(later(6));
    assert!(!Arc::ptr_eq(&first, &second));

    fs::remove_file(folder.files().key).unwrap();
    assert!(Arc::ptr_eq(&second, &tls.0.current_at(later(8))));
    fs::write(folder.files().key, &next.key).unwrap();
    assert!(Arc::ptr_eq(&second, &tls.0.current_at(later(10))), "what is there again is not new");

    let both = authority.pem() + &Authority::new("second").pem();
    fs::write(folder.files().authorities, both).unwrap();
    assert!(!Arc::ptr_eq(&second, &tls.0.current_at(later(12))));
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_wrong_with_changed_files_is_logged_once_and_again_when_it_is_something_else() {
    let authority = Authority::new("first");
    let (issued, other) = (authority.issue(1), authority.issue(2));
    let folder = Folder::new(&issued, &authority.pem());
    let certificate = ReloadingCertificate::load(&folder.files().certificate, &folder.files().key).unwrap();
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let warned = |at: u64| {
            certificate.0.current_at(later(at));
            String::from_utf8(log.0.lock().unwrap().clone()).unwrap().matches("WARN").count()
        };
        fs::write(folder.files().key, &other.key).unwrap();
        assert_eq!([warned(2), warned(4), warned(6)], [1, 1, 1]);
        fs::remove_file(folder.files().key).unwrap();
        assert_eq!([warned(8), warned(10)], [2, 2]);
        fs::write(folder.files().key, &issued.key).unwrap();
        assert_eq!(warned(12), 2);
        fs::write(folder.files().key, &other.key).unwrap();
        assert_eq!(warned(14), 3, "it was good meanwhile");
    });
}
