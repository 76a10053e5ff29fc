//! Operators: arithmetic, comparison, logic, the pipe, and how they bind.

use crate::support::{check, check_failures};

#[test]
fn addition() {
    check(&[
        ("19 + 23", "null", "42"),
        ("19 + 23.0", "null", "42.0"),
        ("1.25 + 2.5", "null", "3.75"),
        ("-4 + 3", "null", "-1"),
        ("7 + null", "null", "null"),
        ("null + 7", "null", "null"),
        ("null + null", "null", "null"),
        ("\"ab\" + \"cd\"", "null", "\"abcd\""),
        ("\"n\" + 12", "null", "\"n12\""),
        ("12 + \"n\"", "null", "\"12n\""),
        ("\"n\" + 1.0", "null", "\"n1.0\""),
        ("\"n\" + 10000000.0", "null", "\"n1.0E7\""),
        ("\"n\" + 0.0001", "null", "\"n1.0E-4\""),
        ("\"n\" + null", "null", "\"nnull\""),
        ("\"n\" + true", "null", "\"ntrue\""),
        ("\"n\" + [1,{\"a\":\"b\"}]", "null", "\"n[1,{\\\"a\\\":\\\"b\\\"}]\""),
        ("1 + 2 + \"x\" + 1 + 2", "null", "\"3x12\""),
        ("[1] + [2, 3]", "null", "[1,2,3]"),
        ("[] + []", "null", "[]"),
        ("[1] + null", "null", "[1]"),
        ("null + [1]", "null", "[1]"),
        ("{\"a\":1} + null", "null", "{\"a\":1}"),
        ("null + {\"a\":1}", "null", "{\"a\":1}"),
        ("{\"a\":1} + {\"b\":2}", "null", "{\"b\":2,\"a\":1}"),
        ("{\"a\":1} + {\"a\":2,\"b\":3}", "null", "{\"a\":1,\"b\":3}"),
        (". + {\"x\":1}", "{\"x\":null}", "{\"x\":null}"),
        ("9223372036854775807 + 1", "null", "-9223372036854775808"),
        (". + 0", "18446744073709551615", "-1"),
        ("1 + .", "\"x\"", "\"1x\""),
    ]);
}

#[test]
fn subtraction_multiplication_and_division() {
    check(&[
        ("10 - 4", "null", "6"),
        ("10 - 4 - 3", "null", "3"),
        ("10 - 0.5", "null", "9.5"),
        ("10 - null", "null", "null"),
        ("\"10\" - \"4\"", "null", "6"),
        ("\"1.5\" - 1", "null", "0.5"),
        ("-9223372036854775808 - 1", "null", "9223372036854775807"),
        ("6 * 7", "null", "42"),
        ("6 * 0.5", "null", "3.0"),
        ("null * 7", "null", "null"),
        ("\"ab\" * 3", "null", "\"ababab\""),
        ("3 * \"ab\"", "null", "\"ababab\""),
        ("\"ab\" * 0", "null", "\"\""),
        ("\"ab\" * -5", "null", "\"\""),
        ("\"ab\" * 2.9", "null", "\"abab\""),
        ("\"ab\" * null", "null", "\"\""),
        ("\"ab\" * \"2\"", "null", "\"\""),
        ("\"\" * 9223372036854775807", "null", "\"\""),
        ("9223372036854775807 * 2", "null", "-2"),
        ("12 / 4", "null", "3"),
        ("1 / 4", "null", "0.25"),
        ("12.0 / 4", "null", "3.0"),
        ("-7 / 2", "null", "-3.5"),
        ("null / 0", "null", "null"),
        ("\"12\" / \"4\"", "null", "3"),
        ("-9223372036854775808 / -1", "null", "-9223372036854775808"),
        ("0 / 5", "null", "0"),
    ]);
}

#[test]
fn arithmetic_failures() {
    check_failures(&[
        ("1 / 0", "Division by zero at line 1, column 3"),
        ("1.0 / 0.0", "Division by zero at line 1, column 5"),
        ("1e308 * 10", "The result is too large a number at line 1, column 7"),
        ("1 + {}", "Can't convert {} to number at line 1, column 3"),
        ("[] - 1", "Can't convert [] to number at line 1, column 4"),
        ("true * 2", "Can't convert true to number at line 1, column 6"),
        ("\"x\" - 2", "number(x) failed: not a number at line 1, column 5"),
        ("1 + 2 + false + 4", "Can't convert false to number at line 1, column 7"),
        ("{} + []", "Can't convert {} to number at line 1, column 4"),
    ]);
}

