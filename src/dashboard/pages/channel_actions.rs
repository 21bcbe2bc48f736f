//! The forms of operators on the page of a channel.

use maud::{Markup, html};

use crate::dashboard::Dashboard;
use crate::dashboard::parts::{Words, channel_path, count};
use crate::dashboard::picture::ChannelPicture;
use crate::dashboard::rights::{Role, Visitor};
use crate::job::Priority;
use crate::store::JobState;

/// A button that posts an empty form.
pub(super) fn post_button(link: &str, name: &str, is_dangerous: bool) -> Markup {
    html! {
        form method="post" action=(link) {
            button type="submit" class=[is_dangerous.then_some("danger")] { (name) }
        }
    }
}

/// The way to the jobs, and the forms of an operator.
pub(super) fn channel_actions(
    dashboard: &Dashboard,
    channel: &ChannelPicture,
    visitor: &Visitor,
    words: &Words,
) -> Markup {
    let path = dashboard.frame.link(&channel_path(&channel.name));
    let action = |name: &str| format!("{path}/actions/{name}");
    html! {
        div class="actions" {
            a class="button" href={ (path) "/jobs" } { (words.all_jobs) }
            @if visitor.role >= Role::Operator {
                (pause(&action("pause"), words))
                (post_button(&action("resume"), words.resume, false))
                @if channel.is_served {
                    (post_button(&action("quiet"), words.quiet, false))
                    (post_button(&action("reload"), words.forms.reload, false))
                }
            }
        }
        @if visitor.role >= Role::Operator {
            div class="actions" {
                @if channel.is_served { (scale(&action("scale"), words)) }
                (push(&action("push"), words))
                (clear(&action("clear"), channel, words))
            }
        }
    }
}

fn pause(link: &str, words: &Words) -> Markup {
    let times = [("", words.forms.until_resumed), ("300", "5 min"), ("3600", "1 h")];
    html! {
        form method="post" action=(link) class="session" {
            button type="submit" { (words.pause) }
            select name="seconds" aria-label=(words.forms.pause_time) {
                @for (seconds, time) in times { option value=(seconds) { (time) } }
            }
        }
    }
}

fn scale(link: &str, words: &Words) -> Markup {
    html! {
        details {
            summary { (words.forms.scale) }
            form method="post" action=(link) class="search" {
                label for="workers" { (words.forms.workers) }
                input type="text" id="workers" name="workers" required pattern="[+=\\-]?[0-9]+" placeholder="+1, -1, =3";
                button type="submit" { (words.forms.scale) }
            }
        }
    }
}

fn push(link: &str, words: &Words) -> Markup {
    html! {
        details {
            summary { (words.forms.push) }
            form method="post" action=(link) {
                label for="job" { (words.job) }
                input type="text" id="job" name="job" required;
                label for="payload" { (words.payload) " (JSON)" }
                textarea id="payload" name="payload" rows="4" cols="40" spellcheck="false" { "{}" }
                label for="delay" { (words.forms.delay) }
                input type="text" id="delay" name="delay" placeholder="5m";
                label for="priority" { (words.priority) }
                select id="priority" name="priority" {
                    @for priority in Priority::ALL {
                        option value=(priority.as_str()) selected[priority == Priority::Normal] { (priority.as_str()) }
                    }
                }
                " "
                button type="submit" class="main" { (words.forms.push) }
            }
        }
    }
}

/// The states to clear, each with the number of jobs that the operator sees: more jobs than these are not removed.
fn clear(link: &str, channel: &ChannelPicture, words: &Words) -> Markup {
    html! {
        @if let Some((counts, _)) = &channel.counts {
            details {
                summary class="danger" { (words.forms.clear) }
                form method="post" action=(link) {
                    p { (words.forms.clear_warning) }
                    @for state in JobState::ALL {
                        label class="choice" {
                            input type="checkbox" name=(state.as_str()) value="1";
                            (words.job_state(state)) " " (count(Some(counts.of(state))))
                        }
                        input type="hidden" name={ "seen_" (state.as_str()) } value=(counts.of(state));
                    }
                    label for="confirm" { (words.forms.type_name) " " code { (channel.name) } }
                    input type="text" id="confirm" name="confirm" required autocomplete="off";
                    " "
                    button type="submit" class="danger" { (words.forms.clear) }
                }
            }
        }
    }
}
