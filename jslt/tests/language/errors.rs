//! Scripts that do not compile, and where failures are said to be.

use jslt::{EvalError, Position, Script};

use crate::support::{compile_error, eval_error};

/// Script, line, column, message.
#[test]
fn scripts_that_do_not_compile() {
    let cases: &[(&str, u32, u32, &str)] = &[
        ("", 1, 1, "expected an expression, found the end of the script"),
        ("  \n ", 2, 2, "expected an expression, found the end of the script"),
        ("1 +", 1, 4, "expected an expression, found the end of the script"),
        ("1 2", 1, 3, "expected an operator or the end of the script, found number 2"),
        (
            "5 -2",
            1,
            3,
            "expected an operator or the end of the script, found '-2' (a minus sign needs a space on both sides)",
        ),
        (
            ".a -b",
            1,
            4,
            "expected an operator or the end of the script, found '-b' (a minus sign needs a space on both sides)",
        ),
        (
            "1-2",
            1,
            1,
            "expected a function call or another expression, found the name '1-2' (a minus sign needs a space on both sides)",
        ),
        (
            "foo",
            1,
            1,
            "expected a function call or another expression, found the name 'foo' and the end of the script",
        ),
        ("foo bar", 1, 1, "expected a function call or another expression, found the name 'foo' and 'bar'"),
        ("(1", 1, 3, "expected an operator or ')', found the end of the script"),
        ("(1 2)", 1, 4, "expected an operator or ')', found number 2"),
        ("[1 2]", 1, 4, "expected ',' or ']', found number 2"),
        ("[1, 2", 1, 6, "expected ',' or ']', found the end of the script"),
        ("[,]", 1, 2, "expected an expression, found ','"),
        ("{\"a\" 1}", 1, 6, "expected an operator or ':', found number 1"),
        ("{\"a\" : 1", 1, 9, "expected ',' or '}', found the end of the script"),
        ("{\"a\" : 1 \"b\" : 2}", 1, 10, "expected ',' or '}', found a string"),
        ("{\n  \"a\" : ]\n}", 2, 9, "expected an expression, found ']'"),
        ("{a : 1}", 1, 2, "expected a function call or another expression, found the name 'a' and ':'"),
        ("{* : ., \"a\" : 1}", 1, 7, "expected an operator or '}', found ','"),
        ("{* - : .}", 1, 6, "expected a key to leave out, found ':'"),
        ("{* - 5 : .}", 1, 6, "expected a key to leave out, found number 5"),
        (".[]", 1, 3, "expected an expression, found ']'"),
        (".[ : ]", 1, 6, "expected an expression, found ']'"),
        (".[1 2]", 1, 5, "expected ':' or ']', found number 2"),
        (".[1 : 2 3]", 1, 9, "expected ']', found number 3"),
        (".a.", 1, 4, "expected a key after '.', found the end of the script"),
        (".a.[0]", 1, 4, "expected a key after '.', found '['"),
        ("(.a).b", 1, 5, "expected an operator or the end of the script, found '.'"),
        ("if true 1", 1, 4, "expected '(', found 'true'"),
        ("if (true)", 1, 10, "expected an expression, found the end of the script"),
        ("if (true) 1 else", 1, 17, "expected an expression, found the end of the script"),
        ("else 1", 1, 1, "expected an expression, found 'else'"),
        ("let a 1 2", 1, 7, "expected '=', found number 1"),
        ("let = 1 2", 1, 5, "expected a variable's name, found '='"),
        ("let a = 1", 1, 10, "expected an expression, found the end of the script"),
        ("let if = 1 2", 1, 5, "expected a variable's name, found 'if'"),
        ("def f 1", 1, 7, "expected '(', found number 1"),
        ("def f(1) 1", 1, 7, "expected a parameter's name or ')', found number 1"),
        ("def f(a 1) 1", 1, 9, "expected ',' or ')', found number 1"),
        ("def f(a,) 1", 1, 9, "expected a parameter's name, found ')'"),
        ("def f(a) $a", 1, 12, "expected an expression, found the end of the script"),
        ("1 def f() 1", 1, 3, "expected an operator or the end of the script, found 'def'"),
        ("size(1, )", 1, 9, "expected an expression, found ')'"),
        ("size(1; 2)", 1, 7, "Unexpected character ';'"),
        ("[for .a .b]", 1, 6, "expected '(', found '.'"),
        ("[for (.a) .b, 1]", 1, 13, "expected 'if' or ']', found ','"),
        ("[for (.a) .b if .c]", 1, 17, "expected '(', found '.'"),
        ("{for (.a) .b}", 1, 13, "expected an operator or ':', found '}'"),
        ("{for (.a) .b : .c, }", 1, 18, "expected 'if' or '}', found ','"),
        ("1 < 2 < 3", 1, 7, "expected 'and', 'or' or the end of the comparison, found '<'"),
        ("1 = 1", 1, 3, "expected an operator or the end of the script, found '='"),
        ("1 & 2", 1, 3, "Unexpected character '&'"),
        ("$", 1, 1, "expected a variable's name after '$', found '$'"),
        ("\"abc", 1, 1, "The string is not closed"),
        ("1 + \"abc\\", 1, 5, "The string is not closed"),
        ("\"a\\d\"", 1, 3, "Unknown escape sequence: \\d"),
        ("\"\n a\\x\"", 2, 3, "Unknown escape sequence: \\x"),
        ("\"\\u12\"", 1, 2, "A Unicode escape needs four hexadecimal digits"),
        ("\"\\u12G4\"", 1, 2, "A Unicode escape needs four hexadecimal digits"),
        ("9223372036854775808", 1, 1, "The number 9223372036854775808 is out of range"),
        ("1e400", 1, 1, "The number 1e400 is out of range"),
        ("$nope", 1, 1, "No such variable 'nope'"),
        ("let a = $a $a", 1, 9, "No such variable 'a'"),
        ("[for (.) let x = 1 $x] + $x", 1, 26, "No such variable 'x'"),
        ("def f(x) $x f($x)", 1, 15, "No such variable 'x'"),
        ("nope(1)", 1, 1, "No such function: 'nope'"),
        ("1 +\n  nope(1)", 2, 3, "No such function: 'nope'"),
        ("size()", 1, 1, "Function 'size' needs 1 arguments, got 0"),
        ("number(1, 2, 3)", 1, 1, "Function 'number' needs 1-2 arguments, got 3"),
        ("fallback(1)", 1, 1, "Function 'fallback' needs 2-1024 arguments, got 1"),
        ("def f(a) 1 f()", 1, 12, "Function 'f' needs 1 arguments, got 0"),
        ("let a = 1 let a = 2 $a", 1, 15, "Duplicate variable declaration a"),
        ("def f(a, a) 1 f(1, 2)", 1, 10, "Duplicate variable declaration a"),
        ("def f(a) let a = 1 $a f(1)", 1, 14, "Duplicate variable declaration a"),
        ("{\"a\" : 1, \"a\" : 2}", 1, 11, "Invalid object declaration, duplicate key 'a'"),
        ("{1 : 2}", 1, 2, "Object key must be string"),
        ("[{* : .}]", 1, 3, "Object matcher used inside array"),
        ("def f() {* : .} f()", 1, 10, "Object matcher used inside function declaration"),
        ("{.a : {* : .}}", 1, 8, "Object matcher used inside dynamic object"),
        ("{.a : 1, * : .}", 1, 10, "Object matcher not allowed in objects which have dynamic keys"),
        (
            "import \"a.jslt\" as a a(1)",
            1,
            1,
            "Modules cannot be imported here: a script must stand on its own",
        ),
        ("m:f(1)", 1, 1, "No such module 'm': modules cannot be imported here"),
        ("test(.a, \"(\")", 1, 1, "Syntax error in regular expression '(': unclosed group"),
        ("test(.a, null)", 1, 1, "Regexp cannot be null"),
        (
            "test(.a, \"a(?=b)\")",
            1,
            1,
            "Syntax error in regular expression 'a(?=b)': look-ahead is not supported",
        ),
        (
            "test(.a, \"(?<!a)b\")",
            1,
            1,
            "Syntax error in regular expression '(?<!a)b': look-behind is not supported",
        ),
        (
            "test(.a, \"(a)\\\\1\")",
            1,
            1,
            "Syntax error in regular expression '(a)\\1': a back-reference is not supported",
        ),
        (
            "test(.a, \"a++\")",
            1,
            1,
            "Syntax error in regular expression 'a++': possessive quantifiers are not supported",
        ),
        (
            "test(.a, \"(?>a)\")",
            1,
            1,
            "Syntax error in regular expression '(?>a)': an atomic group is not supported",
        ),
        ("test(.a, \"[a\")", 1, 1, "Syntax error in regular expression '[a': unclosed character class"),
        (
            "split(.a, \"*\")",
            1,
            1,
            "Syntax error in regular expression '*': repetition operator missing expression",
        ),
        (
            "replace(.a, \"a\\\\\", \"b\")",
            1,
            1,
            "Syntax error in regular expression 'a\\': it ends with a backslash",
        ),
        ("capture(.a, \"a{2\")", 1, 1, "Syntax error in regular expression 'a{2': unclosed repetition"),
        (
            "test(.a, \"(a{1000}){1000}\")",
            1,
            1,
            "Syntax error in regular expression '(a{1000}){1000}': it is too large",
        ),
        ("parse-time(.a, \"yyyy b\")", 1, 1, "Couldn't parse format 'yyyy b': Illegal pattern character 'b'"),
        ("format-time(.a, \"yyyy 'x\")", 1, 1, "Couldn't parse format 'yyyy 'x': Unterminated quote"),
    ];
    for (script, line, column, message) in cases {
        let error = compile_error(script);
        let said = error.to_string();
        assert_eq!(said, format!("{message} at line {line}, column {column}"), "{script}");
        assert_eq!(error.position(), Position { line: *line, column: *column }, "{script}");
    }
}

