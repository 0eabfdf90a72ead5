mod spending;

use super::*;
use crate::nesting::MAX_PROGRAM;

const LIMITS: Limits = Limits { max_output_bytes: 1024 * 1024 };

#[track_caller]
fn run(program: &str, input: &str) -> Result<String, Error> {
    let filter = Filter::compile(program).unwrap_or_else(|fault| panic!("{program}: {fault}"));
    let full = filter.run(input, LIMITS, &Arc::default());
    if let Some(inline) = filter.run_inline(input, LIMITS) {
        assert_eq!(inline, full, "{program}");
    }
    full
}

#[test]
fn long_programs_overflow_no_stack_and_never_run_inline() {
    for (piece, glue) in [(".a", ""), (".", " | "), (".a", " // "), ("1", ","), ("{a: .}", " + ")] {
        let pieces = 8_000 / (piece.len() + glue.len());
        let text = vec![piece; pieces].join(glue);
        // The parser may refuse it; what it takes has to end.
        let Ok(filter) = Filter::compile(&text) else { continue };
        assert!(filter.run_inline("null", LIMITS).is_none(), "{piece}{glue}");
        let _ended = filter.run("null", LIMITS, &Arc::default());
    }
}

#[test]
fn results_are_those_of_jq() {
    for (program, input, output) in CASES {
        assert_eq!(run(program, input).as_deref(), Ok(*output), "{program} of {input}");
    }
}

#[test]
fn values_pass_through_untouched() {
    for text in [
        "123456789012345678901234567890",
        "-0",
        "1.10",
        "1e5",
        "1E400",
        "0.1e-7",
        r#""\u0000 \ud83d\ude00 ü \u2028""#,
        r#"{"z":1,"a":{"y":2,"b":3}}"#,
        r#"{"":[[],{}]}"#,
    ] {
        let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
        let out = run(".", text).unwrap();
        if value.is_string() {
            assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap(), value);
        } else {
            assert_eq!(out, text);
        }
        assert_eq!(run("[.] | .[0]", text).unwrap(), out);
        assert_eq!(run("{a: .} | .a", text).unwrap(), out);
    }
    let digits = "7".repeat(5000);
    assert_eq!(run(".", &digits).unwrap(), digits);
}

#[test]
fn nothing_outside_the_input_can_be_seen() {
    for program in [
        "env",
        "$ENV",
        "env.PATH",
        "now",
        "input",
        "inputs",
        "debug",
        "debug(1)",
        "stderr",
        "halt",
        "halt_error",
        "halt(1)",
        "input_filename",
        "localtime",
        "strflocaltime(\"%Z\")",
        "import \"a\" as a; .",
        "include \"a\"; .",
        "$__prog_args",
        "unguarded_sort_by(.)",
        "keys_guard",
        "time_guard(1)",
        "get_search_list",
        "input_line_number",
        "jn(1; 2)",
    ] {
        assert!(Filter::compile(program).is_err(), "{program}");
    }
}

#[test]
fn programs_that_do_not_compile_say_why() {
    for (program, part) in [
        ("", "expected"),
        (".a |", "at the end"),
        ("nosuch", "undefined filter nosuch"),
        ("$x", "undefined variable $x"),
        (".[", "expected"),
        ("\"", "expected"),
        ("def f(g): f(g | g); f(.)", "calls itself"),
    ] {
        let fault = Filter::compile(program).unwrap_err();
        assert!(fault.contains(part), "{program}: {fault}");
    }
    assert!(Filter::compile(&".a".repeat(MAX_PROGRAM)).is_err());
}

#[test]
fn errors_of_a_program_are_its_own_and_short() {
    assert_eq!(run("error(\"no\")", "1"), Err(Error::Failed("no".to_owned())));
    assert!(matches!(run(".a", "1"), Err(Error::Failed(_))));
    let long = format!("\"{}\"", "x".repeat(100_000));
    let Err(Error::Failed(message)) = run(".a", &long) else { panic!() };
    assert!(message.len() < 1000, "{}", message.len());
}

