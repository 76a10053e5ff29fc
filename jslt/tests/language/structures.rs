//! Literals, objects, matchers, comprehensions, conditions, variables and functions.

use jslt::{CompileOptions, Context, Script};
use serde_json::json;

use crate::support::{check, check_keep_all};

#[test]
fn literals() {
    check(&[
        ("null", "1", "null"),
        ("true", "1", "true"),
        ("false", "1", "false"),
        ("0", "1", "0"),
        ("-0", "1", "0"),
        ("-12", "1", "-12"),
        ("1.50", "1", "1.5"),
        ("-1.5e3", "1", "-1500.0"),
        ("1E-2", "1", "0.01"),
        ("2e2", "1", "200.0"),
        ("9223372036854775807", "1", "9223372036854775807"),
        ("-9223372036854775808", "1", "-9223372036854775808"),
        ("\"\"", "1", "\"\""),
        ("\"a\\\"b\\\\c\\/d\"", "1", "\"a\\\"b\\\\c/d\""),
        ("\"\\n\\r\\t\\b\\f\"", "1", "\"\\n\\r\\t\\b\\f\""),
        ("\"\\u00e5\\u00C5\"", "1", "\"åÅ\""),
        ("\"\\ud83d\\ude00\"", "1", "\"😀\""),
        ("\"\\ud83d\"", "1", "\"\u{FFFD}\""),
        ("\"line\nbreak\"", "1", "\"line\\nbreak\""),
        ("\"// no comment\"", "1", "\"// no comment\""),
        ("[]", "1", "[]"),
        ("[1, \"a\", null, [true]]", "1", "[1,\"a\",null,[true]]"),
        ("[1, 2, ]", "1", "[1,2]"),
        ("{}", "1", "{}"),
        ("{\"a\" : {\"b\" : [1]}}", "1", "{\"a\":{\"b\":[1]}}"),
        ("{\"a\" : 1, }", "1", "{\"a\":1}"),
        ("(((5)))", "1", "5"),
    ]);
}

#[test]
fn comments_and_blanks() {
    check(&[
        ("// first\n1", "null", "1"),
        ("1 // last", "null", "1"),
        ("1 //", "null", "1"),
        ("1 +\n// between\r\n2", "null", "3"),
        ("\t\r\n\u{C} 1", "null", "1"),
        (".a//x\n.b", "{\"a\":{\"b\":1}}", "1"),
    ]);
}

#[test]
fn objects_leave_out_what_is_empty() {
    check(&[
        ("{\"a\" : null}", "null", "{}"),
        (
            "{\"a\" : {}, \"b\" : [], \"c\" : \"\", \"d\" : 0, \"e\" : false}",
            "null",
            "{\"c\":\"\",\"d\":0,\"e\":false}",
        ),
        ("{\"a\" : .x, \"b\" : .y}", "{\"y\":1}", "{\"b\":1}"),
        ("{\"a\" : {\"b\" : null}}", "null", "{}"),
        ("[null, {\"a\" : null}]", "null", "[null,{}]"),
        ("{\"a\" : [for (.) .]}", "[]", "{}"),
        ("{for (.) .key : .value}", "{\"a\":null,\"b\":1,\"c\":[]}", "{\"b\":1}"),
    ]);
    check_keep_all(&[
        ("{\"a\" : null}", "null", "{\"a\":null}"),
        ("{\"a\" : {}, \"b\" : []}", "null", "{\"a\":{},\"b\":[]}"),
        ("{\"a\" : .x, \"b\" : .y}", "{\"y\":1}", "{\"a\":null,\"b\":1}"),
        ("{\"a\" : {\"b\" : null}}", "null", "{\"a\":{\"b\":null}}"),
        ("{for (.) .key : .value}", "{\"a\":null,\"b\":1,\"c\":[]}", "{\"a\":null,\"b\":1,\"c\":[]}"),
        ("{\"x\" : .x, * : .}", "{\"a\":null}", "{\"x\":null,\"a\":null}"),
    ]);
}

#[test]
fn object_keys() {
    check(&[
        ("{.k : 1}", "{\"k\":\"a\"}", "{\"a\":1}"),
        ("{\"a\" + \"b\" : 1}", "null", "{\"ab\":1}"),
        ("{string(.n) : 1, \"z\" : 2}", "{\"n\":5}", "{\"5\":1,\"z\":2}"),
        ("{if (true) \"a\" else \"b\" : 1}", "null", "{\"a\":1}"),
        ("let k = \"a\" {$k : 1}", "null", "{\"a\":1}"),
        ("{\"b\" : 1, \"a\" : 2}", "null", "{\"b\":1,\"a\":2}"),
        // The key of a member that is left out is not looked at.
        ("{.k : null}", "{\"k\":5}", "{}"),
    ]);
}