#[test]
fn an_error_says_what_was_expected() {
    let error = compile_error("[1, 2");
    assert_eq!(error.expected(), Some("',' or ']'"));
    assert_eq!(error.message(), "found the end of the script");
    assert_eq!((error.line(), error.column()), (1, 6));
    assert_eq!(compile_error("$a").expected(), None);
}

/// Columns count characters, not bytes.
#[test]
fn places_of_failures() {
    let cases: &[(&str, u32, u32)] = &[
        ("\"åäö\" + (1 / 0)", 1, 12),
        ("{\n  \"a\" : 1,\n  \"b\" : 2 - true\n}", 3, 11),
        ("let x = 1\nlet y = $x / 0\n$y", 2, 12),
        ("def f(a)\n  $a < true\nf(1)", 2, 6),
        ("[for ([1, 2])\n  round(\"x\")]", 2, 3),
        ("[for (5) .]", 1, 1),
        ("1 + {for (5) \"a\" : .}", 1, 5),
        ("{for ([1]) . : .}", 1, 1),
        ("{.x : 1}", 1, 2),
        ("let k = \"a\" {\"a\" : 1, $k : 2}", 1, 23),
        ("let s = \"abc\"\n$s[9]", 2, 3),
        ("size(\n  size(true))", 2, 3),
        ("let a = f() let b = 1 def f() $b $a", 1, 31),
    ];
    for (script, line, column) in cases {
        let error = eval_error(script, "{}");
        assert!(matches!(error, EvalError::Runtime { .. }), "{script}: {error:?}");
        assert_eq!(error.position(), Some(Position { line: *line, column: *column }), "{script}: {error}");
    }
}