/// Runs a program and ignores its result: the claim is that the run ends and the process lives.
fn ends(program: &str) {
    if let Ok(filter) = Filter::compile(program) {
        let _inline = filter.run_inline("null", LIMITS);
        let _full = filter.run("null", LIMITS, &Arc::default());
    }
}

#[test]
fn endless_programs_are_stopped() {
    for program in ENDLESS {
        ends(program);
    }
}

#[test]
fn more_endless_programs_are_stopped() {
    for program in ENDLESS_TOO {
        ends(program);
    }
}

#[test]
fn recursive_programs_are_stopped_before_the_stack_ends() {
    for program in RECURSIVE {
        ends(program);
    }
}

#[test]
fn growing_values_are_stopped() {
    for program in GROWING {
        ends(program);
    }
}

/// Runs a program, which must end for want of memory or of fuel.
fn is_bounded(program: &str) {
    let filter = Filter::compile(program).unwrap();
    let ended = filter.run("null", LIMITS, &Arc::default()).unwrap_err();
    assert!(matches!(ended, Error::TooLarge | Error::TooLong), "{program}: {ended}");
}

#[test]
fn regular_expressions_take_no_more_memory_than_they_were_charged_for() {
    for program in [
        r#"("x"*40000000)|[match("";"g")]|length"#,
        r#"("x"*40000000)|split("";null)|length"#,
        r#"("x"*40000000)|[scan("x")]|length"#,
        r#"("x"*40000000)|gsub("";"y")|length"#,
        r#"("x"*40000000)|gsub("x";"yyyy")|length"#,
        r#"("x"*40000000)|[capture("(?<a>x)";"g")]|length"#,
        r#"("x"*40000000)|test("x";"g")"#,
        r#"("x"*40000000)|[splits("x")]|length"#,
        r#"("x"*40000000)|[match("(x)";"gn")]|length"#,
        r#"("x"*9000)|test("()"*4900)"#,
        r#"("x"*1000000)|test("((((((((((a|b)?)?)?)?)?)?)?)?)?)?";"gx")"#,
    ] {
        is_bounded(program);
    }
}

#[test]
fn functions_of_texts_take_no_more_memory_than_they_were_charged_for() {
    for program in [
        r#"("\u0001"*40000000)|tojson|length"#,
        r#"("\u0001"*40000000)|@json|length"#,
        r#"("\u0001"*40000000)|[.]|tostring|length"#,
        r#"("'"*40000000)|@sh|length"#,
        r#"("<"*40000000)|@html|length"#,
        r#"("<"*40000000)|@uri|length"#,
        r#"("<"*40000000)|explode|implode|length"#,
        r#"("1,"*30000000)|"["+.+"1]"|fromjson|length"#,
        r#"("{\"a\":1},"*6000000)|"["+.+"1]"|fromjson|length"#,
        r#"("x"*40000000)|./""|length"#,
        r#"("x"*40000000)|[.,.,.,.]|join(",")|length"#,
        r#"("x"*40000000)|indices("x")|length"#,
        r#"("x"*40000000)|[range(9) as $i|ascii_upcase+"\($i)"]|length"#,
        r#"("x"*40000000)|[range(9) as $i|.[$i:]]|length"#,
        r#"("x"*40000000)|[range(9) as $i|@base64]|length"#,
        "[range(3000000)]|group_by(.)|length",
        "[limit(3000000;repeat({a:1}))]|length",
        "[limit(3000000;repeat([1]))]|length",
        "reduce range(9) as $i (2;.*.)|[limit(1000000;repeat(.+1))]|length",
        r#"reduce range(10000000) as $i ({};.["\($i)"]=$i)|length"#,
    ] {
        is_bounded(program);
    }
}

#[test]
fn folds_and_calls_hold_no_more_memory_than_they_were_charged_for() {
    for program in [
        "reduce range(1e9) as $i (0; ., .)",
        "[foreach range(1e9) as $i (0; .+1, .+2)] | length",
        "reduce range(1e9) as $i (0; (., .) | {a: .})",
        "first(range(1e9) | foreach range(1e9) as $i (.; ., .; empty))",
    ] {
        is_bounded(program);
    }
}

