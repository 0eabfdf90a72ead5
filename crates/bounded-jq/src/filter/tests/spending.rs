//! Tests that every operation pays for the data that it reads and holds the memory of the data that
//! it makes.

use super::*;
use crate::limits::STACK;
use crate::{natives, regex};

/// The bytes of each long string, number and list.
const LONG: usize = 10_000;

/// Returns an input in which `.k` is a long string, `.d` a long decimal, `.w` a whole number of
/// many digits, `.o` and `.p` are equal objects with a long key, and `.l` is a long list.
fn input() -> String {
    let (long, digits) = ("a".repeat(LONG), "1".repeat(LONG));
    let (whole, list) = ("7".repeat(900), vec!["1"; LONG / 2].join(","));
    let object = format!(r#"{{"{long}":1}}"#);
    // The key is written in another way, so that it is another string.
    let other = object.replacen('a', "\\u0061", 1);
    format!(r#"{{"k":"{long}","d":{digits}.5,"w":{whole},"o":{object},"p":{other},"l":[{list}]}}"#)
}

/// Returns the fuel and the memory that this many rounds of an operation take.
fn taken(operation: &str, rounds: usize, input: &str) -> (u64, usize) {
    let program = format!(
        ".k as $k | .d as $d | .w as $w | .o as $o | .p as $p | .l as $l | [range({rounds}) | {operation}] | length"
    );
    let filter = Filter::compile(&program).unwrap_or_else(|fault| panic!("{operation}: {fault}"));
    let budget = Budget { fuel: u64::MAX / 2, memory: usize::MAX / 2, stack: STACK };
    let work = || {
        filter.evaluate(input, LIMITS).unwrap_or_else(|fault| panic!("{operation}: {fault}"));
        meter::left()
    };
    let (fuel, memory) = with_large_stack(|| metered(budget, work)).unwrap().unwrap();
    (budget.fuel - fuel, budget.memory - memory)
}

/// Returns the fuel and the memory that an operation takes each time.
fn each(operation: &str, input: &str) -> (u64, usize) {
    let (few, many) = (taken(operation, 1, input), taken(operation, 5, input));
    ((many.0 - few.0) / 4, (many.1 - few.1) / 4)
}

/// Asserts that no operation takes too little, and names all that do.
#[track_caller]
fn all_take(operations: &[&str], is_enough: impl Fn((u64, usize)) -> bool) {
    let input = input();
    let each = operations.iter().map(|operation| (operation, each(operation, &input)));
    let cheap: Vec<_> = each.filter(|(_, taken)| !is_enough(*taken)).collect();
    assert!(cheap.is_empty(), "{cheap:#?}");
}

#[test]
fn operations_spend_fuel_for_the_bytes_they_read() {
    let least = u64::try_from(LONG / 64).unwrap();
    all_take(READING, |(fuel, _)| fuel >= least);
}

#[test]
fn operations_hold_memory_for_the_bytes_they_make() {
    all_take(MAKING, |(_, memory)| memory >= LONG);
    let whole = ["-$w", "-$w | length", "$w + 1", "$w - 1", "$w * 2", "$w % ($w - 1)"];
    all_take(&whole, |(fuel, memory)| memory >= 370 && fuel >= 370 / 64);
}

/// Runs a program with a fortieth of the usual fuel and returns its end.
fn soon(program: &str) -> Result<String, Error> {
    let filter = Filter::compile(program).map_err(Error::Failed)?;
    let budget = Budget { fuel: FULL.fuel / 40, memory: LIMITS.values(), ..FULL };
    let ended = with_large_stack(|| filter.attempt("null", LIMITS, budget));
    ended.map_err(Error::Failed)?.unwrap_or_else(|stop| Err(stop.into()))
}

#[test]
fn no_way_of_writing_an_expression_makes_a_search_free() {
    for expression in [
        "a(?:[^z]*z)?",
        "(?x)a(?:[^z]*z) ?",
        "(?x: a (?:[^z]*z) ? )",
        "(?x)a(?:[^z]*z)#\\n?",
        "(?i:(?x)a(?:[^z]*z) ?)",
        "a(?:[^z]*z)+{0,1}",
        "a(?:[^z]*z)+*",
        "a(?:[^z]*z)*",
        "a+?(?:[^z]*z)?",
        "(?U)a[^z]*z??",
        "(?:a[^z]*z)+|a",
    ] {
        let program = format!("(\"a\" * 5000) | [scan(\"{expression}\")] | length");
        assert_eq!(soon(&program), Err(Error::TooLong), "{program}");
    }
    // Without an unbounded repetition, a search looks as far as the expression is long.
    let bounded = "(\"a\" * 5000) | [scan(\"a?\" * 200 + \"b|a\")] | length";
    assert_eq!(soon(bounded), Err(Error::TooLong));
    let plain = "(\"some text, \" * 1000) | [scan(\"[a-z]+, *\")] | length";
    assert_eq!(soon(plain).as_deref(), Ok("1000"));
}

#[test]
fn reading_an_expression_is_paid_for_by_its_states() {
    let large = "[range(1000) | (\"a\" | test(\"a\" * 9000))] | length";
    assert_eq!(soon(large), Err(Error::TooLong));
    let hidden = "\"a\" | test(\"(?x)(a{#\\n1000}){#\\n1000}\")";
    assert_eq!(soon(hidden), Err(Error::TooLarge));
}

#[test]
fn programs_with_regular_expressions_are_never_run_in_place() {
    let names = ["matches", "split_matches", "split_"];
    let mut found = 0;
    for def in natives::defs().unwrap() {
        let needed = library::needed(&[def.name].into()).unwrap();
        let searches = needed.funs.iter().any(|(name, _, _)| names.contains(name));
        if !searches || (def.name, def.args.len()) == ("split", 1) {
            continue;
        }
        assert!(regex::is_made_of(def.name, def.args.len()), "{}/{}", def.name, def.args.len());
        found += 1;
    }
    assert!(found > 10, "{found}");
    for program in
        ["test(\"a\")", "map(sub(\"a\"; \"b\"))", "matches(\"a\"; \"\")", "{a: split(\"a\"; null)}"]
    {
        assert!(Filter::compile(program).unwrap().run_inline("\"a\"", LIMITS).is_none());
    }
    assert!(Filter::compile("split(\"a\")").unwrap().run_inline("\"a\"", LIMITS).is_some());
}

#[test]
fn a_cancelled_run_ends_soon() {
    let filter = Filter::compile("reduce range(1e9) as $i (0; . + 1)").unwrap();
    let cancelled = Arc::new(AtomicBool::new(true));
    let ended = filter.run("null", LIMITS, &cancelled);
    assert_eq!(ended, Err(Error::Failed("the run was cancelled".to_owned())));
    assert_eq!(filter.run("null", LIMITS, &Arc::default()), Err(Error::TooLong));
}

/// The operations that read long data.
const READING: &[&str] = &[
    "$o == $p",
    "$o < $p",
    "[$o] - [$p]",
    "[$o, $p] | sort | length",
    "[$o, $p] | unique | length",
    "[$o] | index($p)",
    "[$o] | indices([$p])",
    "[$o] | bsearch($p)",
    "$o | contains($p)",
    "$o | inside($p)",
    "$o[$k]",
    "$o | has($k)",
    "$k | in($o)",
    "$o | getpath([$k])",
    "$o | setpath([$k]; 2) | length",
    "$o | del(.[$k])",
    "$o | delpaths([[$k]])",
    "$o | .[$k] = 2 | length",
    "$o | .[$k] |= 2 | length",
    "$o | .[$k] += 2 | length",
    "$o | map_values(1) | length",
    "$o | to_entries | from_entries | length",
    "$o | with_entries(.value = 2) | length",
    "$o | pick(.[$k]) | length",
    "$o | walk(.) | length",
    "{} + $o | length",
    "{} * $o | length",
    "{($k): 1} | length",
    "[$k, $k + \"\"] | sort | length",
    "$o as {($k): $x} | $x",
    "$d + 1",
    "1 + $d",
    "$d - 1",
    "1 - $d",
    "$d * 2",
    "$d / 2",
    "2 / $d",
    "$d % 2",
    "2 % $d",
    "-$d",
    "$d < 3",
    "3 < $d",
    "$d == 3",
    "[$d] | index(3)",
    "[$d, 3] | sort | length",
    "[$d, 3] | min",
    "[$d, 3] | max_by(.)",
    "[$d, 3] | group_by(.) | length",
    "[3, 4] | bsearch($d)",
    "[1] | has($d)",
    "[1][$d]",
    "[1][:$d]",
    "[1] | .[:$d] = [2]",
    "$d | length",
    "-$d | length",
    "$d | abs",
    "$d | floor",
    "$d | sqrt",
    "$d | round",
    "pow($d; 2)",
    "$d | tojson",
    "$d | tostring",
    "$d | @text",
    "\"\\($d)\"",
    "$d | isnan",
    "[limit($d; 1)]",
    "[range($d; 0; 1)]",
    "try ($d | todate) catch 1",
    "try ($d | gmtime) catch 1",
    "$d | try error catch (. == 1)",
    "$k | length",
    "$k | utf8bytelength",
    "$k | explode | length",
    "$k | explode | implode",
    "$k | fromjson? // 1",
    "$k | tonumber? // 1",
    "$k | tojson",
    "$k | [.] | tostring",
    "$k | ascii_downcase",
    "$k | ascii_upcase",
    "$k | @base64",
    "$k | @base64d",
    "try ($k + \"\\u0000\" | decode_base64) catch 1",
    "$k | @uri",
    "$k | @urid",
    "$k | @html",
    "$k | @htmld",
    "$k | @sh",
    "$k | @json",
    "$k[1:]",
    "$k[-1:]",
    "$k | .[1:] = \"b\"",
    "$k + \"b\"",
    "\"b\" + $k",
    "$k * 2",
    "$k / \"b\"",
    "$k / $k",
    "$k | split(\"b\")",
    "$k | indices(\"b\")",
    "$k | indices($k)",
    "$k | index($k)",
    "$k | contains(\"b\")",
    "$k | contains($k)",
    "$k | inside($k)",
    "$k | startswith($k)",
    "$k | endswith($k)",
    "$k | ltrimstr($k)",
    "$k | rtrimstr($k)",
    "$k | ltrimstr(\"a\")",
    "$k | trim",
    "$k | ltrim",
    "$k | rtrim",
    "$k == $k + \"\"",
    "$k | ascii_downcase | . < $k",
    "[$k] | join(\",\")",
    "$k | test(\"b\")",
    "$k | [match(\"b\"; \"g\")]",
    "$k | sub(\"b\"; \"c\")",
    "$k | gsub(\"b\"; \"c\")",
    "$k | [splits(\"b\")]",
    "$k | ascii_downcase | length",
    "last($l[])",
    "isempty($l[] | select(false))",
    "[$l[]] | length",
    "$l | map(.) | length",
    "$l | sort | length",
    "$l | sort_by(.) | length",
    "$l | group_by(.) | length",
    "$l | unique | length",
    "$l | min",
    "$l | max",
    "[1, 2] | sort_by($l[]) | length",
    "[1] | min_by($l[])",
    "$l | reverse | length",
    "$l | add",
    "$l | any(. == 2)",
    "$l | index(2)",
    "$l | indices([2])",
    "$l | contains([2])",
    "$l | contains([\"x\"])",
    "$l == ($l | map(1))",
    "$l + [1] | length",
    "$l - [2] | length",
    "$l | .[1] = 2 | length",
    "$l | del(.[1]) | length",
    "$l[1:] | length",
    "$l | .[1:] = [1] | length",
    "$l | to_entries | length",
    "$l | keys | length",
    "$l | flatten | length",
    "$l | join(\",\")",
    "$l | tojson",
    "$l | implode | length",
    "$l | [paths] | length",
    "$l | [..] | length",
    "$l | transpose? // 1",
];

/// The operations that make long data.
const MAKING: &[&str] = &[
    "-$d",
    "-$d | length | -$d",
    "$d | tojson",
    "$d | tostring",
    "$k + \"b\"",
    "\"b\" + $k",
    "$k * 2",
    "$k[1:]",
    "$k | .[1:] = \"b\" | $k[1:]",
    "$k | ascii_upcase",
    "$k | explode",
    "$k | explode | implode",
    "$k | tojson",
    "$k | @base64",
    "$k | @uri",
    "$k | @html",
    "$k | @htmld",
    "$k | @sh",
    "$k | @json",
    "$k | @urid",
    "$k | tojson | fromjson",
    "$d | tojson | fromjson",
    "$k | ltrimstr(\"a\")",
    "$k | rtrimstr(\"a\")",
    "$k / \"b\"",
    "$k | split(\"a\")",
    "$k | indices(\"a\")",
    "$k | gsub(\"b\"; \"c\")",
    "$k | [match(\"a\"; \"g\").offset]",
    "[$k] | join(\",\")",
    "[$l[]]",
    "$l | map(.)",
    "$l | reverse",
    "$l | sort",
    "$l | sort_by(.)",
    "$l | group_by(.)",
    "[1, 2] | sort_by($l[])",
    "[1] | min_by($l[])",
    "$l + [1]",
    "$l - [2]",
    "$l[1:]",
    "$l | .[1] = 2",
    "$l | keys",
    "$l | to_entries",
    "$l | tojson",
    "$l | [paths]",
    "$l | map({a: .})",
];