#[test]
fn matchers() {
    check(&[
        ("{* : .}", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}"),
        ("{\"b\" : 9, * : .}", "{\"a\":1,\"b\":2}", "{\"b\":9,\"a\":1}"),
        ("{* - a : .}", "{\"a\":1,\"b\":2}", "{\"b\":2}"),
        ("{* - a, \"b c\" : .}", "{\"a\":1,\"b c\":2,\"d\":3}", "{\"d\":3}"),
        ("{* : . + 1}", "{\"a\":1,\"b\":2}", "{\"a\":2,\"b\":3}"),
        ("{* : {\"v\" : .}}", "{\"a\":1}", "{\"a\":{\"v\":1}}"),
        ("{* : .}", "{\"a\":null}", "{\"a\":null}"),
        ("{\"a\" : null, * : .}", "{\"a\":1,\"b\":2}", "{\"b\":2}"),
        ("{\"n\" : 1, * : .}", "null", "{\"n\":1}"),
        ("{\"n\" : 1, * : .}", "[1,2]", "{\"n\":1}"),
        ("{\"n\" : 1, * : .}", "5", "{\"n\":1}"),
        ("{\"a\" : {\"n\" : 1, * : .}}", "{\"a\":{\"x\":2},\"b\":3}", "{\"a\":{\"n\":1,\"x\":2}}"),
        (
            "{\"a\" : {\"n\" : 1, * : .}, * : .}",
            "{\"a\":{\"x\":2},\"b\":3}",
            "{\"a\":{\"n\":1,\"x\":2},\"b\":3}",
        ),
        ("{\"a\" : {\"b\" : {* - c : .}}}", "{\"a\":{\"b\":{\"c\":1,\"d\":2}}}", "{\"a\":{\"b\":{\"d\":2}}}"),
        ("{\"n\" : {* : .}}", "{\"a\":1}", "{}"),
        ("[for (.) {\"n\" : 1, * : .}]", "[{\"a\":1},{\"b\":2}]", "[{\"n\":1,\"a\":1},{\"n\":1,\"b\":2}]"),
        ("{\"l\" : [for (.l) {* - a : .}]}", "{\"l\":[{\"a\":1,\"b\":2}]}", "{\"l\":[{\"b\":2}]}"),
        ("{for (.) .k : {* - k : .}}", "[{\"k\":\"a\",\"v\":1}]", "{\"a\":{\"v\":1}}"),
        ("if (true) {* : .}", "{\"a\":1}", "{\"a\":1}"),
        ("{\"x\" : 1} + {* : .}", "{\"a\":1}", "{\"a\":1,\"x\":1}"),
        ("size({* : .})", "{\"a\":1,\"b\":2}", "2"),
        ("let c = {* - a : .} $c", "{\"a\":1,\"b\":2}", "{\"b\":2}"),
        ("{let c = {* : .} \"n\" : $c}", "{\"a\":1}", "{\"n\":{\"a\":1}}"),
        ("{* : {* - x : .}}", "{\"a\":{\"x\":1,\"y\":2}}", "{\"a\":{\"y\":2}}"),
        ("let n = 5 {* : . + $n}", "{\"a\":1}", "{\"a\":6}"),
        ("{* : .} | .a", "{\"a\":1}", "1"),
    ]);
}

#[test]
fn array_comprehensions() {
    check(&[
        ("[for (.) . * 2]", "[1,2,3]", "[2,4,6]"),
        ("[for (.) .]", "[]", "[]"),
        ("[for (.) .]", "null", "null"),
        ("[for (.) .]", "{\"a\":1,\"b\":2}", "[{\"key\":\"a\",\"value\":1},{\"key\":\"b\",\"value\":2}]"),
        ("[for (.) .key + .value]", "{\"a\":1,\"b\":2}", "[\"a1\",\"b2\"]"),
        ("[for (.) . if (. > 1)]", "[1,2,3]", "[2,3]"),
        ("[for (.) . if (.)]", "[0,1,null,\"\",\"a\"]", "[1,\"a\"]"),
        ("[for (.) let d = . * 2 $d + 1]", "[1,2]", "[3,5]"),
        ("[for (.) let d = . * 2 let e = $d * 2 $e if ($d > 2)]", "[1,2]", "[8]"),
        ("[for (.) [for (.) . + 1]]", "[[1],[2,3]]", "[[2],[3,4]]"),
        ("let n = 10 [for (.) . + $n]", "[1]", "[11]"),
        ("let n = 10 [for (.) let n = $n + 1 . + $n]", "[1]", "[12]"),
        ("[for ([1,2]) null]", "null", "[null,null]"),
        ("[for (.a) .b]", "{\"a\":[{\"b\":1},{}]}", "[1,null]"),
        ("[for (.) {\"n\" : .}]", "[1,null]", "[{\"n\":1},{}]"),
        ("[for (.) .] | .[0]", "[5]", "5"),
    ]);
}

