//! Nothing a script does is without bound.

use jslt::{Context, EvalError, LimitKind, Limits, Script};
use serde_json::{Value, json};

use crate::support::{compile_error, eval_error};

fn limit_of(script: &str, input: &Value, limits: Limits) -> LimitKind {
    let script = Script::compile(script).unwrap();
    match script.evaluate(input, &Context::default().with_limits(limits)) {
        Err(EvalError::Limit { limit }) => limit,
        Err(error) => panic!("{error}"),
        Ok(value) => panic!("gives {} bytes", value.to_string().len()),
    }
}

/// Runs a test on a stack of the size that threads have by default.
fn on_small_stack(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(2 << 20).spawn_scoped(scope, test).unwrap().join().unwrap();
    });
}

#[test]
fn steps() {
    let numbers: Value = (0..1000).collect();
    let nested = "[for (.) let a = (.) [for ([1,2,3,4,5,6,7,8,9,10]) . + $a]]";
    assert_eq!(limit_of(nested, &numbers, Limits { steps: 10_000, ..Limits::default() }), LimitKind::Steps);
    let cubed = "let all = (.) [for ($all) [for ($all) [for ($all) 1]]] | size(.)";
    assert_eq!(limit_of(cubed, &numbers, Limits::default()), LimitKind::Steps);
    assert_eq!(limit_of("1 + 1", &Value::Null, Limits { steps: 2, ..Limits::default() }), LimitKind::Steps);
    let enough = Context::default().with_limits(Limits { steps: 5, ..Limits::default() });
    assert!(Script::compile("1 + 1").unwrap().evaluate(&Value::Null, &enough).is_ok());
}

#[test]
fn work_inside_functions_takes_steps() {
    let text = json!("a".repeat(1 << 20));
    let repeated = format!("[{}1]", "test(., \"b\"), ".repeat(100));
    assert_eq!(limit_of(&repeated, &text, Limits::default()), LimitKind::Steps);
    let many = json!((0..100_000).collect::<Vec<i32>>());
    let searches = format!("[{}1]", "contains(-1, .), ".repeat(12));
    assert_eq!(limit_of(&searches, &many, Limits::default()), LimitKind::Steps);
    let equal = format!("let a = . + [0] let b = . + [0] [{}1]", "$a == $b, ".repeat(12));
    assert_eq!(limit_of(&equal, &many, Limits::default()), LimitKind::Steps);
}

#[test]
fn recursion() {
    for script in [
        "def f(x) f($x) f(1)",
        "def f(x) 1 + f($x) f(1)",
        "def f(x) g($x) def g(x) f($x) f(1)",
        "def f(x) {\"a\" : [for ([1]) if (true) f($x)]} f(1)",
        "def f(x) f(f($x)) f(1)",
        "def f(x) let y = f($x) $y f(1)",
        "def f() [f(), f()] f()",
    ] {
        on_small_stack(|| {
            assert_eq!(limit_of(script, &Value::Null, Limits::default()), LimitKind::Recursion, "{script}");
        });
    }
    let deep = Script::compile("def f(n) if ($n > 0) f($n - 1) + 1 else 0 f(.)").unwrap();
    on_small_stack(|| {
        assert_eq!(deep.evaluate(&json!(255), &Context::default()).unwrap(), json!(255));
        assert!(deep.evaluate(&json!(256), &Context::default()).is_err());
    });
    let shallow = Context::default().with_limits(Limits { recursion: 3, ..Limits::default() });
    assert!(deep.evaluate(&json!(2), &shallow).is_ok());
    assert!(deep.evaluate(&json!(3), &shallow).is_err());
}

