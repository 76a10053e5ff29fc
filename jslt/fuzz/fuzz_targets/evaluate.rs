//! Any text as a script and any text as its input: nothing may panic, hang or outrun the stack.
//!
//! The first line of the data is the input, the rest is the script.
#![no_main]

use jslt::{Context, Limits, Script};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &str| {
    let (input, text) = data.split_once('\n').unwrap_or(("null", data));
    let Ok(script) = Script::compile(text) else {
        return;
    };
    let input = serde_json::from_str(input).unwrap_or(Value::Null);
    let limits = Limits { steps: 100_000, output_bytes: 1 << 20, memory_bytes: 1 << 24, ..Limits::default() };
    let context =
        Context::default().with_limits(limits).with_clock(&|| 1_700_000_000_000).with_random(&|| 0x5DEE_CE66);
    if let Ok(value) = script.evaluate(&input, &context) {
        let text = value.to_string();
        assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value));
    }
});