#[test]
fn texts_that_are_no_times_are_refused_before_an_error_quotes_them() {
    for program in ["fromdateiso8601", "strptime(\"%c\")", "strptime(.)"] {
        let program = format!("(\"\\u0001\"*40000000)|{program}");
        let ended = Filter::compile(&program).unwrap().run("null", LIMITS, &Arc::default());
        let Err(Error::Failed(message)) = ended else { panic!("{program}: {ended:?}") };
        assert!(message.contains("1024 bytes"), "{message}");
    }
    assert!(matches!(run("strftime(\"%255d\"*9000)", "0"), Err(Error::Failed(_))));
}

#[test]
fn ordinary_lists_of_small_objects_find_room() {
    let item = r#"{"a":1}"#;
    let input = format!("[{}]", vec![item; 100_000].join(","));
    for program in ["map(.a) | add", "map(.a += 1) | length", "group_by(.a) | length"] {
        assert!(run(program, &input).is_ok(), "{program}: {:?}", run(program, &input));
    }
    let people = r#"{"id":"p-1234","name":"Somebody Or Other","mail":"somebody@example.org","tags":["a","b"],"age":41}"#;
    let input = format!("[{}]", vec![people; 9_000].join(","));
    for program in [
        "map(select(.age > 40) | {id, name, first: (.name | split(\" \") | .[0])})",
        "map(.mail | test(\"^[^@]+@example\\\\.org$\")) | all",
        "sort_by(.name) | group_by(.age) | map({key: (.[0].age | tostring), value: length}) | from_entries",
        "map(.name |= gsub(\"o\"; \"0\")) | map(@html \"<b>\\(.name)</b>\")",
        "map(tojson) | map(fromjson) | length",
        "[.[] | tojson] | join(\"\\n\") | length",
    ] {
        assert!(run(program, &input).is_ok(), "{program}: {:?}", run(program, &input).err());
    }
}

#[test]
fn costly_functions_are_stopped() {
    for program in COSTLY {
        ends(program);
    }
}

#[test]
fn deep_programs_are_refused_or_run() {
    for program in [
        format!("{}{}", "[".repeat(7000), "]".repeat(7000)),
        format!("{}.{}", "(".repeat(7000), ")".repeat(7000)),
        vec!["."; 8000].join("|"),
        vec!["1"; 8000].join("+"),
        format!("{}1", "-".repeat(15_000)),
        format!("{} 1 {}", "if . then ".repeat(1000), "end ".repeat(1000)),
        format!("{} 1 {}", "def f: ".repeat(1000), "; f ".repeat(1000)),
        format!("{} 1", ". as $x | ".repeat(1600)),
        format!("{} 1", "try ".repeat(4000)),
        format!("{} 1", "reduce ".repeat(2000)),
        format!("\"{}1{}\"", "\\(\"".repeat(2000), "\")".repeat(2000)),
    ] {
        ends(&program);
    }
}

#[test]
fn output_is_bounded() {
    let filter = Filter::compile("\"x\" * 1000").unwrap();
    let limits = Limits { max_output_bytes: 100 };
    assert_eq!(filter.run("null", limits, &Arc::default()), Err(Error::TooLarge));
    let filter = Filter::compile("reduce range(200) as $i (1; [.])").unwrap();
    assert_eq!(filter.run("null", LIMITS, &Arc::default()), Err(Error::TooLarge));
}