/// However high the limit on calls is set, the stack is not outrun.
#[test]
fn deepest_evaluation_fits_a_small_stack() {
    let inner =
        format!("{}f($x){}", "[for ([1]) {\"a\" : if (true) (1 | (0 + ".repeat(12), "))}]".repeat(12));
    let scripts = [
        "def f(x) f($x) f(1)".to_owned(),
        "def f(x) 1 + (2 * (f($x) | .)) f(1)".to_owned(),
        "def f(x) [for ([f($x)]) .] f(1)".to_owned(),
        "def f(x) {for ([f($x)]) \"a\" : .} f(1)".to_owned(),
        "def f(x) {let a = f($x) \"a\" : $a} f(1)".to_owned(),
        "def f(x) size(string(f($x))) f(1)".to_owned(),
        "def f(x) $x[f($x) : ] f(\"ab\")".to_owned(),
        format!("def f(x) {inner} f(1)"),
        "def f(x) f($x) == 1 and (f($x) or 1) f(1)".to_owned(),
    ];
    for script in scripts {
        on_small_stack(|| {
            let limits = Limits { recursion: u32::MAX, ..Limits::default() };
            assert_eq!(limit_of(&script, &json!([1]), limits), LimitKind::Recursion, "{script}");
        });
    }
}

#[test]
fn nesting_of_scripts() {
    let message = "Expressions nest more than 128 deep";
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{\"a\" : ", "}"),
        ("not(", ")"),
        (".[", "]"),
        ("if (", ") 1"),
        ("[for (", ") 1]"),
    ] {
        on_small_stack(|| {
            let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            assert_eq!(compile_error(&deep).message(), message, "{open}");
            let unclosed = open.repeat(100_000);
            assert_eq!(compile_error(&unclosed).message(), message, "{open}");
            let fits = format!("{}1{}", open.repeat(120), close.repeat(120));
            let script = Script::compile(&fits).unwrap();
            let outcome = script.evaluate(&Value::Null, &Context::default());
            assert!(!matches!(outcome, Err(EvalError::Limit { .. })), "{open}");
        });
    }
    on_small_stack(|| {
        assert_eq!(compile_error(&"if (1) ".repeat(100_000)).message(), message);
        assert_eq!(compile_error(&"def f() ".repeat(100_000)).message(), "found 'def'");
        assert_eq!(compile_error(&"let a = ".repeat(100_000)).message(), "found 'let'");
        assert_eq!(
            compile_error(&"-".repeat(100_000)).expected(),
            Some("a function call or another expression")
        );
        assert_eq!(compile_error(&".".repeat(100_000)).message(), "found '.'");
    });
}

#[test]
fn nesting_of_values() {
    let lets: String = (0..2_000).map(|n| format!("let a{} = [$a{n}] ", n + 1)).collect();
    on_small_stack(|| {
        let script = format!("let a0 = 1 {lets} 1");
        assert_eq!(limit_of(&script, &Value::Null, Limits::default()), LimitKind::Nesting);
        let objects = script.replace("= [", "= {\"a\" : ").replace(']', "}");
        assert_eq!(limit_of(&objects, &Value::Null, Limits::default()), LimitKind::Nesting);
        let json = format!("from-json(\"{}\")", "[".repeat(100_000));
        assert!(matches!(eval_error(&json, "null"), EvalError::Runtime { .. }));
        // An input may nest deeper than a result, but it does not get out.
        let mut input = json!(1);
        for _ in 0..1_000 {
            input = json!([input]);
        }
        for script in [".", "to-json(.)", "flatten(.)", "[.]"] {
            assert_eq!(limit_of(script, &input, Limits::default()), LimitKind::Nesting, "{script}");
        }
        assert!(Script::compile("size(.)").unwrap().evaluate(&input, &Context::default()).is_ok());
        assert!(Script::compile("1 - .").unwrap().evaluate(&input, &Context::default()).is_err());
        let equal = Script::compile("let a = . $a == .").unwrap();
        assert!(equal.evaluate(&input, &Context::default()).is_ok());
    });
}

