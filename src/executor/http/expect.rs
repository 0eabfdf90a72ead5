//! The statuses of an answer that a step takes for success (`expectStatus`).

use std::ops::RangeInclusive;

use crate::model::Node;

/// A set of statuses, as ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected(Vec<RangeInclusive<u16>>);

impl Default for Expected {
    fn default() -> Self {
        Self(vec![200..=299])
    }
}

impl Expected {
    /// Reads `200`, `"200-299"`, or an array of these.
    pub(super) fn read(node: &Node) -> Result<Self, String> {
        match node {
            Node::Array(items) if items.is_empty() => Err("expectStatus is empty".to_owned()),
            Node::Array(items) => items.iter().map(range).collect::<Result<_, _>>().map(Self),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Object(_) => {
                Ok(Self(vec![range(node)?]))
            }
        }
    }

    /// Returns whether the status is one of them.
    pub(super) fn covers(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

fn range(node: &Node) -> Result<RangeInclusive<u16>, String> {
    let (Node::Number(text) | Node::String(text)) = node else {
        return Err(format!("expectStatus holds {}", node.type_name()));
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let bound = |digits: &str| digits.trim().parse().ok().filter(|status| *status >= 100);
    match (bound(first), bound(last)) {
        (Some(first), Some(last)) if first <= last && last <= 999 => Ok(first..=last),
        _ => Err(format!("expectStatus: {text:?} is not a status or a range such as \"200-299\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Json;

    fn read(text: &str) -> Result<Expected, String> {
        let json = Json::parse(text).map_err(|fault| fault.to_string())?;
        Expected::read(&Node::parse(&json).map_err(|fault| fault.to_string())?)
    }

    #[test]
    fn statuses_ranges_and_lists_of_both_are_read() {
        assert!(read("201").unwrap().covers(201) && !read("201").unwrap().covers(200));
        let several = read(r#"[404, "200-204", "500"]"#).unwrap();
        for (status, expected) in [(200, true), (204, true), (205, false), (404, true), (500, true)]
        {
            assert_eq!(several.covers(status), expected, "{status}");
        }
        assert!(Expected::default().covers(299) && !Expected::default().covers(304));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["[]", "99", "1000", "\"2xx\"", "\"300-200\"", "null", "{}", "[[200]]", "2.5"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