#[test]
fn inputs_that_are_no_json_are_refused() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    for bad in ["", "1 2", "tr ue", "{", "{'a':1}", "[1,]", "NaN", "01", "\"\u{1}\"", "[:1]"] {
        assert!(matches!(run(".", bad), Err(Error::Input(JsonFault::Syntax(_)))), "{bad}");
    }
    for bad in [r#"["\ud800"]"#, r#"{"\udc00":1}"#, r#""\ud800\ud800""#] {
        assert_eq!(run(".", bad), Err(Error::Input(JsonFault::LoneSurrogate)), "{bad}");
    }
    assert_eq!(run(".", &nested(MAX_JSON_DEPTH)), Ok(nested(MAX_JSON_DEPTH)));
    for deep in [MAX_JSON_DEPTH + 1, 200_000] {
        assert_eq!(run(".", &nested(deep)), Err(Error::Input(JsonFault::Depth)));
    }
    assert_eq!(run("[.]", &nested(MAX_JSON_DEPTH)), Err(Error::TooLarge));
    assert_eq!(run("[.] | tojson | length", &nested(MAX_JSON_DEPTH)).as_deref(), Ok("256"));
    assert_eq!(run(".", " { \"a\" : [ 1 , 2 ] }\n").as_deref(), Ok(r#"{"a":[1,2]}"#));
    for (text, fault) in [
        ("[1", "not valid JSON: EOF while parsing a list at line 1 column 2"),
        (r#""\ud800""#, r"a lone surrogate (\ud800 to \udfff) is not a character"),
        (&nested(MAX_JSON_DEPTH + 1), "nested deeper than 127 levels"),
    ] {
        let text = serde_json::to_string(text).unwrap();
        let ended = run("fromjson", &text);
        assert_eq!(ended, Err(Error::Failed(format!("cannot parse as JSON: {fault}"))));
    }
}

#[test]
fn filters_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Filter>();
}

/// Program, input, output.
const CASES: &[(&str, &str, &str)] = &[
    (".", "1", "1"),
    (".a", r#"{"a":[1]}"#, "[1]"),
    (".a.b", "{}", "null"),
    (".[]", "[1,2]", "[1,2]"),
    (".[]", "[1]", "1"),
    ("empty", "1", "[]"),
    (
        ".body.items | map(.title)",
        r#"{"body":{"items":[{"title":"x"},{"title":"y"}]}}"#,
        r#"["x","y"]"#,
    ),
    ("{a: .b, c}", r#"{"b":1,"c":"d"}"#, r#"{"a":1,"c":"d"}"#),
    ("[.[] | select(. > 1)]", "[1,2,3]", "[2,3]"),
    ("add", "[1,2,3]", "6"),
    ("add", r#"["a","b"]"#, r#""ab""#),
    ("length", r#""häh""#, "3"),
    ("length", "-3", "3"),
    ("keys", r#"{"b":1,"a":2}"#, r#"["a","b"]"#),
    ("to_entries", r#"{"b":1}"#, r#"[{"key":"b","value":1}]"#),
    ("with_entries(.value += 1)", r#"{"b":1,"a":2}"#, r#"{"b":2,"a":3}"#),
    ("group_by(.k) | map(length)", r#"[{"k":2},{"k":1},{"k":2}]"#, "[1,2]"),
    ("sort_by(.k) | .[0].k", r#"[{"k":2},{"k":1}]"#, "1"),
    ("unique", "[2,1,2]", "[1,2]"),
    ("join(\", \")", r#"["a",1,null,"b"]"#, r#""a, 1, , b""#),
    ("split(\",\")", r#""a,b""#, r#"["a","b"]"#),
    ("ascii_downcase | test(\"^a.c$\")", r#""ABC""#, "true"),
    ("gsub(\"(?<x>[0-9]+)\"; \"<\\(.x)>\")", r#""a1b22""#, r#""a<1>b<22>""#),
    ("[match(\"b|c\"; \"g\").offset]", r#""abc""#, "[1,2]"),
    (".[1:]", "[1,2,3]", "[2,3]"),
    (".[-1:]", r#""häh""#, r#""h""#),
    (".[-1]", "[1,2]", "2"),
    (".[length / 2]", "[1,2,3]", "2"),
    (".[9]", "[1]", "null"),
    (".a = 1", "null", r#"{"a":1}"#),
    (".a.b |= 2", "{}", r#"{"a":{"b":2}}"#),
    (".[2] = 1", "[]", "[null,null,1]"),
    ("del(.b)", r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"c":3}"#),
    ("del(.[0,2])", "[1,2,3]", "[2,3]"),
    ("map(. * 2)", "[1,2.5]", "[2,5]"),
    ("6 / 2", "null", "3"),
    ("1 / 3", "null", "0.3333333333333333"),
    ("7 % 3", "null", "1"),
    ("\"ab\" * 2", "null", r#""abab""#),
    ("{a: {b: 1}} * {a: {c: 2}}", "null", r#"{"a":{"b":1,"c":2}}"#),
    ("[1,2,2] - [2]", "null", "[1]"),
    ("[.[] | tostring]", r#"[1,"a",null,{"a":[]}]"#, r#"["1","a","null","{\"a\":[]}"]"#),
    ("fromjson", r#""{\"a\":1}""#, r#"{"a":1}"#),
    ("tojson", r#"{"a":[1.50]}"#, r#""{\"a\":[1.50]}""#),
    ("tonumber", r#""12""#, "12"),
    ("try error(\"x\") catch .", "null", r#""x""#),
    (".a // \"none\"", "{}", r#""none""#),
    ("if . then 1 else 2 end", "false", "2"),
    ("reduce .[] as $x (0; . + $x)", "[1,2,3]", "6"),
    ("[foreach .[] as $x (0; . + $x)]", "[1,2,3]", "[1,3,6]"),
    ("[limit(3; range(10))]", "null", "[0,1,2]"),
    ("[recurse(if . < 2 then . + 1 else empty end)]", "0", "[0,1,2]"),
    ("[..]", "[[1]]", "[[[1]],[1],1]"),
    ("[paths]", r#"{"a":[1]}"#, r#"[["a"],["a",0]]"#),
    ("getpath([\"a\",0])", r#"{"a":[1]}"#, "1"),
    ("setpath([\"a\",\"b\"]; 1)", "{}", r#"{"a":{"b":1}}"#),
    ("walk(if type == \"number\" then . + 1 else . end)", r#"[1,{"a":2}]"#, r#"[2,{"a":3}]"#),
    ("has(\"a\"), has(\"b\")", r#"{"a":null}"#, "[true,false]"),
    ("index(\"b\")", r#""abcb""#, "1"),
    ("indices(1)", "[0,1,1]", "[1,2]"),
    ("contains({a: [\"b\"]})", r#"{"a":["abc"],"d":1}"#, "true"),
    ("inside(\"abc\")", r#""b""#, "true"),
    ("ltrimstr(\"a\")", r#""ab""#, r#""b""#),
    ("@base64", r#""hi""#, r#""aGk=""#),
    ("@uri", r#""a b""#, r#""a%20b""#),
    ("todate", "0", r#""1970-01-01T00:00:00Z""#),
    ("@html", r#""<a href='x'>&\"""#, r#""&lt;a href=&apos;x&apos;&gt;&amp;&quot;""#),
    ("@htmld", r#""&lt;&amp;lt;&x&quot;""#, r#""<&lt;&x\"""#),
    ("@sh", r#"["a'b",1]"#, r#""'a'\\''b' 1""#),
    ("@uri", r#""ü~/""#, r#""%C3%BC~%2F""#),
    ("@urid", r#""%C3%BC%zz%""#, r#""ü%zz%""#),
    ("@base64d", r#""aGk=""#, r#""hi""#),
    ("ascii_upcase", r#""aü""#, r#""Aü""#),
    ("[match(\"(?<v>[a-z])|(x)\"; \"g\") | .captures[0].name]", r#""aüb""#, r#"["v","v"]"#),
    (
        "[match(\"(ü)(b)?\"; \"g\") | [.offset, .length, (.captures | length)]]",
        r#""aübü""#,
        "[[1,2,2],[3,1,1]]",
    ),
    ("[scan(\"a(.)\")]", r#""abac""#, r#"[["b"],["c"]]"#),
    ("[splits(\", *\")]", r#""a,b,  c""#, r#"["a","b","c"]"#),
    ("sub(\"(?<x>b)\"; \"[\\(.x)]\")", r#""abb""#, r#""a[b]b""#),
    ("[test(\"A\"; \"i\"), test(\"a b\"; \"x\")]", r#""ab""#, "[true,true]"),
    ("sort_by(.a, .b) | map(.b)", r#"[{"a":2,"b":1},{"a":1,"b":3}]"#, "[3,1]"),
    ("\"2015-03-05T23:51:47Z\" | fromdate", "null", "1425599507"),
    ("strftime(\"%Y\"), (\"2015\" | try strptime(\"x\") catch 1)", "0", r#"["1970",1]"#),
    ("floor", "1.7", "1"),
    ("def f($n): if $n <= 0 then 0 else $n + f($n - 1) end; f(10)", "null", "55"),
    ("def double: . * 2; def twice(f): f | f; twice(double)", "3", "12"),
    ("[.[] as [$a, $b] | $a + $b]", "[[1,2],[3,4]]", "[3,7]"),
    ("label $out | .[] | if . > 1 then ., break $out else . end", "[1,2,3]", "[1,2]"),
    ("[nan, infinite]", "null", "[null,1.7976931348623157e308]"),
    ("transpose", "[[1,2],[3]]", "[[1,3],[2,null]]"),
    ("ascii_upcase | explode | implode", r#""a""#, r#""A""#),
    ("min_by(.a), max_by(.a)", r#"[{"a":1},{"a":2}]"#, r#"[{"a":1},{"a":2}]"#),
    ("first(.[]), any, all", "[true,false]", "[true,true,false]"),
    ("flatten", "[1,[2,[3]]]", "[1,2,3]"),
];

const ENDLESS: &[&str] = &[
    "repeat(1)",
    "range(infinite)",
    "[limit(1e9; repeat(1))] | length",
    "until(false; .)",
    "last(recurse(.))",
    "path(last(recurse(.a)))",
    "[path(recurse(.a))] | length",
];

const ENDLESS_TOO: &[&str] = &[
    "reduce range(1e9) as $i (0; . + 1)",
    "last(foreach range(1e9) as $i (0; [.]))",
    "try repeat(error(1)) catch repeat(.)",
    "[range(200000)] | sort_by(-.) | group_by(.) | length | repeat(.)",
    "isempty(repeat(empty))",
    "[splits(\"\")]| repeat(.)",
    "ldexp(1; 1e9)",
];

const RECURSIVE: &[&str] = &[
    "def f: f; f",
    "def f: 1 + f; f",
    "def f: [f]; f",
    "def f: f, f; f",
    "def f: f | f; f",
    "def f($x): f($x + 1); f(0)",
    "def f($x): 1 + f($x + 1); f(0)",
    "def f: def g: f; g; f",
    "path(def f: .a | f; f)",
    "def f: (\"x\" * 400000) as $a | 1 + f; f",
    "def f: try f catch f; f",
    "def f: label $l | f; f",
    "def f: (f | .) // f; f",
    "def f: .a |= f; f",
    "def f: reduce f as $x (0; 1); f",
    "def f($n): def g: f($n); if $n > 0 then g else 0 end; f(1e9)",
];

const GROWING: &[&str] = &[
    "path(reduce range(1e6) as $i (.; .a)) | length",
    "reduce range(1e6) as $i (1; [.])",
    "reduce range(1e6) as $i (.; {a: .})",
    "reduce range(100) as $i (\"x\"; . + .)",
    "reduce range(100) as $i ([1]; . + .)",
    "reduce range(100) as $i ([1]; [., .])",
    "reduce range(100) as $i ([1]; [., .]) | tojson",
    "reduce range(60) as $i (2; . * .)",
    "\"x\" * 1e12",
    "\"x\" * 1000000000000",
    "\"x\" * 10000000000000000000000",
    "[range(1000)] | map(\"x\" * 1000000) | length",
    "\"a\" * 100000 | gsub(\"a|b\"; \"b\")",
    "\"a\" * 100000 | [match(\"(a|aa)*b|a\"; \"g\")] | length",
    "\"[\" * 1000000 | fromjson",
    "\"1\" * 1000000 | fromjson | . * 2",
];

const COSTLY: &[&str] = &[
    "last(range(0; 1; 0))",
    ".[1e15] = 1",
    "[range(1e5)] | combinations(5)",
    "[range(100)] | [., ., ., ., .] | [combinations] | length",
    "\"a\" | test(\"((a{1000}){1000}){1000}\")",
    "[range(3000)] as $a | [$a[] | $a == $a] | length",
    "strftime(\"%9999999999d\")",
];