#[test]
fn growth_of_strings() {
    let doubling: String = (0..60).map(|n| format!("let s{} = $s{n} + $s{n} ", n + 1)).collect();
    for script in [
        format!("let s0 = \"ab\" {doubling} size($s60)"),
        format!("let s0 = [1] {doubling} size($s60)"),
        "\"abc\" * 9223372036854775807".to_owned(),
        "\"abc\" * 1000000000 | size(.)".to_owned(),
        "def f(s) f($s + $s) f(\"abcdefgh\")".to_owned(),
        "let a = \"x\" * 1000000 join([$a, $a, $a, $a, $a, $a], $a)".to_owned(),
        "let a = \"x\" * 100000 replace($a, \"x\", $a)".to_owned(),
    ] {
        let limit = limit_of(&script, &Value::Null, Limits::default());
        assert!(matches!(limit, LimitKind::Output | LimitKind::Memory), "{limit:?}");
    }
    // Sharing makes a large result cheap to build, but not to hand out.
    let sharing: String = (0..40).map(|n| format!("let s{} = [$s{n}, $s{n}] ", n + 1)).collect();
    for end in
        ["$s40", "string($s40)", "flatten($s40)", "$s40 == [$s39, $s39]", "hash-int($s40)", "{\"a\" : $s40}"]
    {
        let limit = limit_of(&format!("let s0 = \"abc\" {sharing} {end}"), &Value::Null, Limits::default());
        assert_ne!(limit, LimitKind::Recursion, "{end}");
    }
    let garbage = "[for (.) \"x\" * 1000000 | 1]";
    assert_eq!(limit_of(garbage, &(0..100).collect(), Limits::default()), LimitKind::Memory);
}

#[test]
fn size_of_the_result() {
    let small = Limits { output_bytes: 100, ..Limits::default() };
    assert_eq!(limit_of(".", &json!("x".repeat(200)), small), LimitKind::Output);
    assert_eq!(limit_of("[for (.) .]", &(0..200).collect(), small), LimitKind::Output);
    assert_eq!(limit_of(".", &(0..200).collect(), small), LimitKind::Output);
    assert_eq!(limit_of("{\"a\" : .}", &json!({"x".repeat(200): 1}), small), LimitKind::Output);
    let fits = Context::default().with_limits(small);
    assert!(Script::compile(".").unwrap().evaluate(&json!("x".repeat(90)), &fits).is_ok());
}

#[test]
fn regular_expressions() {
    // Exponential for a matcher that backtracks.
    let bomb = "test(., \"^(a+)+$\")";
    let text = json!(format!("{}!", "a".repeat(10_000)));
    let value = Script::compile(bomb).unwrap().evaluate(&text, &Context::default()).unwrap();
    assert_eq!(value, json!(false));
    assert!(compile_error("test(., \"((a{100}){100}){100}\")").message().ends_with("it is too large"));
    let nested = format!("test(., \"{}a{}\")", "(".repeat(10_000), ")".repeat(10_000));
    on_small_stack(|| assert!(Script::compile(&nested).is_err()));
    let classes = format!("test(., \"{}\")", "[".repeat(100_000));
    on_small_stack(|| assert!(Script::compile(&classes).is_err()));
    // Patterns that are made at run time are expensive.
    let made = "[for (.) test(\"a\", \"a{\" + . + \"}\")]";
    assert_eq!(limit_of(made, &(1..1000).collect(), Limits::default()), LimitKind::Steps);
}

#[test]
fn a_script_has_a_bounded_number_of_patterns() {
    let script = |count: usize| -> String {
        let tests: String = (0..count).map(|n| format!("test(., \"x{n}\"), ")).collect();
        format!("[{tests}1]")
    };
    assert!(Script::compile(&script(128)).is_ok());
    let message = "A script can have 128 different regular expressions, not more";
    assert_eq!(compile_error(&script(129)).message(), message);
    // Equal ones count once.
    assert!(Script::compile(&format!("[{}1]", "test(., \"x\"), ".repeat(1_000))).is_ok());
}

/// The limits are no obstacle to work that is merely large.
#[test]
fn large_work_fits_the_default_limits() {
    let text = json!("ab, ".repeat(100_000));
    for (script, expected) in [
        ("size(split(., \",\"))", 100_001),
        ("size(split(., \", *\"))", 100_000),
        ("size(replace(., \"[ab]+\", \"x\"))", 300_000),
        ("size(. + .)", 800_000),
        ("size(uppercase(.))", 400_000),
    ] {
        let value = Script::compile(script).unwrap().evaluate(&text, &Context::default());
        assert_eq!(value, Ok(json!(expected)), "{script}");
    }
    let numbers: Value = (0..50_000).collect();
    let sum = Script::compile("sum([for (.) . * 2 if (mod(., 2) == 0)])").unwrap();
    assert_eq!(sum.evaluate(&numbers, &Context::default()), Ok(json!(1_249_950_000_i64)));
}