#[test]
fn object_comprehensions() {
    check(&[
        ("{for (.) .k : .v}", "[{\"k\":\"a\",\"v\":1}]", "{\"a\":1}"),
        ("{for (.) .key : .value}", "{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}"),
        ("{for (.) .key : .value * 2}", "{\"a\":1}", "{\"a\":2}"),
        ("{for (.) .value : .key}", "{\"a\":\"x\",\"b\":\"y\"}", "{\"x\":\"a\",\"y\":\"b\"}"),
        ("{for (.) \"k\" : .}", "[1,2]", "{\"k\":2}"),
        ("{for (.) string(.) : . if (. > 1)}", "[1,2,3]", "{\"2\":2,\"3\":3}"),
        ("{for (.) let k = \"k\" + . $k : .}", "[1,2]", "{\"k1\":1,\"k2\":2}"),
        ("{for (.) . : 1}", "null", "null"),
        ("{for (.) . : 1}", "[]", "{}"),
        // A value that is left out needs no key.
        ("{for (.) .k : .v}", "[{\"k\":1,\"v\":null}]", "{}"),
        ("{for (.) .a | string(.) : .a | . * 10}", "[{\"a\":1}]", "{\"1\":10}"),
        ("{for (.) \"k\" + mod(., 3) : .}", "[1,2,3,4]", "{\"k1\":4,\"k2\":2,\"k0\":3}"),
    ]);
}

#[test]
fn large_objects_find_their_members() {
    check(&[
        (
            "size({for (.) string(.) : .})",
            "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,1,17,20]",
            "20",
        ),
        (
            "{for (.) \"k\" + . : . + 1} | [.k1, .k16, .k17, .k18, .k20, .k99]",
            "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]",
            "[2,17,18,19,21,null]",
        ),
    ]);
}

#[test]
fn conditions() {
    check(&[
        ("if (.) 1 else 2", "true", "1"),
        ("if (.) 1 else 2", "false", "2"),
        ("if (.) 1", "false", "null"),
        ("if (. > 5) \"big\" else if (. > 2) \"mid\" else \"small\"", "9", "\"big\""),
        ("if (. > 5) \"big\" else if (. > 2) \"mid\" else \"small\"", "3", "\"mid\""),
        ("if (. > 5) \"big\" else if (. > 2) \"mid\" else \"small\"", "1", "\"small\""),
        ("if (. > 5) \"big\" else if (. > 2) \"mid\"", "1", "null"),
        ("if (false) if (true) 1 else 2", "null", "null"),
        ("if (true) if (false) 1 else 2", "null", "2"),
        ("if (true) let a = 1 let b = 2 $a + $b else 0", "null", "3"),
        ("if (false) 1 else let a = 4 $a", "null", "4"),
        ("if (false) 1 else let a = 4 if ($a > 3) $a else 0", "null", "4"),
        ("let a = 1 if (true) let a = 2 $a else $a", "null", "2"),
        ("let a = 1 if (false) let a = 2 $a else $a", "null", "1"),
        ("let a = 1 if (true) let a = $a + 1 $a", "null", "2"),
        ("[if (true) 1, if (false) 2]", "null", "[1,null]"),
        ("if (true) 1 else error(\"not reached\")", "null", "1"),
    ]);
}

#[test]
fn variables() {
    check(&[
        ("let a = 1 $a", "null", "1"),
        ("let a = 1 let b = $a + 1 [$a, $b]", "null", "[1,2]"),
        ("let a = .x $a", "{\"x\":3}", "3"),
        ("let a = {\"b\":[1,2]} $a.b[1]", "null", "2"),
        ("let a-b = 1 $a-b", "null", "1"),
        ("let a_1 = 1 $a_1", "null", "1"),
        ("let a = (5) 2", "null", "2"),
        ("{let a = 1 \"b\" : $a, \"c\" : $a + 1}", "null", "{\"b\":1,\"c\":2}"),
        ("{let a = 1}", "null", "{}"),
        ("let a = 1 {let a = 2 \"b\" : $a}", "null", "{\"b\":2}"),
        ("let a = 1 {\"x\" : {let a = 2 \"b\" : $a}, \"y\" : $a}", "null", "{\"x\":{\"b\":2},\"y\":1}"),
        ("let a = 1 {let a = $a + 1 \"b\" : $a}", "null", "{\"b\":2}"),
        ("let a = null $a", "null", "null"),
        ("let a = [1] [$a, $a]", "null", "[[1],[1]]"),
    ]);
}

