//! Whatever comes from outside is read as plain data, or refused: JSON, records, names, times.

use serde_json::Value as Tree;
use serde_json::value::RawValue;

use super::{
    Event, HostPort, Json, JsonFault, Namespace, Node, StepId, ThreadId, Timestamp,
    canonical_digest, parse_duration,
};
use crate::fuzz::fuzz;

#[test]
fn any_bytes_are_the_json_that_its_parser_sees_or_refused() {
    let tokens = ["\\ud83d\\ude00", "\\ud800", "\\udc00", "\\\\", "\\\"", "\\/", "1e5", "1E+400"];
    fuzz("json", &tokens, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
        let raw: Result<&RawValue, _> = serde_json::from_str(text);
        let json = match Json::parse(text) {
            Ok(json) => json,
            Err(fault) => {
                let ours = matches!(fault, JsonFault::Depth | JsonFault::LoneSurrogate);
                assert_eq!(raw.is_ok(), ours, "{fault}");
                return fault.to_string();
            }
        };
        assert_eq!(Json::parse(json.as_str()).as_ref(), Ok(&json), "compact text is compact");
        let node = Node::parse(&json).unwrap();
        // A number that no double holds is none to this parser.
        if let Ok(tree) = serde_json::from_str::<Tree>(text) {
            assert_eq!(json.decode::<Tree>().unwrap(), tree);
            assert_eq!(node.to_json().decode::<Tree>().unwrap(), tree);
        }
        // Other white space, another order and a name twice mean the same.
        let pretty = Json::parse(&serde_json::to_string_pretty(&raw.unwrap()).unwrap()).unwrap();
        assert_eq!(canonical_digest(&json), canonical_digest(&pretty));
        assert_eq!(canonical_digest(&json), canonical_digest(&node.to_json()));
        node.type_name().to_owned()
    });
}

#[test]
fn any_record_is_an_event_that_is_written_as_it_was_read_or_damage() {
    let tokens = [
        "\"attempt\":1",
        "\"stepId\":\"a\"",
        "\"seq\":1",
        "\"data\":{}",
        "\"at\":\"2023-11-14T22:13:20.123Z\"",
        "\"at\":\"-262143-01-01T00:00:00Z\"",
        "\"threadId\":\"t\"",
        "\"fallback\":true",
        "\"by\":\"ann\"",
    ];
    fuzz("event", &tokens, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
        let kind = Event::kind_of(text);
        let event = match Event::decode(text) {
            Ok(event) => event,
            Err(fault) => return fault.to_string(),
        };
        let thread = ThreadId::parse("t").unwrap();
        let written = event.encode(&thread);
        let again = Event::decode(&written).unwrap_or_else(|fault| panic!("{written}: {fault}"));
        assert_eq!(again, event);
        assert_eq!(again.encode(&thread), written);
        assert!(kind == "unknown" || kind == event.body.kind());
        event.body.kind().to_owned()
    });
}

#[test]
fn any_text_is_a_name_or_a_time_that_reads_back_or_refused() {
    let tokens =
        ["default/", "team", "127.0.0.1", "[::1]", ":8080", "http://", "1h 30m", "ms", "+00:00"];
    fuzz("text", &tokens, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
        let mut read = Vec::new();
        if let Ok(id) = ThreadId::from_key(text) {
            assert_eq!(id.as_str(), text);
            assert_eq!(ThreadId::within(&id.namespace(), id.text()).as_ref(), Ok(&id));
            read.push("a thread");
        }
        if let Ok(id) = StepId::parse(text) {
            assert_eq!(id.as_str(), text);
            read.push("a step");
        }
        if let Some(namespace) = Namespace::parse(text) {
            let key = namespace.key("t").into_owned();
            assert_eq!(Namespace::split(&key), (Some(namespace), "t"));
            read.push("a namespace");
        }
        if let Some(host) = HostPort::parse(text) {
            assert!(host.covers(&host) && host.is_same(&host, 80) && !host.name().is_empty());
            assert!(!host.name().contains(['/', '@', '#', '?', '\\']), "{host:?}");
            read.push("a host");
        }
        if let Some((host, port)) = HostPort::of_origin(text) {
            // A browser sees the same port, if it takes that for an origin at all.
            let seen = url::Url::parse(text).ok().and_then(|url| url.port_or_known_default());
            assert!(seen.is_none_or(|seen| seen == host.port().unwrap_or(port)));
            read.push("an origin");
        }
        if let Some(time) = Timestamp::parse(text) {
            assert_eq!(Timestamp::parse(&time.to_string()), Some(time), "{time}");
            read.push("a time");
        }
        if let Ok(duration) = parse_duration(text) {
            let written = humantime::format_duration(duration).to_string();
            assert_eq!(parse_duration(&written), Ok(duration), "{written}");
            read.push("a duration");
        }
        read.join(" ")
    });
}
