//! The meaning of an alert in one sentence: from the template of its rule, or that of a built-in rule.

use aint_queue_core::condition::{Field, Unit};

use super::super::notification::{Alert, AlertStatus, Notification};
use super::format::Formats;
use super::words::Words;
use crate::config::alerts::template::{Datum, raw, render_template};

/// The sentences of the built-in rules: name, English, Chinese.
const BUILT_IN: &[(&str, &str, &str)] = &[
    (
        "store_down",
        "The store does not answer: pushes fail and no job is leased.",
        "存储不可用：无法入队，也无法取任务。",
    ),
    ("degraded", "No worker can be started: no job runs.", "无法启动工作进程：没有任务在运行。"),
    (
        "no_master",
        "Jobs wait and no master serves the channel: start queue:listen.",
        "有任务等待，但没有主进程服务该队列：请启动 queue:listen。",
    ),
    ("stalled", "{{ waiting }} jobs wait and none ends.", "{{ waiting }} 个任务等待，没有任务完成。"),
    (
        "slow",
        "The front job has waited for {{ oldest_waiting }}.",
        "最前面的任务已等待 {{ oldest_waiting }}。",
    ),
    (
        "backlog",
        "Jobs pile up: {{ waiting }} wait, the front one for {{ oldest_waiting }}; all {{ workers.max }} workers are busy.",
        "任务堆积：{{ waiting }} 个等待，最久 {{ oldest_waiting }}；{{ workers.max }} 个进程全忙。",
    ),
    (
        "failures",
        "{{ failure_rate }} of the runs of the last 5 minutes failed.",
        "最近 5 分钟有 {{ failure_rate }} 的运行失败。",
    ),
    (
        "poison",
        "A job has failed for good because it ended its worker or master three times.",
        "有任务三次使进程退出，已永久失败。",
    ),
    (
        "stuck",
        "{{ stuck_slots }} runs were asked to end and did not.",
        "{{ stuck_slots }} 个运行被要求结束但没有结束。",
    ),
    ("restarts", "Workers crash and are started again.", "工作进程反复崩溃并重启。"),
    (
        "memory",
        "The workers take {{ memory.workers }} of memory, close to their limit.",
        "工作进程占用内存 {{ memory.workers }}，接近上限。",
    ),
    (
        "forgotten_pause",
        "The channel is paused and {{ waiting }} jobs wait: queue:resume ends the pause.",
        "队列已暂停，{{ waiting }} 个任务等待：用 queue:resume 恢复。",
    ),
];

/// The sentence about an alert.
pub(super) fn summary(alert: &Alert, notification: &Notification, words: &Words) -> String {
    if let AlertStatus::Resolved(end) = alert.status {
        let time = Formats::new(words).duration(end.since(alert.started_at).as_secs_f64());
        return match words.is_chinese() {
            true => format!("已恢复，{}。", words.after(&time)),
            false => format!("The alert has ended {}.", words.after(&time)),
        };
    }
    let built_in = BUILT_IN.iter().find(|(name, ..)| *name == &*alert.rule);
    let built_in = built_in.map(|(_, english, chinese)| if words.is_chinese() { *chinese } else { *english });
    match alert.summary.as_deref().or(built_in) {
        // A template that failed after its check must not cost the message.
        Some(source) => render_template(source, data(alert, notification, words)).unwrap_or_else(|why| why),
        None => words.why_sentence(alert),
    }
}

/// The data of a template: every value with its unit, the same as plain numbers below `raw`, and the facts of the alert.
fn data(alert: &Alert, notification: &Notification, words: &Words) -> Vec<(String, Datum)> {
    let formats = Formats::new(words);
    let mut data = Vec::new();
    for field in Field::ALL {
        let known = alert.values.get(field).copied();
        data.push((
            field.name().to_owned(),
            match (known, field.unit()) {
                (None, _) => Datum::Text("?".to_owned()),
                (Some(value), Unit::Number) if value.fract() == 0.0 => Datum::Number(value),
                (Some(value), Unit::Bool) => Datum::Flag(value != 0.0),
                (Some(value), _) => Datum::Text(formats.value(*field, value)),
            },
        ));
        data.extend(known.map(|value| (raw(*field), Datum::Number(value))));
    }
    let status = match alert.status {
        AlertStatus::Firing => "firing",
        AlertStatus::Resolved(_) => "resolved",
    };
    let texts = [
        ("channel", &*notification.channel),
        ("rule", &*alert.rule),
        ("severity", alert.severity.as_str()),
        ("status", status),
        ("host", alert.host.as_deref().unwrap_or(&notification.sender)),
    ];
    data.extend(texts.map(|(name, text)| (name.to_owned(), Datum::Text(text.to_owned()))));
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::alerts::Language;
    use crate::config::alerts::template::check_template;
    use crate::engine::alerts::sample::notification;

    #[test]
    fn sentences_of_built_in_rules_are_templates_without_mistakes() {
        for (name, english, chinese) in BUILT_IN {
            for source in [english, chinese] {
                assert_eq!(check_template(source), Ok(()), "{name}");
            }
        }
    }

    #[test]
    fn template_of_the_rule_goes_first() {
        let mut sample = notification();
        let of = |n: &Notification| summary(&n.alerts[0], n, &Words::of(Language::English));
        assert_eq!(of(&sample), "Jobs pile up: 1204 wait, the front one for 12 min; all ? workers are busy.");
        sample.alerts[0].summary = Some("{{ waiting }} in {{ channel }} on {{ host }}".into());
        assert_eq!(of(&sample), "1204 in mail on web1");
        sample.alerts[0].summary = Some("{{ waiting | shout }}".into());
        assert!(of(&sample).contains("mistake"));
        sample.alerts[0].summary = None;
        sample.alerts[0].rule = "own".into();
        assert_eq!(of(&sample), "waiting > 1000 holds");
    }
}
