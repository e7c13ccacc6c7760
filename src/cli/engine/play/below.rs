//! What evaluated code calls: leaves and child sessions.

use super::*;

impl Player<'_> {
    /// All leaves are asked, then all answer: as when they run at once.
    pub(super) fn leaves(&self, turn: &Turn, reply: &Reply, eval: EvalNumber) -> Result<Vec<Box<RawValue>>, Failure> {
        let mut started = Vec::new();
        for (leaf, index) in reply.leaves.iter().zip(0..) {
            let prompt = self.fill(&leaf.prompt);
            let request = json!({ "model": "scripted-leaf", "prompt": prompt }).to_string();
            let call_type = if reply.batch { CallType::LeafBatchItem } else { CallType::Leaf };
            let call = self.session.write(|batch| {
                let input = batch.put(prompt.as_bytes());
                let digest = batch.put_value(request.as_bytes());
                batch.begin_call(call_type, |call| {
                    call.turn = Some(turn.number);
                    call.eval = Some(eval);
                    call.input = Some(input);
                    call.request = Some(digest);
                    if reply.batch {
                        call.batch = Some(format!("leaves-{eval}"));
                        call.batch_index = Some(index);
                    }
                    asked(call, "scripted-leaf");
                })
            })?;
            started.push(Started { call, request, leaf });
        }
        let mut values = Vec::new();
        for Started { call, request, leaf } in started {
            self.session.write(|batch| match (&leaf.reply, &leaf.error) {
                (Some(reply), _) => {
                    let response = batch.put(reply.as_bytes());
                    batch.update_call(call, |call| answered(call, Some(response), &request, reply))
                }
                (None, error) => {
                    let error = batch.put(error.as_deref().unwrap_or_default().as_bytes());
                    batch.update_call(call, |call| {
                        call.status = Status::ERROR;
                        call.error = Some(error);
                    })
                }
            })?;
            values.push(raw(&leaf.reply)?);
        }
        Ok(values)
    }

    /// Children of a batch are all opened before the first of them is played.
    pub(super) fn children(
        &self,
        turn: &mut Turn,
        reply: &Reply,
        eval: EvalNumber,
    ) -> Result<Vec<Box<RawValue>>, Failure> {
        let mut opened = Vec::new();
        let mut values = Vec::new();
        for (child, index) in reply.children.iter().zip(0..) {
            opened.push(self.open_child(turn, child, reply.batch.then_some(index), eval)?);
            if !reply.batch {
                for child in opened.drain(..) {
                    values.push(self.settle(turn, child)?);
                }
            }
        }
        for child in opened {
            values.push(self.settle(turn, child)?);
        }
        Ok(values)
    }

    fn open_child<'s>(
        &self,
        turn: &Turn,
        child: &'s Child,
        index: Option<u64>,
        eval: EvalNumber,
    ) -> Result<Opened<'s>, Failure> {
        let task = self.fill(&child.task);
        let session = self.child_session(child)?;
        let (call_type, kind) = match (child.attach, index) {
            (true, _) => (CallType::AttachedChild, "attach"),
            (false, Some(_)) => (CallType::ChildBatchItem, "map-rlm"),
            (false, None) => (CallType::Child, "rlm"),
        };
        let kind = Status::new(kind)?;
        let caller_before = self.session.current_head();
        let callee_before = session.current_head();
        let callee = session.id().clone();
        let (call, invocation) = self.session.write(|batch| {
            let input = batch.put(task.as_bytes());
            let call = batch.begin_call(call_type, |call| {
                call.turn = Some(turn.number);
                call.eval = Some(eval);
                call.input = Some(input);
                call.child = Some(callee.clone());
                if let Some(index) = index {
                    call.batch = Some(format!("children-{eval}"));
                    call.batch_index = Some(index);
                }
            })?;
            let invocation = batch.start_invocation(kind, |invocation| {
                invocation.call = Some(call);
                invocation.input = Some(input);
                invocation.label = Some(input);
                invocation.caller_before = caller_before;
                invocation.callee = Some(callee);
                invocation.callee_before = callee_before;
            })?;
            Ok((call, invocation))
        })?;
        Ok(Opened { call, invocation, session, task, child })
    }

    /// A new session of kind `child`, named after its caller while that name is free.
    fn child_session(&self, child: &Child) -> Result<Session, Failure> {
        let store = self.session.store();
        let name = format!("{}.child-{:04}", self.session.id(), self.session.counters().child + 1);
        let make = |id: Option<SessionId>| {
            let mut new = id.map_or_else(NewSession::fresh, NewSession::named);
            new.kind = Status::new("child")?;
            new.origin = Some(format!("headwater run: child of {}", self.session.id()));
            match self.session.current_head().filter(|_| child.attach) {
                Some(head) => store.attach(&head, new),
                None => store.create_session(new),
            }
            .map_err(Opening::Open)
        };
        let made = match name.parse::<SessionId>() {
            Ok(id) => match make(Some(id)) {
                Err(Opening::Open(SessionOpenError::Exists { .. })) => make(None),
                made => made,
            },
            Err(_) => make(None),
        };
        made.map_err(|error| match error {
            Opening::Open(error) => error.into(),
            Opening::Word(error) => error.into(),
        })
    }

    /// Plays the child's turn and records at the caller how it ended.
    fn settle(&self, turn: &mut Turn, opened: Opened<'_>) -> Result<Box<RawValue>, Failure> {
        let Opened { call, invocation, session, task, child } = opened;
        let script = match (&child.replies, &child.script) {
            (Some(replies), _) => Script::of_replies(replies.clone()),
            (None, name) => Script::load(name.as_deref().unwrap_or("simple"))?,
        };
        let played = play(&session, &task, &script)?;
        let blobs = session.store().blobs();
        let value = played.final_value.map(|digest| blobs.get(&digest)).transpose()?;
        session.close()?;
        let final_value = played.final_value;
        let (head, status) = (played.head, played.status);
        self.session.write(|batch| {
            if final_value.is_some() {
                batch.update_call(call, |call| {
                    call.status = Status::OK;
                    call.result = final_value;
                })?;
                batch.complete_invocation(invocation, |row| {
                    row.status = Status::OK;
                    row.final_value = final_value;
                    row.callee_after = Some(head);
                })
            } else {
                let error = batch.put(format!("the child ended with status {status}").as_bytes());
                batch.update_call(call, |call| {
                    call.status = Status::ERROR;
                    call.error = Some(error);
                })?;
                batch.fail_invocation(invocation, |row| {
                    row.status = Status::ERROR;
                    row.error = Some(error);
                    row.callee_after = Some(head);
                })
            }
        })?;
        turn.invocations.push(invocation);
        let text = value.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_else(|| "null".to_owned());
        RawValue::from_string(text).map_err(|error| Failure::new("error", error.to_string()))
    }
}
