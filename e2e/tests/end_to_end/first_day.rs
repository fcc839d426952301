//! What a person does on the first day: archive, find, read, prove, restart.

use std::fs;

use openarchive_domain::Digest;
use openarchive_e2e::Archive;
use openarchive_testkit::{
    sample_mail::{SampleMail, sample_mail},
    smtp_client::SmtpClient,
};

pub(crate) fn send_all(smtp: &str, roots: &str, mails: &[SampleMail]) {
    let mut client = SmtpClient::connect(smtp).unwrap().start_tls(roots).unwrap();
    for mail in mails {
        let reply = client.send(&mail.from, &mail.to, &mail.bytes).unwrap();
        assert_eq!(reply.code, 250, "{reply:?}");
    }
    client.quit().unwrap();
}

/// Mails that others drop the second of: one Message-ID on two, and none on two.
fn without_an_id_of_their_own() -> Vec<SampleMail> {
    let mail = |id: &str, text: &str| SampleMail {
        from: "carol@example.org".to_owned(),
        to: vec!["dave@example.org".to_owned()],
        bytes: format!("From: carol@example.org\r\n{id}Subject: ids\r\n\r\n{text}\r\n").into_bytes(),
    };
    let same = "Message-ID: <same@example.org>\r\n";
    vec![mail(same, "the first"), mail(same, "the second"), mail("", "the third"), mail("", "the fourth")]
}

#[test]
fn mail_goes_in_is_found_comes_out_byte_for_byte_and_is_proven_and_a_restart_changes_nothing() {
    let mut archive = Archive::dev();
    let mut mails = sample_mail(11, 40);
    mails.extend(without_an_id_of_their_own());
    send_all(&archive.smtp(), &archive.authority(), &mails);
    archive.wait_searchable(44, 60);
    assert_eq!(archive.count("message-id:same@example.org"), 2, "one Message-ID, two mails");

    for mail in &mails {
        let id = Digest::of(&mail.bytes).to_string();
        let to = archive.scratch("one.eml");
        let got = archive.ctl(&["message", "get", &id, "-o", to.to_str().unwrap()]);
        assert_eq!(got.code, 0, "{got:?}");
        assert_eq!(fs::read(&to).unwrap(), mail.bytes, "{id} comes back byte for byte");
    }
    let zeppelins =
        mails.iter().filter(|m| String::from_utf8_lossy(&m.bytes).contains("zeppelin")).count() as u64;
    // Base64 bodies hide the word from this look, not from the index.
    assert!(archive.count("zeppelin") >= zeppelins.max(1));
    let before = archive.ctl(&["search", "from:alice", "--all", "-o", "json"]).json()["results"].clone();

    verify_with_every_exit_code(&archive, &mails[0]);
    assert!(archive.probe("/readyz").starts_with("HTTP/1.1 200"), "{}", archive.probe("/readyz"));
    assert!(archive.probe("/metrics").contains("openarchive_ingest"), "{}", archive.probe("/metrics"));

    assert!(archive.terminate(), "SIGTERM ends it well");
    // A token whose file is lost cannot be read back from the database: the restart must make another.
    fs::remove_file(archive.data().join("api-token")).unwrap();
    archive.start();
    let after = archive.ctl(&["search", "from:alice", "--all", "-o", "json"]).json()["results"].clone();
    assert_eq!(before, after);
    archive.terminate();
    archive.assert_clean();
}

fn verify_with_every_exit_code(archive: &Archive, mail: &SampleMail) {
    let id = Digest::of(&mail.bytes).to_string();
    let (eml, proof) = (archive.scratch("mail.eml"), archive.scratch("mail.tlog-proof"));
    fs::write(&eml, &mail.bytes).unwrap();
    let policy = archive.data().join("trust.policy");
    let made = archive.ctl(&["proof", &id, "-o", proof.to_str().unwrap()]);
    assert_eq!(made.code, 0, "{made:?}");
    let [eml, proof, policy] = [&eml, &proof, &policy].map(|path| path.to_str().unwrap());

    let verify = |arguments: &[&str]| archive.ctl(&[&["verify"], arguments].concat());
    let verified = verify(&[eml, "--proof", proof, "--policy", policy]);
    assert_eq!(verified.code, 0, "{verified:?}");
    let not_anchored = verify(&[eml, "--proof", proof]);
    assert_eq!(not_anchored.code, 4, "{not_anchored:?}");
    let forged = archive.scratch("forged.eml");
    fs::write(&forged, [mail.bytes.as_slice(), b"."].concat()).unwrap();
    let failed = verify(&[forged.to_str().unwrap(), "--proof", proof, "--policy", policy]);
    assert_eq!(failed.code, 3, "{failed:?}");
    assert_eq!(verify(&["/nonexistent.eml", "--proof", proof]).code, 1);
    assert_eq!(archive.ctl(&["verify"]).code, 2);
    assert_eq!(archive.ctl(&["message", "get", &Digest::of(b"never seen").to_string()]).code, 1);
}
