//! What kind of record it is.

use super::record::{Content, Record};
use crate::exchange::json::text;

/// What a record becomes. Two things ask: the import, and whether the turn before it ends.
#[derive(Debug)]
pub enum Shape<'a> {
    Meta,
    Context,
    Compacted,
    /// A user's input.
    User(Content<'a>),
    /// Another message.
    Message(String, Content<'a>),
    Reasoning,
    ToolCall,
    ToolOutput,
    /// A tool that the provider ran.
    ToolAtOnce,
    TaskStarted,
    TaskComplete,
    /// The event that tells of a user's input.
    UserEvent(Content<'a>),
    AnswerEvent(Content<'a>),
    TokenCount,
    ToolEnd,
    Collab(String),
    Aborted,
    Failed,
    /// So many turns were taken back.
    RolledBack(u64),
    /// What another record says too.
    Mirror,
    Other(String),
}

impl<'a> Shape<'a> {
    pub fn of(record: &Record<'a>) -> Shape<'a> {
        let payload = &record.payload;
        match record.kind.as_str() {
            "session_meta" => Shape::Meta,
            "turn_context" => Shape::Context,
            "compacted" => Shape::Compacted,
            "response_item" => Shape::item(record),
            "event_msg" => match payload.kind().as_str() {
                "user_message" => Shape::UserEvent(Content::of(payload.message)),
                "agent_message" => Shape::AnswerEvent(Content::of(payload.message)),
                "token_count" => Shape::TokenCount,
                "task_started" | "turn_started" => Shape::TaskStarted,
                "task_complete" | "turn_complete" => Shape::TaskComplete,
                "turn_aborted" => Shape::Aborted,
                "error" => Shape::Failed,
                "thread_rolled_back" if payload.turns() > 0 => Shape::RolledBack(payload.turns()),
                "exec_command_end" | "patch_apply_end" | "mcp_tool_call_end" | "dynamic_tool_call_response" => {
                    Shape::ToolEnd
                }
                "agent_reasoning"
                | "agent_reasoning_raw_content"
                | "agent_reasoning_section_break"
                | "exec_command_begin"
                | "patch_apply_begin"
                | "mcp_tool_call_begin"
                | "web_search_begin"
                | "web_search_end"
                | "context_compacted" => Shape::Mirror,
                kind if kind.starts_with("collab_") || kind == "sub_agent_activity" => Shape::Collab(kind.to_owned()),
                "" => Shape::Other("event_msg".to_owned()),
                kind => Shape::Other(kind.to_owned()),
            },
            kind => Shape::Other(kind.to_owned()),
        }
    }

    fn item(record: &Record<'a>) -> Shape<'a> {
        let payload = &record.payload;
        match payload.kind().as_str() {
            "message" => {
                let content = Content::of(payload.content);
                match text(payload.role).unwrap_or_default().as_str() {
                    "user" if !content.is_context() && (record.raw.is_none() || !content.is_warning()) => {
                        Shape::User(content)
                    }
                    role => Shape::Message(role.to_owned(), content),
                }
            }
            "reasoning" => Shape::Reasoning,
            kind if kind.ends_with("_call") && payload.call_id.or(payload.arguments).is_some() => Shape::ToolCall,
            kind if kind.ends_with("_call") => Shape::ToolAtOnce,
            kind if kind.ends_with("_output") && payload.call_id.is_some() => Shape::ToolOutput,
            "" => Shape::Other("response_item".to_owned()),
            kind => Shape::Other(kind.to_owned()),
        }
    }
}
