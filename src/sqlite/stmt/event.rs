//! hw_event and the rows that events write.

pub(crate) const ADD: &str =
    "INSERT INTO hw_event (sid, ev, type, at, n, ref, status) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
pub(crate) const WORDS: &str = "SELECT id, text FROM hw_word";
pub(crate) const ADD_WORD: &str = "INSERT INTO hw_word (id, text) VALUES (?1, ?2)";
pub(crate) const ADD_VERSION: &str = "INSERT INTO hw_version (sid, kind, n, ev) VALUES (?1, ?2, ?3, ?4)";
pub(crate) const ADD_INHERITED: &str = "INSERT INTO hw_inherited (sid, kind, n, ev) VALUES (?1, ?2, ?3, ?4)";
/// The greatest numbers of the kinds without versions.
pub(crate) const LAST_NUMBERS: &str = "SELECT
     (SELECT n FROM hw_message WHERE sid = ?1 ORDER BY ev DESC LIMIT 1),
     (SELECT n FROM hw_eval t WHERE sid = ?1 AND NOT EXISTS (SELECT 1 FROM hw_inherited v WHERE v.kind = 11 AND v.n = t.n AND v.sid = t.sid AND v.ev = t.ev)
       ORDER BY ev DESC LIMIT 1),
     (SELECT n FROM hw_snapshot WHERE sid = ?1 ORDER BY ev DESC LIMIT 1)";
pub(crate) const ADD_MESSAGE: &str = "INSERT INTO hw_message (sid, ev, n, role, content, chars, turn, call, extra) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
pub(crate) const ADD_TURN: &str =
    "INSERT INTO hw_turn (sid, ev, n, status, head_before, input, final, summary, summary_text, started_at, ended_at,
       error, extra, inherited)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
pub(crate) const ADD_CALL: &str =
    "INSERT INTO hw_call (sid, ev, n, type, status, turn, eval, input, request, response, result, error, provider, model,
       tokens_input, tokens_output, tokens_cached, tokens_reasoning, cost, batch, batch_index, child, started_at, ended_at,
       extra, inherited)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
       ?24, ?25, ?26)";
pub(crate) const ADD_EVAL: &str =
    "INSERT INTO hw_eval (sid, ev, n, name, status, turn, message, call, code, result, observation, error, started_at,
       ended_at, extra)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";
pub(crate) const ADD_SNAPSHOT: &str =
    "INSERT INTO hw_snapshot (sid, ev, n, kind, vars, restorable, unrestorable, turn, eval, extra)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
pub(crate) const ADD_INVOCATION: &str =
    "INSERT INTO hw_invocation (sid, ev, n, id, type, status, call, label, label_text, input, final, error, caller_before,
       caller_after, callee, callee_before, callee_after, child, started_at, ended_at, inherited)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)";