#[test]
fn functions() {
    check(&[
        ("def one() 1 one()", "null", "1"),
        ("def id(x) $x id(5)", "null", "5"),
        ("def add(a, b) $a + $b add(2, 3)", "null", "5"),
        ("def f(x) let y = $x * 2 let z = $y + 1 $z f(5)", "null", "11"),
        ("def f(n) if ($n < 2) 1 else $n * f($n - 1) f(10)", "null", "3628800"),
        ("def f(n) if ($n < 2) $n else f($n - 1) + f($n - 2) f(12)", "null", "144"),
        (
            "def even(n) if ($n == 0) true else odd($n - 1) def odd(n) if ($n == 0) false else even($n - 1) even(7)",
            "null",
            "false",
        ),
        ("def f() .a f()", "{\"a\":1}", "1"),
        ("def f() (.a) [for (.l) f()]", "{\"l\":[{\"a\":1},{\"a\":2}]}", "[1,2]"),
        ("let g = 5 def f(x) $x + $g f(1)", "null", "6"),
        ("def f(x) $x + $g let g = 5 f(1)", "null", "6"),
        ("let g = 5 def f(g) $g f(1)", "null", "1"),
        ("let g = 5 def f(x) let g = 0 $x + $g f(1)", "null", "1"),
        ("def size(x) 99 size([])", "null", "99"),
        ("def f(x) 1 def f(x) 2 f(0)", "null", "2"),
        ("def f(x) [for ($x) let y = . * 2 $y + 1] f([1,2])", "null", "[3,5]"),
        ("def f(x) {let y = $x \"a\" : $y} f(1).a", "null", "1"),
        ("def f(x) $x f([1,2])[1]", "null", "2"),
        ("def sum-up(l) if ($l) $l[0] + sum-up($l[1 : ]) else 0 sum-up(.)", "[1,2,3]", "6"),
        ("def f(a, b) [$a, $b] f(f(1, 2), f(3, f(4, 5)))", "null", "[[1,2],[3,[4,5]]]"),
        ("def f(x) if ($x) let y = 1 $y else let y = 2 ($y) [f(0), f(1)]", "null", "[2,1]"),
        (
            "def walk(v) if (is-array($v)) [for ($v) walk(.)] else $v + 1 walk(.)",
            "[1,[2,[3]]]",
            "[2,[3,[4]]]",
        ),
        ("let a = f(1) def f(x) $x + 1 $a", "null", "2"),
        ("def fallback(a, b) 5 fallback(1, 2)", "null", "1"),
    ]);
}

#[test]
fn variables_from_outside() {
    let options = CompileOptions::default().with_variable("a").with_variable("unused").with_variable("unset");
    let value = json!({"x": [1, 2]});
    let context = Context::default().with_variable("a", &value).with_variable("unknown", &value);
    let run = |text| Script::compile_with_options(text, &options).unwrap().evaluate(&json!(null), &context);
    assert_eq!(run("$a.x[1]").unwrap(), json!(2));
    assert_eq!(run("def f() $a.x[0] f()").unwrap(), json!(1));
    assert_eq!(run("let a = 7 $a").unwrap(), json!(7));
    assert_eq!(run("let a = $a.x $a").unwrap(), json!([1, 2]));
    assert_eq!(run("1 + $unset").unwrap_err().to_string(), "No such variable 'unset' at line 1, column 5");
}

#[test]
fn long_scripts_stay_flat() {
    let sum = format!("0{}", " + 1".repeat(20_000));
    assert_eq!(crate::support::run(&sum, "null").unwrap(), json!(20_000));
    let cases =
        format!("{}\"none\"", (0..5_000).map(|n| format!("if (. == {n}) {n} else ")).collect::<String>());
    assert_eq!(crate::support::run(&cases, "4999").unwrap(), json!(4999));
    assert_eq!(crate::support::run(&cases, "-1").unwrap(), json!("none"));
    let path = ".a".repeat(10_000);
    assert_eq!(crate::support::run(&path, "null").unwrap(), json!(null));
    let any = format!("false{}", " or false".repeat(10_000));
    assert_eq!(crate::support::run(&any, "null").unwrap(), json!(false));
    let pipe = format!("0{}", " | . + 1".repeat(10_000));
    assert_eq!(crate::support::run(&pipe, "null").unwrap(), json!(10_000));
}

#[test]
fn a_script_is_shared_between_threads() {
    fn assert_shared<T: Send + Sync + Clone + std::fmt::Debug>(_: &T) {}
    let script = Script::compile(". + 1").unwrap();
    assert_shared(&script);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|n| {
                let script = script.clone();
                scope.spawn(move || script.evaluate(&json!(n), &Context::default()).unwrap())
            })
            .collect();
        for (n, worker) in workers.into_iter().enumerate() {
            assert_eq!(worker.join().unwrap(), json!(n + 1));
        }
    });
}
