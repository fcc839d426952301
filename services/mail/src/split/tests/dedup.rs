//! One file is one part, however it is wrapped; and what is badly wrapped still comes back exactly.

use super::*;
use crate::{Base64Recipe, LineEnd};

#[test]
fn the_same_attachment_is_one_part_at_any_line_length_and_line_end() {
    for length in [1024, 1025, 1026, 5000, 100_000] {
        let content = content(length, 1);
        for line_length in [60, 61, 62, 63, 64, 72, 73, 76, 998, 65_535, usize::MAX] {
            for line_end in ["\r\n", "\n"] {
                for after in ["", line_end, " ", "\r\n\r\n", "\n\n\n", "\r\n -- \r\ntrailing text\r\n"] {
                    let body = base64_text(&content, line_length, line_end) + after + "\r\n";
                    let found = contents(&with_attachment(&body));
                    assert!(
                        found == std::slice::from_ref(&content),
                        "{length} {line_length} {line_end:?} {after:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_recipe_names_what_it_saw() {
    let recipe_of = |body: &str| -> Recipe {
        split(&with_attachment(body)).0.skeleton.parts().next().unwrap().recipe.clone()
    };
    let expected = |line_length, line_end, padding, last_break, trailing: &str| {
        Recipe::Base64(Base64Recipe { line_length, line_end, padding, last_break, trailing: trailing.into() })
    };
    let text = |line_length, line_end| base64_text(&content(2000, 2), line_length, line_end);
    let (crlf, lf, none) = (LineEnd::CrLf, LineEnd::Lf, LineEnd::None);
    assert_eq!(recipe_of(&(text(76, "\r\n") + "\r\n")), expected(76, crlf, 1, true, ""));
    assert_eq!(recipe_of(&(text(72, "\n") + "\n\n")), expected(72, lf, 1, true, "\n"));
    assert_eq!(recipe_of(&(text(72, "\n") + "\r\n")), expected(72, lf, 1, false, "\r\n"));
    assert_eq!(recipe_of(&(text(9999, "") + "\r\n")), expected(0, crlf, 1, true, ""));
    assert_eq!(recipe_of(&(text(76, "\r\n") + " \r\n")), expected(76, crlf, 1, false, " \r\n"));
    assert_eq!(recipe_of(&(text(9999, "") + " \r\n")), expected(0, none, 1, false, " \r\n"));
}

#[test]
fn wrong_padding_is_kept_by_the_recipe() {
    for (length, right) in [(2000, "="), (1999, "=="), (2001, "")] {
        let content = content(length, 3);
        let text = base64_text(&content, 76, "\r\n");
        let bare = text.strip_suffix(right).unwrap();
        for padding in ["", "=", "==", "===", "\r\n=", " ="] {
            let found = contents(&with_attachment(&format!("{bare}{padding}\r\n")));
            assert!(found == std::slice::from_ref(&content), "{length} {padding:?}");
        }
    }
}

#[test]
fn spare_bits_in_the_last_digit_cost_the_last_bytes_and_no_more() {
    let content = content(1999, 4);
    let text = base64_text(&content, 76, "\r\n");
    let body = text.strip_suffix("==").unwrap();
    let spoiled = format!("{}/==\r\n", &body[..body.len() - 1]);
    assert_eq!(contents(&with_attachment(&spoiled)), [&content[..1998]]);
}

#[test]
fn a_body_that_stops_following_its_recipe_is_a_part_up_to_there() {
    let content = content(90_000, 5);
    let text = base64_text(&content, 76, "\r\n");
    let line = 78;
    for lines in [20, 500, 800, 1000] {
        let (good, rest) = text.split_at(lines * line);
        for deviation in ["-", "!", "\r\n", " ", "AAAA", "\r", "A\r\n", "="] {
            let found = contents(&with_attachment(&format!("{good}{deviation}{rest}\r\n")));
            assert!(found == [&content[..lines * 57]], "{lines} {deviation:?}");
        }
    }
}

#[test]
fn the_bytes_that_follow_belong_to_the_recipe_up_to_65_535_of_them() {
    let text = base64_text(&content(3000, 6), 76, "\r\n");
    let trailing = |bytes: usize| -> usize {
        let body = format!("{text}\r\n{}\r\n", "x".repeat(bytes - 2));
        match &split(&with_attachment(&body)).0.skeleton.parts().next().unwrap().recipe {
            Recipe::Base64(recipe) => recipe.trailing.len(),
            Recipe::Identity => panic!("a base64 part"),
        }
    };
    assert_eq!(trailing(65_535), 65_535);
    assert_eq!(trailing(65_536), 0);
    assert_eq!(trailing(200_000), 0);
}

#[test]
fn bodies_are_taken_out_from_1_kib_decoded() {
    for (length, parts) in [(0, 0), (1, 0), (1023, 0), (1024, 1)] {
        let content = content(length, 7);
        let body = base64_text(&content, 76, "\r\n") + "\r\n";
        assert_eq!(contents(&with_attachment(&body)).len(), parts, "base64 {length}");
        let text: String = "x".repeat(length) + "\r\n";
        let identity = String::from_utf8(with_attachment(&text)).unwrap().replace("base64", "binary");
        assert_eq!(contents(identity.as_bytes()).len(), parts, "identity {length}");
    }
}

#[test]
fn an_identity_part_is_the_body_without_the_break_that_belongs_to_the_boundary() {
    for (line_end, encoding) in [("\r\n", "7bit"), ("\n", "8bit"), ("\r\n", "binary")] {
        let text = format!("line{line_end}").repeat(1000);
        let message = String::from_utf8(with_attachment(&text)).unwrap().replace("base64", encoding);
        let expected = text.strip_suffix(line_end).unwrap();
        assert_eq!(contents(message.as_bytes()), [expected.as_bytes()], "{encoding}");
    }
    let alone = format!("Content-Type: application/json\r\n\r\n{}", "[]\r\n".repeat(1000));
    assert_eq!(contents(alone.as_bytes()), ["[]\r\n".repeat(1000).as_bytes()]);
}

#[test]
fn quoted_printable_and_unnamed_text_stay_verbatim() {
    for header in [
        "Content-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: quoted-printable",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64",
        "Content-Type: text/html",
        "Content-Type: application/x; name=a\r\nContent-Transfer-Encoding: x-uuencode",
    ] {
        let body = base64_text(&content(3000, 8), 76, "\r\n");
        assert_eq!(contents(format!("{header}\r\n\r\n{body}\r\n").as_bytes()).len(), 0, "{header}");
    }
}

#[test]
fn what_another_program_attached_is_what_is_taken_out() {
    let files = [content(1500, 20), content(40_000, 21), content(300_000, 22)];
    let mail = mail_builder::MessageBuilder::new()
        .from("a@example.org")
        .to("b@example.org")
        .subject("three files")
        .text_body("See below.")
        .html_body("<p>See below.</p>")
        .inline("image/png", "logo", files[0].clone())
        .attachment("application/pdf", "report.pdf", files[1].clone())
        .attachment("application/zip", "data ü.zip", files[2].clone())
        .write_to_vec()
        .unwrap();
    assert!(contents(&mail) == files);
    let lf = String::from_utf8(mail).unwrap().replace("\r\n", "\n");
    assert!(contents(lf.as_bytes()) == files);
}