#[test]
fn messages_of_structures() {
    let cases: &[(&str, &str)] = &[
        ("[for (5) .]", "For loop can't iterate over 5"),
        ("{for (5) \"a\" : .}", "Object comprehension can't loop over 5"),
        ("{for ([1]) . : .}", "Object comprehension must have string as key, not 1"),
        ("{.x : 1}", "Object key must be string"),
        ("let k = \"a\" {\"a\" : 1, $k : 2}", "Duplicate key 'a' in object"),
    ];
    for (script, expected) in cases {
        match eval_error(script, "{}") {
            EvalError::Runtime { message, .. } => assert_eq!(message, *expected, "{script}"),
            other => panic!("{script}: {other:?}"),
        }
    }
}

#[test]
fn a_raised_error_has_the_text_of_java() {
    let raised = |script| eval_error(script, "{\"name\":\"x\"}");
    assert_eq!(raised("error(\"no \" + .name)"), EvalError::Raised { message: "error: no x".to_owned() });
    assert_eq!(raised("{\"a\" : [error(5)]}").to_string(), "error: 5");
    assert_eq!(raised("error(null)").to_string(), "error: null");
    assert_eq!(raised("error(\"x\")").position(), None);
}

#[test]
fn long_values_are_cut_short_in_messages() {
    let error = eval_error("1 - .", &format!("[{}0]", "1,".repeat(10_000))).to_string();
    assert!(error.len() < 300, "{error}");
    assert!(error.starts_with("Can't convert [1,1,1"), "{error}");
    let error = eval_error("1 - .", &format!("\"{}\"", "å".repeat(10_000))).to_string();
    assert!(error.len() < 300, "{error}");
}

#[test]
fn debug_output_is_short() {
    let script = Script::compile(&format!("[{}1]", "1, ".repeat(1000))).unwrap();
    assert!(format!("{script:?}").len() < 100);
}
