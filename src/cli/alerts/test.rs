//! `queue:alerts --test`: messages that test receivers.

use serde_json::json;

use crate::cli::{CommandContext, Exit, Failure, sanitize};
use crate::config::alerts::Receiver;
use crate::master;

const DOING: &str = "test the receivers of alerts";
/// Most characters of an answer in a line.
const MAX_SHOWN: usize = 300;

/// Sends a firing alert and its end to a receiver, or to all of them, and prints what each answered.
pub(super) fn test(context: &CommandContext, name: Option<&str>) -> Result<(), Failure> {
    let config = context.config()?;
    let declared = config.alerts.as_ref().map(|alerts| &alerts.receivers);
    let declared = declared.filter(|receivers| !receivers.is_empty()).ok_or_else(|| {
        Failure::new(Exit::Usage, DOING)
            .because("no receiver is declared")
            .hint("declare one as receivers.team in [alerts]; see docs/alerts.md")
    })?;
    let chosen: Vec<Receiver> = match name {
        None => declared.values().cloned().collect(),
        Some(name) => match declared.get(name) {
            Some(receiver) => vec![receiver.clone()],
            None => {
                let names: Vec<_> = declared.keys().map(String::as_str).collect();
                let failure = Failure::new(Exit::Usage, DOING)
                    .because(format!("there is no receiver \"{}\"", sanitize::truncated(name, MAX_SHOWN)));
                return Err(match aint_queue_core::suggest::nearest(name, names.iter().copied()) {
                    Some(near) => failure.hint(format!("did you mean \"{near}\"?")),
                    None => failure.hint(format!("declared are: {}", names.join(", "))),
                });
            }
        },
    };
    let channel = context.channel().map_or_else(|_| "test".to_owned(), |channel| channel.name.clone());
    let results = master::test_receivers(config, &channel, &chosen)
        .map_err(|error| Failure::new(Exit::Failed, DOING).because(error))?;
    let (mut text, mut rows, mut failed) = (String::new(), Vec::new(), 0);
    for (receiver, result) in chosen.iter().zip(results) {
        let (name, kind) = (&receiver.name, receiver.kind.type_name());
        let error = result.err();
        text.push_str(&match &error {
            None => format!("{name} ({kind}): took both messages\n"),
            Some(error) => format!("{name} ({kind}): failed: {}\n", sanitize::truncated(error, MAX_SHOWN)),
        });
        failed += usize::from(error.is_some());
        rows.push(json!({ "receiver": name, "type": kind, "delivered": error.is_none(), "error": error }));
    }
    context.show(&rows, &text)?;
    if failed > 0 {
        return Err(Failure::new(Exit::Failed, DOING)
            .because(format!("{failed} of {} receivers did not take the messages", chosen.len())));
    }
    Ok(())
}
