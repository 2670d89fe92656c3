//! Lines of a streamed chat completion.

use serde_json::Value;

/// What a line brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    Text(String),
    /// A piece of a tool call's arguments.
    Arguments(String),
    Nothing,
    End,
}

/// Reads one line.
///
/// # Errors
/// A line that says what is wrong with it.
pub fn parse(line: &str) -> Result<Delta, String> {
    let Some(data) = line.trim_end().strip_prefix("data:").map(str::trim_start) else {
        return Ok(Delta::Nothing);
    };
    if data == "[DONE]" {
        return Ok(Delta::End);
    }
    let value: Value = serde_json::from_str(data).map_err(|e| format!("a streamed line is no JSON: {e}"))?;
    if let Some(message) = value.pointer("/error/message").and_then(Value::as_str) {
        let message: String = message.chars().take(200).collect();
        return Err(format!("the server says: {message}"));
    }
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty());
    if let Some(text) = text("/choices/0/delta/content") {
        return Ok(Delta::Text(text.to_owned()));
    }
    match text("/choices/0/delta/tool_calls/0/function/arguments") {
        Some(arguments) => Ok(Delta::Arguments(arguments.to_owned())),
        None => Ok(Delta::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_stream() {
        let text = |t: &str| Ok(Delta::Text(t.into()));
        assert_eq!(parse(r#"data: {"choices":[{"delta":{"content":"hi"}}]}"#), text("hi"));
        assert_eq!(parse(r#"data:{"choices":[{"delta":{"content":"x"}}]}"#), text("x"));
        let call = r#"data: {"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\"q"}}]}}]}"#;
        assert_eq!(parse(call), Ok(Delta::Arguments("{\"q".into())));
        assert_eq!(parse("data: [DONE]"), Ok(Delta::End));
        for nothing in
            ["", ": keep-alive", "event: x", r#"data: {"choices":[{"delta":{"role":"assistant"}}]}"#]
        {
            assert_eq!(parse(nothing), Ok(Delta::Nothing), "{nothing}");
        }
        assert!(
            parse(r#"data: {"error":{"message":"out of memory"}}"#)
                .is_err_and(|e| e.contains("out of memory"))
        );
        assert!(parse("data: {").is_err());
    }
}