#[test]
fn equality() {
    check(&[
        ("1 == 1", "null", "true"),
        ("1 == 2", "null", "false"),
        ("1 == 1.0", "null", "true"),
        ("1.5 == 1.5", "null", "true"),
        ("1 == \"1\"", "null", "false"),
        ("null == null", "null", "true"),
        ("null == false", "null", "false"),
        (".nothing == null", "{}", "true"),
        ("\"a\" == \"a\"", "null", "true"),
        ("[1, [2]] == [1, [2]]", "null", "true"),
        ("[1] == [1.0]", "null", "false"),
        ("[1 + 1] == [2]", "null", "true"),
        ("[1] == [1, 2]", "null", "false"),
        ("{\"a\":1,\"b\":2} == {\"b\":2,\"a\":1}", "null", "true"),
        ("{\"a\":1} == {\"a\":2}", "null", "false"),
        ("{\"a\":1} == {\"b\":1}", "null", "false"),
        ("{} == []", "null", "false"),
        ("1 != 2", "null", "true"),
        ("1 != 1.0", "null", "false"),
        ("null != 0", "null", "true"),
        ("true == true", "null", "true"),
        (". == 18446744073709551615.0", "18446744073709551615", "true"),
    ]);
}

#[test]
fn order() {
    check(&[
        ("1 < 2", "null", "true"),
        ("2 < 1", "null", "false"),
        ("1 < 1.5", "null", "true"),
        ("1 <= 1.0", "null", "true"),
        ("2 > 1", "null", "true"),
        ("1 >= 2", "null", "false"),
        ("\"a\" < \"b\"", "null", "true"),
        ("\"a\" < \"B\"", "null", "false"),
        ("\"a\" < \"aa\"", "null", "true"),
        ("\"\" < \"a\"", "null", "true"),
        ("\"10\" < \"9\"", "null", "true"),
        ("\"\u{10000}\" < \"\u{FFFF}\"", "null", "true"),
        ("null < 0", "null", "true"),
        ("null < \"\"", "null", "true"),
        ("null < []", "null", "true"),
        ("null < null", "null", "false"),
        ("null <= null", "null", "true"),
        ("false > null", "null", "true"),
        ("9007199254740993 > 9007199254740992", "null", "true"),
    ]);
    check_failures(&[
        ("1 < \"2\"", "Can't compare 1 and \"2\" at line 1, column 3"),
        ("true < false", "Can't compare true and false at line 1, column 6"),
        ("[] >= []", "Can't compare [] and [] at line 1, column 4"),
        ("{} > 1", "Can't compare {} and 1 at line 1, column 4"),
    ]);
}

#[test]
fn logic_and_truth() {
    check(&[
        ("true and true", "null", "true"),
        ("true and false", "null", "false"),
        ("false or true", "null", "true"),
        ("false or false", "null", "false"),
        ("1 and \"x\"", "null", "true"),
        ("0 or null or \"\" or [] or {}", "null", "false"),
        ("0.0 or false", "null", "false"),
        ("[0] and {\"a\":null}", "null", "false"),
        ("[0] and [null]", "null", "true"),
        ("\" \" and -1", "null", "true"),
        ("true or error(\"not reached\")", "null", "true"),
        ("false and error(\"not reached\")", "null", "false"),
        ("if (0) 1 else 2", "null", "2"),
        ("if (\"\") 1 else 2", "null", "2"),
        ("if (\"0\") 1 else 2", "null", "1"),
    ]);
}

#[test]
fn precedence() {
    check(&[
        ("1 + 2 * 3", "null", "7"),
        ("2 * 3 + 1", "null", "7"),
        ("(1 + 2) * 3", "null", "9"),
        ("20 - 2 * 3 - 4", "null", "10"),
        ("20 - (4 - 3)", "null", "19"),
        ("16 / 4 / 2", "null", "2"),
        ("16 / (4 / 2)", "null", "8"),
        ("2 * 3 / 4", "null", "1.5"),
        ("1 + 1 == 2", "null", "true"),
        ("2 == 1 + 1", "null", "true"),
        ("(1 == 1) == true", "null", "true"),
        ("1 < 2 and 2 < 3", "null", "true"),
        ("true or false and false", "null", "true"),
        ("(true or false) and false", "null", "false"),
        ("false and false or true", "null", "true"),
        ("1 + 2 | . * 10", "null", "30"),
        ("false or true | [.]", "null", "[true]"),
        ("1 == 1 | [., .]", "null", "[true,true]"),
        ("1 | . + 1 | . + 1", "null", "3"),
        ("1 + (2 | . * 10)", "null", "21"),
        ("if (true) 1 else 2 | 3", "null", "1"),
        ("(if (true) 1 else 2) | 3", "null", "3"),
        ("if (true) 1 + 1 else 0", "null", "2"),
        ("[1 + 2, 3 * 4]", "null", "[3,12]"),
    ]);
}

#[test]
fn pipe() {
    check(&[
        (".a | .b", "{\"a\":{\"b\":5}}", "5"),
        (".a | .b", "{\"a\":null}", "null"),
        (".a | [.x, .y]", "{\"a\":{\"x\":1,\"y\":2}}", "[1,2]"),
        ("[for (.) . | . + 1]", "[1,2]", "[2,3]"),
        ("let v = (.a) .b | . + $v", "{\"a\":5,\"b\":1}", "6"),
        ("let v = 10 .b | . + $v", "{\"b\":1}", "11"),
        ("{\"a\" : 1 | [.]}", "null", "{\"a\":[1]}"),
        (".a | {\"n\" : 1, * : .}", "{\"a\":{\"x\":2}}", "{\"n\":1,\"x\":2}"),
        ("null | 1", "5", "1"),
    ]);
}
