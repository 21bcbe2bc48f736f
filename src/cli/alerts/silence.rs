//! `queue:alerts --silence` and `--unsilence`: rules of which no messages are sent for a time.

use std::time::Duration;

use serde_json::json;

use crate::alerts;
use crate::cli::per_channel::{self, ChannelDone};
use crate::cli::{CommandContext, Exit, Failure, sanitize, time};
use crate::config::Channel;
use crate::store::{MAX_SILENCE_COMMENT_BYTES, MAX_SILENCES, Silence};

/// Most characters of a name in a line.
const MAX_SHOWN: usize = 100;

/// Silences a rule in channels.
pub(super) fn silence(
    context: &CommandContext,
    channels: &[&Channel],
    rule: &str,
    length: Duration,
    comment: &str,
) -> Result<(), Failure> {
    let doing = format!("silence the rule \"{}\"", sanitize::truncated(rule, MAX_SHOWN));
    let refused = |why: &str, hint: &str| Err(Failure::new(Exit::Usage, &doing).because(why).hint(hint));
    if length.is_zero() || length > alerts::MAX_SILENCE_TIME {
        return refused("the time must be longer than 0 and at most ten years", "write a time such as 1h");
    }
    if comment.len() > MAX_SILENCE_COMMENT_BYTES {
        return refused("the comment is longer than 500 bytes", "shorten it");
    }
    per_channel::these(context, channels, |channel| {
        check_rule(channel, rule, &doing)?;
        context.check_store(channel, &doing)?;
        let store = context.store(channel)?;
        let silenced = context.block_on(alerts::silence_rule(&*store, rule, length, comment));
        let Some(until) = silenced.map_err(|error| Failure::store(doing.clone(), error))? else {
            return Err(Failure::new(Exit::Failed, &doing)
                .because(format!("channel \"{}\" has {MAX_SILENCES} silences", channel.name))
                .hint("end one with --unsilence, or silence all rules with '*'"));
        };
        let what = if rule == Silence::ALL_RULES {
            "All rules".to_owned()
        } else {
            format!("Rule \"{}\"", sanitize::truncated(rule, MAX_SHOWN))
        };
        let text = format!(
            "{what} of channel \"{}\": silent until {}, on all hosts.",
            channel.name,
            time::local(until)
        );
        Ok(ChannelDone::new(channel, text, json!({ "rule": rule, "silenced_until": time::rfc3339(until) })))
    })
}

/// Ends the silence of a rule in channels.
pub(super) fn unsilence(context: &CommandContext, channels: &[&Channel], rule: &str) -> Result<(), Failure> {
    let shown = sanitize::truncated(rule, MAX_SHOWN);
    let doing = format!("end the silence of the rule \"{shown}\"");
    per_channel::these(context, channels, |channel| {
        context.check_store(channel, &doing)?;
        let store = context.store(channel)?;
        let ended = context.block_on(alerts::end_silence(&*store, rule));
        if let Err(silences) = ended.map_err(|error| Failure::store(doing.clone(), error))? {
            let rules: Vec<_> =
                silences.iter().map(|silence| sanitize::truncated(&silence.rule, MAX_SHOWN)).collect();
            let silenced = if rules.is_empty() { "none".to_owned() } else { rules.join(", ") };
            return Err(Failure::new(Exit::Failed, &doing)
                .because(format!("channel \"{}\" has no such silence; silenced: {silenced}", channel.name)));
        }
        let text = format!("Rule \"{shown}\" of channel \"{}\": no longer silent.", channel.name);
        Ok(ChannelDone::new(channel, text, json!({ "rule": rule, "silenced_until": null })))
    })
}

/// Refuses the name of a rule that the channel does not have: its silence would have no effect.
fn check_rule(channel: &Channel, rule: &str, doing: &str) -> Result<(), Failure> {
    if rule == Silence::ALL_RULES || channel.rules.iter().any(|known| *known.name == *rule) {
        return Ok(());
    }
    let failure = Failure::new(Exit::Usage, doing);
    if channel.rules.is_empty() {
        return Err(failure
            .because("no receiver of alerts is declared, so there are no rules")
            .hint("declare one as receivers.team in [alerts]; see docs/alerts.md"));
    }
    let names = channel.rules.iter().map(|known| &*known.name);
    let failure = failure.because(format!("channel \"{}\" has no such rule", channel.name));
    Err(match aint_queue_core::suggest::nearest(rule, names.clone()) {
        Some(near) => failure.hint(format!("did you mean \"{near}\"?")),
        None => failure.hint(format!("its rules: {}", names.collect::<Vec<_>>().join(", "))),
    })
}
