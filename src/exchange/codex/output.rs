//! What a tool's output says of its end. Codex has no field for it: older versions write JSON with an exit code into the
//! text, later ones a line, and failures of Codex itself are sentences.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::Content;
use crate::exchange::json::whole;

/// How a tool ended, as its output has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    Failed,
    Aborted,
    Unsaid,
}

/// How the outputs of tools begin that Codex could not run, or ran without success.
const FAILED: [&str; 11] = [
    "failed in sandbox",
    "failed to parse function arguments",
    "apply_patch verification failed",
    "patch rejected",
    "execution error",
    "exec_command failed",
    "exec command rejected",
    "write_stdin failed",
    "unsupported call",
    "unsupported custom tool call",
    "collab spawn failed",
];

/// Lines that give an exit code are among the first ones.
const LINES: usize = 8;

pub fn verdict(raw: Option<&RawValue>, content: &Content<'_>) -> Verdict {
    #[derive(Deserialize)]
    struct Output<'a> {
        #[serde(default, borrow)]
        success: Option<&'a RawValue>,
        #[serde(default, borrow)]
        metadata: Option<&'a RawValue>,
        #[serde(default, borrow)]
        exit_code: Option<&'a RawValue>,
    }
    let read = |json: &str| {
        serde_json::from_str::<Output<'_>>(json).ok().map(|output| {
            let inner = output.metadata.and_then(|metadata| serde_json::from_str::<Output<'_>>(metadata.get()).ok());
            let code = whole::<i64>(output.exit_code).or_else(|| whole(inner.and_then(|inner| inner.exit_code)));
            match (code, output.success.map(RawValue::get)) {
                (Some(0), _) | (None, Some("true")) => Verdict::Ok,
                (Some(_), _) | (None, Some("false")) => Verdict::Failed,
                _ => Verdict::Unsaid,
            }
        })
    };
    if let Some(raw) = raw.filter(|raw| raw.get().starts_with('{')) {
        return read(raw.get()).unwrap_or(Verdict::Unsaid);
    }
    let Some(text) = content.texts.first() else { return Verdict::Unsaid };
    if text.starts_with('{')
        && let Some(verdict @ (Verdict::Ok | Verdict::Failed)) = read(text)
    {
        return verdict;
    }
    let text = whole_output(text);
    let beginning = text.trim_start();
    // Of a command, behind how long it ran.
    let said = match beginning.split_once('\n') {
        Some((line, rest)) if line.starts_with("Wall time: ") => rest,
        _ => beginning,
    };
    if said.starts_with("aborted by user") || said.trim_end() == "aborted" {
        return Verdict::Aborted;
    }
    let is_said = |said: &&str| beginning.get(..said.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(said));
    if FAILED.iter().any(is_said) {
        return Verdict::Failed;
    }
    let exit = text.lines().take(LINES).find_map(|line| {
        let code = line.strip_prefix("Exit code: ").or_else(|| line.strip_prefix("Process exited with code "))?;
        code.trim().parse::<i64>().ok()
    });
    match exit {
        Some(0) => Verdict::Ok,
        Some(_) => Verdict::Failed,
        None => Verdict::Unsaid,
    }
}

/// The output behind the line that Codex puts before one that it shortened.
fn whole_output(text: &str) -> &str {
    match text.split_once('\n') {
        Some((line, rest)) if line.starts_with("Total output lines: ") => rest.trim_start(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Verdict {
        let raw = RawValue::from_string(json.to_owned()).unwrap();
        verdict(Some(&raw), &Content::of(Some(&raw)))
    }

    #[test]
    fn an_exit_code_is_found_where_each_version_writes_it() {
        assert_eq!(of(r#""{\"output\":\"x\",\"metadata\":{\"exit_code\":0}}""#), Verdict::Ok);
        assert_eq!(of(r#""{\"output\":\"x\",\"metadata\":{\"exit_code\":127}}""#), Verdict::Failed);
        assert_eq!(of(r#""Exit code: 1\nWall time: 2 seconds\nOutput:\n""#), Verdict::Failed);
        assert_eq!(
            of(r#""Chunk ID: 1\nWall time: 0\nProcess exited with code 0\nOutput:\nExit code: 1""#),
            Verdict::Ok
        );
        assert_eq!(of(r#"{"content":"x","success":false}"#), Verdict::Failed);
        assert_eq!(of(r#""failed in sandbox: x""#), Verdict::Failed);
        assert_eq!(of(r#""Total output lines: 282\n\nfailed in sandbox: x""#), Verdict::Failed);
        assert_eq!(of(r#""aborted by user after 3.2s""#), Verdict::Aborted);
        assert_eq!(of(r#""Wall time: 13.9 seconds\naborted by user""#), Verdict::Aborted);
        assert_eq!(of(r#""Wall time: 13.9 seconds\nOutput:\naborted by user""#), Verdict::Unsaid);
        assert_eq!(of(r#""exec command rejected by user""#), Verdict::Failed);
        assert_eq!(of(r#""write_stdin failed: stdin is closed""#), Verdict::Failed);
        assert_eq!(of(r#""Plan updated""#), Verdict::Unsaid);
        assert_eq!(of(r#"[{"type":"input_image","image_url":"data:x"}]"#), Verdict::Unsaid);
        assert_eq!(of("{}"), Verdict::Unsaid);
        assert_eq!(of(r#""{\"exit_code\":""#), Verdict::Unsaid);
    }
}
