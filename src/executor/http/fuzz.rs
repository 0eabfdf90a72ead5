//! Fuzz test: any HTTP response becomes an output within the limit, or a failure without control
//! characters and secrets.

use reqwest::Response;

use super::tests::attempt;
use super::{answer, redirect, request};
use crate::executor::Room;
use crate::executor::{Pulse, Redactor};
use crate::fuzz::fuzz;
use crate::model::{Json, Node, Timestamp};

/// The limit of an output in this test, in bytes.
const LIMIT: usize = 4096;
/// The longest message of a failure, in characters: its excerpt with each character escaped, and
/// the text around it.
const MAX_MESSAGE: usize = 300 * 10 + 500;
/// A secret that the request held, and that a called service repeats.
const SECRET: &str = "qX7-held-by-the-request";

/// Parses a response, and returns its body as well, from a text such as `200`, headers one a line, an empty line, and the body.
fn respond(bytes: &[u8]) -> Option<(Response, Vec<u8>)> {
    let split = bytes.windows(2).position(|two| two == b"\n\n")?;
    let (head, body) = (bytes.get(..split)?, bytes.get(split + 2..)?);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = std::str::from_utf8(lines.next()?).ok()?.parse::<u16>().ok()?;
    let mut response = axum::http::Response::builder().status(status);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        response = response.header(line.get(..colon)?, line.get(colon + 1..)?.trim_ascii());
    }
    Some((response.body(body.to_vec()).ok()?.into(), body.to_vec()))
}

#[test]
fn any_answer_is_an_output_in_its_limit_or_a_failure_fit_to_be_shown() {
    let tokens = [
        "\ncontent-type: application/json",
        "\nretry-after: 7",
        "\nretry-after: Sun, 06 Nov 1994 08:49:37 GMT",
        "\ndate: Sun, 06 Nov 1994 08:49:27 GMT",
        "\nlocation: //evil/",
        "\nlocation: https://u:p@h/",
        "\nlocation: javascript:1",
        "\ncontent-length: 99",
        SECRET,
        "qX7%2Dheld-by-the-request",
        "\u{1b}[2J",
        "\nx: \u{ff}",
        "307",
        "429",
        "\nlocation: ..",
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redactor = Redactor::new([("TOKEN", SECRET)]);
    let with =
        r#"{"method":"POST","url":"http://u:p@a.example/x","json":1,"headers":{"X-Api-Key":"s"}}"#;
    let (sent, _) = request::read(&attempt(with)).unwrap();
    fuzz("answer", &tokens, |bytes| {
        let Some((response, body)) = respond(bytes) else { return "no answer".to_owned() };
        let mut outcome = match redirect::follow(&sent, &response, false) {
            Ok(None) => "stays".to_owned(),
            Ok(Some(next)) => {
                assert!(matches!(next.url.scheme(), "http" | "https") && next.url.has_host());
                assert_eq!((next.url.username(), next.url.password()), ("", None));
                let same = next.url.origin() == sent.url.origin();
                assert!(same || !next.headers.contains_key("x-api-key"));
                assert!(same || !next.headers.contains_key("authorization"));
                "moves".to_owned()
            }
            Err(refused) => refused.message,
        };
        if let Some(wait) = answer::retry_after(response.headers(), Timestamp::from_millis(0)) {
            assert!(Timestamp::from_millis(0).plus(wait) >= Timestamp::from_millis(0));
            outcome.push_str(" later");
        }
        let status = response.status();
        let (room, pulse) = (Room::boundless(), Pulse::default());
        let found = answer::output(response, (LIMIT, &room, &redactor), &pulse);
        match runtime.block_on(found) {
            Ok(output) => {
                assert!(output.as_str().len() <= LIMIT);
                assert_eq!(Json::parse(output.as_str()).as_ref(), Ok(&output));
                let node = Node::parse(&output).unwrap();
                assert_eq!(node.get("status"), Some(&Node::Number(status.as_u16().to_string())));
                let text = Node::String(String::from_utf8_lossy(&body).into_owned());
                let json = std::str::from_utf8(&body).ok().and_then(|text| Json::parse(text).ok());
                let json = json.and_then(|json| Node::parse(&json).ok());
                let said = node.get("body");
                // The body of an empty answer, or of one with a byte order mark, is told in another way.
                let bare =
                    body.iter().all(u8::is_ascii_whitespace) || body.starts_with(b"\xef\xbb\xbf");
                assert!(bare || said == Some(&text) || said == json.as_ref(), "{said:?}");
            }
            Err(failure) => outcome.push_str(&failure.message),
        }
        // `output` has consumed the first one.
        let (response, _) = respond(bytes).unwrap();
        let failed = answer::unexpected(response, Timestamp::from_millis(0), &redactor);
        let message = runtime.block_on(failed).failure.message;
        assert!(message.chars().count() <= MAX_MESSAGE, "{message}");
        assert!(!message.contains(char::is_control) && !message.contains(SECRET), "{message:?}");
        outcome
    });
}
